"""Sessions out of a store into a file, and from a file into a store.

What a file looks like is in ``formats``; here is which sessions go into it, and what becomes of
those that come: each is there whole or not at all, and none twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.conversation.descent import is_numbered
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.session import MAX_ID_LENGTH, Session, Transcript
from dexto_magic.conversation.transfer import Exported, Imported
from dexto_magic.errors import (
    FormatError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
)
from dexto_magic.formats import files
from dexto_magic.formats.records import Broken, Loaded

T = TypeVar("T")

Progress: TypeAlias = Callable[[Iterable[Any], int | None], Iterable[Any]]
"""Passes items on and shows how many there were, of how many if that is known, as tqdm does."""

SUFFIXES = frozenset(suffix for form in files.FORMATS.values() for suffix in form.suffixes)
"""Endings of names by which a file to be written is told from a session."""

LOSSLESS = "jsonl"
"""The format that keeps everything."""

_UNFIT = (SessionError, ValueError, OverflowError)
"""What a session is told by that no store can keep, such as one of a time that is out of bounds."""


def unseen(items: Iterable[T], _total: int | None) -> Iterable[T]:
    """Passes items on and shows nothing."""
    return items


def export_sessions(
    agent: DextoAgent,
    path: str | os.PathLike[str],
    session_ids: Sequence[str] | None = None,
    *,
    format: str | None = None,  # noqa: A002  # what it is
    replace_file: bool = False,
    progress: Progress = unseen,
) -> Exported:
    """Writes sessions to a file; none of it is there before all of it is.

    Args:
        agent: The agent, started.
        path: The file; the ending of its name says the format: ``.md``, ``.jsonl``, ``.json`` or
            ``.ipynb``.
        session_ids: Their names, or ``None`` for all, most recently used first.
        format: The name of the format, if the file's name does not say it.
        replace_file: Whether a file that is there is replaced.
        progress: Shows how far it is.

    Raises:
        SessionNotFoundError: There is no session of one of the names.
        FormatError: The file cannot be written or is there already, or the format cannot hold them.
        StoreError: The store cannot be read.
    """
    form = files.format_of(path, format)
    if Path(path).is_file() and not replace_file:
        raise FormatError(
            f"{os.fspath(path)} is there already, and was left as it is. Choose another name, or "
            "add --force to replace it.",
            path=os.fspath(path),
        )
    if session_ids is None:
        names = [session.id for session in agent.list_sessions()]
    else:
        names = [agent.get_transcript(name, limit=0).session.id for name in session_ids]
    messages = 0

    def transcripts() -> Iterator[Transcript]:
        nonlocal messages
        for name in progress(names, len(names)):
            try:
                transcript = whole_transcript(agent, name)
            except SessionNotFoundError:
                if session_ids is not None:
                    raise
                continue  # deleted meanwhile
            messages += len(transcript.messages)
            messages += len(transcript.others) if form.name == LOSSLESS else 0
            yield transcript

    written = files.write(transcripts(), path, format=form.name)
    return Exported(
        path=os.fspath(path),
        sessions=written,
        messages=messages,
        lossless=form.name == LOSSLESS,
    )


def whole_transcript(agent: DextoAgent, session_id: str) -> Transcript:
    """All that is kept of a session, the bytes of its attachments included.

    Raises:
        SessionNotFoundError: There is no such session.
        StoreError: The store cannot be read.
    """
    transcript = agent.get_transcript(session_id, everything=True)
    said = (*transcript.messages, *transcript.others)
    digests = {attachment.digest for message in said for attachment in message.attachments}
    found = {digest: agent.get_attachment(session_id, digest) for digest in sorted(digests)}
    kept = {digest: content for digest, content in found.items() if content is not None}
    return replace(transcript, files=kept)


def import_sessions(
    agent: DextoAgent,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002  # what it is
    progress: Progress = unseen,
) -> Imported:
    """Takes the sessions of a file into the store.

    What is there already is left as it is; a name that another session has is given a number. Each
    session is there whole or not at all, so that an import that was stopped half-way can be run
    again.

    Args:
        agent: The agent, started.
        path: The file: an export of this package (``.jsonl``, ``.ipynb``), messages of the OpenAI
            API, ``conversations.json`` of a ChatGPT export, or ``logs.db`` of the llm tool.
        format: The name of its format, or ``None`` to find out by what is in it.
        progress: Shows how far it is.

    Raises:
        FormatError: It cannot be read, or is of no kind that is known. What is broken further on is
            told in the value that is returned.
        StoreError: The store cannot take it.
    """
    incoming = files.read(path, now=datetime.now(UTC), format=format)
    made: list[Session] = []
    broken: list[tuple[int, str]] = []
    already = 0
    for number, record in enumerate(progress(incoming.records, incoming.total), start=1):
        if isinstance(record, Broken):
            broken.append((record.number, record.reason))
            continue
        name = record.transcript.session.id
        if not is_numbered(record.transcript):
            broken.append((number, f"session {name!r}: its turns are not numbered in order"))
            continue
        try:
            session = _taken_in(agent, record)
        except _UNFIT as error:
            broken.append((number, f"session {name!r} cannot be kept: {error}"))
            continue
        if session is not None:
            made.append(session)
        else:
            already += 1
    return Imported(
        path=os.fspath(path), sessions=tuple(made), already=already, broken=tuple(broken)
    )


def _taken_in(agent: DextoAgent, loaded: Loaded) -> Session | None:
    """The session that was made of a conversation, or ``None`` if it is there already."""
    if agent.restored_session(loaded.identity) is not None:
        return None
    transcript = loaded.transcript
    for name in _names(transcript.session.id):
        there = agent.get_session(name)
        if there is not None and _holds(agent, there, transcript):
            return None
        if there is None:
            named = replace(transcript, session=replace(transcript.session, id=name))
            with suppress(SessionExistsError):  # somebody else made it just now
                return agent.restore_session(named, source=loaded.identity)
    raise AssertionError("there is always another name")


def _holds(agent: DextoAgent, there: Session, transcript: Transcript) -> bool:
    """Whether a session holds all of a transcript, as after an export of its own.

    By the ids of messages, or, as not every format has those, by what it begins with.
    """
    coming = transcript.messages
    if not coming:
        return there.message_count == 0 and there.created_at == transcript.session.created_at
    if len(coming) > there.message_count and not transcript.others:
        return False
    whole = agent.get_transcript(there.id, everything=True)
    ids = {message.id for message in (*whole.messages, *whole.others)}
    if ids.issuperset(message.id for message in (*coming, *transcript.others)):
        return True
    first = whole.messages[: len(coming)]
    return not transcript.others and [_said(m) for m in first] == [_said(m) for m in coming]


def _said(message: Message) -> tuple[str, str]:
    return message.role, message.content


def _names(name: str) -> Iterator[str]:
    """The name, and others like it."""
    yield name
    number = 2
    while True:
        suffix = f" ({number})"
        yield name[: MAX_ID_LENGTH - len(suffix)].rstrip() + suffix
        number += 1
