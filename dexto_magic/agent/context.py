"""What an agent does with the context window: shown, filled, and made to last by summaries.

One of the parts of ``agent``, which has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Unpack

from dexto_magic.agent.arguments import turn_options, worth_sending
from dexto_magic.agent.choosing import ModelChoice
from dexto_magic.agent.membership import Membership
from dexto_magic.cancellation import seen_through
from dexto_magic.conversation.context import ContextReport, PromptPreview
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import JSON
from dexto_magic.conversation.session import Session, Transcript, valid_session_id
from dexto_magic.errors import SessionError
from dexto_magic.llm.outgoing import request_body
from dexto_magic.llm.protocol import Notice
from dexto_magic.llm.provider_table import PROVIDERS
from dexto_magic.llm.providers import LLMConfig, context_window_of, spec
from dexto_magic.turns.aside import written
from dexto_magic.turns.compaction import KEPT_TURNS, cleaned_title, title_of, title_request
from dexto_magic.turns.fitting import (
    DEFAULT_OVERFLOW,
    Fitting,
    fitted_on_paper,
    material_of,
)
from dexto_magic.turns.keeping import watched
from dexto_magic.turns.prompts import Prompt, TurnOptions
from dexto_magic.turns.room import Room, room_of
from dexto_magic.turns.running import TurnHost

_NOTHING_TO_SUMMARISE = (
    f"nothing to summarise: the newest {KEPT_TURNS} turns stay word for word, and there are no "
    "others without a summary"
)


class ContextMethods:
    """The methods of an agent that are about what a model is sent."""

    _membership: Membership
    _models: ModelChoice
    _host: TurnHost

    async def preview(
        self, text: str, session_id: str | None = None, **options: Unpack[TurnOptions]
    ) -> PromptPreview:
        """What ``generate`` would send, exactly; nothing is sent, stored or summarised.

        Needs no key. Where the conversation does not fit and would be summarised first, it shows
        what would be sent without a new summary, and says so.

        Args:
            text: The message.
            session_id: The session's name, or ``None`` for a session that is still to be made.
            options: As for ``generate``.

        Raises:
            SessionNotFoundError: There is no such session.
            ModelRequestError: The message is empty.
            SettingsError: The model or an option cannot be used.
            StoreError: The store cannot be read.
        """
        name = "a new session" if session_id is None else valid_session_id(session_id)
        prompt = Prompt(session_id=name, text=worth_sending(text, name), **turn_options(options))
        if session_id is None:
            now = datetime.now(UTC)
            session = Session(id=name, title=None, created_at=now, updated_at=now)
            transcript = Transcript(session=session, messages=())
        else:
            transcript = await self._everything(session_id)
            session = transcript.session
        config = self._models.config_of(session, prompt.model)
        material = material_of(
            transcript,
            turn=_next_turn(transcript),
            prompt=text,
            system=prompt.system or session.system or self._host.system,
            note=prompt.note,
        )
        asked = {**config.options, **prompt.options}
        room = self._room(session, config, asked)
        composition, lines = fitted_on_paper(material, session, room)
        with_usage = prompt.stream and PROVIDERS[config.provider].stream_options
        return PromptPreview(
            session_id=session.id,
            model=spec(config),
            body=request_body(
                config.model,
                composition.messages,
                asked,
                stream=prompt.stream,
                with_usage=with_usage,
            ),
            composition=composition,
            lines=lines,
        )

    async def context(self, session_id: str, *, model: str | None = None) -> ContextReport:
        """How full the model's context window is with the session, and what would be sent of it.

        Needs no key.

        Args:
            session_id: The session's name.
            model: A model in place of the session's, as a turn may have one.

        Raises:
            SessionNotFoundError: There is no such session.
            SettingsError: The model cannot be used.
            StoreError: The store cannot be read.
        """
        transcript = await self._everything(session_id)
        session = transcript.session
        config = self._models.config_of(session, model)
        system = session.system or self._host.system
        turn = _next_turn(transcript)
        material = material_of(transcript, turn=turn, prompt="", system=system)
        room = self._room(session, config, config.options)
        composition, lines = fitted_on_paper(material, session, room)
        summary = composition.summary
        return ContextReport(
            session=session.id,
            model=spec(config),
            window=self._window(config),
            budget=session.context_budget,
            used=material.composed().tokens,
            is_reported=composition.measured,
            overflow=session.overflow or DEFAULT_OVERFLOW,
            turns=session.turn_count,
            sent=composition.turns,
            summarised=summary.turn if summary else None,
            summary=summary.content if summary else "",
            lines=lines,
        )

    async def compact(
        self,
        session_id: str,
        *,
        model: str | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> ContextReport:
        """Has the model summarise all turns but the newest two, and says what is sent from now on.

        The turns stay in the store and in view. The summary carries the one before it. Turns are
        kept out meanwhile. Where there is nothing to summarise, nobody is asked.

        Args:
            session_id: The session's name.
            model: A model in place of the session's, as a turn may have one.
            tell: Takes a line on each step that is going on, if anybody wants to know.

        Returns:
            How full the window is now; its lines say first what was done, and what that cost.

        Raises:
            SessionNotFoundError: There is no such session, or it was deleted meanwhile.
            SessionBusyError: A turn of it is running.
            SessionError: It was reset, or this was cancelled, meanwhile.
            ModelError: The model did not answer as it should; what it wrote before that is kept.
            SettingsError: The model cannot be used.
            StoreError: The store cannot take it.
        """
        session = await self._membership.session(session_id)
        await self._host.unsaved.settle(session.id)
        answerer = self._models.answering(session, model)
        store, owner = self._membership.store(), await self._membership.owner()
        done: list[str] = []

        def heard(notice: Notice) -> None:
            if not notice.passing:
                done.append(notice.text)
            elif tell is not None:
                tell(notice.text)

        hold = await store.hold(session.id, owner)
        try:
            transcript = await store.held(hold)
            fitting = Fitting(
                store=store,
                hold=hold,
                line=transcript.line or Line(),
                material=material_of(transcript, turn=_next_turn(transcript), prompt=""),
                answerer=answerer,
                options=answerer.options,
                experience=self._host.experience,
                tell=heard,
            )
            await watched(store, hold, fitting.compact())
        finally:
            await seen_through(store.release(hold))
        report = await self.context(fitting.session.id, model=model)
        return replace(report, lines=(*(done or [_NOTHING_TO_SUMMARISE]), *report.lines))

    async def generate_title(self, session_id: str, *, model: str | None = None) -> Session:
        """Has the model write the session's title, from how the conversation begins.

        Args:
            session_id: The session's name.
            model: A model in place of the session's, as a turn may have one.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionError: It has no turns, or lost them meanwhile.
            ModelError: The model did not answer as it should.
            SettingsError: The model cannot be used.
            StoreError: The store cannot take it.
        """
        transcript = await self._everything(session_id)
        session, line = transcript.session, transcript.line or Line()
        material = material_of(transcript, turn=_next_turn(transcript), prompt="")
        if not material.turns:
            raise SessionError(
                f"Session {session.id!r} has no turns yet that a title could be of.",
                session_id=session.id,
            )
        answerer = self._models.answering(session, model)
        aside = title_of(material.turns[-1], line, datetime.now(UTC))
        request = title_request(material.turns)
        title = await written(
            answerer.model, request, aside, tell=lambda _: None, cleaned=cleaned_title
        )
        return await self._membership.store().note(session.id, title)

    async def _everything(self, session_id: str) -> Transcript:
        session = await self._membership.session(session_id)
        return await self._membership.store().transcript(session.id, everything=True)

    def _room(
        self, session: Session, config: LLMConfig, options: Mapping[str, JSON]
    ) -> Room | None:
        learned = self._host.experience.rooms.get((config.provider, config.model))
        return room_of(session, self._window(config), learned, options)

    def _window(self, config: LLMConfig) -> int | None:
        said = self._host.experience.windows.get((config.provider, config.model))
        return said or context_window_of(config)


def _next_turn(transcript: Transcript) -> int:
    return (transcript.line or Line()).end + 1
