"""One opening of the durable store: its table, gate, threads and owners, of one process.

Apart from ``disk`` as it lives on threads: everything here is called by one of its two threads, or
only puts jobs before them.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from dexto_magic.conversation.session import Removal
from dexto_magic.errors import StoreError
from dexto_magic.stores.faults import read_only, translation
from dexto_magic.stores.filesystems import journal_of
from dexto_magic.stores.inspection import inspect, is_read_only
from dexto_magic.stores.keys import TOMBSTONES
from dexto_magic.stores.ledger import Ledger
from dexto_magic.stores.locks import Gate, Liveness, is_alive, sweep
from dexto_magic.stores.protocol import Owner
from dexto_magic.stores.purging import Purge, Purger
from dexto_magic.stores.removal import is_pending
from dexto_magic.stores.restoring import NEW_FOLDER
from dexto_magic.stores.table import Table
from dexto_magic.stores.threads import Job, Worker, read_each, write_together

T = TypeVar("T")

SIDE_FOLDER = "derived"
"""The folder, beside the store, of what is derived from it."""


class Engine:
    """A store that is being opened, open, or closed for good.

    Args:
        home: The store's folder.
        timeout: Seconds to wait for another process that writes.
        now: The clock; UTC.

    Attributes:
        opened: When it is open, or why it cannot be opened.
        waiting: How many wait for that.
        purge_pending: Whether what was removed may still be in a file of the store.
        warning: What is to be said of the place once it is open, or ``None``.
    """

    def __init__(self, home: Path, *, timeout: float, now: Callable[[], datetime]) -> None:
        self.waiting = 0
        self.purge_pending = False
        self.warning: str | None = None
        self._pid = os.getpid()
        self._home = home
        self._timeout = timeout
        self._now = now
        self._gate: Gate | None = None
        self._table: Table | None = None
        self._ledger: Ledger | None = None
        self._owners: dict[str, Liveness] = {}
        self._closing = False
        self._reader = Worker("dexto-store-reader", self._handle_reads, self._end_reads)
        self._writer = Worker("dexto-store-writer", self._handle_writes, self._end_writes)
        self._purger = Purger(
            self._new_purge, reader=self._reader, writer=self._writer, at_end=self._purged
        )
        self.opened: Future[None] = self._writer.submit(Job(self._open))

    @property
    def is_inherited(self) -> bool:
        """Whether it is that of a process from which this one was forked."""
        return self._pid != os.getpid()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self.opened.done() and self.opened.exception() is None

    @property
    def side_folder(self) -> Path:
        """Where what is derived from the store is kept."""
        return self._home / SIDE_FOLDER

    # -- jobs ------------------------------------------------------------------------------------

    def read(self, step: Callable[[Ledger], T]) -> Future[T]:
        """Has a step done by the reading thread."""
        assert self._ledger is not None
        return self._reader.submit(Job(functools.partial(step, self._ledger)))

    def write(self, step: Callable[[Ledger], T]) -> Future[T]:
        """Has a step done by the writing thread, in a transaction."""
        assert self._ledger is not None
        return self._writer.submit(Job(functools.partial(step, self._ledger)))

    def write_alone(self, work: Callable[[Table], T]) -> Future[T]:
        """Has something done by the writing thread, inside the gate but in no transaction."""
        assert self._table is not None
        return self._writer.submit(Job(functools.partial(work, self._table), alone=True))

    def join(self, label: str) -> Future[Owner]:
        """Makes an owner."""
        return self.write_alone(lambda _: self._join(label))

    def leave(self, owner: Owner) -> None:
        """Ends an owner, at once: that needs no gate, and so cannot fail."""
        liveness = self._owners.pop(owner.id, None)
        if liveness is not None:
            liveness.end()

    def remove(self, step: Callable[[Ledger], Removal]) -> Future[Removal]:
        """The same as ``write``, for a step that leaves something to ``purge``."""

        def take_away(ledger: Ledger) -> Removal:
            removal = step(ledger)
            self.purge_pending = True  # from now on, whoever waits for it or no longer does
            return removal

        return self.write(take_away)

    def purge(self) -> Future[bool]:
        """Has a purge done of what was removed so far; it is done even if nobody waits for it.

        The future tells whether nothing of that is in any file of the store any more.
        """
        return self._purger.ask()

    def close(self) -> Future[None]:
        """Finishes what waits, then lets go of everything; the future tells when."""
        self._closing = True
        return self._writer.stop()

    # -- on the threads --------------------------------------------------------------------------

    @property
    def _owners_folder(self) -> Path:
        return self._home / "owners"

    def _open(self) -> None:
        """Holds the writer's lock only inside SQLite: a fork must not wait for what this awaits."""
        folder = self._home / "sessions"
        if is_read_only(folder):
            with self._writer.lock:
                inspect(folder)
                self._use(Table(folder, timeout=self._timeout, read_only=True))
            return
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder_beside in (self._owners_folder, self.side_folder):
                folder_beside.mkdir(mode=0o700, exist_ok=True)
            journal, self.warning = journal_of(self._home)
            self._gate = Gate(self._home / "gate.lock", timeout=self._timeout)
        except OSError as error:
            raise translation(error, self._home) from error
        with self._gate.entered(given_up=lambda: self._closing) as inside:
            if not inside:
                raise StoreError(
                    f"The store in {self._home} was closed before it was open.",
                    path=str(self._home),
                )
            with self._writer.lock:
                inspect(folder)
                shutil.rmtree(self._home / NEW_FOLDER, ignore_errors=True)
                ledger = self._use(Table(folder, timeout=self._timeout, journal=journal))
                ledger.initialise()
                sweep(self._owners_folder)
                if is_pending(ledger.entries.table, is_alive=self._is_alive):
                    self._drop_derived()
            # Opening a connection may write, so the reader's is opened in here, too.
            self._reader.submit(Job(ledger.touch)).result()
        self.purge()

    def _drop_derived(self) -> None:
        """Removes what may still hold what was removed from the store: it is made anew from that."""
        for path in self.side_folder.glob("*"):
            with suppress(OSError):  # somebody's folder of that name, or not ours to remove
                path.unlink()

    def _use(self, table: Table) -> Ledger:
        self._table = table
        self._ledger = Ledger(table, is_alive=self._is_alive, now=self._now)
        return self._ledger

    def _is_alive(self, owner_id: str) -> bool:
        return owner_id in self._owners or is_alive(self._owners_folder, owner_id)

    def _join(self, label: str) -> Owner:
        liveness = Liveness(self._owners_folder, label)
        self._owners[liveness.owner.id] = liveness
        return liveness.owner

    def _handle_reads(self, batch: Sequence[Job[Any]]) -> None:
        read_each(batch, self._reader.lock)

    def _handle_writes(self, batch: Sequence[Job[Any]]) -> None:
        if self._table is None or self._gate is None:
            for job in batch:
                if job.future.set_running_or_notify_cancel():
                    if self._table is None:
                        job.perform()  # the opening itself
                    else:
                        job.future.set_exception(read_only(self._home))
        else:
            was_pending = self.purge_pending
            write_together(batch, self._writer.lock, gate=self._gate, table=self._table)
            is_left = was_pending and self.purge_pending and not self._purger.is_at_work
            if is_left and not all(job.alone for job in batch):
                self.purge()

    def _new_purge(self) -> Purge:
        assert self._table is not None
        return Purge(self._table, is_alive=self._is_alive)

    def _purged(self) -> None:
        """Notes whether anything is left, by now perhaps of what was removed since."""
        assert self._table is not None
        self.purge_pending = bool(self._table.keys(*TOMBSTONES, limit=1))

    def _end_reads(self) -> None:
        if self._table is not None:
            with self._reader.lock:
                self._table.close()

    def _end_writes(self) -> None:
        # Undone from the last to the first; where one of them fails, the others are still done.
        with ExitStack() as stack:
            if self._gate is not None:
                stack.callback(self._gate.close)
                if self._table is not None:  # closing may write
                    with suppress(StoreError):  # a gate that is gone, or held by one who is stopped
                        stack.enter_context(self._gate.entered())
            stack.callback(self._close_table)
            stack.callback(lambda: self._reader.stop().result())
            stack.callback(self._end_owners)

    def _close_table(self) -> None:
        if self._table is not None:
            with self._writer.lock:
                self._table.close()

    def _end_owners(self) -> None:
        with suppress(KeyError):  # that is how an empty dict says so; others may leave meanwhile
            while True:
                self._owners.popitem()[1].end()
