"""Which turns are in view: any steps, one after another, against plain pictures of the view."""

import itertools
import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.wire import line_from_json, line_to_json
from tests.support.messages import user

steady = settings(derandomize=True, deadline=None, max_examples=300)

VERBS = ["append", "append", "append", "revise", "fail", "undo", "undo", "redo", "forget"]
steps = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 20)), max_size=40)


def view(line):
    """The turns in view, as pairs of number and version."""
    return [(turn, line.current(turn)) for turn in range(1, line.end + 1) if turn in line]


def revised(line, turn):
    return line.revised(turn).without_redo()


def after(*said):
    """A line after steps such as ``"append"`` and ``"revise 2"``."""
    line = Line()
    for step in said:
        verb, _, turn = step.partition(" ")
        if verb in ("undo", "redo"):
            line, _ = getattr(line, verb)()
        else:
            line = {"append": Line.appended, "revise": revised, "forget": Line.without}[verb](
                line, *([int(turn)] if turn else [])
            )
    return line


@dataclass
class Pictures:
    """A line, and all that was ever in view, as one would remember it: a picture for each step."""

    line: Line = field(default_factory=Line)
    past: list = field(default_factory=list)
    now: list = field(default_factory=list)
    future: list = field(default_factory=list)
    written: list = field(default_factory=list)
    forgotten: set = field(default_factory=set)

    def take(self, verb, number):
        """One step, or none where it cannot be taken."""
        getattr(self, verb)(number)

    def append(self, _):
        self.line = self.line.appended()
        self._show([*self.now, self._new(self.line.end)])

    def revise(self, number):
        if self.now:
            turn, _ = self.now[number % len(self.now)]
            self.line = self.line.revised(turn).without_redo()
            new = self._new(turn)
            self._show([new if old[0] == turn else old for old in self.now])

    def fail(self, number):
        if self.now:
            turn, _ = self.now[number % len(self.now)]
            revised = self.line.revised(turn)
            self.written.append((turn, revised.current(turn)))
            self.line = revised.unrevised()

    def undo(self, _):
        if self.past:
            self.future.append(self.now)
            self.now = self.past.pop()
            self.line, _ = self.line.undo()
        else:
            assert self.line.undo() is None

    def redo(self, _):
        if self.future:
            self.past.append(self.now)
            self.now = self.future.pop()
            self.line, _ = self.line.redo()
        else:
            assert self.line.redo() is None

    def forget(self, number):
        """Takes a turn out of every picture; pictures that are the same then are one."""
        kept = sorted({turn for turn, _ in self.written} - self.forgotten)
        if kept:
            turn = kept[number % len(kept)]
            self.line = self.line.without(turn)
            self.written = [pair for pair in self.written if pair[0] != turn]
            before = len(self.past)
            pictures = [
                [pair for pair in picture if pair[0] != turn]
                for picture in (*self.past, self.now, *reversed(self.future))
            ]
            now = len([k for k, _ in itertools.groupby(pictures[: before + 1])]) - 1
            pictures = [picture for picture, _ in itertools.groupby(pictures)]
            self.past, self.now = pictures[:now], pictures[now]
            self.future = pictures[:now:-1]

    def _new(self, turn):
        pair = turn, self.line.current(turn)
        self.written.append(pair)
        return pair

    def _show(self, picture):
        self.past.append(self.now)
        self.now, self.future = picture, []


def walked(said):
    """The pictures after steps, and before each of them."""
    pictures = Pictures()
    yield pictures
    for verb, number in said:
        pictures.take(verb, number)
        yield pictures


# -- any steps -------------------------------------------------------------------------------------


@steady
@given(steps)
def test_undo_and_redo_show_what_was_in_view_before_and_after_each_step(said):
    """With versions anywhere in the line, failed ones, and turns that were forgotten."""
    for pictures in walked(said):
        assert view(pictures.line) == pictures.now
        assert pictures.line.count == len(pictures.now)


@steady
@given(steps)
def test_all_that_was_in_view_can_be_undone_and_brought_back(said):
    *_, pictures = walked(said)
    line, seen = pictures.line, []
    while moved := line.undo():
        seen.append(view(line))
        line, _ = moved
    assert view(line) == []
    for picture in reversed(seen):
        line, _ = line.redo()
        assert view(line) == picture
    assert line.undone == pictures.line.undone


@steady
@given(steps)
def test_an_undo_that_is_taken_back_leaves_the_line_as_it_was(said):
    """But for the number of a forgotten last turn, which is free again."""
    for pictures in walked(said):
        line = pictures.line
        if (moved := line.undo()) and line.end not in line.gone:
            undone, step = moved
            assert undone.redo() == (line, step)
        if moved := line.redo():
            redone, step = moved
            again, same = redone.undo()
            assert same == step
            assert (view(again), again.undone) == (view(line), line.undone)


@steady
@given(steps)
def test_no_turn_is_ever_given_a_version_that_it_had(said):
    """Not after undo, nor after it was forgotten, nor where a new version failed."""
    pictures, had = Pictures(), set()
    for verb, number in said:
        before = list(pictures.written)
        pictures.take(verb, number)
        if verb != "forget":
            new = set(pictures.written) - set(before)
            assert not new & had
            had |= new


@steady
@given(steps)
def test_numbers_of_turns_have_no_gaps_but_those_that_were_forgotten(said):
    for pictures in walked(said):
        line = pictures.line
        numbers = {turn for turn, _ in view(line)}
        assert numbers | {turn for turn in line.gone if turn <= line.end} == set(
            range(1, line.end + 1)
        )
        assert numbers.isdisjoint(line.gone)
        assert line.made >= line.end


@steady
@given(steps)
def test_turns_that_are_not_displaced_are_written_in_order_and_others_after_what_is_before_them(
    said,
):
    for pictures in walked(said):
        written = [pair for pair in pictures.written if pair in pictures.now]
        displaced = pictures.line.displaced
        in_place = [pair for pair in written if pair[0] not in displaced]
        assert in_place == [pair for pair in pictures.now if pair[0] not in displaced]
        for at, (turn, _) in enumerate(written):
            assert all(other > turn or other in displaced for other, _ in written[at + 1 :])


@steady
@given(steps)
def test_a_line_is_read_from_json_as_it_was_written(said):
    for pictures in walked(said):
        assert line_from_json(json.loads(json.dumps(line_to_json(pictures.line)))) == pictures.line


@steady
@given(steps, st.integers(0, 30))
def test_a_line_up_to_a_turn_shows_the_same_and_goes_on_by_itself(said, turn):
    *_, pictures = walked(said)
    whole = pictures.line
    line = whole.up_to(min(turn, whole.end))
    shown = [pair for pair in view(whole) if pair[0] <= turn]
    assert view(line) == shown
    assert line.undone == ()
    assert line.appended().current(line.end + 1) == 1
    for pair in reversed(shown):
        assert view(line)[-1] == pair
        line, _ = line.undo()
    assert line.undo() is None


@steady
@given(steps)
def test_exactly_the_messages_of_turns_in_view_in_their_versions_are_shown(said):
    *_, pictures = walked(said)
    for turn in range(pictures.line.made + 2):
        for version in range(1, 6):
            message = user(turn=turn, version=version)
            assert pictures.line.shows(message) is ((turn, version) in pictures.now)


# -- how it moves ----------------------------------------------------------------------------------


def test_undo_takes_the_last_turn_out_and_a_new_one_is_another_version_there():
    line = after("append", "append", "undo")
    assert view(line) == [(1, 1)]
    assert view(line.appended()) == [(1, 1), (2, 2)]


def test_undo_brings_the_version_before_back_of_whichever_turn_was_revised_last():
    line = after("append", "append", "append", "revise 3", "revise 1", "revise 3")
    seen = []
    while moved := line.undo():
        line, step = moved
        seen.append((step.turn, step.version, step.before))
    assert seen == [(3, 3, 2), (1, 2, 1), (3, 2, 1), (3, 1, None), (2, 1, None), (1, 1, None)]


def test_turns_that_are_newer_than_a_revision_are_undone_before_it():
    line, step = after("append", "append", "revise 1", "append").undo()
    assert (step.turn, step.before) == (3, None)
    line, step = line.undo()
    assert (step.turn, step.version, step.before) == (1, 2, 1)
    assert view(line) == [(1, 1), (2, 1)]


@pytest.mark.parametrize("step", ["append", "revise 1"])
def test_a_new_turn_or_version_ends_redo(step):
    assert after("append", "append", "undo", step).redo() is None


def test_a_version_of_which_nothing_came_is_neither_undone_nor_redone():
    before = after("append", "append", "revise 1")
    line = before.revised(2).unrevised()
    assert view(line) == view(before)
    assert line.redo() is None
    undone = after("append", "append", "undo")
    assert undone.revised(1).unrevised().redo() == (
        replace(undone.redo()[0], latest={1: 2}),
        undone.redo()[1],
    )
    assert line.undo()[1] == before.undo()[1]
    assert line.revised(2).current(2) == 3


def test_the_numbers_of_turns_after_a_forgotten_one_stay():
    line = after("append", "append", "append", "forget 2", "append")
    assert view(line) == [(1, 1), (3, 1), (4, 1)]
    assert line.gone == (2,)
    assert 2 not in line


def test_the_number_of_a_forgotten_last_turn_is_not_given_to_the_next():
    line = after("append", "append", "forget 2", "append")
    assert view(line) == [(1, 1), (3, 1)]


def test_undo_passes_over_what_was_forgotten_and_frees_its_number():
    line = after("append", "append", "append", "forget 2", "undo", "undo")
    assert (view(line), line.end) == ([], 0)
    line = after("append", "append", "forget 2", "undo", "append", "append")
    assert view(line) == [(1, 2), (2, 2)]
    assert line.gone == ()


def test_a_forgotten_turn_is_not_brought_back_by_redo():
    line = after("append", "append", "append", "undo", "undo", "forget 2", "redo")
    assert view(line) == [(1, 1), (3, 1)]
    assert line.redo() is None


def test_what_is_no_number_is_no_turn_in_view():
    line = after("append")
    assert [turn in line for turn in (1, 0, -1, 2, "1", None)] == [True] + [False] * 5


def test_a_line_takes_no_more_room_for_more_turns():
    few, many = after(*["append"] * 3), after(*["append"] * 3000)
    assert len(json.dumps(line_to_json(many))) <= len(json.dumps(line_to_json(few))) + 6


def test_a_line_can_be_hashed_and_compared_though_it_holds_numbers_in_dictionaries():
    line = after("append", "revise 1")
    assert {line, replace(line, versions=dict(line.versions))} == {line}
    assert line != after("append")


def test_versions_up_to_a_turn_are_those_that_are_not_the_first():
    line = after("append", "append", "append", "revise 1", "revise 3")
    assert line.versions_up_to(2) == {1: 2}
    assert line.versions_up_to(3) == {1: 2, 3: 2}
    assert line.undo()[1] == Step(turn=3, version=2, before=1, end=3)
