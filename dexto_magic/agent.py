"""The core API: sessions to create, talk in, look at and take away, from asynchronous code.

Everything else is built on it: ``DextoAgent`` is the same, blocking; cells, panel and command line
call that. It knows no notebook, and has no current session: that belongs to a front end.
"""

from __future__ import annotations

import asyncio
import difflib
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, Unpack

from dexto_magic import wiring
from dexto_magic.cancellation import seen_through
from dexto_magic.conversation.messages import JSON, Message, Origin, Reply, new_id
from dexto_magic.conversation.session import (
    Removal,
    Session,
    SessionPage,
    Transcript,
    not_found,
    valid_session_id,
)
from dexto_magic.errors import (
    DextoError,
    ModelRequestError,
    SessionExistsError,
    SettingsError,
)
from dexto_magic.llm.discretion import Secret
from dexto_magic.llm.outgoing import sendable_options
from dexto_magic.llm.protocol import ChatModel
from dexto_magic.llm.provider_table import PRACTICE, PROVIDERS
from dexto_magic.llm.providers import (
    DEFAULT_MODEL,
    LLMConfig,
    llm_config,
    spec,
    with_model,
)
from dexto_magic.reply_stream import ReplyStream
from dexto_magic.running import (
    Prompt,
    TurnHost,
    TurnOptions,
    TurnRun,
    settle_unsaved,
)
from dexto_magic.settings import MODEL_VARIABLE, Settings, variable
from dexto_magic.stores.protocol import Owner, Store

_PAGE = 500

_ALL = 2**62
"""More than any store holds, and less than SQLite's largest number."""

_CURSOR = re.compile("(?:[0-9a-f]{2})+")
"""What a cursor of any store looks like; what it means is the store's own."""

_COMPARED_NAMES = 1000
"""Names, the latest used, among which a name that is not there is looked for; comparing is slow."""


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
            self._config = llm_config(llm) if llm else _default_config()
        finally:
            del llm  # a key may be in it, and a verbose traceback shows the variables of this frame
        if store is None:
            store = Settings.from_environment().home
        self._owns_store = isinstance(store, str | os.PathLike)
        self._store = _store_at(store) if isinstance(store, str | os.PathLike) else store
        self._system = _checked("system", system)
        self._label = label
        self._models = wiring.Models()
        self._owner: Owner | None = None
        self._joining: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._host = TurnHost(
            store=self._store,
            session=self._known,
            owner=self._joined,
            model=self._model_for,
            system=self._system,
        )

    def _twin(self) -> AsyncDextoAgent:
        """Another agent, not started, that is set up as this one is, entered keys included."""
        store = self._store.location if self._owns_store else self._store
        twin = AsyncDextoAgent(self._config, store=store, system=self._system, label=self._label)
        twin._models.keys.update(self._models.keys)
        return twin

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the store. Does nothing if it is started.

        Raises:
            StoreError: The store cannot be opened.
        """
        if self._loop is None:
            await self._store.open()
            # Not in __init__: a lock belongs to the loop on which it is first waited for.
            self._joining = asyncio.Lock()
            self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Ends running turns, saving what arrived, and lets go of everything.

        Does nothing if it is not started.

        Raises:
            StoreError: A reply that the store could not take still cannot be saved.
        """
        if self._loop is not None:
            self._started()
            self._loop = None
            await seen_through(self._let_go())

    async def _let_go(self) -> None:
        """Each step is taken, the last one first, whatever becomes of the others."""
        host, owner, self._owner = self._host, self._owner, None
        async with AsyncExitStack() as steps:
            if self._owns_store:
                steps.push_async_callback(self._store.close)
            if owner is not None:
                steps.push_async_callback(self._store.leave, owner)
            steps.push_async_callback(self._models.close)
            for run in host.runs:
                run.stop("interrupted")
            for task in host.retries:
                task.cancel()
            await asyncio.gather(*(run.ended() for run in host.runs))
            await asyncio.gather(*host.retries, return_exceptions=True)
            for session_id in host.unsaved:
                steps.push_async_callback(settle_unsaved, host, session_id)

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
        return spec(self._config)

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
        own_model = self._own_model(model)
        own_system = _checked("system", system)
        return await self._started().create(name, model=own_model, system=own_system)

    async def get_session(self, session_id: str) -> Session | None:
        """The session, or ``None`` if there is none of that name.

        Raises:
            InvalidSessionIdError: No session can have that name.
            StoreError: The store cannot be read.
        """
        return await self._started().get(valid_session_id(session_id))

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
        store = self._started()
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise SettingsError(
                f"{cursor!r} is no cursor: pass on the cursor of a page as it is.", option="cursor"
            )
        if limit is not None:
            return await store.list(limit=_natural(limit), cursor=cursor)
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
        session = await self._known(session_id)
        own_model = self._own_model(model) if model else model
        own_system = _checked("system", system)
        return await self._started().update(session.id, model=own_model, system=own_system)

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
        session = await self._known(session_id)
        number = None if limit is None else _natural(limit)
        return await self._started().transcript(session.id, limit=number)

    async def reset_conversation(self, session_id: str) -> Removal:
        """Takes all messages away and keeps the session; a running turn ends.

        Its name, model, system prompt and lifetime usage stay.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._known(session_id)
        removal = await self._started().reset(session.id)
        self._stop_runs(session.id, "reset")
        return removal

    async def delete_session(self, session_id: str) -> Removal:
        """Takes the session away with all that it holds; a running turn ends.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._known(session_id)
        removal = await self._started().delete(session.id)
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
        self._started()
        name = valid_session_id(session_id)
        prompt = Prompt(session_id=name, text=_worth_sending(text, name), **_usable(options))
        return ReplyStream(TurnRun(prompt, self._host))

    async def cancel(self, session_id: str) -> bool:
        """Ends the turn of the session that is running, here or in any other process.

        Returns:
            Whether there was one. One that another process runs ends within a second.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot be reached, and the turn runs in another process.
        """
        store = self._started()
        runs = self._stop_runs(valid_session_id(session_id), "interrupted")
        await asyncio.gather(*(run.ended() for run in runs))
        if any(run.claimed for run in runs):
            return True
        # What was stopped here has been waiting for a turn that runs elsewhere, if anything.
        session = await self._known(session_id)
        return await store.request_cancel(session.id) or bool(runs)

    # -- for front ends --------------------------------------------------------------------------

    async def set_key(self, provider: str, key: str) -> None:
        """Takes a key for a provider, for as long as this agent lives; it is stored nowhere.

        Raises:
            SettingsError: There is no such provider, or the key is no text.
        """
        given: object = key
        if provider not in PROVIDERS or not isinstance(given, str) or not given.strip():
            del key, given  # a verbose traceback shows the variables of this frame
            raise SettingsError(
                f"A key is a text, for one of {', '.join(PROVIDERS)}.", option="api_key"
            )
        self._models.keys[provider] = Secret(key)

    async def notebook_session(self, notebook: str) -> Session | None:
        """The notebook's own session, or ``None``."""
        return await self._started().home_session(notebook)

    async def adopt_notebook(
        self, session_id: str, notebook: str, marks: Sequence[str] = ()
    ) -> Session:
        """Makes the session the notebook's own, which knows it by these marks.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: The store cannot take it.
        """
        session = await self._known(session_id)
        return await self._started().set_home(session.id, notebook, marks)

    async def knows_marks(self, session_id: str, marks: Sequence[str]) -> bool:
        """Whether the session, being some notebook's own, knows one of these marks.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        session = await self._known(session_id)
        return await self._started().knows_marks(session.id, marks)

    async def sessions_of_marks(self, marks: Sequence[str]) -> Sequence[Session]:
        """Notebooks' own sessions that know one of these marks, the latest used first."""
        return await self._started().sessions_of_marks(marks)

    # -- within ----------------------------------------------------------------------------------

    def _started(self) -> Store:
        """The store, if the agent may be used here and now."""
        if self._loop is None:
            raise DextoError(
                "This agent is not started: call start(), or use it in a `with` statement "
                "(`async with` for AsyncDextoAgent)."
            )
        if self._loop is not asyncio.get_running_loop():
            raise DextoError(
                "This agent was started on another event loop. Start one agent per loop, or use "
                "DextoAgent, which may be called from anywhere."
            )
        return self._store

    async def _known(self, session_id: str) -> Session:
        name = valid_session_id(session_id)
        session = await self._started().get(name)
        if session is None:
            recent = await self._store.list(limit=_COMPARED_NAMES)
            names = [other.id for other in recent]
            raise not_found(name, difflib.get_close_matches(name, names))
        return session

    def _own_model(self, model: str | None) -> str | None:
        """The name under which a session keeps a model of its own."""
        if not model:
            return None
        config = with_model(self._config, model)
        if config.provider == PRACTICE:
            raise SettingsError(
                "The practice model is never stored as a session's own: choose it for this agent "
                "(llm='practice'), for one turn (model='practice'), or with DEXTO_MODEL=practice.",
                option="model",
            )
        return spec(config)

    def _model_for(
        self, session: Session, choice: str | None
    ) -> tuple[ChatModel, Mapping[str, JSON]]:
        """Who answers, and the request options that go with every question."""
        name = choice or session.model
        config = with_model(self._config, name) if name else self._config
        return self._models.get(config), config.options

    async def _joined(self) -> Owner:
        """This agent's owner: made with its first turn, so that a store can be read only."""
        assert self._joining is not None
        async with self._joining:
            if self._owner is None:
                self._owner = await self._store.join(self._label)
        return self._owner

    def _stop_runs(self, session_id: str, reason: str) -> list[TurnRun]:
        runs = [run for run in self._host.runs if run.prompt.session_id == session_id]
        for run in runs:
            run.stop(reason)
        return runs


def _worth_sending(text: str, session_id: str) -> str:
    if not isinstance(text, str):
        raise ModelRequestError(
            f"A message must be a string, not {type(text).__name__}; nothing was sent to "
            f"{session_id!r}."
        )
    if not text.strip():
        raise ModelRequestError(f"The message to {session_id!r} is empty; nothing was sent.")
    return text


def _usable(options: TurnOptions) -> TurnOptions:
    """The options of a turn, once they are known to make sense."""
    for name in options:
        if name not in TurnOptions.__annotations__:
            known = ", ".join(TurnOptions.__annotations__)
            raise SettingsError(f"A turn has no option {name!r}; it has {known}.", option=name)
    if not isinstance(options.get("stream", True), bool):
        raise SettingsError("stream must be True or False.", option="stream")
    wait: object = options.get("wait", 0.0)
    if not isinstance(wait, int | float) or not 0 <= wait < math.inf:
        raise SettingsError(f"wait is {wait!r}: it must be seconds, 0 or more.", option="wait")
    for text in ("model", "system", "note"):
        _checked(text, options.get(text))
    if not isinstance(options.get("origin"), Origin | None):
        raise SettingsError("origin must be an Origin or None.", option="origin")
    return {**options, "options": sendable_options(options.get("options") or {})}


def _checked(option: str, text: object) -> str | None:
    if not isinstance(text, str | None):
        raise SettingsError(
            f"{option} must be a string or None, not {type(text).__name__}.", option=option
        )
    return text


def _natural(limit: object) -> int:
    if not isinstance(limit, int) or limit < 0:
        raise SettingsError(
            f"limit is {limit!r}: it must be a whole number of 0 or more.", option="limit"
        )
    return min(limit, _ALL)


def _default_config() -> LLMConfig:
    chosen = variable(MODEL_VARIABLE)
    return llm_config(chosen, variable=MODEL_VARIABLE) if chosen else llm_config(DEFAULT_MODEL)


def _store_at(folder: str | os.PathLike[str]) -> Store:
    if not os.fspath(folder):
        raise SettingsError("store is empty: name a folder, or leave it out.", option="store")
    return wiring.store_at(folder)
