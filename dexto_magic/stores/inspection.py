"""Reading a database without changing it: before diskcache opens it, or where nobody can write.

diskcache writes when it opens, and acts on the settings that it finds in a file; SQLite acts on
its triggers. A file that somebody else made, or a newer version of this package, must be told
before that.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dexto_magic.errors import StoreCorruptedError, StoreVersionError
from dexto_magic.stores.faults import DATABASE, translation
from dexto_magic.stores.keys import SCHEMA_KEY, VERSION
from dexto_magic.stores.rows import decode

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


def inspect(folder: Path) -> None:
    """Lets pass a database that this version may open, or the lack of one; writes nothing.

    Raises:
        StoreVersionError: A newer version wrote it, and older ones must not touch it.
        StoreCorruptedError: The file is no database, or not one that this package made.
    """
    path = folder / DATABASE
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        connection = _connect(folder)
        try:
            schema = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if "Cache" not in schema:
                return
            settings = {name for (name,) in connection.execute("SELECT key FROM Settings")}
            rows = connection.execute(
                "SELECT mode, value FROM Cache WHERE key = ? AND raw = 1", (SCHEMA_KEY,)
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translation(error, folder) from error
    if rows:
        _check_version(decode(*rows[0]), path)
    strange = {name for name in schema if not name.startswith("sqlite_autoindex_")}
    strange -= _OWN_SCHEMA | _EVICTION_INDEXES
    strange |= settings - _OWN_SETTINGS
    if strange:
        raise StoreCorruptedError(
            f"{path} is not a store of this package: it holds {min(strange)!r}. It was not opened.",
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
            self._local.connection = _connect(self._folder)
        connection: sqlite3.Connection = self._local.connection
        return connection.execute

    def close(self) -> None:
        """Closes the calling thread's connection."""
        if hasattr(self._local, "connection"):
            self._local.connection.close()
            del self._local.connection


def _connect(folder: Path) -> sqlite3.Connection:
    uri = (folder / DATABASE).absolute().as_uri() + "?mode=ro"
    if not os.access(folder, os.W_OK) and not (folder / f"{DATABASE}-wal").exists():
        # SQLite cannot make its side files here, and needs to be told that it can do without: there
        # is nothing but the database, and nobody who could change it.
        uri += "&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _check_version(schema: Any, path: Path) -> None:
    try:
        oldest, written = schema["minimum_reader"], schema["version"]
    except (KeyError, TypeError) as error:
        raise StoreCorruptedError(f"The schema row of {path} cannot be read.") from error
    if oldest > VERSION:
        raise StoreVersionError(
            f"{path} was written by a newer version of dexto-magic (store version {written}; this "
            f"one knows {VERSION}). It was not touched: upgrade with `pip install --upgrade "
            "dexto-magic`.",
            path=str(path),
        )
