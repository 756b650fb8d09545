"""What a session is, and which names it may have."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, overload

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside, Message, Usage
from dexto_magic.errors import (
    InvalidSessionIdError,
    SessionExistsError,
    SessionNotFoundError,
)

MAX_ID_LENGTH = 128
"""Characters that a session's name may have, in Unicode's composed form (NFC)."""

Overflow: TypeAlias = Literal["compact", "trim", "error"]
"""What is done when a conversation no longer fits: summarise, leave out, or refuse."""

JOINERS = "\u200c\u200d"
"""Zero-width joiners: invisible, but part of the spelling in Persian, in Indic scripts, in emoji."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A conversation as it stood when it was looked up.

    Attributes:
        id: Its name, unique in the store.
        title: A line for people, or ``None`` before the first turn.
        created_at: When it was made; UTC.
        updated_at: When it was last used, that is its last turn, else when it was made; UTC.
        message_count: Messages in view.
        turn_count: Turns in view.
        model: Its own model, as ``"provider:model"``, or ``None`` for the agent's.
        system: Its own system prompt, or ``None`` for the agent's.
        own_title: Whether a person chose the title, which a reset then keeps.
        overflow: What is done when it no longer fits, or ``None`` for the agent's way.
        context_budget: Tokens that a request of it may have, or ``None`` for what the model takes.
        forked_from: The name of the session that it was forked from, or ``None``.
        forked_at: The number of that session's last turn that it took over, or ``None``.
        usage: Tokens over its lifetime, a reset included; those of turns that a fork took over
            were spent in the session that they come from.
        home: Path of the notebook whose own, nameless session it is, or ``None``.
        notebooks: Paths of the notebooks that have used it, latest last.
    """

    id: str
    title: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int = 0
    turn_count: int = 0
    model: str | None = None
    system: str | None = None
    own_title: bool = False
    overflow: Overflow | None = None
    context_budget: int | None = None
    forked_from: str | None = None
    forked_at: int | None = None
    usage: Usage = field(default_factory=Usage)
    home: str | None = None
    notebooks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SessionPage(Sequence[Session]):
    """Some sessions of a longer list, most recently used first; a sequence of them.

    Attributes:
        sessions: The sessions of this page.
        cursor: What to pass to get the next page, or ``None`` at the end.
    """

    sessions: tuple[Session, ...]
    cursor: str | None

    def __len__(self) -> int:
        return len(self.sessions)

    @overload
    def __getitem__(self, index: int) -> Session: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Session, ...]: ...
    def __getitem__(self, index: int | slice) -> Session | tuple[Session, ...]:
        return self.sessions[index]


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What a reset, a delete or the forgetting of a turn took away, and what it could not reach.

    Attributes:
        session_id: The session's name.
        deleted: Whether the session is gone, too: a delete.
        turn: The number of the turn that was forgotten, or ``None``.
        message_count: Messages that are gone: those in view, or of a forgotten turn all versions.
        notebooks: Notebooks that used the session and may still show it.
        forks: Sessions that share its origin by a fork, and hold some of the same messages.
        purge_pending: Whether bytes of them are still in the store's files, because another
            process is reading, or the removal was cut short; the purge goes on, and is tried again
            at later writes and openings.
    """

    session_id: str
    deleted: bool
    turn: int | None = None
    message_count: int
    notebooks: tuple[str, ...]
    forks: tuple[str, ...] = ()
    purge_pending: bool


@dataclass(frozen=True, kw_only=True)
class TurnChange:
    """What an undo or a redo did to the last turn of a conversation.

    Attributes:
        session: The session as it is now.
        turn: The number of the turn that it is about.
        version: The version of it that is in view now; ``None`` if it was taken out.
        asked: The user message that came into view, else the one that went out of it.
        undone: Whether it was an undo, rather than a redo.
    """

    session: Session
    turn: int
    version: int | None
    asked: Message
    undone: bool


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """A session with its messages: all that a view or an export needs.

    Attributes:
        session: The session.
        messages: Its messages in view, in order, or the newest of them.
        others: Messages of versions that are not in view, in order; only where all was asked for.
        asides: Summaries and titles that a model wrote, in order; likewise.
        line: Which turns are in view and what undo would do; likewise, else ``None``.
        files: The bytes of attachments by their digest; only where they were asked for.
    """

    session: Session
    messages: tuple[Message, ...]
    others: tuple[Message, ...] = ()
    asides: tuple[Aside, ...] = ()
    line: Line | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, hash=False, repr=False)


def valid_session_id(text: str) -> str:
    """The name in the form in which it is kept: Unicode NFC.

    Raises:
        InvalidSessionIdError: It is empty, too long, begins or ends with white space, or holds a
            character that cannot be seen.
    """
    if not isinstance(text, str):
        raise InvalidSessionIdError(
            f"A session's name must be a string, not {type(text).__name__}.", session_id=repr(text)
        )
    name = unicodedata.normalize("NFC", text)

    def problem(what: str) -> InvalidSessionIdError:
        return InvalidSessionIdError(
            f"{what} A session's name has 1 to {MAX_ID_LENGTH} printable characters of any script, "
            "and no white space at its ends.",
            session_id=text,
        )

    if not name.strip(JOINERS):
        what = "be empty" if not name else f"consist of joiners alone: {name!a}"
        raise problem(f"A session's name cannot {what}.")
    if len(name) > MAX_ID_LENGTH:
        raise problem(f"{name[:20] + '…'!r} has {len(name)} characters.")
    if name != name.strip():
        raise problem(f"{name!r} begins or ends with white space.")
    for position, character in enumerate(name, start=1):
        if not (character.isprintable() or character in JOINERS):
            raise problem(
                f"{name!r} holds U+{ord(character):04X} "
                f"({unicodedata.name(character, 'a control character')}) as character {position}."
            )
    return name


def not_found(session_id: str, close_matches: Sequence[str] = ()) -> SessionNotFoundError:
    """The error for a name that no session has."""
    message = f"There is no session {session_id!r}."
    if close_matches:
        message += " Did you mean " + " or ".join(repr(name) for name in close_matches) + "?"
    else:
        message += " `%dexto sessions` lists those that there are."
    return SessionNotFoundError(message, session_id=session_id, close_matches=close_matches)


def taken(session_id: str) -> SessionExistsError:
    """The error for a name that another session has."""
    return SessionExistsError(
        f"There is a session {session_id!r} already: choose another name, or go on with it ("
        "in Python, get_or_create_session takes the one that is there).",
        session_id=session_id,
    )
