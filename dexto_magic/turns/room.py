"""How many tokens a request may have: by the session's budget, the model's window, its refusals.

Nothing is guessed here: where nobody has said what fits, everything may be sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dexto_magic.conversation.messages import JSON
from dexto_magic.conversation.session import Session

_REPLY_TOKENS = 1024
_REPLY_SHARE = 8
"""What of a window is kept for the reply, unless an option says it: 1,024 tokens, or an eighth."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many tokens a request may have.

    Two numbers, as a provider that refuses may not say what it takes: then nothing is cut that is
    smaller than what it refused, and what has to be cut is cut to what it is likely to take.

    Attributes:
        limit: A request of more does not fit.
        target: How large it is made then.
    """

    limit: int
    target: int


def room_of(
    session: Session, window: int | None, learned: Room | None, options: Mapping[str, JSON]
) -> Room | None:
    """What fits, or ``None`` where nobody knows.

    Args:
        session: The session, which may have a budget.
        window: The model's context window, if it is known.
        learned: What is known of the model since it refused more.
        options: The request's options.
    """
    budget = session.context_budget
    rooms = [Room(limit=budget, target=budget)] if budget else []
    if learned is not None:
        rooms.append(learned)
    if window is not None:
        rooms.append(room_in(window, options))
    if not rooms:
        return None
    return Room(limit=min(room.limit for room in rooms), target=min(room.target for room in rooms))


def room_in(window: int, options: Mapping[str, JSON]) -> Room:
    """What of a context window is left for the request; some is, whatever the reply may take."""
    asked = [options.get("max_completion_tokens"), options.get("max_tokens")]
    given = [number for number in asked if isinstance(number, int) and number > 0]
    reply = given[0] if given else min(_REPLY_TOKENS, window // _REPLY_SHARE)
    left = max(window - reply, window // _REPLY_SHARE)
    return Room(limit=left, target=left)
