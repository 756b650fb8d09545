"""What an export or an import did: how much of it, and what could not be read."""

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
