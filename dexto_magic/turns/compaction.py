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

SUMMARY_SHARE = 8
"""What part of a request, at least, is kept for the summary in it: an eighth."""

SMALLEST_PORTION = 16
"""Estimated tokens of turns below which nothing is left that could be summarised."""

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


def to_summarise(material: Material, kept: int = KEPT_TURNS) -> list[Turn]:
    """The turns that a summary should stand for and none does, the newest left out."""
    done = material.summary.turn if material.summary else 0
    turns = material.turns[: -kept or None]
    return [turn for turn in turns if turn.number > done]


def kept_turns(material: Material, target: int) -> int:
    """How many of the newest turns can stay word for word in a request of ``target`` tokens.

    What does not is summarised, too: of a turn that is left out, the model would know nothing.
    """
    without = replace(material, summary=None)
    summary = material.tokens_of(material.summary.content) if material.summary else 0
    left = target - max(summary, target // SUMMARY_SHARE)
    for kept in range(min(KEPT_TURNS, len(material.turns)), 0, -1):
        if without.composed(material.turns[-kept].number).tokens <= left:
            return kept
    return 0


def summary_request(turns: Sequence[Turn], before: Aside | None) -> ChatRequest:
    """Asks for a summary of turns, and of the summary before them."""
    messages = [PromptMessage(role="system", content=SUMMARISE)]
    if before is not None:
        text = SUMMARISED.format(turn=before.turn, text=before.content)
        messages.append(PromptMessage(role="system", content=text))
    messages += messages_of(turns)
    messages.append(PromptMessage(role="user", content=_ASK_SUMMARY))
    return ChatRequest(messages=messages)


def carried(before: Aside | None, room: int | None) -> Aside | None:
    """The summary before, as it goes along in a request for the next.

    Of one that would leave less than half of the room for the turns, the middle is left out: or no
    turn could ever be summarised after it.

    Args:
        before: The summary, or ``None``.
        room: Estimated tokens that the request may have, or ``None`` where nobody knows.
    """
    if before is None or room is None:
        return before
    return replace(before, content=_without_middle(before.content, room * BYTES_PER_TOKEN // 4))


def portion(
    turns: Sequence[Turn], before: Aside | None, room: int | None, refused: int | None
) -> tuple[list[Turn], bool]:
    """As many of the turns as can be summarised in one request, and whether they are whole.

    A turn that is too long for that by itself is shortened; none is what is left where not even
    that would make sense.

    Args:
        turns: The turns that are still to be summarised.
        before: The summary before them, which goes along.
        room: Estimated tokens that the request may have, or ``None`` where nobody knows.
        refused: Estimated tokens of turns that were too many, or ``None``.
    """
    asked = sum(estimate(message.content) for message in summary_request([], before).messages)
    rooms = [room - asked] if room is not None else []
    if refused is not None:
        rooms.append(refused // 2)
    if not rooms:
        return list(turns), True
    left, taken = min(rooms), list[Turn]()
    size = 0
    for turn in turns:
        size += size_of([turn])
        if size > left:
            break
        taken.append(turn)
    if taken or left < SMALLEST_PORTION:
        return taken, True
    return [shortened(turns[0], left)], False


def shortened(turn: Turn, tokens: int) -> Turn:
    """The turn with the middle of long messages left out, of about so many tokens."""
    each = max(1, tokens // len(turn.messages)) * BYTES_PER_TOKEN // 2
    messages = (
        replace(message, content=_without_middle(message.content, each))
        for message in turn.messages
    )
    return replace(turn, messages=tuple(messages))


def _without_middle(content: str, each: int) -> str:
    """The text with so many bytes at either end, if there are more between."""
    text = content.encode("utf-8", "surrogatepass")
    if len(text) <= 2 * each:
        return content
    begin, end = (part.decode("utf-8", "ignore") for part in (text[:each], text[-each:]))
    return f"{begin} [...] {end}"


def title_request(turns: Sequence[Turn]) -> ChatRequest:
    """Asks for a title, from how a conversation begins."""
    taken = 1
    while taken < len(turns) and size_of(turns[: taken + 1]) <= TITLE_MATERIAL:
        taken += 1
    beginning = [shortened(turns[0], TITLE_MATERIAL), *turns[1:taken]]
    return ChatRequest(
        messages=[
            PromptMessage(role="system", content=TITLE),
            *messages_of(beginning),
            PromptMessage(role="user", content=_ASK_TITLE),
        ]
    )


def title_of(turn: Turn, line: Line, now: datetime) -> Aside:
    """A title of what is in view up to a turn, its text still to come."""
    return replace(summary_of([turn], line, now), kind="title", id=new_id("ttl"))


def cleaned_title(text: str) -> str:
    """The title in what a model wrote: its first line, without quotation marks."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    title = lines[0].strip("\"'“”„«»*# ") if lines else ""
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
