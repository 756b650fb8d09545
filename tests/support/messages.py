"""Messages for tests: made in one place, told apart by their text."""

from datetime import UTC, datetime

from dexto_magic.conversation.messages import Message, Origin, Usage, new_id


def user(text="Hello.", **fields):
    return Message(
        role="user", content=text, id=new_id("msg"), created_at=datetime.now(UTC), **fields
    )


def assistant(text="Hi.", **fields):
    fields.setdefault("usage", Usage(input_tokens=3, output_tokens=2))
    return Message(
        role="assistant", content=text, id=new_id("msg"), created_at=datetime.now(UTC), **fields
    )


def from_cell(text, notebook, cell_id):
    return user(text, origin=Origin(notebook=notebook, cell_id=cell_id))
