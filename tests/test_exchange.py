"""Sessions out of a store into a file, and from a file into a store."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from dexto_magic import (
    DextoAgent,
    FormatError,
    MemoryStore,
    Message,
    Session,
    SessionError,
    SessionNotFoundError,
    StoreFullError,
    Transcript,
    export_sessions,
    import_sessions,
)
from dexto_magic.exchange import whole_transcript
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
    return [whole_transcript(agent, session.id) for session in agent.list_sessions()]


def test_what_is_exported_and_imported_again_is_equal(agent, other, tmp_path):
    talked(agent)
    exported = export_sessions(agent, tmp_path / "all.jsonl")
    assert (exported.sessions, exported.lossless) == (3, True)
    imported = import_sessions(other, tmp_path / "all.jsonl")
    assert [session.id for session in imported.sessions] == ["empty", "数据 🎉", "eda"]
    assert (imported.already, imported.broken) == (0, ())
    assert everything(other) == everything(agent)


def test_an_imported_conversation_goes_on(agent, other, tmp_path):
    talked(agent)
    export_sessions(agent, tmp_path / "all.jsonl")
    import_sessions(other, tmp_path / "all.jsonl")
    assert other.generate("What is my thing0?", "eda").content == "Your thing0 is value0."
    found = {hit.session_id for hit in other.search("value1", role="user")}
    assert found == {"数据 🎉", "eda"}
    assert other.undo("eda").turn == 6


@pytest.mark.parametrize("suffix", [".jsonl", ".ipynb"])
def test_an_import_run_again_adds_nothing(agent, other, tmp_path, suffix):
    talked(agent)
    path = tmp_path / f"all{suffix}"
    export_sessions(agent, path, ["eda"])
    assert len(import_sessions(other, path).sessions) == 1
    before = everything(other)
    again = import_sessions(other, path)
    assert (again.sessions, again.already) == ((), 1)
    other.generate("And it goes on.", "eda")
    assert import_sessions(other, path).already == 1
    assert everything(other)[1:] == before[1:]


def test_an_export_is_known_in_its_own_store(agent, tmp_path):
    talked(agent)
    export_sessions(agent, tmp_path / "all.jsonl")
    before = everything(agent)
    again = import_sessions(agent, tmp_path / "all.jsonl")
    assert (again.sessions, again.already) == ((), 3)
    assert everything(agent) == before


@pytest.mark.parametrize("suffix", [".ipynb", ".json"])
def test_a_file_without_ids_is_known_by_what_it_begins_with(agent, tmp_path, suffix):
    agent.create_session("eda")
    agent.generate("My name is Sarah.", "eda")
    export_sessions(agent, tmp_path / f"eda{suffix}", ["eda"])
    agent.generate("And it goes on.", "eda")
    again = import_sessions(agent, tmp_path / f"eda{suffix}")
    assert (again.sessions, again.already) == ((), 1)


def test_a_name_that_another_session_has_is_given_a_number(agent, other, tmp_path):
    talked(agent)
    other.create_session("eda")
    other.generate("Something else.", "eda")
    export_sessions(agent, tmp_path / "eda.jsonl", ["eda"])
    (session,) = import_sessions(other, tmp_path / "eda.jsonl").sessions
    assert session.id == "eda (2)"
    assert other.get_session_history("eda")[0].content == "Something else."


def test_what_was_deleted_can_be_imported_again(agent, tmp_path):
    talked(agent)
    before = whole_transcript(agent, "eda")
    export_sessions(agent, tmp_path / "eda.jsonl", ["eda"])
    for _ in range(2):
        agent.delete_session("eda")
        assert len(import_sessions(agent, tmp_path / "eda.jsonl").sessions) == 1
        assert whole_transcript(agent, "eda") == before


def test_a_broken_record_is_told_by_its_number_and_the_rest_is_imported(other, tmp_path):
    def conversation(name):
        return [{"role": "user", "content": name}, {"role": "assistant", "content": "Yes."}]

    path = tmp_path / "conversations.jsonl"
    lines = [json.dumps({"messages": conversation(name)}) for name in ("one", "two", "three")]
    lines[1] = lines[1][:-10]
    path.write_text("\n".join(lines))
    imported = import_sessions(other, path)
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
    export_sessions(agent, tmp_path / "all.jsonl", ["one", "two", "three"])
    genuine = DextoAgent.restore_session

    def restore(self, transcript, *, source=None):
        if transcript.session.id == "two":
            raise error
        return genuine(self, transcript, source=source)

    monkeypatch.setattr(DextoAgent, "restore_session", restore)
    imported = import_sessions(other, tmp_path / "all.jsonl")
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
    imported = import_sessions(other, path)
    assert imported.sessions[-1].id == "fine"
    assert len(imported.sessions) + len(imported.broken) == 2


def test_a_store_that_cannot_take_it_ends_an_import(agent, other, tmp_path, monkeypatch):
    talked(agent)
    export_sessions(agent, tmp_path / "all.jsonl")

    def restore(*_, **__):
        raise StoreFullError("full")

    monkeypatch.setattr(DextoAgent, "restore_session", restore)
    with pytest.raises(StoreFullError):
        import_sessions(other, tmp_path / "all.jsonl")


def test_a_file_that_is_there_is_not_replaced_unless_that_is_said(agent, tmp_path):
    talked(agent)
    path = tmp_path / "notes.md"
    path.write_text("mine")
    with pytest.raises(FormatError, match="is there already"):
        export_sessions(agent, path, ["eda"])
    assert path.read_text() == "mine"
    export_sessions(agent, path, ["eda"], replace_file=True)
    assert "thing0" in path.read_text()


def test_an_unknown_session_leaves_no_file(agent, tmp_path):
    with pytest.raises(SessionNotFoundError):
        export_sessions(agent, tmp_path / "x.md", ["nobody"])
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
        exported = export_sessions(agent, tmp_path / "all.jsonl")
        assert (exported.sessions, exported.messages) == (50, 100_000)
        assert len(import_sessions(other, tmp_path / "all.jsonl").sessions) == 50
        assert everything(other) == everything(agent)


IMPORTING = """
from dexto_magic import DextoAgent, import_sessions
with DextoAgent("practice", store=home) as agent:
    def told(items, total):
        for item in items:
            yield item
            say("one")
    import_sessions(agent, sys.argv[2], progress=told)
"""


def test_an_import_that_is_killed_leaves_whole_sessions_and_can_be_run_again(other, tmp_path):
    with DextoAgent("practice", store=tmp_path / "source") as agent:
        large(agent, sessions=8, turns=500)
        export_sessions(agent, tmp_path / "all.jsonl")
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
        import_sessions(agent, tmp_path / "all.jsonl")
        assert everything(agent) == whole
