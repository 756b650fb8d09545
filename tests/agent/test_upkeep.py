"""What an agent does for its store as a whole, started or not."""

import pytest

from dexto_magic import AsyncDextoAgent, DextoAgent, FormatError, SessionBusyError, StoreError
from dexto_magic.stores.memory import MemoryStore
from tests.support.agents import at, history
from tests.support.openai_answers import WAIT, text

pytestmark = pytest.mark.anyio


async def test_an_agent_looks_over_backs_up_and_restores_while_it_goes_on(agent, tmp_path):
    await agent.create_session("eda")
    await agent.generate("My name is Sarah.", "eda")
    done = await agent.backup(tmp_path / "all.db")
    assert (done.sessions, done.messages) == (1, 2)
    await agent.generate("My name is Bob.", "eda")
    await agent.create_session("later")
    told = []
    restored = await agent.restore(str(done.path), tell=lambda *of: told.append(of))
    assert (restored.before.sessions, restored.before.messages) == (2, 4)
    assert told[-1][0] == told[-1][1] > 0
    assert len(await history(agent, "eda")) == 2
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."
    assert not (await agent.search("Bob")).hits
    report = await agent.doctor()
    assert (report.sessions, report.search, report.needs_action) == (1, "up to date", False)


async def test_nothing_is_restored_while_a_turn_runs_here(agent, server, tmp_path):
    await agent.create_session("eda")
    await agent.backup(tmp_path / "all.db")
    server.script(text("Half", WAIT, " more"))
    async with AsyncDextoAgent(at(server), store=tmp_path / "store") as other:
        stream = other.stream("Hello.", "eda")
        async for _ in stream:
            with pytest.raises(SessionBusyError, match="at work in 'eda'"):
                await agent.restore(tmp_path / "all.db")
            assert (await agent.doctor()).sessions == 1
            break
        await stream.cancel()
    assert (await agent.restore(tmp_path / "all.db")).sessions == 1


@pytest.mark.parametrize("kind", [AsyncDextoAgent, DextoAgent])
async def test_an_agent_that_is_not_started_does_so_too(kind, tmp_path):
    with DextoAgent("practice", store=tmp_path / "store") as agent:
        agent.create_session("eda")

    async def done(value):
        return await value if kind is AsyncDextoAgent else value

    agent = kind("practice", store=tmp_path / "store")
    assert (await done(agent.doctor())).sessions == 1
    assert (await done(agent.backup(tmp_path / "all.db"))).sessions == 1
    assert (await done(agent.restore(tmp_path / "all.db"))).sessions == 1


async def test_of_a_store_that_cannot_be_opened_it_is_told_why(tmp_path):
    (tmp_path / "store" / "sessions").mkdir(parents=True)
    (tmp_path / "store" / "sessions" / "cache.db").write_bytes(b"nonsense" * 1000)
    agent = DextoAgent("practice", store=tmp_path / "store")
    with pytest.raises(StoreError):
        agent.start()
    report = agent.doctor()
    assert any("is damaged" in finding.what for finding in report.findings)


def test_a_store_in_memory_has_nothing_to_look_at():
    with DextoAgent("practice", store=MemoryStore()) as agent:
        for call in (agent.doctor, lambda: agent.backup("x"), lambda: agent.restore("x")):
            with pytest.raises(StoreError, match="in memory, without a file"):
                call()


def test_a_file_needs_a_name(tmp_path):
    agent = DextoAgent("practice", store=tmp_path / "store")
    for call in (agent.backup, agent.restore):
        with pytest.raises(FormatError, match="empty"):
            call("")
