"""Conversations as HTML for notebooks, and for the files that keep them.

Everything stands under one ``<div class="dexto">`` with one static ``<style>``, so that a page
without JupyterLab's theme looks right too; where even that is stripped, as on GitHub, the elements
alone still read well. No script, no id, nothing fetched. Every text is escaped here; the one thing
taken as HTML is a body that ``markdown`` made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from dexto_magic.conversation.messages import Message, Turn, turns_of
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.rendering import plain
from dexto_magic.rendering.latex import untypeset
from dexto_magic.rendering.markdown import CODE_STYLE, encodable, to_html

_TO_TYPE = re.compile("`(%%?dexto[^`]*)`")

# JupyterLab's own rules name two classes and an element: ours repeat the root's class to outrank
# them, and come later in the page.
STYLE = """\
.dexto{overflow-wrap:anywhere;--dexto-dim:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,color-mix(in srgb,currentColor 72%,transparent)))}
.dexto .dexto-dim,.dexto summary{color:var(--dexto-dim);font-size:.85em;margin:.3em 0}
.dexto summary{cursor:pointer}
.dexto>div>:last-child,.dexto .dexto-turn>div>:last-child{margin-bottom:.3em}
.dexto a[href]{color:var(--jp-content-link-color,var(--vscode-textLink-foreground,inherit));text-decoration:underline}
.dexto hr{border:0;border-top:1px solid var(--jp-border-color2,#8888);margin:1em 0}
.dexto mjx-container[display="true"]{overflow-x:auto;overflow-y:hidden;padding:.3em 0}
.dexto .dexto-mark{border-left:3px solid var(--jp-warn-color1,#c77700);padding:.1em .6em;margin:.4em 0}
.dexto .dexto-turn{border-top:1px solid var(--jp-border-color2,#8888);margin-top:.8em}
.dexto .dexto-you{border-left:3px solid var(--jp-brand-color1,#1976d2);padding-left:.6em;margin:.3em 0 .8em}
.dexto.dexto .dexto-typed{background:none;font:inherit;white-space:pre-wrap;word-break:normal;margin:0}
.dexto.dexto details .dexto-typed{border-left:2px solid var(--jp-border-color2,#8888);padding-left:.6em;margin:.2em 0 .9em;color:var(--dexto-dim)}
.dexto .highlight{background:var(--jp-cell-editor-background,#8881);padding:.4em .6em;margin:.5em 0}
.dexto.dexto .highlight pre,.dexto.dexto .highlight code{background:none;margin:0;white-space:pre}
.dexto .highlight pre{overflow-x:auto}
.dexto table{display:block;max-width:100%;overflow-x:auto;margin-left:0}
.dexto.dexto td,.dexto.dexto th{text-align:left;vertical-align:top;padding:.3em .6em;overflow-wrap:break-word}
.dexto .dexto-sessions td:first-child{min-width:10em}
.dexto .dexto-sessions td:nth-child(n+3){white-space:nowrap}
.dexto.dexto .dexto-sessions :is(th,td):nth-child(3){text-align:right}
"""
"""The looks of every output, colours from JupyterLab's theme where there is one."""


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
    parts = [_dim(_ours(notice)) for notice in notices]
    parts += _answer(body, reasoning=reasoning, mark=mark)
    typed = f" <code>{_text(to_type)}</code>" if to_type else ""
    if line or typed:
        parts.append(_dim(_text(line or "") + typed))
    return _root(parts)


def text_html(text: str) -> str:
    """Text as it is, as the body of a reply that cannot be rendered."""
    return _typed(text) if text else ""


def transcript_html(transcript: Transcript) -> str:
    """A history: what was asked as it was typed, what was answered as Markdown."""
    parts = [_dim(_text(plain.transcript_line(transcript)))]
    title = plain.title_to_show(transcript)
    if title:
        parts.append(f"<div><b>{_text(title)}</b></div>")
    for turn in turns_of(transcript.messages):
        parts += _turn(turn)
    return _root(parts)


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
        name, *others = (_text(cell) for cell in row)
        if session.id == current:
            name = f"<b>{name}</b>{plain.CURRENT}"
        parts.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in (name, *others)) + "</tr>")
    return _root([*parts, "</tbody>", "</table>", *map(_line, lines)])


def lines_html(lines: Sequence[str]) -> str:
    """Messages of ours, one on a line."""
    return _root(list(map(_line, lines)))


def facts_html(facts: Sequence[tuple[str, str]], *, lines: Sequence[str] = ()) -> str:
    """A table of names and values, and messages of ours below it."""
    rows = [f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts]
    return _root(["<table>", "<tbody>", *rows, "</tbody>", "</table>", *map(_line, lines)])


def _turn(turn: Turn) -> list[str]:
    parts = ['<div class="dexto-turn">', _head(plain.turn_line(turn))]
    for message in turn.messages:
        parts += _message(message)
    if turn.status == "open":
        parts.append(_dim(plain.NO_REPLY_YET))
    return [*parts, "</div>"]


def _message(message: Message) -> list[str]:
    head = _head(plain.message_line(message))
    attached = [_dim(_text(plain.attachment_line(item))) for item in message.attachments]
    if message.role == "user":
        return ['<div class="dexto-you">', head, _typed(message.content), *attached, "</div>"]
    if message.role == "tool":
        return [_collapsed("tool", message.content), *attached]
    calls = [_collapsed(f"calls {call.name}", call.arguments) for call in message.tool_calls]
    body = to_html(message.content) if message.content else ""
    answer = _answer(body, reasoning=message.reasoning, mark=plain.mark(message))
    return [head, *answer, *calls, *attached]


def _answer(body: str, *, reasoning: str, mark: str | None) -> list[str]:
    parts = [_collapsed("reasoning", reasoning)] if reasoning else []
    if body:
        parts.append(f"<div>\n{body.rstrip()}\n</div>")
    if mark:
        parts.append(f'<div class="dexto-mark">⚠ {_text(mark)}</div>')
    return parts


def _root(parts: Sequence[str]) -> str:
    html = "\n".join(parts)
    style = STYLE + CODE_STYLE if '<div class="highlight">' in html else STYLE
    return f'<div class="dexto">\n<style>\n{style}</style>\n{html}\n</div>\n'


def _dim(html: str) -> str:
    return f'<div class="dexto-dim">{html}</div>'


def _head(line: str) -> str:
    """A label, its first part in bold: that is left where a page drops classes and styles."""
    first, *others = line.split(" · ")
    return _dim(" · ".join([f"<b>{_text(first)}</b>", *map(_text, others)]))


def _line(line: str) -> str:
    return f"<div>{_ours(line)}</div>"


def _ours(line: str) -> str:
    """A line of ours, each magic between backticks as something to be typed.

    Anything else between backticks is of a name, a path or an error that stands in the line, and is
    shown as it was written. What people write at length has no place in such a line: see ``Facts``.
    """
    return _TO_TYPE.sub(r"<code>\1</code>", _text(line))


def _collapsed(summary: str, text: str) -> str:
    return f"<details><summary>{_text(summary)}</summary>\n{_typed(text)}\n</details>"


def _typed(text: str) -> str:
    """Text as it is. MathJax leaves ``pre`` alone; the new line keeps one that the text begins with."""
    return f'<pre class="dexto-typed">\n{_escaped(text)}</pre>'


def _text(text: str) -> str:
    return untypeset(_escaped(text))


def _escaped(text: str) -> str:
    return escape(encodable(text).replace("\0", "\ufffd"))
