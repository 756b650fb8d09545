"""Sessions out of a store into a file, and from a file into a store."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from dexto_magic import (
    AsyncDextoAgent,
    DextoAgent,
    FormatError,
    MemoryStore,
    Message,
    Session,
    SessionError,
    SessionNotFoundError,
    StoreCorruptedError,
    StoreFullError,
    Transcript,
)
from dexto_magic.commands import usage
from tests.support.messages import assistant, user
from tests.support.processes import heard, kill, python

BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@pytest.fixture(params=["disk", "memory"])
def agent(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else tmp_path / "store"
    with DextoAgent("practice", store=store) as agent:
        yield agent


@pytest.fixture
def other(tmp_path):
    """An agent of another store."""
    with DextoAgent("practice", store=tmp_path / "other") as other:
        yield other


def talked(agent):
    """Sessions with all that a history can have."""
    eda = agent.create_session("eda", system="Be brief.").id
    for n in range(4):
        agent.generate(f"My thing{n} is value{n}.", eda)
    agent.retry(eda, "My thing3 is another.")
    agent.undo(eda)
    agent.compact(eda)
    agent.update_session(eda, title="Mine", overflow="trim", context_budget=4000)
    agent.forget_turn(eda, 4)
    agent.generate("After that.", eda)
    agent.fork_session(eda, "数据 🎉", turn=2)
    agent.create_session("empty")


def everything(agent):
    """All that is kept, in the order in which sessions are listed."""
    return agent.survey_sessions(list)


def whole_transcript(agent, name):
    """All that is kept of one of them."""
    (found,) = [transcript for transcript in everything(agent) if transcript.session.id == name]
    return found


def test_what_is_exported_and_imported_again_is_equal(agent, other, tmp_path):
    talked(agent)
    exported = agent.export_sessions(tmp_path / "all.jsonl")
    assert (exported.sessions, exported.lossless) == (3, True)
    imported = other.import_sessions(tmp_path / "all.jsonl")
    assert [session.id for session in imported.sessions] == ["empty", "数据 🎉", "eda"]
    assert (imported.already, imported.broken) == (0, ())
    assert everything(other) == everything(agent)


def test_an_imported_conversation_goes_on(agent, other, tmp_path):
    talked(agent)
    agent.export_sessions(tmp_path / "all.jsonl")
    other.import_sessions(tmp_path / "all.jsonl")
    assert other.generate("What is my thing0?", "eda").content == "Your thing0 is value0."
    found = {hit.session_id for hit in other.search("value1", role="user")}
    assert found == {"数据 🎉", "eda"}
    assert other.undo("eda").turn == 6


@pytest.mark.parametrize("suffix", [".jsonl", ".ipynb"])
def test_an_import_run_again_adds_nothing(agent, other, tmp_path, suffix):
    talked(agent)
    path = tmp_path / f"all{suffix}"
    agent.export_sessions(path, ["eda"])
    assert len(other.import_sessions(path).sessions) == 1
    before = everything(other)
    again = other.import_sessions(path)
    assert (again.sessions, again.already) == ((), 1)
    other.generate("And it goes on.", "eda")
    assert other.import_sessions(path).already == 1
    assert everything(other)[1:] == before[1:]


def test_an_export_is_known_in_its_own_store(agent, tmp_path):
    talked(agent)
    agent.export_sessions(tmp_path / "all.jsonl")
    before = everything(agent)
    again = agent.import_sessions(tmp_path / "all.jsonl")
    assert (again.sessions, again.already) == ((), 3)
    assert everything(agent) == before


@pytest.mark.parametrize("suffix", [".ipynb", ".json"])
def test_a_file_without_ids_is_known_by_what_it_begins_with(agent, tmp_path, suffix):
    agent.create_session("eda")
    agent.generate("My name is Sarah.", "eda")
    agent.export_sessions(tmp_path / f"eda{suffix}", ["eda"])
    agent.generate("And it goes on.", "eda")
    again = agent.import_sessions(tmp_path / f"eda{suffix}")
    assert (again.sessions, again.already) == ((), 1)


def test_a_name_that_another_session_has_is_given_a_number(agent, other, tmp_path):
    talked(agent)
    other.create_session("eda")
    other.generate("Something else.", "eda")
    agent.export_sessions(tmp_path / "eda.jsonl", ["eda"])
    (session,) = other.import_sessions(tmp_path / "eda.jsonl").sessions
    assert session.id == "eda (2)"
    assert other.get_session_history("eda")[0].content == "Something else."


def test_what_was_deleted_can_be_imported_again(agent, tmp_path):
    talked(agent)
    before = whole_transcript(agent, "eda")
    agent.export_sessions(tmp_path / "eda.jsonl", ["eda"])
    for _ in range(2):
        agent.delete_session("eda")
        assert len(agent.import_sessions(tmp_path / "eda.jsonl").sessions) == 1
        assert whole_transcript(agent, "eda") == before


# -- what happens meanwhile ------------------------------------------------------------------------


def meanwhile(happening):
    """A ``progress`` amid which something happens, after the first session and before the others."""

    def shown(items, _total):
        for number, item in enumerate(items):
            if number == 1:
                happening()
            yield item

    return shown


def chats(agent, *names):
    """Sessions in which something was said, listed in that order."""
    for name in reversed(names):
        agent.create_session(name)
        agent.generate(f"My name is {name}.", name)


def exported_while(agent, path, happening):
    """What an export says that it did, and the names and first prompts that it wrote."""
    told = agent.export_sessions(path, progress=meanwhile(happening))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    names = [row["id"] for row in rows if row["kind"] == "session"]
    asked = [row["content"] for row in rows if row["kind"] == "user"]
    assert told.sessions == len(names)
    return told, list(zip(names, asked, strict=True))


def test_a_session_that_is_renamed_meanwhile_is_exported_by_its_new_name(agent, tmp_path):
    chats(agent, "a", "b", "c")
    told, written = exported_while(
        agent, tmp_path / "all.jsonl", lambda: agent.rename_session("b", "renamed")
    )
    assert written == [
        ("a", "My name is a."),
        ("renamed", "My name is b."),
        ("c", "My name is c."),
    ]
    assert (told.deleted, told.unread) == ((), ())


def test_a_session_whose_name_is_anothers_by_then_is_exported_and_so_is_the_other(agent, tmp_path):
    chats(agent, "a", "b", "c")

    def swap():
        agent.rename_session("b", "x")
        agent.rename_session("c", "b")

    _, written = exported_while(agent, tmp_path / "all.jsonl", swap)
    assert written == [("a", "My name is a."), ("x", "My name is b."), ("b", "My name is c.")]


def test_a_session_that_is_deleted_meanwhile_is_told_and_the_rest_is_exported(agent, tmp_path):
    chats(agent, "a", "b", "c")

    def delete():
        agent.rename_session("b", "renamed")
        agent.delete_session("renamed")

    told, written = exported_while(agent, tmp_path / "all.jsonl", delete)
    assert [name for name, _ in written] == ["a", "c"]
    assert told.deleted == ("b",)
    assert agent.survey_sessions(lambda every: [t.session.id for t in every]) == ["a", "c"]


def test_a_session_that_was_named_and_is_deleted_meanwhile_is_an_error(agent, tmp_path):
    chats(agent, "a", "b")
    path = tmp_path / "some.jsonl"
    with pytest.raises(SessionNotFoundError, match="'b'"):
        agent.export_sessions(
            path, ["a", "b"], progress=meanwhile(lambda: agent.delete_session("b"))
        )
    assert not path.exists()


class Busy(MemoryStore):
    """A store in which somebody uses the session that was used longest ago at each look at it."""

    async def list(self, *, limit, cursor=None):
        page = await super().list(limit=limit, cursor=cursor)
        claim = await self.claim("s0", user("Hello."), await self.join("somebody else"))
        await self.settle(claim, [assistant("Hi.")])
        return page


def test_a_session_that_is_used_while_all_are_listed_is_among_them(tmp_path):
    with DextoAgent("practice", store=Busy()) as agent:
        for number in range(1100):
            agent.create_session(f"s{number}")
        assert len(agent.list_sessions()) == 1100
        told = agent.export_sessions(tmp_path / "all.jsonl")
        assert told.sessions == 1100
        assert "s0" in {session.name for session in usage(agent, None).sessions}


def test_a_session_that_cannot_be_read_is_told_and_the_rest_is_exported(tmp_path):
    store = tmp_path / "store"
    with DextoAgent("practice", store=store) as agent:
        chats(agent, "a", "b", "c")
        with closing(sqlite3.connect(store / "sessions" / "cache.db")) as database, database:
            database.execute(
                "DELETE FROM Cache WHERE rowid = ("
                "SELECT rowid FROM Cache WHERE key LIKE 'm:%' ORDER BY rowid LIMIT 1)"
            )
        told = agent.export_sessions(tmp_path / "all.jsonl")
        assert (told.sessions, told.unread, told.deleted) == (2, ("c",), ())
        with pytest.raises(StoreCorruptedError):
            agent.export_sessions(tmp_path / "c.jsonl", ["c"])
        assert not (tmp_path / "c.jsonl").exists()


@pytest.mark.anyio
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
async def test_of_several_who_import_a_file_at_once_one_makes_each_session(
    tmp_path, anyio_backend, suffix
):
    path = tmp_path / f"some{suffix}"
    names = [f"s{number}" for number in range(20 if suffix == ".jsonl" else 1)]
    async with AsyncDextoAgent("practice", store=tmp_path / "source") as agent:
        for name in names:
            await agent.create_session(name)
            await agent.generate(f"My name is {name}.", name)
        await agent.export_sessions(path)
        whole = await agent.survey_sessions(list)
    async with (
        AsyncDextoAgent("practice", store=tmp_path / "store") as one,
        AsyncDextoAgent("practice", store=tmp_path / "store") as two,
    ):
        told = await asyncio.gather(*(agent.import_sessions(path) for agent in (one, two, one)))
        there = await one.survey_sessions(list)
    assert len(there) == len(names)
    assert suffix == ".json" or there == whole
    assert sum(len(imported.sessions) for imported in told) == len(names)
    assert sum(imported.already for imported in told) == 2 * len(names)


def test_a_name_that_somebody_else_takes_just_then_is_given_a_number(
    agent, other, tmp_path, monkeypatch
):
    chats(agent, "eda")
    agent.export_sessions(tmp_path / "eda.jsonl", ["eda"])
    genuine = AsyncDextoAgent.restore_session

    async def restore(self, transcript, *, source=None):
        if transcript.session.id == "eda":
            await self.create_session("eda")
        return await genuine(self, transcript, source=source)

    monkeypatch.setattr(AsyncDextoAgent, "restore_session", restore)
    (session,) = other.import_sessions(tmp_path / "eda.jsonl").sessions
    assert session.id == "eda (2)"
    assert other.get_session_history("eda") == []


def test_what_was_imported_and_then_reset_can_be_imported_again(agent, other, tmp_path):
    chats(agent, "eda")
    agent.export_sessions(tmp_path / "eda.jsonl", ["eda"])
    for name in ("eda", "eda (2)"):
        (session,) = other.import_sessions(tmp_path / "eda.jsonl").sessions
        assert session.id == name
        assert other.import_sessions(tmp_path / "eda.jsonl").already == 1
        other.reset_conversation(name)


# -- what is broken --------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [(2, 1), (1, 3, 2)])
def test_a_session_whose_turns_are_out_of_order_is_told_and_the_rest_is_imported(
    other, tmp_path, turns
):
    rows = [{"kind": "header", "format": "dexto-magic", "version": 1}]
    at = BEGIN.isoformat()
    for name, numbers in (("odd", turns), ("fine", sorted(turns))):
        head = {"kind": "session", "rows": len(numbers), "id": name, "created": at, "used": at}
        rows.append(head)
        rows += [
            {"kind": "user", "id": f"{name}{turn}", "turn": turn, "at": at, "content": name}
            for turn in numbers
        ]
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    imported = other.import_sessions(path)
    assert [session.id for session in imported.sessions] == ["fine"]
    assert imported.broken == ((1, "session 'odd': its turns are not numbered in order"),)


def test_a_broken_record_is_told_by_its_number_and_the_rest_is_imported(other, tmp_path):
    def conversation(name):
        return [{"role": "user", "content": name}, {"role": "assistant", "content": "Yes."}]

    path = tmp_path / "conversations.jsonl"
    lines = [json.dumps({"messages": conversation(name)}) for name in ("one", "two", "three")]
    lines[1] = lines[1][:-10]
    path.write_text("\n".join(lines))
    imported = other.import_sessions(path)
    assert [number for number, _ in imported.broken] == [2]
    assert [other.get_session_history(session.id)[0].content for session in imported.sessions] == [
        "one",
        "three",
    ]


@pytest.mark.parametrize(
    "error",
    [OverflowError("out of bounds"), ValueError("out of bounds"), SessionError("out of bounds")],
)
def test_a_session_that_cannot_be_kept_is_told_and_the_rest_is_imported(
    agent, other, tmp_path, monkeypatch, error
):
    for name in ("three", "two", "one"):
        agent.create_session(name)
        agent.generate(f"I am {name}.", name)
    agent.export_sessions(tmp_path / "all.jsonl", ["one", "two", "three"])
    genuine = AsyncDextoAgent.restore_session

    async def restore(self, transcript, *, source=None):
        if transcript.session.id == "two":
            raise error
        return await genuine(self, transcript, source=source)

    monkeypatch.setattr(AsyncDextoAgent, "restore_session", restore)
    imported = other.import_sessions(tmp_path / "all.jsonl")
    assert [session.id for session in imported.sessions] == ["one", "three"]
    assert imported.broken == ((2, "session 'two' cannot be kept: out of bounds"),)


@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_a_session_of_an_odd_time_keeps_no_other_from_being_imported(other, tmp_path, year):
    rows = [{"kind": "header", "format": "dexto-magic", "version": 1}]
    for name, at in (("odd", f"{year:04}-06-01T00:00:00+00:00"), ("fine", BEGIN.isoformat())):
        rows.append({"kind": "session", "rows": 1, "id": name, "created": at, "used": at})
        rows.append({"kind": "user", "id": name, "turn": 1, "at": at, "content": name})
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    imported = other.import_sessions(path)
    assert imported.sessions[-1].id == "fine"
    assert len(imported.sessions) + len(imported.broken) == 2


def test_a_store_that_cannot_take_it_ends_an_import(agent, other, tmp_path, monkeypatch):
    talked(agent)
    agent.export_sessions(tmp_path / "all.jsonl")

    async def restore(*_, **__):
        raise StoreFullError("full")

    monkeypatch.setattr(AsyncDextoAgent, "restore_session", restore)
    with pytest.raises(StoreFullError):
        other.import_sessions(tmp_path / "all.jsonl")


def test_a_file_that_is_there_is_not_replaced_unless_that_is_said(agent, tmp_path):
    talked(agent)
    path = tmp_path / "notes.md"
    path.write_text("mine")
    with pytest.raises(FormatError, match="is there already"):
        agent.export_sessions(path, ["eda"])
    assert path.read_text() == "mine"
    agent.export_sessions(path, ["eda"], replace_file=True)
    assert "thing0" in path.read_text()


def test_an_unknown_session_leaves_no_file(agent, tmp_path):
    with pytest.raises(SessionNotFoundError):
        agent.export_sessions(tmp_path / "x.md", ["nobody"])
    assert list(tmp_path.glob("*.md")) == []


def large(agent, sessions, turns):
    """A store of many messages."""
    times = (BEGIN + timedelta(seconds=n) for n in count())
    for number in range(sessions):
        messages = []
        for turn in range(1, turns + 1):
            for role, text in (("user", "question"), ("assistant", "answer")):
                messages.append(
                    Message(
                        role=role,
                        content=f"The {text} number{number}x{turn} is about sea ice and 海冰.",
                        id=f"msg_{number:06d}{turn:05d}{role[0]}",
                        created_at=next(times),
                        turn=turn,
                    )
                )
        name = f"session {number}"
        session = Session(
            id=name, title=name, created_at=messages[0].created_at, updated_at=next(times)
        )
        agent.restore_session(Transcript(session=session, messages=tuple(messages)))


def test_a_store_of_100_000_messages_is_searched_exported_and_imported_again_equal(other, tmp_path):
    with DextoAgent("practice", store=tmp_path / "store") as agent:
        large(agent, sessions=50, turns=1000)
        (hit,) = agent.search("number7x500", role="assistant")
        assert (hit.session_id, hit.turn) == ("session 7", 500)
        page = agent.search("海冰", limit=10)
        assert (len(page), page.cursor is None) == (10, False)
        exported = agent.export_sessions(tmp_path / "all.jsonl")
        assert (exported.sessions, exported.messages) == (50, 100_000)
        assert len(other.import_sessions(tmp_path / "all.jsonl").sessions) == 50
        assert everything(other) == everything(agent)


IMPORTING = """
from dexto_magic import DextoAgent
with DextoAgent("practice", store=home) as agent:
    def told(items, total):
        for item in items:
            yield item
            say("one")
    agent.import_sessions(sys.argv[2], progress=told)
"""


def test_an_import_that_is_killed_leaves_whole_sessions_and_can_be_run_again(other, tmp_path):
    with DextoAgent("practice", store=tmp_path / "source") as agent:
        large(agent, sessions=8, turns=500)
        agent.export_sessions(tmp_path / "all.jsonl")
        whole = everything(agent)
    home = tmp_path / "home"
    for done in (1, 4):
        with python(IMPORTING, home, tmp_path / "all.jsonl") as child:
            for _ in range(done):
                assert heard(child) == "one"
            kill(child)
        with DextoAgent("practice", store=home) as agent:
            there = everything(agent)
        assert len(there) >= done
        assert all(transcript in whole for transcript in there)
    with DextoAgent("practice", store=home) as agent:
        agent.import_sessions(tmp_path / "all.jsonl")
        assert everything(agent) == whole
