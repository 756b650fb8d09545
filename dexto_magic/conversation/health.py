"""What an examination of a store found, and what can be done about it.

Values only: who looks is in ``stores`` and ``search``, how it is shown in ``rendering``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["problem", "note"]
"""A problem needs somebody to do something; a note is good to know, and mends itself if need be."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was found.

    Attributes:
        level: How bad it is.
        what: What it is, in a sentence.
        next: The safe next step, a command where there is one; empty for none.
    """

    level: Level
    what: str
    next: str = ""


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """Somebody who holds a lock of a store.

    Attributes:
        lock: ``"gate"`` for the right to write, else ``"owner"`` for the proof of being alive.
        holder: Who that is, in words.
        since: Since when it is held, or the turn runs; UTC, ``None`` if nobody knows.
        doing: What for, in words; empty for nothing in particular.
    """

    lock: Literal["gate", "owner"]
    holder: str
    since: datetime | None = None
    doing: str = ""


@dataclass(frozen=True, kw_only=True)
class StoreReport:
    """What is known of a store after an examination, which changed nothing.

    Attributes:
        location: Where it is, for people.
        exists: Whether there is one.
        size: Bytes of its database.
        log_size: Bytes of the write-ahead log beside that.
        version: The version of its layout, or ``None`` if it could not be read.
        sessions: How many there are, or ``None`` if they could not be counted.
        messages: How many messages are in view, likewise.
        generation: What tells it from itself before it was restored, or ``None``.
        changes: The number of its latest change, or ``None``.
        sqlite: The version of SQLite here.
        sqlite_affected: Whether that has the WAL-reset bug.
        file_system: The type of the file system, or ``None`` if the system does not tell.
        free: Bytes that are free there, or ``None``.
        search: The state of the search index, in words.
        holders: Who holds which lock.
        findings: What was found, problems first.
        unseen: What could not be looked at, and why, a sentence each.
    """

    location: str
    exists: bool
    size: int = 0
    log_size: int = 0
    version: int | None = None
    sessions: int | None = None
    messages: int | None = None
    generation: str | None = None
    changes: int | None = None
    sqlite: str
    sqlite_affected: bool
    file_system: str | None = None
    free: int | None = None
    search: str = ""
    holders: tuple[LockHolder, ...] = ()
    findings: tuple[Finding, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def needs_action(self) -> bool:
        """Whether any of the findings is a problem."""
        return any(finding.level == "problem" for finding in self.findings)
