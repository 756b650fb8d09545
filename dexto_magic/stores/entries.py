"""Sessions' records and rows in the table: found, read and written, one step at a time.

What an operation makes of them is in ``ledger``, ``revision`` and ``building``; the rules of a
conversation are in ``conversation``, the keys in ``keys``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dexto_magic.conversation import history
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.record import SessionRecord
from dexto_magic.conversation.session import not_found
from dexto_magic.conversation.wire import message_to_json
from dexto_magic.errors import StoreCorruptedError
from dexto_magic.stores import homes, rows
from dexto_magic.stores.codec import Row, encode
from dexto_magic.stores.keys import (
    CHANGES,
    USES,
    change_key,
    family_range,
    member_of,
    message_key,
    name_key,
    number_of,
    partial_key,
    session_key,
    source_key,
    use_key,
)
from dexto_magic.stores.table import Key, Table

_NULL = encode(None)

_NEAR = 64
"""Rows that are read at once where what is looked for stands near the end, as a rule."""

_STEP = 4
"""Rows that are read first at each step of a bisection."""


@dataclass(frozen=True)
class Entry:
    """A session's row: its record, and where its rows of recency and change stand."""

    record: SessionRecord
    use: int
    change: int


class Entries:
    """Records and rows in a table.

    Methods that write are parts of a transaction which the caller opens; they never wait.

    Args:
        table: The table.
        is_alive: Whether an owner is alive.
        now: The clock; UTC.

    Attributes:
        table: The table.
        is_alive: Whether an owner is alive.
        now: The clock.
    """

    def __init__(
        self, table: Table, *, is_alive: Callable[[str], bool], now: Callable[[], datetime]
    ) -> None:
        self.table = table
        self.is_alive = is_alive
        self.now = now

    # -- records ---------------------------------------------------------------------------------

    def find(self, session_id: str) -> Entry | None:
        """The session of a name, or ``None``."""
        sid = self.table.get(name_key(session_id))
        return None if sid is None else self.entry(sid)

    def known(self, session_id: str) -> Entry:
        """The session of a name.

        Raises:
            SessionNotFoundError: There is none.
        """
        entry = self.find(session_id)
        if entry is None:
            raise not_found(session_id)
        return entry

    def idle(self, session_id: str) -> Entry:
        """The session of a name, after a turn of it whose owner died was ended.

        Raises:
            SessionNotFoundError: There is none.
            SessionBusyError: A live owner runs a turn of it.
        """
        entry = self.recovered(self.known(session_id))
        if entry.record.open is not None:
            raise history.busy(entry.record)
        return entry

    def entry(self, sid: str) -> Entry | None:
        """The session of a sid, or ``None``."""
        row = self.table.get(session_key(sid))
        if row is None:
            return None
        use, change = rows.place_from_json(row)
        return Entry(rows.record_from_json(row), use=use, change=change)

    def restored(self, source: str) -> Entry | None:
        """The session that was restored from a source last and still holds it, or ``None``."""
        sids = self.table.get(source_key(source))
        return self.entry(sids[-1]) if sids else None

    def put(
        self, entry: Entry, record: SessionRecord, *, used: bool = False, back: bool = False
    ) -> Entry:
        """Writes the record, and moves what leads to it: by change, by marks, and by use if used.

        Args:
            entry: The session as it was; ``Entry(record, 0, 0)`` for a new one.
            record: As it is to be.
            used: Whether this is a use of it, which makes it the latest.
            back: Whether that use was long ago: it takes its place by its own time.
        """
        homes.relearn(self.table, record.sid, before=entry.record.marks, after=record.marks)
        change = self.changed(entry)
        use = entry.use
        if used:
            use = microseconds(record.used_at)
            use = use if back else max(use, 1 + self._top(*USES))
            self._move(use_key(entry.use, record.sid), use_key(use, record.sid))
        row = rows.record_to_json(record) | {"use": use, "change": change}
        self.table.set(session_key(record.sid), encode(row))
        return Entry(record, use=use, change=change)

    def changed(self, entry: Entry) -> int:
        """Notes a change of the session; its number."""
        change = 1 + self._top(*CHANGES)
        sid = entry.record.sid
        self._move(change_key(entry.change, sid), change_key(change, sid))
        return change

    def relatives(self, record: SessionRecord) -> list[Entry]:
        """Other sessions that hold messages of the same origin: forks, and what they are forks of."""
        sids = [member_of(key) for key in self.table.keys(*family_range(record.kin), limit=2**31)]
        root, _, epoch = record.kin.partition(":")
        found = [self.entry(sid) for sid in (root, *sids) if sid != record.sid]
        return [
            entry
            for entry in found
            if entry and (entry.record.sid != root or entry.record.epoch == int(epoch, 16))
        ]

    def _top(self, first: bytes, end: bytes) -> int:
        keys = self.table.keys(first, end, limit=1, newest_first=True)
        return number_of(keys[0]) if keys else 0

    def _move(self, old: Key, new: Key) -> None:
        if not self.table.move(old, new):
            self.table.add(new, _NULL)

    # -- rows ------------------------------------------------------------------------------------

    def read(self, record: SessionRecord, start: int, end: int) -> list[Any]:
        """The rows of a session from one number up to another, in order, none of them missing.

        Raises:
            StoreCorruptedError: One is missing.
        """
        found = self.table.get_range(
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

    def messages(self, record: SessionRecord, start: int, end: int) -> list[Message]:
        """The messages among the rows of a session from one number up to another."""
        return [
            rows.message_from_json(row)
            for row in self.read(record, start, end)
            if rows.is_message(row)
        ]

    def messages_of(self, record: SessionRecord, turn: int, version: int) -> list[Message]:
        """The messages of one version of a turn; they stand together, most often near the end."""
        found: list[Message] = []
        end, at_once = record.rows, _NEAR
        while end > 0:
            start = max(0, end - at_once)
            here = self.messages(record, start, end)
            found[:0] = [m for m in here if (m.turn, m.version) == (turn, version)]
            if found and here and here[0] != found[0]:  # there may be none here but forgotten ones
                break
            end, at_once = start, 4 * at_once
            if version == 1 and not found:
                return self._first_version(record, turn, end)
        return found

    def _first_version(self, record: SessionRecord, turn: int, end: int) -> list[Message]:
        """The messages of a turn's first version, which end before a row; found by bisection.

        First versions stand in the order of their turns, whatever of others stands between: a turn
        whose number had been taken before is another version, and forks and restored sessions are
        written in order.
        """
        low, high, start = 0, end, end
        while low < high:
            middle = (low + high) // 2
            number, message = self._first_from(record, middle, high)
            if message is None or message.turn > turn:
                high = middle
            elif message.turn == turn:
                high, start = middle, number
            else:
                low = number + 1
        found: list[Message] = []
        while start < end:
            here = self.messages(record, start, min(start + _NEAR, end))
            found += [m for m in here if (m.turn, m.version) == (turn, 1)]
            if found and here and here[-1] != found[-1]:
                break
            start += _NEAR
        return found

    def _first_from(
        self, record: SessionRecord, start: int, end: int
    ) -> tuple[int, Message | None]:
        """The number of the first row from one on that is of a turn's first version, and it."""
        at_once = _STEP
        while start < end:
            stop = min(start + at_once, end)
            for number, row in enumerate(self.read(record, start, stop), start):
                if rows.is_message(row):
                    message = rows.message_from_json(row)
                    if message.version == 1:
                        return number, message
            start, at_once = stop, 4 * at_once
        return end, None

    def append(self, record: SessionRecord, encoded: Sequence[Row]) -> None:
        """Writes rows after those that the record counts."""
        for number, row in enumerate(encoded, start=record.rows):
            self.table.add(message_key(record.sid, record.epoch, number), row)

    # -- turns whose owner died ------------------------------------------------------------------

    def is_abandoned(self, record: SessionRecord) -> bool:
        """Whether the record has an open turn whose owner died."""
        return record.open is not None and not self.is_alive(record.open.owner)

    def recovered(self, entry: Entry) -> Entry:
        """The entry, after its open turn was ended if the owner died; else that same entry."""
        record = entry.record
        if not self.is_abandoned(record):
            return entry
        assert record.open is not None
        if not record.open.turn:
            return self.put(entry, history.released(record))
        row = self.table.get(partial_key(record.sid))
        partial = None if row is None else rows.partial_from_json(row)
        reply = history.crashed(record, partial, now=self.now())
        self.append(record, [encode(message_to_json(reply))])
        self.table.delete(partial_key(record.sid))
        # Who only looks at a session has not used it: its last use is the turn that died.
        settled = history.settled(record, [reply], now=record.used_at)
        return self.put(entry, settled)


def microseconds(time: datetime) -> int:
    """A time as a number that sorts as times do."""
    return round(time.timestamp() * 1_000_000)
