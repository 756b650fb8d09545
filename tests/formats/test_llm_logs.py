"""The log of the ``llm`` tool, in all the forms that its versions gave it, and untouched."""

import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.messages import Attachment, ToolCall, Usage
from dexto_magic.errors import FormatError
from dexto_magic.formats import llm_logs
from tests.support.llm_databases import (
    FIRST_RESPONSES,
    OLDEST,
    RESPONSES,
    THREADS,
    chain,
    insert,
    make,
    response,
)
from tests.support.transcripts import NOW

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PIXEL = b"\x89PNG\r\n\x1a\n..."
CONVERSATION = {"id": "01c1", "name": "First question", "model": "gpt-4o-mini"}


@pytest.fixture
def path(tmp_path):
    """Where a database is."""
    return tmp_path / "logs.db"


def lines(record):
    return [(m.turn, m.role, m.content) for m in record.transcript.messages]


# -- responses -------------------------------------------------------------------------------------


def test_a_conversation_is_read_with_what_its_replies_were_asked_and_cost(path, read):
    details = {
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    make(
        path,
        RESPONSES,
        conversations=CONVERSATION,
        responses=[
            response(
                1,
                "Hi.",
                "Hello.",
                system="Be brief.",
                resolved_model="gpt-4o-mini-2024-07-18",
                options_json='{"temperature": 0.5}',
                input_tokens=10,
                output_tokens=5,
                token_details=json.dumps(details),
                reasoning="Easy.",
            ),
            response(2, "And?", "So.", system="Be brief.", datetime_utc="2026-11-20 12:02:00"),
            response(3, "Alone.", "Yes.", conversation_id=None),
        ],
    )
    loaded, broken = read(path)
    assert not broken
    assert llm_logs.total(path) == len(loaded) == 2
    first, alone = loaded
    session = first.transcript.session
    assert (session.id, session.title, session.own_title) == ("First question", "Hi.", False)
    assert session.system == "Be brief."
    assert session.created_at == NOON + timedelta(minutes=1, seconds=0.5)
    assert session.updated_at == NOON + timedelta(minutes=2)
    assert session.usage == Usage(
        input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=3
    )
    assert lines(first) == [
        (1, "user", "Hi."),
        (1, "assistant", "Hello."),
        (2, "user", "And?"),
        (2, "assistant", "So."),
    ]
    reply = first.transcript.messages[1]
    assert (reply.model, reply.options) == ("gpt-4o-mini-2024-07-18", {"temperature": 0.5})
    assert (reply.duration, reply.reasoning) == (1.5, "Easy.")
    assert first.transcript.messages[3].usage is None
    assert lines(alone) == [(1, "user", "Alone."), (1, "assistant", "Yes.")]
    assert alone.transcript.session.id == "llm"


def test_attachments_come_with_their_bytes_where_they_are_there(path, read):
    attachments = [
        {"id": "a1", "type": "image/png", "content": PIXEL},
        {"id": "a2", "type": "text/csv", "path": "/home/sarah/data.csv"},
        {"id": "a3", "type": "image/jpeg", "url": "https://example.com/x/cat%20a.jpg?s=1"},
        {"id": "a4", "type": None, "path": "C:\\Users\\sarah\\b.pdf", "content": b""},
        {"id": "a5", "type": None, "content": "text"},
    ]
    make(
        path,
        RESPONSES,
        responses=response(1, "Look.", "Nice."),
        attachments=attachments,
        prompt_attachments=[
            {"response_id": "01r0001", "attachment_id": row["id"], "order": 9 - place}
            for place, row in enumerate(attachments)
        ],
    )
    ((record,), _) = read(path)
    digest = hashlib.sha256(PIXEL).hexdigest()
    text = hashlib.sha256(b"text").hexdigest()
    assert record.transcript.messages[0].attachments == (
        Attachment(name="file", media_type="application/octet-stream", digest=text, size=4),
        Attachment(name="b.pdf", media_type="application/pdf", digest="", size=0),
        Attachment(name="cat a.jpg", media_type="image/jpeg", digest="", size=0),
        Attachment(name="data.csv", media_type="text/csv", digest="", size=0),
        Attachment(name="image.png", media_type="image/png", digest=digest, size=len(PIXEL)),
    )
    assert record.transcript.files == {digest: PIXEL, text: b"text"}


def test_fragments_stand_before_what_was_asked(path, read):
    def links(*ids):
        return [
            {"response_id": "01r0001", "fragment_id": id_, "order": place}
            for place, id_ in enumerate(ids)
        ]

    make(
        path,
        RESPONSES,
        responses=response(1, "Sum it up.", "Done.", system="Be brief."),
        fragments=[{"id": n, "hash": f"{n}", "content": f"Fragment {n}."} for n in (1, 2, 3)],
        prompt_fragments=links(2, 1, 404),
        system_fragments=links(3),
    )
    ((record,), _) = read(path)
    assert lines(record)[0] == (1, "user", "Fragment 2.\nFragment 1.\nSum it up.")
    assert record.transcript.session.system == "Fragment 3.\n\nBe brief."


def test_calls_of_tools_are_one_turn(path, read):
    make(
        path,
        RESPONSES,
        responses=[response(1, "Shout panda.", ""), response(2, "", "PANDA!")],
        tool_calls={
            "response_id": "01r0001",
            "name": "upper",
            "arguments": '{"text": "panda"}',
            "tool_call_id": "call_1",
        },
        tool_results={
            "id": 7,
            "response_id": "01r0002",
            "name": "upper",
            "output": "PANDA",
            "tool_call_id": "call_1",
        },
        attachments={"id": "a1", "type": "image/png", "content": PIXEL},
        tool_results_attachments={"tool_result_id": 7, "attachment_id": "a1", "order": 0},
    )
    ((record,), _) = read(path)
    assert lines(record) == [
        (1, "user", "Shout panda."),
        (1, "assistant", ""),
        (1, "tool", "PANDA"),
        (1, "assistant", "PANDA!"),
    ]
    asked, called, answered, _ = record.transcript.messages
    assert called.tool_calls == (
        ToolCall(id="call_1", name="upper", arguments='{"text": "panda"}'),
    )
    assert answered.tool_call_id == "call_1"
    assert answered.attachments[0].name == "image.png"
    assert asked.created_at < answered.created_at


def test_older_databases_have_fewer_tables_and_columns(path, read):
    make(path, FIRST_RESPONSES, conversations=CONVERSATION, responses=response(1, "Hi.", "Hello."))
    ((record,), _) = read(path)
    assert lines(record) == [(1, "user", "Hi."), (1, "assistant", "Hello.")]


@pytest.mark.parametrize("table", ["logs", "log"])
def test_the_oldest_databases_have_one_table(path, read, table):
    row = {"model": "gpt-3.5-turbo", "system": None, "datetime_utc": "2023-06-17 10:00:00.5"}
    schema = OLDEST.replace("[logs]", f"[{table}]")
    rows = [
        row | {"id": 1, "prompt": "Hi.", "response": "Hello.", "chat_id": None},
        row | {"id": 2, "prompt": "Other.", "response": "Yes.", "chat_id": None},
        row | {"id": 3, "prompt": "And?", "response": "So.", "chat_id": 1},
    ]
    make(path, schema, **{table: rows})
    loaded, broken = read(path)
    assert not broken
    assert [[text for _, _, text in lines(record)] for record in loaded] == [
        ["Hi.", "Hello.", "And?", "So."],
        ["Other.", "Yes."],
    ]
    assert loaded[0].transcript.messages[0].created_at == datetime(
        2023, 6, 17, 10, 0, 0, 500_000, tzinfo=UTC
    )


def test_a_row_that_cannot_be_read_is_told_by_its_number_and_costs_no_other(path, read):
    make(
        path,
        RESPONSES,
        conversations=CONVERSATION,
        responses=[
            response(1, "Hi.", "Hello."),
            response(2, b"\x00\xff", "?"),
            response(3, "?", b"\x00\xff"),
            response(4, None, None),
            response(5, "Bye.", "Bye!", options_json="{bad", datetime_utc="soon", duration_ms="?"),
            response(6, None, None, conversation_id="01c2"),
        ],
    )
    ((record,), broken) = read(path)
    assert [said.number for said in broken] == [2, 3, 4, 6]
    assert broken[0].reason == "row 2 of responses: its prompt is no text"
    assert [text for _, _, text in lines(record)] == ["Hi.", "Hello.", "Bye.", "Bye!"]
    last = record.transcript.messages[-1]
    assert (last.options, last.duration) == ({}, None)
    assert last.created_at == record.transcript.messages[0].created_at


# -- the message store -----------------------------------------------------------------------------


@pytest.fixture
def store(path):
    """The connection to a database with a message store, empty."""
    make(path, THREADS)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def turn(number, parent, tip, **fields):
    return {
        "id": f"01t{number:04}",
        "thread_id": "01c1",
        "parent_message_hash": parent,
        "tip_message_hash": tip,
        "model": "gpt-5",
        "input_tokens": 10,
        "output_tokens": 5,
        "duration_ms": 2000,
        "datetime_utc": f"2026-11-20T13:{number:02}:00+00:00",
        **fields,
    }


def thread(tip, **fields):
    return {
        "id": "01c1",
        "name": "A thread",
        "tip_message_hash": tip,
        "datetime_utc": "2026-11-20 13:00:00.5+00:00",
        **fields,
    }


def test_a_thread_is_read_with_what_its_turns_tell(store, path, read):
    insert(store, "fragments", {"id": 1, "hash": "x", "content": "Long text."})
    insert(store, "attachments", {"id": "a1", "type": "image/png", "content": PIXEL})
    call = {"name": "upper", "arguments": {"text": "panda"}, "tool_call_id": "call_1"}
    result = {"name": "upper", "output": "PANDA", "tool_call_id": "call_1"}
    reference = [{"fragment": 1}, {"literal": "\nSum it up."}, {"fragment": 2**70}, 7]
    tip = chain(
        store,
        ("system", "Be brief."),
        (
            "user",
            {"type": "text", "payload": {"text_ref": reference}},
            {"type": "attachment", "payload": {"attachment": {"id": "a1"}}},
        ),
        ("assistant", {"type": "reasoning", "text": "Hm."}, "Sum", "med up."),
        ("user", "Shout panda."),
        ("assistant", {"type": "tool_call", "tool_name": "upper", "payload": call}),
        ("tool", {"type": "tool_result", "tool_name": "upper", "payload": result}),
        ("assistant", "PANDA!"),
    )
    insert(store, "threads", thread(tip))
    insert(
        store,
        "turns",
        turn(1, "b2:m1", "b2:m2", options_json='{"temperature": 1}', resolved_model="gpt-5-1"),
        turn(2, "b2:m3", "b2:m4"),
        turn(3, "b2:m5", "b2:m6"),
    )
    ((record,), broken) = read(path)
    assert not broken
    assert lines(record) == [
        (1, "user", "Long text.\nSum it up."),
        (1, "assistant", "Summed up."),
        (2, "user", "Shout panda."),
        (2, "assistant", ""),
        (2, "tool", "PANDA"),
        (2, "assistant", "PANDA!"),
    ]
    session, said = record.transcript.session, record.transcript.messages
    assert (session.id, session.system) == ("A thread", "Be brief.")
    assert session.usage == Usage(input_tokens=30, output_tokens=15)
    assert [m.created_at.minute for m in said] == [1, 1, 2, 2, 3, 3]
    assert (said[1].model, said[1].options, said[1].reasoning) == (
        "gpt-5-1",
        {"temperature": 1},
        "Hm.",
    )
    assert (said[1].duration, said[3].model) == (2.0, "gpt-5")
    assert said[0].attachments[0].size == len(PIXEL)
    assert said[3].tool_calls == (
        ToolCall(id="call_1", name="upper", arguments='{"text": "panda"}'),
    )
    assert said[4].tool_call_id == "call_1"


def test_threads_that_share_their_beginning_are_told_apart(store, path, read):
    start = chain(store, ("user", "Hi."), ("assistant", "Hello."))
    one = chain(store, ("user", "One?"), ("assistant", "1."), start=start, name="one")
    two = chain(store, ("user", "Two?"), ("assistant", "2."), start=start, name="two")
    insert(
        store, "threads", thread(one), thread(two, id="01c2", name="Other"), thread(None, id="0")
    )
    insert(store, "turns", turn(1, "b2:m0", start), turn(2, "b2:one0", one))
    loaded, broken = read(path)
    assert not broken
    assert [[text for _, _, text in lines(record)] for record in loaded] == [
        ["Hi.", "Hello.", "One?", "1."],
        ["Hi.", "Hello.", "Two?", "2."],
    ]
    assert loaded[1].transcript.messages[1].model == "gpt-5"


def test_a_conversation_that_was_continued_by_a_later_version_is_told_once(store, path, read):
    """The thread repeats what older tables tell, and those tell more of it."""
    insert(store, "conversations", CONVERSATION)
    insert(
        store,
        "responses",
        response(1, "Hi.", "Hello.", input_tokens=1, output_tokens=1),
        response(2, "And?", "So."),
    )
    tip = chain(
        store,
        *(("user", "Hi."), ("assistant", "Hello."), ("user", "And?"), ("assistant", "So.")),
        *(("user", "Go on."), ("assistant", "On.")),
    )
    insert(store, "threads", thread(tip))
    both = turn(2, "b2:m2", "b2:m3", id="01r0002")  # for a while it was written to both
    insert(store, "turns", both, turn(3, "b2:m4", "b2:m5"))
    ((record,), broken) = read(path)
    assert not broken
    assert [text for _, _, text in lines(record)] == [
        *("Hi.", "Hello.", "And?", "So."),
        *("Go on.", "On."),
    ]
    assert record.transcript.session.id == "First question"
    assert [m.model for m in record.transcript.messages[1::2]] == [
        *("gpt-4o-mini", "gpt-4o-mini", "gpt-5")
    ]
    assert llm_logs.total(path) == 1


@pytest.mark.parametrize(("parent", "reason"), [("b2:m1", "follow itself"), ("?", "is missing")])
def test_a_thread_with_a_damaged_chain_is_told_and_costs_no_other(
    store, path, read, parent, reason
):
    tip = chain(store, ("user", "Hi."), ("assistant", "Hello."))
    good = chain(store, ("user", "Good."), name="good")
    insert(store, "threads", thread(tip), thread(good, id="01c2"))
    store.execute("UPDATE messages SET parent_hash = ? WHERE hash = 'b2:m0'", (parent,))
    store.commit()
    ((record,), (broken,)) = read(path)
    assert broken.number == 1
    assert reason in broken.reason
    assert lines(record) == [(1, "user", "Good.")]


# -- the file --------------------------------------------------------------------------------------


def everything_in(folder):
    return {item.name: item.read_bytes() for item in folder.iterdir()}


def test_nothing_is_written(tmp_path, path, read):
    make(path, RESPONSES, responses=response(1, "Hi.", "Hello."))
    path.chmod(0o400)
    before = everything_in(tmp_path)
    assert len(read(path)[0]) == 1
    assert everything_in(tmp_path) == before


def test_a_database_in_wal_mode_is_read_and_left_alone(tmp_path, path, read):
    make(path, RESPONSES, responses=response(1, "Hi.", "Hello."))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = everything_in(tmp_path)
    assert len(read(path)[0]) == 1
    assert everything_in(tmp_path) == before


def test_what_is_still_in_a_log_beside_it_is_read_and_left_there(tmp_path, path, read):
    make(path, RESPONSES, responses=response(1, "Hi.", "Hello."))
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        insert(writer, "responses", response(2, "And?", "So."))
        before = everything_in(tmp_path)
        assert before["logs.db-wal"]
        ((record,), _) = read(path)
        assert len(record.transcript.messages) == 4
        assert everything_in(tmp_path) == before


def test_a_write_that_was_broken_off_is_undone_in_a_copy(tmp_path, path, read):
    make(path, RESPONSES, responses=response(1, "Hi.", "Hello."))
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        writer.execute("UPDATE responses SET prompt = 'Half.'")
        for number in range(2, 60):
            row = response(number, "x" * 5000, "y")
            names = ", ".join(row)
            writer.execute(
                f"INSERT INTO responses ({names}) VALUES ({','.join('?' * len(row))})",
                list(row.values()),
            )
        for name, data in everything_in(tmp_path).items():
            (tmp_path / f"killed-{name}").write_bytes(data)
        writer.execute("ROLLBACK")
    assert (tmp_path / "killed-logs.db-journal").stat().st_size
    before = everything_in(tmp_path)
    ((record,), _) = read(tmp_path / "killed-logs.db")
    assert [text for _, _, text in lines(record)] == ["Hi.", "Hello."]
    assert everything_in(tmp_path) == before


def test_views_and_virtual_tables_are_no_tables(path, read):
    """They run what they were made of."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE VIEW responses AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n)"
            " SELECT i AS id, 'a' AS prompt, 'b' AS response FROM n;"
            "CREATE TABLE threads (id TEXT)"
        )
    with pytest.raises(FormatError, match="is a database, but not one of the llm tool"):
        read(path)


@pytest.mark.parametrize("content", [b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_database_that_is_none_is_refused(read, content):
    with pytest.raises(FormatError, match="cannot be read"):
        read(content, name="logs.db")


def test_a_file_that_is_no_database_is_refused(read):
    with pytest.raises(FormatError, match="is no SQLite database"):
        read("[]", format="llm")


def test_a_database_that_is_damaged_gives_what_can_be_read(path, read):
    rows = [
        response(number, f"{number} " + "x" * 3000, "y", conversation_id=f"01c{number}")
        for number in range(1, 40)
    ]
    make(path, RESPONSES, responses=rows)
    data = bytearray(path.read_bytes())
    for page in range(8, len(data) // 4096 - 20):
        data[page * 4096 : page * 4096 + 4096] = b"\xff" * 4096
    path.write_bytes(bytes(data))
    try:
        loaded, broken = read(path)
    except FormatError as error:
        assert "damaged" in str(error)  # noqa: PT017  # either will do
    else:
        assert broken
        assert len(loaded) < 39


def test_conversations_have_the_same_identity_until_they_grow(path, read):
    make(path, RESPONSES, conversations=CONVERSATION, responses=response(1, "Hi.", "Hello."))
    ((first,), _) = read(path)
    ((again,), _) = read(path)
    assert first.identity == again.identity
    assert first.transcript == again.transcript
    with closing(sqlite3.connect(path)) as connection:
        insert(connection, "responses", response(2, "And?", "So."))
    ((grown,), _) = read(path)
    assert grown.identity != first.identity


values = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary()
COLUMNS = {
    "responses": "model prompt system options_json response conversation_id duration_ms reasoning",
    "prompt_attachments": "attachment_id order",
    "attachments": "type path url content",
    "tool_calls": "name arguments tool_call_id",
    "tool_results": "name output tool_call_id",
    "messages": "parent_hash role",
    "parts": "position type text payload",
    "threads": "name datetime_utc",
    "turns": "thread_id model options_json input_tokens token_details datetime_utc",
}
KEYS = {
    "responses": "id",
    "prompt_attachments": "response_id",
    "attachments": "id",
    "tool_calls": "response_id",
    "tool_results": "response_id",
    "messages": "hash",
    "parts": "message_hash",
    "threads": "tip_message_hash",
    "turns": "tip_message_hash",
}


def any_rows(columns):
    return st.lists(st.fixed_dictionaries(dict.fromkeys(columns.split(), values)), max_size=2)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.fixed_dictionaries({table: any_rows(columns) for table, columns in COLUMNS.items()}))
def test_no_type_is_taken_for_granted(tmp_path_factory, tables):
    path = tmp_path_factory.mktemp("any") / "logs.db"
    for table, rows in tables.items():
        for number, row in enumerate(rows):
            row[KEYS[table]] = f"{number}"
            if table == "threads":
                row["id"] = f"{number}"
            if table == "prompt_attachments":
                row["attachment_id"] = f"{number}"
    make(path, THREADS, **tables)
    list(llm_logs.load(path, now=NOW))
