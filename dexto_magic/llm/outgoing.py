"""What goes out to a model: messages and options, as they can be sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dexto_magic.conversation.messages import JSON
from dexto_magic.conversation.window import PromptMessage
from dexto_magic.errors import SettingsError
from dexto_magic.llm.surrogates import whole_characters

_RESERVED = ("messages", "model", "stream", "stream_options")


def sendable_messages(messages: Sequence[PromptMessage]) -> list[dict[str, str]]:
    """The messages of a Chat Completions request; all that can be encoded stays as it is."""
    return [
        {"role": message.role, "content": whole_characters(message.content)} for message in messages
    ]


def sendable_options(options: Mapping[str, JSON]) -> dict[str, Any]:
    """The options of a Chat Completions request, as a copy that is nobody else's.

    Raises:
        SettingsError: One of them is not the user's to set, or is not JSON.
    """
    for name in options:
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
    return decoded
