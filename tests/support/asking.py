"""Asking a model in a test, and keeping all that it said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from dexto_magic.conversation.window import PromptMessage
from dexto_magic.errors import ModelError
from dexto_magic.llm.openai_model import OpenAIModel
from dexto_magic.llm.protocol import (
    ChatRequest,
    Finished,
    ModelEvent,
    Notice,
    ReasoningDelta,
    TextDelta,
)
from dexto_magic.llm.providers import LLMConfig, base_url_of, llm_config
from tests.support.openai_answers import Answer
from tests.support.openai_server import OpenAIServer

KEY = "sk-proj-Q2x/9+secret=key"
"""A made-up key, with characters that a URL spells differently."""


@dataclass
class Heard:
    """What was heard of one reply.

    Attributes:
        events: All that arrived.
        error: What ended it, or ``None``.
        waits: Seconds that were waited before asking again.
    """

    events: list[ModelEvent] = field(default_factory=list)
    error: ModelError | None = None
    waits: list[float] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The reply."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def reasoning(self) -> str:
        """The reasoning before it."""
        return "".join(event.text for event in self.events if isinstance(event, ReasoningDelta))

    @property
    def notices(self) -> list[str]:
        """What the person who waits was told."""
        return [event.text for event in self.events if isinstance(event, Notice)]

    @property
    def finished(self) -> Finished:
        """The last event of a reply that arrived whole."""
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last


def request(
    *prompts: str, stream: bool = True, options: Mapping[str, Any] | None = None
) -> ChatRequest:
    """A request with these messages, all the user's."""
    messages = [PromptMessage(role="user", content=prompt) for prompt in prompts or ("Hello?",)]
    return ChatRequest(messages=messages, stream=stream, options=options or {})


async def listen(model: OpenAIModel, asked: ChatRequest, heard: Heard) -> Heard:
    """Asks ``model`` and hears it out."""
    try:
        async with aclosing(model.stream(asked)) as events:
            async for event in events:
                heard.events.append(event)
    except ModelError as exc:
        heard.error = exc
    return heard


def ask(
    llm: str | Mapping[str, Any] | LLMConfig,
    *requests: ChatRequest,
    key: str | None = KEY,
    transport: Any = None,
) -> Heard:
    """Asks a model that is made for it, waiting for nothing; the last request's reply counts."""
    config = llm_config(llm)
    heard = Heard()

    async def no_wait(seconds: float) -> None:
        heard.waits.append(seconds)

    async def asking() -> None:
        model = OpenAIModel(
            config,
            api_key=key,
            base_url=base_url_of(config),
            transport=transport,
            sleep=no_wait,
        )
        try:
            for asked in requests or (request(),):
                heard.events.clear()
                await listen(model, asked, heard)
        finally:
            await model.close()

    asyncio.run(asking())
    return heard


def error_of(
    server: OpenAIServer,
    *answers: Answer,
    provider: str = "openai",
    model: str = "gpt-4o",
    key: str | None = KEY,
) -> ModelError:
    """The error that these answers end in; it says in one line who it is about."""
    server.script(*answers)
    config = LLMConfig(provider=provider, model=model, base_url=server.base_url)
    error = ask(config, key=key).error
    assert error is not None
    assert (error.provider, error.model) == (provider, model)
    assert str(error).startswith(f"{provider} ({model}) ")
    assert "\n" not in str(error)
    return error
