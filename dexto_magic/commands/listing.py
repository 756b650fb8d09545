"""Finding sessions: the list of them, and the one of a name."""

from __future__ import annotations

import fnmatch
import unicodedata

from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.commands.arguments import refuse_negative
from dexto_magic.conversation.session import Session
from dexto_magic.errors import (
    SessionNotFoundError,
)
from dexto_magic.rendering.results import SessionTable

SHOWN_SESSIONS = 50
"""How many a list shows unless it is asked for more."""

_PAGE = 500


def sessions(
    agent: DextoAgent,
    pattern: str | None = None,
    *,
    limit: int = SHOWN_SESSIONS,
    current: str | None = None,
) -> SessionTable:
    """The most recently used sessions, those that match first come first.

    Args:
        agent: The agent.
        pattern: Part of a name or title in any case, or a pattern with ``*``, ``?`` or ``[…]``.
        limit: At most so many.
        current: The name of the one that a cell without a name goes to.

    Raises:
        SettingsError: ``limit`` is negative.
        StoreError: The store cannot be read.
    """
    refuse_negative(limit)
    found: list[Session] = []
    cursor = None
    while len(found) <= limit:
        page = agent.list_sessions(limit=_PAGE if pattern else limit + 1, cursor=cursor)
        found.extend(session for session in page if _matches(session, pattern))
        cursor = page.cursor
        if cursor is None:
            break
    return SessionTable(
        tuple(found[:limit]), current=current, more=len(found) > limit, pattern=pattern
    )


def known(agent: DextoAgent, session_id: str) -> Session:
    """The session of a name.

    Raises:
        SessionNotFoundError: There is none.
        StoreError: The store cannot be read.
    """
    return agent.get_transcript(session_id, limit=0).session


def known_or_made(agent: DextoAgent, session_id: str) -> tuple[Session, str | None]:
    """The session of a name, made if need be, and then what to say: perhaps it was mistyped.

    Raises:
        InvalidSessionIdError: No session can have that name.
        StoreError: The store cannot take it.
    """
    try:
        return known(agent, session_id), None
    except SessionNotFoundError as error:
        line = f"new session {error.session_id!r}"
        if error.close_matches:
            line += f"; did you mean {' or '.join(map(repr, error.close_matches))}?"
        return agent.get_or_create_session(session_id), line


def _matches(session: Session, pattern: str | None) -> bool:
    if not pattern:
        return True
    wanted = _folded(pattern)
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    return any(
        fnmatch.fnmatchcase(_folded(text or ""), wanted) for text in (session.id, session.title)
    )


def _folded(text: str) -> str:
    """As it is compared: in any case, and however its accents were typed."""
    return unicodedata.normalize("NFC", text.casefold())
