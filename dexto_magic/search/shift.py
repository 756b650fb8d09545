"""What a conversation's line of turns means for what was indexed along an earlier one.

Pure, and as cheap as the two differ: nothing here goes through the turns of a history.
"""

from __future__ import annotations

from dataclasses import dataclass

from dexto_magic.conversation.line import Line


@dataclass(frozen=True, kw_only=True)
class Shift:
    """From one line to a later one of the same epoch.

    Attributes:
        turns: The turns that another version is in view of than before, or one at all, or none.
        returned: Versions of turns that are in view again, and had gone out of it, or never were.
    """

    turns: frozenset[int]
    returned: frozenset[tuple[int, int]]


def shift(old: Line, new: Line) -> Shift:
    """What changed from one line to a later one."""
    turns = frozenset(
        turn for turn in _suspects(old, new) if _shown(old, turn) != _shown(new, turn)
    )
    return Shift(
        turns=turns,
        returned=frozenset(
            (turn, new.current(turn))
            for turn in turns
            if turn in new and _was_made(old, turn, new.current(turn))
        ),
    )


def _suspects(old: Line, new: Line) -> set[int]:
    """Turns of which another version may be in view."""
    first, last = sorted((old.end, new.end))
    changed = {turn for turn, _ in old.versions.items() ^ new.versions.items()}
    return {*range(first + 1, last + 1)} | changed | (set(old.gone) ^ set(new.gone))


def _shown(line: Line, turn: int) -> int | None:
    """The version of a turn that is in view."""
    return line.current(turn) if turn in line else None


def _was_made(line: Line, turn: int, version: int) -> bool:
    """Whether there had been a version of a turn by then."""
    return turn <= line.made and version <= line.latest.get(turn, 1)
