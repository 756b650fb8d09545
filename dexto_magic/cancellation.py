"""Waiting for what must be seen through, however often the one who waits is cancelled.

Below everything, as the stores need it as much as the turns: what has begun to be written has to
be known of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def settled(future: asyncio.Future[T]) -> T:
    """The outcome of a future that cannot be dropped any more; cancellations are passed over."""
    # A task is cancelled again by whoever likes to, and by anyio at every turn of the event loop.
    with anyio.CancelScope(shield=True):
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
    return future.result()


async def seen_through(work: Coroutine[Any, Any, T]) -> T:
    """Does something to its end, and only then lets the caller be cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await settled(task)
        raise
    return task.result()


def let_cancel() -> None:
    """Gives up where the caller was cancelled while it waited for what could not be dropped."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
