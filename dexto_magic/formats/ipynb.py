"""Conversations as notebooks: prompts are ``%%dexto`` cells, and replies their outputs.

https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from dexto_magic.conversation.messages import Message, Reply, Turn, turns_of
from dexto_magic.conversation.session import Transcript
from dexto_magic.errors import FormatError
from dexto_magic.formats.cells import (
    KEY,
    asked_in,
    joined,
    prompt_in,
    prompt_metadata,
    reply_in,
    reply_metadata,
    source_of,
    user_message,
)
from dexto_magic.formats.foreign import count_in, fields_of, items_of, text_in, text_or_none, whole
from dexto_magic.formats.markdown import introduction
from dexto_magic.formats.records import (
    Broken,
    Loaded,
    identity_of_messages,
    one_line,
    session_name,
    told,
)
from dexto_magic.rendering import plain
from dexto_magic.rendering.html import reply_html, text_html
from dexto_magic.rendering.markdown import encodable, to_html

NAME = "ipynb"

LOAD = "%load_ext dexto_magic"
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_NOTE = (
    "Running a `%%dexto` cell asks again, in the session that its first line names. To look at what "
    "was said, leave the cells as they are."
)
_SHOWN = ("display_data", "execute_result")


# -- writing ---------------------------------------------------------------------------------------


def dump(transcripts: Iterable[Transcript], file: BinaryIO) -> int:
    """Writes a notebook with conversations, one below the other, and says how many."""
    import nbformat

    v4 = _v4()
    written, cells = 0, []
    for transcript in transcripts:
        cells += _cells(transcript, written)
        written += 1
    cells.insert(1, v4.new_code_cell(LOAD, id="dexto-load"))
    metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    notebook = v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.validate(notebook)
    file.write(f"{v4.writes(notebook)}\n".encode())
    return written


def _v4() -> Any:
    """Jupyter's own functions for this version of the format, which have no annotations."""
    import nbformat.v4

    return nbformat.v4


def _cells(transcript: Transcript, place: int) -> list[Any]:
    v4 = _v4()
    session = transcript.session
    about = {
        "session": session.id,
        "title": session.title,
        "own_title": session.own_title,
        "system": session.system,
    }
    known = {
        name: encodable(text) if isinstance(text, str) else text for name, text in about.items()
    }
    cells = [
        v4.new_markdown_cell(
            "\n".join([*introduction(transcript), "", _NOTE]),
            id=_cell_id(place, session.id),
            metadata={KEY: {name: value for name, value in known.items() if value is not None}},
        )
    ]
    for turn in turns_of(transcript.messages):
        first = turn.messages[0]
        asked = first if first.role == "user" else None
        metadata = {"session": encodable(session.id)}
        cells.append(
            v4.new_code_cell(
                source_of(session.id, asked.content if asked else ""),
                id=_cell_id(place, session.id, len(cells), first.id),
                metadata={KEY: prompt_metadata(asked, session.id) if asked else metadata},
                outputs=_outputs(turn, session.id),
            )
        )
    return cells


def _cell_id(*parts: object) -> str:
    """An id that the same cell has in each export."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return f"dexto-{hashlib.sha256(text).hexdigest()[:16]}"


def _outputs(turn: Turn, session_id: str) -> list[Any]:
    new_output = _v4().new_output
    return [
        new_output(
            "display_data",
            data=_data(message, session_id),
            metadata={KEY: reply_metadata(message, session_id)},
        )
        for message in turn.messages
        if message.role != "user"
    ]


def _data(message: Message, session_id: str) -> dict[str, str]:
    """A reply in every form, as a live cell shows it."""
    if message.role == "tool":
        body, line = text_html(message.content), plain.message_line(message)
    else:
        calls = [f"calls {call.name}({call.arguments})" for call in message.tool_calls]
        body = to_html(message.content) if message.content else ""
        body += "".join(map(text_html, calls))
        line = plain.reply_line(Reply(session_id=session_id, message=message))
    html = reply_html(body, reasoning=message.reasoning, mark=plain.mark(message), line=line)
    shown = {"text/html": html, "text/plain": plain.printable(message.content)}
    if message.role == "assistant":
        shown["text/markdown"] = encodable(message.content)
    return shown


# -- reading ---------------------------------------------------------------------------------------


def load(path: Path, *, now: datetime) -> Iterator[Loaded | Broken]:
    """The conversations of a notebook, an exported one or one that somebody worked in.

    Its sessions are told apart by what outputs say, else by the cells' first lines. A turn is where
    its number says, else where its cell stands. Nothing is run.

    Raises:
        FormatError: It cannot be read, or is no notebook.
    """
    notebook = fields_of(whole(path))
    if not isinstance(notebook.get("cells"), list):
        raise FormatError(f"{path} is no notebook: it has no list of cells.", path=str(path))
    drafts: dict[str | None, _Draft] = {}
    for number, cell in enumerate(notebook["cells"], start=1):
        error = _take(fields_of(cell), number, drafts, now)
        if error is not None:
            yield Broken(number=number, reason=f"cell {number}: {error}")
    for name, draft in _named(drafts, session_name(path.stem, "notebook")):
        said = draft.messages()
        try:
            identity = identity_of_messages(NAME, said)
        except ValueError as error:
            yield Broken(number=draft.turns[0].cell, reason=f"session {name!r}: {error}")
            continue
        transcript = told(said, name=name, now=now, title=draft.title, system=draft.system)
        yield Loaded(transcript=transcript, identity=identity)


@dataclass(frozen=True)
class _CellTurn:
    """The turn of a cell: the cell's number, its own number if that is known, what was said."""

    cell: int
    number: int | None
    messages: list[Message]


@dataclass
class _Draft:
    """A session as far as its cells were read.

    Attributes:
        turns: Its turns.
        title: Its own title, if an exported notebook tells one.
        system: Its system prompt, likewise.
        is_own: Whether cells without a name went to it.
    """

    turns: list[_CellTurn] = field(default_factory=list)
    title: str | None = None
    system: str | None = None
    is_own: bool = False

    def messages(self) -> list[Message]:
        """The messages of all turns, each where its number says, else behind the cell before it."""
        placed, last = [], 0
        for turn in sorted(self.turns, key=lambda turn: turn.cell):
            last = last if turn.number is None else turn.number
            placed.append((last, turn.cell, turn.messages))
        return [message for _, _, messages in sorted(placed) for message in messages]


def _take(
    cell: Mapping[str, Any], number: int, drafts: dict[str | None, _Draft], now: datetime
) -> str | None:
    """Adds what a cell says to its session, or says why it cannot be read."""
    kind, ours = cell.get("cell_type"), fields_of(fields_of(cell.get("metadata")).get(KEY))
    if kind == "code":
        source = joined(cell.get("source"))
        asked = None if source is None else asked_in(source)
        if asked is not None:
            _take_turn(cell, ours, asked, number, drafts, now)
        return "it has no source" if source is None else None
    if kind == "markdown" and text_in(ours.get("session")):
        draft = drafts.setdefault(ours["session"], _Draft())
        draft.title = one_line(ours.get("title")) if ours.get("own_title") is True else None
        draft.system = text_or_none(ours.get("system"))
    return None if text_in(kind) else "it is no cell of any kind"


def _take_turn(  # noqa: PLR0917  # all that is known of the cell
    cell: Mapping[str, Any],
    ours: Mapping[str, Any],
    asked: tuple[str | None, str],
    number: int,
    drafts: dict[str | None, _Draft],
    now: datetime,
) -> None:
    """Adds what a cell asked, and what its outputs answer."""
    name, written = asked
    outputs = [
        output for output in map(fields_of, items_of(cell.get("outputs"))) if _is_ours(output)
    ]
    known = [output["metadata"][KEY] for output in outputs]
    session_id = next((text_in(said.get("session")) for said in known), None) or name
    if session_id is None:
        session_id = text_or_none(ours.get("session"))
    draft = drafts.setdefault(session_id, _Draft())
    draft.is_own |= name is None
    prompt = prompt_in(ours, written)
    messages = [] if prompt is None else [user_message(ours, prompt, now)]
    messages += filter(None, (reply_in(output, now) for output in outputs))
    turns = (count_in(said.get("turn")) for said in (*known, ours))
    turn = next((count for count in turns if count is not None), None)
    if messages:
        draft.turns.append(_CellTurn(number, turn, messages))


def _is_ours(output: Mapping[str, Any]) -> bool:
    known = fields_of(output.get("metadata")).get(KEY)
    return output.get("output_type") in _SHOWN and isinstance(known, dict)


def _named(drafts: dict[str | None, _Draft], own_name: str) -> Iterator[tuple[str, _Draft]]:
    """The sessions with their names; cells that nothing is known of are of the notebook's own."""
    own = [name for name, draft in drafts.items() if draft.is_own and name is not None]
    if None in drafts and len(own) == 1:
        drafts[own[0]].turns += drafts.pop(None).turns
    for name, draft in drafts.items():
        if draft.turns:
            yield session_name(name, own_name), draft
