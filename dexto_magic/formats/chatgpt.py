"""Conversations of a ChatGPT data export: its ``conversations.json``.

A conversation is a tree of messages, with a branch for each edit and each new try; what is taken is
the branch that ChatGPT shows. The format is not documented; what it looks like is known from
exports of the years 2023 to 2026, such as
https://github.com/mitkury/chatgpt-export-parser/blob/main/docs/chatgpt-data-export-format.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dexto_magic.conversation.messages import Attachment, Message, Role, Status, ToolCall
from dexto_magic.conversation.session import Transcript
from dexto_magic.formats.arrays import Element, elements
from dexto_magic.formats.chatgpt_content import attachments_of, reasoning_of, shown_text, text_of
from dexto_magic.formats.foreign import fields_of, text_in, text_or_none, time_in, whole
from dexto_magic.formats.records import (
    Broken,
    Loaded,
    beginning,
    identity_of,
    one_line,
    session_name,
    system_prompt,
    told,
)

NAME = "chatgpt"

_SYSTEM_CONTENT = ("user_editable_context", "model_editable_context")
_REASONING_CONTENT = ("thoughts", "reasoning_recap")
_CUT_SHORT = ("in_progress", "finished_partial_completion")
_FINISHED = {"max_tokens": "length", "stop": "stop"}
"""ChatGPT's words for why a reply ended, in the words of the API."""


def load(path: Path, *, now: datetime) -> Iterator[Loaded | Broken]:
    """The conversations of an export, one after the other, or one that stands alone.

    Raises:
        FormatError: The file cannot be read, or holds no list and no conversation.
    """
    if beginning(path).startswith(b"{"):
        found: Iterator[Element] = iter([Element(number=1, value=whole(path))])
    else:
        found = elements(path)
    for element in found:
        try:
            yield _loaded(element, now)
        except ValueError as error:
            reason = f"conversation {element.number}: {error}"
            yield Broken(number=element.number, reason=reason)


def is_conversation(value: object) -> bool:
    """Whether a JSON value is a conversation of an export."""
    return isinstance(fields_of(value).get("mapping"), dict)


def _loaded(element: Element, now: datetime) -> Loaded:
    """The conversation of an element.

    Raises:
        ValueError: It is none, or damaged.
    """
    if element.error is not None:
        raise ValueError(element.error)
    if not is_conversation(element.value):
        raise ValueError("it has no messages, which should be in its `mapping`")
    return Loaded(
        transcript=_transcript(element.value, now), identity=identity_of(NAME, element.value)
    )


def _transcript(value: Mapping[str, Any], now: datetime) -> Transcript:
    begun = time_in(value.get("create_time"))
    branch = _Branch(begun or now)
    for node in _shown_branch(value):
        branch.add(fields_of(node.get("message")))
    branch.end_turn()
    title = one_line(value.get("title"))
    if not branch.said:
        raise ValueError(f"{title!r} holds no messages" if title else "it holds no messages")
    return told(
        branch.said,
        name=session_name(title, "chatgpt"),
        now=now,
        title=title,
        system=system_prompt(branch.system),
        created_at=begun,
        updated_at=time_in(value.get("update_time")),
    )


def _shown_branch(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The nodes from the root to the one that is shown last.

    Raises:
        ValueError: There is no way from one to the other.
    """
    nodes, branch, seen = value["mapping"], [], set()
    at: Any = value.get("current_node")
    if not text_in(at):
        at = _newest_leaf(nodes)
    while at is not None:
        name = text_in(at)
        if name not in nodes or not isinstance(nodes[name], dict):
            raise ValueError(f"its message {name[:40]!r} is missing")
        if name in seen:
            raise ValueError(f"its message {name[:40]!r} is said to follow itself")
        seen.add(name)
        branch.append(nodes[name])
        at = nodes[name].get("parent")
    return branch[::-1]


def _newest_leaf(nodes: Mapping[str, Any]) -> str | None:
    parents = {text_in(fields_of(node).get("parent")) for node in nodes.values()}
    newest, leaf = float("-inf"), None
    for name, node in nodes.items():
        said_at = time_in(fields_of(fields_of(node).get("message")).get("create_time"))
        when = said_at.timestamp() if said_at else float("-inf")
        if name not in parents and when >= newest:
            newest, leaf = when, name
    return leaf


@dataclass
class _Branch:
    """What was said along a branch, as far as it was read.

    Attributes:
        time: When the last message was said: the time of one that has none.
        said: The messages.
        system: System messages and custom instructions.
        thoughts: Reasoning whose reply has not come yet.
        calls: Calls of tools in this turn that no answer has come to: name and id.
    """

    time: datetime
    said: list[Message] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def add(self, message: Mapping[str, Any]) -> None:
        """Takes in the message of a node; many a node has none, or one that nobody is shown."""
        content, metadata = fields_of(message.get("content")), fields_of(message.get("metadata"))
        role = fields_of(message.get("author")).get("role")
        kind = content.get("content_type")
        if role == "system" or kind in _SYSTEM_CONTENT:
            self.system += _instructions(content, metadata)
        elif metadata.get("is_visually_hidden_from_conversation") or message.get("weight") == 0:
            return
        elif kind in _REASONING_CONTENT:
            self.thoughts += reasoning_of(content)
        elif role == "user":
            self.end_turn()
            self._say(message, "user", text_of(content))
        elif role == "tool":
            self._answer(message, content)
        elif role == "assistant":
            self._reply(message, content)

    def end_turn(self) -> None:
        """Keeps reasoning that nothing was said after."""
        self.calls.clear()
        if self.thoughts:
            self._keep(Message(role="assistant", content="", id="", created_at=self.time))

    def _reply(self, message: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        recipient = text_or_none(message.get("recipient")) or "all"
        if recipient == "all":
            text = shown_text(content)
            # Many a node of a reply is but a place for one.
            if text.strip() or attachments_of(message) or message.get("status") in _CUT_SHORT:
                self._say(message, "assistant", text)
            return
        call = ToolCall(id=text_in(message.get("id")), name=recipient, arguments=text_of(content))
        self.calls.append((call.name, call.id))
        self._say(message, "assistant", "", call)

    def _answer(self, message: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        """Keeps what a tool answered: to the last call of it, else to the last of any."""
        name = fields_of(message.get("author")).get("name")
        called = [call_id for tool, call_id in self.calls if tool == name]
        called = called or [call_id for _, call_id in self.calls]
        answered = called[-1] if called else None
        self._say(message, "tool", text_of(content), answered=answered)

    def _say(
        self,
        message: Mapping[str, Any],
        role: Role,
        text: str,
        *calls: ToolCall,
        answered: str | None = None,
    ) -> None:
        metadata = fields_of(message.get("metadata"))
        attachments: tuple[Attachment, ...] = tuple(attachments_of(message))
        self.time = time_in(message.get("create_time")) or self.time
        said = Message(
            role=role,
            content=text,
            id="",
            created_at=self.time,
            attachments=attachments,
            tool_calls=calls,
            tool_call_id=answered,
        )
        if role == "assistant":
            finish = text_in(fields_of(metadata.get("finish_details")).get("type"))
            status, reason = _ending(text_in(message.get("status")), finish, empty=not text)
            said = replace(
                said,
                model=text_or_none(metadata.get("model_slug")),
                status="complete" if calls else status,
                reason=None if calls else reason,
                finish_reason=_FINISHED.get(finish),
            )
        self._keep(said)

    def _keep(self, said: Message) -> None:
        if said.role == "assistant" and self.thoughts:
            said = replace(said, reasoning="\n\n".join(self.thoughts))
            self.thoughts.clear()
        self.said.append(said)


def _ending(status: str, finish: str, *, empty: bool) -> tuple[Status, str | None]:
    if status in _CUT_SHORT or finish == "interrupted":
        return "failed" if empty else "stopped", "interrupted"
    if status and not status.startswith("finished"):
        return "failed" if empty else "stopped", "error"
    return "complete", None


def _instructions(content: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    """What the model was told beforehand.

    Custom instructions stand twice in newer exports: as they were typed, in the metadata, and with
    words around them, in the content.
    """
    typed = fields_of(metadata.get("user_context_message_data"))
    texts = [text_in(typed.get("about_user_message")), text_in(typed.get("about_model_message"))]
    if not any(texts):
        names = ("user_profile", "user_instructions", "model_set_context")
        texts = [*(text_in(content.get(name)) for name in names), text_of(content)]
    return texts
