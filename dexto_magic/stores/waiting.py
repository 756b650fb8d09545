"""Waiting on an event loop for a job that a store's thread does."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

from dexto_magic.cancellation import settled

T = TypeVar("T")


async def outcome(future: Future[T]) -> T:
    """Waits for a job; cancelled, it drops one that has not begun, else waits for it still."""
    waiter = waiter_of(future)
    try:
        await asyncio.wait([waiter])
    except asyncio.CancelledError:
        if future.cancel():
            raise
    return await settled(waiter)


def waiter_of(future: Future[T]) -> asyncio.Future[T]:
    """The future for this event loop, which logs no error that nobody waits for any more."""
    waiter = asyncio.wrap_future(future)
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
    return waiter
