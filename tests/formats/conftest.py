"""What tests of formats share: a time of import, and a way to read what is in a file."""

from datetime import UTC

import pytest

from dexto_magic.conversation.messages import turns_of
from dexto_magic.conversation.session import valid_session_id
from dexto_magic.formats import files
from dexto_magic.formats.checked import checked
from dexto_magic.formats.records import Broken, Loaded
from tests.support.transcripts import NOW


@pytest.fixture
def now():
    """The time at which everything is imported."""
    return NOW


@pytest.fixture
def read(tmp_path):
    """Reads a file, given as bytes, text or a path: what was loaded, and what was broken."""

    def read(content, name="file.json", **options):
        path = content
        if isinstance(content, bytes | str):
            path = tmp_path / name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        records = list(files.read(path, now=NOW, **options).records)
        loaded = [record for record in records if isinstance(record, Loaded)]
        broken = [record for record in records if isinstance(record, Broken)]
        assert len(loaded) + len(broken) == len(records)
        for record in loaded:
            assert_sound(record)
        return loaded, broken

    return read


def assert_sound(record):
    """Fails unless a conversation from elsewhere is one that a store can take."""
    session, messages = checked(record.transcript.session), record.transcript.messages
    assert valid_session_id(session.id) == session.id
    assert session.message_count == len(messages)
    assert session.turn_count == len(turns_of(messages))
    assert session.created_at.tzinfo is session.updated_at.tzinfo is UTC
    for message in messages:
        assert checked(message).created_at.tzinfo is UTC
        assert message.version == 1
    assert len({message.id for message in messages}) == len(messages)
    turns = [message.turn for message in messages]
    assert turns == sorted(turns)
    assert {*turns} == {*range(1, session.turn_count + 1)}
    for turn in turns_of(messages):
        assert all(message.role != "user" for message in turn.messages[1:])
