"""What an agent does with the search index: asked, and rid of what was taken from the store.

One of the parts of ``agent``, which has them all.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from dexto_magic.agent.arguments import natural_limit, text_or_none, time_or_none
from dexto_magic.agent.membership import Membership
from dexto_magic.conversation.finding import SearchPage
from dexto_magic.conversation.messages import Role
from dexto_magic.conversation.session import Removal
from dexto_magic.errors import SettingsError
from dexto_magic.search.index import SearchIndex


class SearchMethods:
    """The methods of an agent that are about search."""

    _membership: Membership
    _index: SearchIndex
    _ridding: asyncio.Task[bool] | None = None

    async def search(
        self,
        query: str,
        *,
        session_id: str | None = None,
        role: Role | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SearchPage:
        """Where words stand in what is in view, in all sessions, names and titles included.

        Args:
            query: Words, ``"phrases"`` and beginnings (``regress*``), in any script; all of them
                must be there.
            session_id: Only in this session.
            role: Only what ``"user"``, ``"assistant"`` or ``"tool"`` said.
            since: Only from then on; UTC.
            until: Only before then; UTC.
            limit: At most so many hits.
            cursor: The ``cursor`` of a page, to go on where it ended.

        Raises:
            SessionNotFoundError: There is no such session.
            SettingsError: There is nothing to search for, or an argument makes no sense.
            StoreError: The store cannot be read.
        """
        self._membership.store()
        session = None if session_id is None else (await self._membership.session(session_id)).id
        if not isinstance(query, str):
            raise SettingsError(
                f"query must be a string, not {type(query).__name__}.", option="query"
            )
        return await self._index.search(
            query,
            session=session,
            role=role,
            since=time_or_none("since", since),
            until=time_or_none("until", until),
            limit=natural_limit(limit),
            cursor=text_or_none("cursor", cursor),
        )

    async def _rid(self, removal: Removal) -> Removal:
        """What a removal did, once the search index is rid of it, too."""
        purged = await self._index.purge()
        return removal if purged else replace(removal, purge_pending=True)

    def _rid_later(self) -> None:
        """Has the search index rid, in the background, of what a removal that was cut short left.

        A process may have been killed after the store was rid of it. Nothing is begun where there
        is no index.
        """
        if self._ridding is None and self._index.exists:
            self._ridding = asyncio.create_task(self._index.purge(just_removed=False))

    async def _end_ridding(self) -> None:
        """Ends that; what is not done is done at the next start or search."""
        task, self._ridding = self._ridding, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
