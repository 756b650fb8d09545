"""What a model would be sent of a conversation, for whoever asks what, or how full it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dexto_magic.conversation.messages import JSON
from dexto_magic.conversation.session import Overflow
from dexto_magic.conversation.window import Composition


@dataclass(frozen=True, kw_only=True)
class ContextReport:
    """How much of a conversation the next request would hold, and of what it may hold.

    Attributes:
        session: The session's name.
        model: The model that would be asked, as ``"provider:model"``.
        window: Tokens that the model takes, or ``None`` where nobody says.
        budget: Tokens that the session's requests may have, or ``None`` for no budget.
        used: Tokens that the next request would have, without its new message.
        is_reported: Whether ``used`` is what the provider counted last, not an estimate.
        overflow: What is done when it no longer fits.
        turns: Turns in view.
        sent: How many of the newest would be sent word for word; failed ones among them are not.
        summarised: The number of the last turn that a summary would stand for, or ``None``.
        summary: The text of that summary.
        lines: What else is to be known, in our words.
    """

    session: str
    model: str
    window: int | None = None
    budget: int | None = None
    used: int
    is_reported: bool = False
    overflow: Overflow = "compact"
    turns: int = 0
    sent: int = 0
    summarised: int | None = None
    summary: str = ""
    lines: tuple[str, ...] = ()

    @property
    def limit(self) -> int | None:
        """Tokens that the next request may have, or ``None`` where nothing is known to bound it."""
        return min((n for n in (self.budget, self.window) if n is not None), default=None)

    @property
    def share(self) -> float | None:
        """How full it is, 1 where it is full; ``None`` where nothing is known to bound it."""
        return self.used / self.limit if self.limit else None


@dataclass(frozen=True, kw_only=True)
class PromptPreview:
    """What would be sent for a turn. Nothing was.

    Attributes:
        session_id: The session's name.
        model: The model that would be asked, as ``"provider:model"``.
        body: The body of the request, as JSON values, exactly as it would go out.
        composition: The conversation in it, and how large it is.
        lines: What is to be known of it, in our words.
    """

    session_id: str
    model: str
    body: Mapping[str, JSON]
    composition: Composition
    lines: tuple[str, ...] = ()
