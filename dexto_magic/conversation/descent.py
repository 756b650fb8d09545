"""Where a session comes from, if not from its own first prompt: a fork, or an import."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside, Message
from dexto_magic.conversation.record import CONTEXT_BUDGET, OVERFLOW, SessionRecord
from dexto_magic.conversation.session import Transcript
from dexto_magic.conversation.summaries import is_about


def forked(
    record: SessionRecord,
    *,
    sid: str,
    name: str,
    line: Line,
    rows: int,
    messages: int,
    title: str | None,
    now: datetime,
) -> SessionRecord:
    """A session of its own with what another has in view; that one is left as it is.

    Args:
        record: The session that it comes from.
        sid: The store's name for the new one.
        name: Its name.
        line: What of the line it takes over, as ``Line.up_to`` gives it.
        rows: How many rows it has.
        messages: How many of them are messages.
        title: The title that it has by itself.
        now: The time.
    """
    return SessionRecord(
        sid=sid,
        id=name,
        created_at=now,
        used_at=now,
        rows=rows,
        line=line,
        messages=messages,
        title=record.title if record.own_title else title,
        own_title=record.own_title,
        model=record.model,
        system=record.system,
        settings=record.settings,
        forked_from=record.id,
        forked_at=line.end,
        parent=record.sid,
        family=record.kin,
    )


def inherits(line: Line, aside: Aside) -> bool:
    """Whether a fork with this line takes over a summary: it is about nothing else."""
    return aside.kind == "summary" and is_about(aside, line)


def restored(transcript: Transcript, *, sid: str, name: str, source: str | None) -> SessionRecord:
    """The record of a session that comes from elsewhere, such as an export."""
    session = transcript.session
    line = transcript.line
    if line is None or not _agrees(line, transcript.messages, transcript.others):
        line = _line_of(transcript.messages, transcript.others)
    settings = {OVERFLOW: session.overflow, CONTEXT_BUDGET: session.context_budget}
    return SessionRecord(
        sid=sid,
        id=name,
        created_at=session.created_at,
        used_at=session.updated_at,
        rows=len(transcript.messages) + len(transcript.others) + len(transcript.asides),
        line=line,
        messages=len(transcript.messages),
        title=session.title,
        own_title=session.own_title,
        model=session.model,
        system=session.system,
        settings={key: value for key, value in settings.items() if value is not None},
        usage=session.usage,
        forked_from=session.forked_from,
        forked_at=session.forked_at,
        source=source,
        notebooks=session.notebooks,
    )


def is_numbered(transcript: Transcript) -> bool:
    """Whether the turns of a transcript are numbered as a session's are: from 1, in order."""
    numbers = [message.turn for message in transcript.messages]
    kept = (*transcript.messages, *transcript.others)
    return numbers == sorted(numbers) and all(m.turn > 0 and m.version > 0 for m in kept)


def _agrees(line: Line, shown: Sequence[Message], others: Sequence[Message]) -> bool:
    """Whether a line that came with messages, perhaps edited, shows just those that it should."""
    turns = {message.turn for message in shown}
    return (
        all(map(line.shows, shown))
        and not any(map(line.shows, others))
        and len(turns) == line.count
        and all(
            message.turn <= line.made and message.version <= line.latest.get(message.turn, 1)
            for message in (*shown, *others)
        )
    )


def _line_of(shown: Sequence[Message], others: Sequence[Message]) -> Line:
    """The line of messages that come without one: there is nothing to undo but turns in view.

    No turn or version that is begun later is taken for one of the others.
    """
    numbers = {message.turn for message in shown}
    end = max(numbers, default=0)
    latest: dict[int, int] = {}
    for message in (*shown, *others):
        latest[message.turn] = max(message.version, latest.get(message.turn, 1))
    return Line(
        end=end,
        made=max(latest, default=0),
        versions={message.turn: message.version for message in shown if message.version != 1},
        latest={turn: version for turn, version in latest.items() if version != 1},
        gone=tuple(sorted(set(range(1, end + 1)) - numbers)),
    )
