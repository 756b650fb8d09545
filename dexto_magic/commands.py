"""The verbs that ``%dexto`` and the command line share. They return values and never print.

A front end finds out what its user wants, calls one of these, and shows what it returns. What only
makes sense beside a cell (``use``, ``key``) is the notebook's own; what is one call of the agent's
(``undo``, ``reset``, ``delete``) needs no function here.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from dexto_magic.conversation import finding
from dexto_magic.conversation.finding import SearchPage
from dexto_magic.conversation.messages import Role
from dexto_magic.conversation.prices import Prices, prices_of
from dexto_magic.conversation.record import CONTEXT_BUDGET, OVERFLOW, SessionChanges
from dexto_magic.conversation.session import Session, Transcript, valid_session_id
from dexto_magic.conversation.transfer import Exported
from dexto_magic.conversation.usage import UsageReport, usage_of
from dexto_magic.errors import (
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    SettingsError,
)
from dexto_magic.exchange import Progress, export_sessions, unseen
from dexto_magic.fitting import DEFAULT_OVERFLOW
from dexto_magic.rendering import plain
from dexto_magic.rendering.views import Facts, Forked, Renamed, Said, SessionTable
from dexto_magic.settings import PRICES_VARIABLE, variable
from dexto_magic.sync_agent import DextoAgent

SHOWN_SESSIONS = 50
SHOWN_TURNS = 50
SHOWN_AROUND = 5
SHOWN_HITS = 20
"""How much a list shows unless it is asked for more."""

SETTINGS = (OVERFLOW, CONTEXT_BUDGET)
"""What can be set of a session with ``KEY=VALUE``."""

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


def history(
    agent: DextoAgent,
    session_id: str,
    *,
    turns: int | None = None,
    at: int | None = None,
    everything: bool = False,
) -> Transcript:
    """The newest turns of a session, or those around one.

    Args:
        agent: The agent.
        session_id: Its name.
        turns: At most so many; ``None`` for as many as is usual.
        at: The number of a turn to be shown with those around it, rather than the newest.
        everything: Whether versions that are not in view, and summaries, are shown, too.

    Raises:
        SessionNotFoundError: There is no such session.
        SessionError: There is no turn of that number.
        SettingsError: ``turns`` is negative.
        StoreError: The store cannot be read.
    """
    if turns is None:
        turns = SHOWN_TURNS if at is None else SHOWN_AROUND
    _refuse_negative(turns)
    if everything:
        return _around(agent.get_transcript(session_id, everything=True), turns, at)
    if at is not None:
        return _around(agent.get_transcript(session_id), turns, at)
    # Two messages a turn, as a rule; one more of the turn before shows that the first is whole.
    newest = agent.get_transcript(session_id, limit=2 * turns + 1)
    if 0 < len(newest.messages) < newest.session.message_count and (
        len({message.turn for message in newest.messages}) <= turns
    ):
        newest = agent.get_transcript(session_id)
    return _around(newest, turns, None)


def _around(transcript: Transcript, turns: int, at: int | None) -> Transcript:
    """The part of a transcript that is shown: the newest turns, or those around one."""
    held = {message.turn for message in (*transcript.messages, *transcript.others)}
    numbers = sorted(held)
    end = len(numbers)
    if at is not None:
        if at not in held:
            name = transcript.session.id
            raise SessionError(
                f"Session {name!r} has no turn {at} in view; `%dexto history {shlex.quote(name)} "
                "--all` shows what was undone, too.",
                session_id=name,
            )
        end = min(end, numbers.index(at) + 1 + turns // 2)
    shown = set(numbers[max(0, end - turns) : end])
    return replace(
        transcript,
        messages=tuple(message for message in transcript.messages if message.turn in shown),
        others=tuple(message for message in transcript.others if message.turn in shown),
        asides=tuple(aside for aside in transcript.asides if aside.turn in shown),
    )


def search(
    agent: DextoAgent,
    words: str,
    *,
    session_id: str | None = None,
    role: Role | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int = SHOWN_HITS,
    page: int = 1,
) -> SearchPage:
    """Where words stand, in all sessions.

    Args:
        agent: The agent.
        words: Words, ``"phrases"`` and ``begin*``.
        session_id: Only in this session.
        role: Only what this role said.
        since: Only from then on: ``30d``, ``12h``, ``2w`` or a date.
        until: Only before then, likewise.
        limit: Hits on a page.
        page: Which page, counted from 1.

    Raises:
        SessionNotFoundError: There is no such session.
        SettingsError: There is nothing to search for, or a time makes no sense.
        StoreError: The store cannot be read.
    """
    now = datetime.now(UTC)
    begin = None if since is None else finding.since(since, now=now)
    end = None if until is None else finding.until(until, now=now)
    cursor = None
    while True:
        found = agent.search(
            words,
            session_id=session_id,
            role=role,
            since=begin,
            until=end,
            limit=limit,
            cursor=cursor,
        )
        if page <= 1:
            return found
        if found.cursor is None:
            return replace(found, hits=())
        page, cursor = page - 1, found.cursor


def usage(agent: DextoAgent, session_id: str | None, *, rates: Prices | None = None) -> UsageReport:
    """Where the tokens of a session went, or of all.

    Args:
        agent: The agent.
        session_id: Its name, or ``None`` for all sessions.
        rates: What tokens cost, if the user said so.

    Raises:
        SessionNotFoundError: There is no such session.
        StoreError: The store cannot be read.
    """
    if session_id is not None:
        return usage_of([agent.get_transcript(session_id, everything=True)], prices=rates)
    return usage_of(_transcripts(agent), prices=rates)


def _transcripts(agent: DextoAgent) -> Iterator[Transcript]:
    for session in agent.list_sessions():
        with suppress(SessionNotFoundError):  # deleted meanwhile
            yield agent.get_transcript(session.id, everything=True)


def prices(given: Mapping[str, Any]) -> Prices | None:
    """What tokens cost: as given, else as ``DEXTO_PRICES`` says; ``None`` where nobody does.

    Raises:
        SettingsError: What is given are no prices.
    """
    if given:
        return prices_of(given)
    text = variable(PRICES_VARIABLE)
    return None if text is None else prices_of(text, variable=PRICES_VARIABLE)


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


def exported(
    agent: DextoAgent,
    name: str | None,
    file: str | None,
    *,
    force: bool = False,
    form: str | None = None,
    progress: Progress = unseen,
) -> Exported:
    """A session, or all, written to a file.

    Args:
        agent: The agent.
        name: The session's name, or ``None`` for all.
        file: The file, in which ``~`` is the home directory; ``None`` for a document named as the
            session.
        force: Whether a file that is there is replaced.
        form: The name of the format, if the file's name does not say it.
        progress: Shows how far it is.

    Raises:
        SessionNotFoundError: There is no such session.
        FormatError: The file cannot be written, or is there already.
        StoreError: The store cannot be read.
    """
    path = f"{_file_name(name or 'sessions')}{'.jsonl' if name is None else '.md'}"
    if file:
        path = os.path.expanduser(file)  # noqa: PTH111  # a user that is not there is no error
    names = None if name is None else [name]
    return export_sessions(agent, path, names, format=form, replace_file=force, progress=progress)


def _file_name(name: str) -> str:
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", name).strip(". ") or "session"


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
        SessionExistsError: The name is that of another session.
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
        return Forked(there, made=False)


def renamed(agent: DextoAgent, old: str, new: str) -> Renamed:
    """A session under its new name; that it has it already is said.

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
    session = known(agent, session_id)
    if session.created_at >= since or (turn is None and not session.message_count):
        return None
    whole = agent.get_transcript(session_id, everything=True)
    kept = [m for m in (*whole.messages, *whole.others) if turn in (None, m.turn)]
    first = min((message.created_at for message in kept), default=since)
    if first >= since:
        return None
    if turn is not None:
        return f"turn {turn} of {session.id!r} is of {plain.moment(first)}"
    return (
        f"{session.id!r} holds {plain.count(session.turn_count, 'turn')}, the first of "
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
