"""Replies that a full store could not take: kept, saved when there is room, and never forgotten."""

import asyncio

import pytest

from dexto_magic import AsyncDextoAgent, StoreFullError
from tests.support.agents import at, history
from tests.support.openai_answers import held, silent, text
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


LONG = "x" * 50_000


async def limit_pages(agent, pages):
    engine = await agent._store._running()
    sql = f"PRAGMA max_page_count = {pages}"
    await asyncio.wrap_future(engine.write_alone(lambda table: table._cache._sql(sql).fetchall()))


async def left_unsaved(agent, server, reply=LONG):
    """A turn whose reply the store had no room for; there is room again now."""
    asked = len(server.chats)
    server.script(held(text(reply)))
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request, asked + 1)
    await limit_pages(agent, 1)  # SQLite makes that the pages there are
    server.release()
    with pytest.raises(StoreFullError) as caught:
        await asking
    await limit_pages(agent, 2**30)
    return caught.value


async def test_a_reply_that_the_store_cannot_take_is_kept_and_saved_with_the_next(server, tmp_path):
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        error = await left_unsaved(agent, server)
        assert error.unsaved == LONG
        await agent.generate("My name is Sarah.", "eda")
        assert await history(agent, "eda") == [
            "user: one",
            "assistant: " + LONG,
            "user: My name is Sarah.",
            "assistant: Nice to meet you, Sarah.",
        ]


async def test_a_reply_that_could_not_be_saved_is_saved_as_soon_as_it_can_be(server, tmp_path):
    """Its session is taken until then, for every other kernel too."""
    async with (
        AsyncDextoAgent(at(server), store=tmp_path) as agent,
        AsyncDextoAgent("practice", store=tmp_path) as other,
    ):
        await left_unsaved(agent, server)
        reply = await other.generate("My name is Sarah.", "eda", wait=60)
        assert reply.content == "Nice to meet you, Sarah."
        assert (await history(other, "eda"))[1] == "assistant: " + LONG
        await until(lambda: not agent._host.unsaved)


async def test_of_two_who_come_after_an_unsaved_reply_neither_stumbles(server, tmp_path):
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await left_unsaved(agent, server)
        await asyncio.gather(*(agent.generate(f"q{n}", "eda", wait=60) for n in range(2)))
        assert len(await history(agent, "eda")) == 6


@pytest.mark.parametrize("verb", ["undo", "compact", "forget", "generate"])
async def test_what_comes_next_finds_the_reply_saved_under_whatever_name(server, tmp_path, verb):
    """A session is busy until then, and this agent is the one that would be waited for."""
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await left_unsaved(agent, server)
        await agent.rename_session("eda", "renamed")
        step = {
            "undo": lambda: agent.undo("renamed"),
            "compact": lambda: agent.compact("renamed"),
            "forget": lambda: agent.forget_turn("renamed", 1),
            "generate": lambda: agent.generate("My name is Sarah.", "renamed"),
        }[verb]
        await step()
        assert not agent._host.unsaved


async def test_replies_of_two_sessions_that_had_one_name_are_both_saved(server, tmp_path):
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await left_unsaved(agent, server, "1" + LONG)
        await agent.rename_session("eda", "renamed")
        await left_unsaved(agent, server, "2" + LONG)
        await until(lambda: not agent._host.unsaved)
        assert await history(agent, "renamed") == ["user: one", "assistant: 1" + LONG]
        assert await history(agent, "eda") == ["user: one", "assistant: 2" + LONG]


async def test_a_stop_tries_once_more_and_says_what_it_could_not_save(server, tmp_path):
    """The turn is running until then: its reply is still to come when the stop begins."""
    server.script(held(silent(LONG)))
    agent = AsyncDextoAgent(at(server), store=tmp_path)
    await agent.start()
    await agent.create_session("eda")
    stream = agent.stream("one", "eda")
    reading = asyncio.create_task(anext(stream))
    await asyncio.to_thread(server.wait_for_request)
    await limit_pages(agent, 1)
    server.release()
    assert await reading == LONG
    with pytest.raises(StoreFullError):
        await agent.stop()
    with pytest.raises(StoreFullError):
        await stream.finish()
