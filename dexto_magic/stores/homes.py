"""What leads from a notebook to sessions: its path to its own one, its marks to all that know them.

Every function is a step of what the caller does: a snapshot to read in, a transaction to write in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dexto_magic.stores import rows
from dexto_magic.stores.codec import encode
from dexto_magic.stores.keys import home_key, mark_key
from dexto_magic.stores.table import Table

_SESSIONS_OF_A_MARK = 8
"""Copies of a notebook share its cells; the latest so many are told apart."""


def sid_at_home(table: Table, notebook: str) -> str | None:
    """The sid of the notebook's own session."""
    row = table.get(home_key(notebook))
    return None if row is None else rows.home_from_json(row)


def settle(table: Table, notebook: str, sid: str) -> None:
    """Makes the session the notebook's own, in place of the one before."""
    table.set(home_key(notebook), encode({"notebook": notebook, "sid": sid}))


def leave(table: Table, notebook: str) -> None:
    """The notebook has no session of its own any more."""
    table.delete(home_key(notebook))


def sids_of(table: Table, marks: Iterable[str]) -> set[str]:
    """The sids of sessions that learned one of the marks, of some perhaps that are gone."""
    return {sid for mark in marks for sid in _sids(table, mark)}


def relearn(table: Table, sid: str, *, before: Sequence[str], after: Sequence[str]) -> None:
    """Lets the marks that are new to a session lead to it, and those that it forgot no longer."""
    if before == after:
        return
    for mark in set(after) - set(before):
        sids = [*_sids(table, mark), sid][-_SESSIONS_OF_A_MARK:]
        table.set(mark_key(mark), encode({"mark": mark, "sids": sids}))
    for mark in set(before) - set(after):
        if others := [other for other in _sids(table, mark) if other != sid]:
            table.set(mark_key(mark), encode({"mark": mark, "sids": others}))
        else:
            table.delete(mark_key(mark))


def _sids(table: Table, mark: str) -> Sequence[str]:
    row = table.get(mark_key(mark))
    return () if row is None else rows.sids_from_json(row)
