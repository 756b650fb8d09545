"""Any provider with a Chat Completions API: a request made again, a reply put together.

What that takes of the openai client is in ``openai_client``.
"""

from __future__ import annotations

import asyncio
import difflib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any, TypeVar

from dexto_magic.errors import ModelAuthenticationError
from dexto_magic.llm.assembly import ReplyAssembly
from dexto_magic.llm.discretion import Secret
from dexto_magic.llm.failures import Failure, Target, broken_off, refused, unreadable
from dexto_magic.llm.openai_client import Chunks, Response, asking, client_for, outcome
from dexto_magic.llm.outgoing import sendable_messages, sendable_options
from dexto_magic.llm.protocol import ChatRequest, ModelEvent, Notice
from dexto_magic.llm.provider_table import PROVIDERS
from dexto_magic.llm.providers import LLMConfig
from dexto_magic.llm.retries import ATTEMPTS, spoken, wait_before
from dexto_magic.llm.server_errors import error_answer, is_error

_LIST_TIMEOUT = 3.0

_T = TypeVar("_T")


class OpenAIModel:
    """A model behind a Chat Completions API; a ``ChatModel``."""

    def __init__(
        self,
        config: LLMConfig,
        *,
        api_key: str | None,
        base_url: str,
        transport: Any = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Opens no connection yet.

        Args:
            config: Which model, and the options that every request carries.
            api_key: The key, or ``None`` where none is needed.
            base_url: Where the API is.
            transport: An ``httpx2.AsyncBaseTransport`` in place of the network.
            sleep: Waits before asking again.

        Raises:
            ModelAuthenticationError: ``api_key`` has characters that no HTTP header can carry.
            SettingsError: The proxy that the environment names can't be used.
        """
        key = Secret(api_key) if api_key else None
        del api_key  # so that a traceback finds no key in this frame
        self._config = config
        self._target = Target(
            provider=config.provider,
            model=config.model,
            base_url=base_url,
            key=key,
            timeout=config.timeout,
            connect_timeout=config.connect_timeout,
        )
        self._sleep = sleep
        self._asks_usage = PROVIDERS[config.provider].stream_options
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise ModelAuthenticationError(
                f"The key for {config.provider} has a character that no key has, perhaps from the "
                "line that it was copied with. Enter it again with `%dexto key`.",
                provider=config.provider,
                model=config.model,
            )
        self._client = client_for(config, self._target, transport)

    @property
    def provider(self) -> str:
        """Its provider, as named in the provider table."""
        return self._config.provider

    @property
    def name(self) -> str:
        """Its own name, as the provider knows it."""
        return self._config.model

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ModelEvent, None]:
        """The reply as it arrives; see ``ChatModel``.

        A request that failed before anything of a reply arrived is made again, at most twice, if
        that may help; each time, a ``Notice`` says so.

        Raises:
            ModelError: One of its kinds, before or amid the reply.
        """
        options = self._options(request)
        attempt = 1
        while True:
            with_usage = request.stream and self._asks_usage
            async with AsyncExitStack() as stack:
                response = await self._open(stack, request, options, with_usage=with_usage)
                if not isinstance(response, Failure):
                    async with aclosing(self._reply(response, streamed=request.stream)) as events:
                        async for event in events:
                            yield event
                    return
            failure = response
            if with_usage and failure.answer is not None and failure.answer.is_about_usage:
                self._asks_usage = False
                continue
            attempt += 1
            if attempt > ATTEMPTS or not failure.retryable:
                failure = await self._with_close_names(failure)
                raise failure.exception() from failure.cause
            wait = wait_before(attempt, failure.retry_after, random.random())  # noqa: S311  # spreads, hides nothing
            yield Notice(
                f"{self.provider} {failure.brief}; asking again in {spoken(wait)}, "
                f"attempt {attempt} of {ATTEMPTS}"
            )
            await self._sleep(wait)

    async def close(self) -> None:
        """Closes its connections; it can't be asked afterwards."""
        await self._client.close()

    def _options(self, request: ChatRequest) -> dict[str, Any]:
        """The request's options on top of the configured ones."""
        return sendable_options({**self._config.options, **request.options})

    async def _open(
        self,
        stack: AsyncExitStack,
        request: ChatRequest,
        options: Mapping[str, Any],
        *,
        with_usage: bool,
    ) -> Response | Failure:
        """The answer of the server, its headers read and its body not, or why there is none."""
        opening = asking(
            self._client,
            self.name,
            sendable_messages(request.messages),
            options,
            stream=request.stream,
            with_usage=with_usage,
        )
        return await self._outcome(stack.enter_async_context(opening), began=False)

    async def _reply(
        self, response: Response, *, streamed: bool
    ) -> AsyncGenerator[ModelEvent, None]:
        assembly = ReplyAssembly()
        kind = response.headers.get("content-type", "no content type")
        failure: Failure | None = None
        # A server that can't stream answers a request for a stream with the whole.
        streamed = streamed and "json" not in kind
        async with aclosing(
            self._chunks(response, assembly) if streamed else self._whole(response)
        ) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, Failure):
                    failure = chunk
                    break
                for delta in assembly.feed(chunk):
                    yield delta
        for delta in assembly.flush():
            yield delta
        if failure is None and not assembly.began:
            failure = unreadable(self._target, kind)
        if failure is None and streamed and not assembly.ended:
            failure = broken_off(self._target, "neither a finish reason nor [DONE] arrived")
        if failure is not None:
            raise failure.exception() from failure.cause
        yield assembly.finished()

    async def _chunks(
        self, response: Response, assembly: ReplyAssembly
    ) -> AsyncGenerator[object, None]:
        # As plain JSON values: the client's own types guess at what other servers send.
        stream = await response.parse(to=Chunks)
        end = object()
        while (chunk := await self._outcome(anext(stream, end), began=True)) is not end:
            yield self._judged(chunk, response)
        assembly.ended = assembly.ended or stream.done

    async def _whole(self, response: Response) -> AsyncGenerator[object, None]:
        yield self._judged(await self._outcome(response.json(), began=True), response)

    def _judged(self, value: object, response: Response) -> object:
        """``value``, or the failure that it tells of: some servers answer 200 and an error."""
        if not is_error(value):
            return value
        answer = error_answer(None, value, response.headers, self._target.key)
        return refused(self._target, answer)

    async def _outcome(self, awaitable: Awaitable[_T], *, began: bool) -> _T | Failure:
        return await outcome(awaitable, self._target, began=began)

    async def _with_close_names(self, failure: Failure) -> Failure:
        """``failure``, with models of similar names if it is about a name and they are known."""
        if failure.answer is None or not failure.answer.is_unknown_model:
            return failure
        listing = self._client.get("/models", cast_to=object, options={"timeout": _LIST_TIMEOUT})
        found = await self._outcome(listing, began=False)
        rows = found.get("data") if isinstance(found, Mapping) else None
        names = [row.get("id") for row in rows or () if isinstance(row, Mapping)]
        known = [name for name in names if isinstance(name, str)]
        close = difflib.get_close_matches(self.name, known, n=3, cutoff=0.5)
        if not close:
            return failure
        return replace(failure, advice=f"Did you mean {' or '.join(map(repr, close))}?")
