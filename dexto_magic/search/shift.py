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
        returned: Whether something is in view again that had gone out of it.
        lost: Whether something can no longer be brought into view: it may have been forgotten.
    """

    turns: frozenset[int]
    returned: bool
    lost: bool


def shift(old: Line, new: Line) -> Shift:
    """What changed from one line to a later one."""
    turns = frozenset(
        turn for turn in _suspects(old, new) if _shown(old, turn) != _shown(new, turn)
    )
    before = _within_reach(old) | {(turn, _shown(old, turn)) for turn in turns if turn in old}
    lost = any(
        version != _shown(new, turn) for turn, version in before - _within_reach(new)
    ) or not set(new.gone) <= set(old.gone)
    return Shift(
        turns=turns,
        returned=any(_was_made(old, turn, _shown(new, turn)) for turn in turns),
        lost=lost,
    )


def _suspects(old: Line, new: Line) -> set[int]:
    """Turns of which another version may be in view."""
    first, last = sorted((old.end, new.end))
    changed = {turn for turn, _ in old.versions.items() ^ new.versions.items()}
    return {*range(first + 1, last + 1)} | changed | (set(old.gone) ^ set(new.gone))


def _shown(line: Line, turn: int) -> int | None:
    """The version of a turn that is in view."""
    return line.current(turn) if turn in line else None


def _was_made(line: Line, turn: int, version: int | None) -> bool:
    """Whether there had been a version of a turn by then."""
    return version is not None and turn <= line.made and version <= line.latest.get(turn, 1)


def _within_reach(line: Line) -> set[tuple[int, int | None]]:
    """Versions of turns that are out of view, and that an undo or a redo brings back."""
    return {(step.turn, step.version) for step in line.undone} | {
        (step.turn, step.before) for step in line.replaced
    }
