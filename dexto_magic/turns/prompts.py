"""What is asked in one turn and how: the message, what this turn has of its own, and who answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from dexto_magic.conversation.messages import JSON, Origin
from dexto_magic.llm.protocol import ChatModel


class TurnOptions(TypedDict, total=False):
    """How one turn differs from the others; ``generate`` and ``stream`` take these by name."""

    model: str | None
    """A model for this turn only, as ``"provider:model"``; else the session's or the agent's."""

    system: str | None
    """A system prompt for this turn only; else the session's or the agent's."""

    options: Mapping[str, JSON]
    """Request options for this turn, as the provider documents them, such as ``temperature``."""

    stream: bool
    """Whether to ask for the reply in pieces, as is usual; not every server can."""

    wait: float
    """Seconds to wait for a turn of the session that is running already; 0 unless given."""

    note: str | None
    """Something that the model should know for this turn only; it is not stored."""

    origin: Origin | None
    """Where the message was typed."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is asked, and how; see ``TurnOptions``.

    Attributes:
        session_id: The session's name.
        text: The message; ``None`` to ask again what a turn of before asked.
        again: Whether this is to be another version of a turn of before.
        turn: The number of that turn, or ``None`` for the last.
    """

    session_id: str
    text: str | None
    again: bool = False
    turn: int | None = None
    model: str | None = None
    system: str | None = None
    options: Mapping[str, JSON] = field(default_factory=dict)
    stream: bool = True
    wait: float = 0.0
    note: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """Who answers in a session, and how it is asked.

    Attributes:
        model: The model.
        options: The request options that go with every question.
        window: The model's context window in tokens, or ``None`` where nobody said it.
    """

    model: ChatModel
    options: Mapping[str, JSON]
    window: int | None
