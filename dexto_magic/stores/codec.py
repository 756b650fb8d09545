"""The bytes of a stored row: JSON and nothing else, so that reading a store can run no code.

A row is bytes and a mode that says how to read them; what the JSON says is in ``rows``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from dexto_magic.errors import StoreCorruptedError

MODE_JSON = 74
"""Written by orjson. diskcache's own modes are 0 to 4, and none of them is ever read."""

MODE_EXACT = 75
"""Written by the standard library: what orjson would change or refuse."""

MODE_BYTES = 76
"""The bytes of an attachment, as they are."""

CODECS = {MODE_JSON: "orjson", MODE_EXACT: "json", MODE_BYTES: "bytes"}
"""Who reads which mode, as the schema row says it to other programs and later versions."""

_INT64 = range(-(2**63), 2**63)


class Row(NamedTuple):
    """Bytes to be stored, and how to read them."""

    mode: int
    data: bytes

    @classmethod
    def of_bytes(cls, data: bytes) -> Row:
        """The stored form of an attachment."""
        return cls(MODE_BYTES, data)


def encode(value: Any) -> Row:
    """The stored form of a JSON value; ``decode`` gives back an equal one.

    orjson turns NaN and the infinities into null, reads integers beyond 64 bits as floats, and
    refuses lone surrogates: such values go to the standard library. Surrogates stay bytes of their
    own, as two escapes that follow each other would be read back as one character.
    """
    if not _needs_exact(value):
        try:
            return Row(MODE_JSON, orjson.dumps(value))
        except TypeError:
            pass  # a lone surrogate somewhere
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Row(MODE_EXACT, text.encode("utf-8", "surrogatepass"))


def decode(mode: object, data: object) -> Any:
    """The value of a stored row.

    Raises:
        StoreCorruptedError: The row is none of ours. A pickle lands here, unread.
    """
    if not isinstance(data, bytes) or mode not in (MODE_JSON, MODE_EXACT):
        raise StoreCorruptedError(
            f"A row of the store is in a form (mode {mode!r}) that this package never writes. It was "
            "not read. Somebody else has written to this store: restore a backup, or set it aside."
        )
    try:
        if mode == MODE_JSON:
            return orjson.loads(data)
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise StoreCorruptedError(f"A row of the store is not valid JSON ({error}).") from error


def decode_bytes(mode: object, data: object) -> bytes:
    """The bytes of an attachment's row.

    Raises:
        StoreCorruptedError: The row is no attachment.
    """
    if not isinstance(data, bytes) or mode != MODE_BYTES:
        raise StoreCorruptedError(
            f"An attachment in the store is in a form (mode {mode!r}) that this package never writes. "
            "It was not read. Somebody else has written to this store: restore a backup."
        )
    return data


def decode_all(rows: Sequence[tuple[object, object]]) -> list[Any]:
    """The values of many rows of ``(mode, data)``, in one parse where all are orjson's."""
    if all(mode == MODE_JSON and isinstance(data, bytes) for mode, data in rows):
        try:
            values = orjson.loads(b"[" + b",".join(data for _, data in rows) + b"]")  # type: ignore[misc]  # checked above
        except ValueError:
            pass  # one of them is damaged: find out which by reading each
        else:
            if len(values) == len(rows):
                return list(values)
    return [decode(mode, data) for mode, data in rows]


def _needs_exact(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, int):
        return value not in _INT64
    if isinstance(value, dict):
        return any(map(_needs_exact, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_needs_exact, value))
    return False
