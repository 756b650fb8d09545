"""What a model is sent of a conversation, and how large that is: nothing else decides that.

Pure, so that ``what would be sent`` can be shown without sending it. No tokenizer is downloaded:
sizes are what the provider reported for the last reply, and estimates of what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Literal, TypeAlias

from dexto_magic.conversation.messages import Aside, Message, Turn, turns_of

PromptRole: TypeAlias = Literal["system", "user", "assistant"]
"""Who speaks in a request."""

CUT_SHORT = "[This reply was cut short: {reason}.]"
"""What follows a reply that stopped before its end, so that the model knows."""

SUMMARISED = "What was said before, up to turn {turn} of this conversation, in a summary:\n\n{text}"
"""What stands for the turns of which there is a summary."""

BYTES_PER_TOKEN = 4
"""OpenAI's rule of thumb for English, in characters (https://help.openai.com/articles/4936856);
by bytes it holds roughly for other scripts, too, whose characters take more tokens each."""

_SUSPICIOUS = 4096
"""Estimated tokens of a request from which on a far smaller report can be no accident."""

_ENOUGH, _WIDEST = 20, 4.0
"""Estimated tokens of replies from which on the provider's own count of them corrects the rule of
thumb, by so much at most."""

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
        lost: Whether there are turns that are neither in it nor in the summary.
    """

    messages: tuple[PromptMessage, ...]
    tokens: int
    estimate: int
    measured: bool
    turns: int
    of: int
    first: int
    summary: Aside | None
    lost: bool

    @property
    def left_out(self) -> str | None:
        """One line on what is not sent, or ``None`` if everything is."""
        if self.turns == self.of:
            return None
        if self.turns:
            line = f"sending the last {self.turns} of {self.of} turns"
            if self.summary is None:
                return line
            rest = f"those up to turn {self.summary.turn}" if self.lost else "the rest"
            return f"{line} and a summary of {rest}"
        before = "the turn before it" if self.of == 1 else f"the {self.of} turns before it"
        if self.summary is None:
            return f"sending the new message without {before}"
        if self.lost:
            before = f"the turns up to {self.summary.turn}, without those after"
        return f"sending the new message with a summary of {before}"


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a request can be composed of.

    Attributes:
        history: The messages in view before the new one.
        prompt: The new message; ``""`` where it is not known yet.
        system: The system prompt, or ``None`` for none.
        note: Something the model should know for this turn only, or ``None``.
        summary: The summary that stands for the older turns, or ``None``.
    """

    history: Sequence[Message]
    prompt: str
    system: str | None = None
    note: str | None = None
    summary: Aside | None = None

    @cached_property
    def turns(self) -> Sequence[Turn]:
        """The turns of before that can be sent: a failed one is left out whole.

        So a retry does not double its question.
        """
        return [turn for turn in turns_of(self.history) if turn.status in ("complete", "stopped")]

    @cached_property
    def _scale(self) -> float:
        """How many tokens the provider counts where one is estimated, by its replies so far."""
        counted, estimated = 0, 0
        for message in self.history:
            if message.usage is not None and message.status == "complete" and message.content:
                counted += message.usage.output_tokens - (message.usage.reasoning_tokens or 0)
                estimated += estimate(message.content)
        if counted <= 0 or estimated < _ENOUGH:
            return 1.0
        return min(max(counted / estimated, 1 / _WIDEST), _WIDEST)

    @cached_property
    def _sizes(self) -> Sequence[float]:
        """About how many tokens each of the turns is."""
        return [self._scale * size_of([turn]) for turn in self.turns]

    def tokens_of(self, text: str) -> int:
        """About how many tokens a message of this text is, as the provider counts."""
        return round(self._scale * estimate(text))

    def estimate_of(self, tokens: int) -> int:
        """What ``estimate`` would say of text of so many tokens."""
        return int(tokens / self._scale)

    def composed(self, first: int = 1) -> Composition:
        """The request, with the turns from a number on word for word.

        A stopped reply goes along, marked as cut short. Reasoning is never sent again. The note
        stands right before the new message: at the front it would break the provider's prompt
        cache.

        Args:
            first: Turns of lower numbers are left out, as are those that the summary stands for.
        """
        begin = self._begin(first)
        sent = [turn for turn in self.turns if turn.number >= begin]
        messages = [PromptMessage(role="system", content=self.system)] if self.system else []
        if self.summary is not None:
            text = SUMMARISED.format(turn=self.summary.turn, text=self.summary.content)
            messages.append(PromptMessage(role="system", content=text))
        messages += messages_of(sent)
        if self.note:
            messages.append(PromptMessage(role="system", content=self.note))
        if self.prompt:
            messages.append(PromptMessage(role="user", content=self.prompt))
        estimated = round(self._scale * sum(estimate(message.content) for message in messages))
        reported = self._reported(begin)
        done = self.summary.turn if self.summary else 0
        return Composition(
            messages=tuple(messages),
            tokens=estimated if reported is None else reported,
            estimate=estimated,
            measured=reported is not None,
            turns=len(sent),
            of=len(self.turns),
            first=sent[0].number if sent else self._next_number,
            summary=self.summary,
            lost=any(done < turn.number < begin for turn in self.turns),
        )

    def fitting(self, limit: int) -> Composition:
        """The request with as many of the newest turns as fit into ``limit`` tokens.

        If none does, the summary has to, or is left out, too. If not even the new message does, it
        is sent alone: the provider has the last word.
        """
        composition = self.composed()
        excess, first = float(composition.tokens - limit), composition.first
        for turn, size in zip(self.turns, self._sizes, strict=True):
            if turn.number >= composition.first and excess > 0:
                excess -= size
                first = turn.number + 1
        composition = self.composed(first)
        if composition.turns or composition.tokens <= limit:
            return composition
        return replace(self, summary=None).composed(self._next_number)

    def _begin(self, first: int) -> int:
        return max(first, self.summary.turn + 1 if self.summary else 1)

    @property
    def _next_number(self) -> int:
        return self.history[-1].turn + 1 if self.history else 1

    def _reported(self, begin: int) -> int | None:
        """The size by the last reply whose tokens are known, and estimates of what is different."""
        at = self._last_counted
        if at is None:
            return None
        reply = self.turns[at].messages[-1]
        assert reply.usage is not None
        then = reply.sent_from or 1
        numbered = list(zip(self.turns, self._sizes, strict=True))
        sent = sum(size for turn, size in numbered[: at + 1] if turn.number >= then)
        sent -= self._scale * estimate(reply.content)
        if seems_cut(round(sent), reply.usage.input_tokens):
            return None
        size: float = reply.usage.total_tokens - (reply.usage.reasoning_tokens or 0)
        if self.summary is not None and not _was_sent(self.summary, reply):
            if then > 1:
                return None  # perhaps there was a summary before this one in it, of whatever size
            size += self._scale * estimate(self.summary.content)
        for place, (turn, more) in enumerate(numbered):
            was_sent, is_sent = place <= at and turn.number >= then, turn.number >= begin
            size += more * (is_sent - was_sent)
        new = sum(estimate(text) for text in (self.note, self.prompt) if text)
        return round(max(0.0, size) + self._scale * new)

    @property
    def _last_counted(self) -> int | None:
        for at in range(len(self.turns) - 1, -1, -1):
            reply = self.turns[at].messages[-1]
            if reply.role == "assistant" and reply.status == "complete" and reply.usage is not None:
                return at if reply.usage.input_tokens else None
        return None


def _was_sent(summary: Aside, reply: Message) -> bool:
    """Whether the reply was made with the summary in view: it was there, and there was room."""
    ended = reply.created_at + timedelta(seconds=reply.duration or 0.0)
    return (
        summary.created_at <= ended
        and reply.sent_from is not None
        and summary.turn < reply.sent_from < reply.turn
    )


def seems_cut(estimated: int, counted: int) -> bool:
    """Whether a server counted so few tokens that it must have cut the request off, unsaid."""
    return estimated > _SUSPICIOUS and counted < estimated // 2


def messages_of(turns: Iterable[Turn]) -> list[PromptMessage]:
    """Turns as they are sent."""
    return [sent for turn in turns for message in turn.messages if (sent := _sent(message))]


def estimate(text: str) -> int:
    """About how many tokens a message of this text is: white space in a row is one to most."""
    packed = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return len(packed) // BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE


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
