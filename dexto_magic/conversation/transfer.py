"""What an export, an import, a backup or a restore did: how much of it, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from dexto_magic.conversation.session import Session


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written to a file.

    Attributes:
        path: The file.
        sessions: How many sessions are in it.
        messages: How many messages, those out of view included where the format holds them.
        lossless: Whether an import gives back all that was exported.
    """

    path: str
    sessions: int
    messages: int
    lossless: bool


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was read from a file.

    Attributes:
        path: The file.
        sessions: The sessions that were made, in the order of the file.
        already: How many of the file were there already, and were left as they are.
        broken: What could not be read: its place in the file, counted from 1, and why.
    """

    path: str
    sessions: tuple[Session, ...]
    already: int
    broken: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class BackedUp:
    """A backup of a store.

    Attributes:
        path: The file.
        sessions: How many sessions are in it.
        messages: How many messages of them are in view.
        size: Its bytes.
    """

    path: str
    sessions: int
    messages: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A store whose content was replaced by a backup's.

    Attributes:
        path: The backup.
        location: Where the store is.
        sessions: How many sessions came from it.
        messages: How many messages of them are in view.
        before: The backup of what was there before, or ``None`` if there was nothing.
        set_aside: The folder of the files that were there before, where these were damaged.
        purge_pending: Whether bytes of what was there before may still be in the store's files.
    """

    path: str
    location: str
    sessions: int
    messages: int
    before: BackedUp | None
    set_aside: str | None
    purge_pending: bool
