"""A store that an earlier version wrote opens, and holds what it held."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dexto_magic.conversation.messages import Attachment, Origin, ToolCall, Usage
from dexto_magic.stores.disk import DiskStore
from tests.support.messages import assistant, user

FIXTURES = Path(__file__).parent / "fixtures"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def v1(tmp_path, anyio_backend):
    shutil.copytree(FIXTURES / "v1", tmp_path / "v1")
    store = DiskStore(tmp_path / "v1")
    await store.open()
    yield store
    await store.close()


async def test_sessions_of_version_1_are_listed_in_their_order(v1):
    page = await v1.list(limit=10)
    assert [s.id for s in page] == ["数据 🎉", "notebook's own", "emptied", "eda"]


async def test_messages_of_version_1_are_whole(v1):
    transcript = await v1.transcript("eda")
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


async def test_a_turn_that_was_open_in_version_1_ends_with_what_was_saved(v1):
    _, reply = (await v1.transcript("数据 🎉")).messages
    assert (reply.content, reply.status, reply.reason) == ("半个", "stopped", "crashed")


async def test_a_session_of_version_1_that_was_reset_is_empty(v1):
    transcript = await v1.transcript("emptied")
    assert (transcript.messages, transcript.session.title) == ((), None)


async def test_a_notebooks_own_session_of_version_1_is_known(v1):
    assert (await v1.home_session("/home/sarah/analysis.ipynb")).id == "notebook's own"
    for mark in ("cell cell-0", "cell cell-2"):
        assert await v1.knows_marks("notebook's own", [mark])
        assert [s.id for s in await v1.sessions_of_marks([mark])] == ["notebook's own"]


async def test_conversations_of_version_1_go_on(v1):
    owner = await v1.join("later")
    claim = await v1.claim("eda", user("On we go."), owner)
    await v1.settle(claim, [assistant("Yes.")])
    transcript = await v1.transcript("eda", limit=2)
    assert [(m.content, m.turn) for m in transcript.messages] == [("On we go.", 4), ("Yes.", 4)]
    await v1.create("new")
    await v1.delete("eda")
    assert [s.id for s in await v1.list(limit=2)] == ["new", "数据 🎉"]
