"""A thread beside the event loop, for files: reading and writing them may take as long as it likes.

One thread for one thing: what SQLite has opened belongs to the thread that opened it, and a bar
that shows how far it is stays in the cell that it is of.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from dexto_magic.cancellation import settled

T = TypeVar("T")

_PATIENCE = 5.0
"""Seconds that whoever was cancelled waits for the thread to end what it was at: a pipe that nobody
reads, or a disk that does not answer, must not hold up an interrupt for ever."""

_END: Any = object()


class Beside:
    """A thread for as long as it is entered; to be used by the task that entered it."""

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._asked: Future[Any] | None = None
        self._given_up = False
        # In the context of the caller, by which a notebook tells whose output something is.
        work = contextvars.copy_context().run
        threading.Thread(target=work, args=[self._work], name="dexto-files", daemon=True).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._jobs.put(None)

    async def run(self, work: Callable[[], T]) -> T:
        """Does something in the thread.

        Cancelled, it ends what the thread waits for, and the thread's next ``wait``.
        """
        outcome: Future[T] = Future()

        def perform() -> None:
            try:
                outcome.set_result(work())
            except StopIteration:  # of which no future can tell, as no coroutine could
                outcome.set_exception(RuntimeError("StopIteration was raised"))
            except BaseException as error:  # noqa: BLE001  # the waiter is told, whatever it is
                outcome.set_exception(error)

        self._jobs.put(perform)
        waiter = asyncio.wrap_future(outcome)
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait([waiter])
        except asyncio.CancelledError:
            self._give_up()
            await settled(asyncio.create_task(asyncio.wait([waiter], timeout=_PATIENCE)))
            raise
        return waiter.result()

    async def each(self, items: Callable[[], Iterable[T]]) -> AsyncGenerator[T, None]:
        """Items, each of them made in the thread; close it when no more are wanted."""
        iterator = await self.run(lambda: iter(items()))
        try:
            while (item := await self.run(lambda: next(iterator, _END))) is not _END:
                yield item
        finally:
            self._jobs.put(getattr(iterator, "close", lambda: None))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of something on the event loop; called in the thread, which waits for it.

        Raises:
            CancelledError: Nobody waits for the thread any more.
        """
        with self._asking:
            if self._given_up:
                work.close()
                raise CancelledError
            asked = self._asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        return cast("Future[T]", asked).result()

    def _give_up(self) -> None:
        with self._asking:
            self._given_up = True
            if self._asked is not None:
                self._asked.cancel()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
