"""What the index holds, and how it follows the store.

It holds the messages that are in view and nothing else: what goes out of view is taken out, and
read from the store again should it come back. So a turn that was forgotten cannot be overlooked,
whatever has become of its number since.

Every method is a step of a transaction that the caller opens; none waits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.session import Session
from dexto_magic.search.folding import tokens
from dexto_magic.search.schema import dumped, line_of, microseconds, number_of, raw, text_of
from dexto_magic.search.shift import shift
from dexto_magic.stores.protocol import Change, Rows

_NOTHING = Line()

_ENTRIES = "SELECT id FROM entries WHERE session = ?"

_DELETE = (
    "DELETE FROM words WHERE rowid = ?",
    "DELETE FROM texts WHERE id = ?",
    "DELETE FROM entries WHERE id = ?",
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """How far a session is indexed.

    Attributes:
        key: The index's own number for it.
        sid: The store's name for it.
        name: The session's name.
        noted: Its latest change that was heard of.
        epoch: The epoch that was read; -1 if none was.
        line: The line along which it was indexed.
        rows: How many rows were read.
    """

    key: int
    sid: str
    name: str
    noted: int
    epoch: int
    line: Line
    rows: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read of a session and is to be taken in.

    Attributes:
        known: What was known when it was read.
        rows: What was read; ``None`` if the session is gone.
        done: How many of its messages were taken in.
    """

    known: Known
    rows: Rows | None
    done: int = 0


class Catalogue:
    """The tables of an index.

    Args:
        connection: To its database, in a transaction of the caller's.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection.execute
        self._many = connection.executemany

    # -- the state -------------------------------------------------------------------------------

    def number(self, generation: str) -> int | None:
        """The last change heard of; ``None`` if the index is of another generation, or of none."""
        found = self._sql("SELECT number FROM state WHERE generation = ?", (generation,)).fetchall()
        return number_of(found[0][0]) if found else None

    def begin(self, generation: str) -> int | None:
        """The same, of an index that is of no generation yet: it is of this one from now on."""
        self._sql("UPDATE state SET generation = ? WHERE generation = ''", (generation,))
        return self.number(generation)

    def owed(self) -> int:
        """How often something was removed for good since the last purge."""
        return sum(number_of(owed) for (owed,) in self._sql("SELECT owed FROM state").fetchall())

    def purged(self, owed: int) -> None:
        """No purge is owed any more, unless more was removed meanwhile."""
        self._sql("UPDATE state SET owed = 0 WHERE owed = ?", (owed,))

    def merge(self) -> None:
        """Writes the words anew, without those that were taken out.

        FTS5 only marks them until then; its own option against that needs SQLite 3.42
        (https://sqlite.org/fts5.html#the_secure_delete_configuration_option).
        """
        self._sql("INSERT INTO words (words) VALUES ('optimize')")

    def _owe(self) -> None:
        self._sql("UPDATE state SET owed = owed + 1")

    # -- following the store ---------------------------------------------------------------------

    def note(self, changes: Sequence[Change]) -> None:
        """Hears of changes, in their order. Of a session that is gone only if it is known.

        What somebody else has heard of meanwhile is left out: a session of which it was the latest
        change when these were asked for may be gone by now, and nobody would be told once more.
        """
        ((heard,),) = self._sql("SELECT number FROM state").fetchall()
        for change in changes:
            if change.number <= number_of(heard):
                continue
            if change.session_id is None:
                self._note_end(change)
            else:
                self._sql(
                    "INSERT INTO sessions (sid, name, noted) VALUES (?, ?, ?)"
                    " ON CONFLICT (sid) DO UPDATE SET name = excluded.name, noted = excluded.noted"
                    " WHERE excluded.noted > noted",
                    (change.sid, raw(change.session_id), change.number),
                )
        self._sql("UPDATE state SET number = MAX(number, ?)", (changes[-1].number,))

    def _note_end(self, change: Change) -> None:
        """Hears that a session is gone: one of which only the name is here goes at once."""
        unread = "DELETE FROM sessions WHERE sid = ? AND epoch < 0"
        if self._sql(unread, (change.sid,)).rowcount:
            self._owe()
        self._sql(
            "UPDATE sessions SET noted = MAX(noted, ?) WHERE sid = ?", (change.number, change.sid)
        )

    def behind(self, after: int, *, limit: int, indexed: bool) -> list[Known]:
        """Sessions of which not all is taken in, by the number of their latest change.

        Args:
            after: The change after which to begin.
            limit: At most so many.
            indexed: Whether to leave out those of which nothing is in the index.
        """
        found = self._sql(
            "SELECT key, sid, name, noted, epoch, line, rows FROM sessions"
            " WHERE noted > covered AND noted > ? AND epoch >= ? ORDER BY noted LIMIT ?",
            (after, 0 if indexed else -1, limit),
        )
        return [
            Known(
                key=number_of(key),
                sid=sid,
                name=text_of(name),
                noted=number_of(noted),
                epoch=number_of(epoch),
                line=line_of(line),
                rows=number_of(rows),
            )
            for key, sid, name, noted, epoch, line, rows in found.fetchall()
        ]

    def take_in(self, readings: Sequence[Reading], *, most: int) -> list[Reading]:
        """Takes in what was read, about so many messages of it; what is left to be taken in.

        It does no harm to take something in twice, or to stop for ever between two transactions. A
        reading is dropped if the index has moved on since; its session is behind then, or is not.
        """
        rest, room = list(readings), most
        while rest and room > 0:
            reading, spent = self._step(rest[0], room)
            rest[:1] = [] if reading is None else [reading]
            room -= max(spent, 1)
        return rest

    def _step(self, reading: Reading, room: int) -> tuple[Reading | None, int]:
        """Takes in a part of a reading; what is left of it, and how many messages that was."""
        known, rows = reading.known, reading.rows
        at = self._position(reading)
        if at is None:
            return None, 0
        epoch, line = at
        if rows is None or epoch != rows.epoch:
            if rows is None or epoch >= 0:
                self._owe()
            removed = self._remove(_ENTRIES + " LIMIT ?", known.key, room)
            if removed == room:
                return reading, removed
            if rows is None:
                self._sql("DELETE FROM sessions WHERE key = ?", (known.key,))
                return None, removed
            self._move(known.key, _NOTHING, rows)
            self._is_forgetful(known.key, rows)
        else:
            self._follow(known.key, line, rows)
        end = reading.done + room
        for message in rows.messages[reading.done : end]:
            if rows.line.shows(message):
                self._add_message(known.key, message)
        if end < len(rows.messages):
            return replace(reading, done=end), room
        self._cover(known, rows)
        return None, len(rows.messages) - reading.done

    def _position(self, reading: Reading) -> tuple[int, Line] | None:
        """The epoch and line up to which the session is indexed; ``None`` to drop the reading.

        A purge passes over sessions of which nothing is here. So the first reading of one counts
        only if no change was heard of since: that may have been what the purge was for.
        """
        known, rows = reading.known, reading.rows
        found = self._sql(
            "SELECT epoch, line, rows FROM sessions WHERE key = ? AND sid = ? AND covered < ?"
            " AND (epoch >= 0 OR noted = ?)",
            (known.key, known.sid, known.noted, known.noted),
        ).fetchall()
        if not found:
            return None
        epoch, line, count = number_of(found[0][0]), line_of(found[0][1]), number_of(found[0][2])
        if rows is not None and epoch == rows.epoch:
            # It reaches back to what was read, and begins where that was, or with what it brings.
            is_next = rows.start <= count and line in (known.line, rows.line)
        else:
            is_next = (epoch, line) == (known.epoch, known.line)
        return (epoch, line) if is_next else None

    def _follow(self, key: int, line: Line, rows: Rows) -> None:
        """Goes on with an epoch that was read before, along another line or the same."""
        if line != rows.line:
            self._move(key, line, rows)
        if self._is_forgetful(key, rows):
            self._owe()

    def _move(self, key: int, old: Line, rows: Rows) -> None:
        """Takes out what the line that was read does not show; it is the session's from now on."""
        if old != _NOTHING:
            for turn in shift(old, rows.line).turns:
                shown = rows.line.current(turn) if turn in rows.line else 0
                self._remove(_ENTRIES + " AND turn = ? AND version != ?", key, turn, shown)
        # What comes back is among the rows that were read, and must be again if this is cut short.
        self._sql(
            "UPDATE sessions SET epoch = ?, line = ?, rows = MIN(rows, ?) WHERE key = ?",
            (rows.epoch, dumped(rows.line), rows.start, key),
        )

    def _is_forgetful(self, key: int, rows: Rows) -> bool:
        """Notes how often turns were forgotten; whether that was more than was known.

        The line does not tell: the number of a turn that was forgotten may be taken again. What
        only went out of view is still in the store, so there is no haste to be rid of it here.
        """
        changed = self._sql(
            "UPDATE sessions SET forgets = ? WHERE key = ? AND forgets != ?",
            (rows.forgets, key, rows.forgets),
        )
        return changed.rowcount > 0

    def _cover(self, known: Known, rows: Rows) -> None:
        """Marks that all was taken in."""
        session = rows.session
        self._sql(
            "UPDATE sessions SET name = ?, title = ?, covered = ?, rows = ? WHERE key = ?",
            (raw(session.id), raw(session.title), known.noted, rows.end, known.key),
        )
        self._add_session(known.key, session)

    # -- entries ---------------------------------------------------------------------------------

    def _add_session(self, key: int, session: Session) -> None:
        """Has a session found by its name, and by its title if that tells more than its prompt."""
        text = session.id
        if session.title and not self._repeats_prompt(key, session):
            text = f"{session.id} · {session.title}"
        at = microseconds(session.updated_at)
        notebook = raw(session.notebooks[-1]) if session.notebooks else None
        found = self._sql(
            "SELECT id, text FROM entries JOIN texts USING (id) WHERE session = ? AND turn = 0",
            (key,),
        ).fetchall()
        if found and found[0][1] == raw(text):
            self._sql(
                "UPDATE entries SET at = ?, notebook = ? WHERE id = ?", (at, notebook, found[0][0])
            )
        else:
            self._remove(_ENTRIES + " AND turn = 0", key)
            self._add((key, 0, 0, 0, None, at, None, notebook), text)

    def _repeats_prompt(self, key: int, session: Session) -> bool:
        """Whether a title that nobody chose is but the beginning of a prompt that is found itself."""
        first = self._sql(
            "SELECT text FROM entries JOIN texts USING (id) WHERE session = ? AND turn > 0"
            " ORDER BY turn, nth LIMIT 1",
            (key,),
        ).fetchall()
        if session.own_title or not first:
            return False
        title, prompt = tokens(session.title or ""), tokens(text_of(first[0][0]))
        return " ".join(prompt).startswith(" ".join(title))

    def _add_message(self, key: int, message: Message) -> None:
        """Has a message found, unless it is already."""
        turn = (key, message.turn, message.version)
        others = self._sql(
            "SELECT message FROM entries WHERE session = ? AND turn = ? AND version = ?", turn
        ).fetchall()
        if (raw(message.id),) in others:
            return
        notebook = message.origin.notebook if message.origin else None
        at = microseconds(message.created_at)
        self._add(
            (*turn, len(others), message.role, at, raw(message.id), raw(notebook)),
            searched_text(message),
        )

    def _add(self, entry: tuple[object, ...], text: str) -> None:
        row = self._sql(
            "INSERT INTO entries (session, turn, version, nth, role, at, message, notebook)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            entry,
        ).lastrowid
        self._sql("INSERT INTO texts VALUES (?, ?)", (row, raw(text)))
        self._sql("INSERT INTO words (rowid, folded) VALUES (?, ?)", (row, " ".join(tokens(text))))

    def _remove(self, select: str, *values: int) -> int:
        """Takes entries out; how many there were."""
        rows = self._sql(select, values).fetchall()
        for statement in _DELETE:
            self._many(statement, rows)
        return len(rows)


def searched_text(message: Message) -> str:
    """What a message is found by: its text, the names of its attachments, and its calls of tools.

    Not the model's reasoning, which is shown folded away and never sent again.
    """
    attached = [attachment.name for attachment in message.attachments]
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return "\n".join(part for part in (message.content, *attached, *calls) if part)
