"""A store that an earlier version wrote opens, and holds what it held."""

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dexto_magic.conversation.line import Step
from dexto_magic.conversation.messages import Aside, Attachment, Origin, ToolCall, Usage
from dexto_magic.errors import SessionError, StoreReadOnlyError
from dexto_magic.stores.disk import DiskStore
from tests.support.disks import collected, files_with, raw, unwritable
from tests.support.messages import attachment
from tests.support.stores import everything, names, prompts, say, texts

FIXTURES = Path(__file__).parent / "fixtures"
BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SINCE_V2 = ["no version", "half a version", "revised", "fork", "imported"]

pytestmark = pytest.mark.anyio


async def copied(version, tmp_path):
    """An open store in a copy of what a version wrote."""
    shutil.copytree(FIXTURES / version, tmp_path / version)
    store = DiskStore(tmp_path / version)
    await store.open()
    return store


@pytest.fixture
async def v1(tmp_path, anyio_backend):
    store = await copied("v1", tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def v2(tmp_path, anyio_backend):
    store = await copied("v2", tmp_path)
    yield store
    await store.close()


@pytest.fixture(params=["v1", "v2"])
async def old(request, tmp_path, anyio_backend):
    """A store that each version wrote, in turn: what the first could hold is in all of them."""
    store = await copied(request.param, tmp_path)
    yield store
    await store.close()


def schema_of(store):
    ((data,),) = raw(store, "SELECT value FROM Cache WHERE key = 'v:schema'")
    return json.loads(data)


# -- what every version wrote ----------------------------------------------------------------------


async def test_sessions_are_listed_in_their_order(old):
    first = ["数据 🎉", "notebook's own", "emptied", "eda"]
    assert await names(old) == first + (SINCE_V2 if "v2" in old.location else [])


async def test_messages_are_whole(old):
    transcript = await old.transcript("eda")
    session, messages = transcript.session, transcript.messages
    assert (session.model, session.system) == ("openai:gpt-4o-mini", "Be brief.")
    assert (session.title, session.turn_count) == ("What is {x}? $\\alpha$ 🎉 \ud800 \x00", 3)
    assert session.usage == Usage(
        input_tokens=10, output_tokens=2, cached_tokens=4, reasoning_tokens=1
    )
    assert session.notebooks == ("/home/sarah/analysis.ipynb",)
    assert [(m.role, m.content, m.turn, m.status, m.reason) for m in messages] == [
        ("user", "What is {x}? $\\alpha$ 🎉 \ud800 \x00", 1, "complete", None),
        ("assistant", "", 1, "complete", None),
        ("tool", "it is 42", 1, "complete", None),
        ("assistant", "42", 1, "complete", None),
        ("user", "And then?", 2, "complete", None),
        ("assistant", "Half", 2, "stopped", "interrupted"),
        ("user", "Again?", 3, "complete", None),
        ("assistant", "", 3, "failed", "ModelRateLimitError"),
    ]
    asked, called, told, answered, *_ = messages
    assert asked.id == "msg_000000000001"
    assert asked.created_at == datetime(2026, 11, 20, 9, 1, tzinfo=UTC)
    assert asked.origin == Origin(notebook="/home/sarah/analysis.ipynb", cell_id="cell-1")
    assert asked.attachments == (
        Attachment(name="f.png", media_type="image/png", digest="ab" * 32, size=3),
    )
    assert called.tool_calls == (ToolCall(id="call_1", name="look", arguments='{"at": "x"}'),)
    assert told.tool_call_id == "call_1"
    assert answered.options == {"temperature": 0.5, "seed": 2**70, "limit": float("inf")}
    assert (answered.model, answered.provider) == ("gpt-4o-mini-2024-07-18", "openai")
    assert (answered.reasoning, answered.finish_reason, answered.duration) == ("Hm.", "stop", 1.25)


async def test_a_turn_that_was_open_ends_with_what_was_saved(old):
    _, reply = (await old.transcript("数据 🎉")).messages
    assert (reply.content, reply.status, reply.reason) == ("半个", "stopped", "crashed")


async def test_a_session_that_was_reset_is_empty(old):
    transcript = await old.transcript("emptied")
    assert (transcript.messages, transcript.session.title) == ((), None)


async def test_a_notebooks_own_session_is_known(old):
    assert (await old.home_session("/home/sarah/analysis.ipynb")).id == "notebook's own"
    for mark in ("cell cell-0", "cell cell-2"):
        assert await old.knows_marks("notebook's own", [mark])
        assert [s.id for s in await old.sessions_of_marks([mark])] == ["notebook's own"]


async def test_conversations_go_on(old):
    owner = await old.join("later")
    await say(old, owner, "eda", "On we go.", "Yes.")
    transcript = await old.transcript("eda", limit=2)
    assert [(m.content, m.turn) for m in transcript.messages] == [("On we go.", 4), ("Yes.", 4)]
    await old.create("new")
    await old.delete("eda")
    assert [s.id for s in await old.list(limit=2)] == ["new", "数据 🎉"]


async def test_all_that_is_new_can_be_done_with_conversations_of_any_version(old):
    owner = await old.join("later")
    claim = await say(old, owner, "eda", "And then, again?", revises=2)
    assert (claim.message.turn, claim.message.version) == (2, 2)
    assert (await prompts(old, "eda"))[1:] == ["And then, again?", "Again?"]
    assert (await old.undo("eda")).version == 1
    assert (await old.undo("eda")).asked.content == "Again?"
    assert (await old.redo("eda")).asked.content == "Again?"
    fork = await old.fork("eda", "a new fork", turn=2)
    assert (fork.forked_from, fork.turn_count) == ("eda", 2)
    assert (await old.forget("eda", 2)).forks == ("a new fork",)
    await old.rename("eda", "renamed")
    assert (await old.get("a new fork")).forked_from == "renamed"
    await old.close()
    await old.open()
    assert [m.turn for m in (await old.transcript("renamed")).messages] == [1] * 4 + [3] * 2
    assert len(await texts(old, "a new fork")) == 6
    assert (await old.undo("renamed")).turn == 3
    whole = await everything(old, "renamed")
    await old.restore(replace(whole, session=replace(whole.session, id="restored")))
    assert (await everything(old, "restored")).messages == whole.messages


# -- version 1 -------------------------------------------------------------------------------------


async def test_a_store_of_version_1_is_one_of_version_2_once_it_was_opened(v1, tmp_path):
    """A version that knows nothing of versions must not rewrite records that have them."""
    before = json.loads(
        '{"version":1,"minimum_reader":1,"codecs":{"74":"orjson","75":"json"},'
        '"generation":"gen_h8s3x34o6u9z"}'
    )
    assert schema_of(v1) == before | {
        "version": 2,
        "minimum_reader": 2,
        "codecs": {"74": "orjson", "75": "json", "76": "bytes"},
    }
    assert await v1.generation() == before["generation"]
    await v1.close()
    await v1.open()
    assert schema_of(v1)["version"] == 2


def test_a_store_of_version_1_that_cannot_be_written_is_read_and_stays_as_it_is(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "store"
    shutil.copytree(FIXTURES / "v1", folder)
    before = (folder / "sessions" / "cache.db").read_bytes()

    async def read():
        store = DiskStore(folder)
        await store.open()
        assert len(await texts(store, "eda")) == 8
        assert await store.generation() == "gen_h8s3x34o6u9z"
        assert await texts(store, "数据 🎉") == ["一个问题"], "its end cannot be written"
        assert (await everything(store, "eda")).line.end == 3
        for write in (store.undo("eda"), store.fork("eda", "other"), store.create("other")):
            with pytest.raises(StoreReadOnlyError):
                await write
        await store.close()

    with unwritable(folder) as run:
        assert run(lambda: asyncio.run(read())) == 0
    assert (folder / "sessions" / "cache.db").read_bytes() == before


# -- version 2 -------------------------------------------------------------------------------------


async def test_versions_of_turns_are_in_view_and_kept_as_they_were(v2):
    whole = await everything(v2, "revised")
    session = whole.session
    assert (session.turn_count, session.message_count) == (4, 8)
    assert (session.model, session.system) == ("openai:gpt-4o", "Be brief.")
    assert (session.overflow, session.context_budget) == ("trim", 4000)
    assert (session.title, session.own_title) == ("Counting", False)
    assert session.usage == Usage(input_tokens=50, output_tokens=7)
    assert [(m.turn, m.version, m.content) for m in whole.messages] == [
        (1, 1, "one"),
        (1, 1, "one!"),
        (2, 2, "two anew"),
        (2, 2, "two anew!"),
        (3, 1, "three"),
        (3, 1, "three!"),
        (5, 1, "five"),
        (5, 1, "five!"),
    ]
    assert [m.sent_from for m in whole.messages] == [None] * 7 + [3]
    assert [(m.turn, m.version, m.content, m.status) for m in whole.others] == [
        (1, 2, "one anew", "complete"),
        (1, 2, "half", "stopped"),
        (2, 1, "two", "complete"),
        (2, 1, "two!", "complete"),
        (3, 2, "three anew", "complete"),
        (3, 2, "", "failed"),
        (6, 1, "six", "complete"),
        (6, 1, "six!", "complete"),
    ]
    assert whole.line.gone == (4,)
    assert whole.line.replaced == (Step(turn=2, version=2, before=1, end=2),)
    assert [step.turn for step in whole.line.undone] == [6, 1]


async def test_what_was_undone_comes_back_and_all_can_be_undone(v2):
    assert (await v2.redo("revised")).asked.content == "one anew"
    assert (await v2.redo("revised")).asked.content == "six"
    with pytest.raises(SessionError, match="nothing to redo"):
        await v2.redo("revised")
    undone = [(await v2.undo("revised")).asked.content for _ in range(7)]
    assert undone == ["six", "one", "five", "three", "two", "two", "one"]
    with pytest.raises(SessionError, match="nothing to undo"):
        await v2.undo("revised")


async def test_a_turn_that_was_forgotten_is_in_no_file(v2):
    assert files_with(v2, "to be forgotten") == []
    assert files_with(v2, "dropped") == []
    with pytest.raises(SessionError, match="It was forgotten before"):
        await v2.forget("revised", 4)


async def test_summaries_and_titles_are_whole(v2):
    told, title = (await everything(v2, "revised")).asides
    assert told == Aside(
        kind="summary",
        content="It was counted to three.",
        id="sum_1",
        created_at=BEGIN + timedelta(minutes=109),
        turn=3,
        through="msg_000000000108",
        versions={2: 2},
        model="gpt-4o-2024-08-06",
        provider="openai",
        usage=Usage(input_tokens=50, output_tokens=7),
        duration=0.5,
    )
    assert (title.kind, title.content, title.turn) == ("title", "Counting", 3)


async def test_attachments_have_their_bytes(v2):
    asked, *_ = (await v2.transcript("revised")).messages
    (picture,) = asked.attachments
    assert (picture.name, picture.media_type, picture.size) == ("f.png", "image/png", 264)
    for name in ("revised", "fork", "half a version"):
        assert await v2.file(name, picture.digest) == PICTURE
        assert await v2.file(name, attachment(b"a,b\n1,2\n").digest) == b"a,b\n1,2\n"
        assert await v2.file(name, attachment(b"dropped").digest) is None


async def test_forks_know_whose_they_are(v2):
    fork = await everything(v2, "fork")
    assert (fork.session.forked_from, fork.session.forked_at) == ("revised", 3)
    assert [m.content for m in fork.messages if m.role == "user"] == ["one", "two anew", "three"]
    assert [aside.id for aside in fork.asides] == ["sum_1"]
    others = {"fork", "half a version", "no version"}
    assert set((await v2.forget("revised", 1)).forks) == others
    await v2.rename("revised", "renamed")
    assert (await v2.get("fork")).forked_from == "renamed"
    assert (await v2.get("no version")).forked_from == "fork"
    assert set((await v2.delete("renamed")).forks) == others


async def test_a_version_that_was_running_is_ended_as_if_its_owner_had_died(v2):
    messages = (await v2.transcript("half a version")).messages
    assert [m.content for m in messages if m.turn == 2] == ["two again", "half"]
    assert messages[3].status == "stopped"
    messages = (await v2.transcript("no version")).messages
    assert [m.content for m in messages if m.turn == 2] == ["two anew", "two anew!"]
    assert (await v2.get("no version")).message_count == 6


async def test_an_import_is_found_by_its_source(v2):
    session = await v2.restored("conversations.json")
    assert (session.id, session.title, session.own_title) == ("imported", "From elsewhere", True)
    assert session.updated_at == BEGIN - timedelta(days=8)
    assert await texts(v2, "imported") == ["from elsewhere", "indeed"]
    await v2.delete("imported")
    assert await v2.restored("conversations.json") is None
    await collected(v2)
    assert files_with(v2, "from elsewhere") == []
