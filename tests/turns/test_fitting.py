"""What becomes of a conversation that no longer fits, over real HTTP and through both agents."""

import asyncio
import itertools

import pytest

from dexto_magic import (
    AsyncDextoAgent,
    ContextOverflowError,
    Usage,
)
from tests.support.agents import KINDS, Either, at, history
from tests.support.openai_answers import (
    hang_up,
    held,
    practice,
    silent,
    status,
    text,
    windowed,
    words_in,
)

pytestmark = pytest.mark.anyio

LONG = " ".join(f"word{n}" for n in range(40))
"""A message of forty words, which is what the server counts for tokens."""

BUDGET = 240
"""Tokens into which four turns of ``talk`` do not fit, and two with a summary do."""

ALL_SUMMARISED = "and a summary of the rest"


async def talk(agent, count, *, session="eda", first="My name is Sarah."):
    """Turns that are answered with what they ask to be repeated, forty words each way."""
    await agent.get_or_create_session(session)
    await agent.generate(first, session)
    for _ in range(count - 1):
        await agent.generate(f"Repeat after me: {LONG}", session)


def is_summary(request):
    return request.body["messages"][0]["content"].startswith("Summarise the conversation below")


def asides(server):
    """The requests for a summary."""
    return [chat for chat in server.chats if is_summary(chat)]


def turns(server):
    """The requests that are turns."""
    return [chat for chat in server.chats if not is_summary(chat)]


def roles(chat):
    return [message["role"] for message in chat.body["messages"]]


async def summaries(agent, session="eda"):
    whole = await agent.get_transcript(session, everything=True)
    return [aside for aside in whole.asides if aside.kind == "summary"]


@pytest.fixture(params=KINDS)
async def with_window(request, server, tmp_path, anyio_backend):
    """Starts an agent whose model is said to take so many tokens."""
    agents = []

    async def started(window, **options):
        llm = at(server, context_window=window, options=options)
        agents.append(Either(KINDS[request.param](llm, store=tmp_path / "store")))
        await agents[-1].start()
        return agents[-1]

    yield started
    for agent in agents:
        await agent.stop()


# -- a window that is known --------------------------------------------------------------------------


async def test_all_is_sent_until_it_does_not_fit(agent, server):
    await talk(agent, 12)
    assert asides(server) == []
    assert [len(chat.body["messages"]) for chat in server.chats] == list(range(1, 25, 2))


async def test_before_it_does_not_fit_older_turns_are_summarised_and_two_stay(agent, server):
    await talk(agent, 4)
    await agent.update_session("eda", context_budget=BUDGET)
    told, reply = await agent.told("What is my name?", "eda")
    assert reply.content == "Your name is Sarah."
    (asked,) = asides(server)
    assert roles(asked) == ["system", *["user", "assistant"] * 2, "user"]
    sent = turns(server)[-1].body["messages"]
    assert [m["role"] for m in sent] == ["system", *["user", "assistant"] * 2, "user"]
    assert "up to turn 2" in sent[0]["content"]
    assert "My name is Sarah." in sent[0]["content"]
    assert [m["content"] for m in sent[1:3]] == [f"Repeat after me: {LONG}", LONG]
    (summary,) = await summaries(agent)
    assert (summary.turn, reply.message.sent_from) == (2, 3)
    cost = f"{summary.usage.input_tokens} tokens in / {summary.usage.output_tokens} out"
    assert told == [
        "summarising turns 1 to 2 …",
        f"summarised turns 1 to 2, for {cost}",
        "sending the last 2 of 4 turns and a summary of the rest",
    ]


async def test_a_summarys_cost_is_counted_in_the_session(agent, server):
    await talk(agent, 4)
    await agent.update_session("eda", context_budget=BUDGET)
    before = (await agent.get_session("eda")).usage
    reply = await agent.generate("What is my name?", "eda")
    (summary,) = await summaries(agent)
    assert summary.usage.input_tokens == words_in(asides(server)[0])
    assert (await agent.get_session("eda")).usage == before + summary.usage + reply.usage


async def test_originals_stay_in_view_and_in_the_store(agent):
    await talk(agent, 4)
    before = await history(agent, "eda")
    await agent.update_session("eda", context_budget=BUDGET)
    await agent.generate("What is my name?", "eda")
    assert (await history(agent, "eda"))[:8] == before


async def test_a_fact_from_turn_1_is_still_answered_after_three_compactions(agent, server):
    await talk(agent, 1)
    await agent.update_session("eda", context_budget=BUDGET)
    while len(asides(server)) < 3:
        await agent.generate(f"Repeat after me: {LONG}", "eda")
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."
    made = await summaries(agent)
    for (before, _), (_, asked) in itertools.pairwise(zip(made, asides(server), strict=True)):
        assert before.content in asked.body["messages"][1]["content"], "it carries the one before"
    assert all("My name is Sarah." in one.content for one in made)


async def test_where_not_even_two_turns_fit_the_summary_is_of_what_is_left_out_too(agent, server):
    await talk(agent, 2)
    await agent.generate(f"My dog is Rex.\nRepeat after me: {LONG}", "eda")
    await agent.generate(f"Repeat after me: {LONG}", "eda")
    await agent.update_session("eda", context_budget=160)
    told, reply = await agent.told("What is my dog and my name?", "eda")
    assert reply.content == "Your dog is Rex. Your name is Sarah."
    assert told[-1] == "sending the last 1 of 4 turns and a summary of the rest"
    await agent.update_session("eda", context_budget=110)
    told, reply = await agent.told("What is my dog and my name?", "eda")
    assert reply.content == "Your dog is Rex. Your name is Sarah."
    assert told[-1] == "sending the last 1 of 5 turns and a summary of the rest"


async def test_no_turn_is_summarised_twice(agent, server):
    await talk(agent, 1)
    await agent.update_session("eda", context_budget=BUDGET)
    for _ in range(8):
        await agent.generate(f"Repeat after me: {LONG}", "eda")
    questions = [
        [m["content"] for m in asked.body["messages"][1:-1] if m["role"] == "user"]
        for asked in asides(server)
    ]
    assert sum(map(len, questions)) == (await summaries(agent))[-1].turn


@pytest.mark.parametrize(("options", "room"), [({}, 350), ({"max_tokens": 200}, 200)])
async def test_of_a_known_window_room_is_left_for_the_reply(with_window, server, options, room):
    agent = await with_window(400, **options)
    await talk(agent, 1)
    while not asides(server):
        await agent.generate(f"Repeat after me: {LONG}", "eda")
    assert all(words_in(chat) <= room for chat in turns(server))
    last = turns(server)[-2]
    assert words_in(last) + 2 * 43 > room, "and nothing is cut before it must"


async def test_a_budget_is_kept_however_large_the_window_is(with_window, server):
    agent = await with_window(100_000)
    await agent.create_session("eda")
    await agent.update_session("eda", context_budget=250)
    await talk(agent, 9)
    assert all(words_in(chat) <= 250 for chat in server.chats)
    assert len(asides(server)) > 1


# -- trim and error ----------------------------------------------------------------------------------


async def test_trim_leaves_the_oldest_turns_out_and_asks_nobody(agent, server):
    await talk(agent, 4)
    await agent.update_session("eda", overflow="trim", context_budget=BUDGET)
    told, reply = await agent.told("What is my name?", "eda")
    assert told == ["sending the last 2 of 4 turns"]
    assert reply.content == "I don't have that information."
    assert (reply.message.sent_from, asides(server)) == (3, [])
    await agent.update_session("eda", context_budget=0)
    told, reply = await agent.told("What is my name?", "eda")
    assert (told, reply.message.sent_from) == ([], None)
    assert reply.content == "Your name is Sarah."


async def test_error_sends_nothing_and_says_what_there_is_to_do(agent, server):
    await talk(agent, 4)
    await agent.update_session("eda", overflow="error", context_budget=BUDGET)
    with pytest.raises(ContextOverflowError) as caught:
        await agent.generate("What is my name?", "eda")
    assert len(server.chats) == 4
    for words in (
        "in 'eda' is too long: about 2",
        "and 240 fit. Nothing was sent.",
        "%dexto compact",
        "%dexto set overflow=trim",
        "%dexto fork",
    ):
        assert words in str(caught.value)
    assert (await history(agent, "eda"))[-1].endswith("[failed: ContextOverflowError]")
    await agent.update_session("eda", context_budget=1000)
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."


async def test_error_of_a_message_that_is_too_long_by_itself_speaks_of_no_older_turns(agent):
    await agent.create_session("eda")
    await agent.update_session("eda", overflow="error", context_budget=20)
    with pytest.raises(ContextOverflowError) as caught:
        await agent.generate(LONG, "eda")
    assert "The message to 'eda' is too long" in str(caught.value)
    assert "%dexto" not in str(caught.value)


async def test_a_first_message_that_is_larger_than_the_budget_is_sent_all_the_same(agent, server):
    """An estimate is no reason to refuse it: the provider has the last word."""
    await agent.create_session("eda")
    await agent.update_session("eda", context_budget=20)
    told, reply = await agent.told(f"Repeat after me: {LONG}", "eda")
    assert (told, reply.content) == ([], LONG)


# -- a window that nobody knows ------------------------------------------------------------------------

WORDINGS = [
    "This model's maximum context length is {words} tokens. However, your messages have {asked}.",
    "Your input exceeds the context window of this model.",
    "prompt is too long: {asked} tokens > {words} maximum",
    "input length and `max_tokens` exceed context limit: {asked} + 16 > {words}",
    "The input token count ({asked}) exceeds the maximum number of tokens allowed ({words}).",
    "This model's maximum prompt length is {words} but the request contains {asked} tokens.",
    "Please reduce the length of the messages or completion.",
    "the request exceeds the available context size, try increasing it",
    "The number of tokens to keep from the initial prompt is greater than the context length.",
    "The decoder prompt (length {asked}) is longer than the maximum model length of {words}.",
    "The input ({asked} tokens) is longer than the model's context length ({words} tokens).",
    "Prompt contains {asked} tokens, too large for model with {words} maximum context length",
    "Input length {asked} exceeds the maximum allowed input length of {words} tokens.",
    "too many tokens in the prompt",
]


@pytest.mark.parametrize("wording", WORDINGS)
async def test_whatever_words_a_provider_refuses_with_the_conversation_goes_on(
    server, tmp_path, wording, anyio_backend
):
    server.otherwise = windowed(400, wording)
    async with AsyncDextoAgent(at(server), store=tmp_path) as inner:
        agent = Either(inner)
        await talk(agent, 14)
        reply = await agent.generate("What is my name?", "eda")
    assert reply.content == "Your name is Sarah."
    refused = [chat for chat in server.chats if words_in(chat) > 400]
    assert len(asides(server)) >= 2
    assert 1 <= len(refused) <= (1 if "{words}" in wording else 3)


async def test_what_a_provider_refused_once_is_not_sent_again(agent, server):
    server.otherwise = windowed(300)
    await agent.create_session("eda")
    await agent.update_session("eda", overflow="trim")
    await talk(agent, 16)
    refused = [words_in(chat) for chat in server.chats if words_in(chat) > 300]
    assert len(refused) <= 3
    assert refused == sorted(refused, reverse=True)
    fitting = [words_in(chat) for chat in server.chats[-8:] if words_in(chat) <= 300]
    assert min(fitting) > 150, "and no more is left out than has to be"


async def test_nothing_is_cut_that_is_smaller_than_what_was_refused(agent, server):
    server.otherwise = windowed(400)
    await talk(agent, 8)
    assert max(map(words_in, server.chats)) > 400
    await talk(agent, 5, session="other")
    assert 300 < words_in(server.chats[-1]) <= 400
    assert (await agent.get_session_history("other"))[-1].sent_from is None


async def test_error_is_what_the_provider_says_where_nobody_knows_the_window(agent, server):
    server.otherwise = windowed(300, "maximum context length is {words} tokens")
    await agent.create_session("eda")
    await agent.update_session("eda", overflow="error")
    await talk(agent, 4)
    with pytest.raises(
        ContextOverflowError, match="maximum context length is 300 tokens"
    ) as caught:
        await agent.generate(f"{LONG} {LONG}", "eda")
    assert caught.value.window == 300
    assert asides(server) == []


async def test_a_message_that_is_too_long_by_itself_is_an_error_that_says_so(agent, server):
    server.otherwise = windowed(150, "maximum context length is {words} tokens")
    await agent.create_session("eda")
    with pytest.raises(ContextOverflowError) as caught:
        await agent.generate(" ".join([LONG] * 4), "eda")
    assert len(server.chats) == 1
    for words in (
        "too long for openai (gpt-4o-mini), which takes 150 tokens, even alone",
        "Shorten",
    ):
        assert words in str(caught.value)
    await talk(agent, 2)
    count = len(server.chats)
    with pytest.raises(ContextOverflowError, match="even alone"):
        await agent.generate(" ".join([LONG] * 4), "eda")
    assert len(server.chats) - count <= 5
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."


async def test_a_server_that_counts_nothing_is_believed_when_it_refuses(server, tmp_path):
    server.otherwise = windowed(400, usage=False)
    async with AsyncDextoAgent(at(server), store=tmp_path) as inner:
        agent = Either(inner)
        await talk(agent, 14)
        assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."
        assert (await agent.get_session("eda")).usage == Usage()
    refused = [chat for chat in server.chats if words_in(chat) > 400]
    assert 1 <= len(refused) <= 3


async def test_a_window_that_is_said_too_large_is_not_asked_turn_by_turn(server, tmp_path):
    """As where a token is less than the four bytes that are taken for one."""
    server.otherwise = windowed(400, "maximum context length is 100000 tokens")
    async with AsyncDextoAgent(at(server), store=tmp_path) as inner:
        agent = Either(inner)
        await agent.create_session("eda")
        await agent.update_session("eda", overflow="trim")
        await talk(agent, 5)
        server.requests.clear()
        await agent.generate(f"Repeat after me: {LONG} {LONG} {LONG} {LONG} {LONG}", "eda")
        refused = [chat for chat in server.chats if words_in(chat) > 400]
    assert 1 <= len(refused) <= 3


async def test_another_session_of_the_same_model_knows_what_was_refused(agent, server):
    server.otherwise = windowed(300, "maximum context length is {words} tokens")
    await talk(agent, 5)
    server.requests.clear()
    await talk(agent, 8, session="other")
    assert all(words_in(chat) <= 300 for chat in server.chats)


# -- a summariser that fails ---------------------------------------------------------------------------


async def overfull(agent, count=4):
    await talk(agent, count)
    await agent.update_session("eda", context_budget=BUDGET)


FAILURES = {
    "refuses": (status(400, "No."), "refused the request"),
    "is not there": (hang_up(), ""),
    "says nothing": (text(""), "wrote nothing when it was asked for a summary"),
    "says white space": (text("\n \n"), "wrote nothing"),
    "is cut short": (text("Facts", finish_reason="length"), "cut its summary short (length)"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_if_the_summariser_fails_the_oldest_turns_are_left_out_and_it_is_said(
    agent, server, failure
):
    answer, why = FAILURES[failure]
    await overfull(agent)
    server.script(*[answer] * (3 if failure == "is not there" else 1))
    told, reply = await agent.told("What is my name?", "eda")
    assert reply.content == "I don't have that information."
    (said,) = [line for line in told if line.startswith("the older turns are left out")]
    assert why in said
    assert told[-1] == "sending the last 2 of 4 turns"
    assert await summaries(agent) == []
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah.", (
        "the next turn tries again"
    )


async def test_a_summariser_that_fails_is_asked_once_a_turn(agent, server):
    server.otherwise = windowed(300)
    await talk(agent, 4)
    server.script(
        status(400, "too many tokens"), status(400, "No."), status(400, "too many tokens")
    )
    told, _ = await agent.told("What is my name?", "eda")
    assert len(asides(server)) == 1
    assert told[-1].startswith("sending ")


async def test_what_was_summarised_before_a_failure_is_not_paid_for_again(agent, server):
    """A summary in several parts, the second of which fails."""
    await talk(agent, 9)
    await agent.update_session("eda", context_budget=BUDGET)
    server.script(practice, status(400, "No."))
    told, _ = await agent.told("Hello.", "eda")
    (first,) = await summaries(agent)
    assert told[-1].endswith(f"and a summary of those up to turn {first.turn}")
    count = len(asides(server))
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."
    again = asides(server)[count:]
    assert (
        f"up to turn {first.turn} of this conversation" in again[0].body["messages"][1]["content"]
    )
    asked = sum(m["content"].startswith("Repeat") for a in again for m in a.body["messages"])
    assert asked == (await summaries(agent))[-1].turn - first.turn


async def test_a_turn_that_is_too_long_to_be_summarised_is_read_without_its_middle_and_it_is_said(
    agent, server
):
    await agent.create_session("eda")
    await agent.generate("My name is Sarah.", "eda")
    server.script(text("Read.", usage=None))
    await agent.generate(f"My dog is Rex.\n{' '.join([LONG] * 16)}\nMy cat is Tom.", "eda")
    for _ in range(2):
        server.script(text(LONG, usage=None))
        await agent.generate("Go on.", "eda")
    await agent.update_session("eda", context_budget=400)
    told, reply = await agent.told("What is my dog and my cat?", "eda")
    assert "summarised turn 2, too long to be read whole, without its middle, with" in str(told)
    assert reply.content == "Your dog is Rex. Your cat is Tom."
    assert all(words_in(chat) <= 400 for chat in asides(server))


async def test_a_summariser_with_a_smaller_window_than_anybody_knows_gets_less_and_less(
    agent, server
):
    await agent.create_session("eda")
    server.script(text("Read.", usage=None))
    await agent.generate(f"My dog is Rex.\n{' '.join([LONG] * 16)}\nMy cat is Tom.", "eda")
    for _ in range(2):
        server.script(text(LONG, usage=None))
        await agent.generate("Go on.", "eda")
    server.otherwise = windowed(300)
    told, reply = await agent.told("What is my dog and my cat?", "eda")
    assert reply.content == "Your dog is Rex. Your cat is Tom."
    assert len([chat for chat in asides(server) if words_in(chat) > 300]) <= 3
    assert told[-1].endswith(ALL_SUMMARISED)


async def test_a_summariser_that_finds_everything_too_long_is_not_asked_for_ever(agent, server):
    await overfull(agent)

    async def refusing_summaries(exchange):
        if is_summary(exchange.request):
            await status(400, "too many tokens")(exchange)
        else:
            await practice(exchange)

    server.otherwise = refusing_summaries
    told, _ = await agent.told("What is my name?", "eda")
    assert "not all older turns could be summarised: the rest is left out" in told
    assert len(asides(server)) <= 5
    count = len(asides(server))
    with pytest.raises(ContextOverflowError, match="no part of turn 1 fits into a request"):
        await agent.compact("eda")
    assert len(asides(server)) - count <= 5


async def test_a_summary_that_is_itself_too_long_is_left_out_and_the_next_made_of_its_ends(
    agent, server
):
    await overfull(agent)
    server.script(text(" ".join([LONG] * 10)))
    told, _ = await agent.told("Hello.", "eda")
    assert told[-1].startswith("sending the new message without the ")
    told, reply = await agent.told("Repeat after me: still here", "eda")
    assert reply.content == "still here"
    assert ", with the summary before without its middle" in str(told)
    assert told[-1] == "sending the new message with a summary of the 5 turns before it"
    assert all(words_in(chat) <= BUDGET + 10 for chat in asides(server)[1:])


@pytest.mark.parametrize("budget", [None, BUDGET])
async def test_a_summary_that_is_too_long_does_not_keep_from_compacting(agent, server, budget):
    await talk(agent, 4)
    server.script(text(" ".join(["My name is Sarah.", *[LONG] * 10])))
    await agent.compact("eda")
    await talk(agent, 3)
    if budget:
        await agent.update_session("eda", context_budget=budget)
    else:
        server.otherwise = windowed(300)
    report = await agent.compact("eda")
    assert report.summarised == 5
    assert "My name is Sarah." in report.summary
    assert len(asides(server)) <= 8


# -- summaries that no longer stand -------------------------------------------------------------------


async def sent_after(agent, server, prompt="What is my name?"):
    await agent.generate(prompt, "eda")
    return turns(server)[-1].body["messages"]


async def test_a_summary_of_what_was_undone_is_not_sent_and_stands_again_after_redo(agent, server):
    await overfull(agent)
    await agent.generate("Hello.", "eda")
    await agent.update_session("eda", context_budget=0)
    assert (await summaries(agent))[0].turn == 2
    for _ in range(4):
        await agent.undo("eda")
    assert not (await agent.context("eda")).summary
    for _ in range(4):
        await agent.redo("eda")
    assert "My name is Sarah." in (await agent.context("eda")).summary
    for _ in range(4):
        await agent.undo("eda")
    sent = await sent_after(agent, server, "My name is Bob.")
    assert [m["content"] for m in sent] == [
        "My name is Sarah.",
        "Nice to meet you, Sarah.",
        "My name is Bob.",
    ]
    assert not (await agent.context("eda")).summary, "turn 2 is another one now"


@pytest.mark.parametrize("how", ["retry", "forget"])
async def test_a_summary_of_a_turn_that_was_replaced_or_forgotten_is_not_sent(agent, server, how):
    await overfull(agent)
    await agent.generate("Hello.", "eda")
    await agent.update_session("eda", context_budget=0)
    if how == "retry":
        await agent.retry("eda", "My name is Bob.", turn=1)
    else:
        await agent.forget_turn("eda", 1)
    sent = await sent_after(agent, server)
    assert "in a summary" not in str(sent)
    assert "Sarah" not in str(sent)
    if how == "retry":
        await agent.undo("eda")
        await agent.undo("eda")
        assert "in a summary" in str(await sent_after(agent, server))


async def test_a_retry_of_an_early_turn_has_no_summary_of_what_came_after_it(agent, server):
    await overfull(agent, 6)
    await agent.generate("Hello.", "eda")
    assert (await summaries(agent))[-1].turn == 4
    await agent.retry("eda", "My name is Bob.", turn=2)
    assert [m["content"] for m in turns(server)[-1].body["messages"]] == [
        "My name is Sarah.",
        "Nice to meet you, Sarah.",
        "My name is Bob.",
    ]


async def test_a_fork_takes_the_summary_of_what_it_takes_over(agent, server):
    await overfull(agent)
    await agent.generate("Hello.", "eda")
    await agent.update_session("eda", context_budget=0)
    await agent.fork_session("eda", "late")
    await agent.fork_session("eda", "early", turn=1)
    assert "My name is Sarah." in (await agent.context("late")).summary
    assert not (await agent.context("early")).summary
    await agent.generate("What is my name?", "late")
    assert len(asides(server)) == 1, "it was paid for where it comes from"


# -- what is said of it --------------------------------------------------------------------------------


async def test_what_is_left_out_is_said_once_a_turn_and_only_of_what_was_taken(agent, server):
    server.otherwise = windowed(300)
    await agent.create_session("eda")
    await agent.update_session("eda", overflow="trim")
    await talk(agent, 4)
    told, reply = await agent.told(f"Repeat after me: {LONG}", "eda")
    assert [line for line in told if line.startswith("sending")] == [told[-1]]
    first = reply.message.sent_from
    assert told[-1] == f"sending the last {5 - first} of 4 turns"
    sent = turns(server)[-1].body["messages"]
    assert len(sent) == 2 * (5 - first) + 1


LARGE = "each turn of this session now sends more than 32,000 tokens"


async def test_past_32_000_tokens_a_turn_it_is_said_once_a_session(agent, server):
    await agent.create_session("eda")
    said = []
    for asked in (31_000, 32_001, 33_000):
        server.script(text("Hi.", usage=(asked, 5)))
        told, _ = await agent.told("Hello.", "eda")
        said.append([line for line in told if LARGE in line])
    assert [len(lines) for lines in said] == [0, 1, 0]
    assert "`%dexto compact`" in said[1][0]
    assert "`%dexto set context_budget=N`" in said[1][0]


CUT = "it seems to cut long conversations off without a word"


async def test_a_server_that_counts_far_less_than_was_sent_is_said_to_cut_once_a_session(
    agent, server
):
    await agent.create_session("eda")
    prompt = " ".join([LONG] * 100)
    said = []
    for asked in (None, 2048, 2048):
        server.script(text("Hi.", usage=None if asked is None else (asked, 5)))
        told, _ = await agent.told(prompt, "eda")
        said.append([line for line in told if CUT in line])
    assert [len(lines) for lines in said] == [0, 1, 0]
    assert said[1][0].startswith("openai counted 2,048 tokens of about ")
    assert "num_ctx" in said[1][0]
    await agent.create_session("other")
    server.script(text("Hi.", usage=(2048, 5)))
    assert CUT in str((await agent.told(prompt, "other"))[0])


async def test_a_budget_helps_where_a_server_cuts_without_a_word(agent, server):
    """Its own counts say that everything fits."""
    await agent.create_session("eda")
    await agent.update_session("eda", overflow="trim", context_budget=2000)
    for _ in range(6):
        server.script(text("Hi.", usage=(1500, 5)))
        await agent.generate(" ".join([LONG] * 40), "eda")
    sent = sum(len(message["content"]) for message in server.chats[-1].body["messages"])
    assert sent < 2 * len(" ".join([LONG] * 40))


# -- ended amid a summary ------------------------------------------------------------------------------


async def test_a_turn_that_is_interrupted_while_older_ones_are_summarised_ends_and_keeps_nothing(
    agent, server
):
    await overfull(agent)
    server.script(silent())
    asking = asyncio.create_task(agent.generate("What is my name?", "eda"))
    await asyncio.to_thread(server.wait_for_request, 5)
    assert await agent.cancel("eda") is True
    assert (await asking).status == "failed"
    await asyncio.to_thread(server.wait_for_disconnect)
    assert await summaries(agent) == []
    assert (await history(agent, "eda"))[-1] == "assistant:  [failed: interrupted]"
    assert (await agent.generate("What is my name?", "eda")).content == "Your name is Sarah."


async def test_a_session_that_is_renamed_while_its_turns_are_summarised_keeps_the_summary(
    agent, server
):
    await overfull(agent)
    server.script(held(practice))
    asking = asyncio.create_task(agent.generate("What is my name?", "eda"))
    await asyncio.to_thread(server.wait_for_request, 5)
    await agent.rename_session("eda", "thesis")
    server.release()
    reply = await asking
    assert (reply.session_id, reply.content) == ("thesis", "Your name is Sarah.")
    assert len(await summaries(agent, "thesis")) == 1
