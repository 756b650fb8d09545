"""The stored form of values: JSON and nothing else, so that reading a store can run no code.

A row is bytes and a mode that says how to read them. Fields that have their default are left out.
Fields that this version does not know are passed over: rows are never rewritten, so nothing of
them is lost, and ``minimum_reader`` in the store's schema row keeps out a version that must not
do so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import orjson

from dexto_magic.conversation.history import OpenTurn, Partial, SessionRecord
from dexto_magic.conversation.messages import Attachment, Message, Origin, ToolCall, Usage
from dexto_magic.errors import StoreCorruptedError

T = TypeVar("T")

MODE_JSON = 74
"""Written by orjson. diskcache's own modes are 0 to 4, and none of them is ever read."""

MODE_EXACT = 75
"""Written by the standard library: what orjson would change or refuse."""

CODECS = {MODE_JSON: "orjson", MODE_EXACT: "json"}
"""Who reads which mode, as the schema row says it to other programs and later versions."""

_INT64 = range(-(2**63), 2**63)

_MISREAD = (AttributeError, KeyError, TypeError, ValueError)
"""What JSON of another shape than expected meets in the functions that read it."""


class Row(NamedTuple):
    """Bytes to be stored, and how to read them."""

    mode: int
    data: bytes


def encode(value: Any) -> Row:
    """The stored form of a JSON value; ``decode`` gives back an equal one.

    orjson turns NaN and the infinities into null, reads integers beyond 64 bits as floats, and
    refuses lone surrogates: such values go to the standard library. Surrogates stay bytes of their
    own, as two escapes that follow each other would be read back as one character.
    """
    if not _needs_exact(value):
        try:
            return Row(MODE_JSON, orjson.dumps(value))
        except TypeError:
            pass  # a lone surrogate somewhere
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Row(MODE_EXACT, text.encode("utf-8", "surrogatepass"))


def decode(mode: object, data: object) -> Any:
    """The value of a stored row.

    Raises:
        StoreCorruptedError: The row is none of ours. A pickle lands here, unread.
    """
    if not isinstance(data, bytes) or mode not in (MODE_JSON, MODE_EXACT):
        raise StoreCorruptedError(
            f"A row of the store is in a form (mode {mode!r}) that this package never writes. It was "
            "not read. Somebody else has written to this store: restore a backup, or set it aside."
        )
    try:
        if mode == MODE_JSON:
            return orjson.loads(data)
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise StoreCorruptedError(f"A row of the store is not valid JSON ({error}).") from error


def decode_all(rows: Sequence[tuple[object, object]]) -> list[Any]:
    """The values of many rows of ``(mode, data)``, in one parse where all are orjson's."""
    if all(mode == MODE_JSON and isinstance(data, bytes) for mode, data in rows):
        try:
            values = orjson.loads(b"[" + b",".join(data for _, data in rows) + b"]")  # type: ignore[misc]  # checked above
        except ValueError:
            pass  # one of them is damaged: find out which by reading each
        else:
            if len(values) == len(rows):
                return list(values)
    return [decode(mode, data) for mode, data in rows]


def _needs_exact(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, int):
        return value not in _INT64
    if isinstance(value, dict):
        return any(map(_needs_exact, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_needs_exact, value))
    return False


def message_to_json(message: Message) -> dict[str, Any]:
    """A message's row."""
    row: dict[str, Any] = {
        "kind": message.role,
        "id": message.id,
        "turn": message.turn,
        "at": message.created_at.isoformat(),
        "content": message.content,
    }
    optional = {
        "version": message.version if message.version != 1 else None,
        "status": message.status if message.status != "complete" else None,
        "reason": message.reason,
        "origin": _origin_to_json(message.origin),
        "attachments": [vars(attachment) for attachment in message.attachments] or None,
        "tool_calls": [vars(call) for call in message.tool_calls] or None,
        "tool_call_id": message.tool_call_id,
        "reasoning": message.reasoning or None,
        "model": message.model,
        "provider": message.provider,
        "options": dict(message.options) or None,
        "usage": usage_to_json(message.usage),
        "finish_reason": message.finish_reason,
        "duration": message.duration,
    }
    row.update((name, value) for name, value in optional.items() if value is not None)
    return row


def message_from_json(row: Mapping[str, Any]) -> Message:
    """The message of a row.

    Raises:
        StoreCorruptedError: It lacks something that every message has.
    """
    try:
        get = row.get
        origin, usage = get("origin"), get("usage")
        return Message(
            role=row["kind"],
            id=row["id"],
            turn=row["turn"],
            created_at=datetime.fromisoformat(row["at"]),
            content=row["content"],
            version=get("version", 1),
            status=get("status", "complete"),
            reason=get("reason"),
            origin=None if origin is None else _known(Origin, origin),
            attachments=tuple(_known(Attachment, item) for item in get("attachments", ())),
            tool_calls=tuple(_known(ToolCall, item) for item in get("tool_calls", ())),
            tool_call_id=get("tool_call_id"),
            reasoning=get("reasoning", ""),
            model=get("model"),
            provider=get("provider"),
            options=get("options", {}),
            usage=None if usage is None else usage_from_json(usage),
            finish_reason=get("finish_reason"),
            duration=get("duration"),
        )
    except _MISREAD as error:
        raise StoreCorruptedError(f"A message of the store cannot be read ({error!r}).") from error


def messages_in_view(rows: Iterable[Any], record: SessionRecord) -> list[Message]:
    """The messages among the rows that are in view; other kinds of row are passed over.

    Raises:
        StoreCorruptedError: A row is of no kind.
    """
    messages = (
        message_from_json(row)
        for row in rows
        if not isinstance(row, dict) or row.get("kind") in ("user", "assistant", "tool")
    )
    return [message for message in messages if record.shows(message)]


def usage_to_json(usage: Usage | None) -> dict[str, int] | None:
    """Token counts, with short names; those that are unknown are left out."""
    if usage is None:
        return None
    counts = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cached_tokens,
        "reasoning": usage.reasoning_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}


def usage_from_json(counts: Mapping[str, int]) -> Usage:
    """The inverse of ``usage_to_json``."""
    return Usage(
        input_tokens=counts.get("input", 0),
        output_tokens=counts.get("output", 0),
        cached_tokens=counts.get("cached"),
        reasoning_tokens=counts.get("reasoning"),
    )


def _origin_to_json(origin: Origin | None) -> dict[str, str] | None:
    if origin is None:
        return None
    return {name: value for name, value in vars(origin).items() if value is not None}


def record_to_json(record: SessionRecord) -> dict[str, Any]:
    """A session's record; what it is called and when it was used stand in it, too."""
    return {
        "sid": record.sid,
        "id": record.id,
        "created": record.created_at.isoformat(),
        "used": record.used_at.isoformat(),
        "epoch": record.epoch,
        "rows": record.rows,
        "revision": record.revision,
        "turns": record.turns,
        "messages": record.messages,
        "versions": {str(turn): version for turn, version in record.versions.items()},
        "undo": list(record.undo),
        "open": None if record.open is None else _mark_to_json(record.open),
        "title": record.title,
        "own_title": record.own_title,
        "model": record.model,
        "system": record.system,
        "settings": dict(record.settings),
        "usage": usage_to_json(record.usage),
        "forked_from": record.forked_from,
        "home": record.home,
        "notebooks": list(record.notebooks),
        "marks": list(record.marks),
    }


def record_from_json(row: Mapping[str, Any]) -> SessionRecord:
    """The record of a row.

    Raises:
        StoreCorruptedError: It lacks something that every record has.
    """
    try:
        return SessionRecord(
            sid=row["sid"],
            id=row["id"],
            created_at=datetime.fromisoformat(row["created"]),
            used_at=datetime.fromisoformat(row["used"]),
            epoch=row["epoch"],
            rows=row["rows"],
            revision=row["revision"],
            turns=row["turns"],
            messages=row["messages"],
            versions={int(turn): version for turn, version in row["versions"].items()},
            undo=tuple(row["undo"]),
            open=None if row["open"] is None else _mark_from_json(row["open"]),
            title=row["title"],
            own_title=row["own_title"],
            model=row["model"],
            system=row["system"],
            settings=row["settings"],
            usage=usage_from_json(row["usage"]),
            forked_from=row["forked_from"],
            home=row["home"],
            notebooks=tuple(row["notebooks"]),
            marks=tuple(row["marks"]),
        )
    except _MISREAD as error:
        raise StoreCorruptedError(f"A session of the store cannot be read ({error!r}).") from error


def partial_to_json(partial: Partial) -> dict[str, Any]:
    """The saved part of a running reply."""
    return {
        "epoch": partial.epoch,
        "turn": partial.turn,
        "message": message_to_json(partial.message),
    }


def partial_from_json(row: Mapping[str, Any]) -> Partial:
    """The inverse of ``partial_to_json``.

    Raises:
        StoreCorruptedError: It lacks something that every partial reply has.
    """
    try:
        return Partial(
            epoch=row["epoch"], turn=row["turn"], message=message_from_json(row["message"])
        )
    except _MISREAD as error:
        raise StoreCorruptedError(f"A partial reply cannot be read ({error!r}).") from error


def _mark_to_json(mark: OpenTurn) -> dict[str, Any]:
    return {**vars(mark), "since": mark.since.isoformat()}


def _mark_from_json(row: Mapping[str, Any]) -> OpenTurn:
    return _known(OpenTurn, {**row, "since": datetime.fromisoformat(row["since"])})


def _known(kind: type[T], row: Mapping[str, Any]) -> T:
    """A value of ours, from the fields that this version knows."""
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]  # every kind is a dataclass
    return kind(**{name: value for name, value in row.items() if name in names})
