"""What a search gives, and the times that it may be limited to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias, overload

from dexto_magic.conversation.messages import Role
from dexto_magic.errors import SettingsError

Found: TypeAlias = Literal["session", "message"]
"""What was found: a session, by its name or title; or a message, by its text."""

_AGO = re.compile(r"(\d+)\s*([hdw])", re.ASCII | re.IGNORECASE)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[ T].+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class SearchHit:
    """A place where all that was searched for stands.

    Attributes:
        kind: ``"message"``, or ``"session"`` for a session's name and title.
        session_id: The session's name.
        title: The session's title, or ``None``.
        turn: The number of the message's turn; ``None`` for a session.
        version: The version of that turn; ``None`` for a session.
        role: Who said it; ``None`` for a session.
        message_id: The message's id; ``None`` for a session.
        created_at: When it was said, or when the session was last used; UTC.
        notebook: The notebook in which the turn was asked, or that used the session last; ``None``
            if it is not known.
        snippet: A part of the text on one line, as pieces: each with whether it is a hit.
    """

    kind: Found
    session_id: str
    title: str | None
    turn: int | None
    version: int | None
    role: Role | None
    message_id: str | None
    created_at: datetime
    notebook: str | None
    snippet: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The snippet without its marks."""
        return "".join(piece for piece, _ in self.snippet)


@dataclass(frozen=True, kw_only=True)
class SearchPage(Sequence[SearchHit]):
    """Some hits of a longer list: sessions first, and the newest first; a sequence of them.

    Attributes:
        query: What was searched for, as it was typed.
        hits: The hits of this page.
        cursor: What to pass to get the next page, or ``None`` at the end.
        unread: Names of sessions that could not be searched, because the store cannot read them.
        number: Which page it is, counted from 1, where pages were asked for by number.
    """

    query: str
    hits: tuple[SearchHit, ...]
    cursor: str | None
    unread: tuple[str, ...] = ()
    number: int = 1

    @property
    def is_complete(self) -> bool:
        """Whether every session was searched."""
        return not self.unread

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> SearchHit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SearchHit, ...]: ...
    def __getitem__(self, index: int | slice) -> SearchHit | tuple[SearchHit, ...]:
        return self.hits[index]


def since(text: str, *, now: datetime) -> datetime:
    """The moment that ``--since`` means: ``30d``, ``12h``, ``2w`` ago, or a date or time in ISO 8601.

    A date is its beginning. What names no time zone is in UTC, as all times are that are shown.

    Args:
        text: As it was typed.
        now: The time.

    Raises:
        SettingsError: It is none of these.
    """
    return _moment(text, now=now, option="--since")


def until(text: str, *, now: datetime) -> datetime:
    """The moment before which ``--until`` means: the same, but that a date is its end.

    Raises:
        SettingsError: It is none of these.
    """
    return _moment(text, now=now, option="--until", end=True)


def _moment(text: str, *, now: datetime, option: str, end: bool = False) -> datetime:
    typed = text.strip()
    ago, iso = _AGO.fullmatch(typed), _ISO.fullmatch(typed)
    try:
        if ago is not None:
            return now - int(ago[1]) * _UNITS[ago[2].lower()]
        if iso is not None:
            moment = datetime.fromisoformat(typed)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
            return moment + timedelta(days=1) if end and not iso["time"] else moment
    except (OverflowError, ValueError):
        pass  # a date that no calendar has, or no clock reaches
    raise SettingsError(
        f"{option} takes an age such as 12h, 30d or 2w (hours, days, weeks), or a date or time such "
        f"as 2026-11-01 or 2026-11-01T14:30, not {text!r}.",
        option=option,
    )
