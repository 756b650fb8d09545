"""A store in memory: the reference for what a store does, and a store for tests and throw-aways.

It is as plain as can be, so that a difference between it and another store is that store's fault.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, Unpack

from dexto_magic.conversation import descent, history, places, revision
from dexto_magic.conversation.health import StoreReport
from dexto_magic.conversation.history import Signal
from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import Aside, Message, new_id
from dexto_magic.conversation.record import Claim, Hold, Partial, SessionChanges, SessionRecord
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    TurnChange,
    not_found,
    taken,
)
from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.errors import StoreError
from dexto_magic.stores.protocol import Change, Owner, Rows, Store, Tell

_Row: TypeAlias = Message | Aside | None
"""What is written in a session; ``None`` in place of what was forgotten."""


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
        self._rows: dict[str, list[_Row]] = {}
        self._files: dict[str, dict[str, bytes]] = {}
        self._generation = new_id("gen")
        self._partials: dict[str, Partial] = {}
        self._homes: dict[str, str] = {}
        self._owners: set[str] = set()
        self._uses: dict[str, tuple[float, str]] = {}
        self._changes: dict[str, int] = {}
        self._steps = itertools.count(1)

    @property
    def location(self) -> str:
        return "memory"

    @property
    def side_folder(self) -> Path | None:
        return None

    async def generation(self) -> str:
        return self._generation

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def examine(self) -> StoreReport:
        raise _no_file("examine")

    async def back_up(self, path: Path, *, replace_file: bool, tell: Tell) -> BackedUp:
        raise _no_file("back up")

    async def restore_backup(self, path: Path, *, before: Path | None, tell: Tell) -> Restored:
        raise _no_file("restore")

    async def join(self, label: str) -> Owner:
        owner = Owner(id=new_id("own"), holder=f"{label} (process {os.getpid()})")
        self._owners.add(owner.id)
        return owner

    async def leave(self, owner: Owner) -> None:
        self._owners.discard(owner.id)

    async def create(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        self._refuse_taken(session_id)
        now = self._now()
        record = SessionRecord(
            sid=_new_sid(), id=session_id, created_at=now, used_at=now, model=model, system=system
        )
        return self._add(record, [], {})

    async def get(self, session_id: str) -> Session | None:
        if session_id not in self._sids:
            return None
        return self._recovered(self._record(session_id)).session()

    async def list(self, *, limit: int, cursor: str | None = None) -> SessionPage:
        if limit == 0:
            return SessionPage(sessions=(), cursor=cursor)
        older = self._newest_first()
        if cursor is not None:
            use, _, sid = bytes.fromhex(cursor).decode().partition(" ")
            older = [other for other in older if self._uses[other] < (float(use), sid)]
        page = older[:limit]
        last = self._uses[page[-1]] if len(older) > limit else None
        return SessionPage(
            sessions=tuple(self._records[sid].session() for sid in page),
            cursor=None if last is None else f"{last[0]!r} {last[1]}".encode().hex(),
        )

    async def transcript(
        self, session_id: str, *, limit: int | None = None, everything: bool = False
    ) -> Transcript:
        record = self._recovered(self._record(session_id))
        whole = history.whole(record, self._messages(record), self._asides(record))
        if everything:
            return whole
        messages = whole.messages
        newest = messages if limit is None else messages[max(0, len(messages) - limit) :]
        return Transcript(session=whole.session, messages=newest)

    async def held(self, hold: Hold) -> Transcript:
        record = history.fence(self._records.get(hold.sid), hold)
        return history.whole(record, self._messages(record), self._asides(record))

    async def rows(self, sid: str, *, epoch: int = -1, start: int = 0) -> Rows | None:
        record = self._records.get(sid)
        if record is None:
            return None
        first = start if epoch == record.epoch else 0
        rows = self._rows[sid]
        return Rows(
            session=record.session(),
            epoch=record.epoch,
            line=record.line,
            start=first,
            end=len(rows),
            messages=tuple(row for row in rows[first:] if isinstance(row, Message)),
            forgets=record.forgets,
        )

    async def file(self, session_id: str, digest: str) -> bytes | None:
        return self._files[self._record(session_id).sid].get(digest)

    async def update(self, session_id: str, **changes: Unpack[SessionChanges]) -> Session:
        record = self._record(session_id)
        untitled = revision.title_by_itself(
            record.line, self._messages(record), self._asides(record)
        )
        return self._put(history.updated(record, changes, untitled=untitled))

    async def rename(self, session_id: str, new_id: str) -> Session:
        record = self._record(session_id)
        if new_id == session_id:
            return record.session()
        self._refuse_taken(new_id)
        del self._sids[session_id]
        self._sids[new_id] = record.sid
        for relative in self._relatives(record):
            if relative.parent == record.sid:
                self._put(replace(relative, forked_from=new_id))
        return self._put(replace(record, id=new_id))

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
        before = self._idle(session_id)
        hidden = () if revises is None else self._in_view(before, before.line, revises)
        history.check_asked(before, revises, hidden, asked)
        record, claim = history.opened(
            before,
            message,
            owner=owner.id,
            holder=owner.holder,
            now=self._now(),
            revises=revises,
            hidden=hidden,
        )
        self._rows[record.sid].append(claim.message)
        self._files[record.sid].update(files or {})
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

    async def hold(self, session_id: str, owner: Owner) -> Hold:
        record, hold = history.held(
            self._idle(session_id), owner=owner.id, holder=owner.holder, now=self._now()
        )
        self._put(record)
        return hold

    async def release(self, hold: Hold) -> None:
        record = self._records.get(hold.sid)
        if record is not None and history.signal(record, hold) in ("go on", "cancel"):
            self._put(history.released(record))

    async def note(self, session_id: str, aside: Aside, *, hold: Hold | None = None) -> Session:
        record = self._record(session_id) if hold is None else self._records.get(hold.sid)
        if hold is not None:
            record = history.fence(record, hold)
        assert record is not None
        record = history.noted(record, aside, self._in_view(record, record.line, aside.turn))
        self._rows[record.sid].append(aside)
        return self._put(record)

    async def undo(self, session_id: str) -> TurnChange:
        return self._moved(session_id, "undo", Line.undo)

    async def redo(self, session_id: str) -> TurnChange:
        return self._moved(session_id, "redo", Line.redo)

    def _moved(
        self, session_id: str, verb: str, move: Callable[[Line], tuple[Line, Step] | None]
    ) -> TurnChange:
        record = self._idle(session_id)
        line, step = revision.checked_move(record, verb, move(record.line))
        left = self._in_view(record, record.line, step.turn)
        came = self._in_view(record, line, step.turn)
        session = self._put(revision.moved(record, line, left=left, came=came))
        return revision.turn_change(session, line, step, came or left)

    async def forget(self, session_id: str, turn: int) -> Removal:
        record = self._idle(session_id)
        messages = [message for message in self._messages(record) if message.turn == turn]
        revision.check_kept(record, turn, messages)
        ids = {message.id for message in messages}
        holders = [
            relative.id
            for relative in self._relatives(record)
            if not ids.isdisjoint(message.id for message in self._messages(relative))
        ]
        self._rows[record.sid] = [
            None
            if row is None or row in messages or (isinstance(row, Aside) and row.turn >= turn)
            else row
            for row in self._rows[record.sid]
        ]
        others = self._messages(record)
        kept = {attachment.digest for message in others for attachment in message.attachments}
        for message in messages:
            for attachment in message.attachments:
                if attachment.digest not in kept:
                    self._files[record.sid].pop(attachment.digest, None)
        self._put(
            revision.forgotten(
                record,
                turn,
                left=list(filter(record.line.shows, messages)),
                others=others,
                asides=self._asides(record),
            )
        )
        return Removal(
            session_id=session_id,
            deleted=False,
            turn=turn,
            message_count=len(messages),
            notebooks=record.notebooks,
            forks=tuple(holders),
            purge_pending=False,
        )

    async def fork(self, session_id: str, new_id: str, *, turn: int | None = None) -> Session:
        parent = self._record(session_id)
        self._refuse_taken(new_id)
        committed = replace(parent, line=parent.committed)
        if turn is not None:
            history.check_turn(committed, turn)
        line = committed.line.up_to(committed.line.end if turn is None else turn)
        shown = sorted(filter(line.shows, self._messages(parent)), key=lambda row: row.turn)
        summaries = [aside for aside in self._asides(parent) if descent.inherits(line, aside)]
        record = descent.forked(
            parent,
            sid=_new_sid(),
            name=new_id,
            line=line,
            rows=len(shown) + len(summaries),
            messages=len(shown),
            title=revision.title_by_itself(line, shown, self._asides(parent)),
            now=self._now(),
        )
        digests = {attachment.digest for message in shown for attachment in message.attachments}
        files = {
            digest: content
            for digest, content in self._files[parent.sid].items()
            if digest in digests
        }
        return self._add(record, [*shown, *summaries], files)

    async def restore(self, transcript: Transcript, *, source: str | None = None) -> Session:
        self._refuse_taken(transcript.session.id)
        there = None if source is None else await self.restored(source)
        if there is not None:
            return there
        record = descent.restored(
            transcript, sid=_new_sid(), name=transcript.session.id, source=source
        )
        home = transcript.session.home
        if home is not None and home not in self._homes:
            self._homes[home] = record.sid
            record = replace(record, home=home)
        rows: Sequence[_Row] = [*transcript.others, *transcript.messages, *transcript.asides]
        return self._add(record, rows, transcript.files, back=True)

    async def restored(self, source: str) -> Session | None:
        latest_first = reversed(self._records.values())
        found = (record for record in latest_first if record.source == source)
        return next((record.session() for record in found), None)

    async def watch(self, claim: Hold) -> Signal:
        return history.signal(self._records.get(claim.sid), claim)

    async def request_cancel(self, session_id: str) -> bool:
        record = self._recovered(self._record(session_id))
        if record.open is None:
            return False
        self._put(replace(record, open=replace(record.open, cancel=True)))
        return True

    async def reset(self, session_id: str) -> Removal:
        record = self._record(session_id)
        removal = self._removal(record, deleted=False)
        self._rows[record.sid], self._files[record.sid] = [], {}
        self._partials.pop(record.sid, None)
        self._put(history.emptied(record))
        return removal

    async def delete(self, session_id: str) -> Removal:
        record = self._record(session_id)
        removal = self._removal(record, deleted=True)
        for kept in (self._records, self._rows, self._files):
            del kept[record.sid]
        self._partials.pop(record.sid, None)
        del self._sids[session_id]
        del self._uses[record.sid]
        self._homes = {path: sid for path, sid in self._homes.items() if sid != record.sid}
        self._changed(record.sid)
        return removal

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
            self._put(places.homeless(self._records[before], marks))
        if record.home is not None:
            del self._homes[record.home]
        self._homes[notebook] = record.sid
        return self._put(places.at_home(record, notebook, marks))

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

    def _idle(self, session_id: str) -> SessionRecord:
        record = self._recovered(self._record(session_id))
        if record.open is not None:
            raise history.busy(record)
        return record

    def _refuse_taken(self, session_id: str) -> None:
        if session_id in self._sids:
            raise taken(session_id)

    def _messages(self, record: SessionRecord) -> Sequence[Message]:
        return [row for row in self._rows[record.sid] if isinstance(row, Message)]

    def _asides(self, record: SessionRecord) -> Sequence[Aside]:
        return [row for row in self._rows[record.sid] if isinstance(row, Aside)]

    def _in_view(self, record: SessionRecord, line: Line, turn: int) -> Sequence[Message]:
        return [m for m in self._messages(record) if m.turn == turn and line.shows(m)]

    def _relatives(self, record: SessionRecord) -> Sequence[SessionRecord]:
        others = (other for other in self._records.values() if other.sid != record.sid)
        return [other for other in others if other.kin == record.kin]

    def _recovered(self, record: SessionRecord) -> SessionRecord:
        if record.open is None or record.open.owner in self._owners:
            return record
        if not record.open.turn:
            self._put(history.released(record))
            return self._records[record.sid]
        row = history.crashed(record, self._partials.pop(record.sid, None), now=self._now())
        self._rows[record.sid].append(row)
        # Who only looks at a session has not used it: its last use is the turn that died.
        self._put(history.settled(record, [row], now=record.used_at))
        return self._records[record.sid]

    def _add(
        self,
        record: SessionRecord,
        rows: Sequence[_Row],
        files: Mapping[str, bytes],
        *,
        back: bool = False,
    ) -> Session:
        self._sids[record.id] = record.sid
        self._rows[record.sid] = list(rows)
        self._files[record.sid] = dict(files)
        return self._put(record, used=True, back=back)

    def _put(self, record: SessionRecord, *, used: bool = False, back: bool = False) -> Session:
        self._records[record.sid] = record
        if used:
            use = record.used_at.timestamp()
            latest = max(self._uses.values(), default=(0.0, ""))[0]
            self._uses[record.sid] = (
                use if back else max(use, math.nextafter(latest, math.inf)),
                record.sid,
            )
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
            forks=tuple(other.id for other in self._relatives(record)) if record.rows else (),
            purge_pending=False,
        )


def _no_file(verb: str) -> StoreError:
    return StoreError(
        f"There is nothing to {verb}: these sessions are in memory, without a file, and gone with "
        "this process. `export_sessions` writes them to one; an agent made with a folder as its "
        "store keeps them."
    )


def _new_sid() -> str:
    return new_id("s")
