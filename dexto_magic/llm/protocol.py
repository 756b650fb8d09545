"""What the agent needs of a model: messages in, a stream of events out.

The seam between the conversation and whoever answers. A model knows nothing of sessions.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from dexto_magic.conversation.messages import JSON, Usage
from dexto_magic.conversation.window import PromptMessage


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What a model is asked.

    Attributes:
        messages: The conversation, the new message last.
        options: Request options as the provider documents them, such as ``temperature``.
        stream: Whether to ask for the reply in pieces; not every server can.
    """

    messages: Sequence[PromptMessage]
    options: Mapping[str, JSON] = field(default_factory=dict)
    stream: bool = True


@dataclass(frozen=True)
class TextDelta:
    """The next piece of the reply."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """The next piece of the model's reasoning."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something that the person who waits should know, in one line.

    Attributes:
        text: The line.
        passing: Whether it is true only for a while, and no longer when the reply is whole.
    """

    text: str
    passing: bool = False


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The end of a reply that arrived whole; the last event of its stream.

    Attributes:
        model: The model that served it, as the provider names it.
        finish_reason: The provider's word for why it ended.
        usage: Tokens, if the provider reported them.
    """

    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None


ModelEvent: TypeAlias = TextDelta | ReasoningDelta | Notice | Finished


class ChatModel(Protocol):
    """Somebody who answers."""

    @property
    def provider(self) -> str:
        """Its provider, as named in the provider table."""
        ...

    @property
    def name(self) -> str:
        """Its own name, as the provider knows it."""
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ModelEvent, None]:
        """The reply as it arrives; ``Finished`` comes last, and only if it arrived whole.

        Cancelling the task that iterates closes the connection at once. Closing the iterator does
        the same.

        Raises:
            ModelError: One of its kinds, before or amid the reply.
        """
        ...

    async def close(self) -> None:
        """Closes its connections; it can't be asked afterwards."""
        ...
