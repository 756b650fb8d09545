"""Reading JSON and dates of others: whatever is there, what comes out is of the type it should be.

What has another type than expected counts as missing: a file from elsewhere owes us nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import mimetypes
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from dexto_magic.conversation.messages import JSON, Attachment
from dexto_magic.errors import FormatError
from dexto_magic.formats.records import opened

UNKNOWN_TYPE = "application/octet-stream"
"""The media type of what could be anything."""

MAX_DEPTH = 100
"""How deeply request options may be nested: what reads them again does so recursively."""

MAX_NUMBER = 2**63 - 1

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)

# Its own tables only: those of the system differ from one machine to the next.
_TYPES = mimetypes.MimeTypes(filenames=())


def text_in(value: object) -> str:
    """The text; else an empty one."""
    return value if isinstance(value, str) else ""


def text_or_none(value: object) -> str | None:
    """The text, if it is one and not empty."""
    return value if isinstance(value, str) and value else None


def fields_of(value: object) -> Mapping[str, Any]:
    """The JSON object; else an empty one."""
    return value if isinstance(value, dict) else {}


def items_of(value: object) -> Sequence[Any]:
    """The JSON array; else an empty one."""
    return value if isinstance(value, list) else ()


def count_in(value: object) -> int | None:
    """The number, if it is a whole one of 0 or more."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        return None
    return value


def seconds_in(value: object) -> float | None:
    """The number, if it is a length of time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MAX_NUMBER and math.isfinite(value) else None


def options_in(value: object) -> dict[str, JSON]:
    """The request options, if they are some."""
    return value if isinstance(value, dict) and not is_deeper(value, MAX_DEPTH) else {}


def is_deeper(value: object, depth: int) -> bool:
    """Whether arrays and objects stand in each other more than ``depth`` times."""
    level = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _within(outer)]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _within(value: object) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def time_in(value: object) -> datetime | None:
    """The time that seconds since 1970 or a date in ISO 8601 tell; UTC where they say no zone."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass  # no date, or one that no calendar has
    return None


def attachment(name: str, *, media_type: str | None = None, size: int | None = None) -> Attachment:
    """Something that was sent along and whose bytes are not in the file."""
    media_type = media_type or _TYPES.guess_type(name)[0] or UNKNOWN_TYPE
    return Attachment(name=name, media_type=media_type, digest="", size=size or 0)


def attached(
    data: bytes, name: str, *, media_type: str | None = None
) -> tuple[Attachment, dict[str, bytes]]:
    """Something that was sent along, and its bytes by their digest."""
    digest = hashlib.sha256(data).hexdigest()
    known = attachment(name, media_type=media_type, size=len(data))
    return Attachment(**{**vars(known), "digest": digest}), {digest: data}


def from_url(url: str, name: str | None) -> tuple[Attachment, dict[str, bytes]]:
    """What a URL stands for: the bytes of a ``data:`` URL, else its name. Nothing is fetched."""
    match = _DATA_URL.match(url)
    if match is None:
        return attachment(name_of_url(url) if name is None else name), {}
    parameters = match["parameters"].split(";")
    named = next((unquote(p[5:]) for p in parameters if p.lower().startswith("name=")), None)
    media_type = match["type"] or None
    known = (name, named, name_of_type(media_type))
    name = next(text for text in known if text is not None)
    data = _bytes_of(url[match.end() :], is_base64="base64" in parameters)
    if data is None:
        return attachment(name, media_type=media_type), {}
    return attached(data, name, media_type=media_type)


def name_of_url(url: str) -> str:
    """The last part of a URL's path, or all of the URL."""
    try:
        path = urlsplit(url).path
    except ValueError:  # such as an address in brackets that is none
        return url
    return unquote(path.rstrip("/").rpartition("/")[2]) or url


def name_of_type(media_type: str | None) -> str:
    """A name for what has none, such as ``image.png``."""
    kind = (media_type or UNKNOWN_TYPE).partition("/")[0]
    known = kind if kind in ("image", "audio", "video") else "file"
    return known + ((media_type and _TYPES.guess_extension(media_type)) or "")


def _bytes_of(text: str, *, is_base64: bool) -> bytes | None:
    try:
        encoded = unquote_to_bytes(text)
    except UnicodeEncodeError:  # a lone surrogate
        return None
    if not is_base64:
        return encoded
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None


def json_text(value: object) -> str:
    """A JSON value as its text; an empty one for none, and for what is nested too deeply."""
    try:
        return "" if value is None else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""


def parsed(text: str | bytes) -> Any:
    """The JSON value of a text.

    Raises:
        ValueError: It is none, or nested too deeply for anybody.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig", "replace")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def whole(path: Path) -> Any:
    """The JSON value that a file holds.

    Raises:
        FormatError: It cannot be read, or is no JSON.
    """
    with opened(path) as file:
        data = file.read()
    try:
        return parsed(data)
    except ValueError as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise FormatError(
            f"{path} is not valid JSON ({error}). It may be cut short: get it anew from where it "
            "came.",
            path=str(path),
            line=line,
        ) from error
