"""The core API for code that is not asynchronous: the same methods, blocking.

There is no logic here: everything runs in ``AsyncDextoAgent``, on one event loop in a thread of
its own, and the caller waits. So an interrupt reaches the caller at once, and the turn that it was
waiting for is ended and saved.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from dexto_magic.agent import AsyncDextoAgent
from dexto_magic.background import BackgroundLoop, Call
from dexto_magic.conversation.messages import Reply
from dexto_magic.errors import DextoError
from dexto_magic.llm.protocol import TextDelta
from dexto_magic.llm.providers import LLMConfig
from dexto_magic.reply_stream import ReplyStream
from dexto_magic.running import TurnEvent, TurnOptions
from dexto_magic.stores.protocol import Store

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
        self._make = functools.partial(
            AsyncDextoAgent, llm, store=store, system=system, label=label
        )
        self._agent = self._make()
        self._background: BackgroundLoop | None = None
        self._stop: weakref.finalize[..., DextoAgent] | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

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
            stop, self._stop, self._background = self._stop, None, None
        if stop is not None:
            stop()

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
    get_session_history = _blocking(AsyncDextoAgent.get_session_history)
    get_transcript = _blocking(AsyncDextoAgent.get_transcript)
    reset_conversation = _blocking(AsyncDextoAgent.reset_conversation)
    delete_session = _blocking(AsyncDextoAgent.delete_session)
    generate = _blocking(AsyncDextoAgent.generate)
    cancel = _blocking(AsyncDextoAgent.cancel)
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

        async def made(agent: AsyncDextoAgent) -> ReplyStream:
            return agent.stream(text, session_id, **options)

        return BlockingReplyStream(self, self._wait(made))

    def _wait(self, work: Callable[[AsyncDextoAgent], Coroutine[Any, Any, T]]) -> T:
        return self._call(work).result()

    def _call(self, work: Callable[[AsyncDextoAgent], Coroutine[Any, Any, T]]) -> Call[T]:
        if self._pid != os.getpid() and self._background is not None:
            # A forked child: the thread, the loop and its connections are the parent's.
            self._agent, self._background, self._lock = self._make(), None, threading.Lock()
            self._begin()
        if self._background is None:
            raise DextoError(
                "This agent is not started: call start(), or use it in a `with` statement."
            )
        return self._background.call(functools.partial(work, self._agent))

    def _begin(self) -> None:
        self._pid = os.getpid()
        background = BackgroundLoop("dexto-agent")
        try:
            background.call(self._agent.start).result()
        except BaseException:
            background.close()
            raise
        self._background = background
        self._stop = weakref.finalize(self, _stopped, self._agent, background, self._pid)


def _stopped(agent: AsyncDextoAgent, background: BackgroundLoop, pid: int) -> None:
    if pid != os.getpid():
        return  # a forked child ends: what it would stop is its parent's
    try:
        background.call(agent.stop).result()
    finally:
        background.close()


class Quiet:
    """Nothing has happened for as long as one was willing to wait."""


class BlockingReplyStream:
    """A reply as it arrives: iterate over it for its text, then take ``reply``.

    The message is sent when iteration begins. Leaving it early, by ``close`` or by letting go of
    it, ends the turn; what arrived is kept, marked as cut short. So does an interrupt.
    """

    def __init__(self, agent: DextoAgent, stream: ReplyStream) -> None:
        self._agent = agent
        self._stream = stream
        self._call: Call[Reply] | None = None
        self._events: queue.SimpleQueue[TurnEvent | None] = queue.SimpleQueue()
        stream.forward(self._events.put)
        weakref.finalize(self, stream.abandon).atexit = False

    def __iter__(self) -> Iterator[str]:
        for event in self.events():
            if isinstance(event, TextDelta):
                yield event.text

    def events(self) -> Iterator[TurnEvent]:
        """The pieces of the reply and of its reasoning, and notices, as they come.

        Raises:
            DextoError: What ended the turn, once all that came before it has been seen.
        """
        while (event := self.next_event()) is not None:
            if not isinstance(event, Quiet):
                yield event

    def next_event(self, timeout: float | None = None) -> TurnEvent | Quiet | None:
        """The next thing that happens, ``None`` at the end; ``Quiet`` after ``timeout`` seconds.

        An interrupt ends the turn, waits until what arrived is saved, and goes on; a second one
        stops waiting.

        Raises:
            DextoError: What ended the turn, once all that came before it has been seen.
        """
        call = self._begun()
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return Quiet()
        except KeyboardInterrupt:
            # It may have taken the mark of the end with it.
            call.when_done(functools.partial(self._events.put, None))
            self.cancel()
            raise
        if event is None:
            self._events.put(None)  # for whoever asks once more
            call.result()
        return event

    def finish(self) -> Reply:
        """Waits for the end; the whole reply.

        Raises:
            DextoError: What ended the turn.
        """
        return self._begun().result()

    @property
    def reply(self) -> Reply:
        """The whole reply, once it is finished; its status tells if it was cut short.

        Raises:
            DextoError: It is not finished, or what ended it.
        """
        return self._stream.reply

    @property
    def saved(self) -> Reply | None:
        """The reply as it was stored, after an error too; ``None`` if nothing was."""
        return self._stream.saved

    def cancel(self) -> None:
        """Ends the turn and waits until what arrived is saved."""
        self._end(self._stream.cancel)

    def close(self) -> None:
        """Ends the turn, if it is not over, as nobody reads on; waits until it is saved."""
        self._end(self._stream.aclose)

    def __enter__(self) -> Self:
        self._begun()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begun(self) -> Call[Reply]:
        if self._call is None:
            # Nothing that runs may refer to this object, or letting go of it would not end the turn.
            stream, events = self._stream, self._events
            self._call = self._agent._call(lambda _: stream.finish())  # noqa: SLF001  # its other half
            self._call.when_done(lambda: events.put(None))
        return self._call

    def _end(self, ending: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._agent._wait(lambda _: ending())  # noqa: SLF001  # its other half
