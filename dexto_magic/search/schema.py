"""The tables of an index, and how values stand in them.

======== =========================================================================================
state    the store's generation, the last change heard of, and how often a purge is owed
sessions how far each was read: the last change heard of, the last that was covered, the epoch, the
         line of turns, the rows, how often something had been forgotten
entries  a message, or as turn 0 a session's name and title: where it is, not what it says
texts    what it says, as it was written
words    what it says, folded: FTS5's
======== =========================================================================================

What people wrote is kept as bytes: their texts may hold what no UTF-8 has.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import overload

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.wire import MISREAD, line_from_json, line_to_json
from dexto_magic.search.faults import Damaged

APPLICATION = 0x44585453
"""SQLite's application id of an index: "DXTS". It tells our files from those of others."""

LAYOUT = 2
"""The version of the layout and of the folding; an index of another one is made anew."""

_TABLES = (
    """CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        generation TEXT NOT NULL DEFAULT '',
        number INTEGER NOT NULL DEFAULT 0,
        owed INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE sessions (
        key INTEGER PRIMARY KEY,
        sid TEXT NOT NULL UNIQUE,
        name BLOB NOT NULL,
        title BLOB,
        noted INTEGER NOT NULL,
        covered INTEGER NOT NULL DEFAULT -1,
        epoch INTEGER NOT NULL DEFAULT -1,
        line TEXT NOT NULL DEFAULT '',
        rows INTEGER NOT NULL DEFAULT 0,
        forgets INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX behind ON sessions (noted) WHERE noted > covered",
    "CREATE INDEX names ON sessions (name)",
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL,
        turn INTEGER NOT NULL,
        version INTEGER NOT NULL,
        nth INTEGER NOT NULL,
        role TEXT,
        at INTEGER NOT NULL,
        message BLOB,
        notebook BLOB
    )""",
    "CREATE UNIQUE INDEX places ON entries (session, turn, version, nth)",
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, text BLOB NOT NULL)",
    # Tokens come folded, with spaces between, and the ``ascii`` tokenizer takes all that is not
    # ASCII for letters; named are the characters that a token may be, besides letters.
    """CREATE VIRTUAL TABLE words
        USING fts5 (folded, tokenize = "ascii tokenchars '$+<=>|~_#%&@'")""",
)

_NAMES = {
    *("state", "sessions", "behind", "names", "entries", "places", "texts", "words"),
    *(f"words_{part}" for part in ("config", "content", "data", "docsize", "idx")),
}

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def make(connection: sqlite3.Connection) -> None:
    """Makes the tables; a step of a transaction."""
    for statement in (
        f"PRAGMA application_id = {APPLICATION}",
        f"PRAGMA user_version = {LAYOUT}",
        *_TABLES,
    ):
        connection.execute(statement)
    connection.execute("INSERT INTO state (one) VALUES (1)")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether there are no tables."""
    return not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether the tables are exactly those of this version."""
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    return version == LAYOUT and names - {"sqlite_autoindex_sessions_1"} == _NAMES


@overload
def raw(text: str) -> bytes: ...
@overload
def raw(text: str | None) -> bytes | None: ...
def raw(text: str | None) -> bytes | None:
    """A text as it is kept."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def text_of(value: object) -> str:
    """The inverse of ``raw``.

    Raises:
        Damaged: It is no text.
    """
    if not isinstance(value, bytes):
        raise Damaged("a text is missing")
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Damaged(f"a text cannot be read: {error}") from error


def number_of(value: object) -> int:
    """A number as it is kept.

    Raises:
        Damaged: It is none.
    """
    if not isinstance(value, int):
        raise Damaged(f"{value!r} is no number")
    return value


def microseconds(moment: datetime) -> int:
    """A time as it is kept; one without a time zone is in UTC."""
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _FIRST) // _MICROSECOND


def moment_of(value: object) -> datetime:
    """The inverse of ``microseconds``.

    Raises:
        Damaged: It is no time.
    """
    with suppress(OverflowError):
        return _FIRST + number_of(value) * _MICROSECOND
    raise Damaged(f"{value!r} is no time")


def dumped(line: Line) -> str:
    """A line of turns as it is kept."""
    return json.dumps(line_to_json(line))


def line_of(value: object) -> Line:
    """The inverse of ``dumped``; an empty one for a session that was never read.

    Raises:
        Damaged: It is no line.
    """
    try:
        return line_from_json(json.loads(value)) if value else Line()  # type: ignore[arg-type]  # said by the error
    except MISREAD as error:
        raise Damaged(f"a line of turns cannot be read: {error!r}") from error
