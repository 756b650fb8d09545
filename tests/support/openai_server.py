"""An OpenAI-compatible server on loopback, for whatever in this project asks a model.

Real HTTP, so that tests show what arrives, and what a broken server does to us::

    with OpenAIServer() as server:
        server.script(status(429, headers={"retry-after": "1"}), text("Hello"))
        ...  # ask server.base_url
        assert server.chats[0].body["messages"] == [...]

Each request for a chat completion takes the next scripted answer, from ``openai_answers``. Where
none is left, it is answered as the practice model would, or as ``server.otherwise`` says. Nothing here sleeps to be in time: a test
waits for requests and disconnects, and lets go of replies that wait for it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.support.openai_answers import Answer, Exchange, Request, json_answer, practice, status

PATIENCE = 20.0
"""Seconds after which a test that waits for something that never happens fails."""


class OpenAIServer:
    """The server; a context manager, running in a thread of its own.

    Attributes:
        requests: Every request so far.
        disconnects: How many clients went away before their answer was complete.
        models: What ``GET /models`` and Ollama's ``GET /api/tags`` list.
        otherwise: What a request meets with where nothing is scripted.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.otherwise: Answer = practice
        self.disconnects = 0
        self.models: list[str] = ["gpt-4o", "gpt-4o-mini"]
        self._script: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="OpenAIServer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_until(lambda: hasattr(self, "port"), "the server to start")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    @property
    def root_url(self) -> str:
        """Where the server is, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """Where its Chat Completions API is."""
        return f"{self.root_url}/v1"

    @property
    def chats(self) -> list[Request]:
        """The requests for chat completions so far."""
        with self._changed:
            return [r for r in self.requests if r.path.endswith("/chat/completions")]

    def script(self, *answers: Answer) -> None:
        """Adds what the next requests for chat completions meet with."""
        with self._changed:
            self._script.extend(answers)

    def release(self) -> None:
        """Lets one reply that waits, or the next that will, go on."""
        self._loop.call_soon_threadsafe(self._released.release)

    def wait_for_request(self, count: int = 1) -> Request:
        """The ``count``-th request for a chat completion, as soon as it has arrived."""
        self._wait_until(lambda: len(self.chats) >= count, f"request {count}")
        return self.chats[count - 1]

    def wait_for_disconnect(self, count: int = 1) -> None:
        """Returns as soon as ``count`` clients have gone away amid their answer."""
        self._wait_until(lambda: self.disconnects >= count, f"disconnect {count}")

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE):
                raise AssertionError(f"waited {PATIENCE} s for {what}, and it did not happen")

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._released = asyncio.Semaphore(0)
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.create_task(self._connection(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        with self._changed:
            self.port = server.sockets[0].getsockname()[1]
            self._changed.notify_all()
        await self._stopped.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            if request is not None:
                await self._answer(Exchange(request, writer, self._released), reader)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, exchange: Exchange, reader: asyncio.StreamReader) -> None:
        with self._changed:
            self.requests.append(exchange.request)
            answer = self._next_answer(exchange.request)
            self._changed.notify_all()
        answering = asyncio.ensure_future(answer(exchange))
        # A client that is served sends nothing more: what can be read is that it has gone.
        watching = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            gone = not answering.done() or isinstance(answering.exception(), ConnectionError)
            if not gone:
                answering.result()
        finally:
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
        if gone:
            with self._changed:
                self.disconnects += 1
                self._changed.notify_all()

    def _next_answer(self, request: Request) -> Answer:
        if request.path.endswith("/chat/completions"):
            return self._script.popleft() if self._script else self.otherwise
        if request.path.endswith("/models"):
            return json_answer({"data": [{"id": name} for name in self.models]})
        if request.path == "/api/tags":
            return json_answer({"models": [{"name": name} for name in self.models]})
        return status(404, "No such path.")


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The request that comes in, or ``None`` if the client goes away first."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, path, _version = first.split(" ")
    return Request(
        method=method, path=path, headers=headers, body=json.loads(body) if body else None
    )
