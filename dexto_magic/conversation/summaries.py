"""Which summary of a conversation still stands for its turns.

Summaries are added, never changed: undo, a new version or a forgotten turn can make the latest one
speak of what is not in view, and redo can make it hold again.
"""

from __future__ import annotations

from collections.abc import Sequence

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside


def current_summary(asides: Sequence[Aside], line: Line) -> Aside | None:
    """The summary that reaches furthest of those about the turns in view, the latest of them."""
    standing = [aside for aside in asides if aside.kind == "summary" and is_about(aside, line)]
    return max(reversed(standing), key=lambda aside: aside.turn, default=None)


def is_about(aside: Aside, line: Line) -> bool:
    """Whether it is about turns in view, in the versions in which they are in view."""
    return (
        0 < aside.turn <= line.end
        and line.versions_up_to(aside.turn) == dict(aside.versions)
        and line.gone_up_to(aside.turn) == aside.without
    )
