"""What one process has of an index: a thread for SQLite, the file, and memory in its stead."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from dexto_magic.cancellation import settled
from dexto_magic.errors import StoreError
from dexto_magic.search.shelf import Shelf

T = TypeVar("T")

_SPARE_LASTS = 60.0
"""Seconds until a file that could not be used is tried again."""


class Desk:
    """The indexes of one process for one store.

    A connection of SQLite's belongs to the thread that made it, and may take long: so there is one
    thread, which does everything in turn.

    Args:
        folder: The folder of the file; ``None`` if there is to be none.
        patience: Seconds to wait for other processes that use it.

    Attributes:
        durable: The index in the file, or ``None``.
        spare: The index in memory, if need be.
        lock: Held by whoever uses them.
    """

    def __init__(self, folder: Path | None, *, patience: float) -> None:
        self.durable = None if folder is None else Shelf(folder, patience=patience)
        self.spare = Shelf(None, patience=patience)
        self.lock = asyncio.Lock()
        self._fell_back_at: float | None = None
        self._pid = os.getpid()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dexto-search")

    @property
    def is_inherited(self) -> bool:
        """Whether it is that of a process from which this one was forked."""
        return self._pid != os.getpid()

    def shelf(self, now: float) -> Shelf:
        """The index to be used: memory for a while, after the file could not be."""
        if self.durable is None:
            return self.spare
        if self._fell_back_at is not None and now < self._fell_back_at + _SPARE_LASTS:
            return self.spare
        return self.durable

    def fall_back(self, now: float) -> None:
        """The file cannot be used now."""
        self._fell_back_at = now

    async def used(self, shelf: Shelf) -> None:
        """An index did what it was asked to: if it is the file, memory is given free."""
        if shelf is self.durable and self._fell_back_at is not None:
            self._fell_back_at = None
            await self.run(self.spare.close)

    async def run(self, work: Callable[[], T]) -> T:
        """Does something on the thread; cancelled, it is done or it is not, but never in part.

        Raises:
            StoreError: It was closed.
        """
        try:
            future = self._thread.submit(work)
        except RuntimeError as error:
            raise StoreError("The search index was closed before this was done.") from error
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Ends the thread, after what waits for it."""

        def end() -> None:
            self.spare.close()
            if self.durable is not None:
                self.durable.close()

        try:
            future = self._thread.submit(end)
        except RuntimeError:
            return  # the interpreter is ending, and has ended its threads first
        self._thread.shutdown(wait=False)
        await settled(asyncio.wrap_future(future))
