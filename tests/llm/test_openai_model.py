"""The model over real HTTP: what it sends, what it makes of replies, how it lets go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from openai.resources.chat.completions import completions

from dexto_magic.conversation.messages import Usage
from dexto_magic.conversation.window import PromptMessage
from dexto_magic.errors import (
    ModelAuthenticationError,
    ModelUnavailableError,
    SettingsError,
)
from dexto_magic.llm.openai_model import OpenAIModel
from dexto_magic.llm.protocol import ChatRequest, ModelEvent, ReasoningDelta, TextDelta
from dexto_magic.llm.providers import LLMConfig
from tests.support.asking import KEY, Heard, ask, listen, request
from tests.support.openai_answers import (
    WAIT,
    chunk,
    cut,
    cut_in_character,
    event,
    events,
    held,
    json_answer,
    raw,
    silent,
    status,
    text,
)
from tests.support.openai_server import OpenAIServer


def at(server: OpenAIServer, provider: str = "openai", **fields: Any) -> LLMConfig:
    return LLMConfig(provider=provider, model="gpt-4o", base_url=server.base_url, **fields)


class TestAsking:
    def test_sends_the_conversation_in_order_with_the_key(self, server):
        conversation = [
            PromptMessage(role="system", content="Be brief."),
            PromptMessage(role="user", content="My name is Sarah."),
            PromptMessage(role="assistant", content="Nice to meet you, Sarah."),
            PromptMessage(role="user", content="What is my name?"),
        ]
        heard = ask(at(server), ChatRequest(messages=conversation))
        (sent,) = server.chats
        assert heard.text == "Your name is Sarah."
        assert [(m["role"], m["content"]) for m in sent.body["messages"]] == [
            (m.role, m.content) for m in conversation
        ]
        assert sent.body["model"] == "gpt-4o"
        assert sent.body["stream"] is True
        assert sent.key == KEY

    def test_a_long_conversation_is_not_walked_by_the_client(self, server, monkeypatch):
        """That is done on the event loop, where every other turn would wait for it."""
        walked = []
        transform = completions.async_maybe_transform

        async def spy(data, expected):
            walked.extend(data["messages"])
            return await transform(data, expected)

        monkeypatch.setattr(completions, "async_maybe_transform", spy)
        ask(at(server), request(*map(str, range(1000)), options={"seed": 1}))
        (sent,) = server.chats
        assert [message["content"] for message in sent.body["messages"]] == [
            str(number) for number in range(1000)
        ]
        assert set(sent.body) == {"messages", "model", "stream", "stream_options", "seed"}
        assert walked == []

    def test_sends_every_character_as_it_is(self, server):
        odd = '{{df}} {x} $\\frac{1}{2}$ <b> " \\n \x00 \u2028 \N{FAMILY} e\u0301 日本語 \t\r\n'
        ask(at(server), request(odd))
        assert server.chats[0].body["messages"][0]["content"] == odd

    def test_replaces_half_a_character_in_what_it_sends(self, server):
        ask(at(server), request("a\ud83d b \ud83d\ude00", options={"stop": ["\ude00"]}))
        assert server.chats[0].body["messages"][0]["content"] == "a\ufffd b 😀"
        assert server.chats[0].body["stop"] == ["\ufffd"]

    def test_sends_options_it_knows_nothing_of(self, server):
        config = at(server, options={"temperature": 0, "top_k": 5})
        ask(config, request(options={"temperature": 1, "thinking": {"type": "enabled"}}))
        body = server.chats[0].body
        assert (body["temperature"], body["top_k"]) == (1, 5)
        assert body["thinking"] == {"type": "enabled"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [("messages", []), ("model", "x"), ("stream", True), ("stream_options", {}), ("n", 2)],
    )
    def test_refuses_options_that_are_the_conversations_own(self, server, name, value):
        with pytest.raises(SettingsError, match=repr(name)):
            ask(at(server), request(options={name: value}))
        with pytest.raises(SettingsError, match=repr(name)):
            at(server, options={name: value})
        assert server.chats == []

    @pytest.mark.parametrize(
        "options",
        [
            {"api_key": "k"},
            {"api-key": "k"},
            {"API_KEY": "k"},
            {"user": "a\nsk-proj-abcdefghijklmnop"},
            {"metadata": {"of": ["a", {"\tsk-proj-abcdefghijklmnop": 1}]}},
            {"extra_headers": {"api-key": "k"}},
            {"extra_query": {"key": "k"}},
            {"base_url": "https://x.example"},
            {"timeout": 5},
            {"user": "sk-proj-0123456789abcdef"},
            {"metadata": {"a": ["gsk_0123456789abcdefghij"]}},
        ],
        ids=str,
    )
    def test_refuses_options_that_could_hold_a_key_which_would_be_stored(self, server, options):
        with pytest.raises(SettingsError, match="key") as caught:
            at(server, options=options)
        assert "0123456789" not in str(caught.value)
        with pytest.raises(SettingsError, match="key"):
            ask(at(server), request(options=options))
        assert server.chats == []

    @pytest.mark.parametrize("value", ["task-of-many-words-and-more", "pk_customer_id", "a" * 40])
    def test_takes_what_only_resembles_a_key(self, server, value):
        ask(at(server), request(options={"user": value}))
        assert server.chats[0].body["user"] == value

    @pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
    def test_refuses_options_that_are_not_json(self, server, value):
        with pytest.raises(SettingsError, match="not JSON"):
            ask(at(server), request(options={"seed": value}))
        with pytest.raises(SettingsError, match="not JSON"):
            at(server, options={"seed": value})
        assert server.chats == []

    def test_sends_no_key_where_there_is_none(self, server):
        ask(at(server, "ollama"), key=None)
        assert "sk-" not in server.chats[0].headers["authorization"]

    def test_a_key_with_a_line_break_is_refused_unseen(self, server):
        with pytest.raises(ModelAuthenticationError) as caught:
            ask(at(server), key="sk-abc\ndef")
        assert "sk-abc" not in str(caught.value)


class TestReplies:
    def test_a_stream_arrives_in_pieces_with_model_reason_and_usage(self, server):
        server.script(text("Hel", "lo", " 😀", model="gpt-4o-2024-08-06", usage=(12, 3)))
        heard = ask(at(server))
        assert heard.events[:-1] == [TextDelta("Hel"), TextDelta("lo"), TextDelta(" 😀")]
        assert heard.finished.model == "gpt-4o-2024-08-06"
        assert heard.finished.finish_reason == "stop"
        assert heard.finished.usage == Usage(input_tokens=12, output_tokens=3)

    def test_a_slow_first_byte_is_waited_for(self, server):
        server.script(held(text("Hello")))
        server.release()
        assert ask(at(server)).text == "Hello"

    def test_without_a_stream_the_text_arrives_at_once(self, server):
        server.script(text("Hel", "lo", reasoning="Hm.", usage=(12, 3)))
        heard = ask(at(server), request(stream=False))
        assert heard.events[:-1] == [ReasoningDelta("Hm."), TextDelta("Hello")]
        assert heard.finished.usage == Usage(input_tokens=12, output_tokens=3)
        assert server.chats[0].body["stream"] is False
        assert "stream_options" not in server.chats[0].body

    def test_a_server_that_cannot_stream_is_understood(self, server):
        whole = {"choices": [{"message": {"content": "Hello"}}], "model": "m"}
        server.script(json_answer(whole))
        assert ask(at(server)).text == "Hello"

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_a_reply_that_the_provider_ended_early_is_complete(self, server, reason):
        server.script(text("Once upon", finish_reason=reason))
        heard = ask(at(server))
        assert (heard.text, heard.finished.finish_reason) == ("Once upon", reason)

    def test_a_usage_report_ends_a_stream_without_a_finish_reason(self, server):
        server.script(text("Hello", finish_reason=None))
        assert ask(at(server)).text == "Hello"

    def test_done_ends_a_stream_without_a_finish_reason(self, server):
        server.script(events(chunk({"content": "Hello"})))
        heard = ask(at(server))
        assert (heard.text, heard.error) == ("Hello", None)
        assert heard.finished.finish_reason is None

    def test_fifty_megabytes_arrive(self, server):
        server.script(text(*["x" * 1_000_000] * 50))
        assert len(ask(at(server)).text) == 50_000_000

    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
    def test_comments_empty_lines_and_any_line_end_are_read(self, server, line_end):
        lines = [b": ping", b"", b"event: message", event(chunk({"content": "Hi"})).strip(), b""]
        lines += [event(chunk({}, finish_reason="stop")).strip(), b"", b"data: [DONE]", b"", b""]
        server.script(raw(line_end.join(lines)))
        assert ask(at(server)).text == "Hi"

    @pytest.mark.parametrize(
        ("answer", "partial"),
        [
            (cut("Hel"), "Hel"),
            (cut_in_character("Hel"), "Hel"),
            (events(chunk({"content": "Hel"}), done=False), "Hel"),
            (events(chunk({"content": "<thi"}), done=False), "<thi"),
            (raw(event(chunk({"content": "Hel"})) + b"data: [DO"), "Hel"),
            (raw(event(chunk({"content": "Hel [DONE]"}))), "Hel [DONE]"),
            (events(), ""),
            (raw(event(chunk({"content": "Hel"})) + b"data: {not json}\n\n"), "Hel"),
            (raw(event(chunk({"content": "Hel"})) + b"data: \xff\n\n"), "Hel"),
            (raw(b"data: " + b"[" * 100_000 + b"\n\n"), ""),
            (raw(b""), ""),
            (raw(b"<html><title>Portal</title></html>", content_type="text/html"), ""),
            (raw(b"{", content_type="application/json"), ""),
            (json_answer(None), ""),
            (json_answer({"choices": []}), ""),
            (json_answer([1]), ""),
        ],
    )
    def test_a_reply_that_is_cut_or_garbled_keeps_what_arrived(self, server, answer, partial):
        server.script(answer)
        heard = ask(at(server))
        assert isinstance(heard.error, ModelUnavailableError)
        assert heard.text == partial
        assert heard.notices == []
        assert len(server.chats) == 1


class TestUsageOption:
    def test_usage_is_asked_for(self, server):
        ask(at(server))
        assert server.chats[0].body["stream_options"] == {"include_usage": True}

    def test_a_provider_known_to_refuse_is_not_asked(self, server):
        ask(at(server, "mistral"))
        assert "stream_options" not in server.chats[0].body

    @pytest.mark.parametrize("code", [400, 422])
    def test_a_server_that_refuses_is_asked_without_from_then_on(self, server, code):
        detail = [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]
        server.script(status(code, body={"detail": detail}), text("one"), text("two"))
        heard = ask(at(server), request(), request())
        assert (heard.text, heard.notices) == ("two", [])
        assert ["stream_options" in sent.body for sent in server.chats] == [True, False, False]


class TestLettingGo:
    """The server sees the client go, which is all that stops a provider from counting tokens."""

    @staticmethod
    def run(server: OpenAIServer, scene: Callable[[OpenAIModel], Any]) -> None:
        async def play() -> None:
            model = OpenAIModel(at(server), api_key=KEY, base_url=server.base_url)
            await scene(model)
            # Before the client is closed, which would hang up as well.
            await asyncio.to_thread(server.wait_for_disconnect)
            await model.close()

        asyncio.run(play())

    @pytest.mark.parametrize("stream", [True, False])
    def test_cancelling_before_the_first_byte_hangs_up(self, server, stream):
        server.script(silent())

        async def scene(model: OpenAIModel) -> None:
            task = asyncio.create_task(listen(model, request(stream=stream), Heard()))
            await asyncio.to_thread(server.wait_for_request)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        self.run(server, scene)

    def test_cancelling_amid_the_reply_hangs_up_and_keeps_the_text(self, server):
        server.script(silent("Hel", "lo"))
        heard = Heard()

        async def scene(model: OpenAIModel) -> None:
            arrived = asyncio.Event()

            async def listening() -> None:
                async with aclosing(model.stream(request())) as stream:
                    async for item in stream:
                        heard.events.append(item)
                        if heard.text == "Hello":
                            arrived.set()

            task = asyncio.create_task(listening())
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        self.run(server, scene)
        assert heard.text == "Hello"

    def test_closing_the_iterator_hangs_up(self, server):
        server.script(silent("Hello"))

        async def scene(model: OpenAIModel) -> None:
            stream: AsyncGenerator[ModelEvent, None] = model.stream(request())
            assert await anext(stream) == TextDelta("Hello")
            await stream.aclose()

        self.run(server, scene)

    def test_letting_go_of_the_iterator_hangs_up(self, server):
        server.script(silent("Hello"))

        async def scene(model: OpenAIModel) -> None:
            async for _ in model.stream(request()):
                break

        self.run(server, scene)

    def test_cancelling_while_waiting_to_ask_again_asks_no_more(self, server):
        server.script(status(429, headers={"retry-after": "30"}))

        async def play() -> None:
            model = OpenAIModel(at(server), api_key=KEY, base_url=server.base_url)
            stream = model.stream(request())
            await anext(stream)
            task = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await model.close()

        asyncio.run(play())
        assert len(server.chats) == 1

    def test_many_replies_run_side_by_side(self, server):
        server.script(*[text("a", WAIT, "b")] * 50)

        async def play() -> list[Heard]:
            model = OpenAIModel(at(server), api_key=KEY, base_url=server.base_url)
            asking = asyncio.gather(*(listen(model, request(), Heard()) for _ in range(50)))
            await asyncio.to_thread(server.wait_for_request, 50)
            for _ in range(50):
                server.release()
            heard = await asking
            await model.close()
            return heard

        assert [heard.text for heard in asyncio.run(play())] == ["ab"] * 50


def test_a_refused_connection_is_tried_three_times():
    with socket.socket() as taken:  # bound and not listening: nobody else answers there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        heard = ask({"model": "llama3", "provider": "ollama", "base_url": url})
    assert isinstance(heard.error, ModelUnavailableError)
    assert f"ollama (llama3) could not be reached at {url}" in str(heard.error)
    assert "`ollama serve` starts it" in str(heard.error)
    assert len(heard.notices) == 2
