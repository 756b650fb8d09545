"""What moves the line of a session's turns, or takes one out of it: undo, redo, forget.

Each function is a step of a transaction which the caller opens, but for ``holders``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dexto_magic.conversation import revision
from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.record import SessionRecord
from dexto_magic.conversation.session import Removal, TurnChange
from dexto_magic.errors import StoreCorruptedError
from dexto_magic.stores import removal, rows
from dexto_magic.stores.codec import encode
from dexto_magic.stores.entries import Entries
from dexto_magic.stores.keys import file_key, message_key


def undo(entries: Entries, session_id: str) -> TurnChange:
    """Takes the last turn out of view, or brings its version before back."""
    return _moved(entries, session_id, "undo", Line.undo)


def redo(entries: Entries, session_id: str) -> TurnChange:
    """Takes the last undo back."""
    return _moved(entries, session_id, "redo", Line.redo)


def _moved(
    entries: Entries, session_id: str, verb: str, move: Callable[[Line], tuple[Line, Step] | None]
) -> TurnChange:
    entry = entries.idle(session_id)
    before = entry.record
    line, step = revision.checked_move(before, verb, move(before.line))
    left = _in_view(entries, before, before.line, step.turn)
    came = _in_view(entries, before, line, step.turn)
    record = revision.moved(before, line, left=left, came=came)
    session = entries.put(entry, record).record.session()
    return revision.turn_change(session, line, step, came or left)


def _in_view(entries: Entries, record: SessionRecord, line: Line, turn: int) -> list[Message]:
    return entries.messages_of(record, turn, line.current(turn)) if turn in line else []


def holders(entries: Entries, session_id: str, turn: int) -> Mapping[str, bool]:
    """Whether each relative of a session holds a message of one of its turns, by sid.

    That is to read all of their rows, which is no work for a transaction that keeps others out.
    """
    with entries.table.snapshot():
        entry = entries.find(session_id)
        if entry is None:
            return {}
        record = entry.record
        ids = {m.id for m in entries.messages(record, 0, record.rows) if m.turn == turn}
        relatives = [relative.record for relative in entries.relatives(record)]
        return {relative.sid: _holds(entries, relative, ids) for relative in relatives}


def forget(entries: Entries, session_id: str, turn: int, known: Mapping[str, bool]) -> Removal:
    """Takes a turn away, in all its versions, with all that was made of it.

    Args:
        entries: Where it is.
        session_id: The session's name.
        turn: The turn's number.
        known: What ``holders`` said; those that came to be since are read now.
    """
    entry = entries.idle(session_id)
    before = entry.record
    found = entries.read(before, 0, before.rows)
    told = {n: rows.message_from_json(row) for n, row in enumerate(found) if rows.is_message(row)}
    asides = {n: rows.aside_from_json(row) for n, row in enumerate(found) if rows.is_aside(row)}
    messages = {n: message for n, message in told.items() if message.turn == turn}
    revision.check_kept(before, turn, list(messages.values()))
    made_of_it = {n: aside for n, aside in asides.items() if aside.turn >= turn}
    for number in (*messages, *made_of_it):
        entries.table.set(message_key(before.sid, before.epoch, number), encode(rows.FORGOTTEN))
    others = [message for n, message in told.items() if n not in messages]
    kept = {attachment.digest for message in others for attachment in message.attachments}
    for message in messages.values():
        for attachment in message.attachments:
            if attachment.digest not in kept:
                entries.table.delete(file_key(before.sid, attachment.digest))
    record = revision.forgotten(
        before,
        turn,
        left=list(filter(before.line.shows, messages.values())),
        others=others,
        asides=[aside for n, aside in asides.items() if n not in made_of_it],
    )
    ids = {message.id for message in messages.values()}
    relatives = [relative.record for relative in entries.relatives(before)]

    def holds(relative: SessionRecord) -> bool:
        is_holder = known.get(relative.sid)
        return _holds(entries, relative, ids) if is_holder is None else is_holder

    removal.condemn_forgotten(entries.table, record)
    entries.put(entry, record)
    return Removal(
        session_id=session_id,
        deleted=False,
        turn=turn,
        message_count=len(messages),
        notebooks=before.notebooks,
        forks=tuple(relative.id for relative in relatives if holds(relative)),
        purge_pending=True,
    )


def _holds(entries: Entries, record: SessionRecord, ids: set[str]) -> bool:
    """Whether a session holds one of these messages, or may do so: of it some cannot be read."""
    try:
        return any(message.id in ids for message in entries.messages(record, 0, record.rows))
    except StoreCorruptedError:
        return True
