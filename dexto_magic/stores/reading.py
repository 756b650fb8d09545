"""What is read of the sessions in a table, each time in one snapshot.

What an operation writes is in ``ledger``; records and rows are found by ``entries``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from dexto_magic.conversation import history
from dexto_magic.conversation.history import Signal
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.record import Hold, SessionRecord
from dexto_magic.conversation.revision import title_by_itself
from dexto_magic.conversation.session import Session, SessionPage, Transcript
from dexto_magic.stores import homes, rows
from dexto_magic.stores.codec import decode_bytes
from dexto_magic.stores.entries import Entries, Entry
from dexto_magic.stores.keys import (
    CHANGES,
    SCHEMA_KEY,
    USES,
    change_key,
    file_key,
    number_of,
    sid_of,
)
from dexto_magic.stores.protocol import Change, Rows
from dexto_magic.stores.table import Table


@dataclass(frozen=True, kw_only=True)
class Untitled:
    """The title that a session has if nobody chooses one.

    Attributes:
        record: The session as it was read.
        title: The title.
    """

    record: SessionRecord
    title: str | None

    def holds(self, record: SessionRecord) -> bool:
        """Whether nothing was said in the session since, nor any turn of it moved."""
        return _said(record) == _said(self.record)


def _said(record: SessionRecord) -> tuple[object, ...]:
    return record.sid, record.epoch, record.rows, record.forgets, record.line


class Reading:
    """Sessions in a table, to be read.

    Args:
        table: The table.
        is_alive: Whether an owner is alive.
        now: The clock; UTC.

    Attributes:
        entries: The records and rows.
    """

    def __init__(
        self, table: Table, *, is_alive: Callable[[str], bool], now: Callable[[], datetime]
    ) -> None:
        self.entries = Entries(table, is_alive=is_alive, now=now)
        self._table = table

    def touch(self) -> None:
        """Reads a row, which opens the calling thread's connection."""
        self._table.get(SCHEMA_KEY)

    def generation(self) -> str:
        """What tells the store from any other."""
        return rows.generation_from_json(self._table.get(SCHEMA_KEY))

    def get(self, session_id: str) -> SessionRecord | None:
        """The session's record, or ``None``."""
        with self._table.snapshot():
            entry = self.entries.find(session_id)
        return entry.record if entry else None

    def page(self, *, limit: int, cursor: str | None) -> SessionPage:
        """A page of sessions, most recently used first."""
        if limit == 0:
            return SessionPage(sessions=(), cursor=cursor)
        first, end = USES
        if cursor is not None:
            end = first + bytes.fromhex(cursor)
        with self._table.snapshot():
            keys = self._table.keys(first, end, limit=limit + 1, newest_first=True)
            entries = [self.entries.entry(sid_of(key)) for key in keys[:limit]]
        return SessionPage(
            sessions=tuple(entry.record.session() for entry in entries if entry),
            cursor=keys[limit - 1][1:].hex() if len(keys) > limit else None,
        )

    def transcript(self, session_id: str, *, limit: int | None) -> tuple[SessionRecord, Transcript]:
        """The session's record and its messages in view, or the newest ``limit`` of them."""
        with self._table.snapshot():
            record = self.entries.known(session_id).record
            messages = self._newest(record, limit)
        return record, Transcript(session=record.session(), messages=tuple(messages))

    def _newest(self, record: SessionRecord, limit: int | None) -> list[Message]:
        """The messages in view, or the newest ``limit`` of them, read from the end.

        What is displaced stands after all that comes before it. So it has been read by the time
        that enough is that is not, which is what counts.
        """
        line = record.line
        displaced = line.displaced
        messages: list[Message] = []
        in_place, end = 0, record.rows
        at_once = end if limit is None else limit
        while end > 0 and (limit is None or in_place < limit):
            start = max(0, end - at_once)
            here = list(filter(line.shows, self.entries.messages(record, start, end)))
            in_place += sum(message.turn not in displaced for message in here)
            messages[:0] = here
            # Long stretches may be out of view: not a query for each few of them.
            end, at_once = start, 2 * at_once
        if displaced:
            messages.sort(key=lambda message: message.turn)
        return messages if limit is None else messages[max(0, len(messages) - limit) :]

    def untitled(self, session_id: str) -> Untitled | None:
        """The title that a session would have by itself; all of it is read for that.

        That is no work for a transaction, which keeps others out.
        """
        with self._table.snapshot():
            entry = self.entries.find(session_id)
            return None if entry is None else self.titled_by_itself(entry.record)

    def titled_by_itself(self, record: SessionRecord) -> Untitled:
        """The same of its record, in a snapshot or transaction of the caller's."""
        found = self.entries.read(record, 0, record.rows)
        title = title_by_itself(
            record.line,
            [rows.message_from_json(row) for row in found if rows.is_message(row)],
            [rows.aside_from_json(row) for row in found if rows.is_aside(row)],
        )
        return Untitled(record=record, title=title)

    def everything(self, session_id: str) -> tuple[SessionRecord, Transcript]:
        """The session's record and all that is kept of it."""
        with self._table.snapshot():
            record = self.entries.known(session_id).record
            return record, self._whole(record)

    def held(self, hold: Hold) -> Transcript:
        """All that is kept of the session that is held."""
        with self._table.snapshot():
            entry = self.entries.entry(hold.sid)
            return self._whole(history.fence(entry.record if entry else None, hold))

    def _whole(self, record: SessionRecord) -> Transcript:
        found = self.entries.read(record, 0, record.rows)
        messages = [rows.message_from_json(row) for row in found if rows.is_message(row)]
        asides = [rows.aside_from_json(row) for row in found if rows.is_aside(row)]
        return history.whole(record, messages, asides)

    def rows(self, sid: str, *, epoch: int, start: int) -> Rows | None:
        """What was written in a session since a row."""
        with self._table.snapshot():
            entry = self.entries.entry(sid)
            if entry is None:
                return None
            record = entry.record
            first = start if epoch == record.epoch else 0
            messages = self.entries.messages(record, first, record.rows)
        return Rows(
            session=record.session(),
            epoch=record.epoch,
            line=record.line,
            start=first,
            end=record.rows,
            messages=tuple(messages),
            forgets=record.forgets,
        )

    def file(self, session_id: str, digest: str) -> bytes | None:
        """The bytes of an attachment, or ``None``."""
        with self._table.snapshot():
            sid = self.entries.known(session_id).record.sid
            row = self._table.get_row(file_key(sid, digest))
        return None if row is None else decode_bytes(row.mode, row.data)

    def signal(self, claim: Hold) -> Signal:
        """Whether the claim's turn may go on."""
        with self._table.snapshot():
            entry = self.entries.entry(claim.sid)
        return history.signal(entry.record if entry else None, claim)

    def changes(self, since: int, *, limit: int) -> list[Change]:
        """The latest change of each session whose number is above ``since``, in order."""
        with self._table.snapshot():
            keys = self._table.keys(change_key(since + 1, ""), CHANGES[1], limit=limit)
            entries = [self.entries.entry(sid_of(key)) for key in keys]
        return [
            Change(
                number=number_of(key),
                sid=sid_of(key),
                session_id=entry.record.id if entry else None,
            )
            for key, entry in zip(keys, entries, strict=True)
        ]

    def restored(self, source: str) -> Session | None:
        """The session that was restored from a source last and still holds it."""
        with self._table.snapshot():
            entry = self.entries.restored(source)
        return entry.record.session() if entry else None

    def home_session(self, notebook: str) -> Session | None:
        """The notebook's own session."""
        with self._table.snapshot():
            entry = self.at_home(notebook)
        return entry.record.session() if entry else None

    def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        """Whether the session knows one of these marks."""
        return not set(marks).isdisjoint(self.entries.known(session_id).record.marks)

    def sessions_of_marks(self, marks: Sequence[str]) -> list[Session]:
        """Sessions that know one of these marks, the latest used first."""
        wanted = set(marks)
        with self._table.snapshot():
            entries = [self.entries.entry(sid) for sid in homes.sids_of(self._table, wanted)]
        known = [entry for entry in entries if entry and not wanted.isdisjoint(entry.record.marks)]
        known.sort(key=lambda entry: entry.use, reverse=True)
        return [entry.record.session() for entry in known]

    def at_home(self, notebook: str) -> Entry | None:
        """The entry of the notebook's own session, or ``None``."""
        sid = homes.sid_at_home(self._table, notebook)
        return None if sid is None else self.entries.entry(sid)
