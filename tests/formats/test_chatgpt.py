"""ChatGPT's data export: the branch that is shown, with all that it says."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.messages import Attachment, ToolCall
from dexto_magic.formats import chatgpt
from tests.support.chatgpt import BEGAN, conversation, said
from tests.support.transcripts import NOW

START = datetime.fromtimestamp(BEGAN, UTC)


@pytest.fixture
def one(read):
    """The transcript of a conversation of these messages."""

    def one(*messages, **fields):
        loaded, broken = read(json.dumps([conversation(*messages, **fields)]))
        assert not broken
        (record,) = loaded
        return record.transcript

    return one


def lines(transcript):
    return [(m.turn, m.role, m.content) for m in transcript.messages]


def test_a_conversation_is_read_with_its_title_times_and_models(one):
    transcript = one(
        said("system", ""),
        said("user", "What is 1 + 1?", at=1),
        said("assistant", "It is 2.", at=2.5, metadata={"model_slug": "gpt-4o-mini"}),
        said("user", "And 2 + 2?", at=60),
        said("assistant", "4.", at=61, metadata={"finish_details": {"type": "stop"}}),
    )
    session = transcript.session
    assert session.id == session.title == "Adding numbers"
    assert session.own_title
    assert session.system is None
    assert session.created_at == START
    assert session.updated_at == START + timedelta(seconds=600)
    assert (session.message_count, session.turn_count) == (4, 2)
    assert lines(transcript) == [
        (1, "user", "What is 1 + 1?"),
        (1, "assistant", "It is 2."),
        (2, "user", "And 2 + 2?"),
        (2, "assistant", "4."),
    ]
    first = transcript.messages[1]
    assert (first.model, first.created_at) == ("gpt-4o-mini", START + timedelta(seconds=2.5))
    assert transcript.messages[3].finish_reason == "stop"
    assert {said.status for said in transcript.messages} == {"complete"}


def test_only_the_branch_that_is_shown_is_taken(one):
    messages = (said("user", "Hi."), said("assistant", "Third."), said("user", "Ok."))
    others = [(0, said("user", "Edited.")), (1, said("assistant", "First."))]
    transcript = one(*messages, branches=others)
    assert [m.content for m in transcript.messages] == ["Hi.", "Third.", "Ok."]
    earlier = one(*messages, branches=others, current_node="other-1")
    assert [m.content for m in earlier.messages] == ["Hi.", "First."]


@pytest.mark.parametrize("missing", [None, "", 7])
def test_without_a_shown_branch_it_is_the_newest(one, missing):
    transcript = one(
        said("user", "Hi.", at=1),
        said("assistant", "Old.", at=2),
        branches=[(1, said("assistant", "New.", at=3))],
        current_node=missing,
    )
    assert [m.content for m in transcript.messages] == ["Hi.", "New."]


def test_what_the_model_was_told_is_the_system_prompt(one):
    transcript = one(
        said("system", "You are ChatGPT.", metadata={"is_visually_hidden_from_conversation": True}),
        said(
            "user",
            content={
                "content_type": "user_editable_context",
                "user_profile": "The user provided …```Name: Sarah```",
                "user_instructions": "The user provided …```Be brief.```",
            },
            metadata={
                "is_user_system_message": True,
                "is_visually_hidden_from_conversation": True,
                "user_context_message_data": {
                    "about_user_message": "Name: Sarah",
                    "about_model_message": "Be brief.",
                },
            },
        ),
        said("user", content={"content_type": "user_editable_context", "user_profile": "A cat."}),
        said(
            "assistant",
            content={"content_type": "model_editable_context", "model_set_context": "1. Likes R."},
        ),
        said("user", "Hi."),
    )
    assert transcript.session.system == (
        "You are ChatGPT.\n\nName: Sarah\n\nBe brief.\n\nA cat.\n\n1. Likes R."
    )
    assert lines(transcript) == [(1, "user", "Hi.")]


def test_what_nobody_is_shown_is_left_out(one):
    transcript = one(
        said("user", "Hi."),
        said("assistant", "Hidden.", metadata={"is_visually_hidden_from_conversation": True}),
        said("assistant", "Weightless.", weight=0),
        said("assistant", ""),
        said("tool", "Hidden.", weight=0.0),
        said("root", "?"),
        said("assistant", "Hello."),
    )
    assert [m.content for m in transcript.messages] == ["Hi.", "Hello."]


def test_calls_of_tools_and_their_answers_belong_together(one):
    code = {"content_type": "code", "language": "unknown", "text": '{"search_query": []}'}
    run = {"content_type": "code", "language": "python", "text": "1 + 1"}
    transcript = one(
        said("user", "Search, then add."),
        said("assistant", content=code, recipient="web.run", id="call-web", at=1),
        said("assistant", content=run, recipient="python", id="call-python", at=2),
        said("tool", "Found.", name="web.run", at=3),
        said("tool", content={"content_type": "execution_output", "text": "2"}, name="python"),
        said("tool", "Also.", name="elsewhere"),
        said("assistant", "Done."),
        said("user", "More."),
        said("tool", "Uncalled.", name="web.run"),
    )
    assert [(m.role, m.content, m.tool_call_id) for m in transcript.messages] == [
        ("user", "Search, then add.", None),
        ("assistant", "", None),
        ("assistant", "", None),
        ("tool", "Found.", "call-web"),
        ("tool", "2", "call-python"),
        ("tool", "Also.", "call-python"),
        ("assistant", "Done.", None),
        ("user", "More.", None),
        ("tool", "Uncalled.", None),
    ]
    assert [m.tool_calls for m in transcript.messages[1:3]] == [
        (ToolCall(id="call-web", name="web.run", arguments='{"search_query": []}'),),
        (ToolCall(id="call-python", name="python", arguments="1 + 1"),),
    ]
    assert {m.status for m in transcript.messages} == {"complete"}


def test_reasoning_belongs_to_the_reply_that_follows_it(one):
    thoughts = {
        "content_type": "thoughts",
        "thoughts": [
            {"summary": "Adding", "content": "One and one.", "chunks": [], "finished": True},
            {"summary": "", "content": ""},
            None,
        ],
        "source_analysis_msg_id": "x",
    }
    recap = {"content_type": "reasoning_recap", "content": "Thought for 2s"}
    transcript = one(
        said("user", "1 + 1?"),
        said("assistant", content=thoughts),
        said("assistant", content=recap),
        said("assistant", "2."),
        said("user", "Sure?"),
        said("assistant", content=thoughts),
        said("user", "Hello?"),
    )
    assert [(m.role, m.content, m.reasoning) for m in transcript.messages] == [
        ("user", "1 + 1?", ""),
        ("assistant", "2.", "Adding\nOne and one.\n\nThought for 2s"),
        ("user", "Sure?", ""),
        ("assistant", "", "Adding\nOne and one."),
        ("user", "Hello?", ""),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"content_type": "text", "parts": ["a", None, "", {"text": "b"}, 7, []]}, "a\nb"),
        ({"content_type": "code", "language": "python", "text": "x"}, "```python\nx\n```"),
        ({"content_type": "code", "language": "unknown", "text": "```"}, "````\n```\n````"),
        (
            {"content_type": "tether_quote", "url": "http://a", "title": "A", "text": "Quote."},
            "A\nhttp://a\nQuote.",
        ),
        ({"content_type": "tether_browsing_display", "result": "Page.", "summary": None}, "Page."),
        (
            {"content_type": "system_error", "name": "Timeout", "text": "Too slow."},
            "Timeout\nToo slow.",
        ),
        ({"content_type": "something_new", "text": "New."}, "New."),
        (
            {
                "content_type": "multimodal_text",
                "parts": [
                    {"content_type": "audio_transcription", "text": "Spoken.", "direction": "in"}
                ],
            },
            "Spoken.",
        ),
    ],
)
def test_every_kind_of_content_has_its_text(one, content, text):
    transcript = one(said("user", "Hi."), said("assistant", content=content))
    assert transcript.messages[1].content == text


def test_what_is_attached_is_named(one):
    pointer = {
        "content_type": "image_asset_pointer",
        "asset_pointer": "file-service://file-1",
        "size_bytes": 10,
        "width": 2,
        "height": 3,
        "metadata": {"sanitized": True},
    }
    listed = [
        {"id": "file-1", "name": "cat.png", "size": 10, "mimeType": "image/png", "width": 2},
        {"id": "file-2", "name": "data.csv", "size": 99, "mime_type": "text/csv"},
        {"name": "notes.txt"},
        None,
        "strange",
    ]
    talk = {
        "content_type": "real_time_user_audio_video_asset_pointer",
        "audio_asset_pointer": {
            "content_type": "audio_asset_pointer",
            "asset_pointer": "sediment://file_3",
            "size_bytes": 5,
        },
        "frames_asset_pointers": [pointer | {"asset_pointer": "sediment://frame"}, None],
    }
    transcript = one(
        said("user", pointer, "Look.", kind="multimodal_text", metadata={"attachments": listed}),
        said("assistant", pointer | {"asset_pointer": "sediment://file_4", "size_bytes": -1}),
        said("user", talk, None),
    )
    files = [[(a.name, a.media_type, a.size) for a in m.attachments] for m in transcript.messages]
    assert files == [
        [
            ("cat.png", "image/png", 10),
            ("data.csv", "text/csv", 99),
            ("notes.txt", "text/plain", 0),
        ],
        [("file_4", "image/*", 0)],
        [("file_3", "audio/*", 5), ("frame", "image/*", 10)],
    ]
    assert transcript.messages[0].attachments[0] == Attachment(
        name="cat.png", media_type="image/png", digest="", size=10
    )
    assert [m.content for m in transcript.messages] == ["Look.", "", ""]


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"status": "in_progress"}, "stopped", "interrupted"),
        ({"status": "finished_partial_completion"}, "stopped", "interrupted"),
        ({"metadata": {"finish_details": {"type": "interrupted"}}}, "stopped", "interrupted"),
        ({"status": "error"}, "stopped", "error"),
        ({"status": None}, "complete", None),
        ({"status": "finished_somehow"}, "complete", None),
    ],
    ids=str,
)
def test_how_a_reply_ended_is_kept(one, fields, status, reason):
    transcript = one(said("user", "Hi."), said("assistant", "Hel", **fields))
    assert (transcript.messages[1].status, transcript.messages[1].reason) == (status, reason)


def test_a_reply_of_which_nothing_arrived_failed(one):
    transcript = one(said("user", "Hi."), said("assistant", "", status="in_progress"))
    assert (transcript.messages[1].status, transcript.messages[1].content) == ("failed", "")


def test_a_message_without_a_time_has_that_of_the_one_before(one):
    transcript = one(
        said("user", "1", at=None), said("assistant", "2", at=5), said("user", "3", at=None)
    )
    times = [m.created_at for m in transcript.messages]
    assert times == [START, START + timedelta(seconds=5), START + timedelta(seconds=5)]


@pytest.mark.parametrize("time", [None, "now", True, [], 1e300, -1e300, float("nan")])
def test_a_conversation_without_times_is_of_now(one, now, time):
    transcript = one(said("user", "Hi.", create_time=time), create_time=time, update_time=time)
    assert transcript.session.created_at == transcript.session.updated_at == now


@pytest.mark.parametrize(
    ("title", "name", "shown"),
    [
        (None, "chatgpt", "Hi."),
        ("", "chatgpt", "Hi."),
        (7, "chatgpt", "Hi."),
        (" Line\none\u202e \0", "Line one", "Line one"),
        ("x" * 300, "x" * 128, "x" * 300),
        ("e\u0301" * 128, "é" * 128, "é" * 128),
        ("\u200d\u2028", "chatgpt", "Hi."),
        ("👩‍🔬 science", "👩‍🔬 science", "👩‍🔬 science"),
    ],
)
def test_titles_become_names_that_sessions_can_have(one, title, name, shown):
    session = one(said("user", "Hi."), title=title).session
    assert session.id == name
    assert session.title == shown
    assert session.own_title == (shown != "Hi.")


def test_one_conversation_that_stands_alone_is_read(read):
    value = conversation(said("user", "Hi."))
    ((alone,), _) = read(json.dumps(value, indent=2))
    ((listed,), _) = read(json.dumps([value]))
    assert alone == listed


def test_the_same_conversation_is_known_again_and_a_grown_one_is_not(read):
    short = conversation(said("user", "Hi."))
    long = conversation(said("user", "Hi."), said("assistant", "Hello."))
    loaded, _ = read(json.dumps([short, long, short]))
    assert loaded[0].identity == loaded[2].identity != loaded[1].identity
    assert loaded[0].identity.startswith("chatgpt:")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("null", "it has no messages, which should be in its `mapping`"),
        ("[]", "it has no messages"),
        ('{"mapping": []}', "it has no messages"),
        ('{"mapping": {}}', "it holds no messages"),
        ('{"mapping": {"a": 7}, "current_node": "a"}', "its message 'a' is missing"),
        ('{"mapping": {"a": {}}, "current_node": "b"}', "its message 'b' is missing"),
        ('{"mapping": {"a": {"parent": "b"}}, "current_node": "a"}', "its message 'b' is missing"),
        ('{"mapping": {"a": {"parent": ["b"]}}, "current_node": "a"}', "its message '' is missing"),
        ('{"mapping": {"a": {"parent": "a"}}, "current_node": "a"}', "said to follow itself"),
        (
            '{"mapping": {"a": {"parent": "b"}, "b": {"parent": "a"}}, "current_node": "a"}',
            "its message 'a' is said to follow itself",
        ),
        ('{"title": "Empty", "mapping": {"a": {"parent": null}}}', "'Empty' holds no messages"),
        ('{"mapping": {', "it is not valid JSON"),
        ("{bad}", "it is not valid JSON"),
        ('{"mapping": ' + "[" * 5000 + "]" * 5000 + "}", "it is nested too deeply"),
    ],
    ids=lambda text: text[:40],
)
def test_a_broken_conversation_is_told_by_its_number_and_costs_no_other(read, broken, reason):
    good = json.dumps(conversation(said("user", "Hi.")))
    content = f"[{good}, {broken}, {good}]"
    if broken == '{"mapping": {':  # takes the rest of the file with it
        content = f"[{good}, {good}, {broken}"
    loaded, (told,) = read(content)
    assert len(loaded) == 2
    assert told.number == (3 if content.endswith(broken) else 2)
    assert told.reason.startswith(f"conversation {told.number}: ")
    assert reason in told.reason or "the file ends before it does" in told.reason


def test_an_export_that_is_cut_short_gives_what_there_is(read):
    content = json.dumps([conversation(said("user", f"{n}.")) for n in range(3)])
    for length in range(len(content) // 2, len(content), 101):
        loaded, broken = read(content[:length])
        assert len(loaded) in (1, 2, 3)
        assert broken[-1].reason.endswith("the file ends before it does")


def test_conversations_are_given_one_by_one(tmp_path):
    """The second cannot be read before the first was taken."""
    path = tmp_path / "conversations.json"
    good = json.dumps(conversation(said("user", "Hi.")))
    path.write_text(f"[{good}," + " " * (1 << 21) + good + "]")
    records = chatgpt.load(path, now=NOW)
    assert next(records).transcript.messages[0].content == "Hi."
    path.unlink()
    assert next(records).transcript.messages[0].content == "Hi."


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "name", "id", "role", "parts"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def strange(**fields):
    """Objects that have some of the fields, each of the type that it should have or of another."""
    return st.fixed_dictionaries({}, optional={name: kind | junk for name, kind in fields.items()})


nodes = st.sampled_from(["a", "b", "c", None])
contents = strange(
    content_type=st.sampled_from(
        ["text", "code", "thoughts", "multimodal_text", "user_editable_context", "tether_quote"]
    ),
    parts=st.lists(st.text(max_size=5) | junk, max_size=3),
    thoughts=st.lists(junk, max_size=2),
    text=st.text(max_size=5),
)
strange_messages = strange(
    author=strange(role=st.sampled_from(["user", "assistant", "tool", "system"])),
    content=contents,
    metadata=strange(attachments=st.lists(junk, max_size=2), model_slug=st.text(max_size=3)),
    create_time=st.floats(),
    recipient=st.sampled_from(["all", "python"]),
    status=st.text(max_size=4),
    weight=st.floats(),
)
strange_conversations = strange(
    mapping=st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        strange(message=strange_messages, parent=nodes, children=st.lists(nodes)),
    ),
    current_node=nodes,
    title=st.text(),
    create_time=st.floats(),
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(strange_conversations, max_size=3))
def test_no_type_is_taken_for_granted(tmp_path_factory, export):
    path = tmp_path_factory.mktemp("any") / "conversations.json"
    path.write_text(json.dumps(export))
    records = list(chatgpt.load(path, now=NOW))
    assert len(records) == len(export)
