"""The lossless format: whatever a conversation is, it comes back as it was."""

import base64
import io
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Message, Usage
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.errors import FormatError
from dexto_magic.formats import jsonl
from dexto_magic.formats.records import Broken, Loaded
from tests.support.transcripts import conversations, same, transcripts
from tests.support.views import attachment, message, transcript

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def dumped(*values):
    file = io.BytesIO()
    assert jsonl.dump(values, file) == len(values)
    return file.getvalue()


@pytest.fixture
def loaded(tmp_path):
    """The records of a file with this content."""

    def loaded(content):
        path = tmp_path / "file.jsonl"
        path.write_bytes(content)
        return list(jsonl.load(path))

    return loaded


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(transcripts, max_size=3))
def test_any_conversations_come_back_as_they_were(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("any") / "file.jsonl"
    path.write_bytes(dumped(*values))
    records = list(jsonl.load(path))
    assert same([record.transcript for record in records], values)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(transcripts)
def test_every_line_is_json_in_utf_8_that_any_program_reads(value):
    for line in dumped(value).splitlines(keepends=True):
        assert line.endswith(b"\n")
        row = json.loads(line.decode("utf-8"), parse_constant=pytest.fail)
        assert row["kind"]
        json.dumps(row, ensure_ascii=False).encode("utf-8")


def test_what_json_cannot_say_is_said_as_well_as_it_can_be_and_exactly(loaded):
    value = transcript(
        message("user", "half \ud83d of it", options={"top_p": float("nan"), "n": 1})
    )
    content = dumped(value)
    row = json.loads(content.splitlines()[2])
    assert row["content"] == "half \N{REPLACEMENT CHARACTER} of it"
    assert row["options"] == {"top_p": None, "n": 1}
    (record,) = loaded(content)
    assert same(record.transcript, value)


def test_what_json_can_say_stands_in_the_file_as_it_is(loaded):
    value = transcript(message("user", "Größe \N{SNOWMAN}\u2028\0", options={"seed": 2**70}))
    content = dumped(value)
    assert "Größe \N{SNOWMAN}".encode() in content
    assert str(2**70).encode() in content
    assert b"exact" not in content
    (record,) = loaded(content)
    assert record.transcript == value


def test_a_conversation_is_the_same_wherever_its_file_is_and_another_once_it_grew(loaded):
    value = transcript(message("user", "Hi."), message("assistant", "Hello."))
    (first,) = loaded(dumped(value))
    _, second = loaded(dumped(transcript(message("user", "x"), name="other"), value))
    assert first.identity == second.identity
    assert first.identity.startswith("jsonl:")
    grown = replace(value, messages=(*value.messages, message("user", "And?", turn=2)))
    (later,) = loaded(dumped(grown))
    assert later.identity != first.identity


def test_a_hundred_thousand_messages_come_back_and_only_one_conversation_is_held(tmp_path):
    said = tuple(
        Message(
            role="assistant" if turn % 2 else "user",
            content=f"message {turn} \N{SNOWMAN} " * 5,
            id=f"msg_{turn:012x}",
            created_at=NOON,
            turn=turn // 2 + 1,
            model="gpt-4o-mini",
            options={"temperature": 0.5},
            usage=Usage(input_tokens=turn, output_tokens=2),
        )
        for turn in range(100_000)
    )
    long = Transcript(
        session=Session(id="long", title=None, created_at=NOON, updated_at=NOON), messages=said
    )
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        jsonl.dump([long], file)
    (record,) = jsonl.load(path)
    assert record.transcript == long

    short = replace(long, messages=said[:100])
    with path.open("wb") as file:
        jsonl.dump((replace(short) for _ in range(120)), file)
    size = path.stat().st_size
    tracemalloc.start()
    count = sum(1 for _ in jsonl.load(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 120
    assert peak < size / 4


def test_how_many_there_are_is_told_where_it_was_known(tmp_path):
    path = tmp_path / "file.jsonl"
    value = transcript(message("user", "Hi."))
    path.write_bytes(dumped(value, value))
    assert jsonl.total(path) == 2
    with path.open("wb") as file:
        jsonl.dump(iter([value]), file)
    assert jsonl.total(path) is None


# -- files that are not as they were written -------------------------------------------------------


def test_a_later_version_is_refused_with_what_to_do(loaded):
    content = b'{"kind":"header","format":"dexto-magic","version":2}\n{"kind":"what?"}\n'
    with pytest.raises(FormatError, match=r"version 2 .* reads 1\. Update dexto-magic") as caught:
        loaded(content)
    assert caught.value.line == 1
    assert caught.value.path.endswith("file.jsonl")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[]", b'{"kind":"header"}', b"\xff\xfe\x00", b'{"messages": []}\n{}']
)
def test_another_file_is_refused(loaded, content):
    with pytest.raises(FormatError, match="was not written by this package"):
        loaded(content)


def three():
    return [
        transcript(
            message("user", f"Question {name}."),
            message("assistant", "Yes."),
            name=name,
            title=name,
        )
        for name in ("one", "two", "three")
    ]


@pytest.mark.parametrize(
    "damage",
    [
        b"not json",
        b"{",
        b"[1, 2]",
        b"null",
        b'"text"',
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b'{"kind":"user"}',
        b'{"kind":"emperor"}',
        b'{"kind":["user"]}',
        b'{"kind":"user","id":"x","turn":"1","at":"2026-11-20T14:03:00+00:00","content":"y"}',
        b'{"kind":"user","id":"x","turn":1,"at":"yesterday","content":"y"}',
        b'{"kind":"user","id":"x","turn":1,"at":"2026-11-20T14:03:00","content":"y"}',
        b'{"kind":"user","id":"x","turn":1,"at":"0001-01-01T00:00:00+14:00","content":"y"}',
        b'{"kind":"user","id":"x","turn":1,"at":"2026-11-20T14:03:00+00:00","content":7}',
        b'{"kind":"user","id":"x","turn":true,"at":"2026-11-20T14:03:00+00:00","content":"y"}',
        b'{"kind":"user","id":"x","turn":-1,"at":"2026-11-20T14:03:00+00:00","content":"y"}',
        b'{"kind":"user","id":"x","turn":10000000,"at":"2026-11-20T14:03:00+00:00","content":"y"}',
        b'{"kind":"file","digest":"00","data":"AAAA"}',
        b'{"kind":"file","digest":"00","data":"?"}',
        b'{"exact":"?"}',
        b'{"exact":7}',
    ],
)
def test_a_damaged_line_is_told_and_costs_no_other(loaded, damage):
    lines = dumped(*three()).splitlines()
    assert b"Question two" in lines[5]
    lines[5] = damage
    broken, *rest = sorted(loaded(b"\n".join(lines)), key=lambda record: type(record).__name__)
    assert isinstance(broken, Broken)
    assert broken.number == 6
    assert broken.reason.startswith("line 6: ")
    assert "session 'two' lacks it" in broken.reason
    one, two, three_ = (record.transcript for record in rest)
    assert [one, three_] == [three()[0], three()[2]]
    assert [said.content for said in two.messages] == ["Yes."]
    assert two.session.message_count == 1


@pytest.mark.parametrize("field", sorted({"id", "turn", "at", "content", "kind"}))
def test_a_message_without_what_every_message_has_is_broken(loaded, field):
    lines = dumped(transcript(message("user", "Hi."), message("assistant", "Yes."))).splitlines()
    row = json.loads(lines[2])
    del row[field]
    lines[2] = json.dumps(row).encode()
    broken, record = loaded(b"\n".join(lines))
    assert broken.number == 3
    assert [said.content for said in record.transcript.messages] == ["Yes."]


@pytest.mark.parametrize(
    "change",
    [
        {"created": None},
        {"used": "soon"},
        {"title": []},
        {"usage": "much"},
        {"usage": {"input": "much"}},
        {"overflow": "explode"},
        {"own_title": 1},
        {"notebooks": 3},
        {"line": []},
        {"line": {"turns": 1}},
        {"line": {"turns": 10**9, "versions": {}, "undo": []}},
        {"rows": "two"},
        {"rows": -1},
        {"rows": None},
    ],
    ids=str,
)
def test_a_damaged_session_line_costs_that_session_only(loaded, change):
    lines = dumped(*three()).splitlines()
    assert json.loads(lines[4])["id"] == "two"
    lines[4] = json.dumps(json.loads(lines[4]) | change).encode()
    records = loaded(b"\n".join(lines))
    assert [record.transcript for record in records if isinstance(record, Loaded)] == [
        three()[0],
        three()[2],
    ]
    (broken,) = [record for record in records if isinstance(record, Broken)]
    assert broken.number == 5
    assert "the session cannot be read, nor can what follows of it" in broken.reason


def test_a_name_that_no_session_can_have_is_made_one(loaded):
    for name, shown in (
        ("  a\nb\0 ", "a b"),
        (7, "imported"),
        ("", "imported"),
        ("x" * 999, "x" * 128),
    ):
        lines = dumped(*three()).splitlines()
        lines[4] = json.dumps(json.loads(lines[4]) | {"id": name}).encode()
        names = [record.transcript.session.id for record in loaded(b"\n".join(lines))]
        assert names == ["one", shown, "three"]


def test_every_truncated_file_gives_what_is_whole_and_says_what_is_missing(loaded):
    content = dumped(*three())
    header = content.index(b"\n") + 1
    for length in range(header, len(content), 37):
        records = loaded(content[:length])
        whole = [record for record in records if isinstance(record, Loaded)]
        texts = [said.content for record in whole for said in record.transcript.messages]
        kept = content[:length].count(b'"content"')
        assert kept - 1 <= len(texts) <= kept
        complete = content[:length].endswith(b"\n") and length == len(content)
        at_an_end = [r.transcript for r in whole] in ([], three()[:1], three()[:2], three())
        assert complete or at_an_end or any(isinstance(r, Broken) for r in records)


def test_lost_turns_count_as_forgotten(loaded):
    line = Line(end=3, made=3, versions={2: 2}, latest={2: 2})
    value = replace(
        transcript(*(message("user", f"{n}", turn=n, version=1 + (n == 2)) for n in (1, 2, 3))),
        line=line,
    )
    lines = dumped(value).splitlines()
    lines[3] = b"damaged"
    broken, record = loaded(b"\n".join(lines))
    assert broken.number == 4
    assert record.transcript.line == replace(line, versions={}, gone=(2,))
    assert record.transcript.session.turn_count == 2


def test_the_bytes_of_a_file_must_be_those_that_its_digest_says(loaded):
    """Kept under another's digest they would be taken for that attachment."""
    true = attachment()
    lines = dumped(transcript(message("user", "Hi.", attachments=(true,)))).splitlines()
    row = json.loads(lines[1])
    lines[1] = json.dumps(row | {"rows": row["rows"] + 1}).encode()
    data = base64.b64encode(b"other bytes").decode()
    lines.append(json.dumps({"kind": "file", "digest": true.digest, "data": data}).encode())
    broken, record = loaded(b"\n".join(lines))
    assert "not what its digest says" in broken.reason
    assert record.transcript.files == {}


def test_a_file_that_went_through_other_hands_is_read(loaded):
    """With a byte order mark, other line ends, empty lines and fields of a later time."""
    lines = dumped(*three()).decode().splitlines()
    lines = [line[:-1] + ',"later":true}' for line in lines]
    content = "\ufeff" + "\r\n\r\n".join(lines) + "\r\n"
    assert [record.transcript for record in loaded(content.encode())] == three()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(conversations(), st.data())
def test_no_damage_is_more_than_a_format_error_or_a_broken_record(tmp_path_factory, value, data):
    content = bytearray(dumped(value, value))
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        at = data.draw(st.integers(min_value=0, max_value=len(content) - 1))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.mktemp("damaged") / "file.jsonl"
    path.write_bytes(bytes(content))
    try:
        records = list(jsonl.load(path))
    except FormatError:
        return
    for record in records:
        assert isinstance(record, Loaded | Broken)
