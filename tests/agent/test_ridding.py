"""What was taken from the store is taken from the search index, whoever is cut short meanwhile."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from dexto_magic import AsyncDextoAgent, SessionError
from dexto_magic.stores.disk import DiskStore
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SECRET = "qzsecret"

REMOVALS = {
    "forget": lambda agent: agent.forget_turn("thesis", 1),
    "reset": lambda agent: agent.reset_conversation("thesis"),
    "delete": lambda agent: agent.delete_session("thesis"),
}


def is_indexed(home):
    return any(SECRET.encode() in path.read_bytes() for path in (home / "derived").iterdir())


@asynccontextmanager
async def indexed(home):
    """An agent that does not wait long for others, with a secret in its index."""
    async with AsyncDextoAgent("practice", store=home) as agent:
        agent._index._patience = 0.05
        for name in ("thesis", "other"):
            await agent.create_session(name)
        await agent.generate(f"Repeat after me: {SECRET}", "thesis")
        await agent.generate("Hello.", "thesis")
        assert await agent.search(SECRET)
        assert is_indexed(home)
        yield agent


@asynccontextmanager
async def cut_short(agent, verb):
    """The removal, cancelled when the store is rid of the secret and the index is about to be."""
    begun, may_go_on, purge = asyncio.Event(), asyncio.Event(), agent._index.purge

    async def slow(**options):
        begun.set()
        await may_go_on.wait()
        return await purge(**options)

    agent._index.purge = slow
    removing = asyncio.create_task(REMOVALS[verb](agent))
    await begun.wait()
    removing.cancel()
    agent._index.purge = purge
    yield await removing
    may_go_on.set()


@pytest.mark.parametrize("verb", REMOVALS)
async def test_a_removal_that_is_cut_short_is_told_and_ends_by_itself(
    tmp_path, anyio_backend, verb
):
    async with indexed(tmp_path) as agent:
        async with cut_short(agent, verb) as removal:
            assert removal.purge_pending
        await until(lambda: not is_indexed(tmp_path))


@pytest.mark.parametrize("verb", REMOVALS)
async def test_an_agent_that_is_stopped_at_once_sees_it_through(tmp_path, anyio_backend, verb):
    async with indexed(tmp_path) as agent, cut_short(agent, verb):
        pass
    assert not is_indexed(tmp_path)


@pytest.mark.parametrize("verb", REMOVALS)
async def test_an_index_that_others_keep_locked_is_told_and_rid_at_the_next_use(
    tmp_path, anyio_backend, verb
):
    async with indexed(tmp_path) as agent:
        with closing(sqlite3.connect(tmp_path / "derived" / "search.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert (await REMOVALS[verb](agent)).purge_pending
        assert is_indexed(tmp_path)
        await agent.get_session("other")
        await until(lambda: not is_indexed(tmp_path))
        before = asyncio.all_tasks()
        await agent.get_session("other")
        assert asyncio.all_tasks() <= before, "nothing is owed any more"


async def test_who_forgets_again_what_a_killed_process_forgot_has_it_gone(tmp_path, anyio_backend):
    async with indexed(tmp_path) as agent:
        store = DiskStore(tmp_path)
        await store.open()
        await store.forget("thesis", 1)  # and then the process is killed
        await store.close()
        assert is_indexed(tmp_path)
        with pytest.raises(SessionError, match="forgotten before"):
            await agent.forget_turn("thesis", 1)
        assert not is_indexed(tmp_path)
