"""What the server of ``openai_server`` can do with a request, well or badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from dexto_magic.llm.responder import reply_to


class _Wait:
    """The type of ``WAIT``."""


WAIT = _Wait()
"""Among the pieces of a text: nothing more is sent until ``server.release()``."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it arrived; header names in lower case, the body decoded if it is JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def key(self) -> str:
        """What follows ``Bearer`` in the Authorization header."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class Exchange:
    """One request and the answer to it, as a answer sees them."""

    def __init__(
        self, request: Request, writer: asyncio.StreamWriter, released: asyncio.Semaphore
    ) -> None:
        self.request = request
        self._writer = writer
        self._released = released
        self._chunked = False

    @property
    def streamed(self) -> bool:
        """Whether the client asked for a stream."""
        return bool(self.request.body and self.request.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for a usage report in the stream."""
        return bool((self.request.body.get("stream_options") or {}).get("include_usage"))

    async def start(
        self, code: int, headers: Mapping[str, str], *, length: int | None = None
    ) -> None:
        """Sends the status and the headers; without a length, the body follows in chunks."""
        self._chunked = length is None
        framing = {"transfer-encoding": "chunked"} if self._chunked else {"content-length": length}
        lines = [f"HTTP/1.1 {code} .", "connection: close"]
        lines += [f"{name}: {value}" for name, value in {**framing, **headers}.items()]
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        """Sends a piece of the body."""
        await self.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    async def finish(self) -> None:
        """Ends the body."""
        if self._chunked:
            await self.write(b"0\r\n\r\n")

    async def whole(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        """Sends an answer of known length."""
        await self.start(code, headers, length=len(body))
        await self.send(body)

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def until_released(self) -> None:
        """Waits for a call of ``server.release()`` that nobody else has taken."""
        await self._released.acquire()


Answer: TypeAlias = Callable[[Exchange], Awaitable[None]]
"""What the server does with one request."""

_SSE = {"content-type": "text/event-stream"}
_JSON = {"content-type": "application/json"}
_FOREVER = 10**9


def text(
    *pieces: str | _Wait,
    reasoning: str = "",
    finish_reason: str | None = "stop",
    usage: tuple[int, int] | None = (12, 5),
    model: str | None = None,
    delay: float = 0.0,
) -> Answer:
    """Answers with a text: as a stream with one event a piece, or whole if no stream is wanted.

    Args:
        pieces: The text; ``WAIT`` among it holds the rest back.
        reasoning: Sent before it, as ``reasoning_content``.
        finish_reason: The last word on it; ``None`` for none.
        usage: Input and output tokens, reported if the client asks for it; ``None`` for never.
        model: The model that claims to have served it; the requested one if not given.
        delay: Seconds between two pieces.
    """

    return _Text(
        pieces=pieces,
        reasoning=reasoning,
        finish_reason=finish_reason,
        usage=usage,
        model=model,
        delay=delay,
    )


@dataclass(frozen=True, kw_only=True)
class _Text:
    pieces: tuple[str | _Wait, ...]
    reasoning: str
    finish_reason: str | None
    usage: tuple[int, int] | None
    model: str | None
    delay: float

    async def __call__(self, exchange: Exchange) -> None:
        served = self.model or exchange.request.body["model"]
        await (self._stream if exchange.streamed else self._whole)(exchange, served)

    async def _whole(self, exchange: Exchange, served: str) -> None:
        content = ""
        for piece in self.pieces:
            if isinstance(piece, _Wait):
                await exchange.until_released()
            else:
                content += piece
        message = {"role": "assistant", "content": content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        body = {"id": "c", "object": "chat.completion", "model": served, "choices": [choice]}
        await exchange.whole(200, _JSON, _dump({**body, "usage": self._report()}))

    async def _stream(self, exchange: Exchange, served: str) -> None:
        await exchange.start(200, _SSE)
        if self.reasoning:
            await exchange.send(event(chunk({"reasoning_content": self.reasoning}, model=served)))
        for piece in self.pieces:
            if isinstance(piece, _Wait):
                await exchange.until_released()
            else:
                await exchange.send(event(chunk({"content": piece}, model=served)))
                await asyncio.sleep(self.delay)
        if self.finish_reason is not None:
            await exchange.send(event(chunk({}, model=served, finish_reason=self.finish_reason)))
        report = self._report()
        if report is not None and exchange.wants_usage:
            await exchange.send(event({"model": served, "choices": [], "usage": report}))
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.finish()

    def _report(self) -> dict[str, int] | None:
        if self.usage is None:
            return None
        asked, replied = self.usage
        total = asked + replied
        return {"prompt_tokens": asked, "completion_tokens": replied, "total_tokens": total}


def events(*objects: Any, done: bool = True) -> Answer:
    """Streams JSON values of any shape as events, and ``[DONE]`` unless told otherwise."""
    body = b"".join(event(item) for item in objects)
    return raw(body + (b"data: [DONE]\n\n" if done else b""))


def raw(body: bytes, *, code: int = 200, content_type: str = "text/event-stream") -> Answer:
    """Answers with these bytes."""

    async def answer_it(exchange: Exchange) -> None:
        await exchange.whole(code, {"content-type": content_type}, body)

    return answer_it


def json_answer(item: Any) -> Answer:
    """Answers with a JSON value."""
    return raw(_dump(item), content_type="application/json")


def status(
    code: int,
    message: str = "Something is wrong.",
    *,
    error_code: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Answer:
    """Answers with an error in the shape that OpenAI gives it, or with another body."""
    error = {"message": message, "type": "error", "param": None, "code": error_code}
    content = body if isinstance(body, bytes) else _dump(body or {"error": error})

    async def answer_it(exchange: Exchange) -> None:
        await exchange.whole(code, {**_JSON, **(headers or {})}, content)

    return answer_it


def redirect(location: str, code: int = 307) -> Answer:
    """Sends the client elsewhere."""
    return status(code, "Go there.", headers={"location": location})


def echo_key(code: int = 401, *, after: str = "") -> Answer:
    """Answers with an error that holds the key, as it is and as a URL would spell it."""

    async def answer_it(exchange: Exchange) -> None:
        key = exchange.request.key
        message = f"{after}{key} is bad ({key}), ?key={quote(key, safe='')}"
        await status(code, message, headers={"x-key": key})(exchange)

    return answer_it


def cut(*pieces: str) -> Answer:
    """Streams a text and drops the connection in the middle of a chunk."""

    async def answer_it(exchange: Exchange) -> None:
        await exchange.start(200, _SSE)
        for piece in pieces:
            await exchange.send(event(chunk({"content": piece})))
        await exchange.write(b"ff\r\ndata: {")

    return answer_it


def cut_in_character(piece: str) -> Answer:
    """Streams a text and ends the stream within a character of two bytes."""

    async def answer_it(exchange: Exchange) -> None:
        await exchange.start(200, _SSE)
        await exchange.send(event(chunk({"content": piece})))
        await exchange.send(b'data: {"choices": [{"delta": {"content": "\xc3')
        await exchange.finish()

    return answer_it


def cut_whole(content: str) -> Answer:
    """Answers a request for no stream with half of what its header promises."""

    async def answer_it(exchange: Exchange) -> None:
        await exchange.start(200, _JSON, length=len(content) * 2)
        await exchange.send(content.encode())

    return answer_it


def hang_up() -> Answer:
    """Drops the connection without an answer."""

    async def answer_it(_exchange: Exchange) -> None:
        return

    return answer_it


def silent(*pieces: str) -> Answer:
    """Streams a text, if one is given, and then nothing until the client goes away."""

    async def answer_it(exchange: Exchange) -> None:
        if pieces:
            await exchange.start(200, _SSE)
        for piece in pieces:
            await exchange.send(event(chunk({"content": piece})))
        await asyncio.sleep(_FOREVER)

    return answer_it


def held(answer: Answer) -> Answer:
    """Does nothing until ``server.release()``, then as ``answer``."""

    async def answer_it(exchange: Exchange) -> None:
        await exchange.until_released()
        await answer(exchange)

    return answer_it


async def practice(exchange: Exchange) -> None:
    """Answers as the practice model does; the answer where nothing is scripted."""
    messages = exchange.request.body["messages"]
    reply = reply_to(messages)
    asked = sum(len(str(message["content"]).split()) for message in messages)
    words = reply.split(" ")
    pieces = [word + " " for word in words[:-1]] + words[-1:]
    await text(*pieces, usage=(asked, len(words)))(exchange)


def words_in(request: Request) -> int:
    """How many words the messages of a request have: what ``practice`` counts for tokens."""
    return sum(len(message["content"].split()) for message in request.body["messages"])


def windowed(
    words: int, refusal: str = "The conversation has too many tokens.", *, usage: bool = True
) -> Answer:
    """Answers as the practice model, unless there are more than so many words: then with a 400.

    Args:
        words: How many there may be.
        refusal: What it says otherwise; ``{asked}`` and ``{words}`` are put in.
        usage: Whether it counts its words.
    """

    async def answer_it(exchange: Exchange) -> None:
        asked = words_in(exchange.request)
        if asked > words:
            await status(400, refusal.format(asked=asked, words=words))(exchange)
        elif usage:
            await practice(exchange)
        else:
            await text(reply_to(exchange.request.body["messages"]), usage=None)(exchange)

    return answer_it


def chunk(
    delta: Mapping[str, Any], *, model: str = "test", finish_reason: str | None = None
) -> dict[str, Any]:
    """A chunk of a stream, as OpenAI sends it."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "model": model, "choices": [choice]}


def event(item: Any) -> bytes:
    """A JSON value as a server-sent event."""
    return b"data: " + _dump(item) + b"\n\n"


def _dump(item: Any) -> bytes:
    return json.dumps(item).encode()
