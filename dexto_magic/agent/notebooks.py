"""What an agent tells front ends of notebooks: whose session is whose, and how it is recognised.

One of the parts of ``agent``, which has them all.
"""

from __future__ import annotations

from collections.abc import Sequence

from dexto_magic.agent.membership import Membership
from dexto_magic.conversation.session import Session


class NotebookMethods:
    """The methods of an agent that are about notebooks."""

    _membership: Membership

    async def notebook_session(self, notebook: str) -> Session | None:
        """The notebook's own session, or ``None``."""
        return await self._membership.store().home_session(notebook)

    async def adopt_notebook(
        self, session_id: str, notebook: str, marks: Sequence[str] = ()
    ) -> Session:
        """Makes the session the notebook's own, which knows it by these marks.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        return await self._membership.store().set_home(session.id, notebook, marks)

    async def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        """Whether the session, being some notebook's own, knows one of these marks.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        session = await self._membership.session(session_id)
        return await self._membership.store().knows_marks(session.id, marks)

    async def sessions_of_marks(self, marks: Sequence[str]) -> Sequence[Session]:
        """Notebooks' own sessions that know one of these marks, the latest used first."""
        return await self._membership.store().sessions_of_marks(marks)
