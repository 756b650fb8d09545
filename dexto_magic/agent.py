"""The core API: sessions to create, talk in, look at and take away, from asynchronous code.

Everything else is built on it: ``DextoAgent`` is the same, blocking; cells, panel and command line
call that. It knows no notebook, and has no current session: that belongs to a front end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, Unpack

from dexto_magic import wiring
from dexto_magic.arguments import (
    cursor_or_none,
    named_folder,
    natural_limit,
    text_or_none,
    turn_options,
    worth_sending,
)
from dexto_magic.cancellation import seen_through
from dexto_magic.choosing import ModelChoice, default_config
from dexto_magic.conversation.messages import Message, Reply, new_id
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    valid_session_id,
)
from dexto_magic.errors import SessionExistsError
from dexto_magic.llm.providers import LLMConfig, llm_config, spec
from dexto_magic.membership import Membership
from dexto_magic.prompts import Prompt, TurnOptions
from dexto_magic.reply_stream import ReplyStream
from dexto_magic.running import TurnHost, TurnRun
from dexto_magic.settings import Settings
from dexto_magic.stores.protocol import Store
from dexto_magic.unsaved import UnsavedReplies

_PAGE = 500


class AsyncDextoAgent:
    """Conversations with a model, each in a named session that outlives this process.

    Use it as an asynchronous context manager, or call ``start`` and ``stop``. It belongs to the
    event loop it was started on, where any number of tasks may use it at once.

    Args:
        llm: Which model answers: ``{"provider": "openai", "model": "gpt-4o-mini", "api_key": …}``
            with what else ``LLMConfig`` has, such as ``base_url``, ``options`` or ``timeout``; an
            ``LLMConfig``; ``"provider:model"``; or ``"practice"``. ``None`` for ``DEXTO_MODEL``, else
            ``openai:gpt-4o-mini``.
        store: The folder in which sessions are kept, or a ``Store``. ``None`` for ``DEXTO_HOME``,
            else the platform's folder for user data.
        system: The system prompt of sessions that have none of their own.
        label: What this agent is, in words, for those who have to wait for it.

    Raises:
        SettingsError: ``llm``, or a variable that stands in for an argument, cannot be used.
    """

    def __init__(
        self,
        llm: str | Mapping[str, Any] | LLMConfig | None = None,
        *,
        store: str | os.PathLike[str] | Store | None = None,
        system: str | None = None,
        label: str = "another agent",
    ) -> None:
        try:
            self._models = ModelChoice(llm_config(llm) if llm else default_config())
        finally:
            del llm  # a key may be in it, and a verbose traceback shows the variables of this frame
        if store is None:
            store = Settings.from_environment().home
        self._owns_store = isinstance(store, str | os.PathLike)
        if isinstance(store, str | os.PathLike):
            store = wiring.store_at(named_folder(store))
        self._store = store
        self._system = text_or_none("system", system)
        self._label = label
        self._membership = Membership(store, closes=self._owns_store, label=label)
        self._host = TurnHost(
            store=store,
            session=self._membership.session,
            owner=self._membership.owner,
            model=self._models.answering,
            system=self._system,
            unsaved=UnsavedReplies(store),
        )

    def _twin(self) -> AsyncDextoAgent:
        """Another agent, not started, that is set up as this one is, entered keys included."""
        store = self._store.location if self._owns_store else self._store
        twin = AsyncDextoAgent(
            self._models.config, store=store, system=self._system, label=self._label
        )
        twin._models.keys.update(self._models.keys)
        return twin

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the store. Does nothing if it is started.

        Raises:
            StoreError: The store cannot be opened.
        """
        await self._membership.begin()

    async def stop(self) -> None:
        """Ends running turns, saving what arrived, and lets go of everything.

        Does nothing if it is not started.

        Raises:
            StoreError: A reply that the store could not take still cannot be saved.
        """
        if self._membership.resign():
            await seen_through(self._let_go())

    async def _let_go(self) -> None:
        """Each step is taken, the last one first, whatever becomes of the others."""
        runs = self._host.runs
        async with AsyncExitStack() as steps:
            steps.push_async_callback(self._membership.end)
            steps.push_async_callback(self._models.close)
            steps.push_async_callback(self._host.unsaved.end)
            for run in runs:
                run.stop("interrupted")
            await asyncio.gather(*(run.ended() for run in runs))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def location(self) -> str:
        """Where the sessions are kept, for people."""
        return self._store.location

    @property
    def model(self) -> str:
        """The model that answers where nothing else is said, as ``"provider:model"``."""
        return spec(self._models.config)

    # -- sessions --------------------------------------------------------------------------------

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
        name = new_id("sess") if session_id is None else valid_session_id(session_id)
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
        sessions: list[Session] = []
        while True:
            page = await store.list(limit=_PAGE, cursor=cursor)
            sessions.extend(page)
            cursor = page.cursor
            if cursor is None:
                return SessionPage(sessions=tuple(sessions), cursor=None)

    async def update_session(
        self, session_id: str, *, model: str | None = None, system: str | None = None
    ) -> Session:
        """Changes the session's own model or system prompt.

        Args:
            session_id: Its name.
            model: As ``"provider:model"``; ``""`` to go by the agent's again.
            system: A system prompt; ``""`` to go by the agent's again.

        Raises:
            SessionNotFoundError: There is no such session.
            SettingsError: The model cannot be used, or not be a session's own.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        own_model = self._models.own(model) if model else model
        own_system = text_or_none("system", system)
        return await self._membership.store().update(session.id, model=own_model, system=own_system)

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

    async def get_transcript(self, session_id: str, *, limit: int | None = None) -> Transcript:
        """The session and its messages, as one value.

        Args:
            session_id: Its name.
            limit: Only the newest so many messages.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be read.
        """
        session = await self._membership.session(session_id)
        number = None if limit is None else natural_limit(limit)
        return await self._membership.store().transcript(session.id, limit=number)

    async def reset_conversation(self, session_id: str) -> Removal:
        """Takes all messages away and keeps the session; a running turn ends.

        Its name, model, system prompt and lifetime usage stay.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        removal = await self._membership.store().reset(session.id)
        self._stop_runs(session.id, "reset")
        return removal

    async def delete_session(self, session_id: str) -> Removal:
        """Takes the session away with all that it holds; a running turn ends.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        removal = await self._membership.store().delete(session.id)
        self._stop_runs(session.id, "deleted")
        return removal

    # -- turns -----------------------------------------------------------------------------------

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

    async def cancel(self, session_id: str) -> bool:
        """Ends the turn of the session that is running, here or in any other process.

        Returns:
            Whether there was one. One that another process runs ends within a second.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be reached, and the turn runs in another process.
        """
        store = self._membership.store()
        runs = self._stop_runs(valid_session_id(session_id), "interrupted")
        await asyncio.gather(*(run.ended() for run in runs))
        if any(run.claimed for run in runs):
            return True
        # What was stopped here has been waiting for a turn that runs elsewhere, if anything.
        session = await self._membership.session(session_id)
        return await store.request_cancel(session.id) or bool(runs)

    # -- for front ends --------------------------------------------------------------------------

    async def set_key(self, provider: str, key: str) -> None:
        """Takes a key for a provider, for as long as this agent lives; it is stored nowhere.

        Raises:
            SettingsError: There is no such provider, or the key is no text.
        """
        try:
            self._models.take_key(provider, key)
        finally:
            del key  # a verbose traceback shows the variables of this frame

    async def notebook_session(self, notebook: str) -> Session | None:
        """The notebook's own session, or ``None``."""
        return await self._membership.store().home_session(notebook)

    async def adopt_notebook(
        self, session_id: str, notebook: str, marks: Sequence[str] = ()
    ) -> Session:
        """Makes the session the notebook's own, which knows it by these marks.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        return await self._membership.store().set_home(session.id, notebook, marks)

    async def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        """Whether the session, being some notebook's own, knows one of these marks.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        session = await self._membership.session(session_id)
        return await self._membership.store().knows_marks(session.id, marks)

    async def sessions_of_marks(self, marks: Sequence[str]) -> Sequence[Session]:
        """Notebooks' own sessions that know one of these marks, the latest used first."""
        return await self._membership.store().sessions_of_marks(marks)

    # -- within ----------------------------------------------------------------------------------

    def _stop_runs(self, session_id: str, reason: str) -> list[TurnRun]:
        runs = [run for run in self._host.runs if run.prompt.session_id == session_id]
        for run in runs:
            run.stop(reason)
        return runs
