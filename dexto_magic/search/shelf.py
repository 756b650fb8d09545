"""Where an index is: one SQLite file beside the store, or memory.

Its file is everybody's who uses the store, at the same time: SQLite's own locks keep them apart,
with a rollback journal that is gone after each transaction. An index that cannot be used any more
is unlinked and begun anew, never repaired, so whoever has the old file open looks at each step
whether it is still the one in place.

A connection is used by one thread, and by one process: see ``stores.forks``. While SQLite is at
work a lock is held that a fork waits for, so nothing here waits for other processes inside it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from dexto_magic.search import schema
from dexto_magic.search.catalogue import Catalogue
from dexto_magic.search.faults import (
    MISTAKES,
    Busy,
    Damaged,
    Locked,
    Moved,
    Unavailable,
    foreign,
    told,
)
from dexto_magic.stores.forks import new_lock

T = TypeVar("T")

NAME = "search.db"
"""The file, in the folder for what is derived from the store."""

_SIDE_FILES = (f"{NAME}-journal", f"{NAME}-wal", f"{NAME}-shm")

_SETTINGS = (
    "PRAGMA journal_mode = DELETE",
    "PRAGMA synchronous = NORMAL",  # what a power cut damages is made anew
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",  # copies of what people wrote belong nowhere else
    "PRAGMA cache_size = -16384",
    "PRAGMA cell_size_check = ON",
)

_LARGEST = 2**29
"""Bytes of an index that is copied to purge it, which takes as much memory; a larger one is made
anew."""

_FIRST_DELAY, _LONGEST_DELAY = 0.001, 0.05
"""Seconds between attempts at what somebody else has locked."""

_MOVES = 10
"""How often the file may be replaced while it is opened: those who do so take turns."""


class Shelf:
    """An index, opened when it is first used.

    Every method but ``exists`` and ``close`` may raise ``Damaged``, ``Unavailable``, ``Moved``, or
    ``StoreError`` for a file in its place that is none of ours.

    Args:
        folder: The folder of its file; ``None`` for an index in memory.
        patience: Seconds to wait for others who use it.
    """

    def __init__(self, folder: Path | None, *, patience: float) -> None:
        self._path = None if folder is None else folder / NAME
        self._patience = patience
        self._lock = new_lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def exists(self) -> bool:
        """Whether there is anything of it."""
        if self._path is None:
            return self._connection is not None
        return any(os.path.lexists(self._path.with_name(name)) for name in (NAME, *_SIDE_FILES))

    def begin(self, generation: str) -> int:
        """Opens the file that is in place; the last change of the store that it heard of.

        Args:
            generation: The store's. An index of another one counts as damaged.
        """
        for _ in range(_MOVES):
            try:
                number = self.read(lambda connection: Catalogue(connection).number(generation))
                if number is None:
                    number = self.write(lambda catalogue: catalogue.begin(generation))
            except Moved:
                self.close()
            else:
                if number is None:
                    raise Damaged("it is of another store, or of this one before it was restored")
                return number
        raise Unavailable("its file is replaced again and again")

    def read(self, step: Callable[[sqlite3.Connection], T]) -> T:
        """Looks at one state of it."""

        def look() -> T:
            connection = self._open()
            connection.execute("BEGIN")
            try:
                self._check_place()
                return step(connection)
            finally:
                _end(connection)

        return self._patiently(look)

    def write(self, step: Callable[[Catalogue], T]) -> T:
        """Does a step in a transaction of its own."""

        def begin() -> None:
            self._open().execute("BEGIN IMMEDIATE")
            self._check_place()

        try:
            self._patiently(begin)
            with self._lock, _translated():
                result = step(Catalogue(self._open()))
            self._patiently(lambda: self._open().execute("COMMIT"))
        except BaseException:
            with self._lock:
                _end(self._connection)
            raise
        return result

    def purge(self) -> bool:
        """Rids the file of what was taken out of it; whether there is nothing of that any more.

        Words are written anew without those that were taken out, then the whole file is: what
        SQLite overwrites where it stood may stand also where it had been before. (Measured with
        ``secure_delete`` and the words merged: 4 of 2,880 texts that were taken out were still in
        the file; after ``VACUUM`` none.)
        """

        def copy() -> None:
            self._check_place()
            self._open().execute("VACUUM")

        owed = self.read(lambda connection: Catalogue(connection).owed())
        if not owed or self._path is None:
            return True
        if self._size() > _LARGEST:
            self.discard()
            return True
        self.write(Catalogue.merge)
        self._patiently(copy)
        self.write(lambda catalogue: catalogue.purged(owed))
        return self.read(lambda connection: Catalogue(connection).owed()) == 0

    def discard(self) -> None:
        """Removes the file that was opened, if it is still in place; another one is left alone.

        While nobody is in it: a journal is found by its name, and must not be taken for that of the
        next file.
        """
        try:
            if self._path is not None and os.path.lexists(self._path):
                with suppress(Damaged):
                    self._patiently(self._seize)
                with self._lock, _translated():
                    self._unlink(self._path)
        finally:
            self.close()

    def close(self) -> None:
        """Lets go of it; it is opened again when it is used."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # -- inside the lock -------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        connection = self._connect()
        try:
            if self._path is not None:
                _check_owner(self._path)
            self._examine(connection)
            for setting in _SETTINGS:
                connection.execute(setting).fetchall()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._path is None:
            return sqlite3.connect(":memory:", isolation_level=None)
        with suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self._path, flags, 0o600))
        mode = self._path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise foreign(self._path, "a link" if stat.S_ISLNK(mode) else "no regular file")
        self._file = _identity(self._path)
        return _connected(self._path, "mode=rw")

    def _examine(self, connection: sqlite3.Connection) -> None:
        """Lets pass tables that are ours, and makes them where there are none.

        Raises:
            Damaged: They are others.
        """
        if schema.is_ours(connection):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            if schema.is_empty(connection):
                schema.make(connection)
                connection.execute("COMMIT")
        finally:
            _end(connection)
        if not schema.is_ours(connection):
            raise Damaged("it has another layout")

    def _size(self) -> int:
        assert self._path is not None
        with _translated():
            return self._path.stat().st_size

    def _check_place(self) -> None:
        if self._path is not None and self._file != _identity(self._path):
            raise Moved("another file is in place, or none")

    def _seize(self) -> None:
        """Locks out everybody else, whatever the file holds."""
        if self._connection is None:
            self._connection = self._connect()
        _end(self._connection)
        self._connection.execute("PRAGMA writable_schema = ON")
        self._connection.execute("BEGIN EXCLUSIVE")

    def _unlink(self, path: Path) -> None:
        if self._file == _identity(path):
            path.unlink()
            for name in _SIDE_FILES:
                path.with_name(name).unlink(missing_ok=True)

    # -- outside of it ---------------------------------------------------------------------------

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Does something as soon as nobody else keeps it from being done."""
        deadline = time.monotonic() + self._patience
        delay = _FIRST_DELAY
        while True:
            try:
                with self._lock, _translated():
                    return attempt()
            except Busy as error:
                if time.monotonic() > deadline:
                    raise Locked("another process keeps it locked") from error
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    # SQLite alone opens the file: to close it once would end all locks of this process on it.
    uri = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)


def _check_owner(path: Path) -> None:
    """Lets pass a file that is ours, damaged or not, and one that is empty; reads and no more.

    Raises:
        StoreError: It is another's.
    """
    size_before = path.stat().st_size
    # Immutable: or SQLite would make side files, and finish what they tell was left undone.
    connection = _connected(path, "mode=ro&immutable=1")
    try:
        # Or a file that was cut short would not even tell whose it is.
        connection.execute("PRAGMA writable_schema = ON")
        ((owner,),) = connection.execute("PRAGMA application_id").fetchall()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise foreign(path, "no database") from error
        raise
    finally:
        connection.close()
    # Looked at twice: it may be being made, or what a killed process made be undone just now.
    if owner != schema.APPLICATION and size_before and path.stat().st_size:
        raise foreign(path, "another program's database")


def _identity(path: Path) -> tuple[int, int] | None:
    """By which a file is known, as long as it is open; ``None`` if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _end(connection: sqlite3.Connection | None) -> None:
    """Undoes what was begun and not committed."""
    if connection is not None and connection.in_transaction:
        with suppress(sqlite3.Error):  # what is at fault was told before
            connection.execute("ROLLBACK")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except MISTAKES:
        raise
    except (MemoryError, UnicodeDecodeError) as error:
        # Lengths that are damaged, and names: SQLite asks for as much, and quotes them.
        raise Damaged(repr(error)) from error
    except (sqlite3.Error, OSError) as error:
        raise told(error) from error
