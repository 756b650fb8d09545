"""The record that a store keeps of a session, and how each operation moves it.

The rules stand here, as functions from record to record, so that every store follows the same
ones: a store only has to make each step atomic. Rows (messages) are written once and never
changed; the record is what moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, TypeAlias

from dexto_magic.conversation.messages import JSON, Message, Usage, new_id
from dexto_magic.conversation.session import Session
from dexto_magic.errors import SessionBusyError, SessionError, SessionNotFoundError

TITLE_LENGTH = 60
"""Characters of the first prompt that make the automatic title."""

KNOWN_MARKS = 256
"""Marks of its notebook that a session remembers: one is enough to recognise it."""

KNOWN_NOTEBOOKS = 16
"""Notebook paths that a session remembers, the latest."""

Signal: TypeAlias = Literal["go on", "cancel", "reset", "deleted"]
"""What the holder of a running turn is told when it looks: go on, or why to stop."""


@dataclass(frozen=True, kw_only=True)
class OpenTurn:
    """The mark that a running turn leaves in the record.

    Attributes:
        owner: The owner that runs it; alive as long as it holds its liveness lock.
        holder: The same in words, for people.
        since: When it began; UTC.
        turn: Its number.
        version: Its version.
        cancel: Whether somebody asked it to stop.
    """

    owner: str
    holder: str
    since: datetime
    turn: int
    version: int = 1
    cancel: bool = False


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
        turns: Turns of this epoch.
        messages: Messages in view.
        versions: The current version of each turn that is not at its first.
        undo: Turns taken out of the line, the last one first.
        open: The mark of the running turn, or ``None``.
        title: The title, or ``None``.
        own_title: Whether a person chose it; a reset keeps only those.
        model: The session's own model, or ``None``.
        system: The session's own system prompt, or ``None``.
        settings: The session's own settings.
        usage: Tokens over its lifetime.
        forked_from: The name of the session that it was forked from, or ``None``.
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
    turns: int = 0
    messages: int = 0
    versions: Mapping[int, int] = field(default_factory=dict)
    undo: tuple[JSON, ...] = ()
    open: OpenTurn | None = None
    title: str | None = None
    own_title: bool = False
    model: str | None = None
    system: str | None = None
    settings: Mapping[str, JSON] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    forked_from: str | None = None
    home: str | None = None
    notebooks: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def session(self) -> Session:
        """The public value."""
        return Session(
            id=self.id,
            title=self.title,
            created_at=self.created_at,
            updated_at=self.used_at,
            message_count=self.messages,
            turn_count=self.turns,
            model=self.model,
            system=self.system,
            forked_from=self.forked_from,
            usage=self.usage,
            home=self.home,
            notebooks=self.notebooks,
        )

    def shows(self, message: Message) -> bool:
        """Whether a row of this epoch is in view: it belongs to its turn's current version."""
        return message.version == self.versions.get(message.turn, 1)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to run one turn, and what the writes that end it build on.

    Attributes:
        session: The session as it was before this turn.
        sid: The store's name for it.
        epoch: The epoch in which the turn runs.
        revision: The revision that the claim made.
        owner: Who holds it.
        message: The user message as it was stored.
    """

    session: Session
    sid: str
    epoch: int
    revision: int
    owner: str
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


def opened(
    record: SessionRecord, message: Message, *, owner: str, holder: str, now: datetime
) -> tuple[SessionRecord, Claim]:
    """Claims the session for a new turn at the end of the line.

    The caller has made sure that no live turn is open. The message's turn number is set here.
    """
    number = record.turns + 1
    message = replace(message, turn=number, version=1)
    notebook = message.origin.notebook if message.origin else None
    cell_id = message.origin.cell_id if message.origin else None
    claimed = replace(
        record,
        rows=record.rows + 1,
        revision=record.revision + 1,
        turns=number,
        messages=record.messages + 1,
        used_at=max(now, record.used_at),
        open=OpenTurn(owner=owner, holder=holder, since=now, turn=number),
        title=record.title or automatic_title(message.content),
        notebooks=_remembered(record.notebooks, [notebook], KNOWN_NOTEBOOKS),
        marks=_remembered(
            record.marks,
            [cell_mark(cell_id)] if cell_id and record.home and record.home == notebook else [],
            KNOWN_MARKS,
        ),
    )
    return claimed, Claim(
        session=record.session(),
        sid=record.sid,
        epoch=claimed.epoch,
        revision=claimed.revision,
        owner=owner,
        message=message,
    )


def rows_of(claim: Claim, rows: Sequence[Message]) -> list[Message]:
    """The rows as parts of the claim's turn."""
    turn, version = claim.message.turn, claim.message.version
    return [replace(row, turn=turn, version=version) for row in rows]


def settled(record: SessionRecord, rows: Sequence[Message], *, now: datetime) -> SessionRecord:
    """Ends the open turn with the rows that follow its user message."""
    usage = record.usage
    for row in rows:
        if row.usage is not None:
            usage = usage + row.usage
    return replace(
        record,
        rows=record.rows + len(rows),
        revision=record.revision + 1,
        messages=record.messages + len(rows),
        used_at=max(now, record.used_at),
        open=None,
        usage=usage,
    )


def crashed(record: SessionRecord, partial: Partial | None, *, now: datetime) -> Message:
    """The reply row for a turn whose owner died: what was saved of it, or an empty failed one."""
    mark = record.open
    assert mark is not None
    if partial is not None and (partial.epoch, partial.turn) == (record.epoch, mark.turn):
        message = partial.message
    else:
        message = Message(role="assistant", content="", id=new_id("msg"), created_at=now)
    arrived = bool(message.content or message.reasoning)
    return replace(
        message,
        turn=mark.turn,
        version=mark.version,
        status="stopped" if arrived else "failed",
        reason="crashed",
    )


def emptied(record: SessionRecord) -> SessionRecord:
    """A reset: all messages gone, and an automatic title with them; the rest is kept."""
    return replace(
        record,
        epoch=record.epoch + 1,
        revision=record.revision + 1,
        rows=0,
        turns=0,
        messages=0,
        versions={},
        undo=(),
        open=None,
        title=record.title if record.own_title else None,
    )


def signal(record: SessionRecord | None, claim: Claim) -> Signal:
    """What the holder of a claim has to do, seen from the record as it is now."""
    if record is None:
        return "deleted"
    mark = record.open
    if record.epoch != claim.epoch or mark is None or mark.owner != claim.owner:
        return "reset"
    return "cancel" if mark.cancel else "go on"


def fence(record: SessionRecord | None, claim: Claim) -> SessionRecord:
    """The record, if the claim still holds: a write that lost its ground must not land.

    Raises:
        SessionNotFoundError: The session was deleted meanwhile.
        SessionError: It was reset meanwhile.
    """
    name = claim.session.id
    if record is None:
        raise SessionNotFoundError(
            f"Session {name!r} was deleted while this turn was running; its reply was not kept.",
            session_id=name,
        )
    if signal(record, claim) == "reset" or record.revision != claim.revision:
        raise SessionError(
            f"Session {name!r} was reset while this turn was running; its reply was not kept.",
            session_id=name,
        )
    return record


def at_home(record: SessionRecord, notebook: str, marks: Sequence[str]) -> SessionRecord:
    """Makes it the notebook's own session, which knows it by these marks, too."""
    return replace(record, home=notebook, marks=_remembered(record.marks, marks, KNOWN_MARKS))


def cell_mark(cell_id: str) -> str:
    """By which a notebook is recognised that has the cell."""
    return f"cell {cell_id}"


def homeless(record: SessionRecord, lost: Sequence[str]) -> SessionRecord:
    """Gives its home to another session, with these of its marks.

    The others still lead to it: a new file may have taken the path of its notebook, which goes on
    under another name.
    """
    kept = tuple(mark for mark in record.marks if mark not in lost)
    return replace(record, home=None, marks=kept)


def updated(record: SessionRecord, *, model: str | None, system: str | None) -> SessionRecord:
    """Changes what is given; an empty string takes the session's own value away."""
    return replace(
        record,
        model=record.model if model is None else model or None,
        system=record.system if system is None else system or None,
    )


def busy(record: SessionRecord) -> SessionBusyError:
    """The error for a session that a live owner holds."""
    mark = record.open
    assert mark is not None
    return SessionBusyError(
        f"Session {record.id!r} is busy: {mark.holder} has been running a turn of it since "
        f"{mark.since:%H:%M:%S} UTC. Wait for it, or cancel it.",
        session_id=record.id,
        holder=mark.holder,
        since=mark.since,
    )


def automatic_title(prompt: str) -> str:
    """The beginning of the prompt on one line, at most ``TITLE_LENGTH`` characters."""
    words = " ".join(prompt.split())
    if len(words) <= TITLE_LENGTH:
        return words
    cut = words[: TITLE_LENGTH - 1]
    return cut[: cut.rfind(" ") if " " in cut[TITLE_LENGTH // 2 :] else None].rstrip() + "…"


def _remembered(known: tuple[str, ...], items: Sequence[str | None], most: int) -> tuple[str, ...]:
    """The same with the items last; only the latest are kept."""
    latest = [item for item in dict.fromkeys(items) if item is not None]
    return (*(item for item in known if item not in latest), *latest)[-most:]
