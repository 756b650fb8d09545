"""Making a conversation fit: all of it is sent, every time, until it does not fit.

What fits is the session's budget, the model's context window, or what the provider's own error
says: nothing is cut on a guess. Then older turns are summarised, or left out, or it is refused, as
the session says. Originals stay in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import JSON, Aside, Turn, Usage
from dexto_magic.conversation.record import Hold
from dexto_magic.conversation.session import Overflow, Session, Transcript
from dexto_magic.conversation.summaries import current_summary
from dexto_magic.conversation.window import Composition, Material, estimate, seems_cut, size_of
from dexto_magic.errors import ContextOverflowError, ModelError
from dexto_magic.llm.protocol import Notice
from dexto_magic.stores.protocol import Store
from dexto_magic.turns.aside import written
from dexto_magic.turns.compaction import (
    carried,
    kept_turns,
    portion,
    summary_of,
    summary_request,
    to_summarise,
)
from dexto_magic.turns.prompts import Answerer
from dexto_magic.turns.room import Room, room_of

DEFAULT_OVERFLOW: Overflow = "compact"
"""What is done when a conversation no longer fits, unless its session says otherwise."""

LARGE_TURN = 32_000
"""Tokens of a request past which it is worth saying, once, that every turn costs them."""


@dataclass
class Experience:
    """What an agent has learned of models while asking them.

    Attributes:
        windows: The context window of a model, where its provider said it.
        rooms: What a model takes, where its provider refused more and did not say what.
        told: What was said already, so that it is said once.
    """

    windows: dict[tuple[str, str], int] = field(default_factory=dict)
    rooms: dict[tuple[str, str], Room] = field(default_factory=dict)
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


def fitted_on_paper(
    material: Material, session: Session, room: Room | None
) -> tuple[Composition, tuple[str, ...]]:
    """What would be sent without asking a model for a new summary, and what to know of it."""
    composition = material.composed()
    if room is None or composition.tokens <= room.limit:
        lines = [composition.left_out] if composition.left_out else []
        return composition, tuple(lines)
    too_long = f"about {composition.tokens:,} tokens, and {room.limit:,} fit"
    overflow = session.overflow or DEFAULT_OVERFLOW
    if overflow == "error":
        return composition, (f"it would be refused: {too_long}",)
    fitting = material.fitting(room.target)
    line = fitting.left_out or f"the new message alone is {too_long}"
    turns = to_summarise(material, kept_turns(material, room.target))
    if overflow == "compact" and turns:
        line = f"{too_long}: {span_of(turns)} would be summarised first; without that, {line}"
    return fitting, (line,)


def span_of(turns: Sequence[Turn]) -> str:
    """For example ``turn 3`` or ``turns 1 to 12``."""
    first, last = turns[0].number, turns[-1].number
    return f"turn {last}" if first == last else f"turns {first} to {last}"


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
        session: The session as it was before, or after the latest summary.
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
        self._failed = False
        self._refused: int | None = None
        self._overflow = hold.session.overflow or DEFAULT_OVERFLOW
        self.session = hold.session
        self.composition = material.composed()

    async def fit(self) -> Composition:
        """The request, smaller than the whole conversation if that is known not to fit.

        Raises:
            ContextOverflowError: It does not fit, and the session says to refuse it.
            StoreError: A summary could not be kept.
        """
        room = self._room
        if room is not None and self.composition.tokens > room.limit:
            if self._overflow == "error":
                raise self._too_long(room.limit)
            await self._reduce(room.target)
        return self.composition

    async def fit_after(self, refusal: ContextOverflowError) -> Composition:
        """A smaller request, after the provider refused the last one as too long.

        Raises:
            ContextOverflowError: There is nothing to be left out, or the session says to refuse it.
            StoreError: A summary could not be kept.
        """
        refused = self.composition
        if not refused.turns and refused.summary is None:
            raise self._too_long_alone(refusal) from refusal
        if self._overflow == "error":
            raise refusal
        if refusal.window is None:
            self._refused = refused.tokens
        else:
            self._experience.windows[self._key] = refusal.window
        room = self._room
        if room is None or room.target >= refused.tokens:  # what was sent is more than it seems
            await self._reduce(refused.tokens * 2 // 3)
        else:
            await self._reduce(room.target)
        return self.composition

    def accepted(self) -> None:
        """Takes note that the provider took the last request, and says what was left out of it."""
        if self._refused is not None:
            # Next time it is neither cut sooner than it must, nor as often refused.
            between = (self.composition.tokens + self._refused) // 2
            self._experience.rooms[self._key] = Room(limit=self._refused - 1, target=between)
        line = self.composition.left_out
        if line is not None:
            self._tell(Notice(line))

    async def compact(self) -> None:
        """Summarises all turns but the newest two.

        Raises:
            ModelError: The model did not answer as it should; what it wrote before that is kept.
            StoreError: A summary could not be kept.
        """
        target = self._room.target if self._room else None
        await self._compact(to_summarise(self._material), target)

    async def _compact(self, turns: Sequence[Turn], target: int | None) -> None:
        """Summarises turns in as many requests as it takes, each of which carries what was before.

        Args:
            turns: Those that no summary stands for.
            target: Tokens that such a request may have, or ``None`` where nobody knows.
        """
        refused: int | None = None
        along: int | None = None
        while turns:
            room = None if target is None else self._material.estimate_of(target)
            before = carried(self._material.summary, room if along is None else along)
            part, is_whole = portion(turns, before, room, refused)
            if not part:
                said = f"no part of turn {turns[0].number} fits into a request for a summary."
                raise self._overflowing(f"Not all older turns could be summarised: {said}", target)
            try:
                await self._summarise(part, before, is_whole=is_whole)
            except ContextOverflowError:
                size = size_of(part)
                if before is not None and estimate(before.content) > size:
                    along = estimate(before.content)
                else:
                    refused = size if refused is None else min(size, refused // 2)
            else:
                turns = turns[len(part) :]

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
        session_id = self.session.id
        cut = seems_cut(self.composition.estimate, usage.input_tokens)
        if cut and (session_id, "truncated") not in self._experience.told:
            self._experience.told.add((session_id, "truncated"))
            remarks.append(
                f"{self._answerer.model.provider} counted {usage.input_tokens:,} tokens of about "
                f"{self.composition.estimate:,} that were sent: it seems to cut long conversations "
                "off without a word, as Ollama does at its num_ctx; raise that, or set a smaller "
                "`%dexto set context_budget=N`"
            )
        return remarks

    @property
    def _room(self) -> Room | None:
        learned = self._experience.rooms.get(self._key)
        window = self._experience.windows.get(self._key, self._answerer.window)
        return room_of(self.session, window, learned, self._options)

    @property
    def _key(self) -> tuple[str, str]:
        return self._answerer.model.provider, self._answerer.model.name

    def _was_large(self) -> bool:
        usages = (message.usage for message in self._material.history)
        return any(usage is not None and usage.input_tokens > LARGE_TURN for usage in usages)

    async def _reduce(self, target: int) -> None:
        if self._overflow == "compact" and not self._failed:
            kept = kept_turns(self._material, target)
            try:
                await self._compact(to_summarise(self._material, kept), target)
            except ContextOverflowError:
                self._failed = True
                self._tell(Notice("not all older turns could be summarised: the rest is left out"))
            except ModelError as error:
                self._failed = True
                self._tell(Notice(f"the older turns are left out, not summarised: {error}"))
        self.composition = self._material.fitting(target)

    async def _summarise(
        self, turns: Sequence[Turn], before: Aside | None, *, is_whole: bool
    ) -> None:
        span = span_of(turns)
        self._tell(Notice(f"summarising {span} …", passing=True))
        aside = await written(
            self._answerer.model,
            summary_request(turns, before),
            summary_of(turns, self._line, datetime.now(UTC)),
            tell=self._tell,
        )
        along = ", with the summary before" if before else ""
        if before != self._material.summary:
            along += " without its middle"
        self.session = await self._store.note(self.session.id, aside, hold=self._hold)
        self._material = replace(self._material, summary=aside)
        cost = ""
        if aside.usage is not None:
            cost = (
                f", for {aside.usage.input_tokens:,} tokens in / {aside.usage.output_tokens:,} out"
            )
        middle = "" if is_whole else ", too long to be read whole, without its middle"
        self._tell(Notice(f"summarised {span}{middle}{along}{cost}"))

    def _too_long(self, limit: int) -> ContextOverflowError:
        about = f"about {self.composition.tokens:,} tokens, and {limit:,} fit. Nothing was sent."
        if not self.composition.of:
            said = f"The message to {self.session.id!r} is too long: {about}"
        else:
            said = (
                f"The conversation in {self.session.id!r} is too long: {about} `%dexto "
                "compact` summarises the older turns, `%dexto set overflow=trim` leaves them out, "
                "`%dexto fork NEW --at TURN` goes on from an earlier turn."
            )
        return self._overflowing(said, limit)

    def _too_long_alone(self, refusal: ContextOverflowError) -> ContextOverflowError:
        model = self._answerer.model
        takes = "" if refusal.window is None else f", which takes {refusal.window:,} tokens"
        said = (
            f"The message is too long for {model.provider} ({model.name}){takes}, even alone. "
            "Shorten it, or choose a model with a larger context window."
        )
        return self._overflowing(said, refusal.window)

    def _overflowing(self, said: str, window: int | None) -> ContextOverflowError:
        model = self._answerer.model
        return ContextOverflowError(said, provider=model.provider, model=model.name, window=window)
