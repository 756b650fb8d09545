"""Keeping a reply while it arrives: it is saved as it grows, and its session is looked at.

A task beside the one that reads, so that a store that is busy never holds up the stream, and a
turn ends when it should whether or not text comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from dexto_magic.conversation.history import Signal
from dexto_magic.conversation.record import Claim, Hold
from dexto_magic.errors import SessionError, SessionNotFoundError, StoreError
from dexto_magic.llm.protocol import Notice
from dexto_magic.stores.protocol import Store
from dexto_magic.turns.engine import SAVE_SECONDS, RunningTurn

T = TypeVar("T")


async def watched(store: Store, hold: Hold, work: Coroutine[Any, Any, T]) -> T:
    """The outcome of something that is done under a hold, ended early if that is lost or cancelled.

    Raises:
        SessionError: It was cancelled from elsewhere, or the session was reset meanwhile.
        SessionNotFoundError: The session was deleted meanwhile.
    """
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=SAVE_SECONDS)
            signal: Signal = "go on"
            with suppress(StoreError):  # who cannot look now looks again in half a second
                signal = await store.watch(hold)
            if signal != "go on" and not task.done():
                raise _ended(hold.session.id, signal)
    finally:
        task.cancel()
        await asyncio.wait([task])
    return task.result()


def _ended(session_id: str, signal: Signal) -> SessionError:
    if signal == "deleted":
        return SessionNotFoundError(
            f"Session {session_id!r} was deleted meanwhile.", session_id=session_id
        )
    said = f"Session {session_id!r} was reset meanwhile."
    if signal == "cancel":
        said = (
            f"The work on session {session_id!r} was cancelled from elsewhere; what was finished "
            "before that is kept."
        )
    return SessionError(said, session_id=session_id)


class Keeper:
    """Watches over one running turn, from its start to its stop.

    Args:
        store: Where the turn is saved.
        claim: The turn's claim.
        turn: The reply on its way.
        stop: Ends the turn, for a reason.
        tell: Takes notices for whoever reads.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        turn: RunningTurn,
        *,
        stop: Callable[[str], None],
        tell: Callable[[Notice], None],
    ) -> None:
        self._store = store
        self._claim = claim
        self._turn = turn
        self._stop = stop
        self._tell = tell
        self._ended = self._failed = self._told = False
        self._saving: asyncio.Task[None] | None = None
        self._watching = asyncio.create_task(self._watch())

    def fed(self) -> None:
        """Is told that something arrived; much of it is saved at once."""
        if not self._failed:  # else it is tried again from time to time
            self._save_if_due()

    async def end(self) -> None:
        """Ends it; nothing of it runs any more.

        Raises:
            Exception: A bug in it, which must show.
        """
        # A call of the store's that has begun finishes, cancelled or not: hence the flag.
        self._ended = True
        tasks = [self._watching, *([self._saving] if self._saving is not None else [])]
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks)
        if self._watching.done() and not self._watching.cancelled():
            self._watching.result()

    async def _watch(self) -> None:
        while not self._ended:
            before = self._saving
            await asyncio.sleep(SAVE_SECONDS)
            with suppress(StoreError):  # who cannot look now looks again in half a second
                signal = await self._store.watch(self._claim)
                if signal != "go on":
                    self._stop("interrupted" if signal == "cancel" else signal)
            late = self._saving is not None and self._saving is before
            if (late or self._failed) and not self._told:
                self._told = True
                self._tell(Notice("not saved yet: the store is busy; trying on", passing=True))
            self._save_if_due()

    def _save_if_due(self) -> None:
        now = time.monotonic()
        if self._saving is None and not self._ended and (self._failed or self._turn.save_due(now)):
            partial = self._turn.partial(now)
            self._saving = asyncio.create_task(self._store.save_partial(self._claim, partial))
            self._saving.add_done_callback(self._saved)

    def _saved(self, task: asyncio.Task[None]) -> None:
        self._saving = None
        self._failed = not task.cancelled() and task.exception() is not None
        if not self._failed:
            self._told = False
            self._save_if_due()  # as much may have come meanwhile
