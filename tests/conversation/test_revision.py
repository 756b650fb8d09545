"""How the record moves where turns are taken back, brought back, or taken out for good."""

from dataclasses import replace

import pytest

from dexto_magic.conversation.history import settled, whole
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.revision import (
    check_kept,
    checked_move,
    forgotten,
    moved,
    title_by_itself,
    turn_change,
)
from dexto_magic.errors import SessionError
from tests.support.messages import assistant, title, user
from tests.support.records import EMPTY, FULL, NOW, changed, claim_in


def talked(*prompts):
    """A record after some turns, and their messages."""
    record, said = EMPTY, []
    for prompt in prompts:
        record, claim = claim_in(record, user(prompt))
        reply = assistant(turn=claim.message.turn)
        record = settled(record, [reply], now=NOW)
        said += [claim.message, reply]
    return record, said


def undone(record, said):
    line, step = record.line.undo()
    left = [message for message in said if message.turn == step.turn]
    return moved(record, line, left=left, came=[]), left


def test_an_undo_moves_the_line_and_the_count_and_is_no_use_of_the_session():
    record, said = talked("one", "two")
    after, _ = undone(record, said)
    assert changed(record, after) == {"line", "revision", "messages"}
    assert (after.messages, after.revision) == (2, record.revision + 1)


def test_an_automatic_title_goes_with_the_last_turn_and_comes_with_the_first():
    record, said = talked("Plot it")
    after, left = undone(record, said)
    assert (after.title, after.messages) == (None, 0)
    line, _ = after.line.redo()
    again = moved(after, line, left=[], came=left)
    assert (again.title, again.messages) == ("Plot it", 2)


def test_a_title_that_a_person_chose_stays_whatever_is_undone():
    record, said = talked("Plot it")
    after, _ = undone(replace(record, title="Mine", own_title=True), said)
    assert after.title == "Mine"


@pytest.mark.parametrize("verb", ["undo", "redo"])
def test_where_there_is_no_step_that_is_said(verb):
    with pytest.raises(SessionError, match=f"nothing to {verb} in session 'eda'") as caught:
        checked_move(EMPTY, verb, getattr(EMPTY.line, verb)())
    assert caught.value.session_id == "eda"


def test_a_change_says_which_version_of_which_turn_is_in_view_and_what_was_asked():
    asked = [user("one anew"), assistant()]
    line = Line().appended().revised(1)
    before, step = line.undo()
    change = turn_change(EMPTY.session(), before, step, asked)
    assert (change.turn, change.version, change.asked) == (1, 1, asked[0])
    empty, step = before.undo()
    assert turn_change(EMPTY.session(), empty, step, asked).version is None


def test_a_turn_of_which_nothing_is_kept_cannot_be_forgotten():
    with pytest.raises(
        SessionError, match=r"'eda' has no turn 9\. Nothing was forgotten"
    ) as caught:
        check_kept(FULL, 9, [])
    assert caught.value.session_id == "eda"
    gone = replace(FULL, line=FULL.line.without(2))
    with pytest.raises(SessionError, match=r"no turn 2\. It was forgotten before"):
        check_kept(gone, 2, [])
    check_kept(FULL, 5, [user(turn=5)])


def forget(record, said, turn, asides=()):
    messages = [message for message in said if message.turn == turn]
    return forgotten(
        record,
        turn,
        left=[message for message in messages if record.line.shows(message)],
        others=[message for message in said if message.turn != turn],
        asides=asides,
    )


def test_a_forgotten_turn_leaves_the_tokens_and_the_rows_counted():
    record, said = talked("one", "two", "three")
    after = forget(record, said, 2)
    assert changed(record, after) == {"line", "revision", "messages", "forgets"}
    assert (after.messages, after.session().turn_count) == (4, 2)


def test_an_automatic_title_of_a_forgotten_turn_becomes_that_of_the_first_in_view():
    record, said = talked("one", "two")
    assert record.title == "one"
    assert forget(record, said, 1).title == "two"
    assert forget(record, said, 2).title == "one"
    assert forget(forget(record, said, 1), said[2:], 2).title is None


def test_after_something_was_forgotten_the_title_is_one_that_a_model_wrote_if_one_is_left():
    record, said = talked("one", "two")
    about = whole(record, said, [])
    titles = [title(f"Title {n}", about, turn=1) for n in range(2)]
    assert forget(replace(record, title="Title 1"), said, 2, titles).title == "Title 1"
    assert forget(replace(record, title="Title 0"), said, 2, titles).title == "Title 0"
    assert forget(replace(record, title="Another"), said, 2, titles).title == "Title 1"


def test_a_title_by_itself_is_of_what_is_in_view():
    record, said = talked("one", "two")
    told = title("Of both", whole(record, said, []))
    assert title_by_itself(record.line, said, []) == "one"
    assert title_by_itself(record.line, said, [told]) == "Of both"
    assert title_by_itself(record.line.undo()[0], said, [told]) == "one"
    assert title_by_itself(record.line.revised(1), said, [told]) == "two"
    assert title_by_itself(Line(), said, [told]) is None


def test_a_title_that_a_person_chose_stays_whatever_is_forgotten():
    record, said = talked("one", "two")
    own = replace(record, title="Mine", own_title=True)
    assert forget(own, said, 1).title == "Mine"


def test_a_turn_that_is_not_in_view_can_be_forgotten_and_nothing_goes_out_of_view():
    record, said = talked("one", "two")
    back, _ = undone(record, said)
    after = forget(back, said, 2)
    assert after.messages == 2
    assert after.line.redo() is None
