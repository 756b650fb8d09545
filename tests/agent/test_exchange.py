"""Both agents write and read files beside their event loop, and stop between two sessions."""

import asyncio
import json
import os
import threading
from contextlib import suppress

import pytest

from dexto_magic import AsyncDextoAgent, DextoError, MemoryStore
from dexto_magic.agent import beside
from tests.support.chatgpt import conversation, said
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

NAMES = [f"s{n}" for n in range(5)]


async def filled(agent):
    for name in reversed(NAMES):
        await agent.create_session(name)
        await agent.generate(f"My name is {name}.", name)


async def names(agent):
    return [session.id for session in await agent.list_sessions()]


def file_threads():
    return [thread for thread in threading.enumerate() if thread.name == "dexto-files"]


async def test_either_agent_exports_and_imports(agent, tmp_path):
    await filled(agent)
    path = tmp_path / "all.jsonl"
    exported = await agent.export_sessions(path)
    assert (exported.sessions, exported.messages, exported.lossless) == (5, 10, True)
    for name in NAMES[:2]:
        await agent.delete_session(name)
    imported = await agent.import_sessions(path)
    assert [session.id for session in imported.sessions] == NAMES[:2]
    assert imported.already == 3
    told = await agent.survey_sessions(lambda all_of_them: [t.session.id for t in all_of_them])
    assert told == NAMES
    await until(lambda: not file_threads())


async def test_what_goes_wrong_on_the_way_through_all_sessions_is_raised(agent):
    with pytest.raises(ZeroDivisionError):
        await agent.survey_sessions(lambda every: 1 / len(list(every)))
    with pytest.raises(RuntimeError, match="StopIteration"):
        await agent.survey_sessions(next)


async def test_the_event_loop_goes_on_meanwhile(tmp_path, anyio_backend):
    async with AsyncDextoAgent("practice", store=tmp_path / "store") as agent:
        await filled(agent)
        here, may_go_on = threading.current_thread(), threading.Event()

        def waiting(items, total):
            assert threading.current_thread() is not here
            for item in items:
                yield item
                may_go_on.wait(60)

        for work in (agent.export_sessions, agent.import_sessions):
            may_go_on.clear()
            task = asyncio.create_task(work(tmp_path / "all.jsonl", progress=waiting))
            assert (await agent.generate("What is my name?", "s1")).content == "Your name is s1."
            assert not task.done()
            may_go_on.set()
            await task


async def cancelled_after(number, work, path):
    """Cancels an export or an import when it has taken so many sessions."""
    taken, loop, reached = [], asyncio.get_running_loop(), asyncio.Event()

    def watched(items, total):
        for item in items:
            taken.append(item)
            if len(taken) == number:
                loop.call_soon_threadsafe(reached.set)
            yield item

    task = asyncio.create_task(work(path, progress=watched))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not file_threads())
    return len(taken)


async def test_a_cancelled_export_leaves_what_was_there(tmp_path, anyio_backend):
    path = tmp_path / "all.jsonl"
    async with AsyncDextoAgent("practice", store=tmp_path / "store") as agent:
        await filled(agent)
        await cancelled_after(2, agent.export_sessions, path)
        assert [item.name for item in tmp_path.iterdir()] == ["store"]
        assert (await agent.export_sessions(path)).sessions == 5


async def test_a_cancelled_import_leaves_whole_sessions_and_can_be_run_again(
    tmp_path, anyio_backend
):
    path = tmp_path / "all.jsonl"
    async with AsyncDextoAgent("practice", store=tmp_path / "store") as agent:
        await filled(agent)
        await agent.export_sessions(path)
        whole = await agent.survey_sessions(list)
    async with AsyncDextoAgent("practice", store=tmp_path / "other") as agent:
        assert await cancelled_after(3, agent.import_sessions, path) == 3
        there = await agent.survey_sessions(list)
        assert 2 <= len(there) <= 3
        assert all(transcript in whole for transcript in there)
        await agent.import_sessions(path)
        assert await agent.survey_sessions(list) == whole


async def test_an_import_that_is_cancelled_while_a_session_is_written_ends_with_it(
    tmp_path, anyio_backend, monkeypatch
):
    path = tmp_path / "all.jsonl"
    genuine = AsyncDextoAgent.restore_session

    async def restore(self, transcript, *, source=None):
        made = await genuine(self, transcript, source=source)
        asyncio.current_task().cancel()
        with suppress(asyncio.CancelledError):  # as a store does that has begun to write
            await asyncio.sleep(60)
        return made

    async with AsyncDextoAgent("practice", store=tmp_path / "store") as agent:
        await filled(agent)
        await agent.export_sessions(path)
    async with AsyncDextoAgent("practice", store=MemoryStore()) as agent:
        monkeypatch.setattr(AsyncDextoAgent, "restore_session", restore)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(agent.import_sessions(path))
        assert await names(agent) == NAMES[:1]


async def test_a_pipe_that_nobody_reads_does_not_hold_up_who_is_cancelled(
    tmp_path, anyio_backend, monkeypatch
):
    monkeypatch.setattr(beside, "_PATIENCE", 0.05)
    os.mkfifo(tmp_path / "pipe.jsonl")
    async with AsyncDextoAgent("practice", store=tmp_path / "store") as agent:
        await filled(agent)
        task = asyncio.create_task(agent.export_sessions(tmp_path / "pipe.jsonl"))
        await until(file_threads)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with (tmp_path / "pipe.jsonl").open("rb") as pipe:
        assert b"s1" not in pipe.read(), "nothing is taken from the store any more"
    await until(lambda: not file_threads())


async def test_an_agent_that_is_not_started_exports_and_imports_nothing(tmp_path, anyio_backend):
    agent = AsyncDextoAgent("practice", store=tmp_path / "store")
    (tmp_path / "one.json").write_text(json.dumps([{"role": "user", "content": "Hi."}]))
    for work in (agent.export_sessions, agent.import_sessions):
        with pytest.raises(DextoError, match="not started"):
            await work(tmp_path / "one.json")


# -- what is the same conversation, and what only begins as another ------------------------------------


async def taken_in(agent, path, *conversations):
    path.write_text(json.dumps(conversations))
    return await agent.import_sessions(path)


def greeting(*more, day):
    """A ChatGPT conversation that begins as many do."""
    at = day * 86_400.0
    return conversation(said("user", "Hi", at=at), said("assistant", "Hello!", at=at + 1), *more)


async def test_conversations_of_the_same_words_are_as_many_as_there_were(agent, tmp_path):
    path = tmp_path / "conversations.json"
    greetings = [greeting(day=day) for day in range(4)]
    assert len((await taken_in(agent, path, *greetings)).sessions) == 4
    again = await agent.import_sessions(path)
    assert (again.sessions, again.already) == ((), 4)
    assert len((await taken_in(agent, path, *greetings[::-1], greeting(day=9))).sessions) == 1


async def test_a_later_export_of_a_conversation_says_which_one_it_goes_on_from(agent, tmp_path):
    path = tmp_path / "conversations.json"
    (first,) = (await taken_in(agent, path, greeting(day=1))).sessions
    grown = await taken_in(agent, path, greeting(said("user", "And?", at=86_410.0), day=1))
    (longer,) = grown.sessions
    assert grown.continues == ((longer.id, first.id),)
    assert (await agent.get_session(first.id)).message_count == 2
    for one in (greeting(day=1), greeting(said("user", "And?", at=86_410.0), day=1)):
        assert (await taken_in(agent, path, one)).already == 1


async def test_what_was_taken_in_and_reset_can_be_taken_in_again(agent, tmp_path):
    path = tmp_path / "conversations.json"
    (first,) = (await taken_in(agent, path, greeting(day=1))).sessions
    await agent.reset_conversation(first.id)
    (again,) = (await agent.import_sessions(path)).sessions
    assert again.message_count == 2
