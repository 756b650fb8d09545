"""What the cells of a notebook say of a conversation: their first line, and our metadata.

A prompt is the source of its cell below the first line, where people may edit it. What editors and
the file's own format would change of it stands in the metadata, too, and counts for as long as the
source is as it was written.
"""

from __future__ import annotations

import base64
import binascii
import math
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dexto_magic.conversation.messages import Attachment, Message, Role, Status, ToolCall, Usage
from dexto_magic.formats.foreign import (
    attachment,
    count_in,
    fields_of,
    items_of,
    options_in,
    seconds_in,
    text_in,
    text_or_none,
    time_in,
)
from dexto_magic.formats.records import session_name
from dexto_magic.rendering.markdown import encodable

MAGIC = "%%dexto"
KEY = "dexto"
"""The metadata of cells and outputs that is ours."""

_WITH_VALUE = {"-m", "--model", "-s", "--system", "-o", "--output", "-O", "--option"}
"""Options of a cell that are followed by another word."""

_SAFE = 2**53
"""The first whole number that a browser cannot tell from its neighbour."""

_STATUSES: dict[str, Status] = {"stopped": "stopped", "failed": "failed"}


def source_of(session_id: str, prompt: str) -> str:
    """The source of a cell that asks in a session; its prompt is what would be sent."""
    name = session_name(session_id, "conversation")
    first = f"{MAGIC} {'-- ' if name.startswith('-') else ''}{shlex.quote(name)}\n"
    # The magic takes off the new line that ends every cell.
    end = "\n" if prompt.endswith("\n") else ""
    return first + encodable(prompt) + end


def asked_in(source: str) -> tuple[str | None, str] | None:
    """The session's name, if the first line says one, and the prompt; ``None`` for other cells."""
    first, _, body = source.lstrip("\n").partition("\n")
    magic, *rest = first.strip().split(maxsplit=1) or [""]
    if magic != MAGIC:
        return None
    return _name_in(rest[0] if rest else ""), body.removesuffix("\n")


def _name_in(line: str) -> str | None:
    try:
        words = shlex.split(line)
    except ValueError:  # an open quote: the cell was never run
        return None
    while words:
        word = words.pop(0)
        if word == "--":
            return words[0] if words else None
        if not word.startswith("-"):
            return word
        if word in _WITH_VALUE:
            del words[:1]
    return None


def prompt_metadata(message: Message, session_id: str) -> dict[str, Any]:
    """The metadata of a cell for its user message."""
    known = {
        "session": encodable(session_id),
        "turn": message.turn,
        "id": encodable(message.id),
        "created_at": _iso(message.created_at),
        "attachments": [vars(item) for item in message.attachments] or None,
    }
    text = message.content
    # Of other characters, editors drop or change some.
    if not text.replace("\n", "").isprintable() or not text or text != text.rstrip():
        known |= _exact("prompt", text)
    said: dict[str, Any] = _sayable(
        {name: item for name, item in known.items() if item is not None}
    )
    return said


def prompt_in(metadata: Mapping[str, Any], written: str) -> str | None:
    """The prompt as it was, if the source is as it was written, else what is written there.

    ``None`` for a cell that asks nothing: one that was never filled in, or that only shows a reply.
    """
    exact = _exactly("prompt", metadata)
    if exact is not None and _edited(encodable(exact)) == _edited(written):
        return exact
    return written if written.strip() else None


def _edited(text: str) -> str:
    """The text without what an editor may have made of it."""
    return "\n".join(text.splitlines()).rstrip()


def user_message(metadata: Mapping[str, Any], prompt: str, now: datetime) -> Message:
    """The user message of a cell."""
    return Message(
        role="user",
        content=prompt,
        id="",
        created_at=time_in(metadata.get("created_at")) or now,
        attachments=_attachments(metadata),
    )


def reply_metadata(message: Message, session_id: str) -> dict[str, Any]:
    """The metadata of an output: that of a live one, and what is needed to cite the reply."""
    usage = message.usage
    known = {
        "session": encodable(session_id),
        "turn": message.turn,
        "model": message.model,
        "usage": None
        if usage is None
        else {name: count for name, count in vars(usage).items() if count is not None},
        "id": message.id,
        "role": message.role,
        "provider": message.provider,
        "options": dict(message.options) or None,
        "created_at": _iso(message.created_at),
        "duration": message.duration,
        "status": message.status,
        "reason": message.reason,
        "finish_reason": message.finish_reason,
        "reasoning": message.reasoning or None,
        "tool_calls": [vars(call) for call in message.tool_calls] or None,
        "tool_call_id": message.tool_call_id,
        "attachments": [vars(item) for item in message.attachments] or None,
    }
    if message.role == "tool" or encodable(message.content) != message.content:
        known |= _exact("content", message.content)
    always = ("model", "usage")
    said: dict[str, Any] = _sayable(
        {name: item for name, item in known.items() if item is not None or name in always}
    )
    return said


def reply_in(output: Mapping[str, Any], now: datetime) -> Message | None:
    """The reply or the tool's answer that an output shows; ``None`` if it shows none as a whole."""
    known = fields_of(fields_of(output.get("metadata")).get(KEY))
    data = fields_of(output.get("data"))
    content = _exactly("content", known)
    if content is None:
        content = joined(data.get("text/markdown"))
    if content is None and text_in(known.get("status")):
        content = ""
    if content is None or not text_in(known.get("session")):
        return None
    role: Role = "tool" if known.get("role") == "tool" else "assistant"
    return Message(
        role=role,
        content=content,
        id="",
        created_at=time_in(known.get("created_at")) or now,
        status=_STATUSES.get(text_in(known.get("status")), "complete"),
        reason=text_or_none(known.get("reason")),
        attachments=_attachments(known),
        tool_calls=tuple(_call(call) for call in map(fields_of, items_of(known.get("tool_calls")))),
        tool_call_id=known["tool_call_id"] if isinstance(known.get("tool_call_id"), str) else None,
        reasoning=text_in(known.get("reasoning")),
        model=text_or_none(known.get("model")),
        provider=text_or_none(known.get("provider")),
        options=options_in(known.get("options")),
        usage=_usage(known.get("usage")),
        finish_reason=text_or_none(known.get("finish_reason")),
        duration=seconds_in(known.get("duration")),
    )


def joined(text: object) -> str | None:
    """A text that a notebook keeps as it is or line by line; ``None`` if it is none."""
    if isinstance(text, str):
        return text
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        return "".join(text)
    return None


def _attachments(metadata: Mapping[str, Any]) -> tuple[Attachment, ...]:
    found = []
    for item in map(fields_of, items_of(metadata.get("attachments"))):
        name, media_type = text_in(item.get("name")), text_in(item.get("media_type"))
        found.append(attachment(name, media_type=media_type, size=count_in(item.get("size"))))
    return tuple(found)


def _call(call: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        id=text_in(call.get("id")),
        name=text_in(call.get("name")),
        arguments=text_in(call.get("arguments")),
    )


def _usage(counts: object) -> Usage | None:
    if not isinstance(counts, dict):
        return None
    return Usage(
        input_tokens=count_in(counts.get("input_tokens")) or 0,
        output_tokens=count_in(counts.get("output_tokens")) or 0,
        cached_tokens=count_in(counts.get("cached_tokens")),
        reasoning_tokens=count_in(counts.get("reasoning_tokens")),
    )


def _exact(name: str, text: str) -> dict[str, str]:
    """The text in a form that no half of a surrogate pair keeps from being opened."""
    if encodable(text) == text:
        return {name: text}
    data = text.encode("utf-8", "surrogatepass")
    return {f"{name}_base64": base64.b64encode(data).decode("ascii")}


def _exactly(name: str, metadata: Mapping[str, Any]) -> str | None:
    encoded = metadata.get(f"{name}_base64")
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True).decode("utf-8", "surrogatepass")
        except (binascii.Error, ValueError):
            return None
    text = metadata.get(name)
    return text if isinstance(text, str) else None


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat()


def _sayable(value: Any) -> Any:
    """The value in JSON that every front end can read: what has no form there becomes text."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_SAFE < value < _SAFE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {encodable(name): _sayable(item) for name, item in value.items()}
    return [_sayable(item) for item in value] if isinstance(value, list | tuple) else value
