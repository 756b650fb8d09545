"""Calls that are cancelled, at one moment after another."""

import asyncio

MOMENTS = [0, 1, 2, 5, 10, *range(20, 400, 20), 600, 800, 1000]
"""Turns of the event loop until a call is cancelled: before it begins, in its midst, at its end."""


async def cancelled_after(turns, call):
    """The result of a call that is cancelled after so many turns, and at each one from there on.

    Raises:
        CancelledError: It has none.
    """
    task = asyncio.create_task(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    return await task
