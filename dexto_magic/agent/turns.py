"""What an agent does with turns: asked, asked again, ended, taken back and forgotten.

One of the parts of ``agent``, which has them all.
"""

from __future__ import annotations

import asyncio
from typing import Unpack

from dexto_magic.agent.arguments import turn_number, turn_options, worth_sending
from dexto_magic.agent.membership import Membership
from dexto_magic.agent.ridding import Ridding
from dexto_magic.conversation.messages import Reply
from dexto_magic.conversation.session import Removal, Session, TurnChange, valid_session_id
from dexto_magic.errors import SessionError
from dexto_magic.turns.prompts import Prompt, TurnOptions
from dexto_magic.turns.reply_stream import ReplyStream
from dexto_magic.turns.running import TurnHost, TurnRun


class TurnMethods:
    """The methods of an agent that are about turns."""

    _membership: Membership
    _ridding: Ridding
    _host: TurnHost

    async def generate(self, text: str, session_id: str, **options: Unpack[TurnOptions]) -> Reply:
        """Sends a message in a session, and waits for the whole reply.

        The message is stored before it is sent, the reply while it arrives. If the task that waits
        is cancelled, the turn ends first, and what arrived is kept.

        Args:
            text: The message.
            session_id: The session's name.
            options: What this turn has of its own: ``model``, ``system``, ``options`` (request
                options such as ``{"temperature": 0}``), ``stream``, ``wait`` (seconds), ``note``
                and ``origin``; see ``TurnOptions``.

        Returns:
            The reply. Its ``status`` is ``"complete"`` unless somebody cancelled the turn.

        Raises:
            SessionNotFoundError: There is no such session, or it was deleted meanwhile.
            SessionBusyError: Another turn of it is running.
            SessionError: It was reset meanwhile.
            ModelError: The model did not answer as it should; the error carries what arrived.
            SettingsError: The model or an option cannot be used; nothing was stored.
            StoreError: The store cannot take it.
        """
        stream = self.stream(text, session_id, **options)
        stream.forward(lambda _: None)  # nobody reads the pieces
        return await stream.finish()

    def stream(self, text: str, session_id: str, **options: Unpack[TurnOptions]) -> ReplyStream:
        """The same as ``generate``, piece by piece: iterate over what it returns.

        Nothing is sent before iteration begins. What goes wrong then is raised while iterating.

        Args:
            text: The message.
            session_id: The session's name.
            options: As for ``generate``.

        Raises:
            InvalidSessionIdError: No session can have that name.
            ModelRequestError: The message is empty.
            SettingsError: A request option cannot be used.
        """
        self._membership.store()
        name = valid_session_id(session_id)
        prompt = Prompt(session_id=name, text=worth_sending(text, name), **turn_options(options))
        return ReplyStream(TurnRun(prompt, self._host))

    async def retry(
        self,
        session_id: str,
        new_text: str | None = None,
        *,
        turn: int | None = None,
        **options: Unpack[TurnOptions],
    ) -> Reply:
        """Asks again what the last turn asked, or something else in its place.

        The answer is another version of that turn; those before are kept, and ``undo`` brings them
        back. If nothing comes of it, the version before stays in view.

        Args:
            session_id: The session's name.
            new_text: The message in place of the one before, or ``None`` for that one.
            turn: The number of another turn to ask again; only what is before it is sent, and what
                is after it stays.
            options: As for ``generate``.

        Raises:
            SessionNotFoundError: There is no such session, or it was deleted meanwhile.
            SessionBusyError: Another turn of it is running.
            SessionError: There is no such turn, or the session was reset meanwhile.
            ModelError: The model did not answer as it should; the error carries what arrived.
            SettingsError: The model or an option cannot be used; nothing was stored.
            StoreError: The store cannot take it.
        """
        stream = self.stream_retry(session_id, new_text, turn=turn, **options)
        stream.forward(lambda _: None)  # nobody reads the pieces
        return await stream.finish()

    def stream_retry(
        self,
        session_id: str,
        new_text: str | None = None,
        *,
        turn: int | None = None,
        **options: Unpack[TurnOptions],
    ) -> ReplyStream:
        """The same as ``retry``, piece by piece: iterate over what it returns.

        Args:
            session_id: The session's name.
            new_text: The message in place of the one before, or ``None`` for that one.
            turn: The number of another turn to ask again.
            options: As for ``generate``.

        Raises:
            InvalidSessionIdError: No session can have that name.
            ModelRequestError: The message is empty.
            SettingsError: A request option cannot be used.
        """
        self._membership.store()
        name = valid_session_id(session_id)
        prompt = Prompt(
            session_id=name,
            text=None if new_text is None else worth_sending(new_text, name),
            again=True,
            turn=None if turn is None else turn_number(turn),
            **turn_options(options),
        )
        return ReplyStream(TurnRun(prompt, self._host))

    async def undo(self, session_id: str) -> TurnChange:
        """Takes the last turn out of the conversation, or brings its version before back.

        What was undone is kept: ``redo`` brings it back, until the next turn.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A turn of it is running.
            SessionError: There is nothing to undo.
            StoreError: The store cannot take it.
        """
        session = await self._settled(session_id)
        return await self._membership.store().undo(session.id)

    async def redo(self, session_id: str) -> TurnChange:
        """Takes the last undo back.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A turn of it is running.
            SessionError: There is nothing to redo.
            StoreError: The store cannot take it.
        """
        session = await self._settled(session_id)
        return await self._membership.store().redo(session.id)

    async def forget_turn(self, session_id: str, turn: int) -> Removal:
        """Takes a turn away for good: its versions, its attachments, the summaries made of it.

        The turns after it keep their numbers. Nothing of it is in any file of the store afterwards.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionBusyError: A turn of it is running.
            SessionError: There is no such turn.
            StoreError: The store cannot take it.
        """
        number = turn_number(turn)
        session = await self._settled(session_id)
        try:
            removal = await self._membership.store().forget(session.id, number)
        except SessionError:
            # Perhaps it was forgotten before, by a process that was killed before the index was
            # rid of it: whoever asks for it again has a reason to.
            await self._ridding.of_what_is_gone()
            raise
        return await self._ridding.after(removal)

    async def _settled(self, session_id: str) -> Session:
        """The session of a name, its last reply saved if the store could not take it before."""
        session = await self._membership.session(session_id)
        await self._host.unsaved.settle(session.id)
        return session

    async def cancel(self, session_id: str) -> bool:
        """Ends the turn of the session that is running, here or in any other process.

        Returns:
            Whether there was one. One that another process runs ends within a second.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be reached, and the turn runs in another process.
        """
        store = self._membership.store()
        runs = self._host.stop_runs(valid_session_id(session_id), "interrupted")
        await asyncio.gather(*(run.ended() for run in runs))
        if any(run.claimed for run in runs):
            return True
        # What was stopped here has been waiting for a turn that runs elsewhere, if anything.
        session = await self._membership.session(session_id)
        return await store.request_cancel(session.id) or bool(runs)
