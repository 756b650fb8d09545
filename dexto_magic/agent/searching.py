"""What an agent finds by its search index.

One of the parts of ``agent``, which has them all.
"""

from __future__ import annotations

from datetime import datetime

from dexto_magic.agent.arguments import natural_limit, text_or_none, time_or_none
from dexto_magic.agent.membership import Membership
from dexto_magic.conversation.finding import SearchPage
from dexto_magic.conversation.messages import Role
from dexto_magic.errors import SettingsError
from dexto_magic.search.index import SearchIndex


class SearchMethods:
    """The methods of an agent that are about search."""

    _membership: Membership
    _index: SearchIndex

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
