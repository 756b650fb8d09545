"""What happens to the rows of a session that was reset or deleted, or never came to be.

In the transaction that takes them out of sight they only get a tombstone, so that it is as quick
for a long session as for a short one. They are collected afterwards, some at a time, and last the
write-ahead log is emptied. A tombstone goes when no byte is left, so what is cut short anywhere is
finished at the next opening.

A session that is built in several transactions has one until the last, with the name of who builds
it: its rows are collected if that one dies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from dexto_magic.conversation.record import SessionRecord
from dexto_magic.stores.codec import encode
from dexto_magic.stores.keys import (
    CHANGES,
    NUMBER_ENDS,
    TOMBSTONES,
    USES,
    file_range,
    forgotten_key,
    removed_range,
    sid_of_tombstone,
    tombstone_key,
)
from dexto_magic.stores.rows import FORGOTTEN
from dexto_magic.stores.table import Table

_AT_ONCE = 2000
"""Rows that one transaction takes away."""

_ALL = 2**31

_OCCURRENCES = 2
"""How often the key of a row stands in the file: with the row, and in the index."""


def condemn(table: Table, record: SessionRecord) -> None:
    """Leaves a tombstone for the rows of the record's epoch; a step of the caller's transaction.

    Also where there are none: the record itself holds text, which must leave the log, too. The
    attachments go at once, as a new epoch may have the same.
    """
    table.add(tombstone_key(record.sid, record.epoch), encode(record.rows))
    table.delete_range(*file_range(record.sid), limit=_ALL)


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
    return any(not _is_of_the_living(table.get(key), is_alive) for key in keys)


def collect(table: Table, *, is_alive: Callable[[str], bool]) -> list[str] | None:
    """Takes some of the condemned rows away, in a transaction of its own.

    Returns:
        The tombstones whose rows are gone, or ``None`` if there was something to take.
    """
    emptied = []
    for tombstone in table.keys(*TOMBSTONES, limit=_AT_ONCE):
        if _is_of_the_living(table.get(tombstone), is_alive):
            continue
        with table.transaction():
            if table.delete_range(*removed_range(tombstone), limit=_AT_ONCE):
                return None
        emptied.append(tombstone)
    return emptied


def purge(table: Table, emptied: Sequence[str]) -> bool:
    """After ``collect``: empties the log, and if that worked removes the tombstones it gave.

    Returns:
        Whether nothing of what was removed is in any file of the store. A session that is still
        being built may hold some of it.
    """
    if emptied:
        if not table.purge_log():
            return False
        if _leaves_traces(table, {sid_of_tombstone(key) for key in emptied}):
            # Of what is gone it takes no copy along: what is still found then stands in rows.
            table.rewrite()
            if not table.purge_log():
                return False
        with table.transaction():
            for key in emptied:
                table.delete(key)
    return not table.keys(*TOMBSTONES, limit=1)


def _leaves_traces(table: Table, sids: Collection[str]) -> bool:
    """Whether copies of rows that these sessions had, or have forgotten, are still in the file.

    A row's key stands before what it says, and in the index: twice, if the row is there.
    """
    found = table.traces(sids)
    found.subtract(_lookalikes(table))
    return any(count > _expected(table, key.decode()) for key, count in found.items())


def _lookalikes(table: Table) -> Counter[bytes]:
    """What looks like the key of a record or a partial reply, but ends a key of use or change.

    The sid stands there after a number, whose last two bytes may be such a key's beginning. That
    of a session that is gone stays so for ever.
    """
    found: Counter[bytes] = Counter()
    for number in (b"s:", b"p:"):
        for kind in (USES, CHANGES):
            for key in table.keys_with(*kind, at=NUMBER_ENDS - 2, part=number):
                found[key[NUMBER_ENDS - 2 :]] += _OCCURRENCES
    return found


def _expected(table: Table, key: str) -> float:
    """How often a key stands in the file if there is no copy of what is gone."""
    if key.startswith("b:"):
        return _OCCURRENCES * len(table.keys(*file_range(sid_of_tombstone(key)), limit=_ALL))
    if key.startswith("m:") and table.get(key) not in (None, FORGOTTEN):
        return math.inf  # a copy of it tells nothing that is gone
    return _OCCURRENCES if table.get_row(key) else 0


def _is_of_the_living(value: Any, is_alive: Callable[[str], bool]) -> bool:
    return isinstance(value, dict) and is_alive(value["owner"])
