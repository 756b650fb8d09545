"""What goes out to a model: messages and options, as they can be sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dexto_magic.conversation.messages import JSON
from dexto_magic.conversation.window import PromptMessage
from dexto_magic.errors import SettingsError
from dexto_magic.llm.discretion import holds_key
from dexto_magic.llm.surrogates import whole_characters

_RESERVED = ("messages", "model", "stream", "stream_options")

_SETTINGS = {
    *("api_key", "authorization", "headers", "extra_headers", "default_headers", "extra_query"),
    *(
        "default_query",
        "extra_body",
        "base_url",
        "timeout",
        "max_retries",
        "organization",
        "project",
    ),
}
"""Settings of clients, which may hold a key: options are stored with the reply, keys nowhere."""


def sendable_messages(messages: Sequence[PromptMessage]) -> list[dict[str, str]]:
    """The messages of a Chat Completions request; all that can be encoded stays as it is."""
    return [
        {"role": message.role, "content": whole_characters(message.content)} for message in messages
    ]


def request_body(
    model: str,
    messages: Sequence[PromptMessage],
    options: Mapping[str, JSON],
    *,
    stream: bool,
    with_usage: bool,
) -> dict[str, Any]:
    """The body of a Chat Completions request, as it goes out.

    Args:
        model: The model, as the provider names it.
        messages: The conversation.
        options: The request options, the configured ones included.
        stream: Whether the reply is wanted in pieces.
        with_usage: Whether a stream is to end with what it took.

    Raises:
        SettingsError: An option cannot be sent.
    """
    usage = {"stream_options": {"include_usage": True}} if with_usage else {}
    body = {"messages": sendable_messages(messages), "model": model, "stream": stream, **usage}
    return body | sendable_options(options)


def sendable_options(options: Mapping[str, JSON]) -> dict[str, Any]:
    """The options of a Chat Completions request, as a copy that is nobody else's.

    Raises:
        SettingsError: One of them is not the user's to set, or is not JSON.
    """
    for name in options:
        if _is_setting(name):
            raise SettingsError(
                f"{name!r} is no request option, and was neither sent nor stored. Settings such as "
                "api_key, base_url and timeout belong to llm; a key is also entered with `%dexto "
                "key`.",
                option="options",
            )
        # More than one choice would be paid for, and all but the first thrown away.
        if name in _RESERVED or (name == "n" and options[name] != 1):
            raise SettingsError(
                f"The request option {name!r} is set by the conversation itself: leave it out.",
                option="options",
            )
    try:
        encoded = json.dumps(options, allow_nan=False, ensure_ascii=False)
        decoded: dict[str, Any] = json.loads(whole_characters(encoded))
    except (TypeError, ValueError, RecursionError) as exc:
        raise SettingsError(
            f"The request options are not JSON ({exc}): correct them. Nothing was sent.",
            option="options",
        ) from exc
    if _hold_key(options):
        raise SettingsError(
            "A request option looks like a key, and is not shown here. Options are stored with the "
            "reply: enter the key with `%dexto key`, or as api_key of llm. Nothing was sent.",
            option="options",
        )
    return decoded


def storable_options(options: Mapping[str, JSON]) -> dict[str, JSON]:
    """Options of requests that others sent, without those that hold a key or may do so."""
    return {
        name: value
        for name, value in options.items()
        if not _is_setting(name) and not _hold_key({name: value})
    }


def _hold_key(value: JSON) -> bool:
    """Whether a key stands in any text of a value."""
    if isinstance(value, str):
        return holds_key(value)
    if isinstance(value, Mapping):
        return any(_hold_key(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_hold_key, value))


def _is_setting(name: object) -> bool:
    return re.sub(r"\W", "_", str(name)).lower() in _SETTINGS
