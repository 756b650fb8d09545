"""How a reply is put together from what a server sends.

Pure: JSON values in, pieces of text out. Nothing that a server may send makes it fail; what is
not text where text belongs is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dexto_magic.conversation.messages import Usage
from dexto_magic.llm.protocol import Finished, ReasoningDelta, TextDelta
from dexto_magic.llm.surrogates import SurrogateJoiner

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Tells a ``<think>`` block at the very start of a reply from the reply itself.

    That is how open models send their reasoning where the server does not take it apart. A
    ``<think>`` anywhere later is text. Tags may come in pieces. Line breaks right after a tag
    belong to it.
    """

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    def feed(self, text: str) -> Iterator[TextDelta | ReasoningDelta]:
        """The pieces of ``text`` that are certain by now."""
        self._held += text
        if self._state == "start":
            self._begin()
        if self._state in ("opened", "thinking"):
            yield from self._think()
        if self._state == "closed":
            self._held = self._held.lstrip("\r\n")
            self._state = "text" if self._held else "closed"
        if self._state == "text" and self._held:
            yield TextDelta(self._held)
            self._held = ""

    def flush(self) -> Iterator[TextDelta | ReasoningDelta]:
        """What was held back, at the end of the reply; an open block is reasoning to its end."""
        if self._held:
            kind = TextDelta if self._state == "start" else ReasoningDelta
            yield kind(self._held)
        self._held = ""

    def _begin(self) -> None:
        start = self._held.lstrip()
        if start.startswith(_OPEN):
            self._held = start.removeprefix(_OPEN)
            self._state = "opened"
        elif not _OPEN.startswith(start):
            self._state = "text"

    def _think(self) -> Iterator[ReasoningDelta]:
        if self._state == "opened":
            self._held = self._held.lstrip("\r\n")
        thought, closed, rest = self._held.partition(_CLOSE)
        if not closed:
            open_tag = _length_of_partial_tag(thought)
            thought, rest = thought[: len(thought) - open_tag], thought[len(thought) - open_tag :]
        self._held = rest
        if thought:
            self._state = "thinking"
            yield ReasoningDelta(thought)
        if closed:
            self._state = "closed"


def _length_of_partial_tag(text: str) -> int:
    lengths = range(min(len(_CLOSE) - 1, len(text)), 0, -1)
    return next((length for length in lengths if _CLOSE.startswith(text[-length:])), 0)


class ReplyAssembly:
    """One reply, from its chunks or from the whole.

    Attributes:
        began: Whether anything arrived that belongs to a reply.
        ended: Whether the reply came to its end: a finish reason, the usage report that follows
            the last chunk, or, as whoever reads the stream knows, its ``[DONE]``.
    """

    def __init__(self) -> None:
        self.began = False
        self.ended = False
        self._text, self._reasoning = SurrogateJoiner(), SurrogateJoiner()
        self._splitter = ThinkSplitter()
        self._model: str | None = None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def feed(self, chunk: object) -> Iterator[TextDelta | ReasoningDelta]:
        """The text in a chunk of a stream, or in a whole completion."""
        if not isinstance(chunk, Mapping):
            return
        self._model = self._model or _string(chunk.get("model"))
        choice = _first_choice(chunk.get("choices"))
        usage = _usage(chunk.get("usage"))
        if usage is not None:
            self._usage = usage
            # Some servers count along in every chunk; only the one after the last has no choice.
            self.ended = self.ended or choice is None
        if choice is None:
            return
        self.began = True
        self._finish_reason = _string(choice.get("finish_reason")) or self._finish_reason
        self.ended = self.ended or self._finish_reason is not None
        said = choice.get("delta") or choice.get("message")
        if isinstance(said, Mapping):
            yield from self._pieces(said)

    def flush(self) -> Iterator[TextDelta | ReasoningDelta]:
        """What was held back, at the end of the reply or where it broke off."""
        if reasoning := self._reasoning.flush():
            yield ReasoningDelta(reasoning)
        yield from self._splitter.feed(self._text.flush())
        yield from self._splitter.flush()

    def finished(self) -> Finished:
        """What is known of the reply at its end."""
        return Finished(model=self._model, finish_reason=self._finish_reason, usage=self._usage)

    def _pieces(self, said: Mapping[str, Any]) -> Iterator[TextDelta | ReasoningDelta]:
        # DeepSeek and vLLM say reasoning_content, OpenRouter and Ollama reasoning; some say both.
        thought = _text(said.get("reasoning_content")) or _text(said.get("reasoning"))
        content = said.get("content")
        if isinstance(content, list):  # Mistral's reasoning models send parts
            thought += "".join(_thinking(part) for part in content)
        if thought := self._reasoning.feed(thought):
            yield ReasoningDelta(thought)
        # A refusal comes in a field of its own: it is the reply, too.
        if text := self._text.feed(_text(content) + _text(said.get("refusal"))):
            yield from self._splitter.feed(text)


def _first_choice(choices: object) -> Mapping[str, Any] | None:
    if not isinstance(choices, list):
        return None
    of_first = (item for item in choices if isinstance(item, Mapping) and not item.get("index"))
    return next(of_first, None)


def _text(value: object) -> str:
    """The text in a value that should be text: a string, a number, or a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(
            _text(part.get("text") if isinstance(part, Mapping) else part) for part in value
        )
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _thinking(part: object) -> str:
    return _text(part.get("thinking")) if isinstance(part, Mapping) else ""


def _usage(report: object) -> Usage | None:
    if not isinstance(report, Mapping):
        return None
    asked, replied = _count(report.get("prompt_tokens")), _count(report.get("completion_tokens"))
    if asked is None and replied is None:
        return None
    cached = _count(_field(report, "prompt_tokens_details", "cached_tokens"))
    if cached is None:  # https://api-docs.deepseek.com/guides/kv_cache
        cached = _count(report.get("prompt_cache_hit_tokens"))
    return Usage(
        input_tokens=asked or 0,
        output_tokens=replied or 0,
        cached_tokens=cached,
        reasoning_tokens=_count(_field(report, "completion_tokens_details", "reasoning_tokens")),
    )


def _field(report: Mapping[str, Any], group: str, name: str) -> object:
    details = report.get(group)
    return details.get(name) if isinstance(details, Mapping) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
