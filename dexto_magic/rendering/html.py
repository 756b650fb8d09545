"""Conversations as HTML for notebooks, and for the files that keep them.

What they say and in which order is that of ``plain``; what they are made of is in ``markup``.
"""

from __future__ import annotations

from collections.abc import Sequence

from dexto_magic.conversation.messages import Aside, Message
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.rendering import markup, plain
from dexto_magic.rendering.markdown import to_html
from dexto_magic.rendering.outline import Forgotten, Shown, outline


def reply_html(
    body: str,
    *,
    notices: Sequence[str] = (),
    reasoning: str = "",
    mark: str | None = None,
    line: str | None = None,
    to_type: str | None = None,
) -> str:
    """The output of a cell.

    Args:
        body: The reply as safe HTML, from ``to_html``, ``text_html`` or a ``StreamRenderer``.
        notices: What to know beforehand, in dim lines above.
        reasoning: The model's reasoning as text, shown collapsed.
        mark: The words for a reply that did not end well.
        line: The dim line at the end.
        to_type: What may be typed, at the end of that line.
    """
    parts = [markup.dim(markup.ours(notice)) for notice in notices]
    parts += _answer(body, reasoning=reasoning, mark=mark)
    typed = f" <code>{markup.inline(to_type)}</code>" if to_type else ""
    if line or typed:
        parts.append(markup.dim(markup.inline(line or "") + typed))
    return markup.root(parts)


def text_html(text: str) -> str:
    """Text as it is, as the body of a reply that cannot be rendered."""
    return markup.typed(text) if text else ""


def transcript_html(transcript: Transcript) -> str:
    """A history: what was asked as it was typed, what was answered as Markdown."""
    parts = [markup.dim(markup.inline(plain.transcript_line(transcript)))]
    title = plain.title_to_show(transcript)
    if title:
        parts.append(f"<div><b>{markup.inline(title)}</b></div>")
    for entry in outline(transcript):
        if isinstance(entry, Forgotten):
            parts.append(markup.dim(plain.forgotten_line(entry.number)))
        elif isinstance(entry, Aside):
            parts.append(_aside(entry))
        else:
            parts += _turn(entry)
    return markup.root(parts)


def sessions_html(
    sessions: Sequence[Session], *, current: str | None = None, lines: Sequence[str] = ()
) -> str:
    """A table of sessions: name, title, turns, when last used, model.

    Args:
        sessions: The sessions, in the order in which they are shown.
        current: The name of the one that a cell without a name goes to.
        lines: Messages of ours below it.
    """
    if not sessions:
        return lines_html([plain.NO_SESSIONS, *lines])
    heading, *rows = plain.session_rows(sessions)
    heads = "".join(f"<th>{column}</th>" for column in heading)
    parts = ['<table class="dexto-sessions">', f"<thead><tr>{heads}</tr></thead>", "<tbody>"]
    for session, row in zip(sessions, rows, strict=True):
        name, *others = (markup.inline(cell) for cell in row)
        if session.id == current:
            name = f"<b>{name}</b>{plain.CURRENT}"
        parts.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in (name, *others)) + "</tr>")
    return markup.root([*parts, "</tbody>", "</table>", *map(markup.sentence, lines)])


def lines_html(lines: Sequence[str]) -> str:
    """Messages of ours, one on a line."""
    return markup.root(list(map(markup.sentence, lines)))


def facts_html(facts: Sequence[tuple[str, str]], *, lines: Sequence[str] = ()) -> str:
    """A table of names and values, and messages of ours below it."""
    return markup.root([*facts_parts(facts), *map(markup.sentence, lines)])


def facts_parts(facts: Sequence[tuple[str, str]]) -> list[str]:
    """The pieces of such a table."""
    rows = [
        f"<tr><th>{markup.inline(name)}</th><td>{markup.inline(value)}</td></tr>"
        for name, value in facts
    ]
    return ["<table>", "<tbody>", *rows, "</tbody>", "</table>"]


def _aside(aside: Aside) -> str:
    line = plain.aside_line(aside)
    if aside.kind == "summary":
        return markup.collapsed(line, aside.content)
    return markup.dim(markup.inline(line))


def _turn(entry: Shown) -> list[str]:
    turn, kind = entry.turn, "dexto-turn" if entry.in_view else "dexto-turn dexto-past"
    parts = [f'<div class="{kind}">', markup.head(plain.turn_line(turn, entry.standing))]
    for message in turn.messages:
        parts += _message(message, with_version=not entry.standing)
    if turn.status == "open":
        parts.append(markup.dim(plain.NO_REPLY_YET))
    return [*parts, "</div>"]


def _message(message: Message, *, with_version: bool) -> list[str]:
    head = markup.head(plain.message_line(message, with_version=with_version))
    attached = [
        markup.dim(markup.inline(plain.attachment_line(item))) for item in message.attachments
    ]
    if message.role == "user":
        return ['<div class="dexto-you">', head, markup.typed(message.content), *attached, "</div>"]
    if message.role == "tool":
        return [markup.collapsed("tool", message.content), *attached]
    calls = [markup.collapsed(f"calls {call.name}", call.arguments) for call in message.tool_calls]
    body = to_html(message.content) if message.content else ""
    answer = _answer(body, reasoning=message.reasoning, mark=plain.mark(message))
    return [head, *answer, *calls, *attached]


def _answer(body: str, *, reasoning: str, mark: str | None) -> list[str]:
    parts = [markup.collapsed("reasoning", reasoning)] if reasoning else []
    if body:
        parts.append(f"<div>\n{body.rstrip()}\n</div>")
    if mark:
        parts.append(f'<div class="dexto-mark">⚠ {markup.inline(mark)}</div>')
    return parts
