"""What the agent does, seen through its API: over real HTTP, on a real store, as both agents."""

import asyncio
import gc
import inspect
import shutil
import sqlite3
import threading
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from dexto_magic import (
    AsyncDextoAgent,
    ContextOverflowError,
    DextoAgent,
    DextoError,
    InvalidSessionIdError,
    MemoryStore,
    ModelAuthenticationError,
    ModelError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
    Origin,
    SessionBusyError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    SettingsError,
    StoreError,
    Usage,
)
from dexto_magic.stores.disk import DiskStore
from dexto_magic.turns.prompts import Answerer
from tests.support.agents import KEY, KINDS, Either, at, history
from tests.support.openai_answers import (
    WAIT,
    cut,
    hang_up,
    held,
    silent,
    status,
    text,
)
from tests.support.openai_server import OpenAIServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


# -- the tutorial ----------------------------------------------------------------------------------


async def test_messages_of_one_session_are_remembered_and_of_another_are_not(agent):
    session = await agent.create_session()
    await agent.generate("My name is Sarah.", session.id)
    response = await agent.generate("What is my name?", session.id)
    assert response.content == "Your name is Sarah."
    new_session = await agent.create_session()
    response = await agent.generate("What is my name?", new_session.id)
    assert response.content == "I don't have that information."


async def test_a_session_has_an_id_of_its_own_or_the_one_it_is_given(agent):
    first, second = await agent.create_session(), await agent.create_session("user-sarah-2024")
    assert first.id.startswith("sess_")
    assert len(first.id) == len("sess_abc123def456")
    assert second.id == "user-sarah-2024"


async def test_the_model_sees_the_full_conversation_every_time(agent, server):
    session = await agent.create_session("demo")
    for prompt in (
        "I want to build a REST API in Node.js.",
        "What framework should I use?",
        "Show me a simple example.",
    ):
        response = await agent.generate(prompt, session.id)
    assert response.content.startswith("Here's a minimal Express API")
    shown = [f"[{m.role}]: {m.content[:24]}" for m in await agent.get_session_history("demo")]
    assert shown == [
        "[user]: I want to build a REST A",
        "[assistant]: Building a REST API in N",
        "[user]: What framework should I ",
        "[assistant]: Express is the most popu",
        "[user]: Show me a simple example",
        "[assistant]: Here's a minimal Express",
    ]
    assert [len(chat.body["messages"]) for chat in server.chats] == [1, 3, 5]


async def test_sessions_are_listed_found_reset_and_deleted(agent):
    for name in ("user-sarah-2024", "demo"):
        await agent.create_session(name)
        await agent.generate("Hello.", name)
    sessions = await agent.list_sessions()
    assert (len(sessions), [s.id for s in sessions]) == (2, ["demo", "user-sarah-2024"])
    assert await agent.get_session("user-sarah-2024")
    assert await agent.get_session("nobody") is None
    await agent.reset_conversation("demo")
    assert await agent.get_session("demo")
    assert await agent.get_session_history("demo") == []
    await agent.delete_session("demo")
    assert await agent.get_session("demo") is None


async def test_get_or_create_takes_what_is_there_or_makes_it(agent):
    made = await agent.get_or_create_session("user-1", system="Be brief.")
    found = await agent.get_or_create_session("user-1", system="Be long.")
    assert (made.id, found.system) == ("user-1", "Be brief.")


async def test_all_sessions_can_be_listed_in_pages_too(agent):
    for n in range(5):
        await agent.create_session(f"s{n}")
    page = await agent.list_sessions(limit=2)
    rest = await agent.list_sessions(cursor=page.cursor)
    assert [s.id for s in (*page, *rest)] == ["s4", "s3", "s2", "s1", "s0"]
    assert rest.cursor is None
    with pytest.raises(SettingsError, match="no cursor"):
        await agent.list_sessions(cursor="nonsense")


# -- what is sent ----------------------------------------------------------------------------------


async def test_a_prompt_arrives_unchanged(agent, server):
    prompt = "{x} {{y}} $\\alpha_1$ \\( 🎉👩‍🔬 \t'\"`\n%s ${HOME} <b> </script>\n"
    await agent.create_session("eda")
    await agent.generate(prompt, "eda")
    assert server.chats[0].body["messages"][-1] == {"role": "user", "content": prompt}
    assert (await agent.get_session_history("eda"))[0].content == prompt


async def test_the_system_prompt_is_the_turns_the_sessions_or_the_agents(server, tmp_path):
    async with AsyncDextoAgent(at(server), store=tmp_path, system="the agent's") as agent:
        await agent.create_session("plain")
        await agent.create_session("own", system="the session's")
        await agent.generate("a", "plain")
        await agent.generate("b", "own")
        await agent.generate("c", "own", system="the turn's")
        await agent.update_session("own", system="")
        await agent.generate("d", "own")
        assert [m.role for m in await agent.get_session_history("plain")] == ["user", "assistant"]
    assert [chat.body["messages"][0]["content"] for chat in server.chats] == [
        "the agent's",
        "the session's",
        "the turn's",
        "the agent's",
    ]


async def test_model_and_options_are_the_turns_the_sessions_or_the_agents(server, tmp_path):
    llm = at(server, options={"temperature": 0, "seed": 1})
    async with AsyncDextoAgent(llm, store=tmp_path) as agent:
        await agent.create_session("eda")
        await agent.generate("a", "eda")
        session = await agent.update_session("eda", model="openai:gpt-4o")
        await agent.generate("b", "eda", options={"seed": 2})
        await agent.generate("c", "eda", model="gpt-4.1")
        kept = (await agent.get_session_history("eda"))[3]
    assert session.model == "openai:gpt-4o"
    sent = [
        (chat.body["model"], chat.body["temperature"], chat.body["seed"]) for chat in server.chats
    ]
    assert sent == [("gpt-4o-mini", 0, 1), ("gpt-4o", 0, 2), ("gpt-4.1", 0, 1)]
    assert (kept.provider, kept.options) == ("openai", {"temperature": 0, "seed": 2})


async def test_a_note_is_sent_right_before_the_message_and_not_kept(agent, server):
    await agent.create_session("eda")
    await agent.generate("one", "eda")
    await agent.generate("two", "eda", note="The kernel was restarted.")
    await agent.generate("three", "eda")
    second, third = (chat.body["messages"] for chat in server.chats[1:])
    assert [m["content"] for m in second[-2:]] == ["The kernel was restarted.", "two"]
    assert "The kernel was restarted." not in [m["content"] for m in third]


async def test_a_reply_tells_what_it_took(agent, server):
    server.script(text("Hi ", "there.", usage=(12, 5), model="gpt-4o-mini-2024", reasoning="Hm."))
    await agent.create_session("eda")
    origin = Origin(notebook="/a.ipynb", cell_id="c")
    reply = await agent.generate("Hello.", "eda", origin=origin)
    assert (reply.content, reply.reasoning, reply.status) == ("Hi there.", "Hm.", "complete")
    assert (reply.model, reply.usage) == (
        "gpt-4o-mini-2024",
        Usage(input_tokens=12, output_tokens=5),
    )
    assert (reply.turn, reply.message.finish_reason) == (1, "stop")
    assert reply.message.duration >= 0
    asked, answered = await agent.get_session_history("eda")
    assert (asked.origin, answered) == (origin, reply.message)
    session = await agent.get_session("eda")
    assert session.usage == reply.session_usage == Usage(input_tokens=12, output_tokens=5)


async def test_reasoning_is_never_sent_again(agent, server):
    server.script(text("42", reasoning="Long thoughts."))
    await agent.create_session("eda")
    await agent.generate("one", "eda")
    await agent.generate("two", "eda")
    assert "Long thoughts." not in str(server.chats[1].body)


async def test_a_server_without_usage_gives_a_reply_all_the_same(agent, server):
    server.script(text("Hi.", usage=None))
    await agent.create_session("eda")
    reply = await agent.generate("Hello.", "eda")
    assert (reply.content, reply.usage) == ("Hi.", None)
    assert (await agent.get_session("eda")).usage == Usage()


async def test_a_reply_in_one_piece_is_asked_for_where_a_server_cannot_stream(agent, server):
    await agent.create_session("eda")
    reply = await agent.generate("My name is Sarah.", "eda", stream=False)
    assert reply.content == "Nice to meet you, Sarah."
    assert reply.usage is not None
    assert server.chats[0].body.get("stream") is not True


async def test_a_reply_streams_in_pieces(agent, server):
    server.script(text("one ", "two ", "three"))
    await agent.create_session("eda")
    pieces, stream = await agent.streamed("count", "eda")
    assert pieces == ["one ", "two ", "three"]
    assert stream.reply.content == "one two three"
    assert await history(agent, "eda") == ["user: count", "assistant: one two three"]


# -- what goes wrong, and what is in the history afterwards ------------------------------------------

REFUSALS = {
    "401": (status(401, "Incorrect API key"), ModelAuthenticationError, "Incorrect API key"),
    "403": (status(403, "Not yours"), ModelAuthenticationError, "Not yours"),
    "404 model": (
        status(404, "The model `gpt-4o-mini` does not exist", error_code="model_not_found"),
        ModelRequestError,
        "gpt-4o-mini",
    ),
    "400": (status(400, "Bad value for temperature"), ModelRequestError, "temperature"),
    "context": (
        status(400, "maximum context length", error_code="context_length_exceeded"),
        ContextOverflowError,
        "context",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_is_an_error_and_a_failed_turn_that_is_not_sent_again(
    agent, server, refusal
):
    answer, kind, words = REFUSALS[refusal]
    server.script(answer)
    await agent.create_session("eda")
    with pytest.raises(kind, match=words) as caught:
        await agent.generate("one", "eda")
    assert (caught.value.provider, caught.value.model) == ("openai", "gpt-4o-mini")
    assert caught.value.partial == ""
    assert KEY not in str(caught.value)
    assert await history(agent, "eda") == [
        "user: one",
        f"assistant:  [failed: {kind.__name__}]",
    ]
    await agent.generate("My name is Sarah.", "eda")
    assert [m["content"] for m in server.chats[-1].body["messages"]] == ["My name is Sarah."]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(429, headers={"retry-after": "0.01"}), ModelRateLimitError),
        (status(500, headers={"retry-after-ms": "10"}), ModelUnavailableError),
        (hang_up(), ModelUnavailableError),
    ],
    ids=["429", "500", "hang-up"],
)
async def test_what_may_pass_is_tried_three_times_and_then_an_error(agent, server, answer, kind):
    server.script(answer, answer, answer)
    await agent.create_session("eda")
    with pytest.raises(kind) as caught:
        await agent.generate("one", "eda")
    assert len(server.chats) == 3
    assert await history(agent, "eda") == [
        "user: one",
        f"assistant:  [failed: {kind.__name__}]",
    ]
    if kind is ModelRateLimitError:
        assert caught.value.retry_after == 0.01


async def test_what_passes_is_tried_again_and_said(agent, server):
    server.script(status(429, headers={"retry-after": "0.01"}))
    await agent.create_session("eda")
    reply = await agent.generate("My name is Sarah.", "eda")
    assert reply.content == "Nice to meet you, Sarah."
    assert await history(agent, "eda") == [
        "user: My name is Sarah.",
        "assistant: Nice to meet you, Sarah.",
    ]


async def test_nobody_at_the_address_is_an_error_that_names_it(tmp_path):
    with OpenAIServer() as gone:
        llm = at(gone)
    async with AsyncDextoAgent(llm, store=tmp_path) as agent:
        await agent.create_session("eda")
        with pytest.raises(ModelUnavailableError, match=r"127\.0\.0\.1"):
            await agent.generate("one", "eda")
        assert await history(agent, "eda") == [
            "user: one",
            "assistant:  [failed: ModelUnavailableError]",
        ]


async def test_a_stream_cut_half_way_keeps_what_came_and_marks_it(agent, server):
    server.script(cut("The answer ", "is"))
    await agent.create_session("eda")
    with pytest.raises(ModelUnavailableError) as caught:
        await agent.generate("one", "eda")
    assert caught.value.partial == "The answer is"
    assert await history(agent, "eda") == [
        "user: one",
        "assistant: The answer is [stopped: error]",
    ]
    await agent.generate("two", "eda")
    assert [m["content"] for m in server.chats[-1].body["messages"]] == [
        "one",
        "The answer is\n\n[This reply was cut short: error.]",
        "two",
    ]


async def test_a_slow_first_byte_is_waited_for(agent, server):
    server.script(held(text("At last.")))
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    assert await history(agent, "eda") == ["user: one"], "the question is kept before it is sent"
    server.release()
    assert (await asking).content == "At last."


async def test_a_missing_key_stores_nothing_and_names_the_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    async with AsyncDextoAgent("openai:gpt-4o-mini", store=tmp_path) as agent:
        await agent.create_session("eda")
        with pytest.raises(ModelAuthenticationError, match=r"OPENAI_API_KEY.*practice"):
            await agent.generate("one", "eda")
        assert await history(agent, "eda") == []


async def test_a_key_is_the_arguments_or_the_environments_and_never_stored(
    server, tmp_path, monkeypatch
):
    llm = {key: value for key, value in at(server).items() if key != "api_key"}
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    for given in ({}, {"api_key": "sk-of-the-argument"}):
        async with AsyncDextoAgent(llm | given, store=tmp_path) as agent:
            await agent.get_or_create_session("eda")
            await agent.generate("one", "eda")
            await agent.set_key("openai", "sk-entered")
            await agent.generate("two", "eda")
            assert "sk-of-the" not in f"{agent!r} {vars(agent)!r}"
    assert [chat.key for chat in server.chats] == [
        "sk-of-the-environment",
        "sk-entered",
        "sk-of-the-argument",
        "sk-of-the-argument",
    ]
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"sk-of-the" not in kept
    assert b"sk-entered" not in kept


@pytest.mark.parametrize("prompt", ["", "  \n\t"])
async def test_an_empty_prompt_is_refused_and_nothing_is_stored(agent, server, prompt):
    await agent.create_session("eda")
    with pytest.raises(ModelRequestError, match="'eda' is empty; nothing was sent"):
        await agent.generate(prompt, "eda")
    assert (await history(agent, "eda"), server.chats) == ([], [])


async def test_an_unknown_session_is_an_error_with_close_matches(agent, server):
    await agent.create_session("user-sarah")
    with pytest.raises(SessionNotFoundError, match="Did you mean 'user-sarah'") as caught:
        await agent.generate("one", "user-sara")
    assert (caught.value.session_id, caught.value.close_matches) == ("user-sara", ("user-sarah",))
    assert server.chats == []


@pytest.mark.parametrize("name", ["", " eda", "a\nb", "x" * 129, "a\u202eb", 7])
async def test_a_bad_name_is_refused_everywhere(agent, name):
    for call in ("create_session", "get_session", "get_session_history", "delete_session"):
        with pytest.raises(InvalidSessionIdError):
            await getattr(agent, call)(name)
    with pytest.raises(InvalidSessionIdError):
        await agent.generate("one", name)


async def test_a_name_in_any_script_is_kept_in_its_composed_form(agent):
    await agent.create_session("Cafe\u0301 数据 می\u200cخواهم 👩‍🔬")
    assert (await agent.get_session("Café 数据 می\u200cخواهم 👩‍🔬")) is not None
    with pytest.raises(SessionExistsError):
        await agent.create_session("Café 数据 می\u200cخواهم 👩‍🔬")


async def test_a_setting_that_cannot_be_used_stores_nothing(agent, server):
    await agent.create_session("eda")
    with pytest.raises(SettingsError):
        await agent.generate("one", "eda", model="openai:")
    with pytest.raises(SettingsError, match="messages"):
        await agent.generate("one", "eda", options={"messages": []})
    assert await agent.get_session_history("eda") == []
    with pytest.raises(SettingsError, match="limit"):
        await agent.get_session_history("eda", limit=-1)
    assert server.chats == []


async def test_the_practice_model_is_never_a_sessions_own(agent):
    with pytest.raises(SettingsError, match="never stored"):
        await agent.create_session("eda", model="practice")
    await agent.create_session("eda")
    with pytest.raises(SettingsError, match="never stored"):
        await agent.update_session("eda", model="practice:slow")


async def test_a_bug_in_a_model_ends_the_turn_and_keeps_its_traceback(tmp_path):
    """Something that is no error of ours is not hidden, and does not leave the session busy."""
    async with AsyncDextoAgent("practice", store=MemoryStore()) as agent:

        class Broken:
            provider = name = "broken"

            async def stream(self, request):
                raise ZeroDivisionError("a bug")
                yield

        broken = Answerer(model=Broken(), options={}, window=None)
        agent._host = replace(agent._host, answerer=lambda *_: broken)
        await agent.create_session("eda")
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await agent.generate("one", "eda")
        assert await history(agent, "eda") == [
            "user: one",
            "assistant:  [failed: ZeroDivisionError]",
        ]


# -- ending a turn ---------------------------------------------------------------------------------

MOMENTS = {
    "nothing sent": (silent(), "", "failed"),
    "silent in mid-stream": (silent("The beginning"), "The beginning", "stopped"),
    "sending": (text(*["word "] * 100_000, delay=0.001), "word ", "stopped"),
}


async def until_shown(agent, content):
    """Waits until so much of the running reply has arrived that it is saved."""
    if content:
        with closing(sqlite3.connect(f"{agent.location}/sessions/cache.db")) as database:
            partials = "SELECT 1 FROM Cache WHERE key >= 'p:' AND key < 'p;'"
            await until(lambda: database.execute(partials).fetchall())


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancelled_turn_ends_and_keeps_what_came(agent, server, moment):
    answer, content, ended = MOMENTS[moment]
    server.script(answer)
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    await until_shown(agent, content)
    assert await agent.cancel("eda") is True
    reply = await asking
    await asyncio.to_thread(server.wait_for_disconnect)
    assert (reply.status, reply.message.reason) == (ended, "interrupted")
    assert reply.content.startswith(content)
    assert await history(agent, "eda") == [
        "user: one",
        f"assistant: {reply.content} [{ended}: interrupted]",
    ]
    assert await agent.cancel("eda") is False


async def test_a_cancel_reaches_a_turn_of_another_agent(agent, server, tmp_path):
    server.script(silent("The beginning"))
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    async with AsyncDextoAgent("practice", store=tmp_path / "store") as other:
        assert await other.cancel("eda") is True
    reply = await asking
    assert (reply.message.reason, server.disconnects) == ("interrupted", 1)


async def test_a_task_that_is_cancelled_ends_its_turn_first(server, tmp_path):
    server.script(silent("The beginning"))
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await agent.create_session("eda")
        asking = asyncio.create_task(agent.generate("one", "eda"))
        await asyncio.to_thread(server.wait_for_request)
        await until_shown(agent, "The beginning")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await history(agent, "eda") == [
            "user: one",
            "assistant: The beginning [stopped: interrupted]",
        ]


async def test_stopping_the_agent_ends_and_saves_what_runs(agent, server, tmp_path):
    server.script(silent("The beginning"))
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    await until_shown(agent, "The beginning")
    await agent.stop()
    assert (await asking).status == "stopped"
    async with AsyncDextoAgent("practice", store=tmp_path / "store") as other:
        assert (await history(other, "eda"))[1] == (
            "assistant: The beginning [stopped: interrupted]"
        )


async def test_a_stream_that_is_closed_early_is_kept_as_cancelled(server, tmp_path):
    server.script(silent("The beginning"))
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await agent.create_session("eda")
        async with agent.stream("one", "eda") as stream:
            async for piece in stream:
                assert piece == "The beginning"
                break
        assert await history(agent, "eda") == [
            "user: one",
            "assistant: The beginning [stopped: cancelled]",
        ]
        await asyncio.to_thread(server.wait_for_disconnect)


async def test_a_stream_that_nobody_holds_any_more_ends(server, tmp_path):
    server.script(silent("The beginning"))
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await agent.create_session("eda")
        stream = agent.stream("one", "eda")
        assert await anext(stream) == "The beginning"
        del stream
        gc.collect()
        await asyncio.to_thread(server.wait_for_disconnect)
        await until(lambda: not agent._host.runs)
        assert (await history(agent, "eda"))[1].endswith("[stopped: cancelled]")


async def test_a_reset_or_delete_elsewhere_ends_a_turn_and_the_caller_is_told(
    agent, server, tmp_path
):
    async with AsyncDextoAgent("practice", store=tmp_path / "store") as other:
        for verb, kind in (("reset", SessionError), ("delete", SessionNotFoundError)):
            server.script(silent("The beginning"))
            await agent.get_or_create_session("eda")
            asking = asyncio.create_task(agent.generate("one", "eda"))
            await asyncio.to_thread(server.wait_for_request, len(server.chats) + 1)
            if verb == "reset":
                await other.reset_conversation("eda")
            else:
                await other.delete_session("eda")
            with pytest.raises(kind, match=rf"was {verb}.* while this turn was running"):
                await asking
    assert await agent.get_session("eda") is None


# -- several at once -------------------------------------------------------------------------------


async def test_a_busy_session_is_an_error_that_names_the_holder_or_is_waited_for(agent, server):
    server.script(held(text("first")))
    await agent.create_session("eda")
    first = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    with pytest.raises(SessionBusyError, match=r"'eda' is busy: another agent \(process"):
        await agent.generate("two", "eda")
    second = asyncio.create_task(agent.generate("My name is Sarah.", "eda", wait=30))
    server.release()
    await asyncio.gather(first, second)
    assert await history(agent, "eda") == [
        "user: one",
        "assistant: first",
        "user: My name is Sarah.",
        "assistant: Nice to meet you, Sarah.",
    ]


async def test_who_waits_is_told_for_whom_and_can_be_cancelled(server, tmp_path):
    server.script(held(text("first")))
    async with AsyncDextoAgent(at(server), store=tmp_path, label="eda.ipynb") as agent:
        await agent.create_session("eda")
        first = asyncio.create_task(agent.generate("one", "eda"))
        await asyncio.to_thread(server.wait_for_request)
        waiting = agent.stream("two", "eda", wait=30)
        notice = await anext(waiting.events())
        assert "eda.ipynb" in notice.text
        await waiting.cancel()
        with pytest.raises(SessionError, match="cancelled before it was sent; nothing was stored"):
            await waiting.finish()
        server.release()
        await first
        assert await history(agent, "eda") == ["user: one", "assistant: first"]


async def test_a_cancel_ends_the_turn_that_runs_and_not_only_the_one_that_waits_for_it(
    server, tmp_path
):
    server.script(silent("The beginning"))
    async with (
        AsyncDextoAgent(at(server), store=tmp_path) as agent,
        AsyncDextoAgent("practice", store=tmp_path) as other,
    ):
        await agent.create_session("eda")
        asking = asyncio.create_task(agent.generate("one", "eda"))
        await asyncio.to_thread(server.wait_for_request)
        waiting = other.stream("two", "eda", wait=600)
        assert "is at work in" in (await anext(waiting.events())).text
        assert await other.cancel("eda") is True
        with pytest.raises(SessionError, match="cancelled before it was sent"):
            await waiting.finish()
        assert (await asking).message.reason == "interrupted"


async def test_many_sessions_talk_at_once(agent, server):
    names = [f"s{n}" for n in range(40)]
    await asyncio.gather(*(agent.create_session(name) for name in names))
    await asyncio.gather(*(agent.generate(f"My name is {name}.", name) for name in names))
    replies = await asyncio.gather(*(agent.generate("What is my name?", name) for name in names))
    assert [reply.content for reply in replies] == [f"Your name is {name}." for name in names]


# -- what must not be lost -------------------------------------------------------------------------


async def test_a_reply_on_its_way_is_saved_while_it_runs(server, tmp_path):
    """Another process, should this one be killed now, finds what had arrived."""
    server.script(text("The beginning", WAIT, " and the end"))
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        await agent.create_session("eda")
        asking = asyncio.create_task(agent.generate("one", "eda"))
        await asyncio.to_thread(server.wait_for_request)

        def partials():
            return agent._store._read(lambda ledger: ledger._table.get_range("p:", "p;"))

        ((_, partial),) = await until(partials)
        assert partial["message"]["content"] == "The beginning"
        server.release()
        await asking
        assert await partials() == []


# -- its life --------------------------------------------------------------------------------------


async def test_use_before_start_or_after_stop_is_a_clear_error(tmp_path, anyio_backend):
    for kind in KINDS.values():
        agent = Either(kind("practice", store=tmp_path))
        for _ in range(2):
            with pytest.raises(DextoError, match="not started: call start"):
                await agent.create_session()
            await agent.start()
            await agent.start()
            await agent.stop()
            await agent.stop()


def test_an_agent_on_another_loop_is_a_clear_error(tmp_path):
    agent = AsyncDextoAgent("practice", store=tmp_path)
    asyncio.run(agent.start())

    async def use():
        with pytest.raises(DextoError, match="started on another event loop"):
            await agent.create_session()

    asyncio.run(use())


def store_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("dexto-store")]


async def test_starting_twice_at_once_is_starting_once(tmp_path, anyio_backend):
    before = store_threads()
    agent = AsyncDextoAgent("practice", store=tmp_path)
    await asyncio.gather(agent.start(), agent.start(), agent.start())
    await agent.create_session("eda")
    await agent.stop()
    await until(lambda: store_threads() == before)


async def test_an_agent_whose_store_is_gone_still_lets_go_and_can_begin_anew(
    agent, tmp_path, anyio_backend
):
    before = store_threads()
    await agent.create_session("eda")
    await agent.generate("My name is Sarah.", "eda")
    shutil.rmtree(tmp_path / "store")
    with suppress(StoreError):
        await agent.stop()
    await until(lambda: len(store_threads()) == len(before) - 2)
    await agent.start()
    await agent.create_session("eda")
    reply = await agent.generate("My name is Sarah.", "eda")
    assert reply.content == "Nice to meet you, Sarah."


async def test_a_stop_that_is_cancelled_still_ends_all(server, tmp_path):
    server.script(silent("The beginning"))
    before = store_threads()
    agent = AsyncDextoAgent(at(server), store=tmp_path)
    await agent.start()
    await agent.create_session("eda")
    asking = asyncio.create_task(agent.generate("one", "eda"))
    await asyncio.to_thread(server.wait_for_request)
    stopping = asyncio.create_task(agent.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await stopping
    assert (await asking).message.reason == "interrupted"
    await until(lambda: store_threads() == before)


@pytest.mark.parametrize(
    "options",
    [
        {"nonsense": 1},
        {"wait": "5"},
        {"wait": None},
        {"wait": -1},
        {"wait": float("nan")},
        {"origin": "x"},
        {"system": 5},
        {"note": b"x"},
        {"model": 5},
        {"stream": "no"},
    ],
    ids=str,
)
async def test_an_option_that_makes_no_sense_is_named_and_stores_nothing(agent, server, options):
    await agent.create_session("eda")
    (name,) = options
    with pytest.raises(SettingsError, match=name) as caught:
        await agent.generate("one", "eda", **options)
    assert caught.value.option == name
    assert await history(agent, "eda") == []
    assert server.chats == []


@pytest.mark.parametrize(("provider", "key"), [("nosuch", KEY), ("openai", 5), ("openai", " ")])
async def test_a_key_that_is_for_nobody_or_is_none_is_refused_unseen(agent, provider, key):
    with pytest.raises(SettingsError, match="A key is a text") as caught:
        await agent.set_key(provider, key)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("limit", [-1, 1.5, "5"])
async def test_a_limit_that_is_no_number_is_refused(agent, limit):
    await agent.create_session("eda")
    for call in (agent.list_sessions(limit=limit), agent.get_session_history("eda", limit=limit)):
        with pytest.raises(SettingsError, match="limit"):
            await call


async def test_a_system_prompt_is_a_text(agent, tmp_path):
    with pytest.raises(SettingsError, match="system"):
        await agent.create_session("eda", system=5)
    assert await agent.get_session("eda") is None
    for kind in KINDS.values():
        with pytest.raises(SettingsError, match="system"):
            kind("practice", store=tmp_path, system=5)
        with pytest.raises(SettingsError, match="store is empty"):
            kind("practice", store="")


async def test_a_variable_that_nothing_stands_in_for_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("DEXTO_HOME", "not/absolute")
    monkeypatch.setenv("DEXTO_MODEL", "nonsense:")
    async with AsyncDextoAgent("practice", store=tmp_path) as agent:
        await agent.create_session("eda")


async def test_two_agents_can_share_a_store_that_is_given_to_them(anyio_backend):
    store = MemoryStore()
    async with AsyncDextoAgent("practice", store=store) as one:
        async with AsyncDextoAgent("practice", store=store) as two:
            await one.create_session("eda")
            await one.generate("My name is Sarah.", "eda")
        assert (await one.generate("What is my name?", "eda")).content == "Your name is Sarah."
        assert two.location == "memory"


async def test_the_blocking_agent_works_where_a_loop_is_running(tmp_path, anyio_backend):
    """As in a notebook's cell."""
    with DextoAgent("practice", store=tmp_path) as agent:
        agent.create_session("eda")
        assert agent.generate("My name is Sarah.", "eda").content == "Nice to meet you, Sarah."


def test_both_agents_have_the_same_methods_with_the_same_parameters():
    def public(kind):
        return {
            name: [
                (p.name, p.kind, p.default)
                for p in inspect.signature(member).parameters.values()
                if p.name != "self"
            ]
            for name, member in inspect.getmembers(kind, callable)
            if not name.startswith("_")
        }

    assert public(DextoAgent) == public(AsyncDextoAgent)


def test_every_public_method_is_documented_alike():
    for name, member in inspect.getmembers(AsyncDextoAgent, callable):
        if not name.startswith("_"):
            assert inspect.getdoc(member)
            assert inspect.getdoc(getattr(DextoAgent, name))


def test_an_error_of_ours_is_one_that_callers_can_name():
    assert issubclass(ModelError, DextoError)


# -- what a removal that was cut short left --------------------------------------------------------


def side_files(home):
    """What is in the files beside the store."""
    return b"".join(path.read_bytes() for path in (home / "derived").iterdir())


async def test_a_start_rids_the_index_of_what_a_killed_process_left_in_it(tmp_path, anyio_backend):
    async with AsyncDextoAgent("practice", store=tmp_path) as agent:
        await agent.create_session("thesis")
        await agent.generate("Repeat after me: qzsecret", "thesis")
        assert await agent.search("qzsecret")
    store = DiskStore(tmp_path)
    await store.open()
    await store.delete("thesis")  # and then the process is killed
    await store.close()
    assert b"qzsecret" in side_files(tmp_path)

    async with AsyncDextoAgent("practice", store=tmp_path):
        await until(lambda: b"qzsecret" not in side_files(tmp_path))


async def test_a_start_begins_nothing_where_there_is_no_index(tmp_path, anyio_backend):
    before = asyncio.all_tasks()
    async with AsyncDextoAgent("practice", store=tmp_path):
        assert asyncio.all_tasks() == before
    assert list((tmp_path / "derived").iterdir()) == []


async def test_a_stop_right_after_a_start_leaves_nothing_running(tmp_path, anyio_backend):
    async with AsyncDextoAgent("practice", store=tmp_path) as agent:
        await agent.create_session("thesis")
        await agent.search("thesis")
    before = asyncio.all_tasks()
    async with AsyncDextoAgent("practice", store=tmp_path):
        assert len(asyncio.all_tasks()) == len(before) + 1
    assert asyncio.all_tasks() == before
    async with AsyncDextoAgent("practice", store=tmp_path) as agent:
        assert len(await agent.search("thesis")) == 1


@pytest.mark.parametrize("content", [b"no database", b""])
async def test_an_index_that_cannot_be_used_keeps_no_agent_from_starting(
    tmp_path, anyio_backend, content
):
    async with AsyncDextoAgent("practice", store=tmp_path) as agent:
        await agent.create_session("thesis")
    (tmp_path / "derived" / "search.db").write_bytes(content)
    async with AsyncDextoAgent("practice", store=tmp_path) as agent:
        await asyncio.sleep(0.1)
        assert await agent.get_session("thesis")
