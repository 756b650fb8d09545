"""The durable store: sessions in diskcache's table, on the disk when acknowledged.

This module owns the store's life: its folder, its opening and closing, its two threads, its
owners, and what becomes of it in a forked child. What an operation reads and writes is in
``ledger``.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import anyio

from dexto_magic.conversation.history import Claim, Partial, SessionRecord, Signal, rows_of
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.session import Removal, Session, SessionPage, Transcript
from dexto_magic.errors import SettingsError, StoreError
from dexto_magic.stores.faults import DATABASE, read_only, translation
from dexto_magic.stores.inspection import inspect
from dexto_magic.stores.ledger import Ledger
from dexto_magic.stores.locks import Gate, Liveness, is_alive, sweep
from dexto_magic.stores.protocol import Change, Owner, Store
from dexto_magic.stores.removal import collect, purge
from dexto_magic.stores.rows import encode, message_to_json, partial_to_json
from dexto_magic.stores.table import Table
from dexto_magic.stores.threads import Job, Worker, read_each, write_together

T = TypeVar("T")

_RECOVERY_PATIENCE = 1.0
"""Seconds that a reader waits for the end of a dead turn to be written before it reads on."""


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
        self._home = _absolute(home)
        self._timeout = timeout
        self._now = now
        self._engine: _Engine | None = None

    @property
    def location(self) -> str:
        return str(self._home)

    async def open(self) -> None:
        if self._engine is None:
            engine = _Engine(self._home, timeout=self._timeout, now=self._now)
            try:
                await asyncio.wrap_future(engine.opened)
            except BaseException:
                engine.close()
                raise
            self._engine = engine

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None and engine.pid == os.getpid():
            await asyncio.shield(asyncio.wrap_future(engine.close()))

    async def join(self, label: str) -> Owner:
        engine = await self._running()
        return await _outcome(engine.write_alone(lambda _: engine.join(label)))

    async def leave(self, owner: Owner) -> None:
        engine = await self._running()
        await _outcome(engine.write_alone(lambda _: engine.leave(owner)))

    async def create(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        return await self._write(
            lambda ledger: ledger.create(session_id, model=model, system=system)
        )

    async def get(self, session_id: str) -> Session | None:
        record = await self._read(lambda ledger: ledger.get(session_id))
        if record is not None and await self._recovered(record):
            record = await self._read(lambda ledger: ledger.get(session_id))
        return None if record is None else record.session()

    async def list(self, *, limit: int, cursor: str | None = None) -> SessionPage:
        return await self._read(lambda ledger: ledger.page(limit=limit, cursor=cursor))

    async def transcript(self, session_id: str, *, limit: int | None = None) -> Transcript:
        record, transcript = await self._read(
            lambda ledger: ledger.transcript(session_id, limit=limit)
        )
        if await self._recovered(record):
            _, transcript = await self._read(
                lambda ledger: ledger.transcript(session_id, limit=limit)
            )
        return transcript

    async def update(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        return await self._write(
            lambda ledger: ledger.update(session_id, model=model, system=system)
        )

    async def claim(self, session_id: str, message: Message, owner: Owner) -> Claim:
        return await self._write(lambda ledger: ledger.claim(session_id, message, owner))

    async def save_partial(self, claim: Claim, message: Message) -> None:
        # Replies may be long: they are encoded here, before the transaction that keeps others out.
        partial = Partial(epoch=claim.epoch, turn=claim.message.turn, message=message)
        row = encode(partial_to_json(partial))
        await self._write(lambda ledger: ledger.save_partial(claim, row))

    async def settle(self, claim: Claim, rows: Sequence[Message]) -> Session:
        replies = rows_of(claim, rows)
        encoded = [encode(message_to_json(reply)) for reply in replies]
        return await self._write(lambda ledger: ledger.settle(claim, replies, encoded))

    async def watch(self, claim: Claim) -> Signal:
        return await self._read(lambda ledger: ledger.signal(claim))

    async def request_cancel(self, session_id: str) -> bool:
        return await self._write(lambda ledger: ledger.request_cancel(session_id))

    async def reset(self, session_id: str) -> Removal:
        return await self._purged(await self._write(lambda ledger: ledger.reset(session_id)))

    async def delete(self, session_id: str) -> Removal:
        return await self._purged(await self._write(lambda ledger: ledger.delete(session_id)))

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

    async def _running(self) -> _Engine:
        if self._engine is not None and self._engine.pid != os.getpid():
            # A forked child: threads, locks and connections are the parent's. They are kept from
            # being collected, as that would close SQLite's descriptors.
            _PARENTS.append(self._engine)
            self._engine = None
            await self.open()
        if self._engine is None:
            raise StoreError(
                f"The store in {self._home} is not open: call open() first.", path=str(self._home)
            )
        return self._engine

    async def _read(self, step: Callable[[Ledger], T]) -> T:
        return await _outcome((await self._running()).read(step))

    async def _write(self, step: Callable[[Ledger], T]) -> T:
        return await _outcome((await self._running()).write(step))

    async def _recovered(self, record: SessionRecord) -> bool:
        """Whether a dead turn of the session was ended just now, so that it must be read again."""
        engine = await self._running()
        if record.open is None or engine.runs(record.open.owner):
            return False
        try:
            async with asyncio.timeout(_RECOVERY_PATIENCE):
                ended = await self._write(lambda ledger: ledger.recover(record.sid))
        except (TimeoutError, StoreError):
            return False  # reading goes on while nobody can write
        return ended

    async def _purged(self, removal: Removal) -> Removal:
        """Collects what a removal left; what cannot be collected now is tried again later."""
        engine = await self._running()
        try:
            while not await _outcome(engine.write_alone(collect)):
                pass
            purged = await _outcome(engine.write_alone(purge))
        except StoreError:
            purged = False
        engine.purge_pending |= not purged
        return replace(removal, purge_pending=not purged)


class _Engine:
    """One opening of a store: its table, gate, threads and owners, of one process."""

    def __init__(self, home: Path, *, timeout: float, now: Callable[[], datetime]) -> None:
        self.pid = os.getpid()
        self.purge_pending = False
        self._home = home
        self._timeout = timeout
        self._now = now
        self._gate: Gate | None = None
        self._table: Table | None = None
        self._ledger: Ledger | None = None
        self._owners: dict[str, Liveness] = {}
        self._closing = False
        self._reader = Worker("dexto-store-reader", self._handle_reads, self._end_reads)
        self._writer = Worker("dexto-store-writer", self._handle_writes, self._end_writes)
        self.opened = self._writer.submit(Job(self._open))

    def read(self, step: Callable[[Ledger], T]) -> Future[T]:
        """Has a step done by the reading thread."""
        assert self._ledger is not None
        return self._reader.submit(Job(functools.partial(step, self._ledger)))

    def write(self, step: Callable[[Ledger], T]) -> Future[T]:
        """Has a step done by the writing thread, in a transaction."""
        assert self._ledger is not None
        return self._writer.submit(Job(functools.partial(step, self._ledger)))

    def write_alone(self, work: Callable[[Table], T]) -> Future[T]:
        """Has something done by the writing thread, inside the gate but in no transaction."""
        assert self._table is not None
        return self._writer.submit(Job(functools.partial(work, self._table), alone=True))

    def join(self, label: str) -> Owner:
        """A new owner; to be called by the writing thread."""
        liveness = Liveness(self._owners_folder, label)
        self._owners[liveness.owner.id] = liveness
        return liveness.owner

    def leave(self, owner: Owner) -> None:
        """Ends an owner; to be called by the writing thread."""
        liveness = self._owners.pop(owner.id, None)
        if liveness is not None:
            liveness.end()

    def runs(self, owner_id: str) -> bool:
        """Whether the owner is one of this opening's."""
        return owner_id in self._owners

    def close(self) -> Future[None]:
        """Finishes what waits, then lets go of everything; the future tells when."""
        self._closing = True
        return self._writer.stop()

    @property
    def _owners_folder(self) -> Path:
        return self._home / "owners"

    def _open(self) -> None:
        folder = self._home / "sessions"
        if (folder / DATABASE).exists() and not os.access(folder, os.W_OK):
            inspect(folder)
            self._use(Table(folder, timeout=self._timeout, read_only=True))
            return
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._owners_folder.mkdir(mode=0o700, exist_ok=True)
            self._gate = Gate(self._home / "gate.lock", timeout=self._timeout)
        except OSError as error:
            raise translation(error, self._home) from error
        with self._gate.entered(given_up=lambda: self._closing) as inside:
            if inside:
                inspect(folder)
                ledger = self._use(Table(folder, timeout=self._timeout))
                ledger.initialise()
                sweep(self._owners_folder)
                # Opening a connection may write, so the reader's is opened in here, too.
                self._reader.submit(Job(ledger.touch)).result()
                self._writer.submit(Job(self._purge, alone=True))

    def _use(self, table: Table) -> Ledger:
        self._table = table
        self._ledger = Ledger(table, is_alive=self._is_alive, now=self._now)
        return self._ledger

    def _is_alive(self, owner_id: str) -> bool:
        return owner_id in self._owners or is_alive(self._owners_folder, owner_id)

    def _handle_reads(self, batch: Sequence[Job[Any]]) -> None:
        read_each(batch, self._reader.lock)

    def _handle_writes(self, batch: Sequence[Job[Any]]) -> None:
        if self._table is None:
            read_each(batch, self._writer.lock)  # the opening itself
        elif self._gate is None:
            for job in batch:
                if job.future.set_running_or_notify_cancel():
                    job.future.set_exception(read_only(self._home))
        else:
            write_together(batch, self._writer.lock, gate=self._gate, table=self._table)
            if self.purge_pending and not all(job.alone for job in batch):
                self._writer.submit(Job(self._purge, alone=True))

    def _purge(self) -> None:
        """Collects what earlier removals left, some at a time so that others get their turn."""
        assert self._table is not None
        if collect(self._table):
            self.purge_pending = not purge(self._table)
        else:
            self._writer.submit(Job(self._purge, alone=True))

    def _end_reads(self) -> None:
        if self._table is not None:
            self._table.close()

    def _end_writes(self) -> None:
        with ExitStack() as stack:
            if self._gate is not None:
                stack.callback(self._gate.close)
                with suppress(StoreError):  # who is kept waiting for ever must still let go
                    stack.enter_context(self._gate.entered())
            for liveness in self._owners.values():
                liveness.end()
            self._owners.clear()
            self._reader.stop().result()
            self._end_reads()


_PARENTS: list[_Engine] = []


def _absolute(home: str | os.PathLike[str]) -> Path:
    try:
        return Path(home).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(
            f"The store cannot be in {os.fspath(home)!r}: no user of that name has a home here. Name "
            "another folder.",
            option="store",
        ) from error


async def _outcome(future: Future[T]) -> T:
    """Waits for a job; cancelled, it drops one that has not begun, else waits for it still."""
    waiter = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiter)
    except asyncio.CancelledError:
        if future.cancel():
            raise
        with anyio.CancelScope(shield=True):
            result = await waiter
        return result  # noqa: RET504  # for the type checker a cancel scope may swallow
