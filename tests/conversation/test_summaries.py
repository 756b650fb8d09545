"""Which summary still stands for the turns in view."""

from dataclasses import replace

import pytest

from dexto_magic.conversation.history import whole
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.summaries import current_summary, is_about
from tests.support.messages import summary, title, user
from tests.support.records import EMPTY


def line_of(*steps):
    line = Line()
    for step in steps:
        line = line.appended() if step == "append" else line.revised(step)
    return line


def about(line):
    """All that is in view on a line."""
    said = [
        user(turn=turn, version=line.current(turn))
        for turn in range(1, line.end + 1)
        if turn in line
    ]
    return whole(replace(EMPTY, line=line), said, [])


THREE = line_of("append", "append", "append")


def test_a_summary_stands_for_turns_that_are_in_view_as_they_were():
    told = summary("s", about(THREE), turn=2)
    assert is_about(told, THREE)
    assert is_about(told, THREE.appended().revised(3))
    assert not is_about(told, THREE.revised(2))
    assert not is_about(told, THREE.revised(1))


def test_a_summary_stands_no_more_after_undo_and_again_after_redo():
    told = summary("s", about(THREE))
    undone, _ = THREE.undo()
    assert not is_about(told, undone)
    assert is_about(told, undone.redo()[0])
    assert not is_about(told, undone.appended()), "another turn has the number now"


def test_a_summary_of_a_new_version_stands_until_that_is_undone():
    revised = THREE.revised(2)
    told = summary("s", about(revised))
    assert is_about(told, revised)
    assert not is_about(told, revised.undo()[0])


def test_a_summary_stands_no_more_when_a_turn_of_it_was_forgotten():
    told = summary("s", about(THREE), turn=2)
    assert is_about(told, THREE.without(3))
    assert not is_about(told, THREE.without(1))
    of_the_rest = summary("s", about(THREE.without(1)), turn=2)
    assert is_about(of_the_rest, THREE.without(1))
    assert not is_about(of_the_rest, THREE)


def test_a_summary_of_nothing_stands_for_nothing():
    told = replace(summary("s", about(THREE)), turn=0, through=None)
    assert not is_about(told, THREE)


def test_of_those_that_stand_the_one_that_reaches_furthest_counts_and_of_these_the_latest():
    texts = [("a", 1), ("b", 2), ("c", 2), ("d", 1)]
    told = [summary(text, about(THREE), turn=turn) for text, turn in texts]
    far = summary("e", about(THREE))
    assert current_summary(told, THREE).content == "c"
    assert current_summary([far, *told], THREE).content == "e"
    assert current_summary([far, *told], THREE.undo()[0]).content == "c"
    assert current_summary([far, *told], THREE.revised(2)).content == "d"


@pytest.mark.parametrize("asides", [[], [title("t", about(THREE))]], ids=["none", "a title"])
def test_where_there_is_no_summary_none_counts(asides):
    assert current_summary(asides, THREE) is None
