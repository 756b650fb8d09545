"""What SQLite and the system raise, turned into errors of ours.

Apart from the table because the wording is for people, and one place decides it.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from dexto_magic.conversation.wire import MISREAD
from dexto_magic.errors import (
    StoreBusyError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)

DATABASE = "cache.db"
"""diskcache's name for its file."""

_PRIMARY = 0xFF
"""The part of SQLite's extended error codes that says which kind it is."""

_MISTAKES = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.InternalError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)
"""What SQLite raises when it is used wrongly; no user can do anything about it."""


def read_only(folder: Path) -> StoreReadOnlyError:
    """The error for a store that cannot be written."""
    return StoreReadOnlyError(
        f"The store in {folder} can be read but not written. Give this user write access to the "
        "folder and its files, or set DEXTO_HOME to another one.",
        path=str(folder),
    )


def is_fault(error: BaseException) -> bool:
    """Whether it tells of the place where the store is, and not of a mistake in this package."""
    return not isinstance(_first(error), _MISTAKES)


def translation(error: BaseException, folder: Path) -> StoreError:
    """The error of ours for one of SQLite's or the system's about the store in a folder."""
    cause, path = _first(error), str(folder)
    code = getattr(cause, "sqlite_errorcode", 0) & _PRIMARY
    number = cause.errno if isinstance(cause, OSError) else None
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(
            f"There is no room left for the store in {path}. What was acknowledged is safe; make "
            "room, then try again.",
            path=path,
        )
    if code == sqlite3.SQLITE_READONLY or number == errno.EROFS:
        return read_only(folder)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusyError(
            f"The database in {path} is locked by a program that is not this one; nothing was "
            "written. Close it, then try again.",
            path=path,
            holder="another program",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(cause, MISREAD):
        return StoreCorruptedError(
            f"{folder / DATABASE} is damaged ({cause}). It was left as it is: set it aside and restore "
            "a backup, or start anew with another DEXTO_HOME.",
            path=str(folder / DATABASE),
        )
    return StoreError(
        f"The store in {path} cannot be used: {cause}. DEXTO_HOME names the folder; set it to one "
        "that this user can write to.",
        path=path,
    )


def _first(error: BaseException) -> BaseException:
    """The first of a chain of SQLite's errors: a failed roll-back hides why it was tried."""
    while isinstance(error, sqlite3.Error) and isinstance(error.__context__, sqlite3.Error):
        error = error.__context__
    return error
