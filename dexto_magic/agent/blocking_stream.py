"""A reply as it arrives, for code that blocks: events come from the loop's thread through a queue.

It is the blocking twin of ``ReplyStream``, and like it knows one turn only.
"""

from __future__ import annotations

import functools
import queue
import weakref
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self

from dexto_magic.agent.background import BackgroundLoop, Call
from dexto_magic.conversation.messages import Reply
from dexto_magic.llm.protocol import TextDelta
from dexto_magic.turns.reply_stream import ReplyStream
from dexto_magic.turns.running import TurnEvent


class Quiet:
    """Nothing has happened for as long as one was willing to wait."""


class BlockingReplyStream:
    """A reply as it arrives: iterate over it for its text, then take ``reply``.

    The message is sent when iteration begins. Leaving it early, by ``close``, at the end of a
    ``with`` statement or by letting go of it, ends the turn; what arrived is kept, marked as cut
    short. So does an interrupt while it waits for the next piece.

    Args:
        background: The loop on which the turn runs.
        stream: The turn.
        keep: What has to live as long as somebody reads, as it would end the loop.
    """

    def __init__(self, background: BackgroundLoop, stream: ReplyStream, *, keep: object) -> None:
        self._background = background
        self._stream = stream
        self._keep = keep
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
        try:
            call = self._begun()
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return Quiet()
        except KeyboardInterrupt:
            if self._call is not None:
                # It may have taken the mark of the end with it.
                self._call.when_done(functools.partial(self._events.put, None))
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
            self._call = self._background.call(stream.finish)
            self._call.when_done(lambda: events.put(None))
        return self._call

    def _end(self, ending: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._call is None or not self._call.done:
            self._background.run(ending)
