"""Asking a model something beside the turns of a conversation: a summary of them, or a title."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from dexto_magic.conversation.messages import Aside
from dexto_magic.errors import ModelRequestError, ModelUnavailableError
from dexto_magic.llm.protocol import ChatModel, ChatRequest, Finished, Notice, TextDelta

_CUT = ("length", "content_filter")
"""Why a reply ends that is not whole, in OpenAI's words; half a summary would pass for a whole."""


async def written(
    model: ChatModel,
    request: ChatRequest,
    aside: Aside,
    *,
    tell: Callable[[Notice], None],
    cleaned: Callable[[str], str] = str.strip,
) -> Aside:
    """The aside with what a model wrote, and what that cost.

    Args:
        model: Who is asked.
        request: What is asked.
        aside: What it is to be, still without its text.
        tell: Takes notices for whoever waits.
        cleaned: What of the text is kept.

    Raises:
        ModelError: The model did not answer as it should.
    """
    began, text = time.monotonic(), ""
    async with aclosing(model.stream(request)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Notice):
                tell(event)
            elif isinstance(event, Finished) and event.finish_reason in _CUT:
                raise ModelRequestError(
                    f"{model.provider} ({model.name}) cut its {aside.kind} short "
                    f"({event.finish_reason}), so it was not kept. Raise max_tokens, or choose "
                    "another model.",
                    provider=model.provider,
                    model=model.name,
                )
            elif isinstance(event, Finished) and cleaned(text):
                return replace(
                    aside,
                    content=cleaned(text),
                    model=event.model or model.name,
                    provider=model.provider,
                    usage=event.usage,
                    duration=round(time.monotonic() - began, 3),
                )
    raise ModelUnavailableError(
        f"{model.provider} ({model.name}) wrote nothing when it was asked for a {aside.kind}. Try "
        "again, or choose another model.",
        provider=model.provider,
        model=model.name,
    )
