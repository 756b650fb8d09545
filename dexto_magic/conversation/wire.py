"""The JSON form of what is said in a conversation, the same in a store and in an export.

Fields that have their default are left out, and fields that this version does not know are passed
over. What reads a form raises one of ``MISREAD`` where it is of another shape; who calls it knows
which file or row that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import (
    Aside,
    Attachment,
    Message,
    Origin,
    ToolCall,
    Usage,
)
from dexto_magic.conversation.session import Session

T = TypeVar("T")

MESSAGES = ("user", "assistant", "tool")
ASIDES = ("summary", "title")
"""Kinds of form, by what they are read as."""

MISREAD = (AttributeError, KeyError, TypeError, ValueError)
"""What JSON of another shape than expected meets in the functions that read it."""


def message_to_json(message: Message) -> dict[str, Any]:
    """One thing that was said, as an object whose ``kind`` is who said it."""
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
        "sent_from": message.sent_from,
    }
    row.update((name, value) for name, value in optional.items() if value is not None)
    return row


def message_from_json(row: Mapping[str, Any]) -> Message:
    """The inverse of ``message_to_json``."""
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
        origin=None if origin is None else known(Origin, origin),
        attachments=tuple(known(Attachment, item) for item in get("attachments", ())),
        tool_calls=tuple(known(ToolCall, item) for item in get("tool_calls", ())),
        tool_call_id=get("tool_call_id"),
        reasoning=get("reasoning", ""),
        model=get("model"),
        provider=get("provider"),
        options=get("options", {}),
        usage=None if usage is None else usage_from_json(usage),
        finish_reason=get("finish_reason"),
        duration=get("duration"),
        sent_from=get("sent_from"),
    )


def aside_to_json(aside: Aside) -> dict[str, Any]:
    """A summary or a title, as an object whose ``kind`` is which of them."""
    row: dict[str, Any] = {
        "kind": aside.kind,
        "id": aside.id,
        "at": aside.created_at.isoformat(),
        "content": aside.content,
        "turn": aside.turn,
    }
    optional = {
        "through": aside.through,
        "versions": _numbers_to_json(aside.versions) or None,
        "without": list(aside.without) or None,
        "model": aside.model,
        "provider": aside.provider,
        "usage": usage_to_json(aside.usage),
        "duration": aside.duration,
    }
    row.update((name, value) for name, value in optional.items() if value is not None)
    return row


def aside_from_json(row: Mapping[str, Any]) -> Aside:
    """The inverse of ``aside_to_json``."""
    usage = row.get("usage")
    return Aside(
        kind=row["kind"],
        id=row["id"],
        created_at=datetime.fromisoformat(row["at"]),
        content=row["content"],
        turn=row["turn"],
        through=row.get("through"),
        versions=_numbers_from_json(row.get("versions", {})),
        without=tuple(row.get("without", ())),
        model=row.get("model"),
        provider=row.get("provider"),
        usage=None if usage is None else usage_from_json(usage),
        duration=row.get("duration"),
    )


def session_to_json(session: Session) -> dict[str, Any]:
    """A session, without what a store alone knows of it."""
    row: dict[str, Any] = {
        "id": session.id,
        "created": session.created_at.isoformat(),
        "used": session.updated_at.isoformat(),
    }
    optional = {
        "title": session.title,
        "own_title": session.own_title or None,
        "messages": session.message_count or None,
        "turns": session.turn_count or None,
        "model": session.model,
        "system": session.system,
        "overflow": session.overflow,
        "context_budget": session.context_budget,
        "forked_from": session.forked_from,
        "forked_at": session.forked_at,
        "usage": usage_to_json(session.usage) if session.usage != Usage() else None,
        "home": session.home,
        "notebooks": list(session.notebooks) or None,
    }
    row.update((name, value) for name, value in optional.items() if value is not None)
    return row


def session_from_json(row: Mapping[str, Any]) -> Session:
    """The inverse of ``session_to_json``."""
    get = row.get
    return Session(
        id=row["id"],
        title=get("title"),
        created_at=datetime.fromisoformat(row["created"]),
        updated_at=datetime.fromisoformat(row["used"]),
        message_count=get("messages", 0),
        turn_count=get("turns", 0),
        model=get("model"),
        system=get("system"),
        own_title=get("own_title", False),
        overflow=get("overflow"),
        context_budget=get("context_budget"),
        forked_from=get("forked_from"),
        forked_at=get("forked_at"),
        usage=usage_from_json(get("usage", {})),
        home=get("home"),
        notebooks=tuple(get("notebooks", ())),
    )


def line_to_json(line: Line) -> dict[str, Any]:
    """Which turns are in view."""
    row: dict[str, Any] = {"turns": line.end, "versions": _numbers_to_json(line.versions)}
    optional = {
        "made": line.made if line.made != line.end else None,
        "latest": _numbers_to_json(line.latest) or None,
        "replaced": [vars(step) for step in line.replaced] or None,
        "gone": list(line.gone) or None,
    }
    row.update((name, value) for name, value in optional.items() if value is not None)
    return row | {"undo": [vars(step) for step in line.undone]}


def line_from_json(row: Mapping[str, Any]) -> Line:
    """The inverse of ``line_to_json``."""
    return Line(
        end=row["turns"],
        made=row.get("made", row["turns"]),
        versions=_numbers_from_json(row["versions"]),
        latest=_numbers_from_json(row.get("latest", {})),
        replaced=tuple(known(Step, step) for step in row.get("replaced", ())),
        undone=tuple(known(Step, step) for step in row["undo"]),
        gone=tuple(row.get("gone", ())),
    )


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


def known(kind: type[T], row: Mapping[str, Any]) -> T:
    """A value of ours, from the fields that this version knows."""
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]  # every kind is a dataclass
    return kind(**{name: value for name, value in row.items() if name in names})


def _origin_to_json(origin: Origin | None) -> dict[str, str] | None:
    if origin is None:
        return None
    return {name: value for name, value in vars(origin).items() if value is not None}


def _numbers_to_json(numbers: Mapping[int, int]) -> dict[str, int]:
    return {str(key): value for key, value in numbers.items()}


def _numbers_from_json(row: Mapping[str, int]) -> dict[int, int]:
    return {int(key): value for key, value in row.items()}
