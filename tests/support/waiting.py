"""Waiting for a state that nothing announces: it is looked at again and again, never slept for."""

import asyncio
import inspect

LIMIT = 60
"""Seconds after which a test that waits has failed: a bound on hanging, reached in no other case."""


async def until(condition):
    """Looks until ``condition`` holds, and returns what it gave.

    Raises:
        AssertionError: It did not hold for ``LIMIT`` seconds, or looking took as long.
    """
    try:
        async with asyncio.timeout(LIMIT) as limit:
            while True:
                value = condition()
                if inspect.isawaitable(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.005)
    except TimeoutError as error:
        if not limit.expired():
            raise  # what looking raised
        raise AssertionError(f"{condition} did not hold for {LIMIT} s") from error
