"""What a model is sent of a conversation: nothing else decides that.

Pure, so that ``what would be sent`` can be shown without sending it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dexto_magic.conversation.messages import Message, turns_of

PromptRole: TypeAlias = Literal["system", "user", "assistant"]
"""Who speaks in a request."""

CUT_SHORT = "[This reply was cut short: {reason}.]"
"""What follows a reply that stopped before its end, so that the model knows."""


@dataclass(frozen=True, kw_only=True)
class PromptMessage:
    """One message of a request.

    Attributes:
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: The text.
    """

    role: PromptRole
    content: str


def request_messages(
    history: Sequence[Message], prompt: str, *, system: str | None = None, note: str | None = None
) -> list[PromptMessage]:
    """The request for the next turn: ``[system] [turns …] [note] [the new message]``.

    A failed turn is left out whole, so that a retry does not double its question; a stopped reply
    goes along, marked as cut short. Reasoning is never sent again. The note stands right before
    the new message: at the front it would break the provider's prompt cache.

    Args:
        history: The turns before this one.
        prompt: The new message.
        system: The system prompt, or ``None`` for none.
        note: Something the model should know for this turn only, or ``None``.
    """
    request = [PromptMessage(role="system", content=system)] if system else []
    for turn in turns_of(history):
        if turn.status in ("complete", "stopped"):
            request.extend(_sent(message) for message in turn.messages if message.role != "tool")
    if note:
        request.append(PromptMessage(role="system", content=note))
    request.append(PromptMessage(role="user", content=prompt))
    return request


def _sent(message: Message) -> PromptMessage:
    content = message.content
    if message.status == "stopped":
        mark = CUT_SHORT.format(reason=message.reason)
        content = f"{content}\n\n{mark}" if content else mark
    return PromptMessage(
        role="assistant" if message.role == "assistant" else "user", content=content
    )
