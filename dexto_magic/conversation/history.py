"""How each operation on a conversation moves its session's record.

The rules stand here, as functions from record to record, so that every store follows the same
ones: a store only has to make each step atomic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside, Message, new_id
from dexto_magic.conversation.places import (
    KNOWN_MARKS,
    KNOWN_NOTEBOOKS,
    cell_mark,
    remembered,
)
from dexto_magic.conversation.record import (
    CONTEXT_BUDGET,
    OVERFLOW,
    Claim,
    Hold,
    OpenTurn,
    Partial,
    SessionChanges,
    SessionRecord,
)
from dexto_magic.conversation.session import Transcript
from dexto_magic.conversation.summaries import is_about
from dexto_magic.errors import SessionBusyError, SessionError, SessionNotFoundError

TITLE_LENGTH = 60
"""Characters of the first prompt that make the automatic title."""

Signal: TypeAlias = Literal["go on", "cancel", "reset", "deleted"]
"""What the holder of a running turn is told when it looks: go on, or why to stop."""


def opened(
    record: SessionRecord,
    message: Message,
    *,
    owner: str,
    holder: str,
    now: datetime,
    revises: int | None = None,
    hidden: Sequence[Message] = (),
) -> tuple[SessionRecord, Claim]:
    """Claims the session for a new turn at the end of the line, or a new version of one in it.

    The caller has made sure that no live turn is open. The message's turn and version are set here.

    Args:
        record: The session as it is.
        message: The user message.
        owner: Who runs the turn.
        holder: The same in words.
        now: The time.
        revises: The number of the turn that this is a new version of, or ``None``.
        hidden: The messages that that turn has in view.

    Raises:
        SessionError: The turn to be revised is not in view.
    """
    if revises is None:
        line, number = record.line.appended(), record.line.end + 1
    else:
        check_turn(record, revises)
        line, number = record.line.revised(revises), revises
    version = line.current(number)
    message = replace(message, turn=number, version=version)
    notebook = message.origin.notebook if message.origin else None
    cell_id = message.origin.cell_id if message.origin else None
    claimed = replace(
        record,
        rows=record.rows + 1,
        revision=record.revision + 1,
        line=line,
        messages=record.messages + 1 - len(hidden),
        used_at=max(now, record.used_at),
        open=OpenTurn(
            owner=owner,
            holder=holder,
            since=now,
            turn=number,
            version=version,
            hides=len(hidden),
            title=retitled(record, hidden, [message]),
        ),
        title=record.title or automatic_title(message.content),
        notebooks=remembered(record.notebooks, [notebook], KNOWN_NOTEBOOKS),
        marks=remembered(
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


def retitled(record: SessionRecord, left: Sequence[Message], came: Sequence[Message]) -> str | None:
    """The automatic title once the first prompt in view is another one, if that changes it.

    Args:
        record: The session as it is.
        left: The messages of a version of a turn that goes out of view.
        came: Those that come into view in its place.
    """
    if record.own_title or not left or not came or left[0].turn != record.line.first:
        return None
    return (
        automatic_title(came[0].content)
        if record.title == automatic_title(left[0].content)
        else None
    )


def held(
    record: SessionRecord, *, owner: str, holder: str, now: datetime
) -> tuple[SessionRecord, Hold]:
    """Keeps turns out until ``released``, for what needs the conversation to stand still."""
    mark = OpenTurn(owner=owner, holder=holder, since=now, turn=0)
    claimed = replace(record, revision=record.revision + 1, open=mark)
    return claimed, Hold(
        session=record.session(),
        sid=record.sid,
        epoch=claimed.epoch,
        revision=claimed.revision,
        owner=owner,
    )


def released(record: SessionRecord) -> SessionRecord:
    """Lets turns in again."""
    return replace(record, revision=record.revision + 1, open=None)


def check_asked(
    record: SessionRecord, turn: int | None, hidden: Sequence[Message], asked: str | None
) -> None:
    """Lets pass a turn that has the user message of an id in view, if it has to have one.

    Raises:
        SessionError: It has another, or none.
    """
    if asked is not None and asked not in [message.id for message in hidden]:
        raise SessionError(
            f"Turn {turn} of session {record.id!r} was replaced or undone just now; nothing was "
            "sent. Look at it, and try again.",
            session_id=record.id,
        )


def check_turn(record: SessionRecord, turn: int) -> None:
    """Lets pass the number of a turn that is in view.

    Raises:
        SessionError: It is not.
    """
    if turn not in record.line:
        held = "no turns" if not record.line.count else f"turns up to {record.line.end}"
        lost = " It was forgotten." if turn in record.line.gone else ""
        raise SessionError(
            f"Session {record.id!r} has no turn {turn} in view.{lost} It has {held}.",
            session_id=record.id,
        )


def rows_of(claim: Claim, rows: Sequence[Message]) -> list[Message]:
    """The rows as parts of the claim's turn."""
    turn, version = claim.message.turn, claim.message.version
    return [replace(row, turn=turn, version=version) for row in rows]


def settled(record: SessionRecord, rows: Sequence[Message], *, now: datetime) -> SessionRecord:
    """Ends the open turn with the rows that follow its user message.

    Where it was to be another version of a turn and nothing came of it, the one before is in view
    again, and what was undone can still be brought back.
    """
    usage = record.usage
    for row in rows:
        if row.usage is not None:
            usage = usage + row.usage
    line, messages, title = record.line, record.messages + len(rows), record.title
    if record.open is not None and rows and rows[-1].status == "failed" and record.revises:
        line, messages = line.unrevised(), record.messages - 1 + record.open.hides
    else:
        line = line.without_redo()
        title = (record.open and record.open.title) or title
    return replace(
        record,
        rows=record.rows + len(rows),
        revision=record.revision + 1,
        line=line,
        messages=messages,
        used_at=max(now, record.used_at),
        open=None,
        usage=usage,
        title=title,
    )


def noted(record: SessionRecord, aside: Aside, about: Sequence[Message]) -> SessionRecord:
    """Keeps what a model was asked aside, and what that cost; a title it wrote is the session's.

    The line does not move, so that a running turn goes on.

    Args:
        record: The session as it is.
        aside: What the model wrote.
        about: The messages in view of the last turn that it is about.

    Raises:
        SessionError: They are not those that it is about.
    """
    if not is_about(aside, record.line) or not about or about[-1].id != aside.through:
        raise SessionError(
            f"Turns of session {record.id!r} were taken back or replaced while a {aside.kind} of "
            "them was written; it was not kept.",
            session_id=record.id,
        )
    titled = aside.kind == "title"
    return replace(
        record,
        rows=record.rows + 1,
        usage=record.usage if aside.usage is None else record.usage + aside.usage,
        title=aside.content if titled else record.title,
        own_title=record.own_title and not titled,
        open=_untitled(record.open) if titled else record.open,
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


def whole(
    record: SessionRecord, messages: Sequence[Message], asides: Sequence[Aside]
) -> Transcript:
    """All that is kept of a session, in the order in which it is shown and exported."""
    shown = [message for message in messages if record.line.shows(message)]
    others = [message for message in messages if not record.line.shows(message)]
    shown.sort(key=lambda message: message.turn)
    others.sort(key=lambda message: (message.turn, message.version))
    return Transcript(
        session=record.session(),
        messages=tuple(shown),
        others=tuple(others),
        asides=tuple(asides),
        line=record.line,
    )


def asked_again(transcript: Transcript, turn: int | None) -> Message:
    """The user message of a turn in view, of the last one for ``None``.

    Raises:
        SessionError: There is none.
    """
    name = transcript.session.id
    prompts = [m for m in transcript.messages if m.role == "user" and turn in (None, m.turn)]
    if not prompts:
        which = "no turn" if turn is None else f"no turn {turn} in view"
        raise SessionError(
            f"There is nothing to retry: session {name!r} has {which}.", session_id=name
        )
    return prompts[-1]


def emptied(record: SessionRecord) -> SessionRecord:
    """A reset: all messages gone, and an automatic title with them; the rest is kept."""
    return replace(
        record,
        epoch=record.epoch + 1,
        revision=record.revision + 1,
        rows=0,
        line=Line(),
        messages=0,
        open=None,
        family=None,
        source=None,
        title=record.title if record.own_title else None,
    )


def signal(record: SessionRecord | None, hold: Hold) -> Signal:
    """What the holder of a claim has to do, seen from the record as it is now."""
    if record is None:
        return "deleted"
    # Every step that ends a claim moves the revision; its owner may have another one by now.
    if record.open is None or record.revision != hold.revision:
        return "reset"
    return "cancel" if record.open.cancel else "go on"


def fence(record: SessionRecord | None, hold: Hold) -> SessionRecord:
    """The record, if the claim or hold still holds: a write that lost its ground must not land.

    Raises:
        SessionNotFoundError: The session was deleted meanwhile.
        SessionError: It was reset meanwhile.
    """
    name = hold.session.id
    lost = (
        "while this turn was running; its reply was not kept."
        if isinstance(hold, Claim)
        else "while it was being summarised; what was written since was not kept."
    )
    if record is None:
        raise SessionNotFoundError(f"Session {name!r} was deleted {lost}", session_id=name)
    if signal(record, hold) == "reset":
        raise SessionError(f"Session {name!r} was reset {lost}", session_id=name)
    return record


def updated(
    record: SessionRecord, changes: SessionChanges, *, untitled: str | None = None
) -> SessionRecord:
    """Changes what is given; an empty string or 0 takes the session's own value away.

    Args:
        record: The session as it is.
        changes: What is to be changed.
        untitled: The title that it has if its own is taken away.
    """
    settings = dict(record.settings)
    for key in (OVERFLOW, CONTEXT_BUDGET):
        value: Any = changes.get(key)
        if value:
            settings[key] = value
        elif value is not None:
            settings.pop(key, None)
    model, system, title = changes.get("model"), changes.get("system"), changes.get("title")
    return replace(
        record,
        model=record.model if model is None else model or None,
        system=record.system if system is None else system or None,
        title=record.title if title is None else title or untitled,
        own_title=record.own_title if title is None else bool(title),
        open=record.open if title is None else _untitled(record.open),
        settings=settings,
    )


def _untitled(mark: OpenTurn | None) -> OpenTurn | None:
    """The mark of a turn that no longer changes the title: somebody has given another."""
    return mark and replace(mark, title=None)


def busy(record: SessionRecord) -> SessionBusyError:
    """The error for a session that a live owner holds."""
    mark = record.open
    assert mark is not None
    doing = "running a turn of it" if mark.turn else "summarising it"
    return SessionBusyError(
        f"Session {record.id!r} is busy: {mark.holder} has been {doing} since "
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
