"""Whether every row of a store's database belongs to something, read behind the store's back."""

import sqlite3
from collections import Counter
from contextlib import closing

from dexto_magic.stores.codec import MODE_BYTES, decode


def is_intact(database):
    """Whether SQLite finds its own structure in order."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def strays(database):
    """The keys of rows that nothing leads to, and what should be there and is not.

    To be asked when no turn runs and what was removed is collected.
    """
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT key, mode, value FROM Cache WHERE raw = 1").fetchall()
    rows = {key: None if mode == MODE_BYTES else decode(mode, value) for key, mode, value in found}
    sessions = {key[2:]: row for key, row in rows.items() if str(key).startswith("s:")}
    wrong = [key for key, row in rows.items() if not _belongs(key, row, sessions)]
    expected = Counter(key for record in sessions.values() for key in _wanted(record))
    return wrong + [f"no {key!r}" for key in expected if key not in rows]


def _belongs(key, row, sessions):
    """Whether a row is one of those that some session has."""
    if isinstance(key, bytes):
        number, sid = int.from_bytes(key[1:9]), key[9:].decode()
        if sid not in sessions:
            return key[:1] == b"C"  # that a session was deleted is told for ever
        return number == sessions[sid]["use" if key[:1] == b"R" else "change"]
    kind, _, rest = key.partition(":")
    return kind in _OWNERS and _OWNERS[kind](rest, row, sessions)


def _is_message_of(rest, _, sessions):
    sid, epoch, number = rest.split(":")
    record = sessions.get(sid)
    return bool(record) and record["epoch"] == int(epoch, 16) and int(number, 16) < record["rows"]


_OWNERS = {
    "v": lambda rest, row, sessions: rest == "schema",
    "s": lambda rest, row, sessions: row["sid"] == rest,
    "n": lambda rest, row, sessions: row in sessions and sessions[row]["id"] == rest,
    "m": _is_message_of,
    "b": lambda rest, row, sessions: rest.partition(":")[0] in sessions,
    "d": lambda rest, row, sessions: rest.rpartition(":")[2] in sessions,
    "f": lambda rest, row, sessions: row["sid"] in sessions,
    "i": lambda rest, row, sessions: set(row) <= set(sessions),
    "k": lambda rest, row, sessions: bool(set(row["sids"]) & set(sessions)),
}
"""Whether a row belongs to something, by its kind: a partial reply without a turn, and what is still
to be collected, belong to nothing."""


def _wanted(record):
    """The keys that a session must have."""
    sid = record["sid"]
    yield f"n:{record['id']}"
    yield b"R" + record["use"].to_bytes(8) + sid.encode()
    yield b"C" + record["change"].to_bytes(8) + sid.encode()
    for number in range(record["rows"]):
        yield f"m:{sid}:{record['epoch']:08x}:{number:012x}"
