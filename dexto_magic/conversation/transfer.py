"""What an export, an import, a backup or a restore did: how much of it, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from dexto_magic.conversation.session import Session

T = TypeVar("T")

Progress: TypeAlias = Callable[[Iterable[Any], int | None], Iterable[Any]]
"""Passes items on and shows how many there were, of how many if that is known, as tqdm does."""


def unseen(items: Iterable[T], _total: int | None) -> Iterable[T]:
    """Passes items on and shows nothing."""
    return items


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written to a file.

    Attributes:
        path: The file.
        sessions: How many sessions are in it.
        messages: How many messages, those out of view included where the format holds them.
        lossless: Whether an import gives back all that was exported.
        deleted: The names of sessions that are not in it, as they were deleted meanwhile.
        unread: The names of sessions that are not in it, as the store cannot read them.
    """

    path: str
    sessions: int
    messages: int
    lossless: bool
    deleted: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was read from a file.

    Attributes:
        path: The file.
        sessions: The sessions that were made, in the order of the file.
        already: How many of the file were there already, and were left as they are.
        continues: Those of the sessions that begin as another that is there, and go on from it, as
            after a later export: their names, each with that of the other.
        broken: What could not be read: its place in the file, counted from 1, and why.
    """

    path: str
    sessions: tuple[Session, ...]
    already: int
    continues: tuple[tuple[str, str], ...] = ()
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
