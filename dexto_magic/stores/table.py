"""The one module that knows diskcache: a sorted table of JSON rows on its SQLite file.

diskcache carries the store as a thin layer, and only what is safe of it is used: opening with
every setting given and read back, ``add``, ``set`` and ``delete`` inside ``transact``. Its
defaults evict rows, its values may be pickles, and reads through ``get`` swallow errors; so rows
are read by range and by key through ``Cache._sql``, which is private: hence the ceiling in
``pyproject.toml``, and a test that fails loudly if it changes.

Keys are text, sorted by code point, or bytes, which sort after all text.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import diskcache

from dexto_magic.conversation.wire import MISREAD
from dexto_magic.errors import StoreCorruptedError, StoreError
from dexto_magic.stores.codec import Row, decode, decode_all
from dexto_magic.stores.faults import DATABASE, is_fault, read_only, translation
from dexto_magic.stores.inspection import ReadOnlyCache
from dexto_magic.stores.traces import RawFile

Key: TypeAlias = str | bytes


SETTINGS: Final[dict[str, Any]] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "disk_min_file_size": 2**62,
    "sqlite_auto_vacuum": 0,
    "sqlite_cache_size": 8192,
    "sqlite_journal_mode": "wal",
    "sqlite_journal_size_limit": 2**26,
    "sqlite_mmap_size": 0,
    "sqlite_secure_delete": 1,
    "sqlite_synchronous": 2,
}
"""Given at every opening, as settings stored in the file win over diskcache's defaults, and read
back. FULL (2) costs 1.96 times a NORMAL append and keeps the last commits through a power cut."""

_FIXED_AT_BIRTH = {"sqlite_auto_vacuum"}
"""Settings that SQLite cannot change once there are tables; harmless where a file has another."""

_PURGE_WAIT_MS = 200

_IN_MEMORY = 2**28
"""Bytes of a database of which SQLite's copy is made in memory when it is written anew."""

_PAGES_AT_ONCE = 2000
"""Pages of another database that are written between two pauses: 8 MB."""


class _Disk(diskcache.Disk):  # type: ignore[misc]  # diskcache publishes no types
    """Rows as ``codec.encode`` made them: no pickles, no files."""

    def __init__(self, directory: str, **_: object) -> None:
        super().__init__(directory)
        self.min_file_size = SETTINGS["disk_min_file_size"]

    def put(self, key: Key) -> tuple[object, bool]:
        assert isinstance(key, str | bytes)
        return key, True

    def store(self, value: Row, *_: object, **__: object) -> tuple[int, int, None, object]:
        return 0, value.mode, None, value.data

    def fetch(self, *_: object) -> Any:
        raise AssertionError("rows are read through Table, never through diskcache")

    get = fetch


class Table:
    """An open table. Each thread that uses it has a connection of its own, and closes it.

    Args:
        folder: The folder of the database; made if need be, for its owner only.
        timeout: Seconds that SQLite waits for a lock. All writers wait at the gate, so it is held
            only by somebody who goes around it.
        read_only: Whether to leave the folder as it is; writing raises ``StoreReadOnlyError`` then.
        journal: How SQLite keeps what it may have to undo: ``"wal"``, or ``"delete"`` where that
            cannot be.

    Attributes:
        file: The database's file, as it is; of a table that can be written.

    Raises:
        StoreError: One of its kinds, naming the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        timeout: float,
        read_only: bool = False,
        journal: Literal["wal", "delete"] = "wal",
    ) -> None:
        self._folder = folder
        self._read_only = read_only
        self._settings = SETTINGS | {"sqlite_journal_mode": journal}
        with self.translated():
            if read_only:
                self._cache: Any = ReadOnlyCache(folder)
                return
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                # SQLite gives its side files the mode of the database. Only a new one is opened
                # here: see RawFile for what closing another would do.
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(folder / DATABASE, flags, 0o600))
            self.file = RawFile.shared(folder / DATABASE)
            try:
                self._cache = diskcache.Cache(
                    str(folder), timeout=timeout, disk=_Disk, **self._settings
                )
            except MISREAD as error:  # over settings that it did not write
                raise translation(error, folder) from error
            try:
                self._verify_settings()
                # The log, too: whoever copies the database in this process ends SQLite's locks on
                # it, and then the next process that closes the store takes the log away.
                names = [DATABASE, f"{DATABASE}-wal"] if journal == "wal" else [DATABASE]
                files = {name: _identity(folder / name) for name in names}
                self._files = {name: file for name, file in files.items() if file is not None}
            except BaseException:
                self._cache.close()
                raise

    def _verify_settings(self) -> None:
        for name, wanted in self._settings.items():
            if name in _FIXED_AT_BIRTH:
                continue
            actual = getattr(self._cache, name)
            if name.startswith("sqlite_"):
                ((actual,),) = self._cache._sql(f"PRAGMA {name.removeprefix('sqlite_')}").fetchall()
            if actual != wanted:
                raise StoreError(
                    f"The store in {self._folder} cannot be opened safely: {name} is {actual!r} "
                    f"instead of {wanted!r}.",
                    path=str(self._folder),
                )

    def _verify_place(self) -> None:
        """SQLite would acknowledge writes into a file that is no longer there."""
        if self._read_only:
            raise read_only(self._folder)
        for name, file in self._files.items():
            path = self._folder / name
            if _identity(path) != file:
                raise StoreError(
                    f"{path} was removed or replaced while it was open; nothing was written. "
                    "Restart this kernel to open what is there now.",
                    path=str(path),
                )

    def _verify_not_replaced(self) -> None:
        """What is gone may be read as long as it is open; but not where there is another store."""
        if self._read_only:
            return
        path = self._folder / DATABASE
        try:
            found = _identity(path)
        except OSError:
            found = None
        if found not in (None, self._files[DATABASE]):
            raise StoreError(
                f"{path} was replaced while it was open, as a restore does with one that is damaged. "
                "Restart this kernel to open what is there now.",
                path=str(path),
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes what is done inside one step, on the disk when it ends, or undone by an error.

        Raises:
            StoreError: One of its kinds; nothing of the step is there then.
        """
        with self.translated():
            self._verify_place()
            connection = self._cache._con
            if connection.in_transaction:
                # Left by a commit that failed half-way: it is not ours, and would swallow us.
                connection.rollback()
            with self._cache.transact():
                yield

    @contextmanager
    def part(self) -> Iterator[None]:
        """Makes what is done inside one part of the transaction, undone alone by an error."""
        with self.translated():
            self._cache._sql("SAVEPOINT part")
            try:
                yield
            except BaseException:
                self._cache._sql("ROLLBACK TO part")
                raise
            finally:
                self._cache._sql("RELEASE part")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Makes what is read inside consistent, whatever others write meanwhile."""
        with self.translated():
            self._verify_not_replaced()
            self._cache._sql("BEGIN")
            try:
                yield
            finally:
                self._cache._sql("COMMIT")

    def add(self, key: Key, row: Row) -> None:
        """A new row, inside a transaction.

        Raises:
            StoreCorruptedError: The key is taken: what is written once is never overwritten.
        """
        if not self._cache.add(key, row):
            raise StoreCorruptedError(
                f"The store in {self._folder} has a row {key!r} already, where none should be. "
                "Nothing was overwritten.",
                path=str(self._folder),
            )

    def set(self, key: Key, row: Row) -> None:
        """A row, new or in place of the old one, inside a transaction."""
        self._cache.set(key, row)

    def copy(self, first: str, end: str, *, prefix: str, number: int) -> None:
        """Adds copies of the rows from ``first`` up to ``end``, inside a transaction.

        Args:
            first: The first key.
            end: The key that is not copied any more.
            prefix: What the new keys begin with.
            number: What follows in the first of them, counted up from there, as 12 hexadecimals.
        """
        self._cache._sql(
            "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag,"
            " size, mode, filename, value)"
            " SELECT ? || printf('%012x', ? - 1 + row_number() OVER (ORDER BY key)), raw,"
            " store_time, expire_time, access_time, access_count, tag, size, mode, filename, value"
            " FROM Cache WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key",
            (prefix, number, first, end),
        )

    def move(self, old: Key, new: Key) -> bool:
        """Gives a row another key, inside a transaction; whether there was such a row."""
        cursor = self._cache._sql("UPDATE Cache SET key = ? WHERE key = ? AND raw = 1", (new, old))
        return bool(cursor.rowcount)

    def delete(self, key: Key) -> None:
        """Takes a row away, if it is there, inside a transaction."""
        self._cache.delete(key)

    def delete_range(self, first: Key, end: Key, *, limit: int) -> int:
        """Takes up to ``limit`` rows from ``first`` up to ``end`` away; how many there were."""
        cursor = self._cache._sql(
            "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache"
            " WHERE key >= ? AND key < ? AND raw = 1 LIMIT ?)",
            (first, end, limit),
        )
        return int(cursor.rowcount)

    def get(self, key: Key) -> Any:
        """The value of a row, or ``None``."""
        row = self.get_row(key)
        return None if row is None else decode(row.mode, row.data)

    def get_row(self, key: Key) -> Row | None:
        """A row as it is stored, or ``None``."""
        with self.translated():
            rows = self._cache._sql(
                "SELECT mode, value FROM Cache WHERE key = ? AND raw = 1", (key,)
            ).fetchall()
            return Row(*rows[0]) if rows else None

    def get_range(self, first: Key, end: Key) -> list[tuple[str, Any]]:
        """Keys and values from ``first`` up to ``end``, in order, fetched whole.

        An open cursor would let the write-ahead log grow without bound.
        """
        with self.translated():
            rows = self._cache._sql(
                "SELECT key, mode, value FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
                " ORDER BY key",
                (first, end),
            ).fetchall()
            values = decode_all([(mode, data) for _, mode, data in rows])
            return [(key, value) for (key, _, _), value in zip(rows, values, strict=True)]

    def keys(self, first: Key, end: Key, *, limit: int, newest_first: bool = False) -> list[Any]:
        """Up to ``limit`` keys from ``first`` up to ``end``, in order or in reverse."""
        select = "SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key"
        with self.translated():
            rows = self._cache._sql(
                select + (" DESC LIMIT ?" if newest_first else " LIMIT ?"), (first, end, limit)
            ).fetchall()
            return [key for (key,) in rows]

    def keys_with(self, first: bytes, end: bytes, *, at: int, part: bytes) -> list[bytes]:
        """The keys from ``first`` up to ``end`` that have a part at a place; it reads all of them."""
        with self.translated():
            rows = self._cache._sql(
                "SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
                " AND substr(key, ?, ?) = ?",
                (first, end, at + 1, len(part), part),
            ).fetchall()
            return [key for (key,) in rows]

    def purge_log(self) -> bool:
        """Empties the write-ahead log, so that deleted text is in no file any more.

        Returns:
            Whether it is empty: another process that is reading delays it.
        """
        with self.translated():
            sql = self._cache._sql
            ((patience,),) = sql("PRAGMA busy_timeout").fetchall()
            sql(f"PRAGMA busy_timeout = {_PURGE_WAIT_MS}")
            try:
                ((busy, _, _),) = sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                sql(f"PRAGMA busy_timeout = {patience}")
            return not busy

    def rewrite(self) -> None:
        """Writes the whole database anew, outside a transaction.

        It is slow, and takes along nothing that is not in the database: see ``traces``.
        """
        with self.translated():
            is_large = self.file.size() > _IN_MEMORY
            store = "FILE" if is_large and self._has_temporary_folder() else "MEMORY"
            self._cache._sql(f"PRAGMA temp_store = {store}")
            self._cache._sql("VACUUM")

    def _has_temporary_folder(self) -> bool:
        """Has SQLite make its temporary files beside the database; whether it does so.

        It copies a database to write it anew, by default to where the system has such files: what
        people wrote does not belong there, and there may be no room. Where else is a setting of the
        whole process, and not safe to be changed while a thread uses it: so it is set once, unless
        somebody else has, and stays. The files have no names, and none is left by a kill.
        """
        sql = self._cache._sql
        folder = str(self._folder)
        with suppress(sqlite3.Error, UnicodeEncodeError):  # such as a build without the setting
            ((found,),) = sql("PRAGMA temp_store_directory").fetchall() or [("",)]
            if not found:
                quoted = folder.replace("'", "''")
                sql(f"PRAGMA temp_store_directory = '{quoted}'")
                ((found,),) = sql("PRAGMA temp_store_directory").fetchall()
            return bool(found == folder)
        return False

    def replace_by(self, source: sqlite3.Connection, *, pause: Callable[[], None]) -> None:
        """Puts the content of another database in place of this one's, in one transaction.

        The file stays, and who has it open goes on with the new content, or with the old as long as
        what is being read of it lasts. What ``pause`` raises, now and then, undoes it.
        """

        def step(_: int, remaining: int, __: int) -> None:
            if remaining:
                pause()

        with self.translated():
            self._verify_place()
            source.backup(self._cache._con, pages=_PAGES_AT_ONCE, progress=step)

    def close(self) -> None:
        """Closes the connection of the calling thread."""
        with self.translated():
            self._cache.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turns what SQLite, diskcache and the system raise into errors of ours."""
        try:
            yield
        except StoreError:
            raise
        except diskcache.Timeout as error:
            # What ``transact`` makes of any failure to begin; SQLite's own error is its context.
            raise translation(error.__context__ or error, self._folder) from error
        # What sqlite3 says of a damaged file need not be text, and then it cannot say it.
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            if not is_fault(error):
                raise
            raise translation(error, self._folder) from error


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is in place: its device and number, or ``None`` for none."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
