"""An event loop in a thread of its own, and calls to it that an interrupt cannot break.

anyio's blocking portal does the same, but waits in ``concurrent.futures.Future``, whose condition
is Python code: a KeyboardInterrupt that comes right after its lock is taken leaves it taken, and
the loop's thread waits for it for ever (measured: within 20 s of an interrupt every 1 to 12 ms, in
3 runs of 4). Here whoever waits does so in ``SimpleQueue.get``, which is C and holds nothing.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from dexto_magic.errors import DextoError

T = TypeVar("T")


class BackgroundLoop:
    """A running event loop.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = self._forsaken = False
        self._process = os.getpid()
        # Sets are changed and copied in one step of C, so no lock is needed, which an interrupt
        # could leave locked.
        self._calls: set[Call[Any]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self.close()
            raise

    @property
    def is_current(self) -> bool:
        """Whether this is its own thread."""
        return threading.current_thread() is self._thread

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine function on the loop, from any other thread, and waits for it.

        An interrupt, at whatever moment it comes, cancels it, waits until it has ended, and goes
        on; a second one stops waiting.

        Raises:
            DextoError: This is the loop's own thread, or the loop is closed.
            BaseException: Whatever ended it.
        """
        call = Call(self._loop, work, self._calls.discard)
        try:
            self._submit(call)
            call.wait()
        except BaseException:
            self._calls.add(call)  # perhaps it was interrupted before it was there
            call.cancel()
            if self._is_forsaken:
                call.give_up()
            call.wait()
            self._calls.discard(call)
            raise
        return call.outcome()

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Call[T]:
        """The same without waiting."""
        call = Call(self._loop, work, self._calls.discard)
        try:
            self._submit(call)
        except BaseException:
            call.cancel()
            raise
        return call

    @property
    def _is_forsaken(self) -> bool:
        """Whether nobody runs the loop, though it may be open: in a forked child, say.

        ``Thread.is_alive`` would say so, too, but after an interrupt amid it CPython 3.11 takes
        the thread for an ended one.
        """
        return self._forsaken or os.getpid() != self._process

    def _submit(self, call: Call[Any]) -> None:
        if self.is_current:
            call.give_up()
            raise DextoError(
                "A blocking call was made on the agent's own loop, which would wait for itself."
            )
        if self._is_forsaken:
            call.give_up()
            raise _stopped()
        try:
            self._calls.add(call)
            self._loop.call_soon_threadsafe(self._begin, call)
        except RuntimeError as error:  # the loop is closed
            call.give_up()
            raise _stopped() from error
        # After an interrupt nobody knows here whether it is to begin: the loop's thread does.

    def close(self) -> None:
        """Ends the loop, cancelling what still runs on it, and waits for that."""
        self._closing = True
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.ident is not None:
            self._thread.join()

    def forsake(self) -> None:
        """Gives up all calls, in a forked child, where nobody runs the loop."""
        self._forsaken = True
        for call in list(self._calls):
            call.give_up()

    def _begin(self, call: Call[Any]) -> None:
        if not self._closing:
            call.begin()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.get_loop().run_forever()
        finally:
            self.forsake()  # what came too late to be begun


class Call(Generic[T]):
    """Something that is done on a loop, while another thread waits for it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[], Coroutine[Any, Any, T]],
        at_end: Callable[[Call[T]], object],
    ) -> None:
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._done = self._cancelled = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._then: deque[Callable[[], object]] = deque([lambda: at_end(self)])

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self._done

    def result(self) -> T:
        """Waits for it.

        An interrupt cancels it, waits until it has ended, and goes on; a second one stops waiting.

        Raises:
            DextoError: The loop was closed before it was done.
            BaseException: Whatever ended it.
        """
        try:
            self.wait()
        except BaseException:
            self.cancel()
            self.wait()
            raise
        return self.outcome()

    def wait(self) -> None:
        """Waits for its end, and lets an interrupt through."""
        # An interrupt may take what was put into the queue with it: the flag is what counts.
        while not self._done:
            self._wake.get()
        self._wake.put(None)  # for whoever else waits

    def cancel(self) -> None:
        """Has it end soon, from any thread."""
        with suppress(RuntimeError):  # the loop is closed, and so it has ended
            self._loop.call_soon_threadsafe(self._cancel)

    def outcome(self) -> T:
        """What came of it, once it is over."""
        if self._task is None or not self._task.done():
            raise _stopped()
        try:
            return self._task.result()
        except asyncio.CancelledError:
            raise _stopped() from None

    def when_done(self, then: Callable[[], object]) -> None:
        """Has something called when it is done, on the loop's thread, or at once if it is."""
        self._then.append(then)
        if self._done:
            self._tell()

    def begin(self) -> None:
        """Begins; called on the loop's thread."""
        if not self._cancelled:
            self._task = self._loop.create_task(self._work())
            self._task.add_done_callback(self._end)
        else:
            self.give_up()

    def give_up(self) -> None:
        """Ends it, whatever came of it: nobody will do any more of it."""
        self._cancelled = self._done = True
        self._tell()
        self._wake.put(None)

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # seen, even if an interrupt has called away whoever waited
        self._done = True
        self._tell()
        self._wake.put(None)

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
        elif not self._done:  # whoever submitted it was interrupted before it was to begin
            self.give_up()

    def _tell(self) -> None:
        with suppress(IndexError):  # any thread may be emptying it at the same time
            while True:
                self._then.popleft()()


def _stopped() -> DextoError:
    return DextoError("The agent was stopped before this was done.")
