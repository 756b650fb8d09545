"""An agent's membership of its store: open on one event loop, joined with the first turn, left.

Every use of the store by the agent goes through it, so that an agent that is not started, or is
used on another loop, is told so instead of failing somewhere below.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable

from dexto_magic.conversation.session import Session, not_found, valid_session_id
from dexto_magic.errors import DextoError
from dexto_magic.stores.protocol import Owner, Store

_COMPARED_NAMES = 1000
"""Names, the latest used, among which a name that is not there is looked for; comparing is slow."""


class Membership:
    """What one agent has of a store between its start and its stop.

    Args:
        store: The store.
        closes: Whether the store is the agent's alone, and closed with it.
        label: What the agent is, in words, for those who have to wait for it.
        used: Called whenever the agent uses the store.
    """

    def __init__(self, store: Store, *, closes: bool, label: str, used: Callable[[], None]) -> None:
        self._store = store
        self._closes = closes
        self._label = label
        self._used = used
        self._owner: Owner | None = None
        self._joining: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def begin(self) -> None:
        """Opens the store. Does nothing if it has begun.

        Raises:
            StoreError: The store cannot be opened.
        """
        if self._loop is None:
            await self._store.open()
            # Not in __init__: a lock belongs to the loop on which it is first waited for.
            self._joining = asyncio.Lock()
            self._loop = asyncio.get_running_loop()

    def store(self) -> Store:
        """The store, if the agent may be used here and now.

        Raises:
            DextoError: It is not started, or on another event loop.
        """
        if self._loop is None:
            raise DextoError(
                "This agent is not started: call start(), or use it in a `with` statement "
                "(`async with` for AsyncDextoAgent)."
            )
        if self._loop is not asyncio.get_running_loop():
            raise DextoError(
                "This agent was started on another event loop. Start one agent per loop, or use "
                "DextoAgent, which may be called from anywhere."
            )
        self._used()
        return self._store

    async def session(self, session_id: str) -> Session:
        """The session of a name.

        Raises:
            InvalidSessionIdError: No session can have that name.
            SessionNotFoundError: There is none; it has names that are like this one.
            StoreError: The store cannot be read.
        """
        name = valid_session_id(session_id)
        session = await self.store().get(name)
        if session is None:
            recent = await self._store.list(limit=_COMPARED_NAMES)
            names = [other.id for other in recent]
            raise not_found(name, difflib.get_close_matches(name, names))
        return session

    async def owner(self) -> Owner:
        """Whose turns these are: made with the first one, so that a store can be read only.

        Raises:
            StoreError: The store cannot take it.
        """
        assert self._joining is not None
        async with self._joining:
            if self._owner is None:
                self._owner = await self._store.join(self._label)
        return self._owner

    def resign(self) -> bool:
        """Lets nobody use the store through it any more; whether somebody could.

        Raises:
            DextoError: It began on another event loop.
        """
        if self._loop is None:
            return False
        self.store()
        self._loop = None
        return True

    async def end(self) -> None:
        """Leaves the store, and closes it if it is the agent's alone, whatever becomes of that.

        Raises:
            StoreError: The store cannot be left or closed in order.
        """
        owner, self._owner = self._owner, None
        try:
            if owner is not None:
                await self._store.leave(owner)
        finally:
            if self._closes:
                await self._store.close()
