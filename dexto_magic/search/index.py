"""Search across all sessions of a store, by an index that follows what the store says has changed.

The index is caught up when it is asked: a turn more costs a turn of indexing, however long its
session. It is derived, so whatever happens to it, the store is not touched; an index that cannot be
used is made anew, and one in memory answers where there can be no file.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar, get_args

from dexto_magic.conversation.finding import SearchPage
from dexto_magic.conversation.health import Finding, StoreReport
from dexto_magic.conversation.messages import Role
from dexto_magic.errors import SettingsError, StoreError
from dexto_magic.search.desk import Desk
from dexto_magic.search.faults import Damaged, Locked, Moved, Unavailable, unusable
from dexto_magic.search.following import catch_up
from dexto_magic.search.lookup import Wanted, look_up
from dexto_magic.search.query import parse
from dexto_magic.search.shelf import Shelf
from dexto_magic.search.state import state_of
from dexto_magic.stores.errands import Errand, done
from dexto_magic.stores.protocol import Store

T = TypeVar("T")

_ATTEMPTS = 10
"""How often an index is begun anew for one answer, mostly because others do so, too."""


class SearchIndex:
    """The search index of a store.

    To be used on one event loop. It is a file in the store's ``side_folder``, which all processes
    share that use the store, or in memory for a store without one. A forked child can use it, too,
    with connections of its own.

    Args:
        store: The store, open whenever the index is used.
        patience: Seconds to wait for other processes that use the index.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        store: Store,
        *,
        patience: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._patience = patience
        self._clock = clock
        self._desk: Desk | None = None

    async def search(
        self,
        query: str,
        *,
        session: str | None = None,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SearchPage:
        """Where all that is asked for stands: names and titles first, then the newest messages.

        Only what is in view is found. Case and accents make no difference.

        Args:
            query: Words, ``"phrases"``, and beginnings of words such as ``regress*``.
            session: The name of the one session to search.
            role: ``"user"``, ``"assistant"`` or ``"tool"``, to find only what they said.
            since: From when on; UTC if it has no time zone.
            until: Up to when, that moment left out; likewise.
            limit: At most so many hits.
            cursor: The cursor of the page before.

        Raises:
            SettingsError: There is nothing to search for in ``query``, or an option makes no sense.
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be read, or a file that is no index is in its place.
        """
        if role is not None and role not in get_args(Role):
            raise SettingsError(
                f"role is {role!r}: it must be 'user', 'assistant' or 'tool'.", option="role"
            )
        if limit < 0:
            raise SettingsError(f"limit must be 0 or more, not {limit}.", option="limit")
        wanted = Wanted(
            terms=parse(query),
            session=session,
            role=role,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        )

        async def answer(desk: Desk, shelf: Shelf) -> SearchPage:
            unread = await catch_up(self._store, shelf, desk.run)
            hits, following = await desk.run(lambda: look_up(shelf, wanted))
            try:
                await desk.run(shelf.purge)
            except (Locked, Moved):
                pass  # it is tried again at the next search
            except (Damaged, Unavailable):
                await _discarded(desk, shelf)
            return SearchPage(query=query, hits=hits, cursor=following, unread=unread)

        return await self._answered(answer)

    @property
    def exists(self) -> bool:
        """Whether there is anything of it; quick to tell, and nothing is opened for it."""
        desk = self._here()
        return desk.spare.exists() or (desk.durable is not None and desk.durable.exists())

    async def purge(self, *, just_removed: bool = True) -> bool:
        """Rids the index of what was taken from the store, to the byte; at no cost if there is none.

        Args:
            just_removed: Whether something was, so that an index that cannot be used is to go as a
                whole; else it may be full of what is still in the store, and is left as it is.

        Returns:
            Whether nothing of it is in any file of the index. If another process keeps that locked,
            or if nobody can tell, it is tried again at the next search.
        """
        desk = self._here()
        try:
            async with desk.lock:
                for shelf in (desk.spare, desk.durable):
                    if shelf is not None and not await self._rid(
                        desk, shelf, just_removed=just_removed
                    ):
                        return False
                return True
        except StoreError:
            return False  # it is gone from the store, and nothing may keep that from being told

    async def examined(self, report: StoreReport) -> StoreReport:
        """A report on the store, and on its index, too; nothing is opened for it, or changed."""
        folder = self._store.side_folder
        if folder is None:
            return report

        def look(errand: Errand) -> tuple[str, list[Finding]]:
            with errand.at_work():
                return state_of(folder, report)

        state, found = await done(look)
        findings = sorted((*report.findings, *found), key=lambda one: one.level != "problem")
        return replace(report, search=state, findings=tuple(findings))

    async def close(self) -> None:
        """Lets go of everything. It is opened again when it is used."""
        desk, self._desk = self._desk, None
        if desk is not None and not desk.is_inherited:
            await desk.close()

    def _here(self) -> Desk:
        """What this process has of the index."""
        desk = self._desk
        if desk is not None and desk.is_inherited:
            # Kept from being collected, as SQLite would close what is open in the parent, too.
            _PARENTS.append(desk)
            desk = None
        if desk is None:
            desk = self._desk = Desk(self._store.side_folder, patience=self._patience)
        return desk

    async def _answered(self, work: Callable[[Desk, Shelf], Awaitable[T]]) -> T:
        """Does something with an index that can be used."""
        desk = self._here()
        fault: Exception | None = None
        async with desk.lock:
            for attempt in range(_ATTEMPTS):
                shelf = desk.shelf(self._clock())
                try:
                    answer = await work(desk, shelf)
                except Moved as error:
                    fault = error
                except (Damaged, Unavailable) as error:
                    fault = error
                    is_new = isinstance(error, Damaged) and await _discarded(desk, shelf)
                    if attempt or not is_new:
                        desk.fall_back(self._clock())
                else:
                    await desk.used(shelf)
                    return answer
        assert fault is not None
        raise unusable(fault) from fault

    async def _rid(self, desk: Desk, shelf: Shelf, *, just_removed: bool) -> bool:
        """Rids an index of what is no longer in the store; whether that is done."""
        for _ in range(_ATTEMPTS):
            if not shelf.exists():
                return True
            try:
                await catch_up(self._store, shelf, desk.run, indexed=True)
                return await desk.run(shelf.purge)
            except Moved:
                continue
            except Locked:
                return False
            except (Damaged, Unavailable):
                return just_removed and await _discarded(desk, shelf)
        return False


_PARENTS: list[Desk] = []
"""What was inherited by forks."""


async def _discarded(desk: Desk, shelf: Shelf) -> bool:
    """Takes an index away as a whole; whether that is done."""
    try:
        await desk.run(shelf.discard)
    except Unavailable:
        return False
    return True
