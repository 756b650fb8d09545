"""Conversations in the message store of ``llm`` since its version 0.32.

A message names the one before it; a thread names its last message; a turn, which is one call of a
model, names the last message that was sent and the last of the reply.
https://llm.datasette.io/en/stable/logging.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dexto_magic.conversation.messages import Attachment, Message, ToolCall
from dexto_magic.formats.foreign import (
    count_in,
    fields_of,
    items_of,
    json_text,
    options_in,
    text_in,
    text_or_none,
    time_in,
)
from dexto_magic.formats.llm_database import (
    Database,
    Row,
    attachment_in,
    json_in,
    seconds_of,
    usage_in,
)


@dataclass
class Told:
    """What a conversation of this tool says.

    Attributes:
        said: The messages in order.
        system: System prompts.
        files: The bytes of attachments by their digest.
    """

    said: list[Message] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def attach(self, row: Row) -> Attachment:
        """The attachment of a row; its bytes are kept."""
        attachment, data = attachment_in(row)
        self.files.update(data)
        return attachment


class Threads:
    """The threads of a database.

    Attributes:
        rows: Those that hold messages, by their id.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows: dict[str, Row] = {
            row["id"]: row
            for row in database.rows("threads", "id", "name", "tip_message_hash", "datetime_utc")
            if isinstance(row.get("id"), str) and text_in(row.get("tip_message_hash"))
        }
        self._turns: dict[object, list[Row]] = {}
        for row in database.rows("turns", "id", "thread_id", "tip_message_hash"):
            self._turns.setdefault(row.get("tip_message_hash"), []).append(row)

    def add(self, told: Told, thread: str, now: datetime, known: Collection[object] = ()) -> None:
        """Adds what a thread says, or what of it is newer than the calls that are known.

        Args:
            told: What it is added to.
            thread: The thread's id.
            now: The time of what has none.
            known: Ids of calls that older tables tell of: a thread repeats what was said in them.

        Raises:
            ValueError: A message of it is missing, or follows itself.
        """
        chain = self._chain(thread)
        turns = [self._turn(message["hash"], thread) for message in chain]
        begin = _first_new(chain, turns, known) if known else 0
        when = time_in(self.rows[thread].get("datetime_utc")) or now
        for place, turn in list(enumerate(_belonging(turns)))[begin:]:
            when = time_in(turn.get("datetime_utc")) or when
            parts = self._database.where(
                "parts", "message_hash", chain[place]["hash"], order="position"
            )
            message = _Parts(self._database, told, parts)
            told.said += message.messages(
                text_in(chain[place].get("role")), turn, when, is_last=bool(turns[place])
            )

    def _chain(self, thread: str) -> list[Row]:
        chain: list[Row] = []
        seen: set[object] = set()
        at = self.rows[thread]["tip_message_hash"]
        while at is not None:
            found = self._database.where("messages", "hash", at)
            if not found or at in seen:
                what = "is said to follow itself" if found else "is missing"
                raise ValueError(f"its message {str(at)[:40]!r} {what}")
            seen.add(at)
            chain.append(found[0])
            at = found[0].get("parent_hash")
        return chain[::-1]

    def _turn(self, tip: object, thread: str) -> Row:
        """The call that ended with a message: that of this thread, if others share it."""
        found = self._turns.get(tip, [])
        own = [row for row in found if row.get("thread_id") == thread]
        return self._database.row("turns", (own or found)[0]["rowid"]) if found else {}


def _belonging(turns: Sequence[Row]) -> list[Row]:
    """The call of each message: the next one that ends, which it was sent with or is the reply of."""
    found: list[Row] = []
    turn: Row = {}
    for ended in reversed(turns):
        turn = ended or turn
        found.append(turn)
    return found[::-1]


def _first_new(chain: Sequence[Row], turns: Sequence[Row], known: Collection[object]) -> int:
    """The place of the first message that no known call tells of."""
    for place, turn in enumerate(turns):
        if turn and turn.get("id") not in known:
            hashes = [message["hash"] for message in chain[:place]]
            sent = turn.get("parent_message_hash")
            first = hashes.index(sent) + 1 if sent in hashes else place
            while first and chain[first - 1].get("role") in ("user", "tool"):
                first -= 1
            return first
    return len(chain)


class _Parts:
    """The parts of a message, sorted by kind."""

    def __init__(self, database: Database, told: Told, rows: Sequence[Row]) -> None:
        self._database = database
        self._told = told
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: list[Mapping[str, Any]] = []
        self.attachments: list[Attachment] = []
        for row in rows:
            self._take(row)

    def _take(self, row: Row) -> None:
        kind, payload = row.get("type"), fields_of(json_in(row.get("payload")))
        if kind == "text":
            self.texts.append(self._text(row, payload))
        elif kind == "reasoning":
            self.thoughts.append(self._text(row, payload))
        elif kind == "tool_call":
            arguments = payload.get("arguments")
            self.calls.append(
                ToolCall(
                    id=text_in(payload.get("tool_call_id")),
                    name=text_in(payload.get("name")),
                    arguments=arguments if isinstance(arguments, str) else json_text(arguments),
                )
            )
        elif kind == "tool_result":
            self.results.append(payload)
        elif kind == "attachment":
            self.attachments += self._attached([payload.get("attachment")])

    def _text(self, row: Row, payload: Mapping[str, Any]) -> str:
        """The text of a part, which may be put together of files that many share."""
        if isinstance(row.get("text"), str):
            return text_in(row["text"])
        pieces = []
        for piece in map(fields_of, items_of(payload.get("text_ref"))):
            pieces.append(text_in(piece.get("literal")))
            fragment = count_in(piece.get("fragment"))
            found = () if fragment is None else self._database.where("fragments", "id", fragment)
            pieces += [text_in(row.get("content")) for row in found]
        return "".join(pieces)

    def _attached(self, references: Sequence[object]) -> Iterator[Attachment]:
        for reference in references:
            known = text_in(fields_of(reference).get("id"))
            for row in self._database.where("attachments", "id", known):
                yield self._told.attach(row)

    def messages(self, role: str, turn: Row, when: datetime, *, is_last: bool) -> Iterator[Message]:
        """What the message of a role says; results of tools become messages of their own."""
        text, attachments = "".join(self.texts), tuple(self.attachments)
        if role == "system":
            self._told.system.append(text)
        elif role == "assistant":
            yield Message(
                role="assistant",
                content=text,
                id="",
                created_at=when,
                attachments=attachments,
                tool_calls=tuple(self.calls),
                reasoning="\n\n".join(filter(None, self.thoughts)),
                model=text_or_none(turn.get("resolved_model")) or text_or_none(turn.get("model")),
                options=options_in(json_in(turn.get("options_json"))),
                usage=usage_in(turn) if is_last else None,
                duration=seconds_of(turn) if is_last else None,
            )
        elif text or attachments or not self.results:
            yield Message(
                role="user", content=text, id="", created_at=when, attachments=attachments
            )
        for result in self.results:
            yield Message(
                role="tool",
                content=text_in(result.get("output")),
                id="",
                created_at=when,
                attachments=tuple(self._attached(items_of(result.get("attachments")))),
                tool_call_id=text_or_none(result.get("tool_call_id")),
            )
