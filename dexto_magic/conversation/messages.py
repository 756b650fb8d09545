"""What is said in a conversation, as immutable values.

Separate from sessions because everything above deals in messages, and few care which session
they came from.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
"""Any JSON value, as the standard library reads it."""

Role: TypeAlias = Literal["user", "assistant", "tool"]
"""Who speaks. The system prompt is never in history: it is built for each request."""

Status: TypeAlias = Literal["complete", "stopped", "failed"]
"""How a message ended: whole; cut short with text to show; or with nothing to show."""

_ID_ALPHABET = string.ascii_lowercase + string.digits


def new_id(prefix: str) -> str:
    """A random id such as ``msg_k3x…``: the prefix and 12 characters, 62 bits of chance."""
    return prefix + "_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens that a provider reported, for one reply or as a sum of several.

    Attributes:
        input_tokens: Tokens of the request.
        output_tokens: Tokens of the reply, its reasoning included.
        cached_tokens: Those of the request that the provider had cached; ``None`` if unreported.
        reasoning_tokens: Those of the reply spent on reasoning; ``None`` if unreported.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=_sum(self.cached_tokens, other.cached_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a message was typed.

    Attributes:
        notebook: Path of the notebook file, if it is known.
        cell_id: The cell's id in that notebook, if the front end sends one.
    """

    notebook: str | None = None
    cell_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """Something sent along with a message; its bytes are kept apart, under their digest.

    Attributes:
        name: What the user called it.
        media_type: For example ``image/png``.
        digest: SHA-256 of the bytes, in hexadecimal.
        size: Length in bytes.
    """

    name: str
    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A function that the model asked for.

    Attributes:
        id: The provider's id, which the tool's answer repeats.
        name: The function's name.
        arguments: Its arguments as the JSON text that the model wrote, valid or not.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """One thing that was said. Two messages are equal if every field is.

    Attributes:
        role: ``"user"``, ``"assistant"`` or ``"tool"``.
        content: The text; empty for a reply that failed.
        id: Unique in its session; a fork's messages have the ids of those that they were.
        created_at: When it was said, or began to be said; UTC.
        turn: The number of the turn it belongs to, counted from 1 within the session.
        version: Which version of that turn, counted from 1.
        status: ``"complete"``, ``"stopped"`` or ``"failed"``.
        reason: Why it stopped or failed: ``"interrupted"``, ``"cancelled"``, ``"crashed"``,
            ``"error"``, or the name of an error class; ``None`` for a complete one.
        origin: Where it was typed, if that is known.
        attachments: What was sent along.
        tool_calls: Functions that the model asked for.
        tool_call_id: For a tool's answer, the call that it answers.
        reasoning: The model's reasoning, where it shows it; never sent again.
        model: The model that served the reply, as the provider names it.
        provider: The provider that served it, as in the provider table.
        options: The request options it was asked with; never a key or a header.
        usage: Tokens, if the provider reported them.
        finish_reason: The provider's word for why the reply ended.
        duration: Seconds from the request to the end of the reply.
        sent_from: For a reply to a part of the conversation: the number of the first turn that the
            model was sent word for word; ``None`` if it was sent all.
    """

    role: Role
    content: str
    id: str
    created_at: datetime
    turn: int = 0
    version: int = 1
    status: Status = "complete"
    reason: str | None = None
    origin: Origin | None = None
    attachments: tuple[Attachment, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str = ""
    model: str | None = None
    provider: str | None = None
    options: Mapping[str, JSON] = field(default_factory=dict, hash=False)
    usage: Usage | None = None
    finish_reason: str | None = None
    duration: float | None = None
    sent_from: int | None = None

    def same_content(self, other: Message) -> bool:
        """Whether both say the same, whoever stored them and when."""
        return (self.role, self.content, self.attachments, self.tool_calls) == (
            other.role,
            other.content,
            other.attachments,
            other.tool_calls,
        )


@dataclass(frozen=True, kw_only=True)
class Aside:
    """What a model was asked about a conversation and not in it: a summary, or a title.

    A summary stands for the turns up to ``turn`` as they were then. It counts only while those
    turns are in view in the same versions.

    Attributes:
        kind: ``"summary"`` or ``"title"``.
        content: What the model wrote.
        id: Unique in its session.
        created_at: When it was asked for; UTC.
        turn: The number of the last turn that it is about.
        through: The id of the last message that it is about, or ``None`` if there is none.
        versions: The versions of the turns that it is about, where not the first.
        without: The numbers up to there of turns that had been forgotten.
        model: The model that wrote it, as the provider names it.
        provider: The provider that served it, as in the provider table.
        usage: Tokens, if the provider reported them.
        duration: Seconds from the request to its end.
    """

    kind: Literal["summary", "title"]
    content: str
    id: str
    created_at: datetime
    turn: int = 0
    through: str | None = None
    versions: Mapping[int, int] = field(default_factory=dict, hash=False)
    without: tuple[int, ...] = ()
    model: str | None = None
    provider: str | None = None
    usage: Usage | None = None
    duration: float | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A user message and all that follows it up to the next one.

    Attributes:
        number: Its place in the session, counted from 1.
        messages: The user message first; the last one tells how the turn ended.
    """

    number: int
    messages: tuple[Message, ...]

    @property
    def status(self) -> Status | Literal["open"]:
        """How it ended, or ``"open"`` while there is no reply yet."""
        last = self.messages[-1]
        return "open" if last.role == "user" else last.status


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """The turns of a history, in order."""
    turns: list[list[Message]] = []
    for message in messages:
        if not turns or turns[-1][0].turn != message.turn:
            turns.append([])
        turns[-1].append(message)
    return [Turn(number=turn[0].turn, messages=tuple(turn)) for turn in turns]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What ``generate`` returns: the model's answer and the session it was given in.

    Attributes:
        session_id: The session's name.
        message: The stored assistant message.
        session_usage: The session's tokens so far, this reply included.
    """

    session_id: str
    message: Message
    session_usage: Usage = field(default_factory=Usage)

    @property
    def content(self) -> str:
        """The text of the answer."""
        return self.message.content

    @property
    def reasoning(self) -> str:
        """The model's reasoning, where it shows it."""
        return self.message.reasoning

    @property
    def status(self) -> Status:
        """``"complete"``, or ``"stopped"`` or ``"failed"`` if the turn was cancelled."""
        return self.message.status

    @property
    def usage(self) -> Usage | None:
        """Tokens of this turn, if the provider reported them."""
        return self.message.usage

    @property
    def model(self) -> str | None:
        """The model that answered, as the provider names it."""
        return self.message.model

    @property
    def turn(self) -> int:
        """The turn's number in the session, counted from 1."""
        return self.message.turn
