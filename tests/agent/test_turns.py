"""What the agent does with turns that were asked: taken back, asked again, forgotten."""

import asyncio
import re

import pytest

from dexto_magic import (
    DextoAgent,
    ModelAuthenticationError,
    ModelRequestError,
    ModelUnavailableError,
    SessionBusyError,
    SessionError,
    SessionNotFoundError,
    SettingsError,
    Usage,
)
from dexto_magic.stores.disk import DiskStore
from dexto_magic.turns import running
from tests.support.agents import history
from tests.support.openai_answers import WAIT, cut, held, silent, status, text
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def say(agent, server, *pairs, session="eda"):
    """Turns with these questions and answers, each as ``"question answer"``."""
    await agent.get_or_create_session(session)
    for pair in pairs:
        question, answer = pair.split()
        server.script(text(answer))
        await agent.generate(question, session)


def sent(server, at=-1):
    """What the model was sent, without roles."""
    return [message["content"] for message in server.chats[at].body["messages"]]


async def versions(agent, session="eda"):
    """All that is kept of every turn, as ``turn.version role: content``, in view or not."""
    whole = await agent.get_transcript(session, everything=True)
    return sorted(
        f"{m.turn}.{m.version} {m.role}: {m.content}" for m in (*whole.messages, *whole.others)
    )


# -- undo and redo ---------------------------------------------------------------------------------


async def test_undo_takes_the_last_turn_out_of_what_is_shown_and_sent_and_redo_brings_it_back(
    agent, server
):
    await say(agent, server, "one 1", "two 2")
    change = await agent.undo("eda")
    assert (change.turn, change.version, change.asked.content) == (2, None, "two")
    assert change.session == await agent.get_session("eda")
    assert (change.session.turn_count, change.session.message_count) == (1, 2)
    assert await history(agent, "eda") == ["user: one", "assistant: 1"]
    change = await agent.redo("eda")
    assert (change.turn, change.version, change.session.turn_count) == (2, 1, 2)
    await agent.generate("three", "eda")
    assert sent(server) == ["one", "1", "two", "2", "three"]


async def test_a_turn_that_was_undone_is_not_sent_and_a_new_one_ends_redo_and_keeps_it(
    agent, server
):
    await say(agent, server, "one 1", "two 2")
    await agent.undo("eda")
    await say(agent, server, "three 3")
    assert sent(server) == ["one", "1", "three"]
    with pytest.raises(SessionError, match="nothing to redo"):
        await agent.redo("eda")
    assert await history(agent, "eda") == [
        "user: one",
        "assistant: 1",
        "user: three",
        "assistant: 3",
    ]
    assert await versions(agent) == [
        "1.1 assistant: 1",
        "1.1 user: one",
        "2.1 assistant: 2",
        "2.1 user: two",
        "2.2 assistant: 3",
        "2.2 user: three",
    ]


async def test_all_can_be_undone_and_brought_back_one_by_one(agent, server):
    await say(agent, server, "one 1", "two 2", "three 3")
    for left in (2, 1, 0):
        assert (await agent.undo("eda")).session.turn_count == left
    with pytest.raises(SessionError, match="nothing to undo in session 'eda'"):
        await agent.undo("eda")
    assert (await agent.get_session("eda")).title is None
    for back in (1, 2, 3):
        assert (await agent.redo("eda")).session.turn_count == back
    assert (await agent.get_session("eda")).title == "one"
    with pytest.raises(SessionError, match="nothing to redo in session 'eda'"):
        await agent.redo("eda")


async def test_tokens_that_were_spent_stay_spent(agent, server):
    await say(agent, server, "one 1", "two 2")
    before = (await agent.get_session("eda")).usage
    await agent.undo("eda")
    await agent.forget_turn("eda", 1)
    assert (await agent.get_session("eda")).usage == before


async def test_what_another_agent_undid_is_undone_here(agent, server, tmp_path):
    await say(agent, server, "one 1", "two 2")
    with DextoAgent("practice", store=tmp_path / "store") as other:
        await asyncio.to_thread(other.undo, "eda")
    await agent.generate("three", "eda")
    assert sent(server) == ["one", "1", "three"]


@pytest.mark.parametrize("verb", ["undo", "redo", "retry", "fork_session", "compact", "context"])
async def test_a_session_that_is_not_there_is_an_error_with_those_like_it(agent, verb):
    await agent.create_session("thesis")
    with pytest.raises(SessionNotFoundError, match="Did you mean 'thesis'"):
        await getattr(agent, verb)("thesys")
    assert [session.id for session in await agent.list_sessions()] == ["thesis"]


# -- retry -----------------------------------------------------------------------------------------


async def test_retry_asks_the_last_question_again_without_its_answer(agent, server):
    await say(agent, server, "one 1", "two 2")
    server.script(text("better"))
    reply = await agent.retry("eda")
    assert (reply.content, reply.turn, reply.message.version) == ("better", 2, 2)
    assert sent(server) == ["one", "1", "two"]
    assert await history(agent, "eda") == [
        "user: one",
        "assistant: 1",
        "user: two",
        "assistant: better",
    ]
    assert (await agent.get_session("eda")).turn_count == 2


async def test_retry_with_new_text_edits_the_question(agent, server):
    await say(agent, server, "one 1", "two 2")
    server.script(text("3"))
    await agent.retry("eda", "three")
    assert sent(server) == ["one", "1", "three"]
    assert await history(agent, "eda") == [
        "user: one",
        "assistant: 1",
        "user: three",
        "assistant: 3",
    ]


async def test_retry_of_another_turn_is_sent_what_is_before_it_and_keeps_what_is_after(
    agent, server
):
    await say(agent, server, "one 1", "two 2", "three 3")
    server.script(text("better"))
    reply = await agent.retry("eda", turn=2)
    assert (reply.turn, sent(server)) == (2, ["one", "1", "two"])
    await agent.generate("four", "eda")
    assert sent(server) == ["one", "1", "two", "better", "three", "3", "four"]


async def test_no_version_is_lost_and_undo_goes_back_through_them(agent, server):
    await say(agent, server, "one 1")
    for answer in ("2", "3"):
        server.script(text(answer))
        await agent.retry("eda", f"again-{answer}")
    assert await versions(agent) == [
        "1.1 assistant: 1",
        "1.1 user: one",
        "1.2 assistant: 2",
        "1.2 user: again-2",
        "1.3 assistant: 3",
        "1.3 user: again-3",
    ]
    shown = []
    for _ in range(2):
        change = await agent.undo("eda")
        shown.append((change.version, *(await history(agent, "eda"))))
    assert shown == [
        (2, "user: again-2", "assistant: 2"),
        (1, "user: one", "assistant: 1"),
    ]
    assert (await agent.redo("eda")).version == 2
    assert (await agent.redo("eda")).version == 3
    assert await history(agent, "eda") == ["user: again-3", "assistant: 3"]


REFUSALS = {
    "before a word": (status(401, "Bad key"), ModelAuthenticationError),
    "not understood": (status(400, "Bad value"), ModelRequestError),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_retry_of_which_nothing_comes_leaves_the_old_answer_in_view(agent, server, refusal):
    answer, kind = REFUSALS[refusal]
    await say(agent, server, "one 1", "two 2")
    server.script(answer)
    with pytest.raises(kind):
        await agent.retry("eda", "other")
    assert await history(agent, "eda") == ["user: one", "assistant: 1", "user: two", "assistant: 2"]
    assert (await agent.get_session("eda")).message_count == 4
    await agent.generate("three", "eda")
    assert sent(server) == ["one", "1", "two", "2", "three"]
    assert "2.2 user: other" in await versions(agent), "what was asked is kept"
    assert (await agent.undo("eda")).turn == 3, "the failed retry is nothing to undo"


async def test_a_retry_that_breaks_off_is_the_version_in_view_and_undo_brings_the_old_back(
    agent, server
):
    await say(agent, server, "one 1")
    server.script(cut("The begin", "ning"))
    with pytest.raises(ModelUnavailableError) as caught:
        await agent.retry("eda")
    assert caught.value.partial == "The beginning"
    assert await history(agent, "eda") == ["user: one", "assistant: The beginning [stopped: error]"]
    assert (await agent.undo("eda")).version == 1
    assert await history(agent, "eda") == ["user: one", "assistant: 1"]


@pytest.mark.parametrize("arrived", ["", "The beginning"])
async def test_an_interrupted_retry_keeps_what_came_or_else_the_old_answer(agent, server, arrived):
    await say(agent, server, "one 1")
    server.script(silent(*([arrived] if arrived else [])))
    asking = asyncio.create_task(agent.retry("eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    if arrived:
        await until(lambda: shown_partial(agent))
    assert await agent.cancel("eda") is True
    assert (await asking).content == arrived
    expected = "assistant: The beginning [stopped: interrupted]" if arrived else "assistant: 1"
    assert await history(agent, "eda") == ["user: one", expected]


async def shown_partial(agent):
    """Whether what has arrived of a running reply is saved."""
    inner = getattr(agent.agent, "_agent", agent.agent)
    return inner._store._engine._ledger._table.keys("p:", "p;", limit=1)


async def test_a_failed_turn_can_be_retried_and_is_then_as_if_it_had_not_failed(agent, server):
    await say(agent, server, "one 1")
    server.script(status(401, "Bad key"))
    with pytest.raises(ModelAuthenticationError):
        await agent.generate("two", "eda")
    server.script(text("2"))
    reply = await agent.retry("eda")
    assert (reply.turn, reply.content, sent(server)) == (2, "2", ["one", "1", "two"])
    assert await history(agent, "eda") == ["user: one", "assistant: 1", "user: two", "assistant: 2"]


async def test_a_retry_waits_for_the_turn_that_runs_and_is_of_that(agent, server):
    await say(agent, server, "one 1")
    server.script(held(text("2")), text("better"))
    asking = asyncio.create_task(agent.generate("two", "eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    with pytest.raises(SessionBusyError, match="'eda' is busy"):
        await agent.retry("eda")
    waiting = asyncio.create_task(agent.retry("eda", wait=60))
    server.release()
    assert (await asking).content == "2"
    assert ((await waiting).content, (await waiting).turn) == ("better", 2)
    assert sent(server) == ["one", "1", "two"]


def counted(monkeypatch, name):
    """Notes when a method of the store is called."""
    calls, method = [], getattr(DiskStore, name)

    async def noted(store, *arguments, **options):
        calls.append(name)
        return await method(store, *arguments, **options)

    monkeypatch.setattr(DiskStore, name, noted)
    return calls


async def test_a_retry_that_waits_looks_once_for_what_was_asked(agent, server, monkeypatch):
    monkeypatch.setattr(running, "_RETRY_SECONDS", 0.01)
    await say(agent, server, "one 1")
    server.script(held(text("2")), text("better"))
    asking = asyncio.create_task(agent.generate("two", "eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    reads, claims = counted(monkeypatch, "transcript"), counted(monkeypatch, "claim")
    waiting = asyncio.create_task(agent.retry("eda", wait=60))
    await until(lambda: len(claims) >= 5)
    server.release()
    await asking
    assert (await waiting).content == "better"
    assert len(reads) == 1


async def test_a_retry_that_waits_looks_again_if_what_was_asked_is_gone(agent, server, monkeypatch):
    monkeypatch.setattr(running, "_RETRY_SECONDS", 0.01)
    await say(agent, server, "one 1", "two 2")
    server.script(held(status(401, "Bad key")), text("better"))
    asking = asyncio.create_task(agent.retry("eda", "other"))
    await asyncio.to_thread(server.wait_for_request, 3)
    claims = counted(monkeypatch, "claim")
    waiting = asyncio.create_task(agent.retry("eda", wait=60))
    await until(lambda: claims)
    server.release()
    with pytest.raises(ModelAuthenticationError):
        await asking
    assert ((await waiting).content, (await waiting).turn) == ("better", 2)
    assert sent(server) == ["one", "1", "two"]


async def test_a_retry_has_options_of_its_own(agent, server):
    await say(agent, server, "one 1")
    reply = await agent.retry(
        "eda", model="gpt-4o", system="Be brief.", note="Noted.", options={"temperature": 0}
    )
    body = server.chats[-1].body
    assert (body["model"], body["temperature"]) == ("gpt-4o", 0)
    assert sent(server) == ["Be brief.", "Noted.", "one"]
    assert reply.message.options == {"temperature": 0}


async def test_a_retry_streams(agent, server):
    await say(agent, server, "one 1")
    server.script(text("one ", "two"))
    pieces, stream = await agent.streamed_again("eda")
    assert (pieces, stream.reply.message.version) == (["one ", "two"], 2)


async def test_there_is_nothing_to_retry_in_an_empty_session_nor_in_a_turn_that_is_not_there(
    agent, server
):
    await agent.create_session("eda")
    with pytest.raises(SessionError, match="nothing to retry: session 'eda' has no turn"):
        await agent.retry("eda")
    await say(agent, server, "one 1")
    with pytest.raises(SessionError, match="no turn 2 in view"):
        await agent.retry("eda", turn=2)
    for turn in (0, -1, "1", 1.0, True):
        with pytest.raises(SettingsError, match="count from 1"):
            await agent.retry("eda", turn=turn)
    with pytest.raises(ModelRequestError, match="empty"):
        await agent.retry("eda", " ")
    assert len(server.chats) == 1


async def test_a_retry_counts_its_tokens_too(agent, server):
    await say(agent, server, "one 1")
    server.script(text("better", usage=(100, 10)))
    reply = await agent.retry("eda")
    assert reply.session_usage == Usage(input_tokens=112, output_tokens=15)
    assert (await agent.get_session("eda")).usage == reply.session_usage


# -- forget ----------------------------------------------------------------------------------------


async def test_a_forgotten_turn_is_never_sent_again_and_in_no_file(agent, server, tmp_path):
    await say(agent, server, "one 1", "secret-question secret-answer", "three 3")
    server.script(text("secret-version"))
    await agent.retry("eda", turn=2)
    removal = await agent.forget_turn("eda", 2)
    assert (removal.turn, removal.message_count, removal.purge_pending) == (2, 4, False)
    await agent.generate("four", "eda")
    assert sent(server) == ["one", "1", "three", "3", "four"]
    assert [m.turn for m in await agent.get_session_history("eda")] == [1, 1, 3, 3, 4, 4]
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret-" not in kept
    with pytest.raises(SessionError, match=r"no turn 2\..* forgotten before"):
        await agent.forget_turn("eda", 2)
    with pytest.raises(SessionError, match="no turn 9"):
        await agent.forget_turn("eda", 9)


async def test_nothing_is_undone_or_forgotten_while_a_turn_runs(agent, server):
    await say(agent, server, "one 1")
    server.script(text("The beginning", WAIT, " and the end"))
    asking = asyncio.create_task(agent.generate("two", "eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    for call in (agent.undo("eda"), agent.redo("eda"), agent.forget_turn("eda", 1)):
        with pytest.raises(SessionBusyError, match=re.escape("'eda' is busy")):
            await call
    server.release()
    assert (await asking).content == "The beginning and the end"
