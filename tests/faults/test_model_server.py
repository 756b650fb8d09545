"""What a model's server may do wrong, over real HTTP, and what becomes of the turn.

Each time the error is ours and carries what arrived, that is what the history holds, and the next
turn of the session is as if nothing had been.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass

import pytest

from dexto_magic import AsyncDextoAgent
from dexto_magic.errors import ModelRequestError, ModelUnavailableError
from tests.support.agents import KEY, at, history
from tests.support.openai_answers import (
    Answer,
    chunk,
    cut,
    cut_in_character,
    cut_whole,
    event,
    events,
    hang_up,
    json_answer,
    raw,
    redirect,
    silent,
    text,
)
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.anyio

DONE = b"data: [DONE]\n\n"


def begun(rest):
    """A stream that begins as it should, and then has these bytes."""
    return raw(event(chunk({"content": "The beginning"})) + rest)


def reset(*pieces):
    """Streams a text, and resets the connection: what was sent last may never arrive."""

    async def answer_it(exchange):
        if pieces:
            await exchange.start(200, {"content-type": "text/event-stream"})
        for piece in pieces:
            await exchange.send(event(chunk({"content": piece})))
        if pieces:
            await exchange.until_released()
        connection = exchange._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange._writer.transport.abort()

    return answer_it


def no_http(exchange):
    return exchange.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """What a server does wrong.

    Attributes:
        answer: The answer, or all of them where it is asked again.
        says: What the error says, among other things.
        partial: What of a reply has arrived.
        error: The error.
        asked: How often it is asked.
        stream: Whether a stream is asked for.
    """

    answer: Answer
    says: str
    partial: str = ""
    error: type = ModelUnavailableError
    asked: int = 1
    stream: bool = True


NO_COMPLETION = "sent something that is not a chat completion"
BROKE_OFF = "broke off before the end of the reply"
SILENT = "did not send anything within"

WRONGS = {
    "says nothing": Wrong(answer=silent(), says=SILENT),
    "falls silent": Wrong(answer=silent("The beginning"), says=SILENT, partial="The beginning"),
    "hangs up": Wrong(answer=hang_up(), says="could not be reached", asked=3),
    "resets": Wrong(answer=reset(), says="could not be reached", asked=3),
    "speaks no HTTP": Wrong(answer=no_http, says="could not be reached", asked=3),
    "breaks off": Wrong(answer=cut("The beginning"), says=BROKE_OFF, partial="The beginning"),
    "breaks off a whole reply": Wrong(
        answer=cut_whole('{"choices": ['), says=BROKE_OFF, stream=False
    ),
    "breaks off in a character": Wrong(
        answer=cut_in_character("The beginning"), says=NO_COMPLETION, partial="The beginning"
    ),
    "ends without an end": Wrong(
        answer=events(chunk({"content": "The beginning"}), done=False),
        says=BROKE_OFF,
        partial="The beginning",
    ),
    "sends bad JSON": Wrong(
        answer=begun(b"data: {not json}\n\n" + DONE), says=NO_COMPLETION, partial="The beginning"
    ),
    "sends bad UTF-8": Wrong(
        answer=begun(b'data: {"choices": "\xff\xfe"}\n\n' + DONE),
        says=NO_COMPLETION,
        partial="The beginning",
    ),
    "sends no events": Wrong(answer=raw(b"Hello, I am a server.\n" * 99), says=NO_COMPLETION),
    "sends nothing but comments": Wrong(answer=raw(b": still here\n\n" * 99), says=NO_COMPLETION),
    "sends nothing at all": Wrong(answer=raw(b""), says=NO_COMPLETION),
    "sends a page": Wrong(
        answer=raw(b"<html>Welcome", content_type="text/html"), says=NO_COMPLETION
    ),
    "sends a page for a whole reply": Wrong(
        answer=raw(b"<html>Welcome", content_type="text/html"), says=NO_COMPLETION, stream=False
    ),
    "sends numbers": Wrong(answer=events(1, 2.5, None, True, []), says=NO_COMPLETION),
    "sends choices that are none": Wrong(
        answer=events({"choices": "many"}, {"choices": {"0": 1}}, {"choices": [None, 5]}),
        says=NO_COMPLETION,
    ),
    "sends no choice": Wrong(answer=events({"choices": []}, {"object": "x"}), says=NO_COMPLETION),
    "sends no choice of a whole reply": Wrong(
        answer=json_answer({"choices": []}), says=NO_COMPLETION, stream=False
    ),
    "sends JSON without a bottom": Wrong(
        answer=begun(b"data: " + b"[" * 100_000 + b"\n\n"),
        says=NO_COMPLETION,
        partial="The beginning",
    ),
}


@pytest.mark.parametrize("wrong", WRONGS.values(), ids=WRONGS)
async def test_a_server_that_does_it_wrong_costs_no_more_than_its_own_turn(wrong, server, home):
    server.script(*[wrong.answer] * wrong.asked)
    timeout = 0.2 if wrong.says == SILENT else 60
    async with AsyncDextoAgent(at(server, timeout=timeout), store=home) as agent:
        await agent.create_session("eda")
        with pytest.raises(wrong.error) as caught:
            await agent.generate("one", "eda", stream=wrong.stream)
        assert caught.type is wrong.error
        assert wrong.says in str(caught.value)
        assert KEY not in str(caught.value)
        assert caught.value.partial == wrong.partial
        assert len(server.chats) == wrong.asked
        how = "[stopped: error]" if wrong.partial else f"[failed: {wrong.error.__name__}]"
        assert await history(agent, "eda") == ["user: one", f"assistant: {wrong.partial} {how}"]
        reply = await agent.generate("My name is Sarah.", "eda")
        assert reply.content == "Nice to meet you, Sarah."


async def test_a_connection_that_is_reset_amid_a_reply_keeps_what_was_shown(server, home):
    server.script(reset("The beginning"))
    async with AsyncDextoAgent(at(server), store=home) as agent:
        await agent.create_session("eda")
        stream = agent.stream("one", "eda")
        assert await anext(stream) == "The beginning"
        server.release()
        with pytest.raises(ModelUnavailableError, match=BROKE_OFF) as caught:
            await stream.finish()
        assert caught.value.partial == "The beginning"
        assert await history(agent, "eda") == [
            "user: one",
            "assistant: The beginning [stopped: error]",
        ]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_to_elsewhere_takes_neither_key_nor_conversation_along(server, home, code):
    with OpenAIServer() as elsewhere:
        server.script(redirect(f"{elsewhere.base_url}/chat/completions", code))
        async with AsyncDextoAgent(at(server), store=home) as agent:
            await agent.create_session("eda")
            with pytest.raises(ModelRequestError, match=f"redirects to .* .{code}."):
                await agent.generate("one", "eda")
            assert await history(agent, "eda") == [
                "user: one",
                "assistant:  [failed: ModelRequestError]",
            ]
        assert elsewhere.requests == []


async def test_text_that_is_none_is_passed_over(server, home):
    strange = [["text"], {"content": {"text": []}}, {"content": None}, "text", 5]
    deltas = [{"choices": [{"delta": delta}]} for delta in strange]
    server.script(
        events(*deltas, chunk({"content": "The answer"}), chunk({}, finish_reason="stop"))
    )
    async with AsyncDextoAgent(at(server), store=home) as agent:
        await agent.create_session("eda")
        await agent.generate("one", "eda")
        assert await history(agent, "eda") == ["user: one", "assistant: The answer"]


async def test_fifty_megabytes_are_a_reply_like_any_other(server, home, times, counted):
    """Ten in a plain run. They are kept while they arrive, and other turns go on meanwhile."""
    piece, count = "é" * 50_000, times(100, 500)
    server.script(text(*[piece] * count))
    async with AsyncDextoAgent(at(server), store=home) as agent:
        await agent.create_session("large")
        await agent.create_session("small")
        asking = asyncio.create_task(agent.generate("one", "large"))
        await asyncio.to_thread(server.wait_for_request)
        meanwhile = 0
        while not asking.done():
            await agent.generate("My name is Sarah.", "small")
            meanwhile += 1
        reply = await asking
        assert reply.content == piece * count
        (_, kept) = await agent.get_session_history("large")
        assert kept == reply.message
        assert len(await agent.get_session_history("small")) == 2 * meanwhile
    counted(
        "a reply of many megabytes",
        {"megabytes": len(reply.content.encode()) // 10**6, "other turns meanwhile": meanwhile},
    )
