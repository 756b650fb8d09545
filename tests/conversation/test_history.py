"""How each operation moves a session's record."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.history import (
    KNOWN_MARKS,
    KNOWN_NOTEBOOKS,
    TITLE_LENGTH,
    OpenTurn,
    Partial,
    SessionRecord,
    at_home,
    automatic_title,
    busy,
    crashed,
    emptied,
    fence,
    homeless,
    opened,
    rows_of,
    settled,
    signal,
    updated,
)
from dexto_magic.conversation.messages import Usage
from dexto_magic.errors import SessionBusyError, SessionError, SessionNotFoundError
from tests.support.messages import assistant, from_cell, user

steady = settings(derandomize=True, deadline=None, max_examples=200)

MADE = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
NOW = MADE + timedelta(hours=1)
LATER = NOW + timedelta(seconds=5)

EMPTY = SessionRecord(sid="s1", id="eda", created_at=MADE, used_at=MADE)
FULL = SessionRecord(
    sid="s1",
    id="eda",
    created_at=MADE,
    used_at=NOW,
    epoch=3,
    rows=9,
    revision=20,
    turns=4,
    messages=8,
    versions={2: 2},
    undo=({"turn": 5},),
    open=OpenTurn(owner="own_1", holder="a kernel", since=NOW, turn=4),
    title="Plot it",
    model="openai:gpt-4o",
    system="Be brief.",
    settings={"share_names": True},
    usage=Usage(input_tokens=10, output_tokens=5),
    forked_from="older",
    home="/a.ipynb",
    notebooks=("/a.ipynb", "/b.ipynb"),
    marks=("cell c1", "cell c2"),
)


def claim_in(record, message=None, *, now=NOW):
    return opened(record, message or user("Plot it"), owner="own_1", holder="a kernel", now=now)


def changed(before, after):
    """The names of the fields that are not the same."""
    names = (field.name for field in fields(SessionRecord))
    return {name for name in names if getattr(before, name) != getattr(after, name)}


# -- a turn begins ---------------------------------------------------------------------------------


def test_a_claim_leaves_the_mark_of_who_runs_the_turn():
    record, claim = claim_in(EMPTY)
    assert record.open == OpenTurn(owner="own_1", holder="a kernel", since=NOW, turn=1)
    assert (record.rows, record.turns, record.messages, record.revision) == (1, 1, 1, 1)
    assert record.used_at == NOW
    assert (claim.sid, claim.epoch, claim.revision, claim.owner) == ("s1", 0, 1, "own_1")
    assert claim.session == EMPTY.session()


def test_a_claim_moves_nothing_else():
    after, _ = claim_in(FULL, user("And now?"), now=LATER)
    assert changed(FULL, after) == {"rows", "revision", "turns", "messages", "used_at", "open"}


def test_the_message_of_a_claim_gets_the_next_number_whatever_it_says_itself():
    message = user("q", turn=77, version=5)
    _, claim = claim_in(replace(FULL, open=None), message)
    assert (claim.message.turn, claim.message.version) == (5, 1)
    assert replace(claim.message, turn=77, version=5) == message


def test_the_first_prompt_makes_the_title_and_no_later_one_does():
    record, _ = claim_in(EMPTY, user("  Plot the\ttotals "))
    assert record.title == "Plot the totals"
    again, _ = claim_in(replace(record, open=None), user("Something else"))
    assert again.title == "Plot the totals"


def test_a_title_that_a_person_chose_is_kept():
    own = replace(EMPTY, title="Mine", own_title=True)
    assert claim_in(own)[0].title == "Mine"


def test_a_prompt_of_white_space_leaves_the_title_to_the_next():
    blank, _ = claim_in(EMPTY, user(" \n\u3000"))
    assert not blank.title
    assert claim_in(blank, user("Plot it"))[0].title == "Plot it"


def test_a_claim_remembers_the_notebook_and_at_home_the_cell():
    record, _ = claim_in(FULL, from_cell("q", "/a.ipynb", "c9"))
    assert record.notebooks == ("/b.ipynb", "/a.ipynb")
    assert record.marks == ("cell c1", "cell c2", "cell c9")


def test_a_guest_from_another_notebook_leaves_no_mark_of_a_home():
    record, _ = claim_in(FULL, from_cell("q", "/c.ipynb", "c9"))
    assert record.notebooks == ("/a.ipynb", "/b.ipynb", "/c.ipynb")
    assert record.marks == FULL.marks
    nobodys, _ = claim_in(EMPTY, from_cell("q", "/c.ipynb", "c9"))
    assert (nobodys.notebooks, nobodys.marks) == (("/c.ipynb",), ())


def test_a_notebook_and_a_cell_that_are_used_again_are_the_latest():
    record, _ = claim_in(FULL, from_cell("q", "/a.ipynb", "c1"))
    assert record.notebooks == ("/b.ipynb", "/a.ipynb")
    assert record.marks == ("cell c2", "cell c1")


def test_a_message_from_nowhere_is_remembered_as_from_nowhere():
    for message in (user("q"), from_cell("q", None, None)):
        record, _ = claim_in(FULL, message)
        assert (record.notebooks, record.marks) == (FULL.notebooks, FULL.marks)


def test_only_the_latest_notebooks_and_marks_are_remembered():
    record = at_home(EMPTY, "/0.ipynb", [])
    for n in range(KNOWN_MARKS + 3):
        record, _ = claim_in(record, from_cell("q", "/0.ipynb", f"c{n}"))
    assert record.marks == tuple(f"cell c{n}" for n in range(3, KNOWN_MARKS + 3))
    for n in range(KNOWN_NOTEBOOKS + 3):
        record, _ = claim_in(record, from_cell("q", f"/{n}.ipynb", "c"))
    assert record.notebooks == tuple(f"/{n}.ipynb" for n in range(3, KNOWN_NOTEBOOKS + 3))


def test_a_clock_set_back_does_not_make_a_session_look_unused_when_a_turn_begins():
    record, _ = claim_in(replace(EMPTY, used_at=LATER), now=MADE)
    assert record.used_at == LATER


# -- a turn ends -----------------------------------------------------------------------------------


def test_an_end_takes_the_mark_away_and_counts_rows_and_tokens():
    record, claim = claim_in(EMPTY)
    rows = [assistant("a", usage=Usage(input_tokens=3)), assistant("b", usage=None)]
    after = settled(record, rows_of(claim, rows), now=LATER)
    assert after.open is None
    assert (after.rows, after.messages, after.turns, after.revision) == (3, 3, 1, 2)
    assert (after.used_at, after.usage) == (LATER, Usage(input_tokens=3))
    assert changed(record, after) == {"rows", "messages", "revision", "used_at", "usage", "open"}


def test_a_clock_set_back_does_not_make_a_session_look_unused_when_a_turn_ends():
    record, _ = claim_in(EMPTY, now=LATER)
    assert settled(record, [assistant()], now=MADE).used_at == LATER


def test_an_end_without_a_reply_still_ends():
    record, _ = claim_in(EMPTY)
    after = settled(record, [], now=LATER)
    assert (after.open, after.rows, after.revision) == (None, 1, 2)


def test_rows_become_parts_of_their_claims_turn():
    _, claim = claim_in(replace(FULL, open=None))
    rows = rows_of(claim, [assistant("a", turn=9, version=3), assistant("b")])
    assert [(r.content, r.turn, r.version) for r in rows] == [("a", 5, 1), ("b", 5, 1)]


@steady
@given(st.lists(st.integers(min_value=0, max_value=4), max_size=20))
def test_numbers_and_counts_agree_after_any_turns(replies):
    record = EMPTY
    for turn, number in enumerate(replies, start=1):
        record, claim = claim_in(record)
        assert claim.message.turn == turn
        record = settled(record, rows_of(claim, [assistant()] * number), now=NOW)
    assert record.turns == len(replies)
    assert record.rows == record.messages == len(replies) + sum(replies)
    assert record.revision == 2 * len(replies)
    total = Usage(input_tokens=3 * sum(replies), output_tokens=2 * sum(replies))
    assert record.usage == total
    assert record.session().message_count == record.messages


# -- a turn whose owner died -----------------------------------------------------------------------


def test_what_was_saved_of_a_dead_turn_is_its_reply():
    message = assistant("half", usage=None)
    row = crashed(FULL, Partial(epoch=3, turn=4, message=message), now=LATER)
    assert row == replace(message, turn=4, version=1, status="stopped", reason="crashed")


def test_reasoning_alone_counts_as_something_that_arrived():
    partial = Partial(epoch=3, turn=4, message=assistant("", reasoning="Hm."))
    assert crashed(FULL, partial, now=LATER).status == "stopped"


@pytest.mark.parametrize(
    "partial",
    [
        None,
        Partial(epoch=2, turn=4, message=assistant("of before the reset")),
        Partial(epoch=3, turn=3, message=assistant("of the turn before")),
        Partial(epoch=3, turn=4, message=assistant("")),
    ],
    ids=["nothing", "another epoch", "another turn", "empty"],
)
def test_a_dead_turn_with_nothing_saved_of_it_has_failed(partial):
    row = crashed(FULL, partial, now=LATER)
    assert (row.role, row.content, row.status, row.reason) == ("assistant", "", "failed", "crashed")
    assert (row.turn, row.version) == (4, 1)
    if partial is None:
        assert row.created_at == LATER


def test_a_dead_turn_is_ended_in_its_own_version():
    mark = replace(FULL.open, version=2)
    row = crashed(replace(FULL, open=mark), None, now=LATER)
    assert (row.turn, row.version) == (4, 2)


# -- reset -----------------------------------------------------------------------------------------


def test_a_reset_begins_a_new_epoch_and_keeps_what_the_session_is():
    after = emptied(FULL)
    assert after.epoch == FULL.epoch + 1
    assert after.revision == FULL.revision + 1
    gone = (after.rows, after.turns, after.messages, after.versions, after.undo, after.open)
    assert gone == (0, 0, 0, {}, (), None)
    assert after.title is None
    assert changed(FULL, after) == {
        "epoch",
        "revision",
        "rows",
        "turns",
        "messages",
        "versions",
        "undo",
        "open",
        "title",
    }


def test_a_reset_keeps_a_title_that_a_person_chose():
    assert emptied(replace(FULL, own_title=True)).title == "Plot it"


def test_a_reset_session_is_titled_anew_and_counts_from_one():
    record, claim = claim_in(emptied(FULL), user("Anew"))
    assert (record.title, claim.message.turn, claim.epoch) == ("Anew", 1, 4)


# -- who may go on ---------------------------------------------------------------------------------


def test_a_running_turn_goes_on():
    record, claim = claim_in(EMPTY)
    assert signal(record, claim) == "go on"
    assert fence(record, claim) is record


def test_a_cancelled_turn_is_told_so_and_may_still_save_what_it_has():
    record, claim = claim_in(EMPTY)
    asked = replace(record, open=replace(record.open, cancel=True))
    assert signal(asked, claim) == "cancel"
    assert fence(asked, claim) is asked


def test_a_change_of_model_or_home_amid_a_turn_does_not_end_it():
    record, claim = claim_in(EMPTY)
    moved = at_home(updated(record, model="openai:o3", system="New."), "/a.ipynb", ["c1"])
    assert signal(moved, claim) == "go on"
    assert fence(moved, claim) is moved


def test_a_turn_of_a_deleted_session_may_not_save():
    _, claim = claim_in(EMPTY)
    assert signal(None, claim) == "deleted"
    with pytest.raises(SessionNotFoundError, match="'eda' was deleted") as caught:
        fence(None, claim)
    assert caught.value.session_id == "eda"


def lost(record):
    """How a session can move from under its running turn."""
    other = {"owner": "own_2", "holder": "another", "now": LATER}
    return {
        "reset": emptied(record),
        "reset and claimed by another": opened(emptied(record), user(), **other)[0],
        "reset and claimed again": claim_in(emptied(record))[0],
        "ended": settled(record, [assistant()], now=LATER),
        "ended and claimed by another": opened(
            settled(record, [assistant()], now=LATER), user(), **other
        )[0],
    }


@pytest.mark.parametrize("how", lost(claim_in(EMPTY)[0]))
def test_a_turn_that_lost_its_session_may_not_save(how):
    record, claim = claim_in(EMPTY)
    after = lost(record)[how]
    assert signal(after, claim) == "reset"
    with pytest.raises(SessionError, match="'eda' was reset") as caught:
        fence(after, claim)
    assert caught.value.session_id == "eda"


def test_a_turn_that_ended_may_not_save_into_its_owners_next_one():
    record, claim = claim_in(EMPTY)
    again, _ = claim_in(settled(record, [assistant()], now=LATER))
    with pytest.raises(SessionError):
        fence(again, claim)


def test_a_busy_session_says_who_holds_it_and_since_when():
    error = busy(FULL)
    assert isinstance(error, SessionBusyError)
    assert (error.session_id, error.holder, error.since) == ("eda", "a kernel", NOW)
    assert "'eda' is busy: a kernel" in str(error)
    assert "10:00:00 UTC" in str(error)


# -- own values, and homes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"model": None, "system": None}, ("openai:gpt-4o", "Be brief.")),
        ({"model": "openai:o3", "system": None}, ("openai:o3", "Be brief.")),
        ({"model": None, "system": "Be long."}, ("openai:gpt-4o", "Be long.")),
        ({"model": "", "system": ""}, (None, None)),
    ],
)
def test_own_values_change_where_given_and_go_where_empty(given, kept):
    after = updated(FULL, **given)
    assert (after.model, after.system) == kept
    assert changed(FULL, after) <= {"model", "system"}


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


# -- what is shown ---------------------------------------------------------------------------------


def test_only_the_current_version_of_a_turn_is_in_view():
    shown = {
        (turn, version): FULL.shows(user(turn=turn, version=version))
        for turn in (1, 2)
        for version in (1, 2)
    }
    assert shown == {(1, 1): True, (1, 2): False, (2, 1): False, (2, 2): True}


def test_the_public_session_says_what_the_record_does():
    session = FULL.session()
    names = {field.name for field in fields(session)} & {f.name for f in fields(FULL)}
    assert all(getattr(session, name) == getattr(FULL, name) for name in names)
    assert (session.updated_at, session.message_count, session.turn_count) == (NOW, 8, 4)


# -- titles ----------------------------------------------------------------------------------------

LONG = "Please plot the monthly totals of the sales for every region of the country"


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Plot it", "Plot it"),
        ("  Plot\n\n\tit  ", "Plot it"),
        ("", ""),
        (" \n\t\u3000", ""),
        ("x" * TITLE_LENGTH, "x" * TITLE_LENGTH),
        (LONG, "Please plot the monthly totals of the sales for every…"),
        ("y" * 500, "y" * (TITLE_LENGTH - 1) + "…"),
        ("a " + "y" * 500, "a " + "y" * (TITLE_LENGTH - 3) + "…"),
        ("数据" * 100, "数据" * 29 + "数…"),
        ("请 " + "数据" * 100, "请 " + "数据" * 28 + "数…"),
        ("longer " * 100, "longer " * 7 + "longer…"),
    ],
    ids=[
        "short",
        "white space",
        "empty",
        "blank",
        "just fits",
        "cut at a word",
        "one long word",
        "a long second word",
        "no spaces",
        "a space too early",
        "many words",
    ],
)
def test_a_title_is_the_beginning_of_the_prompt(prompt, title):
    assert automatic_title(prompt) == title


@steady
@given(st.text(max_size=200) | st.lists(st.text(max_size=70), max_size=9).map(" ".join))
def test_a_title_is_one_line_that_fits_and_is_what_was_said(prompt):
    title = automatic_title(prompt)
    words = " ".join(prompt.split())
    assert len(title) <= TITLE_LENGTH
    assert title == " ".join(title.split())
    if len(words) <= TITLE_LENGTH:
        assert title == words
    else:
        assert title.endswith("…")
        assert words.startswith(title[:-1])
        assert len(title) > TITLE_LENGTH // 2
