"""What is asked in one turn and how: the message, and what this turn has of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from dexto_magic.conversation.messages import JSON, Origin


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
    """What is asked, and how; see ``TurnOptions``."""

    session_id: str
    text: str
    model: str | None = None
    system: str | None = None
    options: Mapping[str, JSON] = field(default_factory=dict)
    stream: bool = True
    wait: float = 0.0
    note: str | None = None
    origin: Origin | None = None
