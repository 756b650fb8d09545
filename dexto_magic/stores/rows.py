"""What the rows of a store say: messages and asides, sessions' records, partial replies.

Rows are never rewritten, so fields that this version does not know are not lost by it; but records
are, and ``minimum_reader`` in the store's schema row keeps out a version that must not do so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from dexto_magic.conversation import wire
from dexto_magic.conversation.messages import Aside, Message
from dexto_magic.conversation.record import OpenTurn, Partial, SessionRecord
from dexto_magic.conversation.wire import (
    ASIDES,
    MESSAGES,
    MISREAD,
    known,
    line_from_json,
    line_to_json,
    message_to_json,
    usage_from_json,
    usage_to_json,
)
from dexto_magic.errors import StoreCorruptedError

T = TypeVar("T")

FORGOTTEN = {"kind": "forgotten"}
"""What stands in place of a row that was forgotten: the sequence has no holes."""


def is_message(row: Any) -> bool:
    """Whether a row is a message; one of no kind at all is taken for one, to be refused as such."""
    return not isinstance(row, dict) or row.get("kind") in MESSAGES


def is_aside(row: Any) -> bool:
    """Whether a row is a summary or a title."""
    return isinstance(row, dict) and row.get("kind") in ASIDES


def message_from_json(row: Any) -> Message:
    """The message of a row.

    Raises:
        StoreCorruptedError: It lacks something that every message has.
    """
    return _read(_message, row, "A message of the store")


def _message(row: Any) -> Message:
    message = wire.message_from_json(row)
    _check(int, message.turn, message.version)
    _check(str, message.id, message.content, *(part.digest for part in message.attachments))
    return message


def aside_from_json(row: Any) -> Aside:
    """The summary or title of a row.

    Raises:
        StoreCorruptedError: It lacks something that every one has.
    """
    return _read(_aside, row, "A summary or title of the store")


def _aside(row: Any) -> Aside:
    aside = wire.aside_from_json(row)
    _check(int, aside.turn, *aside.versions, *aside.versions.values(), *aside.without)
    _check(str, aside.id, aside.content)
    return aside


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
        "messages": record.messages,
        # Version 1 had its parts here: it finds none, and so leaves alone what it does not know.
        "line": line_to_json(record.line),
        "open": None if record.open is None else _mark_to_json(record.open),
        "title": record.title,
        "own_title": record.own_title,
        "model": record.model,
        "system": record.system,
        "settings": dict(record.settings),
        "usage": usage_to_json(record.usage),
        "forked_from": record.forked_from,
        "forked_at": record.forked_at,
        "parent": record.parent,
        "family": record.family,
        "source": record.source,
        "forgets": record.forgets,
        "home": record.home,
        "notebooks": list(record.notebooks),
        "marks": list(record.marks),
    }


def record_from_json(row: Any) -> SessionRecord:
    """The record of a row, of an earlier version of the store, too.

    Raises:
        StoreCorruptedError: It lacks something that every record has.
    """
    return _read(_record, row, "A session of the store")


def _record(row: Mapping[str, Any]) -> SessionRecord:
    record = SessionRecord(
        sid=row["sid"],
        id=row["id"],
        created_at=datetime.fromisoformat(row["created"]),
        used_at=datetime.fromisoformat(row["used"]),
        epoch=row["epoch"],
        rows=row["rows"],
        revision=row["revision"],
        line=line_from_json(row.get("line", row)),
        messages=row["messages"],
        open=None if row["open"] is None else _mark_from_json(row["open"]),
        title=row["title"],
        own_title=row["own_title"],
        model=row["model"],
        system=row["system"],
        settings=row["settings"],
        usage=usage_from_json(row["usage"]),
        forked_from=row["forked_from"],
        forked_at=row.get("forked_at"),
        parent=row.get("parent"),
        family=row.get("family"),
        source=row.get("source"),
        forgets=row.get("forgets", 0),
        home=row["home"],
        notebooks=tuple(row["notebooks"]),
        marks=tuple(row["marks"]),
    )
    _check(int, record.epoch, record.rows, record.revision, record.messages, record.forgets)
    texts = (record.title, record.model, record.system, record.home)
    origins = (record.forked_from, record.parent, record.family, record.source)
    known_texts = [text for text in (*texts, *origins) if text is not None]
    _check(str, record.sid, record.id, *known_texts, *record.notebooks, *record.marks)
    return record


def generation_from_json(row: Any) -> str:
    """What tells a store from any other, of its schema row.

    Raises:
        StoreCorruptedError: It lacks that.
    """
    return _read(lambda row: str(row["generation"]), row, "The schema row of the store")


def place_from_json(row: Any) -> tuple[int, int]:
    """The numbers of a session's use and of its change, which stand beside its record.

    Raises:
        StoreCorruptedError: It lacks them.
    """

    def numbers(row: Any) -> tuple[int, int]:
        use, change = row["use"], row["change"]
        _check(int, use, change)
        # Which is what their keys have room for.
        use.to_bytes(8), change.to_bytes(8)
        return use, change

    return _read(numbers, row, "A session of the store")


def home_from_json(row: Any) -> str:
    """The sid in the row of a notebook.

    Raises:
        StoreCorruptedError: It lacks that.
    """

    def sid(row: Any) -> str:
        _check(str, row["sid"])
        return str(row["sid"])

    return _read(sid, row, "The own session of a notebook")


def sids_from_json(row: Any) -> list[str]:
    """The sids in the row of a mark.

    Raises:
        StoreCorruptedError: It lacks them.
    """

    def sids(row: Any) -> list[str]:
        found = list(row["sids"])
        _check(str, *found)
        return found

    return _read(sids, row, "A mark of a notebook")


def partial_to_json(partial: Partial) -> dict[str, Any]:
    """The saved part of a running reply."""
    return {
        "epoch": partial.epoch,
        "turn": partial.turn,
        "message": message_to_json(partial.message),
    }


def partial_from_json(row: Any) -> Partial:
    """The inverse of ``partial_to_json``.

    Raises:
        StoreCorruptedError: It lacks something that every partial reply has.
    """
    return _read(_partial, row, "A partial reply")


def _partial(row: Mapping[str, Any]) -> Partial:
    message = wire.message_from_json(row["message"])
    return Partial(epoch=row["epoch"], turn=row["turn"], message=message)


def _mark_to_json(mark: OpenTurn) -> dict[str, Any]:
    return {**vars(mark), "since": mark.since.isoformat()}


def _mark_from_json(row: Mapping[str, Any]) -> OpenTurn:
    return known(OpenTurn, {**row, "since": datetime.fromisoformat(row["since"])})


def _check(kind: type, *values: object) -> None:
    """Lets pass what is of a kind; what is not would only be noticed far from here."""
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r:.40} where {kind.__name__} should be")


def _read(reader: Callable[[Any], T], row: Any, what: str) -> T:
    try:
        return reader(row)
    except (*MISREAD, OverflowError) as error:
        raise StoreCorruptedError(f"{what} cannot be read ({error!r}).") from error
