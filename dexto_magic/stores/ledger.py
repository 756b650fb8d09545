"""What each operation on sessions and turns writes, in one step.

The rules of a conversation are in ``conversation``; records and rows are found and written by
``entries``; threads, locks and files are not known here. Operations on the line of turns are in
``revision``, those that make a session of many rows in ``building``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dexto_magic.conversation import history, places
from dexto_magic.conversation.messages import Aside, Message, new_id
from dexto_magic.conversation.record import Claim, Hold, SessionChanges, SessionRecord
from dexto_magic.conversation.revision import title_by_itself
from dexto_magic.conversation.session import Removal, Session, taken
from dexto_magic.conversation.wire import message_to_json
from dexto_magic.stores import homes, removal, rows
from dexto_magic.stores.codec import CODECS, Row, encode
from dexto_magic.stores.entries import Entry
from dexto_magic.stores.keys import (
    SCHEMA_KEY,
    VERSION,
    file_key,
    member_key,
    name_key,
    partial_key,
    session_key,
    source_key,
    use_key,
)
from dexto_magic.stores.protocol import Owner
from dexto_magic.stores.reading import Reading


class Ledger(Reading):
    """Sessions in a table, to be read and written.

    Methods that write are steps of a transaction which the caller opens; they never wait. Those
    that end what began in an earlier transaction are fenced by the epoch and revision that it
    left. The others read what they change in their own transaction, so that nothing can have
    moved, and do not move the revision: that would put a running turn out.
    """

    def initialise(self) -> None:
        """Writes the schema row of a new store, or of one that an earlier version wrote.

        Makes its own transaction.
        """
        schema = self._table.get(SCHEMA_KEY)
        if schema is None or schema["version"] < VERSION:
            written: dict[str, Any] = {
                "generation": new_id("gen"),
                **(schema or {}),
                "version": VERSION,
                "minimum_reader": VERSION,
                "codecs": {str(mode): codec for mode, codec in CODECS.items()},
            }
            with self._table.transaction():
                self._table.set(SCHEMA_KEY, encode(written))

    def create(self, session_id: str, *, model: str | None, system: str | None) -> Session:
        """A new, empty session."""
        if self._table.get(name_key(session_id)) is not None:
            raise taken(session_id)
        now = self.entries.now()
        record = SessionRecord(
            sid=new_sid(),
            id=session_id,
            created_at=now,
            used_at=now,
            model=model,
            system=system,
        )
        self._table.add(name_key(session_id), encode(record.sid))
        self.entries.put(Entry(record, use=0, change=0), record, used=True)
        return record.session()

    def update(self, session_id: str, changes: SessionChanges) -> Session:
        """Changes what a session has of its own."""
        entry = self.entries.known(session_id)
        before, untitled = entry.record, None
        if changes.get("title") == "":
            found = self.entries.read(before, 0, before.rows)
            untitled = title_by_itself(
                before.line,
                [rows.message_from_json(row) for row in found if rows.is_message(row)],
                [rows.aside_from_json(row) for row in found if rows.is_aside(row)],
            )
        record = history.updated(before, changes, untitled=untitled)
        self.entries.put(entry, record)
        return record.session()

    def rename(self, session_id: str, new_id: str) -> Session:
        """Gives a session another name, and its forks the new name of what they come from."""
        entry = self.entries.known(session_id)
        if new_id == session_id:
            return entry.record.session()
        if self._table.get(name_key(new_id)) is not None:
            raise taken(new_id)
        self._table.delete(name_key(session_id))
        self._table.add(name_key(new_id), encode(entry.record.sid))
        for relative in self.entries.relatives(entry.record):
            if relative.record.parent == entry.record.sid:
                self.entries.put(relative, replace(relative.record, forked_from=new_id))
        return self.entries.put(entry, replace(entry.record, id=new_id)).record.session()

    def claim(
        self,
        session_id: str,
        message: Message,
        owner: Owner,
        *,
        revises: int | None,
        asked: str | None,
        files: Mapping[str, bytes],
    ) -> Claim:
        """Opens a turn, after ending one whose owner died."""
        entry = self.entries.idle(session_id)
        line = entry.record.line
        hidden: list[Message] = []
        if revises is not None and revises in line:
            hidden = self.entries.messages_of(entry.record, revises, line.current(revises))
        history.check_asked(entry.record, revises, hidden, asked)
        record, claim = history.opened(
            entry.record,
            message,
            owner=owner.id,
            holder=owner.holder,
            now=self.entries.now(),
            revises=revises,
            hidden=hidden,
        )
        self.entries.append(entry.record, [encode(message_to_json(claim.message))])
        for digest, content in files.items():
            self._table.set(file_key(record.sid, digest), Row.of_bytes(content))
        self.entries.put(entry, record, used=True)
        return claim

    def save_partial(self, claim: Claim, partial: Row) -> None:
        """Keeps the running reply, given as its row."""
        entry = self.entries.entry(claim.sid)
        history.fence(entry.record if entry else None, claim)
        self._table.set(partial_key(claim.sid), partial)

    def settle(self, claim: Claim, replies: Sequence[Message], encoded: Sequence[Row]) -> Session:
        """Ends the turn with replies, given as they are and as their rows."""
        entry = self.entries.entry(claim.sid)
        history.fence(entry.record if entry else None, claim)
        assert entry is not None
        self.entries.append(entry.record, encoded)
        self._table.delete(partial_key(claim.sid))
        record = history.settled(entry.record, replies, now=self.entries.now())
        return self.entries.put(entry, record, used=True).record.session()

    def hold(self, session_id: str, owner: Owner) -> Hold:
        """Keeps turns out, after ending one whose owner died."""
        entry = self.entries.idle(session_id)
        record, hold = history.held(
            entry.record, owner=owner.id, holder=owner.holder, now=self.entries.now()
        )
        self.entries.put(entry, record)
        return hold

    def release(self, hold: Hold) -> None:
        """Lets turns in again."""
        entry = self.entries.entry(hold.sid)
        if entry is not None and history.signal(entry.record, hold) in ("go on", "cancel"):
            self.entries.put(entry, history.released(entry.record))

    def note(self, session_id: str, aside: Aside, encoded: Row, *, hold: Hold | None) -> Session:
        """Keeps a summary or a title, given as it is and as its row."""
        entry = self.entries.known(session_id) if hold is None else self.entries.entry(hold.sid)
        if hold is not None:
            history.fence(entry.record if entry else None, hold)
        assert entry is not None
        before = entry.record
        about = self.entries.messages_of(before, aside.turn, before.line.current(aside.turn))
        record = history.noted(before, aside, about)
        self.entries.append(before, [encoded])
        return self.entries.put(entry, record).record.session()

    def recover(self, sid: str) -> bool:
        """Ends the session's open turn if its owner died; whether that was so."""
        entry = self.entries.entry(sid)
        return entry is not None and self.entries.recovered(entry) is not entry

    def request_cancel(self, session_id: str) -> bool:
        """Sets the flag that the holder of the open turn looks at."""
        entry = self.entries.recovered(self.entries.known(session_id))
        if entry.record.open is None:
            return False
        mark = replace(entry.record.open, cancel=True)
        self.entries.put(entry, replace(entry.record, open=mark))
        return True

    def reset(self, session_id: str) -> Removal:
        """Begins a new epoch; the old one's rows are left to ``removal``."""
        entry = self.entries.known(session_id)
        removed = self._removal(entry.record, deleted=False)
        self._let_go(entry.record)
        self.entries.put(entry, history.emptied(entry.record))
        return removed

    def delete(self, session_id: str) -> Removal:
        """Takes the session away; its rows are left to ``removal``."""
        entry = self.entries.known(session_id)
        record = entry.record
        removed = self._removal(record, deleted=True)
        self._let_go(record)
        self._table.delete(name_key(session_id))
        self._table.delete(session_key(record.sid))
        self._table.delete(use_key(entry.use, record.sid))
        homes.relearn(self._table, record.sid, before=record.marks, after=())
        if record.home is not None:
            homes.leave(self._table, record.home)
        self.entries.changed(entry)
        return removed

    def set_home(self, session_id: str, notebook: str, marks: Sequence[str]) -> Session:
        """Makes the session the notebook's own, in place of the one before."""
        entry = self.entries.known(session_id)
        before = self.at_home(notebook)
        if before is not None and before.record.sid != entry.record.sid:
            self.entries.put(before, places.homeless(before.record, marks))
        if entry.record.home is not None:
            homes.leave(self._table, entry.record.home)
        homes.settle(self._table, notebook, entry.record.sid)
        at_home = places.at_home(entry.record, notebook, marks)
        return self.entries.put(entry, at_home).record.session()

    def _let_go(self, record: SessionRecord) -> None:
        """Takes away what a session's messages lead to, and leaves their rows to ``removal``."""
        self._table.delete(partial_key(record.sid))
        removal.condemn(self._table, record)
        if record.family is not None:
            self._table.delete(member_key(record.family, record.sid))
        if record.source is not None:
            key = source_key(record.source)
            if others := [sid for sid in self._table.get(key) or () if sid != record.sid]:
                self._table.set(key, encode(others))
            else:
                self._table.delete(key)

    def _removal(self, record: SessionRecord, *, deleted: bool) -> Removal:
        forks = [relative.record.id for relative in self.entries.relatives(record)]
        return Removal(
            session_id=record.id,
            deleted=deleted,
            message_count=record.messages,
            notebooks=record.notebooks,
            forks=tuple(forks) if record.rows else (),
            purge_pending=True,
        )


def new_sid() -> str:
    """A name for a session that only the store knows, of fixed width."""
    return secrets.token_hex(8)
