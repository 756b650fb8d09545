"""The core API for code that is not asynchronous: the same methods, blocking.

No logic of conversations is here: all of it runs in ``AsyncDextoAgent``, on one event loop in a
thread of its own, and the caller waits. So an interrupt reaches the caller at once, and the turn
that it was waiting for is ended and saved. What is here is how that loop begins and ends: by
``start`` and ``stop``, with the object, with the interpreter, and anew in a forked child.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from dexto_magic.agent.async_agent import AsyncDextoAgent
from dexto_magic.agent.background import BackgroundLoop
from dexto_magic.agent.blocking_stream import BlockingReplyStream
from dexto_magic.errors import DextoError
from dexto_magic.llm.providers import LLMConfig
from dexto_magic.stores.protocol import Store
from dexto_magic.turns.prompts import TurnOptions
from dexto_magic.turns.reply_stream import ReplyStream

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[AsyncDextoAgent, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[DextoAgent, P], T]:
    """The blocking twin of a method, with its name, signature and documentation."""

    @functools.wraps(method)
    def call(self: DextoAgent, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(lambda agent: method(agent, *args, **kwargs))

    return call


def _blocking_anytime(
    method: Callable[Concatenate[AsyncDextoAgent, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[DextoAgent, P], T]:
    """The same for a method that an agent has that is not started: on a loop for this call."""

    @functools.wraps(method)
    def call(self: DextoAgent, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._background is not None or self._was_forked:
            return self._wait(lambda agent: method(agent, *args, **kwargs))
        background = BackgroundLoop("dexto-agent")
        try:
            return background.run(lambda: method(self._agent, *args, **kwargs))
        finally:
            background.close()

    return call


class DextoAgent:
    """Conversations with a model, each in a named session that outlives this process.

    Use it in a ``with`` statement, or call ``start`` and ``stop``. Any number of threads may use it
    at once, and it works where an event loop is running, as in a notebook.

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
            self._agent = AsyncDextoAgent(llm, store=store, system=system, label=label)
        finally:
            del llm  # a key may be in it, and a verbose traceback shows the variables of this frame
        self._background: BackgroundLoop | None = None
        self._finalizer: weakref.finalize[..., DextoAgent] | None = None
        self._was_forked = False
        self._lock = threading.Lock()
        _register_at_fork()
        _AGENTS.add(self)

    def start(self) -> None:
        """Opens the store, and starts the thread that works. Does nothing if it is started.

        Raises:
            StoreError: The store cannot be opened.
        """
        with self._lock:
            if self._background is None:
                self._begin()

    def stop(self) -> None:
        """Ends running turns, saving what arrived, and lets go of everything.

        Does nothing if it is not started. It happens by itself when the interpreter exits.

        Raises:
            StoreError: A reply that the store could not take still cannot be saved.
        """
        with self._lock:
            background, self._background, self._was_forked = self._background, None, False
            if self._finalizer is not None:
                self._finalizer.detach()
            if background is not None:
                _stop(self._agent, background)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def location(self) -> str:
        """Where the sessions are kept, for people."""
        return self._agent.location

    @property
    def model(self) -> str:
        """The model that answers where nothing else is said, as ``"provider:model"``."""
        return self._agent.model

    create_session = _blocking(AsyncDextoAgent.create_session)
    get_session = _blocking(AsyncDextoAgent.get_session)
    get_or_create_session = _blocking(AsyncDextoAgent.get_or_create_session)
    list_sessions = _blocking(AsyncDextoAgent.list_sessions)
    update_session = _blocking(AsyncDextoAgent.update_session)
    fork_session = _blocking(AsyncDextoAgent.fork_session)
    rename_session = _blocking(AsyncDextoAgent.rename_session)
    get_session_history = _blocking(AsyncDextoAgent.get_session_history)
    get_transcript = _blocking(AsyncDextoAgent.get_transcript)
    reset_conversation = _blocking(AsyncDextoAgent.reset_conversation)
    delete_session = _blocking(AsyncDextoAgent.delete_session)
    generate = _blocking(AsyncDextoAgent.generate)
    search = _blocking(AsyncDextoAgent.search)
    retry = _blocking(AsyncDextoAgent.retry)
    undo = _blocking(AsyncDextoAgent.undo)
    redo = _blocking(AsyncDextoAgent.redo)
    forget_turn = _blocking(AsyncDextoAgent.forget_turn)
    restore_session = _blocking(AsyncDextoAgent.restore_session)
    restored_session = _blocking(AsyncDextoAgent.restored_session)
    export_sessions = _blocking(AsyncDextoAgent.export_sessions)
    import_sessions = _blocking(AsyncDextoAgent.import_sessions)
    survey_sessions = _blocking(AsyncDextoAgent.survey_sessions)
    get_attachment = _blocking(AsyncDextoAgent.get_attachment)
    preview = _blocking(AsyncDextoAgent.preview)
    context = _blocking(AsyncDextoAgent.context)
    compact = _blocking(AsyncDextoAgent.compact)
    generate_title = _blocking(AsyncDextoAgent.generate_title)
    cancel = _blocking(AsyncDextoAgent.cancel)
    doctor = _blocking_anytime(AsyncDextoAgent.doctor)
    backup = _blocking_anytime(AsyncDextoAgent.backup)
    restore = _blocking_anytime(AsyncDextoAgent.restore)
    set_key = _blocking(AsyncDextoAgent.set_key)
    notebook_session = _blocking(AsyncDextoAgent.notebook_session)
    adopt_notebook = _blocking(AsyncDextoAgent.adopt_notebook)
    knows_marks = _blocking(AsyncDextoAgent.knows_marks)
    sessions_of_marks = _blocking(AsyncDextoAgent.sessions_of_marks)

    def stream(
        self, text: str, session_id: str, **options: Unpack[TurnOptions]
    ) -> BlockingReplyStream:
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
        return self._streaming(lambda agent: agent.stream(text, session_id, **options))

    def stream_retry(
        self,
        session_id: str,
        new_text: str | None = None,
        *,
        turn: int | None = None,
        **options: Unpack[TurnOptions],
    ) -> BlockingReplyStream:
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
        return self._streaming(
            lambda agent: agent.stream_retry(session_id, new_text, turn=turn, **options)
        )

    def _streaming(self, begin: Callable[[AsyncDextoAgent], ReplyStream]) -> BlockingReplyStream:
        async def begun(agent: AsyncDextoAgent) -> ReplyStream:
            return begin(agent)

        background = self._running()
        return BlockingReplyStream(
            background, background.run(functools.partial(begun, self._agent)), keep=self
        )

    def _wait(self, work: Callable[[AsyncDextoAgent], Coroutine[Any, Any, T]]) -> T:
        background = self._running()
        return background.run(functools.partial(work, self._agent))

    def _running(self) -> BackgroundLoop:
        if self._was_forked:
            self.start()
        background = self._background
        if background is None:
            raise DextoError(
                "This agent is not started: call start(), or use it in a `with` statement."
            )
        return background

    def _begin(self) -> None:
        # One of its own for each start: its locks and connections belong to one loop.
        agent = self._agent._twin()  # noqa: SLF001  # its other half
        background = BackgroundLoop("dexto-agent")
        try:
            background.run(agent.start)
            self._agent, self._background, self._was_forked = agent, background, False
            self._finalizer = weakref.finalize(self, _collected, agent, background)
        except BaseException:
            self._background = None
            _stop(agent, background)
            raise

    def _in_forked_child(self) -> None:
        """The thread, the loop and its connections are the parent's: it begins anew when needed."""
        _PARENTS.append(self._agent)
        self._lock = threading.Lock()
        if self._finalizer is not None:
            self._finalizer.detach()
        if self._background is not None:
            self._background.forsake()
            self._background, self._was_forked = None, True


_AGENTS: weakref.WeakSet[DextoAgent] = weakref.WeakSet()
"""What a forked child has copies of."""

_PARENTS: list[AsyncDextoAgent] = []
"""Kept from being collected in a forked child, as that would close SQLite's descriptors."""


@functools.cache
def _register_at_fork() -> None:
    def in_child() -> None:
        for agent in list(_AGENTS):
            agent._in_forked_child()  # noqa: SLF001  # they are one module

    os.register_at_fork(after_in_child=in_child)


def _stop(agent: AsyncDextoAgent, background: BackgroundLoop) -> None:
    try:
        background.run(agent.stop)
    finally:
        background.close()


def _collected(agent: AsyncDextoAgent, background: BackgroundLoop) -> None:
    """Stops an agent that nobody holds any more, or at the interpreter's exit.

    Collecting happens on any thread, the loop's own too, and must hold up none.
    """
    if threading.main_thread().is_alive():
        threading.Thread(target=_stop, args=[agent, background], name="dexto-agent-stop").start()
    else:
        _stop(agent, background)
