"""A store's content replaced by a backup's, while others have it open.

It is done inside the gate, and in one transaction of the database that is there: those who read
see the old content or the new, and a kill leaves one of them whole. Only where that database is
damaged are its files set aside, as they are, and a new one put in their place.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.errors import FormatError, SessionBusyError, StoreCorruptedError, StoreError
from dexto_magic.stores import backups, rows
from dexto_magic.stores.codec import decode
from dexto_magic.stores.errands import Errand, GivenUpError
from dexto_magic.stores.faults import DATABASE, is_fault, read_only, translation
from dexto_magic.stores.filesystems import journal_of
from dexto_magic.stores.inspection import inspect, is_read_only, looked_into
from dexto_magic.stores.keys import TOMBSTONES
from dexto_magic.stores.locks import Gate, is_alive
from dexto_magic.stores.premises import size_of
from dexto_magic.stores.protocol import Tell
from dexto_magic.stores.purging import Purge
from dexto_magic.stores.staging import Stage, staged
from dexto_magic.stores.table import Table

NEW_FOLDER = "restoring"
"""Where a database is made that is to take a damaged one's place; what a kill leaves there goes at
the next opening."""

_SIDE_FILES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be restored where.

    Attributes:
        home: The store's folder.
        path: The backup.
        before: The file for a backup of what is there now, or ``None`` for one beside the store's
            folder, of the time of day.
        timeout: Seconds to wait for another process that writes.
        now: The clock; UTC.
    """

    home: Path
    path: Path
    before: Path | None
    timeout: float
    now: Callable[[], datetime]


def restored(task: Task, errand: Errand, tell: Tell) -> Restored:
    """Replaces the content of a store by a backup's.

    Args:
        task: What is to be done.
        errand: For whom.
        tell: Is told how far it is, in rows.

    Raises:
        FormatError: The backup cannot be used, or what is there now cannot be backed up as asked.
        SessionBusyError: A live owner runs a turn, or makes a session.
        StoreError: The store cannot be replaced.
        GivenUpError: Nobody waits for it any more, and nothing was changed.
    """
    home = task.home
    if is_read_only(home / "sessions"):
        raise read_only(home)
    with errand.at_work():
        stage = staged(task.path, errand, tell)
    with closing(stage.connection):
        gate = _gate(task)
        with closing(gate), gate.entered(given_up=errand.is_given_up) as inside:
            if not inside:
                raise GivenUpError
            with errand.at_work():
                return _Restoring(task, stage, errand).done()


def _gate(task: Task) -> Gate:
    try:
        task.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in ("sessions", "owners", "derived"):
            (task.home / folder).mkdir(mode=0o700, exist_ok=True)
        return Gate(task.home / "gate.lock", timeout=task.timeout)
    except OSError as error:
        raise translation(error, task.home) from error


class _Restoring:
    """What is done inside the gate."""

    def __init__(self, task: Task, stage: Stage, errand: Errand) -> None:
        self._task = task
        self._stage = stage
        self._errand = errand
        self._home = task.home
        self._folder = task.home / "sessions"
        self._stamp = f"{task.now():%Y%m%d-%H%M%S}"

    def done(self) -> Restored:
        before, aside, pending = None, None, False
        try:
            before = self._backed_up()
        except StoreCorruptedError:
            aside = self._exchanged()
        else:
            pending = not self._replaced()
        return Restored(
            path=str(self._task.path),
            location=str(self._home),
            sessions=self._stage.sessions,
            messages=self._stage.messages,
            before=before,
            set_aside=None if aside is None else str(aside),
            purge_pending=pending,
        )

    # -- what is there now -----------------------------------------------------------------------

    def _backed_up(self) -> BackedUp | None:
        """A backup of what is there, unless that is nothing.

        Raises:
            StoreCorruptedError: It is damaged.
            SessionBusyError: A live owner is at work in it.
        """
        inspect(self._folder)
        if not size_of(self._folder / DATABASE) or not self._has_sessions():
            return None
        path = self._beside("before-restore", ".db") if not self._task.before else self._task.before
        backups.check_target(self._home, path, replace_file=False)
        try:
            return backups.written(
                self._folder, path, replace_file=False, errand=self._errand, tell=_untold
            )
        except FormatError as error:
            raise FormatError(
                f"{error} Nothing was restored: what is there now is backed up first. Say where with "
                "--before FILE.",
                path=error.path,
            ) from error

    def _has_sessions(self) -> bool:
        """Whether there is any session; nobody may be at work in one."""
        found = False
        try:
            with looked_into(self._folder) as connection:
                self._errand.accompany(connection)
                select = "SELECT mode, value FROM Cache WHERE key >= ? AND key < ? AND raw = 1"
                for mode, data in connection.execute(select, TOMBSTONES):
                    value = _value(mode, data)
                    if isinstance(value, dict) and self._is_alive(str(value.get("owner"))):
                        raise _busy("somebody", "making a session, by a fork or an import")
                for mode, data in connection.execute(select, ("s:", "s;")):
                    found = True
                    value = _value(mode, data)
                    if isinstance(value, dict) and value.get("open") is not None:
                        with suppress(StoreCorruptedError):
                            self._refuse_running(value)
        except sqlite3.Error as error:
            if self._errand.is_given_up() or not is_fault(error):
                raise
            raise translation(error, self._folder) from error
        return found

    def _refuse_running(self, value: object) -> None:
        record = rows.record_from_json(value)
        mark = record.open
        if mark is not None and self._is_alive(mark.owner):
            since = f"{mark.since:%Y-%m-%d %H:%M:%S} UTC"
            error = _busy(mark.holder, f"at work in {record.id!r} since {since}")
            error.session_id, error.since = record.id, mark.since
            raise error

    def _is_alive(self, owner_id: str) -> bool:
        return is_alive(self._home / "owners", owner_id)

    # -- in its place ----------------------------------------------------------------------------

    def _replaced(self) -> bool:
        """Puts the new content into the database; whether nothing of the old is in a file."""
        with closing(self._table(self._folder)) as table:
            table.replace_by(self._stage.connection, pause=self._errand.pause)
            self._drop_derived()
            with suppress(StoreError):  # what is done is done, and the rest at the next opening
                return _purged(table)
        return False

    def _exchanged(self) -> Path:
        """Puts a new database in the place of a damaged one; the folder where that is kept."""
        new = self._home / NEW_FOLDER
        shutil.rmtree(new, ignore_errors=True)
        with closing(self._table(new)) as table:
            table.replace_by(self._stage.connection, pause=self._errand.pause)
            _purged(table)
        aside = self._beside("damaged", "")
        path = self._folder / DATABASE
        try:
            aside.mkdir(mode=0o700)
            for suffix in ("", *_SIDE_FILES):
                old = path.with_name(path.name + suffix)
                if old.exists():
                    _keep(old, aside / old.name)
            backups.synchronise(aside)
            # Its log first: SQLite would take it for that of the new one.
            for suffix in _SIDE_FILES:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            backups.synchronise(self._folder)
            (new / DATABASE).replace(path)
            backups.synchronise(self._folder)
        except OSError as error:
            raise StoreError(
                f"The damaged files of {self._folder} could not be set aside in {aside} "
                f"({error.strerror or error}). Nothing was restored.",
                path=str(self._folder),
            ) from error
        shutil.rmtree(new, ignore_errors=True)
        self._drop_derived()
        return aside

    def _table(self, folder: Path) -> Table:
        journal, _ = journal_of(self._home)
        return Table(folder, timeout=self._task.timeout, journal=journal)

    def _drop_derived(self) -> None:
        for path in (self._home / "derived").glob("*"):
            with suppress(OSError):  # somebody's folder of that name, or not ours to remove
                path.unlink()

    def _beside(self, what: str, suffix: str) -> Path:
        """A new name beside the store's folder, in which what is deleted must be gone."""
        name, number = f"{self._home.name}-{what}-{self._stamp}", 1
        while True:
            path = self._home.with_name(f"{name}{'' if number == 1 else f'-{number}'}{suffix}")
            if not os.path.lexists(path):
                return path
            number += 1


def _value(mode: object, data: object) -> object:
    """What a row says; ``None`` for one that cannot be read, and so runs nothing."""
    try:
        return decode(mode, data)
    except StoreCorruptedError:
        return None


def _keep(old: Path, kept: Path) -> None:
    """Keeps a file under another name, as it is."""
    try:
        os.link(old, kept, follow_symlinks=False)
    except OSError:
        shutil.copyfile(old, kept, follow_symlinks=False)
        kept.chmod(0o600)


def _purged(table: Table) -> bool:
    purge = Purge(table, is_alive=lambda _: False)
    while (is_done := purge.step()) is None:
        pass
    return is_done


def _busy(holder: str, doing: str) -> SessionBusyError:
    return SessionBusyError(
        f"Nothing was restored: {holder} is {doing}. Wait for it, or cancel it, then try again.",
        holder=holder,
    )


def _untold(_done: int, _total: int) -> None:
    """Tells nobody."""
