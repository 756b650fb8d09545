"""The verbs that ``%dexto`` and the command line share. They return values and never print.

A front end finds out what its user wants, calls one of these, and shows what it returns. What only
makes sense beside a cell (``use``, ``new``, ``model``, ``key``) is the notebook's own; what is one
call of the agent's (``reset``, ``delete``) needs no function here.
"""

from __future__ import annotations

import argparse
import fnmatch
import unicodedata
from dataclasses import replace
from datetime import datetime

from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.errors import SettingsError
from dexto_magic.rendering import plain
from dexto_magic.rendering.views import SessionTable
from dexto_magic.sync_agent import DextoAgent

SHOWN_SESSIONS = 50
SHOWN_TURNS = 50
"""How much a list shows unless it is asked for more."""

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
    _refuse_negative(limit)
    found: list[Session] = []
    cursor = None
    while len(found) <= limit:
        page = agent.list_sessions(limit=_PAGE if pattern else limit + 1, cursor=cursor)
        found.extend(session for session in page if _matches(session, pattern))
        cursor = page.cursor
        if cursor is None:
            break
    return SessionTable(tuple(found[:limit]), current=current, more=len(found) > limit)


def history(agent: DextoAgent, session_id: str, *, turns: int = SHOWN_TURNS) -> Transcript:
    """The newest turns of a session.

    Args:
        agent: The agent.
        session_id: Its name.
        turns: At most so many.

    Raises:
        SessionNotFoundError: There is no such session.
        SettingsError: ``turns`` is negative.
        StoreError: The store cannot be read.
    """
    _refuse_negative(turns)
    # Two messages a turn, as a rule; one more of the turn before shows that the first is whole.
    newest = agent.get_transcript(session_id, limit=2 * turns + 1)
    if 0 < len(newest.messages) < newest.session.message_count:
        oldest_wanted = newest.session.turn_count - turns + 1
        if newest.messages[0].turn >= oldest_wanted:
            newest = agent.get_transcript(session_id)
    before = newest.session.turn_count - turns
    shown = tuple(message for message in newest.messages if message.turn > before)
    return replace(newest, messages=shown)


def loss(agent: DextoAgent, session_id: str, *, since: datetime) -> str | None:
    """What a reset or a delete would take that is older than ``since``, or ``None`` if nothing is.

    Raises:
        SessionNotFoundError: There is no such session.
        StoreError: The store cannot be read.
    """
    session = known(agent, session_id)
    if not session.turn_count or session.created_at >= since:
        return None
    messages = agent.get_session_history(session_id)
    if not messages or messages[0].created_at >= since:
        return None
    return (
        f"{session.id!r} holds {plain.count(session.turn_count, 'turn')}, the first of "
        f"{plain.moment(messages[0].created_at)}, the last of {plain.moment(session.updated_at)}"
    )


def known(agent: DextoAgent, session_id: str) -> Session:
    """The session of a name.

    Raises:
        SessionNotFoundError: There is none.
        StoreError: The store cannot be read.
    """
    return agent.get_transcript(session_id, limit=0).session


def natural(text: str) -> int:
    """The number that was typed after ``-n``; for a front end's parser, as argparse's ``type``.

    Raises:
        ArgumentTypeError: It is not a whole number of 0 or more.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _refuse_negative(number: int) -> None:
    if number < 0:
        raise SettingsError(f"-n takes a whole number of 0 or more, not {number}.", option="-n")


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
