"""Conversations as messages of the OpenAI API, which most tools that know any format know.

A JSON list of ``{"role", "content", "tool_calls", "tool_call_id"}`` is one conversation, the system
prompt first; a JSONL file with ``{"messages": [...]}`` on each line, as fine-tuning takes it, holds
many. Times, models and token counts have no place there and are lost.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from dexto_magic.conversation.messages import Attachment, Message, Role, ToolCall
from dexto_magic.conversation.session import Transcript
from dexto_magic.errors import FormatError
from dexto_magic.formats.arrays import Element, elements
from dexto_magic.formats.foreign import (
    UNKNOWN_TYPE,
    attachment,
    fields_of,
    from_url,
    items_of,
    json_text,
    parsed,
    text_in,
    text_or_none,
    whole,
)
from dexto_magic.formats.records import (
    Broken,
    Loaded,
    beginning,
    identity_of,
    opened,
    session_name,
    system_prompt,
    told,
)

NAME = "openai"

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",  # what tools were called at first
}
_SYSTEM = ("system", "developer")
_MEDIA_TYPE = re.compile(r"[a-z]+/[\w.+-]+", re.ASCII | re.IGNORECASE)


# -- writing ---------------------------------------------------------------------------------------


def dump(transcripts: Iterable[Transcript], file: BinaryIO) -> int:
    """Writes one conversation as a list of messages, and says how many it wrote.

    Raises:
        FormatError: There is more than one.
    """
    written = 0
    for transcript in transcripts:
        if written:
            raise FormatError(
                "A JSON file of OpenAI messages holds one conversation, and there are more. Export "
                "them one by one, or as jsonl or openai-jsonl."
            )
        file.write(_encoded(to_messages(transcript), indent=2))
        written += 1
    return written


def dump_lines(transcripts: Iterable[Transcript], file: BinaryIO) -> int:
    """Writes each conversation as ``{"messages": [...]}`` on a line, and says how many."""
    written = 0
    for transcript in transcripts:
        file.write(_encoded({"messages": to_messages(transcript)}))
        written += 1
    return written


def to_messages(transcript: Transcript) -> list[dict[str, Any]]:
    """The messages of a conversation as the API takes them."""
    system = transcript.session.system
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    return messages + [_to_message(message, transcript) for message in transcript.messages]


def _to_message(message: Message, transcript: Transcript) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.attachments:
        parts = [_to_part(item, transcript) for item in message.attachments]
        said["content"] = [{"type": "text", "text": message.content}, *parts]
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        said["tool_call_id"] = message.tool_call_id or ""
    return said


def _to_part(item: Attachment, transcript: Transcript) -> dict[str, Any]:
    data = transcript.files.get(item.digest)
    if data is None:
        return {"type": "file", "file": {"filename": item.name}}
    encoded = base64.b64encode(data).decode("ascii")
    media_type = item.media_type if _MEDIA_TYPE.fullmatch(item.media_type) else UNKNOWN_TYPE
    if media_type.startswith("image/"):
        # An image has no name in the API; a parameter of the media type is allowed to be there.
        name = quote(item.name, safe="", errors="replace")
        url = f"data:{media_type};name={name};base64,{encoded}"
        return {"type": "image_url", "image_url": {"url": url}}
    url = f"data:{media_type};base64,{encoded}"
    return {"type": "file", "file": {"filename": item.name, "file_data": url}}


def _encoded(value: Any, indent: int | None = None) -> bytes:
    try:
        return f"{json.dumps(value, ensure_ascii=False, indent=indent)}\n".encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can say
        return f"{json.dumps(value, indent=indent)}\n".encode()


# -- reading ---------------------------------------------------------------------------------------


def load(path: Path, *, now: datetime) -> Iterator[Loaded | Broken]:
    """The conversations of a file, whichever of the forms it has; times are ``now``.

    Raises:
        FormatError: It cannot be read, or is none of them.
    """
    if beginning(path).startswith(b"["):
        yield from _of_array(path, now)
    elif is_lines(path):
        yield from _of_lines(path, now)
    else:
        value = whole(path)
        if not isinstance(fields_of(value).get("messages"), list):
            raise FormatError(
                f"{path} holds no messages: it should be a list of them, or have one under "
                "`messages`.",
                path=str(path),
            )
        yield from _conversation(value, 1, now, path.stem)


def is_lines(path: Path) -> bool:
    """Whether a file holds a conversation on each line, going by the first two.

    Raises:
        FormatError: It cannot be read.
    """
    with opened(path) as file:
        first, second = file.readline(), file.readline()
    try:
        value = parsed(first)
    except ValueError:
        return False
    return isinstance(fields_of(value).get("messages"), list) and bool(second.strip())


def is_message(value: object) -> bool:
    """Whether a JSON value is a message, going by its role."""
    role = fields_of(value).get("role")
    return isinstance(role, str) and (role in _ROLES or role in _SYSTEM)


def is_conversation(value: object) -> bool:
    """Whether a JSON value is a conversation: a list of messages, or an object with one."""
    listed = value if isinstance(value, list) else fields_of(value).get("messages")
    return isinstance(listed, list) and any(map(is_message, listed))


def _of_array(path: Path, now: datetime) -> Iterator[Loaded | Broken]:
    """A list of messages, or of conversations."""
    messages: list[Any] = []
    for element in elements(path):
        if is_conversation(element.value):
            yield from _conversation(element.value, element.number, now, path.stem)
        elif is_message(element.value):
            messages.append(element.value)
        else:
            yield _no_message(element)
    if messages:
        yield from _conversation(messages, 1, now, path.stem)


def _of_lines(path: Path, now: datetime) -> Iterator[Loaded | Broken]:
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = parsed(line)
            except ValueError as error:
                reason = f"line {number}: it is not valid JSON ({error})"
                yield Broken(number=number, reason=reason)
            else:
                yield from _conversation(value, number, now, path.stem)


def _conversation(value: Any, number: int, now: datetime, name: str) -> Iterator[Loaded | Broken]:
    listed = items_of(value if isinstance(value, list) else fields_of(value).get("messages"))
    known = [message for message in listed if is_message(message)]
    strange = [place for place, message in enumerate(listed, start=1) if not is_message(message)]
    if strange:
        count = f"{len(strange)} of {len(listed)}"
        reason = (
            f"conversation {number}: {count} messages are none, the first is number {strange[0]}"
        )
        yield Broken(number=number, reason=reason)
    if not any(message["role"] in _ROLES for message in known):
        yield Broken(number=number, reason=f"conversation {number}: it holds no messages")
        return
    try:
        identity = identity_of(NAME, listed)
    except ValueError as error:
        yield Broken(number=number, reason=f"conversation {number}: {error}")
        return
    yield Loaded(transcript=_transcript(known, now, name), identity=identity)


def _transcript(listed: Sequence[Any], now: datetime, name: str) -> Transcript:
    said: list[Message] = []
    system: list[str] = []
    files: dict[str, bytes] = {}
    for message in listed:
        text, attachments = _content(message.get("content"), files)
        if message["role"] in _SYSTEM:
            system.append(text)
            continue
        said.append(
            Message(
                role=_ROLES[message["role"]],
                content=text or text_in(message.get("refusal")),
                id="",
                created_at=now,
                attachments=tuple(attachments),
                tool_calls=tuple(_calls(message)),
                tool_call_id=text_or_none(message.get("tool_call_id")),
                reasoning=text_in(message.get("reasoning_content")),
            )
        )
    name = session_name(name, "conversation")
    return told(said, name=name, now=now, system=system_prompt(system), files=files)


def _content(content: object, files: dict[str, bytes]) -> tuple[str, list[Attachment]]:
    """The text and what is attached; the bytes of that go to ``files``."""
    texts, attachments = [text_in(content)], []
    for part in items_of(content):
        if isinstance(part, str):
            texts.append(part)
            continue
        fields = fields_of(part)
        texts.append(text_in(fields.get("text")) or text_in(fields.get("refusal")))
        found = _attached(fields)
        if found is not None:
            attachments.append(found[0])
            files.update(found[1])
    return "\n".join(text for text in texts if text), attachments


def _attached(part: Any) -> tuple[Attachment, dict[str, bytes]] | None:
    image, audio, file = part.get("image_url"), part.get("input_audio"), part.get("file")
    if image is not None:
        url = text_in(image) or text_in(fields_of(image).get("url"))
        return from_url(url, None) if url else (attachment("image"), {})
    if audio is not None:
        kind = text_in(fields_of(audio).get("format")) or "wav"
        data = text_in(fields_of(audio).get("data"))
        return from_url(f"data:audio/{kind};base64,{data}", f"audio.{kind}")
    if file is not None:
        known = fields_of(file)
        named = (known.get("filename"), known.get("file_id"), "file")
        name = next(text for text in named if isinstance(text, str))
        data = text_in(known.get("file_data"))
        # Some tools leave the beginning of the URL out.
        url = data if data.startswith("data:") else f"data:;base64,{data}"
        return from_url(url, name) if data else (attachment(name), {})
    return None


def _calls(message: Any) -> Iterator[ToolCall]:
    for call in items_of(message.get("tool_calls")):
        fields = fields_of(call)
        yield _call(text_in(fields.get("id")), fields_of(fields.get("function")))
    if isinstance(message.get("function_call"), dict):  # as it was at first
        yield _call("", message["function_call"])


def _call(call_id: str, function: Any) -> ToolCall:
    arguments = function.get("arguments")
    return ToolCall(
        id=call_id,
        name=text_in(function.get("name")),
        # Some servers give them as an object.
        arguments=arguments if isinstance(arguments, str) else json_text(arguments),
    )


def _no_message(element: Element) -> Broken:
    why = element.error or "it is no message: it has none of the roles that there are"
    return Broken(number=element.number, reason=f"message {element.number}: {why}")
