"""Conversations as Markdown, to be read, printed and cited.

Headings of the first three levels and the paragraphs right below them are the document's own:
nothing that anybody said can pass for a heading. Dates are absolute and in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, BinaryIO

from dexto_magic.conversation.messages import Attachment, Message, Turn, turns_of
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.formats.quoting import code, plain_line, quoted, subordinate
from dexto_magic.rendering import plain

_SPEAKERS = {"user": "You", "assistant": "Reply", "tool": "Tool"}


def dump(transcripts: Iterable[Transcript], file: BinaryIO) -> int:
    """Writes conversations one after the other, and says how many."""
    written = 0
    for transcript in transcripts:
        lines = ["", *document(transcript)] if written else document(transcript)
        file.write("\n".join([*lines, ""]).encode())
        written += 1
    return written


def document(transcript: Transcript) -> list[str]:
    """The lines of a conversation."""
    lines = [*introduction(transcript), ""]
    for turn in turns_of(transcript.messages):
        lines += _turn(turn)
    return lines[:-1]


def introduction(transcript: Transcript) -> list[str]:
    """The lines that tell what a conversation is, and where it comes from."""
    session = transcript.session
    title = plain_line(session.title or "") or plain_line(session.id)
    lines = [f"# {title}", "", *(f"- {name}: {value}" for name, value in _facts(transcript))]
    if session.system:
        lines += ["", "## System prompt", "", *quoted(session.system)]
    return lines


def _facts(transcript: Transcript) -> Iterator[tuple[str, str]]:
    session = transcript.session
    shown = len(turns_of(transcript.messages))
    whole = max(session.turn_count, shown)
    yield "Session", code(session.id)
    yield "Begun", _moment(session.created_at)
    yield "Last used", _moment(session.updated_at)
    of = f"the last {plain.number(shown)} of " if shown < whole else ""
    yield "Turns", f"{of}{plain.number(whole)}"
    if session.model:
        yield "Model of the session", code(session.model)
    if session.usage.total_tokens:
        yield "Tokens", plain.tokens(session.usage)
    if session.forked_from is not None:
        yield "Forked from", _origin(session)
    if session.notebooks:
        # Not where they are: such a file is made to be given away.
        yield "Notebooks", ", ".join(code(PurePath(path).name) for path in session.notebooks)
    if transcript.others:
        yield "Not shown", f"{plain.count(len(transcript.others), 'message')} of earlier versions"


def _origin(session: Session) -> str:
    name = code(session.forked_from or "")
    return name if session.forked_at is None else f"{name}, after its turn {session.forked_at}"


def _turn(turn: Turn) -> list[str]:
    lines = [f"## Turn {turn.number}", ""]
    for message in turn.messages:
        lines += _message(message)
    return [*lines, plain_line(plain.NO_REPLY_YET), ""] if turn.status == "open" else lines


def _message(message: Message) -> list[str]:
    lines = [f"### {_SPEAKERS[message.role]}", "", about(message), ""]
    for attachment in message.attachments:
        lines += [_attached(attachment), ""]
    if message.role != "assistant":
        lines += [*quoted(message.content), ""]
    elif message.content.strip():
        lines += [*subordinate(message.content), ""]
    # Each below a heading: a paragraph behind a reply could as well be the reply's.
    if message.reasoning:
        lines = ["### Reasoning", "", *quoted(message.reasoning), "", *lines]
    for call in message.tool_calls:
        known = f"{code(call.id)} of {code(call.name)}" if call.id else f"of {code(call.name)}"
        lines += ["### Call", "", known, "", *quoted(call.arguments), ""]
    return lines


def about(message: Message) -> str:
    """The line by which a message can be cited: who said it, how, when, and how it ended."""
    facts = [_moment(message.created_at), code(message.id)]
    if message.role == "assistant":
        facts = [
            code(message.model) if message.model else "model unknown",
            f"provider {code(message.provider)}" if message.provider else "",
            f"options {code(_json(message.options))}" if message.options else "",
            *facts,
            plain.tokens(message.usage) if message.usage else "",
            f"{message.duration:,.1f} s" if message.duration is not None else "",
            plain_line(plain.mark(message) or message.status),
            f"finish reason {code(message.finish_reason)}" if message.finish_reason else "",
        ]
    if message.role == "tool" and message.tool_call_id:
        facts.append(f"answers the call {code(message.tool_call_id)}")
    if message.version > 1:
        facts.append(f"version {plain.number(message.version)}")
    return " · ".join(fact for fact in facts if fact)


def _attached(attachment: Attachment) -> str:
    size = f", {plain.count(attachment.size, 'byte')}" if attachment.size else ""
    digest = f", SHA-256 {code(attachment.digest)}" if attachment.digest else ""
    return f"Attached: {code(attachment.name)} ({code(attachment.media_type)}{size}{digest})"


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _json(value: Any) -> str:
    return json.dumps(dict(value), ensure_ascii=False)
