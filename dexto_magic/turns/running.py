"""One turn, running: the session is claimed, the model read, the reply saved and watched over.

The reading is a task of its own, so that a turn is saved whether or not anybody keeps up with its
text, and can be ended from anywhere at any time: by its caller, by ``cancel`` in another kernel,
by a reset or a delete.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias, TypeVar

from dexto_magic.conversation.history import asked_again, rows_of
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import JSON, Message, Reply, new_id
from dexto_magic.conversation.record import Claim
from dexto_magic.conversation.session import Session
from dexto_magic.errors import (
    ContextOverflowError,
    DextoError,
    ModelError,
    ModelUnavailableError,
    SessionBusyError,
    SessionError,
    SessionNotFoundError,
    StoreError,
)
from dexto_magic.llm.protocol import (
    ChatModel,
    ChatRequest,
    Finished,
    Notice,
    ReasoningDelta,
    TextDelta,
)
from dexto_magic.stores.protocol import Owner, Store
from dexto_magic.turns.engine import Question, RunningTurn
from dexto_magic.turns.fitting import Experience, Fitting, material_of
from dexto_magic.turns.keeping import Keeper
from dexto_magic.turns.prompts import Answerer, Prompt
from dexto_magic.turns.unsaved import UnsavedReplies

T = TypeVar("T")

TurnEvent: TypeAlias = TextDelta | ReasoningDelta | Notice
"""What happens while a turn runs."""

_RETRY_SECONDS = 0.2
"""How often a turn that waits for another one tries again."""


@dataclass(frozen=True, kw_only=True)
class TurnHost:
    """What a turn needs of the agent that runs it.

    Attributes:
        store: Where it is saved.
        session: The session of a name, or ``SessionNotFoundError``.
        owner: Whose turn it is.
        answerer: Who answers in a session, given the turn's own choice of model, if any.
        system: The agent's system prompt.
        unsaved: Replies that the store could not take.
        experience: What was learned of models while they were asked.
        runs: The turns that run.
    """

    store: Store
    session: Callable[[str], Awaitable[Session]]
    owner: Callable[[], Awaitable[Owner]]
    answerer: Callable[[Session, str | None], Answerer]
    system: str | None
    unsaved: UnsavedReplies
    experience: Experience = field(default_factory=Experience)
    runs: set[TurnRun] = field(default_factory=set)

    def stop_runs(self, session_id: str, reason: str) -> list[TurnRun]:
        """Ends the turns of a session that run here, or wait for their turn; which they are."""
        runs = [run for run in self.runs if run.prompt.session_id == session_id]
        for run in runs:
            run.stop(reason)
        return runs

    def renamed(self, before: str, after: str) -> None:
        """Takes note of a session's other name, lest its turns be taken for those of a new one."""
        for run in self.runs:
            if run.prompt.session_id == before:
                run.prompt = replace(run.prompt, session_id=after)


class _StoppedError(Exception):
    """The turn was told to stop; why is in its ``reason``."""


class TurnRun:
    """A turn from its claim to its end, in a task of its own.

    Attributes:
        prompt: What is asked.
        claimed: Whether the session is its own, rather than still another turn's.
        saved: The reply as it was stored, however the turn ended; ``None`` until then.
    """

    def __init__(self, prompt: Prompt, host: TurnHost) -> None:
        self.prompt = prompt
        self.claimed = False
        self.saved: Reply | None = None
        self._host = host
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._step_task: asyncio.Task[Any] | None = None
        self._reason: str | None = None
        self._reply: Reply | None = None
        self._error: BaseException | None = None
        self._ended = asyncio.Event()
        self._events: deque[TurnEvent] = deque()
        self._arrived = asyncio.Event()
        self._listener: Callable[[TurnEvent], None] = self._keep_event

    def start(self) -> None:
        """Begins, unless it has begun."""
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._host.runs.add(self)
            self._task = asyncio.create_task(self._main())

    def stop(self, reason: str) -> None:
        """Has it end now, with what has arrived; does nothing if it is ending."""
        if self._reason is None:
            self._reason = reason
            if self._step_task is not None:
                self._step_task.cancel()
            if self._task is None:
                self._ended.set()

    def abandon(self) -> None:
        """Stops it, from any thread: nobody is there to read it."""
        if self._loop is not None and not self._ended.is_set():
            with suppress(RuntimeError):  # the loop is gone, and the turn with it
                self._loop.call_soon_threadsafe(self.stop, "cancelled")

    def forward(self, listener: Callable[[TurnEvent], None]) -> None:
        """Sends events to ``listener``, on the loop's thread, instead of keeping them."""
        self._listener = listener

    async def next_event(self) -> TurnEvent | None:
        """The next thing that happens, or ``None`` at the end."""
        while not self._events:
            if self._ended.is_set():
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    async def ended(self) -> None:
        """Waits until it is over and saved."""
        await self._ended.wait()

    @property
    def failed(self) -> bool:
        """Whether an error ended it."""
        return self._error is not None

    def result(self) -> Reply:
        """The reply; raises what ended the turn instead."""
        if self._error is not None:
            raise self._error
        if self._reply is None:
            raise DextoError("This reply is not finished: iterate over it, or call finish().")
        return self._reply

    async def _main(self) -> None:
        try:
            self._reply = await self._turn()
        except _StoppedError:
            self._error = SessionError(
                f"The message to session {self.prompt.session_id!r} was cancelled before it was "
                "sent; nothing was stored.",
                session_id=self.prompt.session_id,
            )
        except BaseException as error:  # noqa: BLE001  # told to whoever waits for the turn
            self._error = error
        finally:
            self._host.runs.discard(self)
            self._ended.set()
            self._arrived.set()

    async def _turn(self) -> Reply:
        prompt, host = self.prompt, self._host
        session = await self._step(lambda: host.session(prompt.session_id))
        answerer = host.answerer(session, prompt.model)
        await self._step(lambda: host.unsaved.settle(session.id))
        claim = await self._claim(await self._step(host.owner))
        self.claimed = True
        return await self._answer(claim, answerer)

    async def _step(self, begin: Callable[[], Awaitable[T]]) -> T:
        """Does something that ``stop`` may end, or keep from beginning."""
        if self._reason is not None:
            raise _StoppedError
        task = asyncio.create_task(_begun(begin))
        self._step_task = task
        try:
            return await task
        except asyncio.CancelledError:
            self.stop("interrupted")  # unless that is why: then the loop is shutting down
            raise _StoppedError from None
        finally:
            self._step_task = None

    async def _claim(self, owner: Owner) -> Claim:
        store = self._host.store
        deadline = time.monotonic() + self.prompt.wait
        waiting = False
        before: Message | None = None
        while True:
            prompt = self.prompt
            found_now = prompt.again and before is None
            try:
                if found_now:
                    before = await self._step(self._asked_before)
                claim = partial(
                    store.claim,
                    prompt.session_id,
                    self._message(before),
                    owner,
                    revises=before.turn if before else None,
                    asked=before.id if before else None,
                )
                return await self._step(claim)
            except SessionNotFoundError:
                if prompt is self.prompt:
                    raise
                continue  # it was renamed just now
            except SessionBusyError as error:
                if time.monotonic() >= deadline:
                    raise
                if not waiting:
                    waiting = True
                    self._tell(
                        Notice(
                            f"waiting up to {prompt.wait:g} s: {error.holder} is at work in "
                            f"{prompt.session_id!r} since {error.since:%H:%M:%S} UTC"
                        )
                    )
            except SessionError:
                if before is None or found_now:
                    raise
                before = None  # it was replaced or undone while this waited: what is there now?
                continue
            await self._step(lambda: asyncio.sleep(_RETRY_SECONDS))

    async def _asked_before(self) -> Message:
        """The message that this one is to take the place of."""
        transcript = await self._host.store.transcript(self.prompt.session_id)
        return asked_again(transcript, self.prompt.turn)

    def _message(self, before: Message | None) -> Message:
        """The message, with what it takes over from the one of which it takes the place."""
        prompt = self.prompt
        message = Message(
            role="user",
            content=prompt.text or "",
            id=new_id("msg"),
            created_at=datetime.now(UTC),
            origin=prompt.origin,
        )
        if before is None:
            return message
        return replace(
            message,
            content=before.content if prompt.text is None else prompt.text,
            attachments=before.attachments,
        )

    async def _answer(self, claim: Claim, answerer: Answerer) -> Reply:
        options = {**answerer.options, **self.prompt.options}
        turn = RunningTurn(
            Question(
                provider=answerer.model.provider,
                model=answerer.model.name,
                options=options,
                asked_at=datetime.now(UTC),
                clock=time.monotonic(),
            )
        )
        keeper = Keeper(
            self._host.store,
            claim,
            turn,
            stop=self.stop,
            tell=self._tell,
        )
        failure: Exception | None = None
        try:
            fitting = await self._step(lambda: self._fitting(claim, answerer, options))
            end = await self._asked(fitting, answerer, options, turn, keeper)
            reply = turn.complete(end, time.monotonic())
            for remark in fitting.remarks(end.usage):
                self._tell(Notice(remark))
        except _StoppedError:
            reply = turn.cut_short(self._reason or "interrupted", time.monotonic())
        except Exception as error:  # noqa: BLE001  # raised again once the turn is saved
            failure = error
            reply = turn.cut_short("error", time.monotonic(), error=type(error).__name__)
            if isinstance(error, ModelError):
                error.partial = turn.text
        try:
            await keeper.end()
        finally:  # a bug there must show, but not cost the reply
            session = await self._settle(claim, reply)
            (message,) = rows_of(claim, [reply])
            self.saved = Reply(session_id=session.id, message=message, session_usage=session.usage)
        if failure is not None:
            raise failure
        return self.saved

    async def _fitting(
        self, claim: Claim, answerer: Answerer, options: Mapping[str, JSON]
    ) -> Fitting:
        prompt, host = self.prompt, self._host
        transcript = await host.store.held(claim)
        return Fitting(
            store=host.store,
            hold=claim,
            line=transcript.line or Line(),
            material=material_of(
                transcript,
                turn=claim.message.turn,
                prompt=claim.message.content,
                system=prompt.system or claim.session.system or host.system,
                note=prompt.note,
            ),
            answerer=answerer,
            options=options,
            experience=host.experience,
            tell=self._tell,
        )

    async def _asked(
        self,
        fitting: Fitting,
        answerer: Answerer,
        options: Mapping[str, JSON],
        turn: RunningTurn,
        keeper: Keeper,
    ) -> Finished:
        """Asks, and asks for less where the provider says that it was too much."""
        composition = await self._step(fitting.fit)
        while True:
            whole = composition.turns == composition.of
            turn.sent(None if whole else composition.first)
            request = ChatRequest(
                messages=composition.messages, options=options, stream=self.prompt.stream
            )
            try:
                reading = partial(
                    self._read, answerer.model, request, turn, keeper, fitting.accepted
                )
                return await self._step(reading)
            except ContextOverflowError as error:
                if turn.has_begun:
                    raise
                refusal = error
            composition = await self._step(partial(fitting.fit_after, refusal))

    async def _read(
        self,
        model: ChatModel,
        request: ChatRequest,
        turn: RunningTurn,
        keeper: Keeper,
        begins: Callable[[], None],
    ) -> Finished:
        began = False
        async with aclosing(model.stream(request)) as events:
            async for event in events:
                if not began and not isinstance(event, Notice):
                    began = True
                    begins()
                if isinstance(event, Finished):
                    return event
                if not isinstance(event, Notice):
                    turn.feed(event)
                    keeper.fed()
                self._tell(event)
        raise ModelUnavailableError(
            f"{model.provider} ({model.name}) ended its reply without an end.",
            provider=model.provider,
            model=model.name,
        )

    async def _settle(self, claim: Claim, reply: Message) -> Session:
        """Ends the turn in the store, even while the loop is shutting down."""
        try:
            try:
                return await self._host.store.settle(claim, [reply])
            except asyncio.CancelledError:
                return await self._host.store.settle(claim, [reply])
        except StoreError as error:
            self._host.unsaved.keep(claim, reply)
            error.unsaved = reply.content
            raise

    def _tell(self, event: TurnEvent) -> None:
        self._listener(event)  # which may be another one by now

    def _keep_event(self, event: TurnEvent) -> None:
        self._events.append(event)
        self._arrived.set()


async def _begun(begin: Callable[[], Awaitable[T]]) -> T:
    return await begin()
