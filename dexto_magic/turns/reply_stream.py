"""A running turn as its caller sees it: something to iterate over, to cancel, to wait for."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from dexto_magic.cancellation import seen_through
from dexto_magic.conversation.messages import Reply
from dexto_magic.llm.protocol import TextDelta
from dexto_magic.turns.running import TurnEvent, TurnRun

T = TypeVar("T")


class ReplyStream:
    """A reply as it arrives: iterate over it for its text, then take ``reply``.

    The message is sent when iteration begins. Leaving it early, by ``aclose`` or by letting go of
    it, ends the turn; what arrived is kept, marked as cut short.
    """

    def __init__(self, run: TurnRun) -> None:
        self._run = run
        weakref.finalize(self, run.abandon).atexit = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while (event := await self._next()) is not None:
            if isinstance(event, TextDelta):
                return event.text
        raise StopAsyncIteration

    async def events(self) -> AsyncIterator[TurnEvent]:
        """The pieces of the reply and of its reasoning, and notices, as they come.

        Raises:
            DextoError: What ended the turn, once all that came before it has been seen.
        """
        while (event := await self._next()) is not None:
            yield event

    async def _next(self) -> TurnEvent | None:
        self._run.start()
        event = await self._unless_cancelled(self._run.next_event())
        if event is None and self._run.failed:
            self._run.result()
        return event

    async def finish(self) -> Reply:
        """Waits for the end; the whole reply.

        Raises:
            DextoError: What ended the turn.
        """
        self._run.start()
        await self._unless_cancelled(self._run.ended())
        return self._run.result()

    @property
    def reply(self) -> Reply:
        """The whole reply, once it is finished; its status tells if it was cut short.

        Raises:
            DextoError: It is not finished, or what ended it.
        """
        return self._run.result()

    @property
    def saved(self) -> Reply | None:
        """The reply as it was stored, after an error too; ``None`` if nothing was."""
        return self._run.saved

    async def cancel(self) -> None:
        """Ends the turn and waits until what arrived is saved."""
        self._run.stop("interrupted")
        await self._run.ended()

    async def aclose(self) -> None:
        """Ends the turn, if it is not over, as nobody reads on; waits until it is saved."""
        self._run.stop("cancelled")
        await self._run.ended()

    def abandon(self) -> None:
        """Ends the turn, from any thread, without waiting."""
        self._run.abandon()

    def forward(self, listener: Callable[[TurnEvent], None]) -> None:
        """Sends events to ``listener``, on the loop's thread, instead of to ``events``."""
        self._run.forward(listener)

    async def __aenter__(self) -> Self:
        self._run.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _unless_cancelled(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Awaits; if the caller is cancelled meanwhile, ends the turn and waits until it is saved."""
        try:
            return await waiting
        except asyncio.CancelledError:
            self._run.stop("interrupted")
            await seen_through(self._run.ended())
            raise
