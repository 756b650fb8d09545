"""What the agent does with whole sessions: forked, renamed, set up."""

import asyncio

import pytest

from dexto_magic import (
    AsyncDextoAgent,
    InvalidSessionIdError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    SettingsError,
)
from tests.support.agents import at, history
from tests.support.openai_answers import WAIT, text

pytestmark = pytest.mark.anyio


async def talk(agent, *prompts, session="eda"):
    await agent.get_or_create_session(session)
    for prompt in prompts:
        await agent.generate(prompt, session)


def sent(server, at=-1):
    return [message["content"] for message in server.chats[at].body["messages"]]


# -- fork ------------------------------------------------------------------------------------------


async def test_a_fork_goes_on_from_the_whole_conversation_and_leaves_it_as_it_is(agent):
    await talk(agent, "My name is Sarah.", "My dog is Rex.")
    before = await agent.get_session("eda")
    fork = await agent.fork_session("eda", "eda-2")
    assert (fork.forked_from, fork.forked_at, fork.turn_count) == ("eda", 2, 2)
    assert fork.title == "My name is Sarah."
    assert fork.usage.total_tokens == 0, "its turns were paid for where they come from"
    await agent.generate("My name is Bob.", "eda-2")
    for name, answer in (("eda-2", "Your name is Bob."), ("eda", "Your name is Sarah.")):
        assert (await agent.generate("What is my name?", name)).content == answer
    assert (await agent.get_session("eda")).turn_count == before.turn_count + 1
    assert (await agent.generate("What is my dog?", "eda-2")).content == "Your dog is Rex."


async def test_a_fork_at_a_turn_holds_what_was_said_up_to_it(agent, server):
    await talk(agent, "My name is Sarah.", "My name is Bob.", "Hello.")
    fork = await agent.fork_session("eda", "early", turn=1)
    assert (fork.forked_at, fork.turn_count) == (1, 1)
    assert (await agent.generate("What is my name?", "early")).content == "Your name is Sarah."
    for turn in (4, 99):
        with pytest.raises(SessionError, match=f"no turn {turn} in view"):
            await agent.fork_session("eda", "late", turn=turn)
    for turn in (0, "1", True):
        with pytest.raises(SettingsError, match="count from 1"):
            await agent.fork_session("eda", "late", turn=turn)
    assert await agent.get_session("late") is None


async def test_a_fork_has_what_the_session_was_set_up_with_and_the_versions_in_view(agent, server):
    await agent.create_session("eda", model="openai:gpt-4o", system="Be brief.")
    await agent.update_session("eda", overflow="trim", context_budget=5000)
    server.script(text("1"), text("2"))
    await agent.generate("one", "eda")
    await agent.retry("eda")
    fork = await agent.fork_session("eda")
    assert fork.id.startswith("sess_")
    assert (fork.model, fork.system, fork.overflow, fork.context_budget) == (
        "openai:gpt-4o",
        "Be brief.",
        "trim",
        5000,
    )
    await agent.generate("three", fork.id)
    assert sent(server) == ["Be brief.", "one", "2", "three"]


async def test_a_fork_that_is_made_while_a_turn_runs_is_without_it(agent, server):
    await talk(agent, "My name is Sarah.")
    server.script(text("The beginning", WAIT, " and the end"))
    asking = asyncio.create_task(agent.generate("two", "eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    fork = await agent.fork_session("eda", "fork")
    assert (fork.forked_at, fork.turn_count) == (1, 1)
    server.release()
    assert (await asking).content == "The beginning and the end"
    assert len(await agent.get_session_history("eda")) == 4
    assert len(await agent.get_session_history("fork")) == 2


async def test_a_fork_while_a_retry_runs_has_the_version_before(agent, server):
    server.script(text("old"), text("The beginning", WAIT, " and the end"))
    await talk(agent, "one")
    asking = asyncio.create_task(agent.retry("eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    await agent.fork_session("eda", "fork")
    server.release()
    await asking
    assert await history(agent, "fork") == ["user: one", "assistant: old"]


async def test_a_fork_takes_no_name_that_is_taken_or_cannot_be(agent):
    await talk(agent, "one")
    with pytest.raises(SessionExistsError):
        await agent.fork_session("eda", "eda")
    with pytest.raises(InvalidSessionIdError):
        await agent.fork_session("eda", " ")
    assert len(await agent.list_sessions()) == 1


# -- rename ----------------------------------------------------------------------------------------


async def test_a_renamed_session_is_the_same_under_another_name(agent):
    await talk(agent, "My name is Sarah.")
    renamed = await agent.rename_session("eda", "thesis")
    assert (renamed.id, renamed.turn_count) == ("thesis", 1)
    assert await agent.get_session("eda") is None
    assert (await agent.generate("What is my name?", "thesis")).content == "Your name is Sarah."
    await agent.create_session("eda")
    with pytest.raises(SessionExistsError, match="'eda' already"):
        await agent.rename_session("thesis", "eda")
    with pytest.raises(SessionNotFoundError):
        await agent.rename_session("nobody", "somebody")
    assert (await agent.rename_session("thesis", "thesis")).id == "thesis"


async def test_a_turn_that_runs_meanwhile_ends_in_the_renamed_session(agent, server):
    server.script(text("The beginning", WAIT, " and the end"))
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    await agent.rename_session("eda", "thesis")
    server.release()
    reply = await asking
    assert (reply.session_id, reply.content) == ("thesis", "The beginning and the end")
    assert await history(agent, "thesis") == ["user: one", f"assistant: {reply.content}"]


async def test_a_cancel_goes_by_the_name_of_now_and_not_by_that_of_before(agent, server):
    """The name of before may be that of another session by now."""
    server.script(text("The beginning", WAIT, " and the end"))
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    await agent.rename_session("eda", "thesis")
    await agent.create_session("eda")
    assert await agent.cancel("eda") is False
    await agent.reset_conversation("eda")
    await agent.delete_session("eda")
    assert await agent.cancel("thesis") is True
    assert (await asking).message.reason == "interrupted"


async def test_who_waits_for_a_turn_of_a_session_that_is_renamed_is_asked_there(server, tmp_path):
    server.script(text("The beginning", WAIT, " and the end"), text("2"))
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await agent.create_session("eda")
        first = asyncio.create_task(agent.generate("one", "eda"))
        await asyncio.to_thread(server.wait_for_request)
        second = agent.stream("two", "eda", wait=60)
        assert "waiting" in (await anext(second.events())).text
        await agent.rename_session("eda", "thesis")
        server.release()
        assert (await first).session_id == "thesis"
        assert (await second.finish()).session_id == "thesis"


# -- what a session has of its own -----------------------------------------------------------------


async def test_a_title_of_ones_own_stays_through_a_reset_until_it_is_taken_away(agent):
    await talk(agent, "My name is Sarah.")
    assert (await agent.get_session("eda")).title == "My name is Sarah."
    assert (await agent.update_session("eda", title="About me")).title == "About me"
    await agent.reset_conversation("eda")
    assert (await agent.get_session("eda")).title == "About me"
    assert (await agent.update_session("eda", title="")).title is None
    await agent.generate("Hello.", "eda")
    assert (await agent.get_session("eda")).title == "Hello."


async def test_overflow_and_budget_are_kept_until_they_are_taken_away(agent):
    await agent.create_session("eda")
    session = await agent.update_session("eda", overflow="error", context_budget=8000)
    assert (session.overflow, session.context_budget) == ("error", 8000)
    assert await agent.update_session("eda") == session, "what is not given is left"
    session = await agent.update_session("eda", overflow="", context_budget=0)
    assert (session.overflow, session.context_budget) == (None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"overflow": "drop"},
        {"overflow": 1},
        {"context_budget": -1},
        {"context_budget": 1.5},
        {"context_budget": "8000"},
        {"context_budget": True},
        {"title": 5},
        {"nonsense": 1},
    ],
    ids=str,
)
async def test_what_a_session_cannot_have_is_named_and_changes_nothing(agent, changes):
    before = await agent.create_session("eda")
    with pytest.raises(SettingsError) as caught:
        await agent.update_session("eda", **changes, system="changed")
    assert caught.value.option == next(iter(changes))
    assert await agent.get_session("eda") == before


async def test_what_is_set_counts_for_another_agent_too(agent, server, tmp_path):
    await agent.create_session("eda")
    await agent.update_session("eda", system="Be brief.", title="Mine")
    async with AsyncDextoAgent(at(server), store=tmp_path / "store") as other:
        await other.generate("one", "eda")
        assert (await other.get_session("eda")).title == "Mine"
    assert sent(server) == ["Be brief.", "one"]
