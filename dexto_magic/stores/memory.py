"""A store in memory: the reference for what a store does, and a store for tests and throw-aways.

It is as plain as can be, so that a difference between it and another store is that store's fault.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from dexto_magic.conversation import history
from dexto_magic.conversation.history import Claim, Partial, SessionRecord, Signal
from dexto_magic.conversation.messages import Message, new_id
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    not_found,
    taken,
)
from dexto_magic.stores.protocol import Change, Owner, Store


class MemoryStore(Store):
    """Sessions in this process's memory, gone with it.

    Everything happens in one step of one event loop, so every method is atomic by nature.

    Args:
        now: The clock; UTC.
    """

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._sids: dict[str, str] = {}
        self._records: dict[str, SessionRecord] = {}
        self._rows: dict[str, list[Message]] = {}
        self._partials: dict[str, Partial] = {}
        self._homes: dict[str, str] = {}
        self._owners: set[str] = set()
        self._uses: dict[str, int] = {}
        self._changes: dict[str, int] = {}
        self._steps = itertools.count(1)

    @property
    def location(self) -> str:
        return "memory"

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def join(self, label: str) -> Owner:
        owner = Owner(id=new_id("own"), holder=f"{label} (process {os.getpid()})")
        self._owners.add(owner.id)
        return owner

    async def leave(self, owner: Owner) -> None:
        self._owners.discard(owner.id)

    async def create(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        if session_id in self._sids:
            raise taken(session_id)
        now = self._now()
        record = SessionRecord(
            sid=new_id("s"), id=session_id, created_at=now, used_at=now, model=model, system=system
        )
        self._sids[session_id] = record.sid
        self._rows[record.sid] = []
        return self._put(record, used=True)

    async def get(self, session_id: str) -> Session | None:
        if session_id not in self._sids:
            return None
        return self._recovered(self._record(session_id)).session()

    async def list(self, *, limit: int, cursor: str | None = None) -> SessionPage:
        if limit == 0:
            return SessionPage(sessions=(), cursor=cursor)
        before = math.inf if cursor is None else int(cursor, 16)
        older = [sid for sid in self._newest_first() if self._uses[sid] < before]
        page = older[:limit]
        return SessionPage(
            sessions=tuple(self._records[sid].session() for sid in page),
            cursor=f"{self._uses[page[-1]]:016x}" if len(older) > limit else None,
        )

    async def transcript(self, session_id: str, *, limit: int | None = None) -> Transcript:
        record = self._recovered(self._record(session_id))
        messages = [row for row in self._rows[record.sid] if record.shows(row)]
        return Transcript(
            session=record.session(),
            messages=tuple(messages if limit is None else messages[len(messages) - limit :]),
        )

    async def update(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        record = self._record(session_id)
        return self._put(history.updated(record, model=model, system=system))

    async def claim(self, session_id: str, message: Message, owner: Owner) -> Claim:
        record = self._recovered(self._record(session_id))
        if record.open is not None:
            raise history.busy(record)
        record, claim = history.opened(
            record, message, owner=owner.id, holder=owner.holder, now=self._now()
        )
        self._rows[record.sid].append(claim.message)
        self._put(record, used=True)
        return claim

    async def save_partial(self, claim: Claim, message: Message) -> None:
        history.fence(self._records.get(claim.sid), claim)
        self._partials[claim.sid] = Partial(
            epoch=claim.epoch, turn=claim.message.turn, message=message
        )

    async def settle(self, claim: Claim, rows: Sequence[Message]) -> Session:
        record = history.fence(self._records.get(claim.sid), claim)
        replies = history.rows_of(claim, rows)
        self._partials.pop(record.sid, None)
        self._rows[record.sid].extend(replies)
        return self._put(history.settled(record, replies, now=self._now()), used=True)

    async def watch(self, claim: Claim) -> Signal:
        return history.signal(self._records.get(claim.sid), claim)

    async def request_cancel(self, session_id: str) -> bool:
        record = self._recovered(self._record(session_id))
        if record.open is None:
            return False
        self._put(replace(record, open=replace(record.open, cancel=True)))
        return True

    async def reset(self, session_id: str) -> Removal:
        record = self._record(session_id)
        self._rows[record.sid] = []
        self._partials.pop(record.sid, None)
        self._put(history.emptied(record))
        return self._removal(record, deleted=False)

    async def delete(self, session_id: str) -> Removal:
        record = self._record(session_id)
        for kept in (self._records, self._rows):
            del kept[record.sid]
        self._partials.pop(record.sid, None)
        del self._sids[session_id]
        del self._uses[record.sid]
        self._homes = {path: sid for path, sid in self._homes.items() if sid != record.sid}
        self._changed(record.sid)
        return self._removal(record, deleted=True)

    async def changes(self, since: int, *, limit: int) -> Sequence[Change]:
        newer = sorted((number, sid) for sid, number in self._changes.items() if number > since)
        return [
            Change(
                number=number,
                sid=sid,
                session_id=self._records[sid].id if sid in self._records else None,
            )
            for number, sid in newer[:limit]
        ]

    async def set_home(self, session_id: str, notebook: str, marks: Sequence[str]) -> Session:
        record = self._record(session_id)
        before = self._homes.get(notebook)
        if before is not None and before != record.sid:
            self._put(history.homeless(self._records[before], marks))
        if record.home is not None:
            del self._homes[record.home]
        self._homes[notebook] = record.sid
        return self._put(history.at_home(record, notebook, marks))

    async def home_session(self, notebook: str) -> Session | None:
        sid = self._homes.get(notebook)
        return None if sid is None else self._records[sid].session()

    async def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        return not set(marks).isdisjoint(self._record(session_id).marks)

    async def sessions_of_marks(self, marks: Sequence[str]) -> Sequence[Session]:
        records = [self._records[sid] for sid in self._newest_first()]
        wanted = set(marks)
        return [record.session() for record in records if not wanted.isdisjoint(record.marks)]

    def _record(self, session_id: str) -> SessionRecord:
        sid = self._sids.get(session_id)
        if sid is None:
            raise not_found(session_id)
        return self._records[sid]

    def _recovered(self, record: SessionRecord) -> SessionRecord:
        if record.open is None or record.open.owner in self._owners:
            return record
        row = history.crashed(record, self._partials.pop(record.sid, None), now=self._now())
        self._rows[record.sid].append(row)
        # Who only looks at a session has not used it: its last use is the turn that died.
        self._put(history.settled(record, [row], now=record.used_at))
        return self._records[record.sid]

    def _put(self, record: SessionRecord, *, used: bool = False) -> Session:
        self._records[record.sid] = record
        if used:
            self._uses[record.sid] = next(self._steps)
        self._changed(record.sid)
        return record.session()

    def _changed(self, sid: str) -> None:
        self._changes[sid] = next(self._steps)

    def _newest_first(self) -> Sequence[str]:
        return sorted(self._uses, key=self._uses.__getitem__, reverse=True)

    def _removal(self, record: SessionRecord, *, deleted: bool) -> Removal:
        return Removal(
            session_id=record.id,
            deleted=deleted,
            message_count=record.messages,
            notebooks=record.notebooks,
            purge_pending=False,
        )
