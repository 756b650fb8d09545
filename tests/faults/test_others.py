"""What others do amid a turn: another process that resets, deletes or cancels, a fork, the clock."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from dexto_magic import AsyncDextoAgent, DextoAgent
from dexto_magic.errors import SessionError, SessionNotFoundError
from dexto_magic.stores.disk import DiskStore
from tests.support.agents import at, history
from tests.support.audit import is_intact, strays
from tests.support.disks import collected, database
from tests.support.openai_answers import WAIT, silent, text
from tests.support.processes import heard, in_child, kill, python
from tests.support.stores import names, prompts, say

ELSEWHERE = """
from dexto_magic import DextoAgent
with DextoAgent("practice", store=home) as agent:
    say(getattr(agent, sys.argv[2])("eda"))
"""

AMID = {
    "cancel": None,
    "reset_conversation": (SessionError, "was reset while this turn was running"),
    "delete_session": (SessionNotFoundError, "was deleted while this turn was running"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("verb", AMID)
async def test_what_another_process_does_amid_a_turn_ends_it_and_hangs_up(verb, server, home):
    server.script(silent("The beginning"))
    async with AsyncDextoAgent(at(server), store=home) as agent:
        await agent.create_session("eda")
        asking = asyncio.create_task(agent.generate("one", "eda"))
        await asyncio.to_thread(server.wait_for_request)
        with python(ELSEWHERE, home, verb) as process:
            await asyncio.to_thread(heard, process)
        await asyncio.to_thread(server.wait_for_disconnect)
        if AMID[verb] is None:
            reply = await asking
            assert (reply.status, reply.message.reason) == ("stopped", "interrupted")
            assert await history(agent, "eda") == [
                "user: one",
                "assistant: The beginning [stopped: interrupted]",
            ]
        else:
            kind, words = AMID[verb]
            with pytest.raises(kind, match=words):
                await asking
            await agent.get_or_create_session("eda")
            assert await history(agent, "eda") == []
        await agent.generate("My name is Sarah.", "eda")
        await collected(agent._store)
        store = agent._store
    assert is_intact(database(store))
    assert strays(database(store)) == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_children_that_are_forked_amid_turns_have_turns_of_their_own(server, home, times, counted):
    """The parent's run on, and are its own: no child ends them, keeps them alive, or repeats them."""
    children = times(5, 50)
    server.script(*[text("The beginning", WAIT, " and the end")] * 3)
    with DextoAgent(at(server), store=home) as agent:
        streams = []
        for n in range(3):
            agent.create_session(f"parent {n}")
            streams.append(iter(agent.stream("one", f"parent {n}")))
            assert next(streams[-1]) == "The beginning"

        def child(number):
            name = agent.create_session(f"child {number}").id
            assert agent.generate("My name is Sarah.", name).content == "Nice to meet you, Sarah."
            assert [m.content for m in agent.get_session_history("parent 0")] == ["one"]
            agent.stop()

        for number in range(children):
            assert in_child(lambda number=number: child(number)) == 0
        for _ in streams:
            server.release()
        for n, stream in enumerate(streams):
            assert "".join(stream) == " and the end"
            said = [m.content for m in agent.get_session_history(f"parent {n}")]
            assert said == ["one", "The beginning and the end"]
        assert len(agent.list_sessions()) == 3 + children
        store = agent._agent._store
    assert is_intact(database(store))
    assert strays(database(store)) == []
    counted("forks of a process amid three turns", {"children": children, "turns lost": 0})


def test_a_turn_of_a_killed_parent_is_ended_though_its_child_lives_on(home):
    with python(
        """
        from dexto_magic import DextoAgent
        agent = DextoAgent("practice:stall", store=home)
        agent.start()
        agent.create_session("eda")
        stream = agent.stream("My name is Sarah.", "eda")  # one that is let go is cancelled
        shown = next(iter(stream))
        if os.fork() == 0:
            say(shown)
            sys.stdin.readline()
            os._exit(0)
        os.wait()
        """,
        home,
    ) as process:
        shown = heard(process)
        kill(process)
        with DextoAgent("practice", store=home) as agent:
            _, reply = agent.get_session_history("eda")
            assert reply.reason == "crashed"
            assert reply.status in ("stopped", "failed")
            assert shown.startswith(reply.content[: len(shown)])
            assert agent.generate("What is my name?", "eda").status == "complete"
        process.stdin.write("\n")


@pytest.mark.anyio
async def test_a_clock_that_is_set_back_changes_the_order_of_nothing(home):
    """Neither of turns, nor of sessions by use, nor of what changed; not by another process's."""
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    clock = iter(noon - timedelta(minutes=n * n) for n in range(1000))
    store, other = (DiskStore(home, now=lambda: next(clock)) for _ in range(2))
    await store.open()
    await other.open()
    owner, another = await store.join("one"), await other.join("other")
    for name in ("a", "b", "c"):
        await store.create(name)
    for n in range(9):
        await say(store, owner, "abc"[n % 3], f"{n}")
        await say(other, another, "abc"[n % 3], f"{n} again")
        assert (await names(other))[0] == "abc"[n % 3]
        changes = await store.changes(0, limit=99)
        assert changes[-1].session_id == "abc"[n % 3]
    assert await names(store) == ["c", "b", "a"]
    assert await prompts(store, "a") == ["0", "0 again", "3", "3 again", "6", "6 again"]
    await other.fork("a", "fork")
    assert await names(store) == ["fork", "c", "b", "a"]
    await other.close()
    await store.close()
    assert strays(database(store)) == []
