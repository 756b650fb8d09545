"""The practice provider: a server without a network, behind the openai client's own transport.

The only module that imports httpx2. What it says is in ``responder``; here is how it says it, so
that the real client, the real streaming and the real mapping of errors run on a machine with no
key and no network. Faults are chosen by the model's name, never by what is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Literal

import httpx2

from dexto_magic.llm.responder import ChatMessage, reply_to, text_of

_CALM_PAUSE = 0.05
"""Seconds between two words: about 20 words a second, somewhat faster than people read."""

_LONG_REPLY_WORDS = 4_000
_CALM_REPLY_WORDS = 300
_SHORT_WINDOW_WORDS = 200


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """An answer that is an error, in the shape that OpenAI documents.

    Attributes:
        status: The HTTP status.
        message: The error's message.
        code: The error's code.
        retry_after: Seconds, or ``None`` for no such header.
    """

    status: HTTPStatus
    message: str
    code: str
    retry_after: int | None = None

    def response(self) -> httpx2.Response:
        error = {"message": self.message, "type": self.code, "param": None, "code": self.code}
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return httpx2.Response(self.status, headers=headers, json={"error": error})


@dataclass(frozen=True, kw_only=True)
class _Manner:
    """How a practice model behaves.

    Attributes:
        about: What it does, in one line.
        refusal: What it answers instead of a reply, or ``None``.
        window: How many words it takes, or ``None`` for any number.
        words: How many words its reply has, or ``None`` for an answer to what was asked.
        pause: Seconds between two words.
        end: Whether the reply comes to its end, breaks off, falls silent, or turns to garbage
            half-way; or nothing is ever answered.
        usage: Whether it reports tokens.
        thinks: Where its reasoning stands: nowhere, in a field, or in a ``<think>`` block.
    """

    about: str
    refusal: _Refusal | None = None
    window: int | None = None
    words: int | None = None
    pause: float = 0.0
    end: Literal["whole", "cut", "stall", "garbage", "never"] = "whole"
    usage: bool = True
    thinks: Literal["", "field", "tag"] = ""


_OVERFLOW = _Refusal(
    status=HTTPStatus.BAD_REQUEST,
    message="This model's maximum context length is exceeded by your messages.",
    code="context_length_exceeded",
)

_MANNERS: Mapping[str, _Manner] = MappingProxyType(
    {
        "practice": _Manner(about="answers at once"),
        "slow": _Manner(
            about="streams a long text at a calm pace", words=_CALM_REPLY_WORDS, pause=_CALM_PAUSE
        ),
        "long": _Manner(about="streams a very long text at full speed", words=_LONG_REPLY_WORDS),
        "silent": _Manner(about="never answers", end="never"),
        "stall": _Manner(about="falls silent in the middle of the reply", end="stall"),
        "cut": _Manner(about="breaks off in the middle of the reply", end="cut"),
        "bad-json": _Manner(about="turns to garbage in the middle of the reply", end="garbage"),
        "no-usage": _Manner(about="answers, and reports no tokens", usage=False),
        "reasoning": _Manner(about="shows its reasoning in a field of its own", thinks="field"),
        "think": _Manner(about="shows its reasoning in a <think> block", thinks="tag"),
        "overflow": _Manner(about="finds every conversation too long", refusal=_OVERFLOW),
        "short-window": _Manner(
            about=f"finds more than {_SHORT_WINDOW_WORDS} words too long",
            window=_SHORT_WINDOW_WORDS,
        ),
        "rate-limit": _Manner(
            about="asks for patience each time",
            refusal=_Refusal(
                status=HTTPStatus.TOO_MANY_REQUESTS,
                message="Rate limit reached for practice requests.",
                code="rate_limit_exceeded",
                retry_after=1,
            ),
        ),
        "bad-key": _Manner(
            about="refuses the key",
            refusal=_Refusal(
                status=HTTPStatus.UNAUTHORIZED,
                message="Incorrect API key provided.",
                code="invalid_api_key",
            ),
        ),
        "server-error": _Manner(
            about="fails on its side each time",
            refusal=_Refusal(
                status=HTTPStatus.INTERNAL_SERVER_ERROR,
                message="The server had an error while processing your request.",
                code="server_error",
            ),
        ),
    }
)

PRACTICE_MODELS: Mapping[str, str] = MappingProxyType(
    {name: manner.about for name, manner in _MANNERS.items()}
)
"""What each practice model does, by name."""


def practice_transport() -> httpx2.AsyncBaseTransport:
    """The practice provider, to be given to a client in place of a network."""
    return PracticeTransport()


class PracticeTransport(httpx2.AsyncBaseTransport):
    """Answers Chat Completions requests without a network; the same request the same way."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to ``POST …/chat/completions`` and ``GET …/models``."""
        path = request.url.path
        if request.method == "GET" and path.endswith("/models"):
            models = [{"id": name, "object": "model"} for name in PRACTICE_MODELS]
            return httpx2.Response(HTTPStatus.OK, json={"object": "list", "data": models})
        if request.method != "POST" or not path.endswith("/chat/completions"):
            return httpx2.Response(
                HTTPStatus.NOT_FOUND, json={"error": {"message": "No such path."}}
            )
        content = await request.aread()
        return await _answer(json.loads(content), hashlib.sha256(content).hexdigest()[:12])


async def _answer(body: Mapping[str, Any], digest: str) -> httpx2.Response:
    manner = _MANNERS.get(body["model"])
    if manner is None:
        refusal = _Refusal(
            status=HTTPStatus.NOT_FOUND,
            message=f"The practice model {body['model']!r} does not exist; there are: "
            f"{', '.join(PRACTICE_MODELS)}.",
            code="model_not_found",
        )
        return refusal.response()
    if manner.end == "never":
        await asyncio.Event().wait()
    too_long = manner.window is not None and _count(body["messages"]) > manner.window
    refusal_given = _OVERFLOW if too_long else manner.refusal
    if refusal_given is not None:
        return refusal_given.response()
    reply = _Reply(manner=manner, body=body, digest=digest)
    kind, pieces = (
        ("text/event-stream", reply.events())
        if body.get("stream")
        else ("application/json", reply.whole())
    )
    return httpx2.Response(
        HTTPStatus.OK, headers={"content-type": kind}, stream=_Body(pieces, manner)
    )


@dataclass(frozen=True, kw_only=True)
class _Reply:
    """One reply, to be sent whole or in chunks."""

    manner: _Manner
    body: Mapping[str, Any]
    digest: str

    @property
    def text(self) -> str:
        words = self.manner.words
        return reply_to(self.body["messages"]) if words is None else _prose(words)

    @property
    def thought(self) -> str:
        count = len(self.body["messages"])
        return f"{count} sent; I look for a rule that fits the last." if self.manner.thinks else ""

    def whole(self) -> Iterator[bytes]:
        """The bytes that answer a request for no stream, up to where they break off."""
        message = {"role": "assistant", "content": "".join(d["content"] for d in self._spoken())}
        if self.manner.thinks == "field":
            message["reasoning_content"] = self.thought
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"usage": self._usage()} if self.manner.usage else {}
        completion = self._envelope("chat.completion") | {"choices": [choice]} | usage
        encoded = json.dumps(completion).encode()
        yield encoded if self.manner.end == "whole" else encoded[: len(encoded) // 2]

    def events(self) -> Iterator[bytes]:
        """The bytes that answer a request for a stream, up to where they break off."""
        thinking = _words(self.thought) if self.manner.thinks == "field" else []
        deltas = [{"reasoning_content": word} for word in thinking] + self._spoken()
        if self.manner.end != "whole":
            deltas = deltas[: len(deltas) // 2 + 1]
        for delta in ({"role": "assistant", "content": ""}, *deltas):
            yield self._event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        if self.manner.end == "garbage":
            yield b'data: {"choices": [\n\n'
        if self.manner.end != "whole":
            return
        yield self._event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        options = self.body.get("stream_options") or {}
        if self.manner.usage and options.get("include_usage"):
            yield self._event(choices=[], usage=self._usage())
        yield b"data: [DONE]\n\n"

    def _spoken(self) -> list[dict[str, str]]:
        tagged = f"<think>{self.thought}</think>\n\n" if self.manner.thinks == "tag" else ""
        return [{"content": word} for word in _words(tagged + self.text)]

    def _event(self, **fields: Any) -> bytes:
        chunk = self._envelope("chat.completion.chunk") | fields
        return f"data: {json.dumps(chunk)}\n\n".encode()

    def _envelope(self, kind: str) -> dict[str, Any]:
        # Nothing depends on the time of day: the same request gets the same bytes.
        name = f"chatcmpl-practice-{self.digest}"
        return {"id": name, "object": kind, "created": 0, "model": self.body["model"]}

    def _usage(self) -> dict[str, int]:
        """Words in place of tokens."""
        asked = _count(self.body["messages"])
        replied = len(self.thought.split()) + len(self.text.split())
        return {
            "prompt_tokens": asked,
            "completion_tokens": replied,
            "total_tokens": asked + replied,
        }


class _Body(httpx2.AsyncByteStream):
    """The body of an answer: its pieces at their pace, and the end that its manner gives it."""

    def __init__(self, pieces: Iterable[bytes], manner: _Manner) -> None:
        self._pieces = pieces
        self._manner = manner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
            await asyncio.sleep(self._manner.pause)
        if self._manner.end == "stall":
            await asyncio.Event().wait()
        if self._manner.end == "cut":
            raise httpx2.ReadError("the practice model breaks off here, as its name says")


def _words(text: str) -> list[str]:
    """``text`` in pieces, of about a token each, that add up to it."""
    return re.findall(r"\s*\S+|\s+", text)


def _count(messages: Sequence[ChatMessage]) -> int:
    return sum(len(text_of(message).split()) for message in messages)


def _prose(words: int) -> str:
    """Text of so many words, in paragraphs."""
    sentences = [
        f"Sentence {number} of this reply has ten words, as always."
        for number in range(1, words // 10 + 1)
    ]
    paragraphs = [" ".join(sentences[at : at + 5]) for at in range(0, len(sentences), 5)]
    return "\n\n".join(paragraphs)
