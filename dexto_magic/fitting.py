"""Making a conversation fit: all of it is sent, every time, until it does not fit.

What fits is the session's budget, the model's context window, or what the provider's own error
says: nothing is cut on a guess. Then older turns are summarised, or left out, or it is refused, as
the session says. Originals stay in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dexto_magic.aside import written
from dexto_magic.compaction import portion, shortened, summary_of, summary_request, to_summarise
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import JSON, Turn, Usage
from dexto_magic.conversation.record import Hold
from dexto_magic.conversation.session import Overflow, Session, Transcript
from dexto_magic.conversation.summaries import current_summary
from dexto_magic.conversation.window import SUSPICIOUS, Composition, Material, size_of
from dexto_magic.errors import ContextOverflowError, ModelError
from dexto_magic.llm.protocol import Notice
from dexto_magic.prompts import Answerer
from dexto_magic.stores.protocol import Store

DEFAULT_OVERFLOW: Overflow = "compact"
"""What is done when a conversation no longer fits, unless its session says otherwise."""

LARGE_TURN = 32_000
"""Tokens of a request past which it is worth saying, once, that every turn costs them."""

_REPLY_TOKENS = 1024
_REPLY_SHARE = 8
"""What of a window is kept for the reply, unless an option says it: 1,024 tokens, or an eighth."""

_SMALLEST = 8
"""Tokens of a turn below which shortening it once more would leave nothing to summarise."""


@dataclass
class Experience:
    """What an agent has learned of models while asking them.

    Attributes:
        limits: Tokens that a request to a model may have, where its provider refused more.
        told: What was said already, so that it is said once.
    """

    limits: dict[tuple[str, str], int] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)


def material_of(
    transcript: Transcript,
    *,
    turn: int,
    prompt: str,
    system: str | None = None,
    note: str | None = None,
) -> Material:
    """What the request for a turn can be composed of: what is in view before it.

    Args:
        transcript: The session with everything.
        turn: The turn's number.
        prompt: Its message.
        system: The system prompt.
        note: What the model should know for this turn only.
    """
    line = (transcript.line or Line()).up_to(turn - 1)
    return Material(
        history=[message for message in transcript.messages if message.turn < turn],
        prompt=prompt,
        system=system,
        note=note,
        summary=current_summary(transcript.asides, line),
    )


def limit_of(
    budget: int | None, window: int | None, learned: int | None, options: Mapping[str, JSON]
) -> int | None:
    """Tokens that a request may have, or ``None`` where nobody knows.

    Args:
        budget: The session's, if it has one.
        window: The model's context window, if it is known.
        learned: What is known of it since it refused more.
        options: The request's options.
    """
    limits = [budget] if budget else []
    if learned is not None:
        limits.append(learned)
    elif window is not None:
        limits.append(max(0, window - _reserve(window, options)))
    return min(limits, default=None)


def fitted_on_paper(
    material: Material, session: Session, limit: int | None
) -> tuple[Composition, tuple[str, ...]]:
    """What would be sent without asking a model for a new summary, and what to know of it."""
    composition = material.composed()
    if limit is None or composition.tokens <= limit:
        lines = [composition.left_out] if composition.left_out else []
        return composition, tuple(lines)
    too_long = f"about {composition.tokens:,} tokens, and {limit:,} fit"
    overflow = session.overflow or DEFAULT_OVERFLOW
    if overflow == "error":
        return composition, (f"it would be refused: {too_long}",)
    fitting = material.fitting(limit)
    line = fitting.left_out or "sending the new message alone"
    turns = to_summarise(material)
    if overflow == "compact" and turns:
        line = f"{too_long}: {span_of(turns)} would be summarised first; without that, {line}"
    return fitting, (line,)


def span_of(turns: Sequence[Turn]) -> str:
    """For example ``turn 3`` or ``turns 1 to 12``."""
    first, last = turns[0].number, turns[-1].number
    return f"turn {last}" if first == last else f"turns {first} to {last}"


def _reserve(window: int, options: Mapping[str, JSON]) -> int:
    asked = [options.get("max_completion_tokens"), options.get("max_tokens")]
    given = [number for number in asked if isinstance(number, int)]
    return given[0] if given else min(_REPLY_TOKENS, window // _REPLY_SHARE)


class Fitting:
    """The request of one turn, made to fit.

    Args:
        store: Where summaries are kept.
        hold: The claim or hold under which they are made.
        line: Which turns are in view.
        material: What the request can be composed of.
        answerer: Who is asked.
        options: The request's options.
        experience: What the agent has learned.
        tell: Takes notices for whoever waits.

    Attributes:
        composition: The request as it was composed last.
    """

    def __init__(
        self,
        *,
        store: Store,
        hold: Hold,
        line: Line,
        material: Material,
        answerer: Answerer,
        options: Mapping[str, JSON],
        experience: Experience,
        tell: Callable[[Notice], None],
    ) -> None:
        self._store = store
        self._hold = hold
        self._line = line
        self._material = material
        self._answerer = answerer
        self._options = options
        self._experience = experience
        self._tell = tell
        self._compacted = self._stated = False
        self._refused: int | None = None
        self._overflow = hold.session.overflow or DEFAULT_OVERFLOW
        self.composition = material.composed()

    async def fit(self) -> Composition:
        """The request, smaller than the whole conversation if that is known not to fit.

        Raises:
            ContextOverflowError: It does not fit, and the session says to refuse it.
            StoreError: A summary could not be kept.
        """
        limit = self._limit
        if limit is not None and self.composition.tokens > limit:
            await self._reduce(limit, None)
        return self.composition

    async def fit_after(self, refusal: ContextOverflowError) -> Composition:
        """A smaller request, after the provider refused the last one as too long.

        Raises:
            ContextOverflowError: There is nothing to be left out, or the session says to refuse it.
            StoreError: A summary could not be kept.
        """
        refused = self.composition
        if not refused.turns:
            if refused.summary is None:
                raise refusal
            self._material = replace(self._material, summary=None)
            self.composition = self._material.composed(self._material.next_number)
            return self.composition
        self._refused = refused.tokens
        limit = refused.tokens * 2 // 3
        if refusal.window is not None:
            self._stated = True
            limit = refusal.window - _reserve(refusal.window, self._options)
            limit = self._experience.limits[self._key] = min(limit, refused.tokens - 1)
        await self._reduce(limit, refusal)
        if self.composition.turns == refused.turns:  # the estimate was wrong, the provider is not
            numbers = [turn.number for turn in self._material.turns if turn.number > refused.first]
            first = min(numbers, default=refused.first + 1)
            self.composition = self._material.composed(first)
        return self.composition

    def accepted(self) -> None:
        """Takes note that the provider took the last request, and says what was left out of it."""
        if self._refused is not None and not self._stated:
            # Between what it took and what it refused, so that the next turn need not find out.
            known = (self.composition.tokens + self._refused) // 2
            self._experience.limits[self._key] = known
        line = self.composition.left_out
        if line is not None:
            self._tell(Notice(line))

    async def compact(self) -> int:
        """Summarises all turns but the newest two; how many there were to summarise.

        Raises:
            ModelError: The model did not answer as it should; what it wrote before that is kept.
            StoreError: A summary could not be kept.
        """
        return await self._compact(self._window)

    async def _compact(self, limit: int | None) -> int:
        turns = list(to_summarise(self._material))
        count = len(turns)
        while turns:
            part = portion(turns, self._material.summary, limit)
            try:
                await self._summarise(part)
            except ContextOverflowError:
                limit = size_of(part) // 2
                if len(part) == 1:
                    if limit < _SMALLEST:
                        raise
                    turns[0] = shortened(turns[0], limit)
            else:
                turns = turns[len(part) :]
        self.composition = self._material.composed()
        return count

    def remarks(self, usage: Usage | None) -> list[str]:
        """What is worth saying of the request once the provider has counted its tokens."""
        if usage is None or not usage.input_tokens:
            return []
        remarks = []
        if usage.input_tokens > LARGE_TURN and not self._was_large():
            remarks.append(
                f"each turn of this session now sends more than {LARGE_TURN:,} tokens; `%dexto "
                "compact` summarises the older turns, and `%dexto set context_budget=N` limits it"
            )
        session_id = self._hold.session.id
        if self._seems_truncated(usage) and (session_id, "truncated") not in self._experience.told:
            self._experience.told.add((session_id, "truncated"))
            remarks.append(
                f"{self._answerer.model.provider} counted {usage.input_tokens:,} tokens of about "
                f"{self.composition.estimate:,} that were sent: it seems to cut long conversations "
                "off without a word, as Ollama does at its num_ctx; raise that, or set a smaller "
                "`%dexto set context_budget=N`"
            )
        return remarks

    @property
    def _limit(self) -> int | None:
        return self._limit_under(self._hold.session.context_budget)

    @property
    def _window(self) -> int | None:
        """What a summary may be made of in one request: the budget is for the turns."""
        return self._limit_under(None)

    def _limit_under(self, budget: int | None) -> int | None:
        learned = self._experience.limits.get(self._key)
        return limit_of(budget, self._answerer.window, learned, self._options)

    @property
    def _key(self) -> tuple[str, str]:
        return self._answerer.model.provider, self._answerer.model.name

    def _was_large(self) -> bool:
        usages = (message.usage for message in self._material.history)
        return any(usage is not None and usage.input_tokens > LARGE_TURN for usage in usages)

    def _seems_truncated(self, usage: Usage) -> bool:
        sent, counted = self.composition.estimate, usage.input_tokens
        return sent > SUSPICIOUS and 2 * counted < sent

    async def _reduce(self, limit: int, refusal: ContextOverflowError | None) -> None:
        if self._overflow == "error":
            raise refusal or self._too_long(limit)
        if self._overflow == "compact" and not self._compacted:
            self._compacted = True
            try:
                await self._compact(limit if refusal else self._window)
            except ContextOverflowError:
                self._tell(Notice("not all older turns could be summarised: the rest is left out"))
            except ModelError as error:
                self._tell(Notice(f"the older turns are left out, not summarised: {error}"))
        self.composition = self._material.fitting(limit)

    async def _summarise(self, turns: list[Turn]) -> None:
        span = span_of(turns)
        self._tell(Notice(f"summarising {span} …", passing=True))
        before = self._material.summary
        aside = await written(
            self._answerer.model,
            summary_request(turns, before),
            summary_of(turns, self._line, datetime.now(UTC)),
            tell=self._tell,
        )
        await self._store.note(self._hold.session.id, aside, hold=self._hold)
        self._material = replace(self._material, summary=aside)
        cost = ""
        if aside.usage is not None:
            cost = (
                f", for {aside.usage.input_tokens:,} tokens in / {aside.usage.output_tokens:,} out"
            )
        carried = ", with the summary before" if before else ""
        self._tell(Notice(f"summarised {span}{carried}{cost}"))

    def _too_long(self, limit: int) -> ContextOverflowError:
        model = self._answerer.model
        name = self._hold.session.id
        return ContextOverflowError(
            f"The conversation in {name!r} is too long: about {self.composition.tokens:,} tokens, "
            f"and {limit:,} fit. Nothing was sent. `%dexto compact` summarises the older turns, "
            "`%dexto set overflow=trim` leaves them out, `%dexto fork NEW --at TURN` goes on from "
            "an earlier turn.",
            provider=model.provider,
            model=model.name,
            window=limit,
        )
