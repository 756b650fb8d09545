"""What happens to the rows of a session that was reset or deleted.

In the transaction that takes them out of sight they only get a tombstone, so that it is as quick
for a long session as for a short one. They are collected afterwards, some at a time, and last the
write-ahead log is emptied. A tombstone goes when no byte is left, so what is cut short anywhere is
finished at the next opening.
"""

from __future__ import annotations

from dexto_magic.conversation.history import SessionRecord
from dexto_magic.stores import rows
from dexto_magic.stores.keys import TOMBSTONES, removed_range, tombstone_key
from dexto_magic.stores.table import Table

_AT_ONCE = 2000
"""Rows that one transaction takes away."""


def condemn(table: Table, record: SessionRecord) -> None:
    """Leaves a tombstone for the rows of the record's epoch; a step of the caller's transaction.

    Also where there are none: the record itself holds text, which must leave the log, too.
    """
    key = tombstone_key(record.sid, record.epoch)
    table.add(key, rows.encode(record.rows))


def collect(table: Table) -> bool:
    """Takes some of the condemned rows away, in a transaction of its own.

    Returns:
        Whether there was nothing left to take.
    """
    for tombstone in table.keys(*TOMBSTONES, limit=_AT_ONCE):
        with table.transaction():
            if table.delete_range(*removed_range(tombstone), limit=_AT_ONCE):
                return False
    return True


def purge(table: Table) -> bool:
    """After ``collect``: empties the log, and if that worked removes the tombstones.

    Returns:
        Whether nothing of what was removed is in any file of the store.
    """
    tombstones = table.keys(*TOMBSTONES, limit=_AT_ONCE)
    if not tombstones:
        return True
    if not table.purge_log():
        return False
    with table.transaction():
        for key in tombstones:
            table.delete(key)
    return len(tombstones) < _AT_ONCE
