"""Reading a database without changing it: before diskcache opens it, or where nobody can write.

diskcache writes when it opens, and acts on the settings that it finds in a file; SQLite acts on
its triggers. A file that somebody else made, or a newer version of this package, must be told
before that.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dexto_magic.conversation.wire import MISREAD
from dexto_magic.errors import StoreCorruptedError, StoreVersionError
from dexto_magic.stores.codec import decode
from dexto_magic.stores.faults import DATABASE, is_fault, translation
from dexto_magic.stores.keys import SCHEMA_KEY, VERSION

_OWN_SCHEMA = {
    "Settings",
    "Cache",
    "Cache_key_raw",
    "Cache_expire_time",
    "Settings_count_insert",
    "Settings_count_delete",
    "Settings_size_insert",
    "Settings_size_update",
    "Settings_size_delete",
}
"""The tables, indexes and triggers that diskcache makes with the settings of ``table``."""

_EVICTION_INDEXES = {"Cache_store_time", "Cache_access_time", "Cache_access_count"}
"""What it makes when a file is opened with another eviction policy; harmless."""

_OWN_SETTINGS = {
    "count",
    "cull_limit",
    "disk_min_file_size",
    "disk_pickle_protocol",
    "eviction_policy",
    "hits",
    "misses",
    "size",
    "size_limit",
    "sqlite_auto_vacuum",
    "sqlite_cache_size",
    "sqlite_journal_mode",
    "sqlite_journal_size_limit",
    "sqlite_mmap_size",
    "sqlite_secure_delete",
    "sqlite_synchronous",
    "statistics",
    "tag_index",
}
"""The settings that diskcache keeps in the file."""


_ANYBODY_WRITES = 0o222


def is_read_only(folder: Path) -> bool:
    """Whether there is a database that this user may not write.

    Raises:
        StoreError: The folder cannot be looked into.
    """
    path = folder / DATABASE
    try:
        return path.exists() and not all(os.access(part, os.W_OK) for part in (folder, path))
    except OSError as error:
        raise translation(error, folder) from error


def inspect(folder: Path) -> None:
    """Lets pass a database that this version may open, or the lack of one; writes nothing.

    What a killed process left of a first opening passes, too: some of the tables, all empty.

    Raises:
        StoreVersionError: A newer version wrote it, and older ones must not touch it.
        StoreCorruptedError: The file is no database, or not one that this package made.
    """
    path = folder / DATABASE
    log = path.with_name(f"{DATABASE}-wal")
    if _size(path) == 0:
        if _size(log) > 0:  # SQLite would take it for the log of an older file, and begin it anew
            raise StoreCorruptedError(
                f"{path} is missing or empty, but {log.name} beside it is not: what it holds may be "
                "all that is left of the store. Nothing was changed; copy both, then restore a "
                "backup, or start anew with another DEXTO_HOME.",
                path=str(path),
            )
        return
    try:
        # Alone, it is open in no kernel: none can write here before the gate is free again.
        # Where a writer was killed, only one who may write can put back what it had begun.
        mode = "rw" if _size(path.with_name(f"{DATABASE}-journal")) else "ro"
        with looked_into(folder, mode=mode) as connection:
            check_contents(connection, path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not is_fault(error):
            raise
        raise translation(error, folder) from error


def check_contents(connection: sqlite3.Connection, path: Path) -> None:
    """Lets pass what ``inspect`` does, in a database that is open; ``path`` is what to call it.

    Raises:
        StoreVersionError: A newer version wrote it.
        StoreCorruptedError: It is not one that this package made.
        sqlite3.Error: It cannot be read.
    """
    strange, entries, version = _contents(connection)
    if version:
        _check_version(decode(*version[0]), path)
    if strange:
        raise _foreign(path, min(map(repr, strange)))
    if entries and not version:
        raise _foreign(path, "entries, but not the version of a store")


def _size(path: Path) -> int:
    """Bytes of a file; 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


def _contents(connection: sqlite3.Connection) -> tuple[set[Any], list[Any], list[Any]]:
    """What is in a database: parts that no store has, an entry if there is any, the schema row."""
    schema = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    strange = {name for name in schema if not name.startswith("sqlite_autoindex_")}
    strange -= _OWN_SCHEMA | _EVICTION_INDEXES
    entries: list[Any] = []
    version: list[Any] = []
    if "Cache" in schema:
        entries = connection.execute("SELECT rowid FROM Cache LIMIT 1").fetchall()
        version = connection.execute(
            "SELECT mode, value FROM Cache WHERE key = ? AND raw = 1", (SCHEMA_KEY,)
        ).fetchall()
    if "Settings" in schema:
        settings = {name for (name,) in connection.execute("SELECT key FROM Settings")}
        strange |= settings - _OWN_SETTINGS
    return strange, entries, version


def _foreign(path: Path, found: str) -> StoreCorruptedError:
    return StoreCorruptedError(
        f"{path} is not a store of this package: it holds {found}. It was not opened.",
        path=str(path),
    )


class ReadOnlyCache:
    """As much of a diskcache ``Cache`` as reading takes, for a folder that cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._local = threading.local()

    @property
    def _sql(self) -> Callable[..., sqlite3.Cursor]:
        """Executes a statement on the calling thread's connection."""
        if not hasattr(self._local, "connection"):
            self._local.connection = connected(self._folder)
        connection: sqlite3.Connection = self._local.connection
        return connection.execute

    def close(self) -> None:
        """Closes the calling thread's connection."""
        if hasattr(self._local, "connection"):
            self._local.connection.close()
            del self._local.connection


def connected(folder: Path) -> sqlite3.Connection:
    """A connection that reads what others may be writing.

    Raises:
        sqlite3.Error: There is no database, or it cannot be read.
    """
    return _connect(folder, immutable=_is_alone(folder) and _is_fixed(folder))


@contextmanager
def looked_into(folder: Path, *, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    """A connection for a look at a database that leaves no trace in its folder.

    SQLite makes side files even for reading where there are none; then nobody has the database
    open, and it is read as if it could not change. What is there already of them it uses: in the
    one with ``-shm`` those who read take note of each other.

    Args:
        folder: The database's folder.
        mode: SQLite's: ``"ro"`` to read, ``"rw"`` to put back what a killed writer had begun.

    Raises:
        sqlite3.Error: There is no database, or it cannot be read.
    """
    with closing(_connect(folder, immutable=_is_alone(folder), mode=mode)) as connection:
        yield connection


def _connect(folder: Path, *, immutable: bool, mode: str = "ro") -> sqlite3.Connection:
    uri = f"{(folder / DATABASE).absolute().as_uri()}?mode={mode}"
    if immutable:
        # Tells SQLite that it can do without its side files, which it would make even for reading.
        uri += "&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _is_alone(folder: Path) -> bool:
    """Whether the database is all there is, so that nothing of it stands elsewhere."""
    return not any((folder / f"{DATABASE}{suffix}").exists() for suffix in ("-wal", "-journal"))


def _is_fixed(folder: Path) -> bool:
    """Whether nobody can change the database as things are.

    Side files made now would have its mode, and outlast that mode with nobody to write them.
    """
    mode = (folder / DATABASE).stat().st_mode
    return not (os.access(folder, os.W_OK) and mode & _ANYBODY_WRITES)


def _check_version(schema: Any, path: Path) -> None:
    try:
        oldest, written = int(schema["minimum_reader"]), int(schema["version"])
    except MISREAD as error:
        raise StoreCorruptedError(f"The schema row of {path} cannot be read.") from error
    if oldest > VERSION:
        raise StoreVersionError(
            f"{path} was written by a newer version of dexto-magic (store version {written}; this "
            f"one knows {VERSION}). It was not touched: upgrade with `pip install --upgrade "
            "dexto-magic`.",
            path=str(path),
        )
