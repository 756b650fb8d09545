"""The verbs that ``%dexto`` and the command line share."""

import argparse
import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic import DextoAgent, MemoryStore, SessionNotFoundError, SettingsError
from dexto_magic.commands import (
    SHOWN_SESSIONS,
    SHOWN_TURNS,
    exported,
    history,
    known,
    loss,
    sessions,
)
from dexto_magic.commands.arguments import counted, natural
from tests.support.messages import assistant, user

steady = settings(derandomize=True, deadline=None, max_examples=60)

BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


class Clock:
    """Says what it is told to; everything happens at the beginning until then."""

    def __init__(self):
        self.time = BEGIN

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(now=clock)


@pytest.fixture
def agent(store):
    with DextoAgent("practice", store=store) as agent:
        yield agent


async def said(store, session_id, *sizes):
    """A session with a turn of each of these numbers of messages."""
    if await store.get(session_id) is None:
        await store.create(session_id)
    owner = await store.join("a test")
    for size in sizes:
        number = (await store.get(session_id)).turn_count + 1
        asked = replace(user(f"q{number}"), created_at=store._now())
        claim = await store.claim(session_id, asked, owner)
        await store.settle(claim, [assistant(f"a{number}.{n}") for n in range(1, size)])


def say(store, session_id, *sizes):
    asyncio.run(said(store, session_id, *sizes))


def titled(store, session_id, title):
    """A session whose first prompt, and so whose title, is this."""

    async def claim():
        await store.create(session_id)
        await store.claim(session_id, user(title), await store.join("a test"))

    asyncio.run(claim())


# -- sessions --------------------------------------------------------------------------------------


def names(table):
    return [session.id for session in table.sessions]


def test_sessions_are_listed_most_recently_used_first(agent, store):
    for name in ("one", "two", "three"):
        agent.create_session(name)
    say(store, "one", 2)
    table = sessions(agent)
    assert names(table) == ["one", "three", "two"]
    assert (table.current, table.more) == (None, False)


def test_no_sessions_are_an_empty_table(agent):
    table = sessions(agent)
    assert (table.sessions, table.more) == ((), False)


def test_the_current_session_is_passed_on(agent):
    assert sessions(agent, current="eda").current == "eda"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (None, ["sales-2026", "Sales-2025", "eda", "größe"]),
        ("", ["sales-2026", "Sales-2025", "eda", "größe"]),
        ("sales", ["sales-2026", "Sales-2025"]),
        ("SALES", ["sales-2026", "Sales-2025"]),
        ("2025", ["Sales-2025"]),
        ("monthly", ["eda"]),
        ("Monthly TOTALS", ["eda"]),
        ("*-20*", ["sales-2026", "Sales-2025"]),
        ("sales-*", ["sales-2026", "Sales-2025"]),
        ("*6", ["sales-2026"]),
        ("sales-202?", ["sales-2026", "Sales-2025"]),
        ("sales-202[56]", ["sales-2026", "Sales-2025"]),
        ("sales-202[!5]", ["sales-2026"]),
        ("sale?", []),
        ("plot*", ["eda"]),
        ("*", ["sales-2026", "Sales-2025", "eda", "größe"]),
        ("GRÖSSE", ["größe"]),
        ("GRÖßE", ["größe"]),
        ("nothing like it", []),
        (".", []),
    ],
)
def test_a_pattern_finds_names_and_titles_in_any_case(agent, store, pattern, found):
    agent.create_session("größe")
    titled(store, "eda", "Plot the monthly totals")
    for name in ("Sales-2025", "sales-2026"):
        agent.create_session(name)
    assert names(sessions(agent, pattern)) == found


def test_a_pattern_finds_a_name_however_its_accents_were_typed(agent):
    """A Mac's keyboard and file names give ``e`` and an accent; names are kept composed."""
    agent.create_session("cafe\u0301")
    assert names(sessions(agent, "cafe\u0301")) == ["caf\u00e9"]


def test_a_pattern_goes_through_all_sessions_and_not_the_newest_only(agent):
    for n in range(1100):
        agent.create_session(f"old-{n}" if n < 3 else f"new-{n}")
    table = sessions(agent, "old")
    assert (names(table), table.more) == (["old-2", "old-1", "old-0"], False)


@pytest.mark.parametrize("pattern", [None, "s"])
@pytest.mark.parametrize(
    ("limit", "shown", "more"), [(2, 2, True), (5, 5, False), (6, 5, False), (0, 0, True)]
)
def test_as_many_are_shown_as_asked_for_and_it_is_said_if_there_are_more(
    agent, pattern, limit, shown, more
):
    for n in range(5):
        agent.create_session(f"s{n}")
    table = sessions(agent, pattern, limit=limit)
    assert names(table) == ["s4", "s3", "s2", "s1", "s0"][:shown]
    assert table.more is more


def test_unless_asked_for_more_fifty_are_shown(agent):
    for n in range(51):
        agent.create_session(f"s{n}")
    table = sessions(agent)
    assert SHOWN_SESSIONS == 50
    assert (len(table.sessions), table.more) == (50, True)


def test_only_those_that_match_are_counted(agent):
    for n in range(4):
        agent.create_session(f"a{n}")
        agent.create_session(f"b{n}")
    table = sessions(agent, "a", limit=4)
    assert (names(table), table.more) == (["a3", "a2", "a1", "a0"], False)


@pytest.mark.parametrize("pattern", ["[", "[!", "[z-a]", "[]", "\\", "(?", "[[:alpha:]]", "\x00"])
def test_a_pattern_of_no_sense_finds_nothing_and_is_no_error(agent, pattern):
    agent.create_session("eda")
    assert names(sessions(agent, pattern)) == []


# -- history ---------------------------------------------------------------------------------------


def turn_numbers(transcript):
    return [message.turn for message in transcript.messages]


@steady
@given(
    sizes=st.lists(st.sampled_from([1, 2, 5]), max_size=8),
    turns=st.integers(min_value=0, max_value=9),
)
def test_the_newest_turns_are_shown_whole_however_long_they_are(sizes, turns):
    store = MemoryStore()
    say(store, "eda", *sizes)
    with DextoAgent("practice", store=store) as agent:
        transcript = history(agent, "eda", turns=turns)
    expected = list(enumerate(sizes, start=1))[max(0, len(sizes) - turns) :]
    assert turn_numbers(transcript) == [number for number, size in expected for _ in range(size)]
    assert transcript.session.turn_count == len(sizes)
    assert transcript.session.message_count == sum(sizes)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_unless_asked_for_more_fifty_turns_are_shown(agent, store, size):
    say(store, "eda", *[size] * 60)
    transcript = history(agent, "eda")
    assert SHOWN_TURNS == 50
    assert turn_numbers(transcript) == [n for n in range(11, 61) for _ in range(size)]


def test_messages_are_shown_in_order_with_their_text(agent, store):
    say(store, "eda", 2, 5, 1)
    assert [m.content for m in history(agent, "eda", turns=2).messages] == [
        "q2",
        "a2.1",
        "a2.2",
        "a2.3",
        "a2.4",
        "q3",
    ]


def test_the_history_of_a_new_session_is_empty(agent):
    agent.create_session("eda")
    transcript = history(agent, "eda")
    assert (transcript.messages, transcript.session.id) == ((), "eda")


def test_a_turn_that_is_running_is_shown(agent, store):
    titled(store, "eda", "What is it?")
    assert [m.content for m in history(agent, "eda", turns=1).messages] == ["What is it?"]


class Overtaken(DextoAgent):
    """An agent whose session is reset by somebody else between any two of its calls."""

    def get_session_history(self, session_id, *, limit=None):
        self.reset_conversation(session_id)
        return super().get_session_history(session_id, limit=limit)

    def get_transcript(self, session_id, *, limit=None, everything=False):
        transcript = super().get_transcript(session_id, limit=limit, everything=everything)
        self.reset_conversation(session_id)
        return transcript


@pytest.mark.parametrize("sizes", [[1], [2, 2], [5, 5, 5]])
@pytest.mark.parametrize("turns", [1, 2, 50])
def test_a_reset_by_somebody_else_meanwhile_is_no_error(store, sizes, turns):
    say(store, "eda", *sizes)
    with Overtaken("practice", store=store) as agent:
        shown = history(agent, "eda", turns=turns)
    assert len(shown.messages) in (0, sum(sizes[-turns:])), "what was there before, or is now"


# -- what would be lost ----------------------------------------------------------------------------


def test_a_session_without_turns_loses_nothing(agent):
    agent.create_session("eda")
    assert loss(agent, "eda", since=BEGIN + timedelta(days=1)) is None


def test_turns_that_are_older_are_counted_with_the_first_and_the_last(agent, store, clock):
    say(store, "eda", 2, 5)
    clock.time = BEGIN + timedelta(hours=3)
    say(store, "eda", 1)
    words = loss(agent, "eda", since=BEGIN + timedelta(hours=2))
    assert words == (
        "'eda' holds 3 turns, the first of 2026-11-20 09:00 UTC, the last of 2026-11-20 12:00 UTC"
    )


def test_one_turn_is_one_turn(agent, store):
    say(store, "eda", 2)
    assert loss(agent, "eda", since=BEGIN + timedelta(hours=1)).startswith("'eda' holds 1 turn, ")


def test_a_session_made_since_then_loses_nothing(agent, store, clock):
    clock.time = BEGIN + timedelta(hours=2)
    say(store, "eda", 2, 2)
    assert loss(agent, "eda", since=BEGIN + timedelta(hours=2)) is None
    assert loss(agent, "eda", since=BEGIN + timedelta(hours=1)) is None


def test_an_old_session_with_new_turns_only_loses_nothing(agent, store, clock):
    """It was reset, or was made ready and not used."""
    agent.create_session("eda")
    clock.time = BEGIN + timedelta(hours=2)
    say(store, "eda", 2)
    assert loss(agent, "eda", since=BEGIN + timedelta(hours=1)) is None
    assert loss(agent, "eda", since=BEGIN + timedelta(hours=3)) is not None


def test_what_was_undone_and_what_a_fork_took_over_would_be_lost_too(agent, store, clock):
    say(store, "eda", 2)
    agent.undo("eda")
    assert loss(agent, "eda", since=BEGIN + timedelta(hours=1)).startswith("'eda' holds 1 turn, ")
    agent.redo("eda")
    clock.time = BEGIN + timedelta(hours=2)
    agent.fork_session("eda", "other")
    assert loss(agent, "other", since=BEGIN + timedelta(hours=1)).startswith("'other' holds 1 turn")


def test_a_version_that_is_not_in_view_is_lost_with_its_turn(agent, store, clock):
    say(store, "eda", 2)
    clock.time = BEGIN + timedelta(hours=2)

    async def revise():
        asked = replace(user("q1 anew"), created_at=clock.time)
        claim = await store.claim("eda", asked, await store.join("a test"), revises=1)
        await store.settle(claim, [replace(assistant("a1 anew"), created_at=clock.time)])

    asyncio.run(revise())
    since = BEGIN + timedelta(hours=1)
    assert loss(agent, "eda", since=since).startswith(
        "'eda' holds 1 turn, the first of 2026-11-20 09:00 UTC"
    )
    assert loss(agent, "eda", since=since, turn=1) == "turn 1 of 'eda' is of 2026-11-20 09:00 UTC"


def test_a_reset_by_somebody_else_meanwhile_leaves_nothing_to_lose(store):
    say(store, "eda", 2)
    with Overtaken("practice", store=store) as agent:
        words = loss(agent, "eda", since=BEGIN + timedelta(hours=1))
    assert words is None or words.startswith("'eda' holds 1 turn, ")


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb",
    [
        lambda agent, number: sessions(agent, limit=number),
        lambda agent, number: sessions(agent, "eda", limit=number),
        lambda agent, number: history(agent, "eda", turns=number),
    ],
    ids=["sessions", "sessions that match", "history"],
)
def test_a_negative_number_is_refused_and_its_option_named(agent, store, verb):
    say(store, "eda", 2)
    with pytest.raises(SettingsError, match="-n takes a whole number of 0 or more, not -1") as no:
        verb(agent, -1)
    assert no.value.option == "-n"
    verb(agent, 0)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("12", 12), ("9" * 30, 10**30 - 1)])
def test_a_number_that_was_typed_is_read(text, number):
    assert natural(text) == number


@pytest.mark.parametrize("text", ["-1", "", "1.5", "many", "²", "+1", "1_000"])
def test_what_is_no_number_of_things_is_refused_in_words_for_people(text):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-n", type=natural)
    with pytest.raises(argparse.ArgumentError) as no:
        parser.parse_args([f"-n{text}"] if text else ["-n", text])
    assert str(no.value) == f"argument -n: {text!r} is not a whole number of 0 or more"


@pytest.mark.parametrize("text", ["0", "-1", "", "1.5", "first", "²"])
def test_what_is_no_turns_number_is_refused_in_words_for_people(text):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--at", type=counted)
    with pytest.raises(argparse.ArgumentError) as no:
        parser.parse_args([f"--at={text}"])
    assert (
        str(no.value)
        == f"argument --at: {text!r} is no number of a turn or page: they count from 1"
    )
    assert counted("12") == 12


# -- names that are not there ----------------------------------------------------------------------


def test_a_session_is_known_by_its_name(agent):
    made = agent.create_session("eda", system="Be brief.")
    assert known(agent, "eda") == made


@pytest.mark.parametrize(
    "verb",
    [known, history, lambda agent, name: loss(agent, name, since=BEGIN)],
    ids=["known", "history", "loss"],
)
def test_a_name_that_is_not_there_is_named_with_those_like_it(agent, verb):
    agent.create_session("analysis")
    with pytest.raises(SessionNotFoundError, match="Did you mean 'analysis'") as caught:
        verb(agent, "analisys")
    assert caught.value.close_matches == ("analysis",)


@pytest.mark.parametrize(
    ("file", "place"), [("~/eda.md", "eda.md"), ("~nobody-here/a.md", None), ("a~.md", None)]
)
def test_a_tilde_in_the_name_of_an_exported_file_is_the_home_directory(
    tmp_path, monkeypatch, file, place
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody-here").mkdir()
    with DextoAgent("practice", store=MemoryStore()) as agent:
        agent.create_session("eda")
        told = exported(agent, "eda", file)
    assert (tmp_path / (place or file)).is_file()
    assert told.path == (str(tmp_path / place) if place else file)
