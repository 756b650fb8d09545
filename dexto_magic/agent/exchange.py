"""What an agent does with all of its sessions: written to files, read from files, gone through.

What a file looks like is in ``formats``; here is which sessions go into it, and what becomes of
those that come: each is there whole or not at all, and none twice. One of the parts of ``agent``,
which has them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dexto_magic.agent.beside import Beside
from dexto_magic.agent.roll import Roll, whole_transcript
from dexto_magic.agent.sessions import SessionMethods
from dexto_magic.cancellation import let_cancel
from dexto_magic.conversation.descent import is_numbered
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.session import MAX_ID_LENGTH, Session, Transcript
from dexto_magic.conversation.transfer import Exported, Imported, Progress, unseen
from dexto_magic.errors import (
    FormatError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    StoreCorruptedError,
)
from dexto_magic.formats import files
from dexto_magic.formats.records import Broken, Loaded

T = TypeVar("T")

_UNFIT = (SessionError, ValueError, OverflowError)
"""What a session is told by that no store can keep, such as one of a time that is out of bounds."""


class ExchangeMethods(SessionMethods):
    """The methods of an agent that are about many sessions at once."""

    async def export_sessions(
        self,
        path: str | os.PathLike[str],
        session_ids: Sequence[str] | None = None,
        *,
        format: str | None = None,  # noqa: A002  # what it is
        replace_file: bool = False,
        progress: Progress = unseen,
    ) -> Exported:
        """Writes sessions to a file; none of it is there before all of it is.

        Args:
            path: The file; the ending of its name says the format: ``.md``, ``.jsonl``, ``.json``
                or ``.ipynb``.
            session_ids: Their names, or ``None`` for all, most recently used first: each of them is
                in it, by what it is called by then. Those that were deleted meanwhile, and those
                that the store cannot read, are told.
            format: The name of the format, if the file's name does not say it.
            replace_file: Whether a file that is there is replaced.
            progress: Shows how far it is; called in another thread.

        Raises:
            SessionNotFoundError: There is no session of one of the names.
            FormatError: The file cannot be written or is there already, or the format cannot hold
                them.
            StoreError: The store cannot be read.
        """
        form = files.format_of(path, format)
        taking = _Taking(Roll(self._membership.store()))
        take: Callable[[str], Coroutine[Any, Any, Transcript | None]]
        if session_ids is None:
            wanted, take = await taking.roll.sids(), taking.any
        else:
            wanted = [(await self._membership.session(name)).id for name in session_ids]
            take = self._whole
        messages = 0

        def transcripts() -> Iterator[Transcript]:
            nonlocal messages
            for one in progress(wanted, len(wanted)):
                transcript = beside.wait(take(one))
                if transcript is not None:
                    messages += len(transcript.messages)
                    messages += len(transcript.others) if form.is_lossless else 0
                    yield transcript

        def write() -> int:
            if not replace_file:
                _refuse_file(path)
            return files.write(transcripts(), path, format=form.name)

        async with Beside() as beside:
            written = await beside.run(write)
        return Exported(
            path=os.fspath(path),
            sessions=written,
            messages=messages,
            lossless=form.is_lossless,
            deleted=tuple(taking.deleted),
            unread=tuple(taking.unread),
        )

    async def survey_sessions(self, work: Callable[[Iterator[Transcript]], T]) -> T:
        """What comes of going through all sessions, each of them once.

        Args:
            work: Is given all that is kept of each, one after another, most recently used first; it
                is called in another thread.

        Raises:
            StoreError: The store cannot be read.
            Exception: Whatever ``work`` raises.
        """
        roll = Roll(self._membership.store())
        sids = await roll.sids()

        def transcripts() -> Iterator[Transcript]:
            for sid in sids:
                transcript = beside.wait(roll.transcript(sid))
                if transcript is not None:  # it was deleted meanwhile
                    yield transcript

        async with Beside() as beside:
            return await beside.run(lambda: work(transcripts()))

    async def import_sessions(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002  # what it is
        progress: Progress = unseen,
    ) -> Imported:
        """Takes the sessions of a file into the store.

        What is there already is left as it is; a name that another session has is given a number.
        Each session is there whole or not at all, so that an import that was stopped half-way can
        be run again.

        Args:
            path: The file: an export of this package (``.jsonl``, ``.ipynb``), messages of the
                OpenAI API, ``conversations.json`` of a ChatGPT export, or ``logs.db`` of the llm
                tool.
            format: The name of its format, or ``None`` to find out by what is in it.
            progress: Shows how far it is; called in another thread.

        Raises:
            FormatError: It cannot be read, or is of no kind that is known. What is broken further
                on is told in the value that is returned.
            StoreError: The store cannot take it.
        """
        self._membership.store()
        made: list[Session] = []
        broken: list[tuple[int, str]] = []
        continues: list[tuple[str, str]] = []
        now = datetime.now(UTC)
        already = number = 0
        async with Beside() as beside:
            incoming = await beside.run(lambda: files.read(path, now=now, format=format))
            shown = beside.each(lambda: progress(incoming.records, incoming.total))
            async with aclosing(shown) as records:
                async for record in records:
                    number += 1
                    shorter = (
                        None if isinstance(record, Broken) else await self._shorter(record, now)
                    )
                    taken = await self._taken(record, number, now)
                    let_cancel()  # what a store has begun it ends, whoever is cancelled
                    if isinstance(taken, Session):
                        made.append(taken)
                        continues += [(taken.id, shorter)] if shorter else []
                    elif isinstance(taken, Broken):
                        broken.append((taken.number, taken.reason))
                    else:
                        already += 1
        return Imported(
            path=os.fspath(path),
            sessions=tuple(made),
            already=already,
            continues=tuple(continues),
            broken=tuple(broken),
        )

    async def _taken(
        self, record: Loaded | Broken, number: int, now: datetime
    ) -> Session | Broken | None:
        """The session that was made of a record, ``None`` if it is there already, or what is wrong."""
        if isinstance(record, Broken):
            return record
        name = record.transcript.session.id
        if not is_numbered(record.transcript):
            reason = f"session {name!r}: its turns are not numbered in order"
            return Broken(number=number, reason=reason)
        try:
            return await self._taken_in(record, now)
        except _UNFIT as error:
            return Broken(number=number, reason=f"session {name!r} cannot be kept: {error}")

    async def _taken_in(self, loaded: Loaded, now: datetime) -> Session | None:
        """The session that was made of a conversation, or ``None`` if it is there already."""
        transcript = loaded.transcript
        names = _names(transcript.session.id)
        name = next(names)
        while await self.restored_session(loaded.identity) is None:
            there = await self.get_session(name)
            if there is not None:
                if await self._holds(there, transcript, now):
                    return None
                name = next(names)
                continue
            named = replace(transcript, session=replace(transcript.session, id=name))
            try:
                session = await self.restore_session(named, source=loaded.identity)
            except SessionExistsError:
                continue  # somebody else made it just now, perhaps of the same conversation
            # Under another name it is what somebody else made of the same conversation just now.
            return session if session.id == name else None
        return None

    async def _shorter(self, loaded: Loaded, now: datetime) -> str | None:
        """The name of the session that a conversation goes on from, as after a later export of it."""
        coming, session = loaded.transcript.messages, loaded.transcript.session
        there = await self.get_session(session.id)
        if there is None or not 0 < there.message_count < len(coming):
            return None
        if session.created_at not in (now, there.created_at):
            return None
        try:
            known = (await self.get_transcript(there.id)).messages
        except SessionNotFoundError:
            return None
        return there.id if _is_same(known, coming[: len(known)], now) else None

    async def _holds(self, there: Session, transcript: Transcript, now: datetime) -> bool:
        """Whether a session holds all of a transcript, as after an export of its own.

        By the ids of messages, or, as not every format has those, by what it begins with.
        """
        coming = transcript.messages
        if not coming:
            return there.message_count == 0 and there.created_at == transcript.session.created_at
        if len(coming) > there.message_count and not transcript.others:
            return False
        try:
            whole = await self.get_transcript(there.id, everything=True)
        except SessionNotFoundError:
            return False  # it was taken away just now
        ids = {message.id for message in (*whole.messages, *whole.others)}
        if ids.issuperset(message.id for message in (*coming, *transcript.others)):
            return True
        if transcript.others or not _is_same(whole.messages[: len(coming)], coming, now):
            return False
        is_dated = any(message.created_at != now for message in coming)
        return is_dated or transcript.session.created_at in (now, there.created_at)

    async def _whole(self, name: str) -> Transcript:
        await self._membership.session(name)  # or it says which names are like it
        return await whole_transcript(self._membership.store(), name)


def _refuse_file(path: str | os.PathLike[str]) -> None:
    """Lets pass where nothing is written yet.

    Raises:
        FormatError: There is a file.
    """
    if Path(path).is_file():
        raise FormatError(
            f"{os.fspath(path)} is there already, and was left as it is. Choose another name, or "
            "add --force to replace it.",
            path=os.fspath(path),
        )


class _Taking:
    """All sessions of a store, taken one by one, and what becomes of that.

    Args:
        roll: The sessions.

    Attributes:
        deleted: The names of those that were deleted meanwhile.
        unread: The names of those that the store cannot read.
    """

    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self.deleted: list[str] = []
        self.unread: list[str] = []

    async def any(self, sid: str) -> Transcript | None:
        """One of them, or ``None`` if that cannot be."""
        try:
            transcript = await self.roll.transcript(sid)
        except StoreCorruptedError:
            self.unread.append(self.roll.name(sid))  # that keeps no other from being exported
            return None
        if transcript is None:
            self.deleted.append(self.roll.name(sid))
        return transcript


def _is_same(known: Sequence[Message], coming: Sequence[Message], now: datetime) -> bool:
    """Whether messages are the same, without their ids: to the moment, if their file tells it.

    Many a conversation begins with the same few words.

    Args:
        known: Those that are there.
        coming: Those of a file.
        now: The time that those have whose file tells none.
    """
    return len(known) == len(coming) and all(
        (one.role, one.content) == (other.role, other.content)
        and other.created_at in (now, one.created_at)
        for one, other in zip(known, coming, strict=True)
    )


def _names(name: str) -> Iterator[str]:
    """The name, and others like it."""
    yield name
    number = 2
    while True:
        suffix = f" ({number})"
        yield name[: MAX_ID_LENGTH - len(suffix)].rstrip() + suffix
        number += 1
