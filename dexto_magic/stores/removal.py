"""What happens to the rows of a session that was reset or deleted, or never came to be.

In the transaction that takes them out of sight they only get a tombstone, so that it is as quick
for a long session as for a short one. They are collected afterwards, some at a time, and last the
write-ahead log is emptied: see ``purging``. A tombstone goes when no byte is left, so what is cut
short anywhere is finished at the next opening.

A session that is built in several transactions has one until the last, with the name of who builds
it: its rows are collected if that one dies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dexto_magic.conversation.record import SessionRecord
from dexto_magic.stores.codec import encode
from dexto_magic.stores.keys import (
    TOMBSTONES,
    file_range,
    forgotten_key,
    removed_range,
    sid_of_tombstone,
    tombstone_key,
)
from dexto_magic.stores.table import Table

_AT_ONCE = 2000
"""Rows that one transaction takes away."""

_FILES_AT_ONCE = 20
"""Attachments that one takes away: they may be large."""

ALL = 2**31
"""As many as there are."""


def condemn(table: Table, record: SessionRecord) -> None:
    """Leaves a tombstone for the rows of the record's epoch; a step of the caller's transaction.

    Also where there are none: the record itself holds text, which must leave the log, too. The
    attachments go at once, as a new epoch may have the same.
    """
    table.add(tombstone_key(record.sid, record.epoch), encode(record.rows))
    table.delete_range(*file_range(record.sid), limit=ALL)


def condemn_forgotten(table: Table, record: SessionRecord) -> None:
    """Leaves a mark that rows were forgotten by the step that made the record's revision."""
    table.add(forgotten_key(record.sid, record.epoch, record.revision), encode(0))


def begin_building(table: Table, sid: str, owner_id: str) -> None:
    """Leaves a tombstone for the rows of a session that an owner is about to build."""
    table.add(tombstone_key(sid, 0), encode({"owner": owner_id}))


def end_building(table: Table, sid: str) -> None:
    """The session is there: its rows are not to be collected any more."""
    table.delete(tombstone_key(sid, 0))


def is_pending(table: Table, *, is_alive: Callable[[str], bool]) -> bool:
    """Whether anything that was removed may still be in a file of the store."""
    keys = table.keys(*TOMBSTONES, limit=_AT_ONCE)
    return any(not is_of_the_living(table.get(key), is_alive) for key in keys)


def collect(table: Table, *, is_alive: Callable[[str], bool]) -> list[str] | None:
    """Takes some of the condemned rows away, in a transaction of its own.

    Returns:
        The tombstones whose rows are gone, or ``None`` if there was something to take.
    """
    emptied = []
    for tombstone in table.keys(*TOMBSTONES, limit=_AT_ONCE):
        builder = table.get(tombstone)
        if is_of_the_living(builder, is_alive):
            continue
        with table.transaction():
            if table.delete_range(*removed_range(tombstone), limit=_AT_ONCE):
                return None
            if isinstance(builder, dict):  # of what was removed, the attachments went at once
                files = file_range(sid_of_tombstone(tombstone))
                if table.delete_range(*files, limit=_FILES_AT_ONCE):
                    return None
        emptied.append(tombstone)
    return emptied


def is_of_the_living(value: Any, is_alive: Callable[[str], bool]) -> bool:
    """Whether a tombstone's value names an owner who is at work on what it stands for."""
    return isinstance(value, dict) and is_alive(value["owner"])
