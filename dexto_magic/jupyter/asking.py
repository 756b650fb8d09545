"""What a cell does: it asks in its session, and shows the reply while it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dexto_magic.agent.blocking_stream import BlockingReplyStream, Quiet
from dexto_magic.conversation.context import PromptPreview
from dexto_magic.conversation.messages import JSON, Origin, Reply
from dexto_magic.jupyter.display import QuietView, ReplyView, is_kernel, reply_view
from dexto_magic.jupyter.identity import place
from dexto_magic.jupyter.workbench import Workbench
from dexto_magic.llm.outgoing import sendable_options
from dexto_magic.turns.prompts import TurnOptions

RESUMED = (
    "The turns above are from before this Python session was started. They are a memory of the "
    "conversation, not of live state: variables, imports and files that they speak of may not be "
    "there any more."
)
"""What the model is told with the first turn of a kernel in a session that has turns already."""

_LOOK_SECONDS = 0.25
"""How often a view may show what it holds back, while nothing arrives."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a cell asks.

    Attributes:
        model: A model for this turn only.
        system: A system prompt for this turn only.
        options: Request options for this turn only.
        stream: Whether the reply is asked for, and shown, in pieces.
        quiet: Whether nothing is shown.
        as_value: Whether the reply is the value of the line, too.
        again: Whether a turn is asked again, rather than a new one.
        turn: The number of the turn to be asked again, or ``None`` for the last.
        only_shown: Whether what would be sent is shown, and nothing sent.
    """

    model: str | None = None
    system: str | None = None
    options: Mapping[str, JSON] = field(default_factory=dict)
    stream: bool = True
    quiet: bool = False
    as_value: bool = False
    again: bool = False
    turn: int | None = None
    only_shown: bool = False


def ask(bench: Workbench, text: str | None, name: str | None, asked: Asked) -> Reply:
    """Asks in a session, and shows the reply while it arrives.

    An interrupt ends the turn; what arrived is kept, and shown with its mark.

    Args:
        bench: The kernel's conversations.
        text: The prompt; ``None`` to ask again what was asked before.
        name: The session's name, or ``None`` for the current one.
        asked: How.

    Raises:
        DextoError: What went wrong.
        KeyboardInterrupt: The turn was interrupted, here or from elsewhere.
    """
    options = sendable_options(asked.options)  # first of all: a refused one leaves no session
    here = place(bench.shell)
    session, lines, resumed = bench.session_of_cell(name, here)
    streams = here.cell_id is not None or not is_kernel(bench.shell)
    view = QuietView() if asked.quiet else reply_view(bench.shell, session.id, streams=streams)
    for said in lines:
        view.notice(said)
    how: TurnOptions = {
        "model": asked.model or bench.practice,
        "system": asked.system,
        "options": options,
        "stream": asked.stream,
        "wait": bench.defaults.wait,
        "note": RESUMED if resumed and session.turn_count > asked.again else None,
        "origin": Origin(notebook=here.notebook, cell_id=here.cell_id),
    }
    try:
        if asked.again:
            stream = bench.agent.stream_retry(session.id, text, turn=asked.turn, **how)
        else:
            stream = bench.agent.stream(text or "", session.id, **how)
    except BaseException:
        view.end(None, line=False)
        raise
    line = bench.defaults.footer and (is_kernel(bench.shell) or not asked.as_value)
    try:
        reply = _followed(stream, view, line=line)
    finally:
        if stream.saved is not None and stream.saved.status != "failed":
            bench.note_turn(session, stream.saved.session_id)
    if reply.status != "complete":
        raise KeyboardInterrupt(f"the turn was stopped from elsewhere ({reply.message.reason})")
    return reply


def preview(bench: Workbench, text: str, name: str | None, asked: Asked) -> PromptPreview:
    """What a cell would send; nothing is sent, stored or made.

    Raises:
        DextoError: It could not be sent.
    """
    here = place(bench.shell)
    session, resumed = bench.session_in_sight(name, here)
    return bench.agent.preview(
        text,
        session.id if session else None,
        model=asked.model or bench.practice,
        system=asked.system,
        options=asked.options,
        stream=asked.stream,
        note=RESUMED if resumed else None,
    )


def _followed(stream: BlockingReplyStream, view: ReplyView, *, line: bool) -> Reply:
    try:
        while (event := stream.next_event(timeout=_LOOK_SECONDS)) is not None:
            if isinstance(event, Quiet):
                view.tick()
            else:
                view.feed(event)
        view.end(stream.reply, line=line)
    except KeyboardInterrupt as error:
        stream.cancel()
        view.end(stream.saved, line=line)
        if stream.saved is None:
            error.args = ("ended before anything was sent; nothing was stored",)
        else:
            error.args = ("the turn was ended; what had arrived is kept",)
        raise
    except BaseException:
        view.end(stream.saved, line=line)
        raise
    return stream.reply
