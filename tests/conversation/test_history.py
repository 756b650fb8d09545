"""How each operation moves a session's record."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.history import (
    TITLE_LENGTH,
    asked_again,
    automatic_title,
    busy,
    check_turn,
    crashed,
    emptied,
    fence,
    held,
    noted,
    opened,
    released,
    rows_of,
    settled,
    signal,
    updated,
    whole,
)
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Usage
from dexto_magic.conversation.places import KNOWN_MARKS, KNOWN_NOTEBOOKS, at_home
from dexto_magic.conversation.record import OpenTurn, Partial
from dexto_magic.errors import SessionBusyError, SessionError, SessionNotFoundError
from tests.support.messages import assistant, failed, from_cell, summary, title, user
from tests.support.records import EMPTY, FULL, LATER, MADE, NOW, changed, claim_in

steady = settings(derandomize=True, deadline=None, max_examples=200)


# -- a turn begins ---------------------------------------------------------------------------------


def test_a_claim_leaves_the_mark_of_who_runs_the_turn():
    record, claim = claim_in(EMPTY)
    assert record.open == OpenTurn(owner="own_1", holder="a kernel", since=NOW, turn=1)
    assert (record.rows, record.line, record.messages) == (1, Line(end=1, made=1), 1)
    assert record.revision == 1
    assert record.used_at == NOW
    assert (claim.sid, claim.epoch, claim.revision, claim.owner) == ("s1", 0, 1, "own_1")
    assert claim.session == EMPTY.session()


def test_a_claim_moves_nothing_else():
    after, _ = claim_in(FULL, user("And now?"), now=LATER)
    assert changed(FULL, after) == {"rows", "revision", "line", "messages", "used_at", "open"}
    assert after.line == FULL.line.appended()


def test_the_message_of_a_claim_gets_the_next_number_whatever_it_says_itself():
    message = user("q", turn=77, version=5)
    record, claim = claim_in(replace(FULL, open=None), message)
    assert (claim.message.turn, claim.message.version) == (5, 2), "5 was undone before"
    assert (record.open.turn, record.open.version) == (5, 2)
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
    assert (after.rows, after.messages, after.line, after.revision) == (3, 3, record.line, 2)
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
    assert [(r.content, r.turn, r.version) for r in rows] == [("a", 5, 2), ("b", 5, 2)]


@steady
@given(st.lists(st.integers(min_value=0, max_value=4), max_size=20))
def test_numbers_and_counts_agree_after_any_turns(replies):
    record = EMPTY
    for turn, number in enumerate(replies, start=1):
        record, claim = claim_in(record)
        assert claim.message.turn == turn
        record = settled(record, rows_of(claim, [assistant()] * number), now=NOW)
    assert record.line == Line(end=len(replies), made=len(replies))
    assert record.rows == record.messages == len(replies) + sum(replies)
    assert record.revision == 2 * len(replies)
    total = Usage(input_tokens=3 * sum(replies), output_tokens=2 * sum(replies))
    assert record.usage == total
    assert record.session().message_count == record.messages


# -- another version of a turn ---------------------------------------------------------------------

IDLE = replace(FULL, open=None)


def test_a_new_version_takes_the_place_of_the_one_before():
    record, claim = claim_in(
        IDLE, user("anew"), now=LATER, revises=2, hidden=[user("old", turn=2)] * 3
    )
    assert (claim.message.turn, claim.message.version) == (2, 3)
    assert record.line == IDLE.line.revised(2)
    assert (record.rows, record.messages) == (10, 8 + 1 - 3)
    assert record.open == OpenTurn(
        owner="own_1", holder="a kernel", since=LATER, turn=2, version=3, hides=3
    )
    assert record.revises
    assert record.committed == replace(IDLE.line, latest={2: 3})


def test_a_new_turn_is_no_new_version_though_its_number_was_used():
    record, _ = claim_in(IDLE, now=LATER)
    assert not record.revises
    assert record.committed == IDLE.line.up_to(4)


@pytest.mark.parametrize("status", ["complete", "stopped"])
def test_a_new_version_that_came_to_something_stays(status):
    record, claim = claim_in(IDLE, revises=2, hidden=[user("old", turn=2)] * 3)
    after = settled(record, rows_of(claim, [assistant(status=status)]), now=LATER)
    assert after.line == record.line.without_redo()
    assert after.messages == 8 + 2 - 3


def test_a_new_version_that_failed_gives_the_one_before_back():
    record, claim = claim_in(IDLE, revises=2, hidden=[user("old", turn=2)] * 3)
    replies = [assistant("", tool_calls=()), failed()]
    after = settled(record, rows_of(claim, replies), now=LATER)
    assert [after.line.current(turn) for turn in range(1, 5)] == [1, 2, 1, 1]
    assert (after.messages, after.rows) == (8, 12)
    assert after.line.undone == IDLE.line.undone != ()
    _, again = claim_in(after, revises=2, hidden=[user("old", turn=2)] * 3)
    assert again.message.version == 4


def test_a_new_turn_that_failed_stays():
    record, claim = claim_in(IDLE)
    after = settled(record, rows_of(claim, [failed()]), now=LATER)
    assert (after.line, after.messages) == (record.line, 10)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (0, "no turn 0 in view. It has turns up to 4"),
        (5, "no turn 5 in view. It has turns up to 4"),
        (3, "no turn 3 in view. It was forgotten"),
    ],
)
def test_a_turn_that_is_not_in_view_has_no_new_version(turn, words):
    record = replace(IDLE, line=IDLE.line.without(3))
    for attempt in (
        lambda: check_turn(record, turn),
        lambda: claim_in(record, revises=turn),
    ):
        with pytest.raises(SessionError, match=f"'eda' has {words}") as caught:
            attempt()
        assert caught.value.session_id == "eda"


def test_an_empty_session_says_that_it_has_no_turns():
    with pytest.raises(SessionError, match=r"no turn 1 in view\. It has no turns"):
        check_turn(EMPTY, 1)
    check_turn(FULL, 4)


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


def test_a_new_version_whose_owner_died_is_current_if_anything_of_it_arrived():
    record, _ = claim_in(IDLE, revises=2, hidden=[user("old", turn=2)] * 2)
    partial = Partial(epoch=3, turn=2, message=assistant("half"))
    row = crashed(record, partial, now=LATER)
    assert (row.turn, row.version, row.status) == (2, 3, "stopped")
    assert settled(record, [row], now=LATER).line.current(2) == 3
    row = crashed(record, None, now=LATER)
    assert (row.turn, row.version, row.status) == (2, 3, "failed")
    assert settled(record, [row], now=LATER).line.current(2) == 2


# -- asides, and all that is kept ------------------------------------------------------------------


def transcript_of(record, *messages, asides=()):
    return whole(record, messages, asides)


def test_a_summary_counts_and_moves_nothing_that_a_running_turn_builds_on():
    record, claim = claim_in(EMPTY)
    about = transcript_of(record, claim.message)
    after = noted(record, summary("so far", about), about.messages)
    assert changed(record, after) == {"rows", "usage"}
    assert (after.rows, after.usage) == (2, Usage(input_tokens=5, output_tokens=1))
    assert fence(after, claim) is after
    free = summary("so far", about, usage=None)
    assert noted(record, free, about.messages).usage == record.usage


def test_a_title_that_a_model_wrote_is_no_persons_own():
    record, claim = claim_in(replace(EMPTY, title="Mine", own_title=True))
    about = transcript_of(record, claim.message)
    after = noted(record, title("Sales by month", about), about.messages)
    assert (after.title, after.own_title) == ("Sales by month", False)


@pytest.mark.parametrize(
    "after",
    [
        lambda line: line.undo()[0],
        lambda line: line.undo()[0].undo()[0],
        lambda line: line.revised(1),
        lambda line: line.revised(2),
        lambda line: line.undo()[0].appended(),
        lambda line: line.without(1),
        lambda line: line.without(2),
        lambda line: Line().appended().appended(),
    ],
)
def test_what_was_written_of_turns_that_are_no_longer_in_view_is_not_kept(after):
    line = Line().appended().appended()
    said = [user(f"{turn}", turn=turn) for turn in (1, 2)]
    about = transcript_of(replace(EMPTY, line=line), *said)
    later = replace(EMPTY, line=after(line))
    in_view = [m for m in (user(turn=2, version=v) for v in (1, 2)) if later.line.shows(m)]
    with pytest.raises(SessionError, match="'eda' were taken back or replaced") as caught:
        noted(later, summary("so far", about), in_view)
    assert caught.value.session_id == "eda"


# -- a hold ----------------------------------------------------------------------------------------


def test_a_hold_keeps_turns_out_and_changes_nothing_that_is_shown():
    record, hold = held(IDLE, owner="own_1", holder="a kernel", now=LATER)
    assert changed(IDLE, record) == {"open", "revision"}
    assert record.session() == IDLE.session() == hold.session
    assert record.committed == IDLE.line
    assert not record.revises
    assert fence(record, hold) is record
    assert "'eda' is busy: a kernel has been summarising it" in str(busy(record))
    after = released(record)
    assert changed(IDLE, after) == {"revision"}
    with pytest.raises(SessionError):
        fence(after, hold)


# -- a turn that is asked again --------------------------------------------------------------------


def test_a_turn_that_is_asked_again_is_the_last_or_the_one_of_a_number_in_view():
    said = [user("one", turn=1), assistant(turn=1), user("two", turn=2), assistant(turn=2)]
    transcript = transcript_of(replace(EMPTY, line=Line(end=2, made=2)), *said)
    assert asked_again(transcript, None) == said[2]
    assert asked_again(transcript, 1) == said[0]
    with pytest.raises(SessionError, match="nothing to retry: session 'eda' has no turn 3 in view"):
        asked_again(transcript, 3)
    with pytest.raises(SessionError, match="nothing to retry: session 'eda' has no turn"):
        asked_again(transcript_of(EMPTY), None)


def test_all_that_is_kept_is_what_is_in_view_and_what_is_not_by_turn_and_version():
    record = replace(
        EMPTY, line=Line().appended().appended().revised(1).appended().undo()[0].revised(1)
    )
    said = [
        user(f"{turn} {version}", turn=turn, version=version)
        for turn, version in [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3)]
    ]
    noted_before = [summary("of the first", transcript_of(record, said[0], said[4]), turn=1)]
    kept = transcript_of(record, *said, asides=noted_before)
    assert [m.content for m in kept.messages] == ["1 3", "2 1"]
    assert [m.content for m in kept.others] == ["1 1", "1 2", "3 1"]
    assert kept.asides == tuple(noted_before)
    assert (kept.line, kept.session) == (record.line, record.session())


# -- reset -----------------------------------------------------------------------------------------


def test_a_reset_begins_a_new_epoch_and_keeps_what_the_session_is():
    after = emptied(FULL)
    assert after.epoch == FULL.epoch + 1
    assert after.revision == FULL.revision + 1
    assert (after.rows, after.messages, after.line, after.open) == (0, 0, Line(), None)
    assert (after.family, after.source, after.title) == (None, None, None)
    assert changed(FULL, after) == {
        "epoch",
        "revision",
        "rows",
        "messages",
        "line",
        "open",
        "family",
        "source",
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
    changes = {"model": "openai:o3", "system": "New.", "title": "Mine", "overflow": "trim"}
    moved = at_home(updated(record, changes), "/a.ipynb", ["c1"])
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
    assert signal(again, claim) == "reset"
    with pytest.raises(SessionError):
        fence(again, claim)


def test_a_busy_session_says_who_holds_it_and_since_when():
    error = busy(FULL)
    assert isinstance(error, SessionBusyError)
    assert (error.session_id, error.holder, error.since) == ("eda", "a kernel", NOW)
    assert "'eda' is busy: a kernel" in str(error)
    assert "10:00:00 UTC" in str(error)


# -- own values ------------------------------------------------------------------------------------


OWN = ("model", "system", "title", "own_title", "settings")


@pytest.mark.parametrize(
    ("given", "moves"),
    [
        ({}, {}),
        (dict.fromkeys(["model", "system", "title", "overflow", "context_budget"]), {}),
        ({"model": "openai:o3"}, {"model": "openai:o3"}),
        ({"system": "Be long."}, {"system": "Be long."}),
        ({"model": "", "system": ""}, {"model": None, "system": None}),
        ({"title": "Mine"}, {"title": "Mine", "own_title": True}),
        ({"title": ""}, {"title": None}),
        ({"overflow": "error"}, {"settings": {"overflow": "error", "context_budget": 1000}}),
        ({"context_budget": 5}, {"settings": {"overflow": "trim", "context_budget": 5}}),
        ({"overflow": ""}, {"settings": {"context_budget": 1000}}),
        ({"overflow": "", "context_budget": 0}, {"settings": {}}),
    ],
    ids=repr,
)
def test_own_values_change_where_given_and_go_where_empty(given, moves):
    after = updated(FULL, given)
    assert {name: getattr(after, name) for name in OWN} == {
        **{name: getattr(FULL, name) for name in OWN},
        **moves,
    }
    assert changed(FULL, after) <= set(OWN)
    assert FULL.settings == {"overflow": "trim", "context_budget": 1000}


def test_values_that_were_never_own_can_be_taken_away():
    assert updated(EMPTY, {"overflow": "", "context_budget": 0, "title": "", "model": ""}) == EMPTY


def test_where_a_title_is_taken_away_another_takes_its_place():
    own = updated(FULL, {"title": "Mine"})
    after = updated(own, {"title": ""}, untitled="Plot it")
    assert (after.title, after.own_title) == ("Plot it", False)
    assert updated(own, {"title": None}, untitled="Plot it") == own


def test_a_title_that_is_taken_away_is_a_persons_no_longer():
    own = updated(EMPTY, {"title": "Mine"})
    assert (own.title, own.own_title) == ("Mine", True)
    assert claim_in(updated(own, {"title": ""}), user("Plot it"))[0].title == "Plot it"


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
