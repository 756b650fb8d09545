"""What the agent tells of a request before it is sent, and what it has a model write aside."""

import asyncio
import json
from contextlib import suppress

import pytest

from dexto_magic import (
    AsyncDextoAgent,
    DextoAgent,
    DextoError,
    MemoryStore,
    ModelError,
    ModelRequestError,
    SessionBusyError,
    SessionError,
    SessionNotFoundError,
    SettingsError,
)
from tests.support.agents import at, history
from tests.support.openai_answers import cut, held, practice, silent, status, text, windowed

pytestmark = pytest.mark.anyio

LONG = " ".join(f"word{n}" for n in range(40))


async def talk(agent, *prompts, session="eda"):
    await agent.get_or_create_session(session)
    for prompt in prompts:
        await agent.generate(prompt, session)


TURNS = ("My name is Sarah.", "My dog is Rex.", "Hello.", "Repeat after me: bye")


async def asides(agent, kind="summary", session="eda"):
    whole = await agent.get_transcript(session, everything=True)
    return [aside for aside in whole.asides if aside.kind == kind]


# -- what would be sent ------------------------------------------------------------------------------


async def assert_true(agent, server, prompt, session="eda", **options):
    """What is shown is what then goes out."""
    preview = await agent.preview(prompt, session, **options)
    count = len(server.chats)
    with suppress(ModelError):
        await agent.generate(prompt, session, **options)
    sent = server.chats[-1].body
    assert len(server.chats) == count + 1
    assert preview.body == sent
    shown = [vars(message) for message in preview.composition.messages]
    assert json.dumps(preview.body["messages"]) == json.dumps(sent["messages"])
    if "\ud800" not in prompt:
        assert shown == sent["messages"]
    return preview


async def test_a_preview_is_what_is_then_sent(agent, server):
    await agent.create_session("eda")
    for prompt in ("My name is Sarah.", "{x} $\\alpha$ 🎉 \t'\"\n</script>", "half \ud800 a pair"):
        preview = await assert_true(agent, server, prompt)
    assert (preview.session_id, preview.model, preview.lines) == ("eda", "openai:gpt-4o-mini", ())
    assert preview.composition.measured


OPTIONS = {
    "a note": {"note": "The kernel was restarted."},
    "a system prompt": {"system": "Be brief."},
    "a model": {"model": "gpt-4.1"},
    "options": {"options": {"temperature": 0.5, "seed": 7, "stop": ["\n"]}},
    "no stream": {"stream": False},
}


@pytest.mark.parametrize("options", OPTIONS)
async def test_a_preview_of_a_turn_with_options_is_what_is_then_sent(agent, server, options):
    await talk(agent, "My name is Sarah.")
    await agent.update_session("eda", system="The session's own.", model="openai:gpt-4o")
    await assert_true(agent, server, "What is my name?", **OPTIONS[options])


@pytest.mark.parametrize("provider", ["openai", "ollama", "mistral", "google", "anthropic"])
async def test_a_preview_knows_how_each_provider_is_asked(
    server, tmp_path, provider, anyio_backend
):
    llm = at(server, provider=provider, model="some-model", options={"temperature": 0})
    async with AsyncDextoAgent(llm, store=tmp_path) as agent:
        await agent.create_session("eda")
        await assert_true(agent, server, "Hello.")


async def test_a_preview_has_what_broke_off_and_not_what_failed(agent, server):
    await talk(agent, "one")
    for answer in (status(401, "No."), cut("The begin")):
        server.script(answer)
        with suppress(ModelError):
            await agent.generate("two", "eda")
    preview = await assert_true(agent, server, "three")
    assert [m.content for m in preview.composition.messages][-2:] == [
        "The begin\n\n[This reply was cut short: error.]",
        "three",
    ]


async def test_a_preview_has_the_summary_that_stands(agent, server):
    await talk(agent, *TURNS)
    await agent.compact("eda")
    preview = await assert_true(agent, server, "What is my name?")
    assert preview.lines == ("sending the last 2 of 4 turns and a summary of the rest",)
    assert "My name is Sarah." in preview.composition.messages[0].content


async def test_a_preview_of_what_is_trimmed_is_what_is_then_sent(agent, server):
    await talk(agent, *[f"Repeat after me: {LONG}"] * 4)
    await agent.update_session("eda", overflow="trim", context_budget=220)
    preview = await assert_true(agent, server, "Hello.")
    assert preview.lines == ("sending the last 2 of 4 turns",)


async def test_a_preview_says_what_would_be_summarised_or_refused_and_does_neither(agent, server):
    await talk(agent, *[f"Repeat after me: {LONG}"] * 4)
    await agent.update_session("eda", context_budget=220)
    (line,) = (await agent.preview("Hello.", "eda")).lines
    assert line.startswith("about 33")
    assert line.endswith(
        " tokens, and 220 fit: turns 1 to 2 would be summarised first; without that, sending the "
        "last 2 of 4 turns"
    )
    await agent.update_session("eda", overflow="error")
    preview = await agent.preview("Hello.", "eda")
    assert preview.lines[0].startswith("it would be refused: about 33")
    assert len(preview.composition.messages) == 9
    await agent.update_session("eda", overflow="", context_budget=10)
    await agent.create_session("new")
    await agent.update_session("new", context_budget=10)
    (line,) = (await agent.preview(LONG, "new")).lines
    assert line.startswith("the new message alone is about ")
    assert len(server.chats) == 4
    assert await asides(agent) == []


async def test_a_preview_stores_nothing_makes_no_session_and_needs_no_key(tmp_path, anyio_backend):
    async with AsyncDextoAgent("openai:gpt-4o-mini", store=tmp_path, system="Brief.") as agent:
        preview = await agent.preview("Hello.")
        assert preview.session_id == "a new session"
        assert [m.content for m in preview.composition.messages] == ["Brief.", "Hello."]
        assert list(await agent.list_sessions()) == []
        made = await agent.create_session("eda")
        assert (await agent.preview("Hello.", "eda")).body["messages"][-1]["content"] == "Hello."
        assert await agent.get_session("eda") == made
        assert await agent.get_session_history("eda") == []
        with pytest.raises(SessionNotFoundError):
            await agent.preview("Hello.", "nobody")
        with pytest.raises(ModelRequestError, match="empty"):
            await agent.preview(" ", "eda")
        with pytest.raises(SettingsError, match="nonsense"):
            await agent.preview("Hello.", "eda", nonsense=1)


async def test_a_preview_of_a_session_in_which_a_turn_runs_is_without_it(agent, server):
    await talk(agent, "My name is Sarah.")
    server.script(held(text("2")))
    asking = asyncio.create_task(agent.generate("two", "eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    preview = await agent.preview("three", "eda")
    assert [m.content for m in preview.composition.messages] == [
        "My name is Sarah.",
        "Nice to meet you, Sarah.",
        "three",
    ]
    server.release()
    await asking


# -- how full it is ------------------------------------------------------------------------------------


async def test_the_context_of_an_empty_session_holds_nothing(agent):
    await agent.create_session("eda")
    report = await agent.context("eda")
    assert (report.session, report.model, report.used) == ("eda", "openai:gpt-4o-mini", 0)
    assert (report.turns, report.sent, report.summary, report.lines) == (0, 0, "", ())
    assert (report.window, report.budget, report.share) == (None, None, None)


async def test_the_context_is_as_full_as_the_provider_counted_last(agent, server):
    server.script(text("Hi.", usage=(1000, 50)))
    await talk(agent, "Hello.")
    await agent.update_session("eda", context_budget=2100, overflow="trim")
    report = await agent.context("eda")
    assert (report.used, report.is_reported, report.budget) == (1050, True, 2100)
    assert (report.limit, report.share, report.overflow) == (2100, 0.5, "trim")
    assert (report.turns, report.sent) == (1, 1)


async def test_the_context_window_is_the_tables_the_configurations_or_what_was_refused(
    server, tmp_path, anyio_backend
):
    async with AsyncDextoAgent("openai:gpt-4o-mini", store=tmp_path) as agent:
        await agent.create_session("eda")
        assert (await agent.context("eda")).window == 128_000
    server.otherwise = windowed(400, "maximum context length is {words} tokens")
    async with AsyncDextoAgent(at(server, context_window=900), store=tmp_path) as agent:
        assert (await agent.context("eda")).window == 900
        await talk(agent, *[f"Repeat after me: {LONG}"] * 6)
        assert (await agent.context("eda")).window == 400, "as the provider said"
        await agent.generate(f"Repeat after me: {LONG}", "eda", options={"max_tokens": 300})
        assert (await agent.context("eda")).window == 400, "whatever was kept for one reply"
        await talk(agent, "Hello.")
        assert (await agent.preview("Hello.", "eda")).composition.turns > 1


async def test_the_context_says_what_is_not_sent(agent):
    await talk(agent, *TURNS)
    await agent.compact("eda")
    report = await agent.context("eda")
    assert (report.turns, report.sent, report.summarised) == (4, 2, 2)
    assert "My name is Sarah." in report.summary
    assert report.lines == ("sending the last 2 of 4 turns and a summary of the rest",)


# -- compact -------------------------------------------------------------------------------------------


async def test_compact_summarises_all_but_two_turns_and_says_what_it_cost(agent, server):
    await talk(agent, *TURNS)
    before = (await agent.get_session("eda")).usage
    told = []
    report = await agent.compact("eda", tell=told.append)
    (summary,) = await asides(agent)
    assert told == ["summarising turns 1 to 2 …"]
    usage = summary.usage
    assert report.lines == (
        f"summarised turns 1 to 2, for {usage.input_tokens} tokens in / {usage.output_tokens} out",
        "sending the last 2 of 4 turns and a summary of the rest",
    )
    assert (await agent.get_session("eda")).usage == before + usage
    assert (summary.provider, summary.model, summary.turn) == ("openai", "gpt-4o-mini", 2)
    await agent.generate("What is my name and my dog?", "eda")
    assert (await history(agent, "eda"))[-1] == "assistant: Your name is Sarah. Your dog is Rex."
    assert [m["content"] for m in server.chats[-1].body["messages"][1:]] == [
        "Hello.",
        (await agent.get_session_history("eda"))[5].content,
        "Repeat after me: bye",
        "bye",
        "What is my name and my dog?",
    ]


async def test_each_summary_carries_the_one_before(agent, server):
    await talk(agent, *TURNS)
    for number in range(3):
        await agent.compact("eda")
        await talk(agent, f"My number {number} is {number}.", "Hello.")
    report = await agent.compact("eda")
    assert report.lines[0].startswith("summarised turns 7 to 8, with the summary before, for ")
    for fact in ("My name is Sarah.", "My dog is Rex.", "My number 0 is 0.", "My number 1 is 1."):
        assert fact in report.summary
    made = await asides(agent)
    assert [summary.turn for summary in made] == [2, 4, 6, 8]
    assert made[-2].content in server.chats[-1].body["messages"][1]["content"]


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_where_there_is_nothing_to_summarise_nobody_is_asked_and_that_is_said(
    agent, server, turns
):
    await agent.create_session("eda")
    await talk(agent, *TURNS[:turns])
    report = await agent.compact("eda")
    assert report.lines[0].startswith("nothing to summarise: the newest 2 turns stay word for word")
    assert len(server.chats) == turns


async def test_compact_twice_is_compact_once(agent, server):
    await talk(agent, *TURNS)
    first, second = await agent.compact("eda"), await agent.compact("eda")
    assert second.lines[0].startswith("nothing to summarise")
    assert (second.summary, len(server.chats)) == (first.summary, 5)


async def test_nothing_is_summarised_while_a_turn_runs(agent, server):
    await talk(agent, *TURNS)
    server.script(held(text("5")))
    asking = asyncio.create_task(agent.generate("five", "eda"))
    await asyncio.to_thread(server.wait_for_request, 5)
    with pytest.raises(SessionBusyError, match="has been running a turn of it since"):
        await agent.compact("eda")
    server.release()
    assert (await asking).content == "5"


async def summarising(agent, server, answer):
    """A task that waits for its summary."""
    await talk(agent, *TURNS)
    server.script(answer)
    compacting = asyncio.create_task(agent.compact("eda"))
    await asyncio.to_thread(server.wait_for_request, 5)
    return compacting


async def test_turns_are_kept_out_while_older_ones_are_summarised(agent, server):
    compacting = await summarising(agent, server, held(practice))
    for call in (agent.generate("five", "eda"), agent.undo("eda"), agent.retry("eda")):
        with pytest.raises(SessionBusyError, match="has been summarising it since"):
            await call
    waiting = asyncio.create_task(agent.generate("What is my name?", "eda", wait=60))
    server.release()
    assert "My name is Sarah." in (await compacting).summary
    assert (await waiting).content == "Your name is Sarah."


async def test_a_compact_that_is_cancelled_lets_turns_in_again(server, tmp_path):
    async with AsyncDextoAgent(at(server), store=tmp_path) as agent:
        compacting = await summarising(agent, server, silent())
        compacting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await compacting
        await asyncio.to_thread(server.wait_for_disconnect)
        assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."
        assert await asides(agent) == []


@pytest.mark.parametrize("who", ["the same agent", "another agent"])
async def test_a_compact_can_be_cancelled_from_elsewhere(agent, server, tmp_path, who):
    compacting = await summarising(agent, server, silent())
    if who == "the same agent":
        assert await agent.cancel("eda") is True
    else:
        with DextoAgent("practice", store=tmp_path / "store") as other:
            assert await asyncio.to_thread(other.cancel, "eda") is True
    with pytest.raises(SessionError, match="cancelled from elsewhere; what was finished") as caught:
        await compacting
    assert not isinstance(caught.value, SessionNotFoundError)
    await asyncio.to_thread(server.wait_for_disconnect)
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("reset_conversation", SessionError), ("delete_session", SessionNotFoundError)],
)
async def test_a_session_that_goes_while_it_is_summarised_is_said_to_be_gone(
    agent, server, verb, kind
):
    compacting = await summarising(agent, server, silent())
    await getattr(agent, verb)("eda")
    with pytest.raises(kind, match=r"'eda' was (reset|deleted) meanwhile") as caught:
        await compacting
    assert type(caught.value) is kind
    await asyncio.to_thread(server.wait_for_disconnect)


async def test_a_session_that_is_renamed_while_it_is_summarised_keeps_the_summary(agent, server):
    compacting = await summarising(agent, server, held(practice))
    await agent.rename_session("eda", "thesis")
    server.release()
    report = await compacting
    assert report.session == "thesis"
    assert "My name is Sarah." in report.summary


async def test_an_agent_that_stops_ends_what_it_has_summarised(agent, server, tmp_path):
    compacting = await summarising(agent, server, silent())
    await agent.stop()
    with pytest.raises(DextoError):
        await compacting
    await asyncio.to_thread(server.wait_for_disconnect)
    async with AsyncDextoAgent(at(server), store=tmp_path / "store") as other:
        assert (await other.generate("What is my name?", "eda")).content == "Your name is Sarah."


@pytest.mark.parametrize("answer", [status(400, "No."), text(" "), cut("The begin")], ids=range(3))
async def test_a_summary_of_which_nothing_comes_is_an_error_and_is_not_kept(agent, server, answer):
    await talk(agent, *TURNS)
    server.script(answer)
    with pytest.raises(ModelError):
        await agent.compact("eda")
    assert await asides(agent) == []
    assert (await agent.compact("eda")).summarised == 2


async def test_a_long_conversation_is_summarised_in_parts_and_what_was_finished_is_kept(
    agent, server
):
    await talk(agent, "My name is Sarah.", *[f"Repeat after me: {LONG}"] * 8)
    await agent.update_session("eda", context_budget=300)
    server.script(practice, status(400, "No."))
    with pytest.raises(ModelError, match="No"):
        await agent.compact("eda")
    (first,) = await asides(agent)
    told = []
    report = await agent.compact("eda", tell=told.append)
    assert told[0].startswith(f"summarising turns {first.turn + 1} to ")
    assert (report.summarised, report.sent) == (7, 2)
    assert "My name is Sarah." in report.summary


async def test_compact_works_whatever_is_done_when_it_is_full(agent):
    await talk(agent, *TURNS)
    await agent.update_session("eda", overflow="error")
    assert (await agent.compact("eda")).summarised == 2


async def test_the_practice_models_short_window_has_room_for_a_long_conversation(tmp_path):
    """A fact from turn 1, after three compactions."""
    with DextoAgent("practice:short-window", store=tmp_path) as agent:
        agent.create_session("eda")
        agent.generate("My name is Sarah.", "eda")
        while (
            sum(a.kind == "summary" for a in agent.get_transcript("eda", everything=True).asides)
            < 3
        ):
            agent.generate(f"Repeat after me: {LONG}", "eda")
        assert agent.generate("What is my name?", "eda").content == "Your name is Sarah."


# -- titles --------------------------------------------------------------------------------------------


async def test_a_title_is_written_by_the_model_and_counted(agent, server):
    await talk(agent, "My name is Sarah.")
    before = (await agent.get_session("eda")).usage
    server.script(text('"Getting to know Sarah"\n\nI hope you like it.', usage=(30, 6)))
    session = await agent.generate_title("eda")
    assert session.title == "Getting to know Sarah"
    assert session == await agent.get_session("eda")
    (title,) = await asides(agent, "title")
    assert (session.usage, title.content) == (before + title.usage, session.title)
    asked = server.chats[-1].body["messages"]
    assert [m["role"] for m in asked] == ["system", "user", "assistant", "user"]
    await agent.reset_conversation("eda")
    assert (await agent.get_session("eda")).title is None, "it was about what is gone"


async def test_the_practice_model_writes_titles(agent):
    await talk(agent, "Plot the monthly totals of all of our shops, please.", "Hello.")
    assert (await agent.generate_title("eda")).title == "Plot the monthly totals of all"


async def test_a_title_that_is_too_long_is_cut(agent, server):
    await talk(agent, "Hello.")
    server.script(text("word " * 60))
    title = (await agent.generate_title("eda")).title
    assert len(title) <= 100
    assert title.endswith("word…")


@pytest.mark.parametrize("written", ["", " \n", '""', "**\n**"])
async def test_a_title_of_nothing_is_an_error_and_leaves_the_one_before(agent, server, written):
    await talk(agent, "Hello.")
    server.script(text(written))
    with pytest.raises(ModelError, match="wrote nothing when it was asked for a title"):
        await agent.generate_title("eda")
    assert (await agent.get_session("eda")).title == "Hello."


async def test_a_title_costs_no_more_than_how_the_conversation_begins(agent, server):
    await agent.create_session("eda")
    server.script(text("Read."))
    await agent.generate(" ".join([LONG] * 1000), "eda")
    await agent.generate_title("eda")
    sent = sum(len(message["content"]) for message in server.chats[-1].body["messages"])
    assert sent < 10_000


async def test_there_is_no_title_of_nothing(agent, server):
    await agent.create_session("eda")
    with pytest.raises(SessionError, match="'eda' has no turns yet that a title could be of"):
        await agent.generate_title("eda")
    assert server.chats == []


@pytest.mark.parametrize("how", ["reset", "undo", "delete"])
async def test_a_title_of_what_is_gone_meanwhile_is_not_kept(agent, server, how):
    await talk(agent, "My name is Sarah.")
    server.script(held(text("About Sarah")))
    titling = asyncio.create_task(agent.generate_title("eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    if how == "reset":
        await agent.reset_conversation("eda")
    elif how == "undo":
        await agent.undo("eda")
    else:
        await agent.delete_session("eda")
    server.release()
    with pytest.raises(SessionError):
        await titling
    if how != "delete":
        assert (await agent.get_session("eda")).title is None
        await agent.generate("Hello.", "eda")
        assert (await agent.get_session("eda")).title == "Hello."


async def test_a_title_is_written_while_a_turn_runs(agent, server):
    await talk(agent, "My name is Sarah.")
    server.script(held(text("2")), text("About Sarah"))
    asking = asyncio.create_task(agent.generate("two", "eda"))
    await asyncio.to_thread(server.wait_for_request, 2)
    assert (await agent.generate_title("eda")).title == "About Sarah"
    server.release()
    assert (await asking).content == "2"
    assert (await agent.get_session("eda")).title == "About Sarah"


async def test_what_is_written_aside_needs_a_key_and_a_preview_and_the_context_do_not(
    tmp_path, anyio_backend, monkeypatch
):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    store = MemoryStore()
    async with AsyncDextoAgent("practice", store=store) as agent:
        await talk(agent, *TURNS)
    async with AsyncDextoAgent("openai:gpt-4o", store=store) as agent:
        assert (await agent.context("eda")).turns == 4
        assert (await agent.preview("Hello.", "eda")).model == "openai:gpt-4o"
        for call in (agent.compact("eda"), agent.generate_title("eda")):
            with pytest.raises(ModelError, match="wants a key"):
                await call
        assert (await agent.undo("eda")).turn == 4, "nothing holds it"
