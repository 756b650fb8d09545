"""Looking into sessions: what was said, where, and what it took."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.commands.arguments import refuse_negative
from dexto_magic.conversation import finding
from dexto_magic.conversation.finding import SearchPage
from dexto_magic.conversation.messages import Role
from dexto_magic.conversation.prices import Prices, prices_of
from dexto_magic.conversation.session import Transcript
from dexto_magic.conversation.usage import UsageReport, usage_of
from dexto_magic.errors import SessionError, SettingsError
from dexto_magic.settings import PRICES_VARIABLE, variable

SHOWN_TURNS = 50

SHOWN_AROUND = 5

SHOWN_HITS = 20
"""How much is shown unless more is asked for; around one turn, so many."""


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
    refuse_negative(turns)
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
                f"Session {name!r} has no turn {at} in view. Add `--all` to see what was undone, too.",
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
    if limit < 1:
        raise SettingsError(f"-n takes a number of hits, 1 or more, not {limit}.", option="-n")
    now = datetime.now(UTC)
    begin = None if since is None else finding.since(since, now=now)
    end = None if until is None else finding.until(until, now=now)
    cursor, number = None, 1
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
        if number >= page:
            return replace(found, number=number)
        if found.cursor is None:
            return replace(found, hits=(), number=page)
        number, cursor = number + 1, found.cursor


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
    return agent.survey_sessions(functools.partial(usage_of, prices=rates))


def prices(given: Mapping[str, Any]) -> Prices | None:
    """What tokens cost: as given, else as ``DEXTO_PRICES`` says; ``None`` where nobody does.

    Raises:
        SettingsError: What is given are no prices.
    """
    if given:
        return prices_of(given)
    text = variable(PRICES_VARIABLE)
    return None if text is None else prices_of(text, variable=PRICES_VARIABLE)
