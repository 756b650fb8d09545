"""Bringing an index up to what the store says has changed.

First all changes are heard of, which is quick; then the sessions that are behind are read and taken
in, some at a time. No lock is held while the store is read, so others search and write meanwhile,
and several who catch up at once only do some work twice. Killed anywhere, it goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from dexto_magic.errors import StoreCorruptedError
from dexto_magic.search.catalogue import Catalogue, Known, Reading
from dexto_magic.search.shelf import Shelf
from dexto_magic.search.shift import shift
from dexto_magic.stores.protocol import Rows, Store

T = TypeVar("T")

_CHANGES = 500
"""Changes that are heard of at a time."""

_SESSIONS = 100
"""Sessions that are looked up at a time."""

_MESSAGES = 1000
"""Messages that one transaction takes in: about a tenth of a second, in which others wait."""

_BACK = 64
"""Rows that are read again first for what is back in view."""

_PASSES = 5
"""How often those sessions are looked for that somebody else was taking in at the same time."""


class Run(Protocol):
    """Does something on the thread of an index."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """What it gives."""
        ...


async def catch_up(
    store: Store, shelf: Shelf, run: Run, *, indexed: bool = False
) -> tuple[str, ...]:
    """Takes in what changed; the names of sessions that the store cannot read.

    Args:
        store: The store.
        shelf: The index.
        run: Does something on its thread.
        indexed: Whether to leave out sessions of which nothing is in the index.
    """
    generation = await store.generation()
    number = await run(lambda: shelf.begin(generation))
    while changes := await store.changes(number, limit=_CHANGES):
        note = partial(Catalogue.note, changes=changes)
        await run(partial(shelf.write, note))
        number = changes[-1].number
    unread: dict[int, str] = {}
    for _ in range(_PASSES):
        if not await _take_in_all(store, shelf, run, indexed=indexed, unread=unread):
            break
    return tuple(unread.values())


async def _take_in_all(
    store: Store, shelf: Shelf, run: Run, *, indexed: bool, unread: dict[int, str]
) -> bool:
    """Goes once through the sessions that are behind; whether anything was read."""
    after, found, readings = -1, False, list[Reading]()
    while batch := await run(partial(_behind, shelf, after, indexed=indexed)):
        for known in batch:
            if known.key in unread:
                continue
            try:
                readings.append(Reading(known=known, rows=await _rows(store, known)))
            except StoreCorruptedError:
                unread[known.key] = known.name
                continue
            found = True
            if sum(len(reading.rows.messages) for reading in readings if reading.rows) >= _MESSAGES:
                await _take_in(shelf, run, readings)
                readings = []
        after = batch[-1].noted
    await _take_in(shelf, run, readings)
    return found


def _behind(shelf: Shelf, after: int, *, indexed: bool) -> list[Known]:
    return shelf.read(
        lambda connection: Catalogue(connection).behind(after, limit=_SESSIONS, indexed=indexed)
    )


async def _rows(store: Store, known: Known) -> Rows | None:
    """What was written in a session since it was read, and before that what is back in view.

    Where that stands is not known, most often near the end: so it is looked for from there.
    """
    back = 0
    while True:
        start = max(0, known.rows - back)
        rows = await store.rows(known.sid, epoch=known.epoch, start=start)
        if rows is None or rows.epoch != known.epoch or rows.start == 0:
            return rows
        # Every version begins with what was asked.
        begun = {(said.turn, said.version) for said in rows.messages if said.role == "user"}
        if shift(known.line, rows.line).returned <= begun:
            return rows
        back = 4 * back or _BACK


async def _take_in(shelf: Shelf, run: Run, readings: list[Reading]) -> None:
    while readings:
        step = partial(Catalogue.take_in, readings=readings, most=_MESSAGES)
        readings = await run(partial(shelf.write, step))
