"""What an agent does with sessions: made, looked at, changed, forked, and taken away.

One of the parts of ``agent``, which has them all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

from dexto_magic.agent.arguments import (
    cursor_or_none,
    natural_limit,
    session_changes,
    text_or_none,
    turn_number,
)
from dexto_magic.agent.choosing import ModelChoice
from dexto_magic.agent.membership import Membership
from dexto_magic.agent.ridding import Ridding
from dexto_magic.agent.roll import EVERY
from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.messages import new_id as made_up_id
from dexto_magic.conversation.record import SessionChanges
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    valid_session_id,
)
from dexto_magic.errors import SessionExistsError
from dexto_magic.turns.running import TurnHost


class SessionMethods:
    """The methods of an agent that are about whole sessions."""

    _membership: Membership
    _ridding: Ridding
    _models: ModelChoice
    _host: TurnHost

    async def create_session(
        self,
        session_id: str | None = None,
        *,
        model: str | None = None,
        system: str | None = None,
    ) -> Session:
        """A new, empty session.

        Args:
            session_id: Its name, or ``None`` for one such as ``sess_abc123def456``.
            model: Its own model, as ``"provider:model"``.
            system: Its own system prompt.

        Raises:
            InvalidSessionIdError: No session can have that name.
            SessionExistsError: The name is taken.
            SettingsError: The model cannot be used, or not be a session's own.
            StoreError: The store cannot take it.
        """
        name = made_up_id("sess") if session_id is None else valid_session_id(session_id)
        own_model = self._models.own(model)
        own_system = text_or_none("system", system)
        return await self._membership.store().create(name, model=own_model, system=own_system)

    async def get_session(self, session_id: str) -> Session | None:
        """The session, or ``None`` if there is none of that name.

        Raises:
            InvalidSessionIdError: No session can have that name.
            StoreError: The store cannot be read.
        """
        return await self._membership.store().get(valid_session_id(session_id))

    async def get_or_create_session(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        """The session, made first if there is none of that name.

        Args:
            session_id: Its name.
            model: Its own model, if it has to be made.
            system: Its own system prompt, if it has to be made.

        Raises:
            InvalidSessionIdError: No session can have that name.
            SettingsError: The model cannot be used, or not be a session's own.
            StoreError: The store cannot take it.
        """
        while True:
            session = await self.get_session(session_id)
            if session is not None:
                return session
            try:
                return await self.create_session(session_id, model=model, system=system)
            except SessionExistsError:
                continue  # somebody else made it just now

    async def list_sessions(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> SessionPage:
        """Sessions, most recently used first: a sequence with a ``cursor``.

        Args:
            limit: At most so many; ``None`` for all.
            cursor: The ``cursor`` of a page, to go on where it ended.

        Raises:
            SettingsError: ``limit`` or ``cursor`` makes no sense.
            StoreError: The store cannot be read.
        """
        store = self._membership.store()
        cursor = cursor_or_none(cursor)
        if limit is not None:
            return await store.list(limit=natural_limit(limit), cursor=cursor)
        # In one go: one that is used between two pages would be on neither.
        return await store.list(limit=EVERY, cursor=cursor)

    async def update_session(self, session_id: str, **changes: Unpack[SessionChanges]) -> Session:
        """Changes what the session has of its own; ``None`` leaves it.

        Args:
            session_id: Its name.
            changes: ``model`` (as ``"provider:model"``), ``system``, ``title``, ``overflow``
                (``"compact"``, ``"trim"`` or ``"error"``) and ``context_budget`` (tokens); ``""``
                or 0 to go by the agent's, or by the first prompt, again.

        Raises:
            SessionNotFoundError: There is no such session.
            SettingsError: One of them cannot be used.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        checked = session_changes(changes)
        if checked.get("model"):
            checked["model"] = self._models.own(checked["model"])
        return await self._membership.store().update(session.id, **checked)

    async def get_session_history(
        self, session_id: str, *, limit: int | None = None
    ) -> list[Message]:
        """The session's messages, in order.

        Args:
            session_id: Its name.
            limit: Only the newest so many.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be read.
        """
        return list((await self.get_transcript(session_id, limit=limit)).messages)

    async def get_transcript(
        self, session_id: str, *, limit: int | None = None, everything: bool = False
    ) -> Transcript:
        """The session and its messages, as one value.

        Args:
            session_id: Its name.
            limit: Only the newest so many messages.
            everything: Whether also versions that are not in view are wanted, summaries, and what
                undo would do; ``limit`` is none then.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be read.
        """
        session = await self._membership.session(session_id)
        number = None if limit is None else natural_limit(limit)
        return await self._membership.store().transcript(
            session.id, limit=number, everything=everything
        )

    async def fork_session(
        self, session_id: str, new_id: str | None = None, *, turn: int | None = None
    ) -> Session:
        """A new session that goes on from what is in view in another; that one is left as it is.

        A turn that is running is left out. It is there whole or not at all, however long it is.

        Args:
            session_id: The name of the session that it comes from.
            new_id: The new one's name, or ``None`` for one such as ``sess_abc123def456``.
            turn: The number of the last turn to take over, or ``None`` for all.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionExistsError: The new name is taken.
            InvalidSessionIdError: No session can have that name.
            SessionError: The turn is not in view.
            StoreError: The store cannot take it.
        """
        name = made_up_id("sess") if new_id is None else valid_session_id(new_id)
        session = await self._membership.session(session_id)
        number = None if turn is None else turn_number(turn)
        return await self._membership.store().fork(session.id, name, turn=number)

    async def rename_session(self, session_id: str, new_id: str) -> Session:
        """Gives the session another name; a running turn goes on.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionExistsError: The new name is taken.
            InvalidSessionIdError: No session can have that name.
            StoreError: The store cannot take it.
        """
        name = valid_session_id(new_id)
        session = await self._membership.session(session_id)
        renamed = await self._membership.store().rename(session.id, name)
        self._host.renamed(session.id, name)
        return renamed

    async def restore_session(
        self, transcript: Transcript, *, source: str | None = None
    ) -> Session:
        """A new session from a transcript, such as an import: its name, its times, every message.

        It is there whole or not at all. ``import_sessions`` finds a name that is free.

        Args:
            transcript: The session; its turns are numbered in order.
            source: What it comes from, by which ``restored_session`` finds it again. If a session
                of another name came from there and still holds it, none is made, and it is that
                one.

        Raises:
            SessionExistsError: The name is taken.
            InvalidSessionIdError: No session can have that name.
            StoreError: The store cannot take it.
        """
        name = valid_session_id(transcript.session.id)
        named = replace(transcript, session=replace(transcript.session, id=name))
        return await self._membership.store().restore(named, source=source)

    async def restored_session(self, source: str) -> Session | None:
        """The session that was restored from a source and still holds it, or ``None``.

        Raises:
            StoreError: The store cannot be read.
        """
        return await self._membership.store().restored(source)

    async def get_attachment(self, session_id: str, digest: str) -> bytes | None:
        """The bytes of an attachment by its digest, or ``None`` if they are not kept.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be read.
        """
        session = await self._membership.session(session_id)
        return await self._membership.store().file(session.id, digest)

    async def reset_conversation(self, session_id: str) -> Removal:
        """Takes all messages away and keeps the session; a running turn ends.

        Its name, model, system prompt and lifetime usage stay.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        removal = await self._membership.store().reset(session.id)
        self._host.stop_runs(session.id, "reset")
        return await self._ridding.after(removal)

    async def delete_session(self, session_id: str) -> Removal:
        """Takes the session away with all that it holds; a running turn ends.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        removal = await self._membership.store().delete(session.id)
        self._host.stop_runs(session.id, "deleted")
        return await self._ridding.after(removal)
