"""What the agent needs of a store: a few operations, each of them atomic.

The seam that keeps the agent from knowing where conversations live. One contract suite runs over
every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, Unpack

from dexto_magic.conversation.health import StoreReport
from dexto_magic.conversation.history import Signal
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside, Message
from dexto_magic.conversation.record import Claim, Hold, SessionChanges
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    TurnChange,
)
from dexto_magic.conversation.transfer import BackedUp, Restored


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Somebody who may run turns: one agent, for as long as it is started.

    Attributes:
        id: Unique, never used twice.
        holder: Who that is, in words, for those who have to wait.
    """

    id: str
    holder: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """A session that changed.

    Attributes:
        number: Store-wide and ever growing; of a session only its latest change is kept.
        sid: The store's own name for the session, the same through renames.
        session_id: The session's name, or ``None`` if it was deleted.
    """

    number: int
    sid: str
    session_id: str | None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The messages of a session from some row on, those out of view too, in the order written.

    Attributes:
        session: The session.
        epoch: Counts its resets: rows of another epoch are none of these.
        line: Which turns are in view.
        start: The row from which on.
        end: How many rows there are; where the next reading starts.
        messages: The messages among them.
        forgets: How often turns of the session were forgotten.
    """

    session: Session
    epoch: int
    line: Line
    start: int
    end: int
    messages: tuple[Message, ...]
    forgets: int


Tell: TypeAlias = Callable[[int, int], None]
"""Is told from time to time how much is done, and of how much; on a thread of its own."""


class Store(Protocol):
    """A durable home of sessions.

    A call that is cancelled either did nothing or, if it had begun, finishes and returns its
    result: what a store has done is never unknown. Every method may raise ``StoreError`` or one of
    its kinds; session names are given as ``valid_session_id`` returns them.
    """

    @property
    def location(self) -> str:
        """Where it is, for people: a path, or ``"memory"``."""
        ...

    @property
    def side_folder(self) -> Path | None:
        """Where what is derived from it may be kept, or ``None`` for nowhere but in memory."""
        ...

    async def generation(self) -> str:
        """What tells it from any other store, and from itself before it was restored."""
        ...

    async def open(self) -> None:
        """Makes it usable; does nothing if it is open. Who calls it meanwhile waits, too."""
        ...

    async def close(self) -> None:
        """Lets go of everything, whatever has become of the place; does nothing if it is closed.

        It can be opened again.
        """
        ...

    async def examine(self) -> StoreReport:
        """What state it is in; changes nothing, and keeps nobody waiting. It need not be open."""
        ...

    async def back_up(self, path: Path, *, replace_file: bool, tell: Tell) -> BackedUp:
        """Writes all that it holds to one file, while others use it. It need not be open.

        Args:
            path: The file; none of it is there before all of it is.
            replace_file: Whether a file that is there is replaced.
            tell: Is told how far it is.

        Raises:
            FormatError: The file is there already, or cannot be written.
        """
        ...

    async def restore_backup(self, path: Path, *, before: Path | None, tell: Tell) -> Restored:
        """Replaces all that it holds by what a backup does; a backup of that is made before.

        All who have it open go on with the new content. It need not be open, nor sound.

        Args:
            path: The backup, by this version or an earlier one.
            before: The file for what it holds now, or ``None`` for one beside it.
            tell: Is told how far it is.

        Raises:
            FormatError: The file is no backup, or is damaged, or of a newer version.
            SessionBusyError: A live owner runs a turn, or makes a session.
        """
        ...

    async def join(self, label: str) -> Owner:
        """A new owner, alive until ``leave`` or until this process ends, however it ends."""
        ...

    async def leave(self, owner: Owner) -> None:
        """Ends an owner; a turn that it left open counts as crashed.

        Does nothing if it has ended, as it has when the store was closed.
        """
        ...

    async def create(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        """A new, empty session.

        Raises:
            SessionExistsError: The name is taken.
        """
        ...

    async def get(self, session_id: str) -> Session | None:
        """The session, or ``None``; a turn of it whose owner died is ended first."""
        ...

    async def list(self, *, limit: int, cursor: str | None = None) -> SessionPage:
        """A page of sessions, most recently used first; ``cursor`` from the page before.

        A page of none (``limit`` 0) has the cursor that was given, so that nothing is skipped.
        """
        ...

    async def transcript(
        self, session_id: str, *, limit: int | None = None, everything: bool = False
    ) -> Transcript:
        """The messages in view, in order, or the newest ``limit`` of them.

        With ``everything``, also those that are not in view, asides, and the line.

        A turn whose owner died is ended first, with what was saved of it. That is no use of the
        session: it stays where it is among the others.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    async def held(self, hold: Hold) -> Transcript:
        """Everything that is kept of the session that is held, whatever it is called by now.

        Raises:
            SessionNotFoundError: The session was deleted meanwhile.
            SessionError: It was reset meanwhile.
        """
        ...

    async def rows(self, sid: str, *, epoch: int = -1, start: int = 0) -> Rows | None:
        """What was written in a session since a row, or ``None`` if there is none of that sid.

        Args:
            sid: The store's own name for the session, as in ``Change``.
            epoch: The epoch that ``start`` is of; from the first row on if another has begun.
            start: The row to begin with.
        """
        ...

    async def file(self, session_id: str, digest: str) -> bytes | None:
        """The bytes of an attachment, or ``None`` if they are not kept.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    async def update(self, session_id: str, **changes: Unpack[SessionChanges]) -> Session:
        """Changes what is given; an empty string or 0 takes the session's own value away.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

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
        """Opens a turn: its user message is written and the session marked as the owner's.

        A turn whose owner died is ended first.

        Args:
            session_id: The session's name.
            message: The user message.
            owner: Who runs the turn.
            revises: The number of the turn in view that this is a new version of; ``None`` for a
                new turn at the end.
            asked: The id of the user message that it takes the place of, if it has to be that one.
            files: The bytes of the message's attachments, by digest.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A live owner runs a turn of it.
            SessionError: The turn to be revised is not in view, or not in that version any more.
        """
        ...

    async def save_partial(self, claim: Claim, message: Message) -> None:
        """Keeps the reply as far as it has come, in place of what was kept before.

        Raises:
            SessionNotFoundError: The session was deleted meanwhile.
            SessionError: It was reset meanwhile.
        """
        ...

    async def settle(self, claim: Claim, rows: Sequence[Message]) -> Session:
        """Ends the turn with the rows that follow its user message, all of them or none.

        Where it was a new version of a turn and failed, the version before is in view again.

        Raises:
            SessionNotFoundError: The session was deleted meanwhile.
            SessionError: It was reset meanwhile.
        """
        ...

    async def watch(self, claim: Hold) -> Signal:
        """Whether the turn may go on, or why it must stop."""
        ...

    async def request_cancel(self, session_id: str) -> bool:
        """Asks whoever runs a turn of the session to stop it; ``False`` if nobody does.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    async def hold(self, session_id: str, owner: Owner) -> Hold:
        """Keeps turns of a session from beginning until ``release``, or until the owner's end.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A live owner runs a turn of it, or holds it.
        """
        ...

    async def release(self, hold: Hold) -> None:
        """Lets turns of a session in again; does nothing if it was reset or deleted."""
        ...

    async def note(self, session_id: str, aside: Aside, *, hold: Hold | None = None) -> Session:
        """Keeps a summary or a title; the session's tokens count it. A running turn goes on.

        Args:
            session_id: The session's name.
            aside: What a model wrote, about turns that are still in view.
            hold: The claim or hold under which it was written, if there was one.

        Raises:
            SessionNotFoundError: There is no such session, or it was deleted meanwhile.
            SessionError: What it is about was reset, replaced, undone or forgotten meanwhile.
        """
        ...

    async def undo(self, session_id: str) -> TurnChange:
        """Takes the last turn out of view, or brings its version before back.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A live owner runs a turn of it.
            SessionError: There is nothing to undo.
        """
        ...

    async def redo(self, session_id: str) -> TurnChange:
        """Takes the last undo back.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A live owner runs a turn of it.
            SessionError: There is nothing to redo.
        """
        ...

    async def forget(self, session_id: str, turn: int) -> Removal:
        """Takes a turn away: its versions, its attachments, and the summaries made of it.

        The turns after it keep their numbers.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A live owner runs a turn of it.
            SessionError: There is no such turn.
        """
        ...

    async def fork(self, session_id: str, new_id: str, *, turn: int | None = None) -> Session:
        """A new session with what another has in view, up to a turn; a running one is left out.

        It is there whole or not at all, however long it is.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionExistsError: The new name is taken.
            SessionError: The turn is not in view.
        """
        ...

    async def rename(self, session_id: str, new_id: str) -> Session:
        """Gives a session another name; a running turn goes on.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionExistsError: The new name is taken.
        """
        ...

    async def restore(self, transcript: Transcript, *, source: str | None = None) -> Session:
        """A new session from a transcript, under its name, times and all; whole or not at all.

        If a session of another name came from the same source and still holds it, none is made,
        and it is that one: so two who import one file at the same time make no duplicates.

        Args:
            transcript: The session, messages numbered by turn in order.
            source: What it comes from, by which ``restored`` finds it again.

        Raises:
            SessionExistsError: The name is taken.
        """
        ...

    async def restored(self, source: str) -> Session | None:
        """The session that was restored from a source last and still holds it, or ``None``."""
        ...

    async def reset(self, session_id: str) -> Removal:
        """Takes all messages away and keeps the session; a running turn ends, unsaved.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    async def delete(self, session_id: str) -> Removal:
        """Takes the session away; a running turn ends, unsaved.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    async def changes(self, since: int, *, limit: int) -> Sequence[Change]:
        """Sessions whose latest change has a number above ``since``, in that order."""
        ...

    async def set_home(self, session_id: str, notebook: str, marks: Sequence[str]) -> Session:
        """Makes it the notebook's own session, in place of the one before; it knows these marks.

        A mark is what a notebook is recognised by, such as ``history.cell_mark`` of a cell's id.
        A session keeps those that it knows when it moves from one home to another. The one before
        keeps all but these: it has no home any more, but they still lead to it.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    async def home_session(self, notebook: str) -> Session | None:
        """The notebook's own session, or ``None``."""
        ...

    async def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        """Whether the session knows one of these marks, by its home or by one that it had.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        ...

    async def sessions_of_marks(self, marks: Sequence[str]) -> Sequence[Session]:
        """Sessions that know one of these marks, the latest used first.

        Notebooks' own, and those that were before another took their place: their ``home`` is
        ``None``.
        """
        ...
