"""What the command line says, and what it asks: results to stdout, remarks to stderr."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from datetime import UTC, datetime
from typing import TypedDict

from dexto_magic import commands
from dexto_magic.agent.blocking_stream import BlockingReplyStream
from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.conversation.session import Removal, TurnChange
from dexto_magic.conversation.transfer import Exported, Imported
from dexto_magic.errors import DextoError
from dexto_magic.llm.protocol import Notice, TextDelta
from dexto_magic.rendering.plain import mark, printable, reply_line
from dexto_magic.rendering.views import as_text
from dexto_magic.settings import wants_color


class _Looks(TypedDict):
    width: int
    color: bool


_TYPED_IN_A_CELL = re.compile(r"`%dexto (?!key\b|use\b|model practice)(?P<verb>[a-z]+)")

_OF_A_SESSION = frozenset(
    [
        "compact",
        "context",
        "fork",
        "forget",
        "history",
        "model",
        "redo",
        "reset",
        "set",
        "system",
        "title",
        "undo",
    ]
)
"""Verbs that take a session's name here, and in a cell are of the current one."""

_OUR_WORDS = (Exported, Imported, Removal, TurnChange)
"""Results of which the text is ours, but for names."""


def for_shell(text: str) -> str:
    """Words of ours with the commands of the shell in place of a cell's."""

    def here(typed: re.Match[str]) -> str:
        name = " NAME" if typed["verb"] in _OF_A_SESSION else ""
        return f"`dexto-magic {typed['verb']}{name}"

    return _TYPED_IN_A_CELL.sub(here, text)


def show(value: object) -> int:
    """Prints what a verb returned; the exit code."""
    text = as_text(value, **terminal())
    print(for_shell(text) if isinstance(value, _OUR_WORDS) else text, end="", flush=True)
    return 0


def terminal() -> _Looks:
    """How wide stdout is, and whether it shows colours."""
    color = sys.stdout.isatty() and wants_color()
    return {"width": shutil.get_terminal_size().columns, "color": color}


def follow(stream: BlockingReplyStream) -> int:
    """Prints a reply as it arrives, and what is to be known of it to stderr."""
    begun = False
    try:
        for event in stream.events():
            if isinstance(event, TextDelta):
                begun = True
                print(printable(event.text), end="", flush=True)
            elif isinstance(event, Notice):
                note(event.text)
    except (DextoError, KeyboardInterrupt):
        stream.cancel()  # unless it has ended: an interrupt may come between two pieces
        if begun and stream.saved is not None:
            print(flush=True)
            note(f"{mark(stream.saved.message)}; what had arrived is kept")
        raise
    print(flush=True)
    note(mark(stream.reply.message))
    note(reply_line(stream.reply))
    return 0 if stream.reply.status == "complete" else 1


def note(line: str | None) -> None:
    """Says something to whoever waits, apart from what is asked for."""
    if line:
        print(f"dexto-magic: {for_shell(printable(line))}", file=sys.stderr, flush=True)


def piped() -> str:
    """What is piped in, without the new line that ends it as it ends a cell."""
    return sys.stdin.read().removesuffix("\n") if sys.stdin is not None else ""


def confirmed(
    agent: DextoAgent, parsed: argparse.Namespace, verb: str, *, turn: int | None = None
) -> bool:
    """Whether what would be lost may be lost: said by ``--yes``, or asked at a terminal."""
    if parsed.yes:
        return True
    return agreed(commands.loss(agent, parsed.name, since=datetime.now(UTC), turn=turn), verb)


def agreed(loss: str | None, verb: str) -> bool:
    """Whether there is nothing to lose, or who sits at a terminal agrees to lose it."""
    if loss is None:
        return True
    if sys.stdin is not None and sys.stdin.isatty():  # it is None where it was closed
        try:
            answer = input(f"{loss}. {verb} it? [y/N] ")
        except EOFError:
            print()
            return False
        return answer.strip().lower() in ("y", "yes")
    print(f"dexto-magic: {loss}. To go on all the same, add --yes.", file=sys.stderr)
    return False
