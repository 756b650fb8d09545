"""The threads of a store: one that writes, one that reads.

A thread of its own never receives KeyboardInterrupt (measured without it: of 2,404 interrupts
during appends in the main thread, 77 left the store locked for every kernel), keeps commits off
the event loop, and commits together what waits together.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from dexto_magic.errors import StoreError
from dexto_magic.stores.forks import new_lock
from dexto_magic.stores.locks import Gate
from dexto_magic.stores.table import Table

T = TypeVar("T")

_BATCH = 200
"""Steps that share one commit at most, so that nobody waits long for a full house."""


@dataclass(eq=False)
class Job(Generic[T]):
    """Something to be done on a thread, and the future of its outcome.

    Attributes:
        run: What is to be done.
        alone: Whether it makes its own transactions, rather than being a step of a shared one.
        future: Its outcome; cancelling it before it begins means that nothing happens.
    """

    run: Callable[[], T]
    alone: bool = False
    future: Future[T] = field(default_factory=Future)

    def perform(self) -> None:
        """Runs it and tells the outcome."""
        try:
            result = self.run()
        except BaseException as error:  # noqa: BLE001  # the waiter is told, whatever it is
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Worker:
    """A thread that does jobs in order, as many as wait at a time in one batch.

    Args:
        name: The thread's name.
        handle: What to do with a batch; it settles every future, and holds ``lock`` while it uses
            the database, but not while it waits.
        at_end: What to do last, on the same thread; it does as much.

    Attributes:
        lock: Held while the thread is in the database; the process forks only while it is free.
    """

    def __init__(
        self, name: str, handle: Callable[[list[Job[Any]]], None], at_end: Callable[[], None]
    ) -> None:
        self.lock = new_lock()
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._handle = handle
        self._at_end = at_end
        self._over = False
        self._ended: Future[None] = Future()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, job: Job[T]) -> Future[T]:
        """Puts a job in the queue; it fails with ``StoreError`` if the thread has ended."""
        self._jobs.put(job)
        if self._over:
            self._refuse_waiting()
        return job.future

    def stop(self) -> Future[None]:
        """Ends the thread once all that waits is done; the future tells when."""
        self._jobs.put(None)
        return self._ended

    def _work(self) -> None:
        ending = False
        while not ending:
            batch = [self._jobs.get()]
            while len(batch) < _BATCH and not self._jobs.empty():
                batch.append(self._jobs.get())
            jobs = [job for job in batch if job is not None]
            ending = len(jobs) < len(batch)
            if jobs:
                self._handle(jobs)
        self._over = True
        self._refuse_waiting()
        last = Job(self._at_end, future=self._ended)
        last.perform()

    def _refuse_waiting(self) -> None:
        """Fails what nobody will do; called after ``_over`` is set, so nothing is overlooked."""
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None and job.future.set_running_or_notify_cancel():
                    job.future.set_exception(
                        StoreError(
                            "The store was closed before this was done; nothing was written."
                        )
                    )


def read_each(batch: Sequence[Job[Any]], lock: threading.Lock) -> None:
    """Handles a batch of a reading thread."""
    for job in batch:
        if job.future.set_running_or_notify_cancel():
            with lock:
                job.perform()


def write_together(
    batch: Sequence[Job[Any]], lock: threading.Lock, *, gate: Gate, table: Table
) -> None:
    """Handles a batch of the writing thread: inside the gate, in as few commits as can be."""
    try:
        with gate.entered(given_up=lambda: all(job.future.cancelled() for job in batch)) as inside:
            if not inside:
                return
            with lock:
                together: list[Job[Any]] = []
                for job in batch:
                    if not job.future.set_running_or_notify_cancel():
                        continue
                    if not job.alone:
                        together.append(job)
                        continue
                    _commit(together, table)
                    together = []
                    job.perform()
                _commit(together, table)
    except BaseException as error:  # noqa: BLE001  # the waiters are told, whatever it is
        for job in batch:
            with suppress(InvalidStateError):
                job.future.set_exception(error)


def _commit(jobs: Sequence[Job[Any]], table: Table) -> None:
    """Runs steps in one transaction, each undone alone if it fails."""
    if len(jobs) > 1:
        try:
            with table.transaction():
                outcomes = [_step(job, table) for job in jobs]
        except StoreError:
            pass  # the whole transaction is undone: each is told what its own step meets
        else:
            for job, result, error in outcomes:
                if error is not None:
                    job.future.set_exception(error)
                else:
                    job.future.set_result(result)
            return
    for job in jobs:
        try:
            with table.transaction():
                result = job.run()
        except BaseException as error:  # noqa: BLE001  # the waiter is told, whatever it is
            job.future.set_exception(error)
        else:
            job.future.set_result(result)


def _step(job: Job[Any], table: Table) -> tuple[Job[Any], Any, BaseException | None]:
    try:
        with table.part():
            return job, job.run(), None
    except StoreError:
        raise
    except BaseException as error:  # noqa: BLE001  # the waiter is told, whatever it is
        return job, None, error
