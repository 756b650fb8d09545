"""A backup read with suspicion: its rows taken over one by one, into a database of our own making.

Nothing else of the file comes with them, no tables, triggers or settings, and no row of another
form than those this package writes: a file that somebody sent runs no code. The new database has
no name and is gone with this process, so that a kill leaves nothing of it.
"""

from __future__ import annotations

import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dexto_magic.conversation.messages import new_id
from dexto_magic.errors import FormatError, StoreCorruptedError, StoreVersionError
from dexto_magic.stores import rows
from dexto_magic.stores.codec import CODECS, MODE_BYTES, Row, decode, encode
from dexto_magic.stores.errands import Errand
from dexto_magic.stores.faults import DATABASE
from dexto_magic.stores.inspection import check_contents
from dexto_magic.stores.keys import SCHEMA_KEY, TOMBSTONES, VERSION, tombstone_key
from dexto_magic.stores.ledger import new_sid
from dexto_magic.stores.protocol import Tell
from dexto_magic.stores.table import Table

_TOLD = 1000
"""Rows between two tellings of how far it is."""

_NOBODY = "restored"
"""In place of owners: what they had begun when the backup was made has no owner any more."""

_COLUMNS = (
    "key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename, value"
)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The content of a backup, ready to take a store's place.

    Attributes:
        connection: To the database that holds it.
        sessions: How many sessions are in it.
        messages: How many messages of them are in view.
    """

    connection: sqlite3.Connection
    sessions: int
    messages: int


def staged(path: Path, errand: Errand, tell: Tell) -> Stage:
    """The content of a backup, of an earlier version too, as this one would have written it.

    Args:
        path: The backup.
        errand: For whom, inside ``at_work()``.
        tell: Is told how far it is, in rows.

    Raises:
        FormatError: The file is no backup of a store, is damaged, or is of a newer version.
        GivenUpError: Nobody waits for it any more.
    """
    _check_file(path)
    connection = _blank(errand)
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(
            errand.accompany(sqlite3.connect(uri, uri=True, isolation_level=None))
        ) as file:
            _check_content(file, path)
            stage = _Copy(file, connection, errand, tell).made()
    except (StoreCorruptedError, StoreVersionError) as error:
        connection.close()
        raise FormatError(f"{error} Nothing was restored.", path=str(path)) from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        if errand.is_given_up():
            raise
        raise FormatError(
            f"{path} is no backup that can be read: {error}. Nothing was restored.", path=str(path)
        ) from error
    except BaseException:
        connection.close()
        raise
    return stage


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read: {error.strerror or error}.", path=str(path)
        ) from error
    if not stat.S_ISREG(mode):
        raise FormatError(f"{path} is no file. Name a backup.", path=str(path))
    if not path.stat().st_size:
        raise FormatError(
            f"{path} is empty: it is no backup. Nothing was restored.", path=str(path)
        )
    for suffix in ("-wal", "-journal"):
        beside = path.with_name(path.name + suffix)
        if beside.exists() and beside.stat().st_size:
            raise FormatError(
                f"{path} is not all there is of that database: {beside.name} stands beside it, as "
                "of one that is in use. Make a backup of it with `dexto-magic backup FILE`.",
                path=str(path),
            )


def _check_content(file: sqlite3.Connection, path: Path) -> None:
    file.execute("PRAGMA trusted_schema = OFF")
    file.execute("PRAGMA cell_size_check = ON")
    check_contents(file, path)
    kinds = dict(file.execute("SELECT name, type FROM sqlite_master").fetchall())
    found = file.execute("SELECT 1 FROM sqlite_master WHERE name = 'Cache'").fetchall()
    if not found or kinds["Cache"] != "table":
        raise StoreCorruptedError(f"{path} is a database, but no backup of a store.")
    ((verdict,),) = file.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise StoreCorruptedError(f"{path} is damaged ({verdict}).")
    schema = file.execute("SELECT 1 FROM Cache WHERE key = ? AND raw = 1", (SCHEMA_KEY,)).fetchall()
    if not schema:
        raise StoreCorruptedError(f"{path} is a database, but no backup of a store.")


def _blank(errand: Errand) -> sqlite3.Connection:
    """An empty database without a name, with the tables of a store, but not yet what acts on rows."""
    folder = Path(tempfile.mkdtemp(prefix="dexto-"))
    try:
        Table(folder, timeout=1).close()
        connection = errand.accompany(sqlite3.connect("", isolation_level=None))
        with closing(sqlite3.connect(folder / DATABASE)) as made:
            made.backup(connection)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return connection


class _Copy:
    """Takes the rows of a file over."""

    def __init__(
        self, file: sqlite3.Connection, target: sqlite3.Connection, errand: Errand, tell: Tell
    ) -> None:
        self._file = file
        self._target = target
        self._errand = errand
        self._tell = tell
        self._sessions = self._messages = 0

    def made(self) -> Stage:
        """The whole content, with a generation of its own, and a mark that a purge is owed."""
        acting = "type = 'trigger' OR (type = 'index' AND sql IS NOT NULL)"
        found = self._target.execute(
            f"SELECT type, name, sql FROM sqlite_master WHERE {acting}"  # noqa: S608  # ours
        ).fetchall()
        self._target.execute("BEGIN")
        for kind, name, _ in found:
            self._target.execute(f'DROP {kind} "{name}"')
        self._target.executemany(
            f"INSERT INTO Cache ({_COLUMNS}) VALUES (?, 1, ?, NULL, ?, 0, NULL, 0, ?, NULL, ?)",  # noqa: S608  # ours
            self._rows(),
        )
        for _, _, sql in found:
            self._target.execute(sql)
        self._target.execute(
            "UPDATE Settings SET value = (SELECT count(*) FROM Cache) WHERE key = 'count'"
        )
        self._target.execute("COMMIT")
        return Stage(connection=self._target, sessions=self._sessions, messages=self._messages)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        now = time.time()
        for key, row in self._content():
            yield key, now, now, row.mode, row.data
        # What was there before leaves bytes behind until somebody has seen that there are none.
        row = encode(0)
        yield tombstone_key(new_sid(), 0), now, now, row.mode, row.data

    def _content(self) -> Iterator[tuple[str | bytes, Row]]:
        ((total,),) = self._file.execute("SELECT count(*) FROM Cache").fetchall()
        for number, (key, is_ours, mode, data) in enumerate(
            self._file.execute(
                "SELECT key, raw = 1 AND filename IS NULL AND expire_time IS NULL, mode, value"
                " FROM Cache ORDER BY rowid"
            )
        ):
            if number % _TOLD == 0:
                self._tell(number, total)
                self._errand.pause()
            if not is_ours or not isinstance(key, str | bytes):
                raise StoreCorruptedError(
                    f"A row {key!r} of the backup is in a form that this package never writes, such "
                    "as a value in a file of its own. It was not read."
                )
            yield key, self._checked(key, mode, data)
        self._tell(total, total)

    def _checked(self, key: str | bytes, mode: object, data: object) -> Row:
        """A row that this package could have written, without what only held when it was written."""
        if not isinstance(data, bytes) or mode not in CODECS:
            decode(mode, data)  # which says what is wrong
            raise AssertionError("no other mode can be decoded")
        assert isinstance(mode, int)
        row = Row(mode, data)
        if mode == MODE_BYTES:
            return row
        value = decode(mode, data)
        if key == SCHEMA_KEY:
            codecs = {str(number): codec for number, codec in CODECS.items()}
            return encode(
                {
                    **value,
                    "version": VERSION,
                    "minimum_reader": VERSION,
                    "codecs": codecs,
                    "generation": new_id("gen"),
                }
            )
        if isinstance(key, bytes):
            return row
        if key.startswith("s:"):
            record = rows.record_from_json(value)
            self._sessions += 1
            self._messages += record.messages
            if record.open is not None:
                return encode({**value, "open": {**value["open"], "owner": _NOBODY}})
        if TOMBSTONES[0] <= key < TOMBSTONES[1] and isinstance(value, dict):
            return encode({**value, "owner": _NOBODY})
        return row
