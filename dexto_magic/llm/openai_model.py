"""Any provider with a Chat Completions API, through the openai client.

The only module that imports openai. It owns the conversation with that library: what it is told,
what it must not pick up from the environment, and which error of ours each of its errors is.
"""

from __future__ import annotations

import asyncio
import difflib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai

from dexto_magic.errors import ModelAuthenticationError, ModelRequestError, SettingsError
from dexto_magic.llm.assembly import ReplyAssembly
from dexto_magic.llm.discretion import Secret, redacted
from dexto_magic.llm.failures import (
    Failure,
    Target,
    broken_off,
    refused,
    timed_out,
    unreachable,
    unreadable,
)
from dexto_magic.llm.local import is_loopback
from dexto_magic.llm.outgoing import sendable_messages, sendable_options
from dexto_magic.llm.protocol import ChatRequest, ModelEvent, Notice
from dexto_magic.llm.provider_table import PROVIDERS
from dexto_magic.llm.providers import LLMConfig
from dexto_magic.llm.retries import ATTEMPTS, spoken, wait_before
from dexto_magic.llm.server_errors import error_answer, is_error, quoted

_NO_KEY = "no-key"
"""Sent where no key is needed: the client insists on one."""

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
        self._client = _client(config, self._target, transport)

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
            wait = wait_before(attempt, failure.retry_after, random.random())  # noqa: S311
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
    ) -> openai.AsyncAPIResponse[Any] | Failure:
        """The answer of the server, its headers read and its body not, or why there is none."""
        # The client copies `messages` one by one: 1.6 s for 10,000, in which nothing else runs. What
        # is in `extra_body` goes out as it is, in place of what else has its name.
        asking = self._client.chat.completions.with_streaming_response.create(
            model=self.name,
            messages=[],
            stream=request.stream,
            stream_options={"include_usage": True} if with_usage else openai.omit,
            extra_body={"messages": sendable_messages(request.messages), **options},
        )
        return await self._outcome(stack.enter_async_context(asking), began=False)

    async def _reply(
        self, response: openai.AsyncAPIResponse[Any], *, streamed: bool
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
        self, response: openai.AsyncAPIResponse[Any], assembly: ReplyAssembly
    ) -> AsyncGenerator[object, None]:
        # As plain JSON values: the client's own types guess at what other servers send.
        stream = await response.parse(to=_Chunks)
        end = object()
        while (chunk := await self._outcome(anext(stream, end), began=True)) is not end:
            yield self._judged(chunk, response)
        assembly.ended = assembly.ended or stream.done

    async def _whole(self, response: openai.AsyncAPIResponse[Any]) -> AsyncGenerator[object, None]:
        yield self._judged(await self._outcome(response.json(), began=True), response)

    def _judged(self, value: object, response: openai.AsyncAPIResponse[Any]) -> object:
        """``value``, or the failure that it tells of: some servers answer 200 and an error."""
        if not is_error(value):
            return value
        answer = error_answer(None, value, response.headers, self._target.key)
        return refused(self._target, answer)

    async def _outcome(self, awaitable: Awaitable[_T], *, began: bool) -> _T | Failure:
        """What the client gives, or the failure that it ends in.

        A value and not an exception, so that ours is raised where no foreign one is being handled:
        ``__context__`` would keep one that must not be shown.
        """
        try:
            return await awaitable
        except Exception as exc:  # noqa: BLE001 (a server that sends no HTTP or JSON causes any)
            failure = failure_of(exc, self._target, began=began)
            return replace(failure, cause=_showable(exc, self._target.key))

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


def failure_of(exc: Exception, target: Target, *, began: bool) -> Failure:
    """The failure behind an exception of the client.

    Args:
        exc: What the client raised.
        target: Whom the request went to.
        began: Whether the reply had begun.
    """
    if isinstance(exc, openai.APITimeoutError):
        # By name, because the class is httpx2's own.
        connecting = type(exc.__cause__).__name__ in ("ConnectTimeout", "PoolTimeout")
        return timed_out(target, connecting=connecting)
    if isinstance(exc, openai.APIConnectionError):
        reason = str(exc.__cause__ or exc) or type(exc.__cause__).__name__
        return (broken_off if began else unreachable)(target, reason)
    if isinstance(exc, openai.APIStatusError):
        headers = exc.response.headers
        return refused(target, error_answer(exc.status_code, exc.body, headers, target.key))
    if isinstance(exc, openai.APIResponseValidationError):
        return unreadable(target, str(exc))
    if isinstance(exc, openai.APIError):  # an error amid the stream
        return refused(target, error_answer(None, exc.body or exc.message, {}, target.key))
    reason = f"{type(exc).__name__}: {exc}"
    if isinstance(exc, openai.OpenAIError):  # the client's own checks; none is about a server
        return Failure(
            error=ModelRequestError,
            target=target,
            happened="could not be asked",
            advice="Check the settings of the model.",
            said=redacted(reason, target.key),
        )
    # What is left comes of decoding: HTTP, UTF-8, SSE, JSON.
    if isinstance(exc, ValueError | TypeError | AttributeError | RecursionError):
        return unreadable(target, reason)
    return broken_off(target, reason)


class _Chunks(openai.AsyncStream[object]):
    """The values in a stream; ``done`` says whether it came to its ``[DONE]``.

    The client ends a stream there, and where the connection ends, without a difference.
    """

    done = False

    async def _iter_events(self) -> AsyncGenerator[Any, None]:
        async for event in super()._iter_events():
            self.done = self.done or event.data.startswith("[DONE]")
            yield event


class _Client(openai.AsyncOpenAI):
    """The client, sending no header that its environment variables set for OpenAI elsewhere.

    ``OPENAI_ORG_ID``, ``OPENAI_PROJECT_ID`` and ``OPENAI_CUSTOM_HEADERS`` would go to any host.
    """

    for_openai = True

    @property
    def default_headers(self) -> dict[str, str | openai.Omit]:
        """The headers of every request, apart from the key's."""
        if not self.for_openai:
            json_type = "application/json"
            return {"Accept": json_type, "Content-Type": json_type, "User-Agent": self.user_agent}
        # An Authorization among the custom ones would take the place of the key that was chosen.
        headers = super().default_headers
        return {name: headers[name] for name in headers if name.lower() != "authorization"}


def _client(config: LLMConfig, target: Target, transport: Any) -> _Client:
    host = urlsplit(target.base_url).hostname or ""
    for_openai = config.provider == "openai" and (
        config.base_url is None or f".{host}".endswith(".openai.com")
    )
    try:
        http_client = openai.DefaultAsyncHttpx2Client(
            follow_redirects=False,  # a redirect would take the conversation to a host nobody named
            transport=transport,
            trust_env=not is_loopback(target.base_url),  # no proxy sees what stays on this machine
        )
    except Exception as exc:  # noqa: BLE001 (of three libraries, each with errors of its own)
        raise SettingsError(
            "The environment's settings for HTTP can't be used "
            f"({type(exc).__name__}: {quoted(str(exc))}). Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, "
            "NO_PROXY and SSL_CERT_FILE.",
        ) from _showable(exc, target.key)
    client = _Client(
        api_key=target.key or _NO_KEY,
        base_url=target.base_url,
        # Empty, because None makes the client read OPENAI_ORG_ID and the like.
        organization=None if for_openai else "",
        project=None if for_openai else "",
        admin_api_key="",
        webhook_secret="",
        max_retries=0,  # they are made, and shown, by OpenAIModel
        timeout=openai.Timeout(target.timeout, connect=target.connect_timeout),
        http_client=http_client,
    )
    client.for_openai = for_openai
    return client


def _showable(exc: BaseException, key: str | None) -> BaseException | None:
    """``exc`` as the cause of ours, or ``None`` if the key can be read in it.

    Without tracebacks: the client's frames hold the key in their headers, and a verbose traceback
    prints the local variables of every frame in the chain.
    """
    link: BaseException | None = exc
    while link is not None:
        link.__traceback__ = None
        told = f"{link!r} {getattr(link, 'body', None)!r}"
        if redacted(told, key) != told:
            return None
        link = link.__cause__ or link.__context__
    return exc
