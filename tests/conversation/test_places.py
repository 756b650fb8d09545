"""By which notebooks a session is known."""

from dexto_magic.conversation.places import (
    KNOWN_MARKS,
    at_home,
    cell_mark,
    homeless,
    remembered,
)
from tests.support.records import EMPTY, FULL, changed


def test_a_session_at_home_learns_its_cells_once_each():
    record = at_home(at_home(EMPTY, "/a.ipynb", ["c1", "c2", "c1"]), "/a.ipynb", ["c3", "c1"])
    assert (record.home, record.marks) == ("/a.ipynb", ("c2", "c3", "c1"))


def test_what_a_session_is_recognised_by_moves_with_it_to_a_new_home():
    record = at_home(FULL, "/other.ipynb", ["cell x"])
    assert record.home == "/other.ipynb"
    assert record.marks == ("cell c1", "cell c2", "cell x")
    assert changed(FULL, record) == {"home", "marks"}


def test_a_session_that_loses_its_home_keeps_the_marks_that_the_next_does_not_take():
    record = homeless(FULL, ["cell c2", "cell c3"])
    assert (record.home, record.marks) == (None, ("cell c1",))
    assert changed(FULL, record) == {"home", "marks"}


def test_a_session_at_home_remembers_the_latest_marks_only():
    record = at_home(EMPTY, "/a.ipynb", [cell_mark(f"c{n}") for n in range(KNOWN_MARKS + 3)])
    assert record.marks == tuple(f"cell c{n}" for n in range(3, KNOWN_MARKS + 3))


def test_what_is_remembered_again_is_the_latest_and_nothing_is_no_item():
    assert remembered(("a", "b", "c"), ["b", None, "d", "b"], 9) == ("a", "c", "b", "d")
    assert remembered(("a", "b", "c"), ["b", "d"], 2) == ("b", "d")
    assert remembered(("a",), [None], 9) == ("a",)
