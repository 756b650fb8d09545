"""Changing what a session is called and has of its own, and what a removal would cost."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.commands.listing import known
from dexto_magic.conversation.record import CONTEXT_BUDGET, OVERFLOW, SessionChanges
from dexto_magic.conversation.session import Session, valid_session_id
from dexto_magic.errors import (
    SessionExistsError,
    SessionNotFoundError,
    SettingsError,
)
from dexto_magic.rendering import plain
from dexto_magic.rendering.results import Facts, Forked, Renamed, Said
from dexto_magic.turns.fitting import DEFAULT_OVERFLOW

SETTINGS = (OVERFLOW, CONTEXT_BUDGET)
"""What can be set of a session with ``KEY=VALUE``."""


def configure(agent: DextoAgent, session_id: str, setting: str) -> Session:
    """Changes one of a session's own settings.

    Args:
        agent: The agent.
        session_id: Its name.
        setting: ``KEY=VALUE``; an empty value takes the session's own away.

    Raises:
        SessionNotFoundError: There is no such session.
        SettingsError: There is no such setting, or it cannot have that value.
        StoreError: The store cannot take it.
    """
    key, equals, value = (part.strip() for part in setting.partition("="))
    if key not in SETTINGS or not equals:
        raise SettingsError(
            f"{setting!r} is no setting: there are {' and '.join(SETTINGS)}, set as KEY=VALUE.",
            option=key or None,
        )
    changes: SessionChanges = {}
    if key == OVERFLOW:
        changes["overflow"] = cast(Any, value)
    elif value and not value.isdecimal():
        raise SettingsError(
            f"{CONTEXT_BUDGET} is a number of tokens, such as 8000, not {value!r}.",
            option=CONTEXT_BUDGET,
        )
    else:
        changes["context_budget"] = int(value or 0)
    return agent.update_session(session_id, **changes)


def settings_of(session: Session) -> Facts:
    """A session's own settings."""
    overflow = session.overflow or f"{DEFAULT_OVERFLOW} (as usual)"
    budget = plain.number(session.context_budget) if session.context_budget else "none"
    return Facts(
        ((OVERFLOW, overflow), (CONTEXT_BUDGET, budget)),
        (f"own settings of {session.id!r}",),
    )


def system_of(session: Session) -> Facts | Said:
    """The system prompt of a session."""
    if not session.system:
        return Said((f"{session.id!r} has no system prompt of its own",))
    return Facts(((f"system prompt of {session.id!r}", session.system),))


def model_of(session: Session) -> Said:
    """The model of a session."""
    own = session.model or "none of its own: it goes by the default"
    return Said((f"model of {session.id!r}: {own}",))


def title_of(session: Session) -> Facts | Said:
    """The title of a session."""
    if session.title is None:
        return Said((f"{session.id!r} has no title; its next question makes one",))
    return Facts(((f"title of {session.id!r}", session.title),))


def forked(agent: DextoAgent, session_id: str, new_id: str, *, turn: int | None) -> Forked:
    """A fork of a session; one of that name that is there already is taken as it is.

    Args:
        agent: The agent.
        session_id: The session that it comes from.
        new_id: The new one's name.
        turn: The last turn to take over, or ``None`` for all.

    Raises:
        SessionNotFoundError: There is no such session.
        SessionExistsError: The name is that of another session, or of a fork at another turn.
        SessionError: The turn is not in view.
        StoreError: The store cannot take it.
    """
    try:
        return Forked(agent.fork_session(session_id, new_id, turn=turn), made=True)
    except SessionExistsError:
        there, source = agent.get_session(new_id), known(agent, session_id)
        origin = there.forked_from if there else None
        # Where the line is run again, the fork itself may be what a line without a name goes by.
        if there is None or origin is None or source.id not in (origin, there.id):
            raise
        if turn not in (None, there.forked_at):
            raise
        return Forked(there, made=False)


def renamed(agent: DextoAgent, old: str, new: str) -> Renamed:
    """A session under its new name; where only that is there, it seems to have been done before.

    A cell that is run again must not fail for that. What the old name was, nobody remembers.

    Raises:
        SessionNotFoundError: There is no such session.
        SessionExistsError: Another session has the new name.
        InvalidSessionIdError: No session can have one of the names.
        StoreError: The store cannot take it.
    """
    old, new = valid_session_id(old), valid_session_id(new)
    try:
        return Renamed(old, agent.rename_session(old, new), made=old != new)
    except SessionNotFoundError:
        there = agent.get_session(new)
        if there is None:
            raise
        return Renamed(old, there, made=False)


def loss(
    agent: DextoAgent, session_id: str, *, since: datetime, turn: int | None = None
) -> str | None:
    """What a reset, a delete or a forget would take that is older than ``since``, if anything.

    Args:
        agent: The agent.
        session_id: The session's name.
        since: The time.
        turn: The number of the turn to be forgotten, or ``None`` for the whole session.

    Raises:
        SessionNotFoundError: There is no such session.
        StoreError: The store cannot be read.
    """
    whole = agent.get_transcript(session_id, everything=True)
    session = whole.session
    kept = [m for m in (*whole.messages, *whole.others) if turn in (None, m.turn)]
    first = min((message.created_at for message in kept), default=since)
    if first >= since:
        return None
    if turn is not None:
        return f"turn {turn} of {session.id!r} is of {plain.moment(first)}"
    return (
        f"{session.id!r} holds {plain.count(len({m.turn for m in kept}), 'turn')}, the first of "
        f"{plain.moment(first)}, the last of {plain.moment(session.updated_at)}"
    )


def is_forgotten(agent: DextoAgent, session_id: str, turn: int) -> bool:
    """Whether a turn was forgotten before.

    Raises:
        SessionNotFoundError: There is no such session.
        StoreError: The store cannot be read.
    """
    line = agent.get_transcript(session_id, everything=True).line
    return line is not None and turn in line.gone
