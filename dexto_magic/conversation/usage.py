"""What conversations have cost in tokens, by message, session, model and over time.

Pure, and added up one transcript at a time, so that a store of any size needs little memory. What
the tables show always adds up to what the sessions say they have used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

from dexto_magic.conversation.messages import Aside, Message, Usage
from dexto_magic.conversation.prices import Prices
from dexto_magic.conversation.session import Session, Transcript

Kind: TypeAlias = Literal["reply", "summary", "title"]
"""What a model was paid for."""

KINDS: tuple[Kind, ...] = ("reply", "summary", "title")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The tokens of some messages, and what they cost.

    Attributes:
        usage: The tokens that are known.
        count: How many replies, summaries and titles these are.
        unknown: How many of them have no tokens reported.
        cost: What the tokens with a price cost, or ``None`` if none has one.
        unpriced: How many tokens have no price; 0 where the user gave no prices at all.
    """

    usage: Usage = field(default_factory=Usage)
    count: int = 0
    unknown: int = 0
    cost: Decimal | None = None
    unpriced: int = 0

    @property
    def is_lower_bound(self) -> bool:
        """Whether the cost is that of some of it only."""
        return self.cost is not None and bool(self.unpriced or self.unknown)

    def __add__(self, other: Tally) -> Tally:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Tally(
            usage=self.usage + other.usage,
            count=self.count + other.count,
            unknown=self.unknown + other.unknown,
            cost=sum(costs, Decimal()) if costs else None,
            unpriced=self.unpriced + other.unpriced,
        )


@dataclass(frozen=True, kw_only=True)
class MessageUsage:
    """What one reply, summary or title took.

    Attributes:
        kind: Which of them it is.
        turn: The turn that it answers, or the last one that it is about.
        version: The version of that turn.
        in_view: Whether that version is in view.
        model: The model as ``"provider:model"``, or ``None`` if it is unknown.
        at: When it was asked for; UTC.
        tally: Its tokens.
    """

    kind: Kind
    turn: int
    version: int = 1
    in_view: bool = True
    model: str | None
    at: datetime
    tally: Tally


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the whole, such as what one model took.

    Attributes:
        name: What it is the part of; ``None`` for models that are unknown.
        tally: Its tokens.
    """

    name: str | None
    tally: Tally


@dataclass(frozen=True, kw_only=True)
class Point:
    """The tokens of an hour or a day.

    Attributes:
        start: When it begins; UTC.
        usage: The tokens.
    """

    start: datetime
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class Series:
    """Tokens over time.

    Attributes:
        step: ``HOUR`` or ``DAY``: how long each point is.
        points: Those in which anything was asked, in order.
    """

    step: timedelta = DAY
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UsageReport:
    """Where the tokens of one session, or of many, went.

    ``total`` is the sum of ``sessions``. Without ``gone``, of which no more is known than how many
    tokens it was, it is the sum of ``models``, of ``kinds`` and of ``messages`` each.

    Attributes:
        sessions: Each session, the most tokens first; what is gone of it included.
        messages: Each message in the order of the turns; of a single session only.
        models: Each model, the most tokens first.
        kinds: What replies, summaries and titles took, as far as there are any.
        gone: What the sessions have used beside that: for turns that a reset or ``forget`` took.
        total: All of it.
        series: The tokens over time, without those that are gone.
        inherited: How many replies, summaries and titles are those of the sessions that these were
            forked from. They were paid for there, and are in none of the sums.
        currency: What costs are in, or ``None`` where the user gave no prices.
        unpriced: The models that have tokens and no price, where the user gave prices.
    """

    sessions: tuple[Part, ...] = ()
    messages: tuple[MessageUsage, ...] = ()
    models: tuple[Part, ...] = ()
    kinds: tuple[Part, ...] = ()
    gone: Tally = field(default_factory=Tally)
    total: Tally = field(default_factory=Tally)
    series: Series = field(default_factory=Series)
    inherited: int = 0
    currency: str | None = None
    unpriced: tuple[str | None, ...] = ()


class UsageBuilder:
    """Adds up transcripts, one by one.

    Args:
        prices: The user's prices, or ``None``.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._prices = prices
        self._sessions: list[Part] = []
        self._messages: list[MessageUsage] = []
        self._models: dict[str | None, _Sum] = {}
        self._kinds: dict[Kind, _Sum] = {}
        self._hours: dict[datetime, _Sum] = {}
        self._gone = Tally()
        self._inherited = 0

    def add(self, transcript: Transcript) -> None:
        """Counts a session.

        Args:
            transcript: The session with everything: what was not read counts as gone.
        """
        own = _Sum()
        rows: list[MessageUsage] = []
        for item, in_view in _paid(transcript):
            if _is_inherited(item, transcript.session):
                self._inherited += 1
                continue
            row = self._row(item, in_view=in_view)
            self._count(row, own)
            if not self._sessions:
                rows.append(row)
        # Rows of each message are for a single session: those of a whole store would fill memory.
        self._messages = sorted(rows, key=_place)
        kept = own.tally()
        rest = _remainder(transcript.session.usage, kept.usage)
        gone = Tally(usage=rest, unpriced=rest.total_tokens if self._prices else 0)
        self._gone += gone
        self._sessions.append(Part(name=transcript.session.id, tally=kept + gone))

    def report(self) -> UsageReport:
        """What was added so far."""
        kinds = [kind for kind in KINDS if kind in self._kinds]
        models = _by_size(
            Part(name=name, tally=total.tally()) for name, total in self._models.items()
        )
        return UsageReport(
            sessions=_by_size(self._sessions),
            messages=tuple(self._messages),
            models=models,
            kinds=tuple(Part(name=kind, tally=self._kinds[kind].tally()) for kind in kinds),
            gone=self._gone,
            total=sum((part.tally for part in self._sessions), Tally()),
            series=_series(self._hours),
            inherited=self._inherited,
            currency=self._prices.currency if self._prices else None,
            unpriced=tuple(part.name for part in models if part.tally.unpriced),
        )

    def _row(self, item: Message | Aside, *, in_view: bool) -> MessageUsage:
        cost, unpriced = self._cost(item)
        return MessageUsage(
            kind="reply" if isinstance(item, Message) else item.kind,
            turn=item.turn,
            version=item.version if isinstance(item, Message) else 1,
            in_view=in_view,
            model=_model_name(item),
            at=item.created_at.astimezone(UTC),
            tally=Tally(
                usage=item.usage or Usage(),
                count=1,
                unknown=int(item.usage is None),
                cost=cost,
                unpriced=unpriced,
            ),
        )

    def _count(self, row: MessageUsage, own: _Sum) -> None:
        hour = row.at.replace(minute=0, second=0, microsecond=0)
        for total in (
            own,
            self._models.setdefault(row.model, _Sum()),
            self._kinds.setdefault(row.kind, _Sum()),
            self._hours.setdefault(hour, _Sum()),
        ):
            total.add(row.tally)

    def _cost(self, item: Message | Aside) -> tuple[Decimal | None, int]:
        """What it cost, and how many of its tokens have no price."""
        if self._prices is None or item.usage is None:
            return None, 0
        price = self._prices.of(item.provider, item.model)
        return (None, item.usage.total_tokens) if price is None else (price.of(item.usage), 0)


def usage_of(transcripts: Iterable[Transcript], *, prices: Prices | None = None) -> UsageReport:
    """Where the tokens of these sessions went; each transcript is to be with everything."""
    builder = UsageBuilder(prices)
    for transcript in transcripts:
        builder.add(transcript)
    return builder.report()


class _Sum:
    """A tally that is added to in place: a store has a hundred thousand messages."""

    def __init__(self) -> None:
        self._input = self._output = self._count = self._unknown = self._unpriced = 0
        self._cached: int | None = None
        self._reasoning: int | None = None
        self._cost: Decimal | None = None

    def add(self, tally: Tally) -> None:
        usage = tally.usage
        self._input += usage.input_tokens
        self._output += usage.output_tokens
        if usage.cached_tokens is not None:
            self._cached = (self._cached or 0) + usage.cached_tokens
        if usage.reasoning_tokens is not None:
            self._reasoning = (self._reasoning or 0) + usage.reasoning_tokens
        if tally.cost is not None:
            self._cost = (self._cost or Decimal()) + tally.cost
        self._count += tally.count
        self._unknown += tally.unknown
        self._unpriced += tally.unpriced

    def tally(self) -> Tally:
        return Tally(
            usage=Usage(
                input_tokens=self._input,
                output_tokens=self._output,
                cached_tokens=self._cached,
                reasoning_tokens=self._reasoning,
            ),
            count=self._count,
            unknown=self._unknown,
            cost=self._cost,
            unpriced=self._unpriced,
        )


def _paid(transcript: Transcript) -> Iterator[tuple[Message | Aside, bool]]:
    """What a model wrote, and whether that is in view."""
    for messages, in_view in ((transcript.messages, True), (transcript.others, False)):
        for message in messages:
            if message.role == "assistant" or message.usage is not None:
                yield message, in_view
    for aside in transcript.asides:
        yield aside, True


def _is_inherited(item: Message | Aside, session: Session) -> bool:
    """Whether a fork took it over; what is said in the fork is younger than the fork."""
    return (
        session.forked_at is not None
        and item.turn <= session.forked_at
        and item.created_at < session.created_at
    )


def _model_name(item: Message | Aside) -> str | None:
    if item.model is None or item.provider in (None, item.model):
        return item.model
    return f"{item.provider}:{item.model}"


def _place(row: MessageUsage) -> tuple[int, bool, int]:
    """Where a row stands: what was made of a turn after its replies."""
    return row.turn, row.kind != "reply", row.version


def _by_size(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(
        sorted(parts, key=lambda part: (-part.tally.usage.total_tokens, part.name or "\U0010ffff"))
    )


def _remainder(whole: Usage, kept: Usage) -> Usage:
    """What a session used beside what is kept of it.

    A transcript from elsewhere may say that the whole is less than its parts: then the parts are
    believed.
    """
    return Usage(
        input_tokens=max(0, whole.input_tokens - kept.input_tokens),
        output_tokens=max(0, whole.output_tokens - kept.output_tokens),
        cached_tokens=_less(whole.cached_tokens, kept.cached_tokens),
        reasoning_tokens=_less(whole.reasoning_tokens, kept.reasoning_tokens),
    )


def _less(whole: int | None, kept: int | None) -> int | None:
    return None if whole is None else max(0, whole - (kept or 0))


def _series(hours: Mapping[datetime, _Sum]) -> Series:
    """By the hour where all is within two days, else by the day."""
    if not hours:
        return Series()
    step = HOUR if max(hours) - min(hours) < 2 * DAY else DAY
    points: dict[datetime, Usage] = {}
    for hour in sorted(hours):
        start = hour if step == HOUR else hour.replace(hour=0)
        points[start] = points.get(start, Usage()) + hours[hour].tally().usage
    return Series(
        step=step, points=tuple(Point(start=at, usage=usage) for at, usage in points.items())
    )
