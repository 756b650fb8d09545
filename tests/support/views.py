"""A session and its messages for tests of views, at a fixed time."""

from datetime import UTC, datetime, timedelta

from dexto_magic.conversation.messages import Attachment, Message, Reply, ToolCall, Usage
from dexto_magic.conversation.session import Session, Transcript

NOON = datetime(2026, 11, 20, 14, 3, tzinfo=UTC)
USAGE = Usage(input_tokens=1234, output_tokens=56, cached_tokens=1000)


def session(name="eda", **fields):
    fields.setdefault("title", "Load a file")
    fields.setdefault("turn_count", 40)
    return Session(id=name, created_at=NOON, updated_at=NOON, **fields)


def message(role, content, *, turn=1, **fields):
    fields.setdefault("created_at", NOON + timedelta(minutes=turn))
    return Message(role=role, content=content, id=f"msg_{role}_{turn}", turn=turn, **fields)


def attachment(name="data.csv", media_type="text/csv"):
    return Attachment(name=name, media_type=media_type, digest="0" * 64, size=12_345)


def reply(**fields):
    fields = {"model": "gpt-4o-mini", "usage": USAGE, "duration": 2.1, "turn": 3, **fields}
    return Reply(
        session_id="eda",
        message=message("assistant", "Hi.", **fields),
        session_usage=Usage(input_tokens=4000, output_tokens=321),
    )


def transcript(*messages, **fields):
    return Transcript(session=session(**fields), messages=messages)


def transcript_of(text):
    """A history in which every text that somebody else wrote is this one."""
    call = ToolCall(id=text, name=text, arguments=text)
    sent = (attachment(text, text),)
    return transcript(
        message("user", text, attachments=sent),
        message("assistant", text, model=text, reasoning=text, tool_calls=(call,), usage=USAGE),
        message("tool", text, tool_call_id=text),
        message("assistant", text, status="stopped", reason=text, finish_reason=text),
        message("user", text, turn=2),
        name=text,
        title=text,
        model=text,
    )
