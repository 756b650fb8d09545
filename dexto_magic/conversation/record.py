"""What a store keeps of a session beside its rows, and what it hands out for a running turn.

Rows (messages) are written once and never changed; the record is what moves. How it moves is in
``history``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypedDict

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import JSON, Message, Usage
from dexto_magic.conversation.session import Overflow, Session

OVERFLOW, CONTEXT_BUDGET = "overflow", "context_budget"
"""Names of a session's own settings."""


@dataclass(frozen=True, kw_only=True)
class OpenTurn:
    """The mark that a running turn leaves in the record.

    Attributes:
        owner: The owner that runs it; alive as long as it holds its liveness lock.
        holder: The same in words, for people.
        since: When it began; UTC.
        turn: Its number; 0 where no turn runs, but something else that keeps turns out.
        version: Its version.
        cancel: Whether somebody asked it to stop.
        hides: For a new version of a turn: how many messages of the one before it hides. Should
            nothing come of it, they are in view again.
        title: The session's automatic title should something come of it, if that is another one.
    """

    owner: str
    holder: str
    since: datetime
    turn: int
    version: int = 1
    cancel: bool = False
    hides: int = 0
    title: str | None = None


class SessionChanges(TypedDict, total=False):
    """What can be changed of a session; ``None`` leaves it, ``""`` or 0 takes its own away."""

    model: str | None
    """Its own model, as ``"provider:model"``."""

    system: str | None
    """Its own system prompt."""

    title: str | None
    """Its title; without one of its own it has one that a model wrote, or of its first prompt."""

    overflow: Overflow | Literal[""] | None
    """What is done when it no longer fits."""

    context_budget: int | None
    """Tokens that a request of it may have."""


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """All that a store keeps of a session beside its rows.

    Attributes:
        sid: The store's own, opaque name for it, which a rename does not change.
        id: The session's name.
        created_at: When it was made; UTC.
        used_at: When it was last used; UTC.
        epoch: Counts resets, so that a turn of before a reset can be told from one after.
        rows: Rows of this epoch. This number is what commits them: a row at or past it is not
            there.
        revision: Counts the steps of the line of turns, so that a write can state what it builds
            on.
        line: Which turns are in view.
        messages: Messages in view.
        open: The mark of the running turn, or ``None``.
        title: The title, or ``None``.
        own_title: Whether a person chose it; a reset keeps only those.
        model: The session's own model, or ``None``.
        system: The session's own system prompt, or ``None``.
        settings: The session's own settings.
        usage: Tokens over its lifetime.
        forked_from: The name of the session that it was forked from, as it was then, or ``None``.
        forked_at: The number of the last turn that it took over, or ``None``.
        parent: The sid of the session that it was forked from, or ``None``.
        family: What it shares with all that hold messages of the same origin, or ``None``: the sid
            and the epoch of the session where the first of them were said.
        source: What it was imported from, or ``None``.
        forgets: Counts the turns that were forgotten, so that what was copied meanwhile is known.
        home: The notebook whose own session it is, or ``None``.
        notebooks: The notebooks that used it, the latest last.
        marks: What its home is recognised by (ids of cells, and of kernels), the latest last.
    """

    sid: str
    id: str
    created_at: datetime
    used_at: datetime
    epoch: int = 0
    rows: int = 0
    revision: int = 0
    line: Line = field(default_factory=Line)
    messages: int = 0
    open: OpenTurn | None = None
    title: str | None = None
    own_title: bool = False
    model: str | None = None
    system: str | None = None
    settings: Mapping[str, JSON] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    forked_from: str | None = None
    forked_at: int | None = None
    parent: str | None = None
    family: str | None = None
    source: str | None = None
    forgets: int = 0
    home: str | None = None
    notebooks: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def session(self) -> Session:
        """The public value."""
        overflow: Any = self.settings.get(OVERFLOW)
        budget: Any = self.settings.get(CONTEXT_BUDGET)
        return Session(
            id=self.id,
            title=self.title,
            created_at=self.created_at,
            updated_at=self.used_at,
            message_count=self.messages,
            turn_count=self.line.count,
            model=self.model,
            system=self.system,
            own_title=self.own_title,
            overflow=overflow,
            context_budget=budget,
            forked_from=self.forked_from,
            forked_at=self.forked_at,
            usage=self.usage,
            home=self.home,
            notebooks=self.notebooks,
        )

    @property
    def kin(self) -> str:
        """The family that its forks are of."""
        return self.family or f"{self.sid}:{self.epoch:08x}"

    @property
    def committed(self) -> Line:
        """The line without the turn that is running."""
        if self.open is None or not self.open.turn:
            return self.line
        return self.line.unrevised() if self.revises else self.line.up_to(self.open.turn - 1)

    @property
    def revises(self) -> bool:
        """Whether the turn that is running is another version of one that was there."""
        mark, replaced = self.open, self.line.replaced
        return (
            mark is not None
            and bool(replaced)
            and (replaced[-1].turn, replaced[-1].version) == (mark.turn, mark.version)
        )


@dataclass(frozen=True, kw_only=True)
class Hold:
    """The right to keep turns of a session from beginning, and what the write that ends it builds on.

    Attributes:
        session: The session as it was before.
        sid: The store's name for it.
        epoch: The epoch in which it is held.
        revision: The revision that the hold made.
        owner: Who holds it.
    """

    session: Session
    sid: str
    epoch: int
    revision: int
    owner: str


@dataclass(frozen=True, kw_only=True)
class Claim(Hold):
    """The right to run one turn, and what the writes that end it build on.

    Attributes:
        message: The user message as it was stored.
    """

    message: Message


@dataclass(frozen=True, kw_only=True)
class Partial:
    """The reply of a running turn as far as it has come, so that a crash loses at most a second.

    Attributes:
        epoch: The claim's epoch.
        turn: The turn's number.
        message: The reply so far.
    """

    epoch: int
    turn: int
    message: Message
