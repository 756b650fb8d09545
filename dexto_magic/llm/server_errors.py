"""What a server means by an answer that is an error, whatever shape it gives it.

Facts about other people's servers, gathered in one place; what we say about them is in
``failures``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from dexto_magic.errors import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
)
from dexto_magic.llm.discretion import redacted

_LONGEST_QUOTE = 300

_STATUS_OF_CODE: Mapping[str, int] = {
    "authentication_error": 401,
    "context_length_exceeded": 400,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
}
"""The status that goes with an error's ``code`` or ``type``: amid a stream there is no other."""

# The wording of OpenAI ("maximum context length is", "exceeds the context window"), vLLM (those,
# and "longer than the maximum model length"), SGLang and Ollama ("context length"), Anthropic
# ("prompt is too long", "exceed context limit"), Google ("input token count (…) exceeds the
# maximum"), xAI ("maximum prompt length"), Groq ("reduce the length of the messages"), llama.cpp
# ("available context size"), LM Studio ("greater than the context length") and Poolside ("maximum
# allowed input length"); collected in overflow.ts of https://github.com/badlogic/pi-mono.
_OVERFLOW = re.compile(
    r"context[ _](?:length|window|limit|size)|(?:prompt|input) (?:is )?too long|too many tokens"
    r"|input token count.*exceeds|maximum prompt length|reduce the length of the messages"
    r"|longer than the maximum model length|maximum allowed input length",
    re.IGNORECASE,
)
# The number in those that say one; Groq, SGLang and Ollama do not. One such as 128k is left alone.
_WINDOW = re.compile(
    r"(?:maximum (?:context|prompt|model|allowed input) length (?:is|of)|maximum number of tokens"
    r" allowed \(|> |context (?:size|length|window)(?: of| is|:)?(?: only)? \(?|model with )"
    r"\s*(?P<tokens>\d[\d,_]*)(?![\d,_]*(?:\.\d|[km]\b))",
    re.IGNORECASE,
)
_THROTTLED = re.compile(r"rate.?limit|per (?:minute|day)|please wait|throttl", re.IGNORECASE)

# Google answers a bad key with 400: https://ai.google.dev/gemini-api/docs/troubleshooting
_BAD_KEY = re.compile(r"api key (?:is )?(?:not valid|invalid)|API_KEY_INVALID", re.IGNORECASE)

# OpenRouter and DeepSeek answer an unknown model with 400.
_BAD_MODEL = re.compile(r"not a valid model|model[ _]not[ _](?:found|exist)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ErrorAnswer:
    """An answer that is an error, whole or amid a stream.

    Attributes:
        status: The HTTP status, or the one that goes with ``code``; ``None`` where neither says.
        code: The server's own word for the error; may be empty.
        text: What the server said; may be empty.
        headers: The answer's headers.
    """

    status: int | None
    code: str
    text: str
    headers: Mapping[str, str]

    @property
    def error(self) -> type[ModelError]:
        """The class of ours that it is."""
        counted = _STATUS_OF_CODE.get(self.code) == HTTPStatus.TOO_MANY_REQUESTS
        if counted or self.status in (402, 429):
            return ModelRateLimitError
        if self.status in (401, 403) or _BAD_KEY.search(self.text):
            return ModelAuthenticationError
        too_long = self.code == "context_length_exceeded" or _OVERFLOW.search(self.text)
        if too_long and self.status != HTTPStatus.NOT_FOUND and not _THROTTLED.search(self.text):
            return ContextOverflowError
        if self.status in (None, 408, 409) or self.is_server_fault:
            return ModelUnavailableError
        return ModelRequestError

    @property
    def window(self) -> int | None:
        """How many tokens fit, if it says that a conversation is too long and for what."""
        found = _WINDOW.search(self.text) if self.error is ContextOverflowError else None
        return int(re.sub("[,_]", "", found["tokens"])) or None if found else None

    @property
    def is_server_fault(self) -> bool:
        """Whether the status is 500 or more."""
        return self.status is not None and self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def is_redirect(self) -> bool:
        """Whether the status sends one elsewhere."""
        return self.status is not None and 300 <= self.status < 400  # noqa: PLR2004  # HTTP's redirections

    @property
    def is_quota(self) -> bool:
        """Whether something is used up, so that no patience helps."""
        return self.code == "insufficient_quota" or self.status == HTTPStatus.PAYMENT_REQUIRED

    @property
    def is_unknown_model(self) -> bool:
        """Whether there is no model of the name that was asked for."""
        said = f"{self.code} {self.text}"
        if self.status == HTTPStatus.NOT_FOUND:
            return "model" in said.lower()
        return self.status == HTTPStatus.BAD_REQUEST and bool(_BAD_MODEL.search(said))

    @property
    def is_about_usage(self) -> bool:
        """Whether the server does not know ``stream_options``."""
        wording = "stream_options" in self.text or "include_usage" in self.text
        return self.status in (400, 422) and wording


def error_answer(
    status: int | None, body: object, headers: Mapping[str, str], key: str | None
) -> ErrorAnswer:
    """What an error's status, body and headers say, without the key that was sent.

    Args:
        status: The HTTP status, or ``None`` for an error amid a stream.
        body: As the server sent it, decoded if it was JSON.
        headers: The answer's headers; names are looked up in lower case.
        key: The key that was sent, or ``None``: servers echo it.
    """
    text, code = (redacted(part, key) for part in _told(body))
    if status is None:
        status = int(code) if re.fullmatch(r"[45]\d\d", code) else _STATUS_OF_CODE.get(code)
    clean = {name: redacted(value, key) for name, value in headers.items()}
    return ErrorAnswer(status=status, code=code, text=text, headers=clean)


def is_error(value: object) -> bool:
    """Whether a JSON value that stands where a reply should be is an error (vLLM has the second)."""
    return isinstance(value, Mapping) and bool(value.get("error") or value.get("object") == "error")


def quoted(text: str) -> str:
    """What a server said, on one line, without control characters, cut to a readable length.

    Of an HTML page, the title: a proxy's 502 comes as one.
    """
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title and re.match(r"\s*<(?:!doctype|html)", text, re.IGNORECASE):
        text = title[1]
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 1].rstrip() + "…"


def _told(body: object) -> tuple[str, str]:
    """The message and the code in an error's body.

    Seen are OpenAI's ``{"message", "type", "code"}``, a bare string (Ollama), a list around it
    (Google), ``detail`` as text or as a list of ``{"msg", "loc"}`` (FastAPI: vLLM, Mistral).
    """
    if isinstance(body, list) and body:
        return _told(body[0])
    if not isinstance(body, Mapping):
        return ("" if body in (None, []) else str(body)), ""
    if isinstance(body.get("error"), str | Mapping):
        return _told(body["error"])
    words = (body.get("code"), body.get("type"), body.get("status"))
    code = next((str(word) for word in words if isinstance(word, str | int) and word), "")
    text = next(
        (_told(body[name])[0] for name in ("message", "detail", "msg") if body.get(name)), ""
    )
    place = body.get("loc")
    return (f"{text}: {place}" if text and place else text), code
