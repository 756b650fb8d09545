"""What a model is sent of a conversation, and how large that is: nothing else decides that.

Pure, so that ``what would be sent`` can be shown without sending it. No tokenizer is downloaded:
sizes are what the provider reported for the last reply, and estimates of what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dexto_magic.conversation.messages import Aside, Message, Turn, turns_of

PromptRole: TypeAlias = Literal["system", "user", "assistant"]
"""Who speaks in a request."""

CUT_SHORT = "[This reply was cut short: {reason}.]"
"""What follows a reply that stopped before its end, so that the model knows."""

SUMMARISED = "What was said before, up to turn {turn} of this conversation, in a summary:\n\n{text}"
"""What stands for the turns of which there is a summary."""

_BYTES_PER_TOKEN = 4
"""OpenAI's rule of thumb for English, in characters (https://help.openai.com/articles/4936856);
by bytes it holds roughly for other scripts, too, whose characters take more tokens each."""

_TOKENS_PER_MESSAGE = 4
"""What frames a message, by OpenAI's own count (openai-cookbook, How_to_count_tokens)."""


@dataclass(frozen=True, kw_only=True)
class PromptMessage:
    """One message of a request.

    Attributes:
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: The text.
    """

    role: PromptRole
    content: str


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What goes out for one turn.

    Attributes:
        messages: ``[system] [summary] [turns …] [note] [the new message]``.
        tokens: How many tokens that is, as far as it is known.
        estimate: The same by its text alone.
        measured: Whether ``tokens`` builds on what the provider reported.
        turns: How many turns of before are in it, word for word.
        of: How many there are that could be: those that failed are never sent.
        first: The number of the first turn in it word for word, or of the new turn.
        summary: What stands for turns that are not in it, if anything does.
    """

    messages: tuple[PromptMessage, ...]
    tokens: int
    estimate: int
    measured: bool
    turns: int
    of: int
    first: int
    summary: Aside | None

    @property
    def left_out(self) -> str | None:
        """One line on what is not sent, or ``None`` if everything is."""
        if self.turns == self.of:
            return None
        line = f"sending the last {self.turns} of {self.of} turns"
        if self.summary is None:
            return line
        whole = self.summary.turn >= self.first - 1
        part = "the rest" if whole else f"those up to turn {self.summary.turn}"
        return f"{line} and a summary of {part}"


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a request can be composed of.

    Attributes:
        history: The messages in view before the new one.
        prompt: The new message.
        system: The system prompt, or ``None`` for none.
        note: Something the model should know for this turn only, or ``None``.
        summary: The summary that stands for the older turns, or ``None``.
    """

    history: Sequence[Message]
    prompt: str
    system: str | None = None
    note: str | None = None
    summary: Aside | None = None

    @property
    def turns(self) -> list[Turn]:
        """The turns of before that can be sent: a failed one is left out whole.

        So a retry does not double its question.
        """
        return [turn for turn in turns_of(self.history) if turn.status in ("complete", "stopped")]

    def composed(self, first: int = 1) -> Composition:
        """The request, with the turns from a number on word for word.

        A stopped reply goes along, marked as cut short. Reasoning is never sent again. The note
        stands right before the new message: at the front it would break the provider's prompt
        cache.

        Args:
            first: Turns of lower numbers are left out, as are those that the summary stands for.
        """
        turns = self.turns
        begin = max(first, self.summary.turn + 1 if self.summary else 1)
        sent = [turn for turn in turns if turn.number >= begin]
        messages = [PromptMessage(role="system", content=self.system)] if self.system else []
        if self.summary is not None:
            text = SUMMARISED.format(turn=self.summary.turn, text=self.summary.content)
            messages.append(PromptMessage(role="system", content=text))
        messages += messages_of(sent)
        if self.note:
            messages.append(PromptMessage(role="system", content=self.note))
        messages.append(PromptMessage(role="user", content=self.prompt))
        by_text = sum(estimate(message.content) for message in messages)
        reported = self._reported(turns, begin)
        return Composition(
            messages=tuple(messages),
            tokens=by_text if reported is None else reported,
            estimate=by_text,
            measured=reported is not None,
            turns=len(sent),
            of=len(turns),
            first=sent[0].number if sent else self._next_number(),
            summary=self.summary,
        )

    def fitting(self, limit: int, first: int = 1) -> Composition:
        """The request with as many of the newest turns as fit into ``limit`` tokens.

        If not even the new message does, it is sent alone: the provider has the last word.
        """
        composition = self.composed(first)
        numbers = [turn.number for turn in self.turns if turn.number >= composition.first]
        while numbers and composition.tokens > limit:
            # Whole turns, about as many as are too many, and then one by one.
            excess, dropped = composition.tokens - limit, 0
            while numbers and dropped < excess:
                number = numbers.pop(0)
                dropped += self._size_of(number)
            composition = self.composed(numbers[0] if numbers else self._next_number())
        return composition

    def _size_of(self, number: int) -> int:
        (turn,) = [turn for turn in self.turns if turn.number == number]
        return size_of([turn])

    def _next_number(self) -> int:
        return self.history[-1].turn + 1 if self.history else 1

    def _reported(self, turns: Sequence[Turn], begin: int) -> int | None:
        """The size by the last reply whose tokens are known, and estimates of what is different."""
        for at in range(len(turns) - 1, -1, -1):
            reply = turns[at].messages[-1]
            if reply.role != "assistant" or reply.usage is None or reply.status != "complete":
                continue
            if not reply.usage.input_tokens:
                continue
            then = reply.sent_from or 1
            size = reply.usage.total_tokens - (reply.usage.reasoning_tokens or 0)
            if self.summary is not None and self.summary.turn >= then:  # made since
                size += estimate(self.summary.content)
            size += size_of(turn for turn in turns[: at + 1] if begin <= turn.number < then)
            size -= size_of(turn for turn in turns[: at + 1] if then <= turn.number < begin)
            size += size_of(turns[at + 1 :])
            return max(0, size) + sum(estimate(text) for text in (self.note, self.prompt) if text)
        return None


def messages_of(turns: Iterable[Turn]) -> list[PromptMessage]:
    """Turns as they are sent."""
    return [sent for turn in turns for message in turn.messages if (sent := _sent(message))]


def estimate(text: str) -> int:
    """About how many tokens a message of this text is."""
    return len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE


def size_of(turns: Iterable[Turn]) -> int:
    """About how many tokens the turns are."""
    return sum(estimate(message.content) for message in messages_of(turns))


def _sent(message: Message) -> PromptMessage | None:
    content = message.content
    if message.status == "stopped":
        mark = CUT_SHORT.format(reason=message.reason)
        content = f"{content}\n\n{mark}" if content else mark
    # A call of a tool that was imported has no words; what the tool said is not ours to send.
    if message.role == "tool" or not content:
        return None
    return PromptMessage(
        role="assistant" if message.role == "assistant" else "user", content=content
    )
