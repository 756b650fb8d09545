"""What state the file of an index is in: looked at from outside, changing nothing.

The index is derived from the store, so whatever is wrong with it, a search mends it.
"""

from __future__ import annotations

import shlex
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from dexto_magic.conversation.health import Finding, StoreReport
from dexto_magic.search import schema
from dexto_magic.search.shelf import NAME

_PATIENCE = 0.2
"""Seconds to wait for who writes to it."""

_SEARCH = "`dexto-magic search WORD` makes it anew; the store is not touched by that."


def state_of(folder: Path, report: StoreReport) -> tuple[str, list[Finding]]:
    """The state of the index in a folder, in words, and what was found.

    Args:
        folder: Where what is derived from the store is kept.
        report: What is known of the store.
    """
    path = folder / NAME
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "none yet: the first search makes it", []
    if not stat.S_ISREG(mode):
        what = f"{path} is a link, or no file, in the place of the search index."
        return "not usable", [Finding(level="problem", what=what, next=_away(path))]
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            return _looked_at(connection, path, report)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return "not looked at: another process is writing to it", []
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return f"not looked at: {error}; a search puts it in order", []
        what = f"The search index is damaged ({error})."
        return "damaged", [Finding(level="note", what=what, next=_SEARCH)]


def _away(path: Path) -> str:
    """The command that makes room for an index, and loses nothing."""
    return f"`mv {shlex.quote(str(path))} {shlex.quote(str(path))}.other`, then search."


def _looked_at(
    connection: sqlite3.Connection, path: Path, report: StoreReport
) -> tuple[str, list[Finding]]:
    ((owner,),) = connection.execute("PRAGMA application_id").fetchall()
    if owner != schema.APPLICATION and path.stat().st_size:
        what = f"{path} is another program's database, in the place of the search index."
        return "not usable", [Finding(level="problem", what=what, next=_away(path))]
    if not schema.is_ours(connection):
        what = "The search index is of another version of this package."
        return "of another version", [Finding(level="note", what=what, next=_SEARCH)]
    ((generation, number, owed),) = connection.execute(
        "SELECT generation, number, owed FROM state"
    ).fetchall()
    findings = []
    if owed:
        what = "purge pending: words that were deleted may still be in the search index."
        findings.append(Finding(level="note", what=what, next="`dexto-magic search WORD` ends it."))
    if report.generation is not None and generation != report.generation:
        what = "The search index is of the store as it was before it was restored."
        findings.append(Finding(level="note", what=what, next=_SEARCH))
        return "of another content", findings
    if report.changes is not None and number < report.changes:
        return "behind: the next search catches up", findings
    return "up to date", findings
