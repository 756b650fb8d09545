"""Which rows a session has, and what each operation reads and writes of them, in one step.

The rules of a conversation are in ``conversation.history``, the keys in ``keys``; threads, locks
and files are not known here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dexto_magic.conversation import history
from dexto_magic.conversation.history import Claim, SessionRecord, Signal
from dexto_magic.conversation.messages import Message, new_id
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    not_found,
    taken,
)
from dexto_magic.errors import StoreCorruptedError
from dexto_magic.stores import homes, removal, rows
from dexto_magic.stores.keys import (
    CHANGES,
    SCHEMA_KEY,
    USES,
    VERSION,
    change_key,
    message_key,
    name_key,
    number_of,
    partial_key,
    session_key,
    sid_of,
    use_key,
)
from dexto_magic.stores.protocol import Change, Owner
from dexto_magic.stores.rows import Row
from dexto_magic.stores.table import Key, Table

_NULL = rows.encode(None)


@dataclass(frozen=True)
class _Entry:
    """A session's row: its record, and where its rows of recency and change stand."""

    record: SessionRecord
    use: int
    change: int


class Ledger:
    """Sessions in a table.

    Methods that write are steps of a transaction which the caller opens; they never wait. Those
    that end what began in an earlier transaction are fenced by the epoch and revision that it
    left. The others read what they change in their own transaction, so that nothing can have
    moved, and do not move the revision: that would put a running turn out.

    Args:
        table: The table.
        is_alive: Whether an owner is alive.
        now: The clock; UTC.
    """

    def __init__(
        self, table: Table, *, is_alive: Callable[[str], bool], now: Callable[[], datetime]
    ) -> None:
        self._table = table
        self._is_alive = is_alive
        self._now = now

    # -- reading ---------------------------------------------------------------------------------

    def touch(self) -> None:
        """Reads a row, which opens the calling thread's connection."""
        self._table.get(SCHEMA_KEY)

    def get(self, session_id: str) -> SessionRecord | None:
        """The session's record, or ``None``."""
        with self._table.snapshot():
            entry = self._find(session_id)
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
            entries = [self._entry(sid_of(key)) for key in keys[:limit]]
        return SessionPage(
            sessions=tuple(entry.record.session() for entry in entries if entry),
            cursor=keys[limit - 1][1:].hex() if len(keys) > limit else None,
        )

    def transcript(self, session_id: str, *, limit: int | None) -> tuple[SessionRecord, Transcript]:
        """The session's record and its messages in view, or the newest ``limit`` of them."""
        with self._table.snapshot():
            record = self._known(session_id).record
            messages: list[Message] = []
            end = record.rows
            while end > 0 and (limit is None or len(messages) < limit):
                start = 0 if limit is None else max(0, end - limit)
                messages[:0] = rows.messages_in_view(self._rows(record, start, end), record)
                end = start
        newest = messages if limit is None else messages[max(0, len(messages) - limit) :]
        return record, Transcript(session=record.session(), messages=tuple(newest))

    def is_abandoned(self, record: SessionRecord) -> bool:
        """Whether the record has an open turn whose owner died."""
        return record.open is not None and not self._is_alive(record.open.owner)

    def signal(self, claim: Claim) -> Signal:
        """Whether the claim's turn may go on."""
        with self._table.snapshot():
            entry = self._entry(claim.sid)
        return history.signal(entry.record if entry else None, claim)

    def changes(self, since: int, *, limit: int) -> list[Change]:
        """The latest change of each session whose number is above ``since``, in order."""
        with self._table.snapshot():
            keys = self._table.keys(change_key(since + 1, ""), CHANGES[1], limit=limit)
            entries = [self._entry(sid_of(key)) for key in keys]
        return [
            Change(
                number=number_of(key),
                sid=sid_of(key),
                session_id=entry.record.id if entry else None,
            )
            for key, entry in zip(keys, entries, strict=True)
        ]

    def home_session(self, notebook: str) -> Session | None:
        """The notebook's own session."""
        with self._table.snapshot():
            entry = self._at_home(notebook)
        return entry.record.session() if entry else None

    def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        """Whether the session knows one of these marks."""
        return not set(marks).isdisjoint(self._known(session_id).record.marks)

    def sessions_of_marks(self, marks: Sequence[str]) -> list[Session]:
        """Sessions that know one of these marks, the latest used first."""
        wanted = set(marks)
        with self._table.snapshot():
            entries = [self._entry(sid) for sid in homes.sids_of(self._table, wanted)]
        known = [entry for entry in entries if entry and not wanted.isdisjoint(entry.record.marks)]
        known.sort(key=lambda entry: entry.use, reverse=True)
        return [entry.record.session() for entry in known]

    # -- writing ---------------------------------------------------------------------------------

    def initialise(self) -> None:
        """Writes the schema row of a new store; makes its own transaction."""
        if self._table.get(SCHEMA_KEY) is None:
            schema = {
                "version": VERSION,
                "minimum_reader": VERSION,
                "codecs": {str(mode): codec for mode, codec in rows.CODECS.items()},
                "generation": new_id("gen"),
            }
            with self._table.transaction():
                self._table.add(SCHEMA_KEY, rows.encode(schema))

    def create(self, session_id: str, *, model: str | None, system: str | None) -> Session:
        """A new, empty session."""
        if self._table.get(name_key(session_id)) is not None:
            raise taken(session_id)
        now = self._now()
        record = SessionRecord(
            sid=secrets.token_hex(8),
            id=session_id,
            created_at=now,
            used_at=now,
            model=model,
            system=system,
        )
        self._table.add(name_key(session_id), rows.encode(record.sid))
        self._put(_Entry(record, use=0, change=0), record, used=True)
        return record.session()

    def update(self, session_id: str, *, model: str | None, system: str | None) -> Session:
        """Changes the session's own model or system prompt."""
        entry = self._known(session_id)
        record = history.updated(entry.record, model=model, system=system)
        self._put(entry, record)
        return record.session()

    def claim(self, session_id: str, message: Message, owner: Owner) -> Claim:
        """Opens a turn, after ending one whose owner died."""
        entry = self._recovered(self._known(session_id))
        if entry.record.open is not None:
            raise history.busy(entry.record)
        record, claim = history.opened(
            entry.record, message, owner=owner.id, holder=owner.holder, now=self._now()
        )
        self._append(entry.record, [rows.encode(rows.message_to_json(claim.message))])
        self._put(entry, record, used=True)
        return claim

    def save_partial(self, claim: Claim, partial: Row) -> None:
        """Keeps the running reply, given as its row."""
        entry = self._entry(claim.sid)
        history.fence(entry.record if entry else None, claim)
        self._table.set(partial_key(claim.sid), partial)

    def settle(self, claim: Claim, replies: Sequence[Message], encoded: Sequence[Row]) -> Session:
        """Ends the turn with replies, given as they are and as their rows."""
        entry = self._entry(claim.sid)
        history.fence(entry.record if entry else None, claim)
        assert entry is not None
        self._append(entry.record, encoded)
        self._table.delete(partial_key(claim.sid))
        record = history.settled(entry.record, replies, now=self._now())
        return self._put(entry, record, used=True).record.session()

    def recover(self, sid: str) -> bool:
        """Ends the session's open turn if its owner died; whether that was so."""
        entry = self._entry(sid)
        return entry is not None and self._recovered(entry) is not entry

    def request_cancel(self, session_id: str) -> bool:
        """Sets the flag that the holder of the open turn looks at."""
        entry = self._recovered(self._known(session_id))
        if entry.record.open is None:
            return False
        self._put(entry, replace(entry.record, open=replace(entry.record.open, cancel=True)))
        return True

    def reset(self, session_id: str) -> Removal:
        """Begins a new epoch; the old one's rows are left to ``removal``."""
        entry = self._known(session_id)
        self._table.delete(partial_key(entry.record.sid))
        removal.condemn(self._table, entry.record)
        self._put(entry, history.emptied(entry.record))
        return _removal(entry.record, deleted=False)

    def delete(self, session_id: str) -> Removal:
        """Takes the session away; its rows are left to ``removal``."""
        entry = self._known(session_id)
        record = entry.record
        self._table.delete(partial_key(record.sid))
        removal.condemn(self._table, record)
        self._table.delete(name_key(session_id))
        self._table.delete(session_key(record.sid))
        self._table.delete(use_key(entry.use, record.sid))
        homes.relearn(self._table, record.sid, before=record.marks, after=())
        if record.home is not None:
            homes.leave(self._table, record.home)
        self._changed(entry)
        return _removal(record, deleted=True)

    def set_home(self, session_id: str, notebook: str, marks: Sequence[str]) -> Session:
        """Makes the session the notebook's own, in place of the one before."""
        entry = self._known(session_id)
        before = self._at_home(notebook)
        if before is not None and before.record.sid != entry.record.sid:
            self._put(before, history.homeless(before.record, marks))
        if entry.record.home is not None:
            homes.leave(self._table, entry.record.home)
        homes.settle(self._table, notebook, entry.record.sid)
        return self._put(entry, history.at_home(entry.record, notebook, marks)).record.session()

    # -- rows ------------------------------------------------------------------------------------

    def _find(self, session_id: str) -> _Entry | None:
        sid = self._table.get(name_key(session_id))
        return None if sid is None else self._entry(sid)

    def _known(self, session_id: str) -> _Entry:
        entry = self._find(session_id)
        if entry is None:
            raise not_found(session_id)
        return entry

    def _entry(self, sid: str) -> _Entry | None:
        row = self._table.get(session_key(sid))
        if row is None:
            return None
        return _Entry(rows.record_from_json(row), use=row["use"], change=row["change"])

    def _at_home(self, notebook: str) -> _Entry | None:
        sid = homes.sid_at_home(self._table, notebook)
        return None if sid is None else self._entry(sid)

    def _rows(self, record: SessionRecord, start: int, end: int) -> list[Any]:
        found = self._table.get_range(
            message_key(record.sid, record.epoch, start),
            message_key(record.sid, record.epoch, end),
        )
        if len(found) != end - start:
            there = {key for key, _ in found}
            missing = next(
                number
                for number in range(start, end)
                if message_key(record.sid, record.epoch, number) not in there
            )
            raise StoreCorruptedError(
                f"Message {missing + 1} of {record.rows} of session {record.id!r} is missing from "
                "the store. Nothing was changed; restore a backup, or reset the session."
            )
        return [value for _, value in found]

    def _append(self, record: SessionRecord, encoded: Sequence[Row]) -> None:
        for number, row in enumerate(encoded, start=record.rows):
            self._table.add(message_key(record.sid, record.epoch, number), row)

    def _recovered(self, entry: _Entry) -> _Entry:
        """The entry, after its open turn was ended if the owner died; else that same entry."""
        record = entry.record
        if not self.is_abandoned(record):
            return entry
        row = self._table.get(partial_key(record.sid))
        partial = None if row is None else rows.partial_from_json(row)
        reply = history.crashed(record, partial, now=self._now())
        self._append(record, [rows.encode(rows.message_to_json(reply))])
        self._table.delete(partial_key(record.sid))
        # Who only looks at a session has not used it: its last use is the turn that died.
        settled = history.settled(record, [reply], now=record.used_at)
        return self._put(entry, settled)

    def _put(self, entry: _Entry, record: SessionRecord, *, used: bool = False) -> _Entry:
        """Writes the record, and moves what leads to it: by change, by marks, and by use if used."""
        homes.relearn(self._table, record.sid, before=entry.record.marks, after=record.marks)
        change = self._changed(entry)
        use = entry.use
        if used:
            use = max(_microseconds(record.used_at), 1 + self._top(*USES))
            self._move(use_key(entry.use, record.sid), use_key(use, record.sid))
        row = rows.record_to_json(record) | {"use": use, "change": change}
        self._table.set(session_key(record.sid), rows.encode(row))
        return _Entry(record, use=use, change=change)

    def _changed(self, entry: _Entry) -> int:
        change = 1 + self._top(*CHANGES)
        sid = entry.record.sid
        self._move(change_key(entry.change, sid), change_key(change, sid))
        return change

    def _top(self, first: bytes, end: bytes) -> int:
        keys = self._table.keys(first, end, limit=1, newest_first=True)
        return number_of(keys[0]) if keys else 0

    def _move(self, old: Key, new: Key) -> None:
        if not self._table.move(old, new):
            self._table.add(new, _NULL)


def _removal(record: SessionRecord, *, deleted: bool) -> Removal:
    return Removal(
        session_id=record.id,
        deleted=deleted,
        message_count=record.messages,
        notebooks=record.notebooks,
        purge_pending=True,
    )


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
