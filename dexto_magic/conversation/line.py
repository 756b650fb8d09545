"""Which turns of a conversation are in view, in which version, and what undo and redo would do.

A pure value: turns are written once and never changed, and only the line through them moves. It
grows with what was replaced, undone or forgotten, never with the number of turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dexto_magic.conversation.messages import Message


@dataclass(frozen=True, kw_only=True)
class Step:
    """How a turn, or another version of one, came into view.

    Attributes:
        turn: The turn's number.
        version: The version that came into view.
        before: The version that it took the place of; ``None`` for a turn that was new at the end.
        end: The number of the last turn at that time.
    """

    turn: int
    version: int
    before: int | None
    end: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """The turns in view: those from 1 to ``end`` that are not gone, each in its current version.

    A turn that was undone frees its number; the turn that takes it next is another version there,
    so that no two rows are ever told apart by time alone.

    Attributes:
        end: The number of the last turn in view.
        made: The highest number that any turn has had.
        versions: The current version of each turn in view that is not at its first.
        latest: The highest version of each turn that has more than one.
        replaced: What took the place of an earlier version and is still in view, oldest first.
        undone: What ``redo`` brings back, the next one last.
        gone: Turns that were forgotten.
    """

    end: int = 0
    made: int = 0
    versions: Mapping[int, int] = field(default_factory=dict, hash=False)
    latest: Mapping[int, int] = field(default_factory=dict, hash=False)
    replaced: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()
    gone: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many turns are in view."""
        return self.end - sum(turn <= self.end for turn in self.gone)

    @property
    def first(self) -> int | None:
        """The number of the first turn in view, or ``None`` if there is none."""
        return next((turn for turn in range(1, self.end + 1) if turn in self), None)

    def __contains__(self, turn: object) -> bool:
        """Whether the turn of a number is in view."""
        return isinstance(turn, int) and 0 < turn <= self.end and turn not in self.gone

    def current(self, turn: int) -> int:
        """The version of a turn that is in view, or was last, counted from 1."""
        return self.versions.get(turn, 1)

    def shows(self, message: Message) -> bool:
        """Whether a message is in view: it belongs to the current version of a turn in view."""
        return message.turn in self and message.version == self.current(message.turn)

    @property
    def is_in_order(self) -> bool:
        """Whether turns in view were written in the order of their numbers."""
        return all(step.turn == step.end for step in self.replaced)

    def versions_up_to(self, turn: int) -> dict[int, int]:
        """The current versions, where not the first, of the turns up to a number."""
        return {number: version for number, version in self.versions.items() if number <= turn}

    def gone_up_to(self, turn: int) -> tuple[int, ...]:
        """The turns up to a number that were forgotten."""
        return tuple(number for number in self.gone if number <= turn)

    def up_to(self, turn: int) -> Line:
        """A line of its own with what is in view up to a turn, and nothing to undo but that."""
        versions = self.versions_up_to(turn)
        gone = self.gone_up_to(turn)
        return Line(end=turn, made=turn, versions=versions, latest=versions, gone=gone)

    # -- steps -----------------------------------------------------------------------------------

    def appended(self) -> Line:
        """The line with a new turn at its end; there is nothing to redo any more."""
        turn = self.end + 1
        return self._with(
            turn,
            self._next_version(turn),
            end=turn,
            made=max(self.made, turn),
            undone=(),
            gone=tuple(number for number in self.gone if number != turn),
        )

    def revised(self, turn: int) -> Line:
        """The line with a new version of a turn in view.

        What was undone stays until something has come of it: see ``without_redo``.
        """
        version = self._next_version(turn)
        step = Step(turn=turn, version=version, before=self.current(turn), end=self.end)
        return self._with(turn, version, replaced=(*self.replaced, step))

    def unrevised(self) -> Line:
        """The line as it was before its last revision, of which nothing came."""
        *others, step = self.replaced
        assert step.before is not None
        return self._with(step.turn, step.before, replaced=tuple(others))

    def without_redo(self) -> Line:
        """The line with nothing to redo any more, as after every new turn."""
        return replace(self, undone=())

    def undo(self) -> tuple[Line, Step] | None:
        """The line without its last step, and that step; ``None`` if there is none."""
        end = self.end
        while end in self.gone:
            end -= 1
        if self.replaced and self.replaced[-1].end >= end:
            *others, step = self.replaced
            assert step.before is not None
            undone = (*self.undone, step)
            return self._with(step.turn, step.before, replaced=tuple(others), undone=undone), step
        if end == 0:
            return None
        step = Step(turn=end, version=self.current(end), before=None, end=end)
        versions = {number: version for number, version in self.versions.items() if number != end}
        return replace(self, end=end - 1, versions=versions, undone=(*self.undone, step)), step

    def redo(self) -> tuple[Line, Step] | None:
        """The line with the step that was undone last, and that step; ``None`` if there is none."""
        if not self.undone:
            return None
        *others, step = self.undone
        undone = tuple(others)
        if step.before is None:
            return self._with(step.turn, step.version, end=step.turn, undone=undone), step
        replaced = (*self.replaced, step)
        return self._with(step.turn, step.version, replaced=replaced, undone=undone), step

    def without(self, turn: int) -> Line:
        """The line after a turn was forgotten, in all its versions."""
        return replace(
            self,
            versions={number: v for number, v in self.versions.items() if number != turn},
            replaced=tuple(step for step in self.replaced if step.turn != turn),
            undone=tuple(step for step in self.undone if step.turn != turn),
            gone=tuple(sorted({*self.gone, turn})),
        )

    def _next_version(self, turn: int) -> int:
        return self.latest.get(turn, 1) + 1 if turn <= self.made else 1

    def _with(self, turn: int, version: int, **changes: object) -> Line:
        """The same with a version of a turn in view, and what else changes."""
        versions = {number: v for number, v in self.versions.items() if number != turn}
        latest = dict(self.latest)
        if version != 1:
            versions[turn] = version
            latest[turn] = max(version, latest.get(turn, 1))
        return replace(self, versions=versions, latest=latest, **changes)  # type: ignore[arg-type]  # fields of its own
