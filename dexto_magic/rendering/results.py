"""What verbs return where no value of a conversation says it: values that ``views`` shows."""

from __future__ import annotations

from dataclasses import dataclass

from dexto_magic.conversation.session import Session


@dataclass(frozen=True)
class Said:
    """Something said to the person at the keyboard.

    Attributes:
        lines: One sentence each, in our words; a magic between backticks is something to be typed.
    """

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values, such as a status.

    Attributes:
        pairs: A name and its value each; the value may be anybody's, and is shown as it is.
        lines: What follows them.
    """

    pairs: tuple[tuple[str, str], ...]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionTable:
    """Sessions as a table.

    Attributes:
        sessions: In the order in which they are shown.
        current: The name of the one that a cell without a name goes to.
        more: Whether there are others that are not shown.
        pattern: What they match, or ``None`` for all.
    """

    sessions: tuple[Session, ...]
    current: str | None = None
    more: bool = False
    pattern: str | None = None

    @property
    def none(self) -> str:
        """What is said where there is nothing to be shown."""
        if self.more:
            return "There are sessions, and none was asked for."
        if self.pattern:
            return f"No session's name or title matches {self.pattern!r}."
        return "No sessions. A new one begins with its first question: %%dexto NAME in a cell."


@dataclass(frozen=True)
class Forked:
    """A fork.

    Attributes:
        session: It.
        made: Whether it was made just now, rather than found.
        current: Whether cells without a name go there now.
    """

    session: Session
    made: bool
    current: bool = False


@dataclass(frozen=True)
class Renamed:
    """A session that was given another name.

    Attributes:
        old: The name before.
        session: The session.
        made: Whether that was done just now, rather than before, as it seems.
    """

    old: str
    session: Session
    made: bool
