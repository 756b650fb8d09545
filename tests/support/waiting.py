"""Waiting for a state that nothing announces: it is looked at again and again, never slept for."""

import asyncio
import inspect


async def until(condition):
    """Looks until ``condition`` holds, and returns what it gave; pytest's own limit ends it."""
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.005)
