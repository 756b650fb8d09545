"""By which notebooks a session is known, and what it remembers of them.

Functions from record to record, so that every store follows the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dexto_magic.conversation.record import SessionRecord

KNOWN_MARKS = 256
"""Marks of its notebook that a session remembers: one is enough to recognise it."""

KNOWN_NOTEBOOKS = 16
"""Notebook paths that a session remembers, the latest."""


def at_home(record: SessionRecord, notebook: str, marks: Sequence[str]) -> SessionRecord:
    """Makes it the notebook's own session, which knows it by these marks, too."""
    return replace(record, home=notebook, marks=remembered(record.marks, marks, KNOWN_MARKS))


def cell_mark(cell_id: str) -> str:
    """By which a notebook is recognised that has the cell."""
    return f"cell {cell_id}"


def homeless(record: SessionRecord, lost: Sequence[str]) -> SessionRecord:
    """Gives its home to another session, with these of its marks.

    The others still lead to it: a new file may have taken the path of its notebook, which goes on
    under another name.
    """
    kept = tuple(mark for mark in record.marks if mark not in lost)
    return replace(record, home=None, marks=kept)


def remembered(known: tuple[str, ...], items: Sequence[str | None], most: int) -> tuple[str, ...]:
    """The same with the items last; only the latest are kept."""
    latest = [item for item in dict.fromkeys(items) if item is not None]
    return (*(item for item in known if item not in latest), *latest)[-most:]
