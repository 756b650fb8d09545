"""Long work on a store's files that needs no open store, on a thread of its own.

Looking a store over, backing it up, and restoring it: each must be possible where the store cannot
be opened, may take minutes, and ends soon when whoever waits for it is cancelled.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from dexto_magic.cancellation import settled
from dexto_magic.stores.forks import new_lock
from dexto_magic.stores.threads import Job
from dexto_magic.stores.waiting import waiter_of

T = TypeVar("T")

_STEPS = 50_000
"""Steps of SQLite's machine between two pauses: a few milliseconds."""


class GivenUpError(Exception):
    """Nobody waits for the errand any more; what it had begun was undone."""


class Errand:
    """One piece of such work, as it knows of forks and of who waits for it."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self._given_up.set()

    def is_given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._given_up.is_set()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Keeps the process from forking while SQLite is used inside, but for each ``pause``."""
        with self._lock:
            yield

    def pause(self) -> None:
        """Lets a fork pass, between two uses of SQLite.

        Raises:
            GivenUpError: Nobody waits any more.
        """
        self._lock.release()
        time.sleep(0)  # or who waits for the lock would hardly ever get it
        self._lock.acquire()
        if self.is_given_up():
            raise GivenUpError

    def accompany(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """The connection, whose statements pause now and then, and end when this is given up."""

        def step() -> bool:
            try:
                self.pause()
            except GivenUpError:
                return True  # SQLite calls that an interrupt
            return False

        connection.set_progress_handler(step, _STEPS)
        return connection


async def done(work: Callable[[Errand], T]) -> T:
    """What an errand gives. Cancelled, it is given up; if that comes too late, its outcome counts."""
    errand = Errand()

    def run() -> T:
        try:
            return work(errand)
        except sqlite3.OperationalError as error:
            if errand.is_given_up() and error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise GivenUpError from error
            raise

    job = Job(run)
    threading.Thread(target=job.perform, name="dexto-store-errand", daemon=True).start()
    waiter = waiter_of(job.future)
    try:
        await asyncio.wait([waiter])
    except asyncio.CancelledError:
        errand.give_up()
    try:
        return await settled(waiter)
    except GivenUpError:
        raise asyncio.CancelledError from None
