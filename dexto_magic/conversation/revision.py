"""How the record moves where turns are taken back, brought back, or taken out for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dexto_magic.conversation.history import automatic_title, retitled
from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import Aside, Message
from dexto_magic.conversation.record import SessionRecord
from dexto_magic.conversation.session import Session, TurnChange
from dexto_magic.conversation.summaries import is_about
from dexto_magic.errors import SessionError


def moved(
    record: SessionRecord, line: Line, *, left: Sequence[Message], came: Sequence[Message]
) -> SessionRecord:
    """Puts another line in place.

    An automatic title is that of the first prompt in view.

    Args:
        record: The session as it is; no turn is open.
        line: The new line.
        left: The messages that go out of view.
        came: Those that come into view.
    """
    title = record.title
    if not record.own_title:
        if not line.count:
            title = None
        elif not record.line.count:
            title = automatic_title(came[0].content)
        else:
            title = retitled(record, left, came) or title
    return replace(
        record,
        line=line,
        revision=record.revision + 1,
        messages=record.messages - len(left) + len(came),
        title=title,
    )


def checked_move(
    record: SessionRecord, verb: str, move: tuple[Line, Step] | None
) -> tuple[Line, Step]:
    """The move of an undo or a redo.

    Raises:
        SessionError: There is none.
    """
    if move is None:
        raise SessionError(
            f"There is nothing to {verb} in session {record.id!r}.", session_id=record.id
        )
    return move


def turn_change(
    session: Session, line: Line, step: Step, messages: Sequence[Message]
) -> TurnChange:
    """What an undo or a redo did.

    Args:
        session: The session afterwards.
        line: The line afterwards.
        step: The step that was undone or redone.
        messages: Those that came into view, else those that went out of it.
    """
    return TurnChange(
        session=session,
        turn=step.turn,
        version=line.current(step.turn) if step.turn in line else None,
        asked=messages[0],
        undone=step in line.undone,
    )


def check_kept(record: SessionRecord, turn: int, messages: Sequence[Message]) -> None:
    """Lets pass the number of a turn of which there are messages.

    Raises:
        SessionError: There are none.
    """
    if not messages:
        why = " It was forgotten before." if turn in record.line.gone else ""
        raise SessionError(
            f"Session {record.id!r} has no turn {turn}.{why} Nothing was forgotten; "
            "`%dexto history` shows the numbers.",
            session_id=record.id,
        )


def forgotten(
    record: SessionRecord,
    turn: int,
    *,
    left: Sequence[Message],
    others: Sequence[Message],
    asides: Sequence[Aside],
) -> SessionRecord:
    """Takes a turn out for good, with all its versions, and what was made of it.

    Args:
        record: The session as it is; no turn is open.
        turn: The turn's number.
        left: The messages that go out of view.
        others: The messages that are left, in view or not.
        asides: The summaries and titles that are left.
    """
    line = record.line.without(turn)
    title = record.title
    titles = [aside.content for aside in asides if aside.kind == "title"]
    if not record.own_title and title not in titles:
        title = title_by_itself(line, others, asides)
    moved_on = moved(record, line, left=left, came=())
    return replace(moved_on, title=title, forgets=record.forgets + 1)


def title_by_itself(line: Line, messages: Sequence[Message], asides: Sequence[Aside]) -> str | None:
    """The title of a session for which nobody chose one.

    It is the last that a model wrote of what is in view, else that of the first prompt in view.
    """
    titles = [aside.content for aside in asides if aside.kind == "title" and is_about(aside, line)]
    if titles:
        return titles[-1]
    prompts = [message for message in messages if message.role == "user" and line.shows(message)]
    first = min(prompts, key=lambda message: message.turn, default=None)
    return None if first is None else automatic_title(first.content)
