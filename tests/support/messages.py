"""Messages for tests: made in one place, told apart by their text."""

from datetime import UTC, datetime
from hashlib import sha256

from dexto_magic.conversation.messages import Aside, Attachment, Message, Origin, Usage, new_id


def user(text="Hello.", **fields):
    return Message(
        role="user", content=text, id=new_id("msg"), created_at=datetime.now(UTC), **fields
    )


def assistant(text="Hi.", **fields):
    fields.setdefault("usage", Usage(input_tokens=3, output_tokens=2))
    return Message(
        role="assistant", content=text, id=new_id("msg"), created_at=datetime.now(UTC), **fields
    )


def failed(reason="ModelUnavailableError", **fields):
    """The reply of a turn of which nothing came."""
    return assistant("", status="failed", reason=reason, usage=None, **fields)


def stopped(text, reason="interrupted", **fields):
    """A reply that was cut short."""
    return assistant(text, status="stopped", reason=reason, **fields)


def from_cell(text, notebook, cell_id):
    return user(text, origin=Origin(notebook=notebook, cell_id=cell_id))


def attachment(content, name="a.txt"):
    """What a message has of a file with these bytes."""
    digest = sha256(content).hexdigest()
    return Attachment(name=name, media_type="text/plain", digest=digest, size=len(content))


def with_file(text, *contents, **fields):
    """A user message with attachments, and their bytes by digest."""
    attachments = tuple(map(attachment, contents))
    files = {a.digest: content for a, content in zip(attachments, contents, strict=True)}
    return user(text, attachments=attachments, **fields), files


def aside(kind, text, transcript, *, turn=None, **fields):
    """What a model wrote of what is in view, up to a turn, of a transcript of everything."""
    said = [message for message in transcript.messages if turn is None or message.turn <= turn]
    last = said[-1]
    about = {
        "turn": last.turn,
        "through": last.id,
        "versions": transcript.line.versions_up_to(last.turn),
        "without": transcript.line.gone_up_to(last.turn),
        "usage": Usage(input_tokens=5, output_tokens=1),
    }
    return Aside(
        kind=kind,
        content=text,
        id=new_id("aside"),
        created_at=datetime.now(UTC),
        **(about | fields),
    )


def summary(text, transcript, **fields):
    return aside("summary", text, transcript, **fields)


def title(text, transcript, **fields):
    return aside("title", text, transcript, **fields)
