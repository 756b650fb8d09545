"""The durable store: sessions in diskcache's table, on the disk when acknowledged.

This module owns what an event loop sees: who waits for what, what a cancellation does, and what
becomes of the store in a forked child. Its threads, locks and files are in ``engine``, and what an
operation reads and writes is in ``ledger``.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, Unpack

from dexto_magic.cancellation import settled
from dexto_magic.conversation.health import StoreReport
from dexto_magic.conversation.history import Signal, rows_of
from dexto_magic.conversation.messages import Aside, Message
from dexto_magic.conversation.record import Claim, Hold, Partial, SessionChanges, SessionRecord
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    TurnChange,
)
from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.conversation.wire import aside_to_json, message_to_json
from dexto_magic.errors import SessionError, StoreError
from dexto_magic.settings import folder
from dexto_magic.stores import backups, construction, errands, restoring, revision
from dexto_magic.stores.codec import encode
from dexto_magic.stores.engine import SIDE_FOLDER, Engine
from dexto_magic.stores.examination import examined
from dexto_magic.stores.ledger import Ledger
from dexto_magic.stores.protocol import Change, Owner, Rows, Store, Tell
from dexto_magic.stores.rows import partial_to_json
from dexto_magic.stores.waiting import outcome, waiter_of

T = TypeVar("T")

_RECOVERY_PATIENCE = 1.0
"""Seconds that a reader waits for the end of a dead turn to be written before it reads on."""


_ATTEMPTS = 3
"""How often a fork is begun anew because what it comes from lost turns meanwhile."""


class DiskStore(Store):
    """Sessions in a folder, safe from kills and crashes, shared by any number of processes.

    The folder holds ``sessions/`` (the database), ``gate.lock`` and ``owners/``; all of it is for
    this user only.

    Args:
        home: The folder; made when the store is opened.
        timeout: Seconds to wait for another process that writes, before ``StoreBusyError``.
        now: The clock; UTC.

    Raises:
        SettingsError: The folder is that of a user who is not known here.
    """

    def __init__(
        self,
        home: str | os.PathLike[str],
        *,
        timeout: float = 30.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._home = folder(home).absolute()
        self._timeout = timeout
        self._now = now
        self._engine: Engine | None = None

    @property
    def location(self) -> str:
        return str(self._home)

    @property
    def side_folder(self) -> Path | None:
        return self._home / SIDE_FOLDER

    async def generation(self) -> str:
        return await self._read(Ledger.generation)

    async def open(self) -> None:
        engine = self._mine() or self._begin()
        await self._opened(engine)
        warning, engine.warning = engine.warning, None
        if warning is not None:
            warnings.warn(warning, stacklevel=2)

    async def close(self) -> None:
        engine, self._engine = self._mine(), None
        if engine is not None:
            await settled(waiter_of(engine.close()))

    async def examine(self) -> StoreReport:
        return await errands.done(lambda errand: examined(self._home, errand))

    async def back_up(self, path: Path, *, replace_file: bool, tell: Tell) -> BackedUp:
        return await errands.done(
            lambda errand: backups.back_up(
                self._home, path, replace_file=replace_file, errand=errand, tell=tell
            )
        )

    async def restore_backup(self, path: Path, *, before: Path | None, tell: Tell) -> Restored:
        task = restoring.Task(
            home=self._home, path=path, before=before, timeout=self._timeout, now=self._now
        )
        done = await errands.done(lambda errand: restoring.restored(task, errand, tell))
        engine = self._mine()
        if done.purge_pending and engine is not None and engine.is_open:
            engine.purge()
        return done

    async def join(self, label: str) -> Owner:
        return await outcome((await self._running()).join(label))

    async def leave(self, owner: Owner) -> None:
        engine = self._mine()
        if engine is not None:
            engine.leave(owner)

    async def create(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        return await self._write(
            lambda ledger: ledger.create(session_id, model=model, system=system)
        )

    async def get(self, session_id: str) -> Session | None:
        def look(ledger: Ledger) -> tuple[SessionRecord | None, Session | None]:
            record = ledger.get(session_id)
            return record, None if record is None else record.session()

        return await self._read_ended(look)

    async def list(self, *, limit: int, cursor: str | None = None) -> SessionPage:
        return await self._read(lambda ledger: ledger.page(limit=limit, cursor=cursor))

    async def transcript(
        self, session_id: str, *, limit: int | None = None, everything: bool = False
    ) -> Transcript:
        if everything:
            return await self._read_ended(lambda ledger: ledger.everything(session_id))
        return await self._read_ended(lambda ledger: ledger.transcript(session_id, limit=limit))

    async def held(self, hold: Hold) -> Transcript:
        return await self._read(lambda ledger: ledger.held(hold))

    async def rows(self, sid: str, *, epoch: int = -1, start: int = 0) -> Rows | None:
        return await self._read(lambda ledger: ledger.rows(sid, epoch=epoch, start=start))

    async def file(self, session_id: str, digest: str) -> bytes | None:
        return await self._read(lambda ledger: ledger.file(session_id, digest))

    async def update(self, session_id: str, **changes: Unpack[SessionChanges]) -> Session:
        untitled = None
        if changes.get("title") == "":
            untitled = await self._read(lambda ledger: ledger.untitled(session_id))
        return await self._write(lambda ledger: ledger.update(session_id, changes, untitled))

    async def rename(self, session_id: str, new_id: str) -> Session:
        return await self._write(lambda ledger: ledger.rename(session_id, new_id))

    async def claim(
        self,
        session_id: str,
        message: Message,
        owner: Owner,
        *,
        revises: int | None = None,
        asked: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Claim:
        return await self._write(
            lambda ledger: ledger.claim(
                session_id, message, owner, revises=revises, asked=asked, files=files or {}
            )
        )

    async def save_partial(self, claim: Claim, message: Message) -> None:
        # Replies may be long: they are encoded here, before the transaction that keeps others out.
        partial = Partial(epoch=claim.epoch, turn=claim.message.turn, message=message)
        row = encode(partial_to_json(partial))
        await self._write(lambda ledger: ledger.save_partial(claim, row))

    async def settle(self, claim: Claim, rows: Sequence[Message]) -> Session:
        replies = rows_of(claim, rows)
        encoded = [encode(message_to_json(reply)) for reply in replies]
        return await self._write(lambda ledger: ledger.settle(claim, replies, encoded))

    async def hold(self, session_id: str, owner: Owner) -> Hold:
        return await self._write(lambda ledger: ledger.hold(session_id, owner))

    async def release(self, hold: Hold) -> None:
        await self._write(lambda ledger: ledger.release(hold))

    async def note(self, session_id: str, aside: Aside, *, hold: Hold | None = None) -> Session:
        row = encode(aside_to_json(aside))
        return await self._write(lambda ledger: ledger.note(session_id, aside, row, hold=hold))

    async def undo(self, session_id: str) -> TurnChange:
        return await self._write(lambda ledger: revision.undo(ledger.entries, session_id))

    async def redo(self, session_id: str) -> TurnChange:
        return await self._write(lambda ledger: revision.redo(ledger.entries, session_id))

    async def forget(self, session_id: str, turn: int) -> Removal:
        known = await self._read(lambda ledger: revision.holders(ledger.entries, session_id, turn))
        return await self._remove(
            lambda ledger: revision.forget(ledger.entries, session_id, turn, known)
        )

    async def fork(self, session_id: str, new_id: str, *, turn: int | None = None) -> Session:
        engine = await self._running()
        for _ in range(_ATTEMPTS):
            session = await construction.forked(engine, session_id, new_id, turn)
            if session is not None:
                return session
        raise SessionError(
            f"Session {session_id!r} was reset, or turns of it were forgotten, again and again "
            "while it was forked. Nothing was forked; try again.",
            session_id=session_id,
        )

    async def restore(self, transcript: Transcript, *, source: str | None = None) -> Session:
        return await construction.restored(await self._running(), transcript, source)

    async def restored(self, source: str) -> Session | None:
        return await self._read(lambda ledger: ledger.restored(source))

    async def watch(self, claim: Hold) -> Signal:
        return await self._read(lambda ledger: ledger.signal(claim))

    async def request_cancel(self, session_id: str) -> bool:
        return await self._write(lambda ledger: ledger.request_cancel(session_id))

    async def reset(self, session_id: str) -> Removal:
        return await self._remove(lambda ledger: ledger.reset(session_id))

    async def delete(self, session_id: str) -> Removal:
        return await self._remove(lambda ledger: ledger.delete(session_id))

    async def changes(self, since: int, *, limit: int) -> Sequence[Change]:
        return await self._read(lambda ledger: ledger.changes(since, limit=limit))

    async def set_home(self, session_id: str, notebook: str, marks: Sequence[str]) -> Session:
        return await self._write(lambda ledger: ledger.set_home(session_id, notebook, marks))

    async def home_session(self, notebook: str) -> Session | None:
        return await self._read(lambda ledger: ledger.home_session(notebook))

    async def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        return await self._read(lambda ledger: ledger.knows_marks(session_id, marks))

    async def sessions_of_marks(self, marks: Sequence[str]) -> Sequence[Session]:
        return await self._read(lambda ledger: ledger.sessions_of_marks(marks))

    def _mine(self) -> Engine | None:
        """The engine, unless it is a parent's: its threads, locks and connections are not ours."""
        engine = self._engine
        if engine is not None and engine.is_inherited:
            # Kept from being collected, as that would close SQLite's descriptors.
            _PARENTS.add(engine)
            return None
        return engine

    def _begin(self) -> Engine:
        """Begins to open it. There is one opening at a time, for all who wait for it."""
        self._engine = Engine(self._home, timeout=self._timeout, now=self._now)
        return self._engine

    async def _opened(self, engine: Engine) -> None:
        """Waits until it is open. If it fails, or if the last who waits gives up, it is closed."""
        if engine.is_open:
            return
        engine.waiting += 1
        waiter = waiter_of(engine.opened)
        try:
            await asyncio.wait([waiter])
            waiter.result()
        except BaseException:
            if engine.is_open:
                return  # cancelled too late
            if engine.opened.done() or engine.waiting == 1:
                if self._engine is engine:
                    self._engine = None
                await settled(waiter_of(engine.close()))
            raise
        finally:
            engine.waiting -= 1

    async def _running(self) -> Engine:
        if self._engine is None:
            raise StoreError(
                f"The store in {self._home} is not open: call open() first.", path=str(self._home)
            )
        engine = self._mine() or self._begin()
        await self._opened(engine)
        return engine

    async def _read(self, step: Callable[[Ledger], T]) -> T:
        return await outcome((await self._running()).read(step))

    async def _write(self, step: Callable[[Ledger], T]) -> T:
        return await outcome((await self._running()).write(step))

    async def _read_ended(self, step: Callable[[Ledger], tuple[SessionRecord | None, T]]) -> T:
        """What a step reads of the session whose record it gives, no turn of it left by the dead."""

        def look(ledger: Ledger) -> tuple[T, str | None]:
            record, found = step(ledger)
            with suppress(StoreError):  # reading goes on while nobody can tell
                if record is not None and ledger.entries.is_abandoned(record):
                    return found, record.sid
            return found, None

        engine = await self._running()
        found, abandoned = await outcome(engine.read(look))
        if abandoned is not None and await _recovered(engine, abandoned):
            found, _ = await outcome(engine.read(look))
        return found

    async def _remove(self, step: Callable[[Ledger], Removal]) -> Removal:
        engine = await self._running()
        removal = await outcome(engine.remove(step))
        # The session or its messages are gone: from here on, nothing may keep that from being told.
        try:
            purged = await outcome(engine.purge())
        except (StoreError, asyncio.CancelledError):
            purged = False  # it goes on, or is tried again later
        return replace(removal, purge_pending=not purged)


_PARENTS: set[Engine] = set()


async def _recovered(engine: Engine, sid: str) -> bool:
    """Whether a dead turn of the session was ended just now, so that it must be read again."""
    try:
        async with asyncio.timeout(_RECOVERY_PATIENCE):
            return await outcome(engine.write(lambda ledger: ledger.recover(sid)))
    except (TimeoutError, StoreError):
        return False  # reading goes on while nobody can write
