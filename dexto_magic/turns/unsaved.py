"""Replies that the store could not take when they came: kept here, and saved as soon as it can.

Until one is saved its turn has not ended, and so its session is taken, for every other process
too.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.record import Claim
from dexto_magic.errors import SessionError, StoreError
from dexto_magic.stores.protocol import Store

_FIRST_RETRY_SECONDS = 0.2
"""How soon a save that failed is tried again; then after twice that, and so on."""

_LONGEST_RETRY_SECONDS = 10.0
"""The longest pause between two attempts."""


class UnsavedReplies:
    """What one agent still owes its store, at most one reply of each session.

    Args:
        store: Where the replies belong.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owed: dict[str, tuple[Claim, Message]] = {}
        self._retries: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._owed)

    def keep(self, claim: Claim, reply: Message) -> None:
        """Takes a reply that could not be saved, and tries on."""
        self._owed[claim.sid] = (claim, reply)
        task = asyncio.create_task(self._try_on(claim.sid))
        self._retries.add(task)
        task.add_done_callback(self._retries.discard)

    async def settle(self, session_id: str) -> None:
        """Saves what is owed, so that a session is not taken for one in which a turn runs.

        All of it, as a session may have another name by now than when its turn began.

        Raises:
            StoreError: The reply of this session still cannot be saved.
        """
        for claim, _ in list(self._owed.values()):
            try:
                await self._settle(claim.sid)
            except StoreError:
                if claim.session.id == session_id:
                    raise

    async def _settle(self, sid: str) -> None:
        owed = self._owed.get(sid)
        if owed is not None:
            claim, reply = owed
            with suppress(SessionError):  # reset or deleted meanwhile, or somebody was faster
                await self._store.settle(claim, [reply])
            if self._owed.get(sid) is owed:
                del self._owed[sid]

    async def end(self) -> None:
        """Tries no more, but for each reply once, whatever becomes of the others.

        Raises:
            StoreError: One of them still cannot be saved.
        """
        retries = list(self._retries)
        for task in retries:
            task.cancel()
        await asyncio.gather(*retries, return_exceptions=True)
        async with AsyncExitStack() as steps:
            for sid in self._owed:
                steps.push_async_callback(self._settle, sid)

    async def _try_on(self, sid: str) -> None:
        delay = _FIRST_RETRY_SECONDS
        while sid in self._owed:
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_RETRY_SECONDS)
            with suppress(StoreError):
                await self._settle(sid)
