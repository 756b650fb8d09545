"""What can be wrong with an index, told apart by what is done about it.

Nothing that is wrong with it may harm the store, or keep what was said from being found: it is
derived, and can be made again, in memory if nowhere else.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dexto_magic.errors import StoreError

_PRIMARY = 0xFF
"""The part of SQLite's extended error codes that says which kind it is."""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_UNAVAILABLE = (
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
)


MISTAKES = (sqlite3.InterfaceError, sqlite3.NotSupportedError, sqlite3.ProgrammingError)
"""What SQLite raises when it is used wrongly; no user can do anything about it."""


class Damaged(Exception):  # noqa: N818  # never seen by a caller
    """It is an index of ours, and not as it should be: to be made anew."""


class Busy(Exception):  # noqa: N818  # likewise
    """Somebody else is at it: to be tried again."""


class Moved(Exception):  # noqa: N818  # likewise
    """Its file is no longer the one in place: what was begun with it is to be begun again."""


class Unavailable(Exception):  # noqa: N818  # likewise
    """It cannot be used as things are, and making it anew would not help."""


class Locked(Unavailable):
    """Another process has it, and does not let go."""


def told(error: sqlite3.Error | OSError) -> Exception:
    """Which of these an error of SQLite's or the system's is."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    if code in _BUSY:
        return Busy(str(error))
    if isinstance(error, OSError) or code in _UNAVAILABLE or _lacks_fts5(error):
        return Unavailable(str(error))
    # A table that is gone, a row that cannot be, words that do not match their texts: whatever
    # SQLite finds fault with, in statements that are right, was not written by them.
    return Damaged(str(error))


def foreign(path: Path, found: str) -> StoreError:
    """The error for a file that is none of ours in the index's place."""
    return StoreError(
        f"{path} is not a search index of this package: it is {found}. It was left as it is; move "
        "it away, then search again.",
        path=str(path),
    )


def unusable(error: Exception) -> StoreError:
    """The error where there can be no index, not even in memory."""
    return StoreError(f"There can be no search index here, not even in memory: {error}.")


def _lacks_fts5(error: sqlite3.Error) -> bool:
    return "no such module: fts5" in str(error)
