"""When a request is made again: whether it is worth it, and after how long."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from dexto_magic.llm.server_errors import ErrorAnswer

ATTEMPTS = 3
"""How often one request is made at most, the first time included."""

LONGEST_WAIT = 60.0
"""Seconds; a provider that asks for more is not waited for."""

_FIRST_WAIT = 0.5
_LONGEST_BACKOFF = 8.0


def worth_retrying(answer: ErrorAnswer) -> bool:
    """Whether the same request may be answered better the next time.

    ``x-should-retry`` is the server's own word on it, as OpenAI's client reads it.
    """
    if answer.is_quota:
        return False
    verdict = answer.headers.get("x-should-retry")
    if verdict in ("true", "false"):
        return verdict == "true"
    return answer.status in (408, 409, 429) or answer.is_server_fault


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the server asks to be left alone; ``None`` if it does not say.

    By ``retry-after-ms``, else by ``Retry-After`` in seconds or as a date
    (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after). A time gone by says nothing.
    """
    seconds = _number(headers.get("retry-after-ms"), 1000)
    if seconds is None:
        seconds = _number(headers.get("retry-after"), 1)
    if seconds is None:
        seconds = _until(headers.get("retry-after"), now)
    return seconds if seconds is not None and 0 < seconds < math.inf else None


def wait_before(attempt: int, asked_for: float | None, chance: float) -> float:
    """Seconds to wait before the ``attempt``-th time of asking.

    What the server asked for, else twice as long each time, and up to a quarter less, so that
    those who failed together do not come back together.

    Args:
        attempt: 2 for the first time of asking again.
        asked_for: Seconds, or ``None``.
        chance: Between 0 and 1.
    """
    if asked_for is not None:
        return asked_for
    wait: float = min(_FIRST_WAIT * 2 ** (attempt - 2), _LONGEST_BACKOFF)
    return wait * (1 - chance / 4)


def spoken(seconds: float) -> str:
    """A number of seconds as people write it: ``3 s``, ``0.5 s``."""
    return f"{seconds:.1f}".removesuffix(".0") + " s"


def _number(value: str | None, units: float) -> float | None:
    try:
        return None if value is None else float(value) / units
    except ValueError:
        return None


def _until(value: str | None, now: datetime) -> float | None:
    try:
        date = email.utils.parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
