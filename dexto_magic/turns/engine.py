"""The turn engine: what becomes of a reply on its way, and when to save it.

It is pure: it is told what arrived and what the time is, and says what to store. Who asks, who
waits and who writes is in ``running``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from dexto_magic.conversation.messages import JSON, Message, new_id
from dexto_magic.llm.protocol import Finished, ReasoningDelta, TextDelta

SAVE_SECONDS = 0.5
"""A reply on its way is saved this often, so that a crash loses less than what one has read."""

SAVE_CHARACTERS = 4096
"""And sooner when this much has come in."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is known of a reply before it begins.

    Attributes:
        provider: Who is asked.
        model: The model that is asked for.
        options: The request options.
        asked_at: When the request leaves; UTC.
        clock: The same on the clock that only goes forward, in seconds.
    """

    provider: str
    model: str
    options: Mapping[str, JSON]
    asked_at: datetime
    clock: float


class RunningTurn:
    """A reply on its way: asked, then pieces, then complete, stopped or failed.

    All times are seconds on the clock of the question.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._id = new_id("msg")
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._unsaved = 0
        self._saved_at = question.clock
        self._sent_from: int | None = None

    def sent(self, sent_from: int | None) -> None:
        """Takes note of what goes out: from which turn on, or ``None`` for all of them."""
        self._sent_from = sent_from

    @property
    def has_begun(self) -> bool:
        """Whether anything of the reply has arrived."""
        return any(self._text) or any(self._reasoning)

    def feed(self, piece: TextDelta | ReasoningDelta) -> None:
        """Takes in what arrived."""
        (self._text if isinstance(piece, TextDelta) else self._reasoning).append(piece.text)
        self._unsaved += len(piece.text)

    @property
    def text(self) -> str:
        """The reply so far."""
        return "".join(self._text)

    def save_due(self, now: float) -> bool:
        """Whether what arrived since the last save should be saved."""
        return self._unsaved >= SAVE_CHARACTERS or (
            self._unsaved > 0 and now - self._saved_at >= SAVE_SECONDS
        )

    def partial(self, now: float) -> Message:
        """The reply so far, to be saved now."""
        self._unsaved = 0
        self._saved_at = now
        return self._reply()

    def complete(self, end: Finished, now: float) -> Message:
        """The reply, whole."""
        return replace(
            self._reply(),
            model=end.model or self._question.model,
            usage=end.usage,
            finish_reason=end.finish_reason,
            duration=self._seconds(now),
        )

    def cut_short(self, reason: str, now: float, *, error: str | None = None) -> Message:
        """The reply as far as it came: stopped, or failed if there is nothing of it.

        Args:
            reason: Why it stopped.
            now: The time.
            error: The name of the error that prevented it, to stand as the reason if it failed.
        """
        arrived = self.has_begun
        return replace(
            self._reply(),
            status="stopped" if arrived else "failed",
            reason=reason if arrived else error or reason,
            duration=self._seconds(now),
        )

    def _reply(self) -> Message:
        return Message(
            role="assistant",
            content=self.text,
            id=self._id,
            created_at=self._question.asked_at,
            reasoning="".join(self._reasoning),
            model=self._question.model,
            provider=self._question.provider,
            options=self._question.options,
            sent_from=self._sent_from,
        )

    def _seconds(self, now: float) -> float:
        return round(now - self._question.clock, 3)
