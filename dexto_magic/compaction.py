"""What a model is asked aside: to summarise older turns, or for a title. It calls nobody.

A summary carries the one before it, so that nothing said early is lost when it is summarised again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside, Turn, new_id
from dexto_magic.conversation.window import (
    BYTES_PER_TOKEN,
    SUMMARISED,
    Material,
    PromptMessage,
    estimate,
    messages_of,
    size_of,
)
from dexto_magic.llm.protocol import ChatRequest

KEPT_TURNS = 2
"""Turns, the newest, that stay word for word."""

SUMMARISE = (
    "Summarise the conversation below so that it can go on from the summary alone. Keep every "
    "fact, name, number, decision and open question; code only where it is still needed. Carry "
    "over an earlier summary whole. Write briefly, in its language, and only the summary."
)

_ASK_SUMMARY = (
    "Summarise the conversation above, together with the earlier summary if there is one."
)

TITLE = (
    "Write a title for the conversation below: at most eight words, in its language, without "
    "quotation marks and without a full stop. Answer with the title alone."
)

_ASK_TITLE = "Write the title of the conversation above."

TITLE_MATERIAL = 2000
"""Tokens of a conversation's beginning that are enough to title it."""

LONGEST_TITLE = 100
"""Characters of a title that a model wrote."""


def to_summarise(material: Material) -> list[Turn]:
    """The turns that a summary should stand for and none does, the newest two left out."""
    done = material.summary.turn if material.summary else 0
    turns = material.turns[: -KEPT_TURNS or None]
    return [turn for turn in turns if turn.number > done]


def summary_request(turns: Sequence[Turn], before: Aside | None) -> ChatRequest:
    """Asks for a summary of turns, and of the summary before them."""
    messages = [PromptMessage(role="system", content=SUMMARISE)]
    if before is not None:
        text = SUMMARISED.format(turn=before.turn, text=before.content)
        messages.append(PromptMessage(role="system", content=text))
    messages += messages_of(turns)
    messages.append(PromptMessage(role="user", content=_ASK_SUMMARY))
    return ChatRequest(messages=messages)


def portion(turns: Sequence[Turn], before: Aside | None, limit: int | None) -> list[Turn]:
    """As many of the turns, at least one, as can be summarised in one request of ``limit``."""
    if limit is None:
        return list(turns)
    size = size_of([]) + sum(estimate(m.content) for m in summary_request([], before).messages)
    taken: list[Turn] = []
    for turn in turns:
        size += size_of([turn])
        if taken and size > limit:
            break
        taken.append(turn)
    return taken


def shortened(turn: Turn, tokens: int) -> Turn:
    """The turn with the middle of long messages left out, of about so many tokens."""
    each = max(1, tokens // len(turn.messages)) * BYTES_PER_TOKEN // 2
    return replace(
        turn,
        messages=tuple(
            replace(message, content=f"{message.content[:each]} [...] {message.content[-each:]}")
            if len(message.content) > 2 * each
            else message
            for message in turn.messages
        ),
    )


def title_request(turns: Sequence[Turn]) -> ChatRequest:
    """Asks for a title, from how a conversation begins."""
    taken = 1
    while taken < len(turns) and size_of(turns[: taken + 1]) <= TITLE_MATERIAL:
        taken += 1
    return ChatRequest(
        messages=[
            PromptMessage(role="system", content=TITLE),
            *messages_of(turns[:taken]),
            PromptMessage(role="user", content=_ASK_TITLE),
        ]
    )


def title_of(turn: Turn, line: Line, now: datetime) -> Aside:
    """A title of what is in view up to a turn, its text still to come."""
    return replace(summary_of([turn], line, now), kind="title", id=new_id("ttl"))


def cleaned_title(text: str) -> str:
    """The title in what a model wrote: its first line, without quotation marks."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    title = lines[0].strip("\"'“”„«»*#`").strip() if lines else ""
    return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1].rstrip() + "…"


def summary_of(turns: Sequence[Turn], line: Line, now: datetime) -> Aside:
    """A summary of what is in view up to the last of the turns, its text still to come."""
    last = turns[-1]
    return Aside(
        kind="summary",
        content="",
        id=new_id("sum"),
        created_at=now,
        turn=last.number,
        through=last.messages[-1].id,
        versions=line.versions_up_to(last.number),
        without=line.gone_up_to(last.number),
    )
