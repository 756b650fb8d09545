"""A store looked over from outside: what is there, whether it is sound, and what to do if not.

Nothing is changed, whatever the state of the store: damaged, cut short, read-only, of a newer
version, or not there; and nobody is kept waiting. What could not be looked at is said.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from dexto_magic.conversation.health import Finding, LockHolder, StoreReport
from dexto_magic.errors import StoreCorruptedError, StoreError, StoreVersionError
from dexto_magic.stores import holders, premises
from dexto_magic.stores.codec import decode
from dexto_magic.stores.errands import Errand
from dexto_magic.stores.faults import DATABASE, is_fault
from dexto_magic.stores.inspection import check_contents, inspect, is_read_only, looked_into
from dexto_magic.stores.keys import CHANGES, SCHEMA_KEY, number_of
from dexto_magic.stores.locks import is_alive
from dexto_magic.stores.soundness import Soundness, Surveyor

_MOST_COMPLAINTS = 5
"""Of SQLite's own, of which there may be one for each page."""

_CARRY_OVER = (
    "Keep what is there with `dexto-magic backup FILE`; then `dexto-magic restore FILE` with a "
    "backup from before, or carry over what can be read: `dexto-magic export --all all.jsonl`, and "
    "`dexto-magic import all.jsonl` with another DEXTO_HOME."
)

_FAULTS = {
    "record": ("records of sessions that cannot be read", _CARRY_OVER),
    "hole": ("sessions of which messages are missing", _CARRY_OVER),
    "lost": ("sessions to which not everything leads that should", _CARRY_OVER),
    "astray": ("entries of an index that lead nowhere", _CARRY_OVER),
    "orphan": ("leftovers of sessions that are gone", _CARRY_OVER),
    "partial": ("parts of a reply without a turn that runs", _CARRY_OVER),
    "unreadable": ("messages that cannot be read", _CARRY_OVER),
    "foreign": ("rows that this package did not write, none of which was run", _CARRY_OVER),
}
"""What each kind of fault is, and the safe next step."""


def examined(home: Path, errand: Errand) -> StoreReport:
    """A report on the store in a folder.

    Raises:
        GivenUpError: Nobody waits for it any more.
    """
    return Examination(home, errand).report()


class Examination:
    """One look at a store.

    Args:
        home: The store's folder.
        errand: For whom.
    """

    def __init__(self, home: Path, errand: Errand) -> None:
        self._home = home
        self._folder = home / "sessions"
        self._owners_folder = home / "owners"
        self._errand = errand
        self._findings: list[Finding] = []
        self._unseen: list[str] = []
        self._facts: dict[str, Any] = {}

    def report(self) -> StoreReport:
        """What is known of it.

        Raises:
            GivenUpError: Nobody waits for it any more.
        """
        size, log_size = premises.sizes(self._home)
        kind, free = premises.file_system_of(self._home), premises.free_bytes(self._home)
        exists = self._exists()
        found = Soundness()
        if exists:
            found = self._looked_into()
            self._add(premises.access_findings(self._home))
            self._add(self._writing_findings())
        held = tuple(self._holders(found)) if exists else ()
        self._add(premises.sqlite_findings())
        self._add(premises.file_system_findings(kind))
        self._add(premises.room_findings(free, size))
        return StoreReport(
            location=str(self._home),
            exists=exists,
            size=size,
            log_size=log_size,
            sqlite=sqlite3.sqlite_version,
            sqlite_affected=premises.has_wal_reset_bug(),
            file_system=kind,
            free=free,
            holders=held,
            findings=tuple(sorted(self._findings, key=lambda one: one.level != "problem")),
            unseen=tuple(self._unseen),
            **self._facts,
        )

    def _add(self, findings: Iterator[Finding]) -> None:
        self._findings += findings

    def _exists(self) -> bool:
        try:
            with os.scandir(self._folder) as files:
                found = any(files)
        except (FileNotFoundError, NotADirectoryError):
            found = False
        except OSError as error:
            self._problem(
                f"{self._folder} cannot be looked into ({error.strerror}).",
                "Run it as the user whose store this is, or give this one access.",
            )
            self._unseen.append("Everything in the store: its folder cannot be looked into.")
            return False
        if not found:
            self._findings.append(
                Finding(
                    level="note",
                    what=f"There is no store in {self._home}: the first question makes one. If there "
                    "should be one, see whether DEXTO_HOME names the right folder.",
                )
            )
        return found

    def _problem(self, what: str, then: str) -> None:
        self._findings.append(Finding(level="problem", what=what, next=then))

    # -- the database ----------------------------------------------------------------------------

    def _looked_into(self) -> Soundness:
        """What was found in the database; looked at again if somebody began to write meanwhile."""
        while True:
            before, kept = self._state(), (len(self._findings), len(self._unseen))
            self._facts = {}
            with self._errand.at_work():
                found = self._surveyed()
            if before[1] or self._state() == before:
                return found
            # It was read as if nobody could change it.
            del self._findings[kept[0] :], self._unseen[kept[1] :]

    def _state(self) -> tuple[object, bool]:
        """What changes when the database does; and whether SQLite keeps readers and writers apart."""
        path, state = self._folder / DATABASE, None
        with suppress(OSError):
            found = path.stat()
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
        return state, path.with_name(f"{DATABASE}-wal").exists()

    def _surveyed(self) -> Soundness:
        found = Soundness()
        try:
            inspect(self._folder)
            if not premises.size_of(self._folder / DATABASE):
                self._problem(
                    f"{self._folder / DATABASE} is missing or empty.",
                    "If there were sessions in it, bring a backup back with `dexto-magic restore "
                    "FILE`; else the first question makes a new one.",
                )
                return found
            with looked_into(self._folder) as connection:
                self._errand.accompany(connection)
                check_contents(connection, self._folder / DATABASE)
                self._read_facts(connection)
                self._check(connection)
                surveyor = Surveyor(connection, self._errand, is_alive=self._is_alive)
                found = surveyor.found
                surveyor.survey()
                self._facts |= {"sessions": found.sessions, "messages": found.messages}
        except StoreVersionError as error:
            self._problem(str(error), "`pip install --upgrade dexto-magic`")
            self._unseen.append("What is in the store: it is of a newer version.")
        except StoreCorruptedError as error:
            self._problem(str(error), "`dexto-magic restore FILE` brings a backup back.")
            self._unseen.append("What else is in the store.")
        except (StoreError, sqlite3.Error) as error:
            self._not_readable(error)
        self._add(_faults(found))
        return found

    def _not_readable(self, error: StoreError | sqlite3.Error) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, sqlite3.Error) and self._errand.is_given_up():
            raise error
        if isinstance(error, sqlite3.Error) and not is_fault(error):
            raise error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._problem(
                f"{self._folder / DATABASE} is damaged ({error}).",
                "`dexto-magic restore FILE` brings a backup back, and keeps the damaged files.",
            )
            self._unseen.append("The rest of the sessions: reading met the damage.")
        elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._unseen.append("The sessions: a program that is none of ours keeps them locked.")
        else:
            self._unseen.append(f"The sessions: {error}.")

    def _read_facts(self, connection: sqlite3.Connection) -> None:
        select = "SELECT mode, value FROM Cache WHERE key = ? AND raw = 1"
        for mode, data in connection.execute(select, (SCHEMA_KEY,)).fetchall():
            schema = decode(mode, data)
            self._facts["version"] = schema.get("version")
            self._facts["generation"] = schema.get("generation")
        for (key,) in connection.execute(
            "SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
            " ORDER BY key DESC LIMIT 1",
            CHANGES,
        ).fetchall():
            self._facts["changes"] = number_of(key)

    def _check(self, connection: sqlite3.Connection) -> None:
        """SQLite's own check: pages, order, and that every index has what its table has."""
        complaints = [
            line
            for (text,) in connection.execute(f"PRAGMA integrity_check({_MOST_COMPLAINTS})")
            for line in str(text).splitlines()
            if line != "ok" and not line.startswith("***")
        ]
        if complaints:
            self._problem(
                f"{self._folder / DATABASE} is damaged: {'; '.join(complaints[:_MOST_COMPLAINTS])}.",
                "`dexto-magic restore FILE` brings a backup back, and keeps the damaged files.",
            )

    # -- others ----------------------------------------------------------------------------------

    def _is_alive(self, owner_id: str) -> bool:
        return is_alive(self._owners_folder, owner_id)

    def _holders(self, found: Soundness) -> Iterator[LockHolder]:
        try:
            gate = holders.gate_holder(self._home / "gate.lock")
            if gate is not None:
                self._add(holders.gate_findings(gate))
                yield holders.holder_of(gate)
            runs: dict[str, list[tuple[str, str, datetime]]] = {}
            for owner, session_id, name, since in found.runs:
                runs.setdefault(owner, []).append((session_id, name, since))
            for owner, lock in holders.owners(self._owners_folder):
                if lock is not None:
                    yield from holders.owner_holder(lock, runs.pop(owner, []))
        except OSError as error:
            self._unseen.append(f"Who holds the locks: {error}.")
            return
        dead = [session_id for turns in runs.values() for session_id, _, _ in turns]
        if dead:
            self._findings.append(
                Finding(
                    level="note",
                    what="Who ran a turn died before its end: what was saved of it is shown with the "
                    f"session. Sessions with such a turn: {len(dead)}, the first is {dead[0]!r}.",
                    next=f"`dexto-magic history {shlex.quote(dead[0])}`",
                )
            )

    def _writing_findings(self) -> Iterator[Finding]:
        with suppress(StoreError):
            if is_read_only(self._folder):
                yield Finding(
                    level="note",
                    what="The store can be read but not written by this user.",
                    next="To go on in it, give this user write access to its folder and files.",
                )


def _faults(found: Soundness) -> Iterator[Finding]:
    for kind, count in found.faults.items():
        what, then = _FAULTS[kind]
        named = found.examples[kind]
        more = "" if count <= len(named) else ", …"
        yield Finding(level="problem", what=f"{count} {what}: {', '.join(named)}{more}.", next=then)
    if found.pending:
        yield Finding(
            level="note",
            what=f"purge pending: of {found.pending} removals bytes may still be in the store's "
            "files, as somebody was reading it or the purge was cut short.",
            next="Close what reads it; the next to open the store finishes it, such as "
            "`dexto-magic sessions`.",
        )
