"""The openai client: what it is told and asked, and which failure each of its errors is.

The only module that imports openai. It owns the dealings with that library, and so also knows what
it must not pick up from the environment and what of it must not be shown.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import openai

from dexto_magic.errors import ModelRequestError, SettingsError
from dexto_magic.llm.discretion import redacted
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
from dexto_magic.llm.providers import LLMConfig
from dexto_magic.llm.server_errors import error_answer, quoted

_T = TypeVar("_T")

Response: TypeAlias = openai.AsyncAPIResponse[Any]
"""An answer whose headers are read, and whose body is not."""

_NO_KEY = "no-key"
"""Sent where no key is needed: the client insists on one."""


class Client(openai.AsyncOpenAI):
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


def client_for(config: LLMConfig, target: Target, transport: Any) -> Client:
    """The client that asks a target; it opens no connection yet.

    Args:
        config: Which model.
        target: Where it is, and by which key it is asked.
        transport: An ``httpx2.AsyncBaseTransport`` in place of the network, or ``None``.

    Raises:
        SettingsError: The proxy that the environment names can't be used.
    """
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
    client = Client(
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


def asking(
    client: Client,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    *,
    stream: bool,
    with_usage: bool,
) -> AbstractAsyncContextManager[Response]:
    """The request for a reply, which is made when the context is entered.

    Args:
        client: Who asks.
        model: The model, as the provider names it.
        messages: The conversation, as it goes out.
        options: The request options, as they go out.
        stream: Whether the reply is wanted in pieces.
        with_usage: Whether a stream is to end with what it took.
    """
    # The client copies `messages` one by one: 1.6 s for 10,000, in which nothing else runs. What
    # is in `extra_body` goes out as it is, in place of what else has its name.
    return client.chat.completions.with_streaming_response.create(
        model=model,
        messages=[],
        stream=stream,
        stream_options={"include_usage": True} if with_usage else openai.omit,
        extra_body={"messages": messages, **options},
    )


class Chunks(openai.AsyncStream[object]):
    """The values in a stream; ``done`` says whether it came to its ``[DONE]``.

    The client ends a stream there, and where the connection ends, without a difference.
    """

    done = False

    async def _iter_events(self) -> AsyncGenerator[Any, None]:
        async for event in super()._iter_events():
            self.done = self.done or event.data.startswith("[DONE]")
            yield event


async def outcome(awaitable: Awaitable[_T], target: Target, *, began: bool) -> _T | Failure:
    """What the client gives, or the failure that it ends in.

    A value and not an exception, so that ours is raised where no foreign one is being handled:
    ``__context__`` would keep one that must not be shown.

    Args:
        awaitable: What is asked of the client.
        target: Whom the request goes to.
        began: Whether the reply has begun.
    """
    try:
        return await awaitable
    except Exception as exc:  # noqa: BLE001 (a server that sends no HTTP or JSON causes any)
        failure = failure_of(exc, target, began=began)
        return replace(failure, cause=_showable(exc, target.key))


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
