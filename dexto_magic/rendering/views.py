"""How each value that a command gives is shown, as text and as HTML.

Front ends show what the verbs return through these two functions, so that the same thing looks the
same in a cell, in a terminal and from the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from dexto_magic.conversation.context import ContextReport, PromptPreview
from dexto_magic.conversation.finding import SearchPage
from dexto_magic.conversation.health import StoreReport
from dexto_magic.conversation.messages import Reply
from dexto_magic.conversation.session import Removal, Session, SessionPage, Transcript, TurnChange
from dexto_magic.conversation.transfer import BackedUp, Exported, Imported, Restored
from dexto_magic.conversation.usage import UsageReport
from dexto_magic.rendering import html, markup, plain, preview
from dexto_magic.rendering.context import context_html, context_text
from dexto_magic.rendering.finding import search_html, search_text
from dexto_magic.rendering.health import report_html, report_text
from dexto_magic.rendering.markdown import to_html
from dexto_magic.rendering.replacing import backed_up_lines, restored_lines
from dexto_magic.rendering.results import Facts, Forked, Renamed, Said, SessionTable
from dexto_magic.rendering.usage import usage_html, usage_text

_NAMED = 20
"""Sessions, or broken records, that are named one by one."""

_LONGEST_QUOTE = 60
"""Columns that a question has where it is named by its beginning."""


@singledispatch
def as_text(value: object, *, width: int = 80, color: bool = False) -> str:
    """The value for a terminal of ``width`` columns, with a new line at its end."""
    raise TypeError(f"there is no view of a {type(value).__name__}")


@singledispatch
def as_html(value: object) -> str:
    """The value for a notebook."""
    raise TypeError(f"there is no view of a {type(value).__name__}")


@as_text.register
def _(value: Transcript, *, width: int = 80, color: bool = False) -> str:
    return plain.transcript_text(value, width=width, color=color)


@as_html.register
def _(value: Transcript) -> str:
    return html.transcript_html(value)


@as_text.register
def _(value: SessionTable, *, width: int = 80, color: bool = False) -> str:
    if not value.sessions:
        return _lines([value.none, *_more(value)])
    table = plain.sessions_text(value.sessions, current=value.current, width=width, color=color)
    return table + _lines(_more(value))


@as_html.register
def _(value: SessionTable) -> str:
    if not value.sessions:
        return html.lines_html([value.none, *_more(value)])
    return html.sessions_html(value.sessions, current=value.current, lines=_more(value))


def _more(table: SessionTable) -> list[str]:
    line = "There are more: narrow it down with a pattern, or ask for a larger number with -n."
    return [line] if table.more else []


@as_text.register
def _(value: SessionPage, *, width: int = 80, color: bool = False) -> str:
    return plain.sessions_text(value.sessions, width=width, color=color)


@as_html.register
def _(value: SessionPage) -> str:
    return html.sessions_html(value.sessions)


@as_text.register
def _(value: Session, *, width: int = 80, color: bool = False) -> str:
    return plain.sessions_text([value], width=width, color=color)


@as_html.register
def _(value: Session) -> str:
    return html.sessions_html([value])


@as_text.register
def _(value: Reply, *, width: int = 80, color: bool = False) -> str:
    return plain.printable(value.content) + "\n"


@as_html.register
def _(value: Reply) -> str:
    return html.reply_html(
        to_html(value.content),
        reasoning=value.reasoning,
        mark=plain.mark(value.message),
        line=plain.reply_line(value),
    )


@as_text.register
def _(value: Facts, *, width: int = 80, color: bool = False) -> str:
    return plain.facts_text(value.pairs) + _lines(value.lines)


@as_html.register
def _(value: Facts) -> str:
    return html.facts_html(value.pairs, lines=value.lines)


@as_text.register
def _(value: Said, *, width: int = 80, color: bool = False) -> str:
    return _lines(value.lines)


@as_html.register
def _(value: Said) -> str:
    return html.lines_html(value.lines)


@as_text.register
def _(value: TurnChange, *, width: int = 80, color: bool = False) -> str:
    return _lines(["".join(turn_change_line(value))])


@as_html.register
def _(value: TurnChange) -> str:
    # What was asked is people's own text: nothing in it is to be typed.
    before, asked, after = turn_change_line(value)
    return markup.root([f"<div>{before}{markup.inline(asked)}{markup.ours(after)}</div>"])


@as_text.register
def _(value: UsageReport, *, width: int = 80, color: bool = False) -> str:
    return usage_text(value, width=width, color=color)


@as_html.register
def _(value: UsageReport) -> str:
    return usage_html(value)


@as_text.register
def _(value: ContextReport, *, width: int = 80, color: bool = False) -> str:
    return context_text(value, width=width, color=color)


@as_html.register
def _(value: ContextReport) -> str:
    return context_html(value)


@as_text.register
def _(value: Forked, *, width: int = 80, color: bool = False) -> str:
    return _lines([_forked(value)])


@as_html.register
def _(value: Forked) -> str:
    return html.lines_html([_forked(value)])


def _forked(value: Forked) -> str:
    session = value.session
    turns = plain.count(session.turn_count, "turn")
    origin = f"a fork of {session.forked_from!r} at turn {session.forked_at}"
    already = "" if value.made else " already"
    here = "; cells without a name go there now" if value.current else ""
    return f"{session.id!r} is {origin}{already}: {turns}{here}"


@as_text.register
def _(value: Renamed, *, width: int = 80, color: bool = False) -> str:
    return _lines([_renamed(value)])


@as_html.register
def _(value: Renamed) -> str:
    return html.lines_html([_renamed(value)])


def _renamed(value: Renamed) -> str:
    name = value.session.id
    if value.made or value.old == name:
        return f"{value.old!r} is called {name!r} now{'' if value.made else ' already'}"
    return f"{name!r} is there already, and no {value.old!r}: nothing was renamed"


@as_text.register
def _(value: SearchPage, *, width: int = 80, color: bool = False) -> str:
    return search_text(value, width=width, color=color)


@as_html.register
def _(value: SearchPage) -> str:
    return search_html(value)


@as_text.register
def _(value: Exported, *, width: int = 80, color: bool = False) -> str:
    return _lines(exported_lines(value))


@as_html.register
def _(value: Exported) -> str:
    return html.lines_html(exported_lines(value))


def exported_lines(value: Exported) -> list[str]:
    """What was written, and whether it can be read again."""
    sessions, messages = (
        plain.count(value.sessions, "session"),
        plain.count(value.messages, "message"),
    )
    lines = [f"{sessions} written to {value.path}, with {messages}."]
    if value.lossless:
        lines.append("Everything of them is in it; `%dexto import` reads it.")
    if value.unread:
        lines.append(f"Not in it, as the store cannot read them: {_names(value.unread)}.")
    if value.deleted:
        lines.append(f"Not in it, as they were deleted meanwhile: {_names(value.deleted)}.")
    return lines


@as_text.register
def _(value: Imported, *, width: int = 80, color: bool = False) -> str:
    return _lines(imported_lines(value))


@as_html.register
def _(value: Imported) -> str:
    return html.lines_html(imported_lines(value))


def imported_lines(value: Imported) -> list[str]:
    """What was read, what was there already, and what is broken."""
    messages = plain.count(sum(session.message_count for session in value.sessions), "message")
    lines = [
        f"{plain.count(len(value.sessions), 'session')} read from {value.path}, with {messages}."
    ]
    if value.sessions:
        lines.append(f"New: {_names([session.id for session in value.sessions])}.")
    lines += [
        f"{name!r} goes on from {before!r}, which is shorter and was left as it is."
        for name, before in value.continues[:_NAMED]
    ]
    if value.already:
        lines.append(f"There already, and left as they are: {plain.number(value.already)}.")
    lines += [
        f"Number {number} could not be read: {reason}" for number, reason in value.broken[:_NAMED]
    ]
    if len(value.broken) > _NAMED:
        lines.append(f"So could {plain.number(len(value.broken) - _NAMED)} more not.")
    return lines


@as_text.register
def _(value: StoreReport, *, width: int = 80, color: bool = False) -> str:
    return report_text(value, width=width, color=color)


@as_html.register
def _(value: StoreReport) -> str:
    return report_html(value)


@as_text.register
def _(value: BackedUp, *, width: int = 80, color: bool = False) -> str:
    return _lines(backed_up_lines(value))


@as_html.register
def _(value: BackedUp) -> str:
    return html.lines_html(backed_up_lines(value))


@as_text.register
def _(value: Restored, *, width: int = 80, color: bool = False) -> str:
    return _lines(restored_lines(value))


@as_html.register
def _(value: Restored) -> str:
    return html.lines_html(restored_lines(value))


@as_text.register
def _(value: PromptPreview, *, width: int = 80, color: bool = False) -> str:
    return preview.preview_text(value, width=width, color=color)


@as_html.register
def _(value: PromptPreview) -> str:
    return preview.preview_html(value)


@as_text.register
def _(value: Removal, *, width: int = 80, color: bool = False) -> str:
    return _lines(removal_lines(value))


@as_html.register
def _(value: Removal) -> str:
    return html.lines_html(removal_lines(value))


def removal_lines(removal: Removal) -> list[str]:
    """What was taken away, and what it could not reach."""
    messages = plain.count(removal.message_count, "message")
    if removal.turn is not None:
        taken = f"Turn {removal.turn} of {removal.session_id!r} is forgotten: {messages}."
    elif removal.deleted:
        taken = f"Session {removal.session_id!r} is gone, with {messages}."
    else:
        taken = f"Gone from {removal.session_id!r}: {messages}. The session is kept."
    lines = [taken]
    if removal.purge_pending:
        lines.append(
            "purge pending: another process is reading the store, so bytes of them are still in its "
            "files; it is tried again by itself."
        )
    if removal.forks:
        lines.append(
            f"Not reached: forks that hold the same messages: {', '.join(map(repr, removal.forks))}."
        )
    notebooks = f" ({', '.join(removal.notebooks)})" if removal.notebooks else ""
    lines.append(
        f"Not reached: outputs in notebooks{notebooks}, IPython's own history file, exports, and "
        "what the provider keeps."
    )
    return lines


def turn_change_line(change: TurnChange) -> tuple[str, str, str]:
    """What an undo or a redo did: our words, what was asked, and our words again."""
    asked = plain.clipped(plain.one_line(change.asked.content), _LONGEST_QUOTE)
    if change.version is None:
        rest = "”) is out of the conversation; `%dexto redo` brings it back."
    else:
        what = "back at" if change.undone else "in the conversation again, at"
        rest = f"”) is {what} version {change.version}."
    return f"Turn {change.turn} (“", asked, rest


def _names(names: Sequence[str]) -> str:
    """Names of sessions, so many of them that they can be read."""
    more = f" and {plain.number(len(names) - _NAMED)} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more


def _lines(lines: Sequence[str]) -> str:
    return "".join(plain.printable(line) + "\n" for line in lines)
