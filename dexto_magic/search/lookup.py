"""What of the index answers a query, in which order, and from where on.

Sessions come first, then messages, each the newest first. Every hit holds all that was asked for,
so that none is a poor one; what a scientist looks for is mostly what was said last about it, and
newest first is an order that can be understood, that stays the same from page to page and from one
kernel to another, and that no other message changes. Ranks as by bm25 would do neither.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dexto_magic.conversation.finding import SearchHit
from dexto_magic.conversation.session import not_found
from dexto_magic.errors import SettingsError
from dexto_magic.search.faults import Damaged
from dexto_magic.search.query import Term, expression
from dexto_magic.search.schema import microseconds, moment_of, number_of, raw, text_of
from dexto_magic.search.shelf import Shelf
from dexto_magic.search.snippets import snippet

_FIND = """
SELECT e.id, e.turn > 0, -e.at, s.sid, -e.turn, -e.nth
FROM words CROSS JOIN entries AS e ON e.id = words.rowid CROSS JOIN sessions AS s ON s.key = e.session
WHERE {conditions}
ORDER BY 2, 3, 4, 5, 6
LIMIT :limit
"""
"""The joins are crossed to be done in that order: words lead to entries, never the reverse."""

_SHOW = """
SELECT s.name, s.title, e.turn, e.version, e.role, e.message, e.at, t.text, COALESCE(e.notebook, (
    SELECT asked.notebook FROM entries AS asked
    WHERE asked.session = e.session AND asked.turn = e.turn AND asked.version = e.version
        AND asked.notebook IS NOT NULL
    LIMIT 1
))
FROM entries AS e JOIN texts AS t ON t.id = e.id JOIN sessions AS s ON s.key = e.session
WHERE e.id = ?
"""

_CONDITIONS = {
    "session": "s.name = :session",
    "role": "e.role = :role",
    "since": "e.at >= :since",
    "until": "e.at < :until",
    "sid": "(e.turn > 0, -e.at, s.sid, -e.turn, -e.nth) > (:rank, :at, :sid, :turn, :nth)",
}
"""What limits a search, each by the value without which it does not."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for.

    Attributes:
        terms: What a text must hold.
        session: The name of the session that it must be in, or ``None`` for any.
        role: Who must have said it, or ``None`` for anybody; names and titles nobody said.
        since: When it must have been said at the earliest, or ``None``.
        until: When it must have been said before, or ``None``.
        limit: At most so many hits.
        cursor: The cursor of the page before, or ``None``.
    """

    terms: tuple[Term, ...]
    session: str | None = None
    role: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int
    cursor: str | None = None


def look_up(shelf: Shelf, wanted: Wanted) -> tuple[tuple[SearchHit, ...], str | None]:
    """The hits of a page, and the cursor of the next.

    Raises:
        SessionNotFoundError: The session that it must be in is not there.
        SettingsError: The cursor is none.
    """
    rows, cursor = shelf.read(lambda connection: _rows(connection, wanted))
    # Outside of the transaction: to cut snippets takes longer than to find them.
    return tuple(_hit(row, wanted.terms) for row in rows), cursor


def _rows(
    connection: sqlite3.Connection, wanted: Wanted
) -> tuple[list[tuple[Any, ...]], str | None]:
    values: dict[str, Any] = {
        "session": raw(wanted.session),
        "role": wanted.role,
        "since": None if wanted.since is None else microseconds(wanted.since),
        "until": None if wanted.until is None else microseconds(wanted.until),
        "sid": None,
        **({} if wanted.cursor is None else _place(wanted.cursor)),
    }
    if (
        wanted.session is not None
        and not connection.execute(
            "SELECT 1 FROM sessions WHERE name = ?", (values["session"],)
        ).fetchall()
    ):
        raise not_found(wanted.session)
    if not wanted.limit:
        return [], wanted.cursor
    conditions = [text for name, text in _CONDITIONS.items() if values[name] is not None]
    statement = _FIND.format(conditions=" AND ".join(["words MATCH :words", *conditions]))
    values |= {"words": expression(wanted.terms), "limit": wanted.limit + 1}
    found = connection.execute(statement, values).fetchall()
    shown = found[: wanted.limit]
    rows = [row for entry, *_ in shown for row in connection.execute(_SHOW, (entry,)).fetchall()]
    if len(rows) != len(shown):
        raise Damaged("words lead to texts that are not there")
    return rows, _cursor(*shown[-1][1:]) if len(found) > len(shown) else None


def _hit(row: tuple[Any, ...], terms: tuple[Term, ...]) -> SearchHit:
    name, title, turn, version, role, message, at, text, notebook = row
    is_message = number_of(turn) > 0
    return SearchHit(
        kind="message" if is_message else "session",
        session_id=text_of(name),
        title=None if title is None else text_of(title),
        turn=turn if is_message else None,
        version=number_of(version) if is_message else None,
        role=role,
        message_id=text_of(message) if is_message else None,
        created_at=moment_of(at),
        notebook=None if notebook is None else text_of(notebook),
        snippet=snippet(text_of(text), terms),
    )


def _cursor(rank: int, at: int, sid: str, turn: int, nth: int) -> str:
    """Where the next page goes on: after this hit, wherever it will be then."""
    return f"{rank}.{at}.{turn}.{nth}.{sid}"


def _place(cursor: str) -> dict[str, Any]:
    try:
        rank, at, turn, nth, sid = cursor.split(".", 4)
        return {"rank": int(rank), "at": int(at), "turn": int(turn), "nth": int(nth), "sid": sid}
    except ValueError as error:
        raise SettingsError(
            f"{cursor!r} is no cursor: pass the one of the page before, as it is.", option="cursor"
        ) from error
