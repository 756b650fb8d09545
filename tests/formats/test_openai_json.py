"""Messages of the OpenAI API: what other tools write comes in, and what goes out they can read."""

import base64
import hashlib
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.messages import Attachment, ToolCall
from dexto_magic.errors import FormatError
from dexto_magic.formats import openai_json
from tests.support.transcripts import NOW, conversations
from tests.support.views import message, transcript

PIXEL = b"\x89PNG\r\n\x1a\n..."
DIGEST = hashlib.sha256(PIXEL).hexdigest()


def dumped(*values, dump=openai_json.dump):
    file = io.BytesIO()
    assert dump(values, file) == len(values)
    return file.getvalue()


def encoded(text):
    """The text as JSON can say it: two halves of a surrogate pair are one character there."""
    return json.loads(json.dumps(text))


def what_survives(value):
    return [
        (
            said.role,
            encoded(said.content),
            [encoded(item.name) for item in said.attachments],
            [tuple(map(encoded, vars(call).values())) for call in said.tool_calls],
            encoded(said.tool_call_id or None),
        )
        for said in value.messages
    ]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(conversations())
def test_what_was_said_and_called_comes_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("any") / "file.json"
    path.write_bytes(dumped(value))
    (record,) = openai_json.load(path, now=NOW)
    assert what_survives(record.transcript) == what_survives(value)
    system = value.session.system or ""
    assert record.transcript.session.system == (encoded(system) if system.strip() else None)
    assert [said.turn for said in record.transcript.messages] == [m.turn for m in value.messages]


def test_messages_go_out_as_the_api_takes_them():
    call = ToolCall(id="call_1", name="add", arguments='{"a": 1}')
    value = transcript(
        message("user", "Add."),
        message("assistant", "", tool_calls=(call,)),
        message("tool", "2", tool_call_id="call_1"),
        message("assistant", "Zwei."),
        system="Be brief.",
    )
    function = {"name": "add", "arguments": '{"a": 1}'}
    assert json.loads(dumped(value)) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Add."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "2", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "Zwei."},
    ]


def test_what_was_attached_comes_back_with_its_name_and_its_bytes(read):
    picture = Attachment(name="ä, b;c.png", media_type="image/png", digest=DIGEST, size=len(PIXEL))
    table = replace(picture, name="data.csv", media_type="text/csv")
    strange = replace(picture, name="odd", media_type="a,b;c")
    lost = replace(picture, name="lost.pdf", media_type="application/pdf", digest="", size=0)
    said = message("user", "Look.", attachments=(picture, table, strange, lost))
    value = replace(transcript(said), files={DIGEST: PIXEL})
    content = dumped(value)
    parts = json.loads(content)[0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "file", "file", "file"]
    ((record,), _) = read(content)
    back = record.transcript.messages[0].attachments
    assert back == (
        picture,
        table,
        replace(strange, media_type="application/octet-stream"),
        lost,
    )
    assert record.transcript.files == {DIGEST: PIXEL}


def test_more_than_one_conversation_needs_a_line_each(read):
    one, two = transcript(message("user", "1")), transcript(message("user", "2"), system="S")
    with pytest.raises(FormatError, match="holds one conversation, and there are more"):
        dumped(one, two)
    content = dumped(one, two, dump=openai_json.dump_lines)
    assert [list(json.loads(line)) for line in content.splitlines()] == [["messages"]] * 2
    loaded, broken = read(content, name="train.jsonl")
    assert not broken
    assert [record.transcript.messages[0].content for record in loaded] == ["1", "2"]
    assert [record.transcript.session.system for record in loaded] == [None, "S"]


# -- what other tools write ------------------------------------------------------------------------

CHAT = [
    {"role": "system", "content": "You are terse."},
    {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
    {"role": "assistant", "content": "Hello!"},
    {
        "role": "user",
        "name": "sarah",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/pics/a%20b.png?x=1"}},
            {"type": "image_url", "image_url": "data:image/png;base64,iVBORw=="},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-123"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"at": 1}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "a cat"}]},
    {"role": "assistant", "content": None, "refusal": "I would rather not."},
    {"role": "user", "content": "Old style."},
    {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": {"x": [1]}},
    },
    {"role": "function", "name": "f", "content": "1"},
]


def test_a_chat_of_another_tool_is_read(read, now):
    ((record,), broken) = read(json.dumps(CHAT), name="My chat.json")
    assert not broken
    session, said = record.transcript.session, record.transcript.messages
    assert session.id == "My chat"
    assert session.title == "What is this?"
    assert not session.own_title
    assert session.system == "You are terse.\n\nAnd kind."
    assert (session.message_count, session.turn_count) == (8, 3)
    assert (session.created_at, session.updated_at) == (now, now)
    assert [(m.turn, m.role, m.content) for m in said] == [
        (1, "assistant", "Hello!"),
        (2, "user", "What is this?"),
        (2, "assistant", ""),
        (2, "tool", "a cat"),
        (2, "assistant", "I would rather not."),
        (3, "user", "Old style."),
        (3, "assistant", ""),
        (3, "tool", "1"),
    ]
    assert {m.created_at for m in said} == {now}
    assert [(a.name, a.media_type, a.size) for a in said[1].attachments] == [
        ("a b.png", "image/png", 0),
        ("image.png", "image/png", 4),
        ("audio.wav", "audio/wav", 4),
        ("file-123", "application/octet-stream", 0),
    ]
    assert set(record.transcript.files.values()) == {b"\x89PNG", b"RIFF"}
    assert said[2].tool_calls == (ToolCall(id="call_1", name="look", arguments='{"at": 1}'),)
    assert said[3].tool_call_id == "call_1"
    assert said[6].tool_calls == (ToolCall(id="", name="f", arguments='{"x": [1]}'),)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(CHAT),
        json.dumps(CHAT, indent=2),
        json.dumps({"model": "gpt-4o", "messages": CHAT}),
        json.dumps({"messages": CHAT}, indent=1),
        "\ufeff" + json.dumps([CHAT]),
        json.dumps([{"messages": CHAT}]),
    ],
    ids=["list", "indented", "object", "indented object", "list of lists", "list of objects"],
)
def test_each_form_of_a_file_says_the_same_and_has_the_same_ids(read, content):
    ((record,), broken) = read(content)
    assert not broken
    ((plain,), _) = read(json.dumps(CHAT), name="plain.json")
    assert record.transcript.messages == plain.transcript.messages
    assert record.identity == plain.identity
    ids = [said.id for said in record.transcript.messages]
    assert len(set(ids)) == len(ids)
    assert all(id_.startswith("msg_") and len(id_) == 16 for id_ in ids)


def test_a_chat_that_grew_is_another(read):
    ((short,), _) = read(json.dumps(CHAT[:-1]))
    ((long,), _) = read(json.dumps(CHAT))
    assert short.identity != long.identity
    assert short.transcript.messages == long.transcript.messages[:-1]


def test_what_is_broken_is_told_by_its_number(read):
    chat = [CHAT[2], 7, None, {"role": "king"}, {"content": "x"}, CHAT[7]]
    loaded, broken = read(json.dumps(chat))
    assert [record.number for record in broken] == [2, 3, 4, 5]
    assert [said.content for said in loaded[0].transcript.messages] == ["Hello!", "Old style."]

    line = json.dumps({"messages": CHAT})
    lines = [line, "{bad", "[]", '{"messages": "none"}', '{"messages": [{"role": "system"}]}', line]
    loaded, broken = read("\n".join(lines), name="train.jsonl")
    assert [record.number for record in broken] == [2, 3, 4, 5]
    assert len(loaded) == 2


def test_a_list_that_is_cut_short_gives_what_there_is(read):
    content = json.dumps(CHAT)
    loaded, (broken,) = read(content[: content.index("Old style")])
    assert broken.reason == "message 8: the file ends before it does"
    assert len(loaded[0].transcript.messages) == 5


@pytest.mark.parametrize(
    "url",
    [
        *("data:", "data:,", "data:;base64,?", "data:image/png;base64,\ud800", "DATA:;base64,AA=="),
        *("http://[", "//", "javascript:alert(1)", "file:///etc/passwd", "x" * 10_000, "\ud800"),
    ],
    ids=lambda url: ascii(url[:20]),
)
def test_no_address_is_looked_at(read, url):
    part = {"type": "image_url", "image_url": {"url": url}}
    ((record,), _) = read(json.dumps([{"role": "user", "content": [part]}]))
    (item,) = record.transcript.messages[0].attachments
    assert item.name
    assert len(record.transcript.files) == bool(item.digest)


def test_names_of_files_are_names_that_sessions_can_have(read):
    for name, session_id in (("\u202e x\ty.json", "x y"), (" .json", "conversation")):
        ((record,), _) = read(json.dumps(CHAT), name=name)
        assert record.transcript.session.id == session_id


def test_bytes_of_a_data_url_are_those_that_were_sent(read):
    data = base64.b64encode(PIXEL).decode()
    part = {"type": "file", "file": {"filename": "a.png", "file_data": data}}
    ((record,), _) = read(json.dumps([{"role": "user", "content": [part]}]))
    assert record.transcript.messages[0].attachments == (
        Attachment(name="a.png", media_type="image/png", digest=DIGEST, size=len(PIXEL)),
    )


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "image_url", "url", "file", "function", "name", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "tool", "system", 7])},
            optional=dict.fromkeys(
                ["content", "tool_calls", "tool_call_id", "refusal", "function_call"], junk
            ),
        ),
        max_size=4,
    )
)
def test_no_type_is_taken_for_granted(tmp_path_factory, chat):
    path = tmp_path_factory.mktemp("any") / "file.json"
    path.write_text(json.dumps(chat))
    for record in openai_json.load(path, now=NOW):
        if hasattr(record, "transcript"):
            dumped(record.transcript)
