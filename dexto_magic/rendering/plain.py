"""Conversations as plain text, and the words that every view of them shares.

What a terminal shows must not drive the terminal, so whatever people or models wrote goes through
``printable``. Dates are absolute and in UTC: a notebook must not change by being run again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from wcwidth import wcswidth

from dexto_magic.conversation.history import automatic_title
from dexto_magic.conversation.messages import (
    Aside,
    Attachment,
    Message,
    Reply,
    Turn,
    Usage,
    turns_of,
)
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.rendering.outline import Forgotten, Shown, outline

NO_SESSIONS = "No sessions. A new one begins with its first question: %%dexto NAME in a cell."
NO_REPLY_YET = "no reply yet"
CURRENT = " (current)"
"""After the name of the session that a cell without a name goes to."""

SESSION_COLUMNS = ("name", "title", "turns", "last used (UTC)", "model", "forked from")
"""The last two only where there is something to tell."""

_ALWAYS = 4
"""How many of them there always are."""

_LONGEST_ORIGIN = 40

_CONTROLS = re.compile(
    "(?:\x1b[P\\]X^_]|[\x90\x98\x9d-\x9f])"  # strings: titles, links, the clipboard
    "[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, the cursor, the screen
    "|\x1b[ -/]*[0-~]?"  # all other sequences, and strings without an end
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    "|[\u202a-\u202e\u2066-\u2069]"  # would reorder what stands beside them
)
"""Sequences of ECMA-48, in their 7-bit and 8-bit forms, and bidirectional overrides."""

_ENDINGS = {
    "length": "cut short: the reply reached its limit of tokens",
    "content_filter": "cut short: the provider's content filter",
}


def printable(text: str) -> str:
    """The text without anything that a terminal would obey, but for new lines and tabs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub("[\ud800-\udfff]", "\ufffd", _CONTROLS.sub("", text))


def one_line(text: str) -> str:
    """The text on one line, as ``printable`` leaves it."""
    return " ".join(printable(text).split())


def padded(text: str, width: int) -> str:
    """The text and spaces up to so many columns."""
    return text + " " * (width - wcswidth(text))


def clipped(text: str, width: int) -> str:
    """The text, or its beginning and ``…``, in at most so many columns."""
    if wcswidth(text) <= width:
        return text
    text = text[: 10 * width]  # what is left is shortened by one character at a time
    while text and wcswidth(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def joined(*parts: str | None) -> str:
    """What is known, with dots between."""
    return " · ".join(part for part in parts if part)


def date(when: datetime) -> str:
    """For example ``2026-11-20``, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%d")


def moment(when: datetime) -> str:
    """For example ``2026-11-20 14:03 UTC``."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def number(n: int) -> str:
    """For example ``1,234``."""
    return f"{n:,}"


def count(n: int, noun: str) -> str:
    """For example ``1 turn`` or ``1,234 turns``."""
    return f"{number(n)} {noun}{'' if n == 1 else 's'}"


def mark(message: Message) -> str | None:
    """The words for a message that did not end well, the same everywhere, or ``None``."""
    reason = one_line(message.reason or "error")
    if message.status == "failed":
        return f"failed: {reason}, nothing arrived"
    if message.status == "complete":
        return _ENDINGS.get(message.finish_reason or "")
    if reason == "crashed":
        return "cut short by a crash: the last saved part"
    return f"cut short: {reason}"


def tokens(usage: Usage) -> str:
    """For example ``1,234 in (1,000 cached) / 56 out``."""
    cached = f" ({number(usage.cached_tokens)} cached)" if usage.cached_tokens else ""
    return f"{number(usage.input_tokens)} in{cached} / {number(usage.output_tokens)} out"


def reply_line(reply: Reply) -> str:
    """The last line of a cell: who answered, in which turn, for how many tokens, how fast."""
    message, total = reply.message, reply.session_usage.total_tokens
    return joined(
        one_line(reply.session_id),
        f"turn {message.turn}" if message.turn else None,
        one_line(message.model or ""),
        tokens(message.usage) if message.usage else None,
        f"{number(total)} tokens in session" if total else None,
        _seconds(message),
    )


def message_line(message: Message, *, with_version: bool = True) -> str:
    """Who speaks, and for a reply how many tokens and seconds it took."""
    speaker = {"user": "you", "assistant": message.model or "assistant", "tool": "tool"}
    return joined(
        one_line(speaker[message.role]),
        f"version {message.version}" if with_version and message.version > 1 else None,
        tokens(message.usage) if message.usage else None,
        _seconds(message),
    )


def turn_line(turn: Turn, standing: str = "") -> str:
    """The number of a turn, when it began, and which version of it this is."""
    return joined(f"turn {turn.number}", moment(turn.messages[0].created_at), standing)


def forgotten_line(number: int) -> str:
    """What stands in the place of a turn that was forgotten."""
    return f"turn {number} was forgotten"


def summary_of(turn: int) -> str:
    """What to call a summary of all turns up to one."""
    return "summary of turn 1" if turn == 1 else f"summary of turns 1 to {number(turn)}"


def aside_line(aside: Aside) -> str:
    """What a model was asked about the conversation, who wrote it, and for how many tokens."""
    what: str = aside.kind
    if aside.kind == "summary":
        what = summary_of(aside.turn)
    by = f" by {one_line(aside.model)}" if aside.model else ""
    counted = f", {tokens(aside.usage)}" if aside.usage else ""
    written = f": {one_line(aside.content)}" if aside.kind == "title" else ""
    return what + by + counted + written


def attachment_line(attachment: Attachment) -> str:
    """The name of an attachment, its type and its size."""
    size = count(attachment.size, "byte")
    return one_line(f"attached: {attachment.name} ({attachment.media_type}, {size})")


def transcript_line(transcript: Transcript) -> str:
    """What of a session is shown, when it was last used, and where it comes from."""
    session = transcript.session
    shown, whole = len(turns_of(transcript.messages)), session.turn_count
    used = ""
    if not shown and not whole:
        turns = "no turns yet"
    else:
        part = f"{number(shown)} of " if shown < whole else ""
        turns = part + count(whole if part else shown, "turn")
        used = f", last used {moment(session.updated_at)}"
    origin = lineage(session)
    return f"{one_line(session.id)} — {turns}{used}{f', {origin}' if origin else ''}"


def lineage(session: Session) -> str:
    """For example ``forked from 'eda' at turn 4``; empty for a session that is no fork."""
    if session.forked_from is None:
        return ""
    at = "" if session.forked_at is None else f" at turn {session.forked_at}"
    return f"forked from '{one_line(session.forked_from)}'{at}"


def title_to_show(transcript: Transcript) -> str | None:
    """The session's title, unless it is but the beginning of the first question shown."""
    title, messages = transcript.session.title, transcript.messages
    if not messages or messages[0].turn > 1 or title != automatic_title(messages[0].content):
        return title
    return None


def transcript_text(transcript: Transcript, *, width: int = 80, color: bool = False) -> str:
    """A history for the terminal.

    Labels stand at the left edge and what was said is indented, so that no reply can pass for a
    turn that never was. Lines are left as they are: the terminal wraps them, and code survives.

    Args:
        transcript: The session and its messages.
        width: Columns of the terminal.
        color: Whether our own labels are set off by bold and dim type.
    """
    bold, dim = ("\x1b[1m{}\x1b[0m", "\x1b[2m{}\x1b[0m") if color else ("{}", "{}")
    lines = [bold.format(transcript_line(transcript))]
    title = title_to_show(transcript)
    if title:
        lines.append(dim.format(clipped(one_line(title), width)))
    lines.append("")
    for entry in outline(transcript):
        if isinstance(entry, Forgotten):
            lines += [dim.format(f"[{forgotten_line(entry.number)}]"), ""]
        elif isinstance(entry, Aside):
            lines.append(dim.format(f"[{aside_line(entry)}]"))
            lines += [*(indented(entry.content) if entry.kind == "summary" else []), ""]
        else:
            lines += _turn(entry, width, bold, dim)
    return "\n".join(lines).rstrip("\n") + "\n"


def _turn(entry: Shown, width: int, bold: str, dim: str) -> list[str]:
    head = f"── {turn_line(entry.turn, entry.standing)} "
    lines = [dim.format(head + "─" * (width - len(head)))]
    for message in entry.turn.messages:
        lines.append(bold.format(message_line(message, with_version=not entry.standing)))
        lines += indented(message.content)
        lines += ["  " + dim.format(f"[{remark}]") for remark in _remarks(message)]
        lines.append("")
    if entry.turn.status == "open":
        lines += ["  " + dim.format(f"[{NO_REPLY_YET}]"), ""]
    return lines


def sessions_text(
    sessions: Sequence[Session],
    *,
    current: str | None = None,
    width: int = 80,
    color: bool = False,
) -> str:
    """A table of sessions for the terminal.

    Args:
        sessions: The sessions, in the order in which they are shown.
        current: The name of the one that a cell without a name goes to.
        width: Columns of the terminal; what is long is shortened, or left out, to fit.
        color: Whether the heading is set off by bold type.
    """
    if not sessions:
        return NO_SESSIONS + "\n"
    rows = session_rows(sessions)
    longest = min(max(wcswidth(row[0]) for row in rows), width // 4) + len(CURRENT)
    if rows[0][-1] == SESSION_COLUMNS[-1] and _room(rows, width) < longest + len("title"):
        rows = [row[:-1] for row in rows]
    widths, left = _widths(rows, width), _room(rows, width)
    names = _names(sessions, current, width // 4, left - len("title"))
    rows[1:] = [(name, *row[1:]) for name, row in zip(names, rows[1:], strict=True)]
    widths[0] = max(map(wcswidth, ("name", *names)))
    widths[1] = min(widths[1], max(left - widths[0], len("title")))
    lines = [_row(row, widths) for row in rows]
    if color:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return "\n".join(lines) + "\n"


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [max(map(wcswidth, column)) for column in zip(*rows, strict=True)]
    # A name is for typing again, so it has more room than a model; the title has what is left.
    return [*widths[:_ALWAYS], *(min(most, width // 6) for most in widths[_ALWAYS:])]


def _room(rows: Sequence[Sequence[str]], width: int) -> int:
    """The columns that are left for names and titles."""
    widths = _widths(rows, width)
    return width - sum(widths[2:]) - 2 * (len(widths) - 1)


def _names(sessions: Sequence[Session], current: str | None, limit: int, room: int) -> list[str]:
    """The names, each of ``limit`` columns at most; the current one marked, as far as it has room."""
    marked = max(limit, min(limit + len(CURRENT), room)) - len(CURRENT)
    return [
        clipped(one_line(session.id), marked) + CURRENT
        if session.id == current
        else clipped(one_line(session.id), limit)
        for session in sessions
    ]


def session_rows(sessions: Sequence[Session]) -> list[tuple[str, ...]]:
    """The cells of a table of sessions, its heading first; no column that would be empty."""
    rows = [_session_row(session) for session in sessions]
    shown = [i for i, _ in enumerate(SESSION_COLUMNS) if i < _ALWAYS or any(r[i] for r in rows)]
    return [tuple(row[i] for i in shown) for row in (SESSION_COLUMNS, *rows)]


def _session_row(session: Session) -> tuple[str, ...]:
    origin = clipped(one_line(session.forked_from or ""), _LONGEST_ORIGIN)
    at = "" if session.forked_at is None else f" at turn {session.forked_at}"
    return (
        one_line(session.id),
        one_line(session.title or ""),
        number(session.turn_count),
        moment(session.updated_at).removesuffix(" UTC"),
        one_line(session.model or ""),
        origin and origin + at,
    )


def facts_text(facts: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair on a line, the values aligned."""
    names = [one_line(name) for name, _ in facts]
    widest = max(map(wcswidth, names), default=0)
    pairs = zip(names, facts, strict=True)
    return "".join(
        f"{padded(name, widest)}  {one_line(value)}".rstrip() + "\n" for name, (_, value) in pairs
    )


def _remarks(message: Message) -> list[str]:
    remarks = [attachment_line(attachment) for attachment in message.attachments]
    if message.reasoning:
        remarks.append(f"reasoning: {count(len(message.reasoning), 'character')}")
    remarks += [one_line(f"calls {call.name}({call.arguments})") for call in message.tool_calls]
    ending = mark(message)
    return [*remarks, ending] if ending else remarks


def indented(text: str) -> list[str]:
    """The lines of a text, as ``printable`` leaves it, set off from the left edge."""
    return ["  " + line if line else "" for line in printable(text).split("\n")] if text else []


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    fitted = [clipped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    aligned = [padded(cell, width) for cell, width in zip(fitted, widths, strict=True)]
    aligned[2] = fitted[2].rjust(widths[2])
    return "  ".join(aligned).rstrip()


def _seconds(message: Message) -> str | None:
    return None if message.duration is None else f"{message.duration:,.1f} s"
