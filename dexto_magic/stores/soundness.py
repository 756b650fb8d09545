"""Whether what stands in a store's rows holds together: what SQLite's own check cannot know.

Rows are read some at a time, each time in a snapshot of its own, so that no writer has to wait and
no log has to grow; what belongs together is looked up in the same snapshot, so that what others
write meanwhile is never taken for damage. What is found is counted, and only the first are named.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dexto_magic.conversation.record import SessionRecord
from dexto_magic.errors import StoreCorruptedError, StoreError
from dexto_magic.stores import rows
from dexto_magic.stores.codec import CODECS, MODE_BYTES, decode
from dexto_magic.stores.errands import Errand
from dexto_magic.stores.keys import (
    CHANGES,
    SCHEMA_KEY,
    TOMBSTONES,
    USES,
    change_key,
    home_key,
    member_key,
    member_of,
    message_key,
    name_key,
    number_of,
    partial_key,
    session_key,
    source_key,
    tombstone_key,
    use_key,
)
from dexto_magic.stores.table import Key

_AT_ONCE = 200
"""Rows that are looked at in one snapshot."""

_NAMED = 3
"""Examples of each fault that are kept."""

_MOST_RUNS = 1000
"""Open turns that are told of."""

_GROUP = re.compile("m:([0-9a-f]+):([0-9a-f]{8})")

_KINDS = ("n:", "s:", "m:", "p:", "b:", "f:", "k:", "d:", "i:", "x:")


@dataclass(kw_only=True)
class Soundness:
    """What was found in the rows of a store.

    Attributes:
        sessions: How many sessions there are.
        messages: How many messages of them are in view.
        faults: Of each kind of fault how often it was met.
        examples: The first of each kind.
        runs: The open turns: owner, session, the owner in words, since when.
        pending: How many removals wait to be purged.
    """

    sessions: int = 0
    messages: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    runs: list[tuple[str, str, str, datetime]] = field(default_factory=list)
    pending: int = 0

    def note(self, kind: str, example: object) -> None:
        """Counts a fault."""
        self.faults[kind] = self.faults.get(kind, 0) + 1
        named = self.examples.setdefault(kind, [])
        if len(named) < _NAMED:
            named.append(str(example))


class Surveyor:
    """Goes through a store once.

    Args:
        connection: To its database, for reading.
        errand: For whom.
        is_alive: Whether an owner is alive.

    Attributes:
        found: What was found so far.
    """

    def __init__(
        self, connection: sqlite3.Connection, errand: Errand, *, is_alive: Callable[[str], bool]
    ) -> None:
        self.found = Soundness()
        self._connection = connection
        self._errand = errand
        self._is_alive = is_alive

    def survey(self) -> None:
        """Looks at everything.

        Raises:
            sqlite3.Error: The file is damaged, or somebody keeps it locked.
            GivenUpError: Nobody waits any more.
        """
        self._sessions()
        self._indexes()
        self._belongings()
        self._removals()
        self._contents()

    # -- sessions --------------------------------------------------------------------------------

    def _sessions(self) -> None:
        for key in self._keys("s:", "s;"):
            self.found.sessions += 1
            try:
                self._session(key, self._value(key))
            except (StoreCorruptedError, KeyError, TypeError, ValueError):
                self.found.note("record", key)

    def _session(self, key: str, row: Any) -> None:
        record = rows.record_from_json(row)
        use, change = int(row["use"]), int(row["change"])
        self.found.messages += record.messages
        if record.open is not None and len(self.found.runs) < _MOST_RUNS:
            mark = record.open
            self.found.runs.append((mark.owner, record.id, mark.holder, mark.since))
        self._rows_of(record)
        if not self._leads(key, record, use, change):
            self.found.note("lost", repr(record.id))

    def _rows_of(self, record: SessionRecord) -> None:
        first, end = (message_key(record.sid, record.epoch, n) for n in (0, record.rows))
        if self._count(first, end) != record.rows:
            self.found.note("hole", repr(record.id))
        if self._count(end, f"m:{record.sid}:{record.epoch:08x};"):
            self.found.note("orphan", f"rows past the end of {record.id!r}")
        if record.open is None and self._is_there(partial_key(record.sid)):
            self.found.note("partial", repr(record.id))

    def _leads(self, key: str, record: SessionRecord, use: int, change: int) -> bool:
        """Whether all indexes lead to a session that should."""
        wanted: list[Key] = [use_key(use, record.sid), change_key(change, record.sid)]
        if record.family is not None:
            wanted.append(member_key(record.family, record.sid))
        home = {"sid": record.sid}
        if record.home is not None:
            home = self._value(home_key(record.home)) or {}
        sources = [record.sid]
        if record.source is not None:
            sources = self._value(source_key(record.source)) or []
        return (
            key == session_key(record.sid)
            and self._value(name_key(record.id)) == record.sid
            and all(map(self._is_there, wanted))
            and home.get("sid") == record.sid
            and record.sid in sources
        )

    # -- what leads to sessions ------------------------------------------------------------------

    def _indexes(self) -> None:
        for (first, end), what in ((USES, "use"), (CHANGES, "change")):
            for key in self._keys(first, end):
                self._place(key, what)
        for key in self._keys("n:", "n;"):
            row = self._value(session_key(str(self._value(key))))
            if not isinstance(row, dict) or name_key(str(row.get("id"))) != key:
                self.found.note("astray", f"the name {key[2:]!r}")
        for key in self._keys("d:", "d;"):
            if not self._is_there(session_key(member_of(key))):
                self.found.note("astray", f"a fork, {member_of(key)}")
        for kind in "fki":
            for key in self._keys(f"{kind}:", f"{kind};"):
                self._pointer(key)

    def _place(self, key: bytes, what: str) -> None:
        """Looks at where a session stands among all; changes of those that are gone stay."""
        sid = key[9:].decode(errors="replace")
        row = self._value(session_key(sid))
        there = row.get(what) if isinstance(row, dict) else None
        if there != number_of(key) and (there is not None or what == "use"):
            self.found.note("astray", f"a {what} of {sid}")

    def _pointer(self, key: str) -> None:
        """Looks at what leads from a notebook, a mark or a source to sessions."""
        value = self._value(key)
        if isinstance(value, dict):
            value = value.get("sids") or [value.get("sid")]
        sids = value if isinstance(value, list) else []
        if not any(self._is_there(session_key(str(sid))) for sid in sids):
            self.found.note("astray", key)

    # -- what belongs to sessions ----------------------------------------------------------------

    def _belongings(self) -> None:
        for sid, epoch in self._groups():
            row = self._value(session_key(sid))
            has_session = isinstance(row, dict) and row.get("epoch") == epoch
            if not has_session and not self._is_there(tombstone_key(sid, epoch)):
                self.found.note("orphan", f"messages of {sid}, which is no session")
        for kind in "pb":
            for key in self._keys(f"{kind}:", f"{kind};"):
                if not self._is_there(session_key(key.split(":")[1])):
                    self.found.note("orphan", f"{key.split(':')[1]}, which is no session")

    def _groups(self) -> Iterator[tuple[str, int]]:
        """The sid and epoch of each group of messages, without going through them."""
        after, ended = "m:", False
        while not ended:
            with self._snapshot():
                for _ in range(_AT_ONCE):
                    found = self._sql(
                        "SELECT key FROM Cache WHERE key > ? AND key < 'm;' AND raw = 1"
                        " ORDER BY key LIMIT 1",
                        after,
                    )
                    if not found:
                        ended = True
                        break
                    key = str(found[0][0])
                    group = _GROUP.match(key)
                    if group is None:
                        self.found.note("foreign", f"a key {key!r}")
                        after = key + "\0"
                        continue
                    after = f"{group[0]};"
                    yield group[1], int(group[2], 16)

    def _removals(self) -> None:
        for key in self._keys(*TOMBSTONES):
            value = self._value(key)
            try:
                built = isinstance(value, dict) and self._is_alive(str(value.get("owner")))
            except StoreError:
                built = True  # nobody can tell
            self.found.pending += not built

    # -- what the rows say -----------------------------------------------------------------------

    def _contents(self) -> None:
        ((first, last),) = self._sql("SELECT min(rowid), max(rowid) FROM Cache")
        while first is not None and first <= last:
            self._errand.pause()
            seen = 0
            with self._snapshot():
                # Not fetched whole: a row may be as large as an attachment.
                for number, key, is_ours, mode, data in self._connection.execute(
                    "SELECT rowid, key, raw = 1 AND filename IS NULL AND expire_time IS NULL, mode,"
                    " value FROM Cache WHERE rowid >= ? AND rowid <= ? ORDER BY rowid LIMIT ?",
                    (first, last, _AT_ONCE),
                ):
                    self._content(key, mode, data, is_ours=bool(is_ours))
                    first, seen = number + 1, seen + 1
            if seen < _AT_ONCE:
                return

    def _content(self, key: Any, mode: object, data: object, *, is_ours: bool) -> None:
        known = key == SCHEMA_KEY or (
            key[:1] in (b"R", b"C") if isinstance(key, bytes) else str(key).startswith(_KINDS)
        )
        if not is_ours or not known or mode not in CODECS or not isinstance(data, bytes):
            self.found.note("foreign", f"row {key!r}")
            return
        if mode == MODE_BYTES:
            return
        try:
            value = decode(mode, data)
            if isinstance(key, str) and key.startswith("m:"):
                if rows.is_aside(value):
                    rows.aside_from_json(value)
                elif value != rows.FORGOTTEN:
                    rows.message_from_json(value)
        except StoreCorruptedError:
            self.found.note("unreadable", f"row {key!r}")

    # -- reading ---------------------------------------------------------------------------------

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _keys(self, first: Key, end: Key) -> Iterator[Any]:
        """Keys from ``first`` up to ``end``, in order; what is done with each is in its snapshot."""
        after, found = first, True
        while found:
            self._errand.pause()
            with self._snapshot():
                keys = self._sql(
                    "SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
                    " ORDER BY key LIMIT ?",
                    after,
                    end,
                    _AT_ONCE,
                )
                found = len(keys) == _AT_ONCE
                for (key,) in keys:
                    yield key
                if keys:
                    after = _next(keys[-1][0])

    def _value(self, key: Key) -> Any:
        """The value of a row; ``None`` if it is not there, or cannot be read."""
        found = self._sql("SELECT mode, value FROM Cache WHERE key = ? AND raw = 1", key)
        try:
            return decode(*found[0]) if found else None
        except StoreCorruptedError:
            return None  # it is told of where contents are looked at

    def _is_there(self, key: Key) -> bool:
        return bool(self._sql("SELECT 1 FROM Cache WHERE key = ? AND raw = 1", key))

    def _count(self, first: str, end: str) -> int:
        ((count,),) = self._sql(
            "SELECT count(*) FROM Cache WHERE key >= ? AND key < ? AND raw = 1", first, end
        )
        return int(count)

    def _sql(self, statement: str, *values: object) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()


def _next(key: Key) -> Key:
    """The key right after another one."""
    return key + b"\0" if isinstance(key, bytes) else key + "\0"
