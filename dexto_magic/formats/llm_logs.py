"""Conversations of the ``llm`` command line tool: its ``logs.db``.

Each version of the tool has kept what older ones had written, so one file may hold three forms: a
table ``logs`` (until 0.4), ``responses`` with tables around it (until 0.31), and the message store.
https://github.com/simonw/llm/blob/main/llm/migrations.py
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dexto_magic.conversation.messages import Attachment, Message, ToolCall
from dexto_magic.errors import FormatError
from dexto_magic.formats.foreign import options_in, text_in, text_or_none, time_in
from dexto_magic.formats.llm_database import (
    Database,
    Row,
    database,
    json_in,
    ordered,
    seconds_of,
    usage_in,
)
from dexto_magic.formats.llm_threads import Threads, Told
from dexto_magic.formats.records import (
    Broken,
    Loaded,
    identity_of_messages,
    one_line,
    session_name,
    system_prompt,
    told,
)

NAME = "llm"

_OLDEST = ("log", "logs")
_RESPONSES = "responses"
_SAID = ("prompt", "response")
_TIMES = ("datetime_utc", "timestamp_utc", "timestamp")


@dataclass(frozen=True)
class _Call:
    """A row that tells of a call of a model: its table, its place in it, and where it is."""

    table: str
    number: int
    rowid: int
    id: object


@dataclass
class _Conversation:
    """What belongs together.

    Attributes:
        name: What the tool calls it.
        calls: Its rows in the older tables.
        thread: Its number among the threads and its id, if it is one.
    """

    name: object = None
    calls: list[_Call] = field(default_factory=list)
    thread: tuple[int, str] | None = None


def load(path: Path, *, now: datetime) -> Iterator[Loaded | Broken]:
    """The conversations of a database, in the order in which they began.

    Raises:
        FormatError: It cannot be read, or is no such database.
    """
    with database(path) as found:
        logs = _Logs(found)
        for key, conversation in logs.conversations.items():
            yield from logs.told(key, conversation, now)


def total(path: Path) -> int | None:
    """How many conversations a database holds.

    Raises:
        FormatError: It cannot be read, or is no such database.
    """
    with database(path) as found:
        return len(_Logs(found).conversations)


class _Logs:
    """A database whose tables are those of the tool, and the order of what is in them."""

    def __init__(self, found: Database) -> None:
        known = [*_OLDEST, _RESPONSES]
        if not any(found.has(table, *_SAID) for table in known) and not found.has(
            "threads", "tip_message_hash"
        ):
            raise FormatError(
                f"{found.path} is a database, but not one of the llm tool: it has none of its "
                "tables.",
                path=str(found.path),
            )
        self._database = found
        self._threads = Threads(found)
        self._links: dict[str, dict[object, list[int]]] = {}
        self.conversations: dict[str, _Conversation] = {}
        for table in known:
            self._find_calls(table)
        for row in found.rows("conversations", "id", "name"):
            if f"{row.get('id')}" in self.conversations:
                self.conversations[f"{row.get('id')}"].name = row.get("name")
        for number, (thread, row) in enumerate(self._threads.rows.items(), start=1):
            conversation = self.conversations.setdefault(thread, _Conversation())
            conversation.name = conversation.name or row.get("name")
            conversation.thread = number, thread

    def _find_calls(self, table: str) -> None:
        oldest = table in _OLDEST
        group = "chat_id" if oldest else "conversation_id"
        for number, row in enumerate(self._database.rows(table, "id", group), start=1):
            belongs = row["rowid"] if row.get("id") is None else row["id"]
            belongs = belongs if row.get(group) is None else row[group]
            # The oldest ids are numbers, which began anew with each form.
            key = f"{table} {belongs}" if oldest else f"{belongs}"
            call = _Call(table, number, row["rowid"], row.get("id"))
            self.conversations.setdefault(key, _Conversation()).calls.append(call)

    def told(
        self, key: str, conversation: _Conversation, now: datetime
    ) -> Iterator[Loaded | Broken]:
        """A conversation, and what of it cannot be read."""
        found = Told()
        for call in conversation.calls:
            try:
                self._add(found, self._database.row(call.table, call.rowid), call, now)
            except (ValueError, sqlite3.Error) as error:
                reason = f"row {call.number} of {call.table}: {error}"
                yield Broken(number=call.number, reason=reason)
        if conversation.thread is not None:
            number, thread = conversation.thread
            known = {call.id for call in conversation.calls}
            try:
                self._threads.add(found, thread, now, known)
            except (ValueError, sqlite3.Error) as error:
                yield Broken(number=number, reason=f"thread {number}: {error}")
        if not found.said:
            return
        name = session_name(one_line(conversation.name), "llm")
        yield Loaded(
            transcript=told(
                found.said,
                name=name,
                now=now,
                system=system_prompt(found.system),
                files=found.files,
            ),
            identity=identity_of_messages(NAME, found.said, key),
        )

    def _add(self, found: Told, row: Row, call: _Call, now: datetime) -> None:
        """Adds what a row of the older tables says.

        Raises:
            ValueError: It is not what it should be.
        """
        for name in _SAID:
            if not isinstance(row.get(name), str | None):
                raise ValueError(f"its {name} is no text")  # noqa: TRY004  # in a file, not in code
        if all(row.get(name) is None for name in _SAID):
            raise ValueError("it has neither a prompt nor a response")
        when = next(filter(None, (time_in(row.get(name)) for name in _TIMES)), None)
        when = when or (found.said[-1].created_at if found.said else now)
        key = call.id if call.table == _RESPONSES else None
        system = self._fragments("system_fragments", key)
        found.system.append("\n\n".join([*system, text_in(row.get("system"))]).strip())
        results = list(self._results(found, key, when))
        found.said += results
        attached = tuple(self._attached(found, "prompt_attachments", "response_id", key))
        prompts = [*self._fragments("prompt_fragments", key), text_in(row.get("prompt"))]
        prompt = "\n".join(filter(None, prompts))
        if prompt or attached or not results:
            said = Message(
                role="user", content=prompt, id="", created_at=when, attachments=attached
            )
            found.said.append(said)
        found.said.append(self._reply(row, key, when))

    def _reply(self, row: Row, key: object, when: datetime) -> Message:
        calls = [
            ToolCall(
                id=text_in(call.get("tool_call_id")),
                name=text_in(call.get("name")),
                arguments=text_in(call.get("arguments")),
            )
            for call in self._linked("tool_calls", "response_id", key)
        ]
        return Message(
            role="assistant",
            content=text_in(row.get("response")),
            id="",
            created_at=when,
            tool_calls=tuple(calls),
            reasoning=text_in(row.get("reasoning")),
            model=text_or_none(row.get("resolved_model")) or text_or_none(row.get("model")),
            options=options_in(json_in(row.get("options_json"))),
            usage=usage_in(row),
            duration=seconds_of(row),
        )

    def _results(self, found: Told, key: object, when: datetime) -> Iterator[Message]:
        for row in self._linked("tool_results", "response_id", key):
            attached = self._attached(
                found, "tool_results_attachments", "tool_result_id", row.get("id")
            )
            yield Message(
                role="tool",
                content=text_in(row.get("output")),
                id="",
                created_at=when,
                attachments=tuple(attached),
                tool_call_id=text_or_none(row.get("tool_call_id")),
            )

    def _attached(self, found: Told, table: str, column: str, key: object) -> Iterator[Attachment]:
        for link in ordered(self._linked(table, column, key)):
            for row in self._database.where("attachments", "id", link.get("attachment_id")):
                yield found.attach(row)

    def _fragments(self, table: str, key: object) -> list[str]:
        return [
            text_in(row.get("content"))
            for link in ordered(self._linked(table, "response_id", key))
            for row in self._database.where("fragments", "id", link.get("fragment_id"))
        ]

    def _linked(self, table: str, column: str, key: object) -> list[Row]:
        """The rows of a table that say that they belong to something."""
        if key is None:
            return []
        if table not in self._links:
            self._links[table] = self._database.index(table, column)
        return [self._database.row(table, rowid) for rowid in self._links[table].get(key, [])]
