"""Where a session comes from: a fork, or an import."""

from dataclasses import fields, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.descent import forked, inherits, restored
from dexto_magic.conversation.history import whole
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.record import SessionRecord
from dexto_magic.conversation.session import Transcript
from tests.support.messages import assistant, summary, title, user
from tests.support.records import EMPTY, FULL, LATER, changed

steady = settings(derandomize=True, deadline=None, max_examples=200)

IDLE = replace(FULL, open=None)


def fork_of(record, line, **fields):
    fields = {"rows": 6, "messages": 5, "title": record.title} | fields
    return forked(record, sid="s2", name="other", line=line, now=LATER, **fields)


def said_on(line):
    """One message of each turn in view."""
    return [
        user(f"{turn}", turn=turn, version=line.current(turn))
        for turn in range(1, line.end + 1)
        if turn in line
    ]


# -- forks -----------------------------------------------------------------------------------------


def test_a_fork_has_what_its_parent_is_and_begins_its_own_life():
    record = fork_of(IDLE, IDLE.line.up_to(3))
    assert (record.sid, record.id, record.rows, record.messages) == ("s2", "other", 6, 5)
    assert record.created_at == record.used_at == LATER
    for name in ("title", "own_title", "model", "system", "settings"):
        assert getattr(record, name) == getattr(IDLE, name)
    fresh = SessionRecord(sid="s2", id="other", created_at=LATER, used_at=LATER)
    for name in ("epoch", "revision", "open", "usage", "source", "home", "notebooks", "marks"):
        assert getattr(record, name) == getattr(fresh, name)


def test_a_fork_says_where_it_comes_from():
    record = fork_of(EMPTY, Line(end=3))
    assert (record.forked_from, record.forked_at) == ("eda", 3)
    assert (record.parent, record.family) == ("s1", "s1:00000000")
    again = fork_of(record, Line(end=2))
    assert (again.forked_from, again.forked_at) == ("other", 2)
    assert (again.parent, again.family) == ("s2", "s1:00000000")


def test_a_fork_takes_over_summaries_of_what_it_shows_and_nothing_else():
    line = Line().appended().appended().appended().revised(2)
    about = whole(replace(EMPTY, line=line), said_on(line), [])
    first, second, all_three = (summary("s", about, turn=turn) for turn in (1, 2, 3))
    assert inherits(line, all_three)
    up_to = line.up_to(2)
    assert [inherits(up_to, aside) for aside in (first, second, all_three)] == [True, True, False]
    before, _ = line.undo()
    assert [inherits(before, aside) for aside in (first, second)] == [True, False]
    assert not inherits(line, title("t", about))


# -- imports ---------------------------------------------------------------------------------------


def test_a_session_that_is_restored_is_what_it_was():
    transcript = whole(IDLE, said_on(IDLE.line), [])
    record = restored(transcript, sid="s9", name="eda", source="other.jsonl")
    assert changed(IDLE, record) == {
        "sid",
        "epoch",
        "rows",
        "revision",
        "messages",
        "parent",
        "family",
        "source",
        "home",
        "marks",
    }
    assert (record.sid, record.source, record.rows, record.messages) == ("s9", "other.jsonl", 4, 4)
    assert (record.parent, record.family, record.home) == (None, None, None)


def test_every_field_of_a_session_is_restored_but_its_home_which_may_be_taken():
    said = tuple(said_on(FULL.line))
    session = replace(FULL, own_title=True, messages=len(said)).session()
    transcript = Transcript(session=session, messages=said, line=FULL.line)
    record = restored(transcript, sid="s9", name="eda", source=None)
    assert record.line == FULL.line
    again = record.session()
    assert {
        f.name for f in fields(session) if getattr(session, f.name) != getattr(again, f.name)
    } == {"home"}


def test_the_line_of_a_transcript_without_one_is_that_of_its_messages():
    said = [user(turn=3), assistant(turn=3), user(turn=5, version=2), assistant(turn=5, version=2)]
    transcript = Transcript(session=EMPTY.session(), messages=tuple(said))
    record = restored(transcript, sid="s9", name="eda", source=None)
    assert record.line == Line(end=5, made=5, versions={5: 2}, latest={5: 2}, gone=(1, 2, 4))
    assert all(map(record.line.shows, said))
    empty = replace(transcript, messages=())
    assert restored(empty, sid="s9", name="eda", source=None).line == Line()


@steady
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), unique=True, max_size=9),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), unique=True, max_size=9),
)
def test_nothing_that_is_said_later_is_taken_for_what_was_restored_without_a_line(shown, others):
    current = dict(shown)
    said = [user(turn=turn, version=version) for turn, version in sorted(current.items())]
    rest = [
        user(turn=turn, version=version) for turn, version in others if current.get(turn) != version
    ]
    transcript = Transcript(session=EMPTY.session(), messages=tuple(said), others=tuple(rest))
    line = restored(transcript, sid="s9", name="eda", source=None).line
    assert all(map(line.shows, said))
    assert not any(map(line.shows, rest))
    kept = {(message.turn, message.version) for message in (*said, *rest)}
    for _ in range(9):
        line = line.appended()
        assert (line.end, line.current(line.end)) not in kept
    for turn in sorted(current):
        line = line.revised(turn)
        assert (turn, line.current(turn)) not in kept


def test_a_line_that_does_not_go_with_its_messages_is_made_anew():
    """As after somebody edited an export: what is in it is in view, and counted."""
    shown = (user("q", turn=1), assistant("a", turn=1), user("r", turn=2))
    others = (user("old", turn=2, version=2),)
    for line in (
        Line(end=1, made=1),
        Line(end=2, made=2),
        Line(end=2, made=2, versions={2: 2}, latest={2: 2}),
        Line(end=3, made=3, latest={2: 2}),
        Line(end=2, made=2, latest={2: 2}, gone=(1,)),
    ):
        record = restored(
            Transcript(session=EMPTY.session(), messages=shown, others=others, line=line),
            sid="s",
            name="eda",
            source=None,
        )
        assert all(map(record.line.shows, shown))
        assert not any(map(record.line.shows, others))
        assert (record.line.count, record.messages) == (2, 3)
        assert record.line.revised(2).current(2) == 3
