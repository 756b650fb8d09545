"""The search index of an agent, rid of what was taken from the store.

A removal is in the store at once; the index has to be told, which may take long, or not be possible
just then. Whoever is interrupted meanwhile was promised that the text is gone: so what is owed is
kept here, goes on by itself, and is tried again.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from dexto_magic.conversation.session import Removal
from dexto_magic.search.index import SearchIndex


class Ridding:
    """What an agent's index is still to be rid of.

    Args:
        index: The index.
    """

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
        self._running: set[asyncio.Task[bool]] = set()
        self._retry: asyncio.Task[bool] | None = None
        self._removals = self._done = 0

    async def after(self, removal: Removal) -> Removal:
        """What a removal did, once the index is rid of it, too.

        Cancelled, it is told at once that this is pending, and it goes on: as with the store,
        nothing may keep it from being told what is gone.
        """
        self._removals += 1
        task = asyncio.create_task(self._rid(self._removals))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            return replace(removal, purge_pending=True)
        return removal if task.result() else replace(removal, purge_pending=True)

    async def of_what_is_gone(self) -> None:
        """Rids the index of what is in the store no longer, whoever took it away."""
        await self._index.purge(just_removed=False)

    def later(self) -> None:
        """Has it rid, in the background, of what a process left that was killed amid a removal.

        Nothing is begun where there is no index.
        """
        if self._retry is None and self._index.exists:
            self._retry = asyncio.create_task(self._index.purge(just_removed=False))

    def again(self) -> None:
        """Has it tried again, in the background, if it could not be done the last time."""
        is_owed = self._done < self._removals and not self._running
        if is_owed and (self._retry is None or self._retry.done()):
            self._retry = asyncio.create_task(self._rid(self._removals))

    async def end(self) -> None:
        """Sees through what follows a removal; what was tried before is tried at the next start."""
        task, self._retry = self._retry, None
        if task is not None:
            task.cancel()
        running = {*self._running, *([] if task is None else [task])}
        if running:
            await asyncio.wait(running)

    async def _rid(self, number: int) -> bool:
        """Rids the index of all removals up to the one of a number; whether that is done."""
        is_rid = await self._index.purge()
        if is_rid:
            self._done = max(self._done, number)
        return is_rid
