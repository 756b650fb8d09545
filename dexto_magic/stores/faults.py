"""What SQLite and the system raise, turned into errors of ours.

Apart from the table because the wording is for people, and one place decides it.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from dexto_magic.errors import (
    StoreBusyError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)

DATABASE = "cache.db"
"""diskcache's name for its file."""


def read_only(folder: Path) -> StoreReadOnlyError:
    """The error for a store that cannot be written."""
    return StoreReadOnlyError(
        f"The store in {folder} can be read but not written. Give this user write access to the "
        "folder, or set DEXTO_HOME to another one.",
        path=str(folder),
    )


def translation(error: BaseException, folder: Path) -> StoreError:
    """The error of ours for one of SQLite's or the system's about the store in a folder.

    A failed roll-back hides why it was tried, so the first of a chain of SQLite's errors counts.
    """
    cause = error
    while isinstance(cause, sqlite3.Error) and isinstance(cause.__context__, sqlite3.Error):
        cause = cause.__context__
    text, path = str(cause), str(folder)
    number = cause.errno if isinstance(cause, OSError) else None
    if "disk is full" in text or number in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(
            f"There is no room left for the store in {path}. What was acknowledged is safe; make "
            "room, then try again.",
            path=path,
        )
    if "readonly database" in text or number == errno.EROFS:
        return read_only(folder)
    if "locked" in text or "busy" in text:
        return StoreBusyError(
            f"The database in {path} is locked by a program that is not this one; nothing was "
            "written. Close it, then try again.",
            path=path,
            holder="another program",
        )
    if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError):
        return StoreCorruptedError(
            f"{folder / DATABASE} is damaged ({text}). It was left as it is: set it aside and restore "
            "a backup, or start anew with another DEXTO_HOME.",
            path=str(folder / DATABASE),
        )
    return StoreError(
        f"The store in {path} cannot be used: {text}. DEXTO_HOME names the folder; set it to one "
        "that this user can write to.",
        path=path,
    )
