"""A request that came to nothing: which error of ours it is, and the words for it.

Pure, and separate from the adapter, because none of it depends on the library that noticed. Each
message says who, what happened, what the server said, and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from dexto_magic.errors import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelError,
    ModelRateLimitError,
    ModelUnavailableError,
)
from dexto_magic.llm.discretion import redacted, shown_url
from dexto_magic.llm.local import is_loopback
from dexto_magic.llm.provider_table import PROVIDERS
from dexto_magic.llm.retries import LONGEST_WAIT, retry_after, spoken, worth_retrying
from dexto_magic.llm.server_errors import ErrorAnswer, quoted


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom a request goes to, as the messages name it.

    Attributes:
        provider: A name of the provider table.
        model: The model that was asked for.
        base_url: Where the API is.
        key: The key that went along, to be left out of every message, or ``None``.
        timeout: Seconds that it may be silent.
        connect_timeout: Seconds that a connection may take.
    """

    provider: str
    model: str
    base_url: str
    key: str | None = field(repr=False)
    timeout: float
    connect_timeout: float

    def __str__(self) -> str:
        return f"{self.provider} ({self.model})"

    @property
    def place(self) -> str:
        """The base URL without what may be secret in it."""
        return shown_url(self.base_url)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One request that came to nothing.

    Attributes:
        error: The class of ours that it is.
        target: Whom the request went to.
        happened: What happened, in words that follow "openai (gpt-4o) ".
        advice: What to do next.
        said: What the server said, without the key; may be empty.
        brief: What happened, in fewer words that follow "openai ".
        retryable: Whether asking again may help, as long as nothing of a reply has arrived.
        retry_after: Seconds after which the provider wants to be asked again, if it said so.
        answer: The error that the server sent, if it sent one.
        cause: The foreign exception, if it can be shown.
    """

    error: type[ModelError]
    target: Target
    happened: str
    advice: str
    said: str = ""
    brief: str = ""
    retryable: bool = False
    retry_after: float | None = None
    answer: ErrorAnswer | None = None
    cause: BaseException | None = None

    def exception(self) -> ModelError:
        """Our error, the key nowhere in its message."""
        details: dict[str, Any] = {"provider": self.target.provider, "model": self.target.model}
        if self.error is ModelRateLimitError:
            details["retry_after"] = self.retry_after
        if self.error is ContextOverflowError and self.answer is not None:
            details["window"] = self.answer.window
        said = quoted(self.said).rstrip(". ")
        happened = f"{self.happened}: {said}" if said else self.happened
        message = f"{self.target} {happened}. {self.advice}"
        return self.error(redacted(message, self.target.key), **details)


def refused(target: Target, answer: ErrorAnswer) -> Failure:
    """The server answered with an error, at once or amid its reply."""
    error = answer.error
    wait = retry_after(answer.headers, datetime.now(UTC))
    too_long = wait is not None and wait > LONGEST_WAIT
    if too_long and error is ModelUnavailableError:
        error = ModelRateLimitError  # it names a time, and a caller can wait for that
    happened, advice = _words(target, answer, error, wait)
    return Failure(
        error=error,
        target=target,
        happened=happened,
        advice=advice,
        said=answer.text,
        brief=f"answered {_named(answer.status)}",
        retryable=worth_retrying(answer) and not too_long,
        retry_after=wait,
        answer=answer,
    )


def unreachable(target: Target, reason: str) -> Failure:
    """There was no connection, or it ended before an answer."""
    advice = "Check the network, the proxy settings and base_url."
    if is_loopback(target.base_url):
        starts = " `ollama serve` starts it." if target.provider == "ollama" else ""
        advice = f"Is it running on this machine?{starts}"
    return Failure(
        error=ModelUnavailableError,
        target=target,
        happened=f"could not be reached at {target.place}",
        advice=advice,
        said=redacted(reason, target.key),
        brief="could not be reached",
        retryable=True,
    )


def timed_out(target: Target, *, connecting: bool) -> Failure:
    """Nothing came within the time-out.

    A silent provider is not asked again: it may be at work on the reply, which would then be paid
    for twice, and whoever asked has waited for two minutes.
    """
    what = "accept a connection" if connecting else "send anything"
    seconds = target.connect_timeout if connecting else target.timeout
    return Failure(
        error=ModelUnavailableError,
        target=target,
        happened=f"did not {what} within {spoken(seconds)}, at {target.place}",
        advice="Try again later; check base_url and the proxy settings; or wait longer, by `timeout`.",
        brief=f"did not {what} within {spoken(seconds)}",
        retryable=connecting,
    )


def broken_off(target: Target, reason: str) -> Failure:
    """The reply began and did not come to its end."""
    return Failure(
        error=ModelUnavailableError,
        target=target,
        happened="broke off before the end of the reply",
        advice="Ask again.",
        said=redacted(reason, target.key),
    )


def unreadable(target: Target, reason: str) -> Failure:
    """What arrived is no reply of the Chat Completions API."""
    return Failure(
        error=ModelUnavailableError,
        target=target,
        happened="sent something that is not a chat completion",
        advice=f"Ask again, or check base_url, now {target.place}: it usually ends in /v1.",
        said=redacted(reason, target.key),
    )


def _words(
    target: Target, answer: ErrorAnswer, error: type[ModelError], wait: float | None
) -> tuple[str, str]:
    """What happened and what to do next, apart from what the server said."""
    answered = f"answered {_named(answer.status)}"
    if error is ContextOverflowError:
        advice = (
            "Leave the older turns out (`%dexto set overflow=trim`), or summarise them (`%dexto "
            "compact`), or choose a model with a larger context window."
        )
        return "has no room for a conversation of this length", advice
    if error is ModelAuthenticationError:
        return _words_on_key(target, answer)
    if error is ModelRateLimitError:
        if answer.is_quota:
            return f"{answered}, the quota is used up", "Check plan and billing there."
        return answered, f"Try again in {spoken(wait)}." if wait else "Try again later."
    if error is ModelUnavailableError:
        return answered, "The fault is on its side: try again later."
    if answer.is_unknown_model:
        pull = f", or fetch it: `ollama pull {target.model}`" if target.provider == "ollama" else ""
        return "knows no model of that name", f"Check the name{pull}."
    if answer.status == HTTPStatus.NOT_FOUND:
        happened = f"has nothing at {target.place.rstrip('/')}/chat/completions"
        return happened, "Check base_url: it usually ends in /v1."
    if answer.is_redirect:
        place = quoted(answer.headers.get("location", "nowhere"))
        advice = "If that is right, set base_url to it, without /chat/completions."
        return f"redirects to {place} ({answer.status})", advice
    return f"refused the request ({answer.status})", "Check the model and the request options."


def _words_on_key(target: Target, answer: ErrorAnswer) -> tuple[str, str]:
    name = PROVIDERS[target.provider].key_variable
    advice = "Enter one with `%dexto key`" + (f", or set {name}." if name else ".")
    if target.key is None:
        return f"wants a key ({answer.status})", advice
    if answer.status == HTTPStatus.FORBIDDEN:
        return "does not allow this with the key (403)", "Check what the key may do there."
    return f"does not accept the key ({answer.status})", advice


def _named(status: int | None) -> str:
    if status is None:
        return "with an error"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "429 (rate limit)"
    try:
        return f"{status} ({HTTPStatus(status).phrase.lower()})"
    except ValueError:  # 520 to 529 are Cloudflare's and Anthropic's own
        return str(status)
