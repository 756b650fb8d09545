"""What every loader gives, and the care that every foreign conversation needs.

A loader yields one record after the other, so that a caller can show how far it is, and so that one
that is damaged costs no other.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, BinaryIO

from dexto_magic.conversation.history import automatic_title
from dexto_magic.conversation.messages import Message, Usage
from dexto_magic.conversation.session import (
    JOINERS,
    MAX_ID_LENGTH,
    Session,
    Transcript,
    valid_session_id,
)
from dexto_magic.errors import FormatError, InvalidSessionIdError

MAX_TURN = 1_000_000
"""The highest number of a turn that is taken from a file: who keeps a conversation makes room for
all numbers up to it."""

_BEGINNING = 4096


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A conversation that was read.

    Attributes:
        transcript: The conversation; its session's name is a proposal, valid but maybe taken.
        identity: The same for the same conversation in the same state, wherever the file is.
    """

    transcript: Transcript
    identity: str


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Something that could not be read; what could be is given all the same.

    Attributes:
        number: Its place in the file, counted from 1.
        reason: What it is and what is wrong with it, in a sentence.
    """

    number: int
    reason: str


def identity_of(format_name: str, record: Any) -> str:
    """What tells a conversation of a file from all others, and from itself once it has grown.

    Args:
        format_name: The name of the format.
        record: What the file holds of it, as JSON.

    Raises:
        ValueError: The record is nested too deeply for anybody.
    """
    # Not orjson: it refuses lone surrogates, and numbers as large as some files hold.
    try:
        text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return f"{format_name}:{hashlib.sha256(text.encode()).hexdigest()}"


def identity_of_messages(format_name: str, said: Iterable[Message], source: str = "") -> str:
    """The same for what was put together of many pieces: by what was said, and not when it was read.

    Args:
        format_name: The name of the format.
        said: The messages.
        source: What the file calls the conversation.

    Raises:
        ValueError: Something in it is nested too deeply for anybody.
    """
    record = [
        [
            [message.role, message.content, message.status, message.model, message.reasoning],
            [vars(call) for call in message.tool_calls],
            [vars(attachment) for attachment in message.attachments],
        ]
        for message in said
    ]
    return identity_of(format_name, [source, record])


def session_name(text: object, fallback: str) -> str:
    """A name that a session can have, as like the text as can be.

    Args:
        text: A title, a file's name or anything else.
        fallback: The name where nothing of the text is left; a valid one.
    """
    try:
        return valid_session_id((one_line(text) or "")[:MAX_ID_LENGTH].strip())
    except InvalidSessionIdError:  # nothing of it can be seen
        return fallback


def one_line(text: object) -> str | None:
    """A title without anything that cannot be seen, in NFC; ``None`` if nothing is left of it."""
    if not isinstance(text, str):
        return None
    shown = (
        character if character.isprintable() or character in JOINERS else " "
        for character in unicodedata.normalize("NFC", text)
    )
    line = " ".join("".join(shown).split())
    return line if line.strip(JOINERS) else None


def system_prompt(texts: Iterable[str]) -> str | None:
    """One system prompt made of all that are not empty, each once; ``None`` if there is none."""
    return "\n\n".join(dict.fromkeys(text for text in texts if text.strip())) or None


def told(
    said: Sequence[Message],
    *,
    name: str,
    now: datetime,
    title: str | None = None,
    system: str | None = None,
    created_at: datetime | None = None,
    updated_at: datetime | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Transcript:
    """A conversation of foreign messages, with ids and turns of our own.

    Args:
        said: The messages in order; their ids and turns do not matter.
        name: The session's name, a valid one.
        now: The time of what has none.
        title: The title that a person chose, or ``None`` for one made of the first prompt.
        system: The system prompt.
        created_at: When it began, or ``None`` if only its messages tell.
        updated_at: When it was last used, likewise.
        files: The bytes of attachments by their digest.
    """
    messages = tuple(_numbered(said, now))
    asked = next((message.content for message in messages if message.role == "user"), "")
    times = [message.created_at for message in messages] or [now]
    spent = (message.usage for message in messages if message.usage is not None)
    session = Session(
        id=name,
        title=title or automatic_title(asked) or None,
        own_title=title is not None,
        created_at=created_at or min(times),
        updated_at=updated_at or max(times),
        message_count=len(messages),
        turn_count=messages[-1].turn if messages else 0,
        system=system,
        usage=reduce(add, spent, Usage()),
    )
    return Transcript(session=session, messages=messages, files=files or {})


def _numbered(said: Iterable[Message], now: datetime) -> Iterator[Message]:
    """The messages with their turns: each begins with a user message, the first with whatever is."""
    turn = 0
    for position, message in enumerate(said):
        turn += message.role == "user" or turn == 0
        yield replace(message, id=_message_id(position, message, now), turn=turn)


def _message_id(position: int, message: Message, now: datetime) -> str:
    """An id that the same message of the same file has each time that it is read.

    Its time is in it if the file tells it: conversations begin with the same words too often.
    """
    when = "" if message.created_at == now else message.created_at.isoformat()
    said = f"{position}\0{message.role}\0{when}\0{message.content}"
    text = said.encode("utf-8", "surrogatepass")
    return f"msg_{hashlib.sha256(text).hexdigest()[:12]}"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading.

    Raises:
        FormatError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise unreadable(path, error) from error


def beginning(path: Path) -> bytes:
    """The first bytes of a file, behind a byte order mark and white space.

    Raises:
        FormatError: It cannot be read.
    """
    with opened(path) as file:
        return file.read(_BEGINNING).removeprefix(BOM_UTF8).lstrip()


def unreadable(path: Path, error: OSError) -> FormatError:
    """The error for a file that the system does not give."""
    why = error.strerror or str(error)
    return FormatError(f"{path} cannot be read: {why}. Check its name.", path=str(path))
