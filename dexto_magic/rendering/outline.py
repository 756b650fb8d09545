"""What a history shows, and in which order: the same for a terminal, a page and a file.

Where all of a session was asked for, that is each turn in all its versions, what was made of the
turns (summaries, titles), and the places of turns that were forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside, Message, Turn, turns_of
from dexto_magic.conversation.session import Transcript


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A version of a turn.

    Attributes:
        turn: The turn, with the messages of that version.
        standing: Which version it is, in words; empty where there is no other.
        in_view: Whether it is in view.
    """

    turn: Turn
    standing: str = ""
    in_view: bool = True


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """The place of a turn that was forgotten.

    Attributes:
        number: The turn's number.
    """

    number: int


Entry: TypeAlias = Shown | Forgotten | Aside
"""What stands in a history; an aside after the last turn that it is about."""


def outline(transcript: Transcript) -> list[Entry]:
    """What of a transcript is shown, in order."""
    line = transcript.line
    if line is None:
        return [Shown(turn=turn) for turn in turns_of(transcript.messages)]
    first = _first(transcript)
    versions: dict[int, list[Message]] = {}
    for message in (*transcript.messages, *transcript.others):
        versions.setdefault(message.turn, []).append(message)
    asides: dict[int, list[Aside]] = {}
    for aside in transcript.asides:
        asides.setdefault(aside.turn, []).append(aside)
    entries: list[Entry] = []
    for number in sorted({*versions, *asides, *line.gone}):
        if number < first:
            continue
        if number in versions:
            entries += _versions(number, versions[number], line)
        elif number in line.gone:
            entries.append(Forgotten(number=number))
        entries += asides.get(number, [])
    return entries


def _first(transcript: Transcript) -> int:
    """The number from which on turns are shown; 0 where none were left out."""
    numbers = {message.turn for message in transcript.messages}
    return min(numbers, default=0) if len(numbers) < transcript.session.turn_count else 0


def _versions(number: int, messages: list[Message], line: Line) -> Iterator[Shown]:
    messages = sorted(messages, key=lambda message: message.version)
    latest = max(line.latest.get(number, 1), messages[-1].version)
    for version, group in groupby(messages, key=lambda message: message.version):
        turn = Turn(number=number, messages=tuple(group))
        in_view = line.shows(turn.messages[0])
        fate = "current" if in_view else _fate(turn, version, line)
        standing = f"version {version} of {latest}, {fate}"
        if latest == 1:
            standing = "" if in_view else fate
        yield Shown(turn=turn, standing=standing, in_view=in_view)


def _fate(turn: Turn, version: int, line: Line) -> str:
    """Why a version is not in view.

    One that is later than that in view was undone, or nothing came of it.
    """
    if turn.number > line.end or any(
        (step.turn, step.version) == (turn.number, version) for step in line.undone
    ):
        return "undone"
    if version < line.current(turn.number):
        return "replaced"
    return "failed" if turn.status == "failed" else "undone"
