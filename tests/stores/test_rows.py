"""The stored form of values: what is read is what was written, and nothing else is ever read."""

import itertools
import json
import math
import pickle
from dataclasses import fields
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.history import OpenTurn, Partial, SessionRecord
from dexto_magic.conversation.messages import Attachment, Message, Origin, ToolCall, Usage
from dexto_magic.errors import StoreCorruptedError
from dexto_magic.stores.rows import (
    MODE_EXACT,
    MODE_JSON,
    Row,
    decode,
    decode_all,
    encode,
    message_from_json,
    message_to_json,
    messages_in_view,
    partial_from_json,
    partial_to_json,
    record_from_json,
    record_to_json,
)
from tests.support.messages import assistant, user
from tests.support.views import NOON

steady = settings(derandomize=True, deadline=None, max_examples=150)

# Every code point, lone surrogates and NUL among them. A high one right before a low one is not
# lone, and has a test of its own.
texts = st.text(st.characters(exclude_categories=())).filter(
    lambda text: (
        not any(
            "\ud800" <= high <= "\udbff" and "\udc00" <= low <= "\udfff"
            for high, low in itertools.pairwise(text)
        )
    )
)
words = texts.filter(bool)
numbers = st.integers(min_value=-(2**200), max_value=2**200) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
maps = st.dictionaries(texts, values, max_size=4)
counts = st.integers(min_value=0, max_value=2**70)
times = st.datetimes(
    timezones=st.just(UTC)
    | st.integers(min_value=-1439, max_value=1439).map(lambda n: timezone(timedelta(minutes=n)))
).map(lambda time: time.replace(fold=0))  # which fixed offsets have no use for

usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_tokens=st.none() | counts,
    reasoning_tokens=st.none() | counts,
)
origins = st.builds(Origin, notebook=words, cell_id=st.none() | words) | st.builds(
    Origin, cell_id=words
)
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool"]),
    content=texts,
    id=texts,
    created_at=times,
    turn=counts,
    version=st.integers(min_value=1),
    status=st.sampled_from(["complete", "stopped", "failed"]),
    reason=st.none() | words,
    origin=st.none() | origins,
    attachments=st.lists(
        st.builds(Attachment, name=texts, media_type=texts, digest=texts, size=counts), max_size=2
    ).map(tuple),
    tool_calls=st.lists(st.builds(ToolCall, id=texts, name=texts, arguments=texts), max_size=2).map(
        tuple
    ),
    tool_call_id=st.none() | words,
    reasoning=texts,
    model=st.none() | words,
    provider=st.none() | words,
    options=maps,
    usage=st.none() | usages,
    finish_reason=st.none() | words,
    duration=st.none() | st.floats(),
)
marks = st.builds(
    OpenTurn,
    owner=texts,
    holder=texts,
    since=times,
    turn=counts,
    version=counts,
    cancel=st.booleans(),
)
records = st.builds(
    SessionRecord,
    sid=texts,
    id=texts,
    created_at=times,
    used_at=times,
    epoch=counts,
    rows=counts,
    revision=counts,
    turns=counts,
    messages=counts,
    versions=st.dictionaries(counts, counts, max_size=3),
    undo=st.lists(values, max_size=3).map(tuple),
    open=st.none() | marks,
    title=st.none() | texts,
    own_title=st.booleans(),
    model=st.none() | texts,
    system=st.none() | texts,
    settings=maps,
    usage=usages,
    forked_from=st.none() | texts,
    home=st.none() | texts,
    notebooks=st.lists(texts, max_size=3).map(tuple),
    marks=st.lists(texts, max_size=3).map(tuple),
)


def stored(value):
    """The value after it was written and read; told apart by ``repr``, as NaN equals nothing."""
    return decode(*encode(value))


# -- any JSON --------------------------------------------------------------------------------------


@steady
@given(values)
def test_any_json_value_is_read_as_it_was_written(value):
    row = encode(value)
    assert isinstance(row.data, bytes)
    assert row.mode in (MODE_JSON, MODE_EXACT)
    assert repr(stored(value)) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        2**63 - 1,
        2**63,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**400,
        "\x00",
        "\ud800",
        "a\udfffb",
        "\udc00\ud83d",
        "\u2028 \ufeff 🎉",
        {"\ud800": {"": [math.nan, {"x": [2**70, "\udc00"]}]}},
        [[[[[]]]], {}, "", None, True, False, 0, 1, 1.0],
    ],
    ids=repr,
)
def test_what_json_libraries_change_is_kept(value):
    assert repr(stored(value)) == repr(value)
    assert repr(stored({"within": [value]})) == repr({"within": [value]})


def test_text_with_both_halves_of_a_pair_is_kept_as_two():
    """As Python has it from ``"\\ud83d" + "\\ude00"``; another length would be another text."""
    assert stored("\ud83d\ude00") == "\ud83d\ude00"


@pytest.mark.parametrize("depth", [100, 250, 300])
def test_deep_nesting_is_kept(depth):
    value = []
    for _ in range(depth):
        value = [value]
    assert stored(value) == value
    assert decode_all([encode(value), encode(1)]) == [value, 1]


def test_a_tuple_is_written_as_a_list():
    assert stored((1, (math.inf, 2))) == [1, [math.inf, 2]]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {"x": [object()]}, 1j])
def test_what_is_not_json_is_not_written(value):
    with pytest.raises(TypeError):
        encode(value)


# -- rows of others --------------------------------------------------------------------------------


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


FOREIGN = {
    "diskcache's raw": (1, b"1"),
    "diskcache's binary file": (2, b"1"),
    "diskcache's text file": (3, b"1"),
    "a pickle": (4, pickle.dumps(Bomb())),
    "a pickle in disguise": (MODE_JSON, pickle.dumps(Bomb())),
    "a pickle in the other disguise": (MODE_EXACT, pickle.dumps(Bomb())),
    "a mode of nobody's": (0, b"1"),
    "a mode of tomorrow's": (76, b"1"),
    "a negative mode": (-MODE_JSON, b"1"),
    "no mode": (None, b"1"),
    "a mode in words": ("74", b"1"),
    "text": (MODE_JSON, "1"),
    "text of the other mode": (MODE_EXACT, "1"),
    "a number": (MODE_JSON, 1),
    "a number with a fraction": (MODE_EXACT, 1.0),
    "nothing": (MODE_JSON, None),
    "no bytes": (MODE_JSON, b""),
    "half of it": (MODE_JSON, b'{"a": '),
    "half of it, exact": (MODE_EXACT, b'{"a": '),
    "two": (MODE_JSON, b"1,2"),
    "two, exact": (MODE_EXACT, b"1,2"),
    "NaN where orjson wrote": (MODE_JSON, b"NaN"),
    "not UTF-8": (MODE_JSON, b'"\xff"'),
    "not UTF-8, exact": (MODE_EXACT, b'"\xff"'),
    "too deep": (MODE_JSON, b"[" * 100_000),
    "too deep, exact": (MODE_EXACT, b"[" * 100_000),
}


@pytest.mark.parametrize(("mode", "data"), FOREIGN.values(), ids=FOREIGN)
def test_a_row_that_is_not_ours_is_refused_unread(mode, data):
    with pytest.raises(StoreCorruptedError):
        decode(mode, data)
    with pytest.raises(StoreCorruptedError):
        decode_all([encode(1), (mode, data), encode([2])])


@steady
@given(st.integers(), st.binary())
def test_no_other_mode_is_ever_read(mode, data):
    if mode not in (MODE_JSON, MODE_EXACT):
        with pytest.raises(StoreCorruptedError, match=f"mode {mode}"):
            decode(mode, data)


@steady
@given(st.sampled_from([MODE_JSON, MODE_EXACT]), st.binary())
def test_any_bytes_are_read_or_refused_and_nothing_else(mode, data):
    try:
        value = decode(mode, data)
    except StoreCorruptedError:
        return
    assert repr(stored(value)) == repr(value)


# -- many rows at once -----------------------------------------------------------------------------

damages = st.sampled_from(
    [
        lambda row: row,
        lambda row: Row(4, row.data),
        lambda row: (row.mode, None),
        lambda row: (row.mode, row.data.decode("latin-1")),
        lambda row: Row(row.mode, b""),
        lambda row: Row(row.mode, row.data[:-1]),
        lambda row: Row(row.mode, row.data + b","),
        lambda row: Row(row.mode, row.data + b",1"),
        lambda row: Row(row.mode, row.data + b"]"),
        lambda row: Row(row.mode, b"[" + row.data),
        lambda row: Row(row.mode, b"\xff" + row.data),
    ]
)


def outcome(read, rows):
    """What reading gives, or the words in which it is refused."""
    try:
        return repr(read(rows))
    except StoreCorruptedError as error:
        return f"refused: {error}"


def one_by_one(rows):
    return [decode(mode, data) for mode, data in rows]


@steady
@given(st.lists(values, max_size=6), st.integers(min_value=0, max_value=5), damages)
def test_many_rows_are_read_as_each_would_be(kept, place, damage):
    rows = [encode(value) for value in kept]
    if place < len(rows):
        rows[place] = damage(rows[place])
    assert outcome(decode_all, rows) == outcome(one_by_one, rows)


def test_rows_of_both_modes_are_read_together_and_in_order():
    kept = [1, math.inf, {"a": "\ud800"}, "x", 2**70, None]
    rows = [encode(value) for value in kept]
    assert {row.mode for row in rows} == {MODE_JSON, MODE_EXACT}
    assert decode_all(rows) == kept


def test_no_rows_are_no_values():
    assert decode_all([]) == []


# -- messages --------------------------------------------------------------------------------------


@steady
@given(messages)
def test_a_message_is_read_with_every_field_as_it_was_written(message):
    assert repr(message_from_json(stored(message_to_json(message)))) == repr(message)


@pytest.mark.parametrize("name", ["reason", "tool_call_id", "model", "provider", "finish_reason"])
def test_an_empty_text_is_told_from_none(name):
    for value in ("", None):
        message = assistant(**{name: value})
        assert message_from_json(stored(message_to_json(message))) == message


@pytest.mark.parametrize(
    "origin", [None, Origin(), Origin(notebook=""), Origin(notebook="/a.ipynb", cell_id="")]
)
def test_an_origin_that_says_little_is_told_from_none(origin):
    message = user("q", origin=origin)
    assert message_from_json(stored(message_to_json(message))) == message


@pytest.mark.parametrize("value", [0, 0.0, Usage(), Usage(cached_tokens=0)])
def test_a_nothing_that_was_measured_is_told_from_what_was_not(value):
    message = assistant(**{"usage" if isinstance(value, Usage) else "duration": value})
    assert message_from_json(stored(message_to_json(message))) == message


def test_a_plain_message_takes_a_row_of_few_fields():
    assert set(message_to_json(user("Hello."))) == {"kind", "id", "turn", "at", "content"}


def test_every_field_of_a_message_is_in_its_row():
    """A field that is new must be stored, too."""
    full = Message(
        role="assistant",
        content="c",
        id="msg_1",
        created_at=NOON,
        turn=2,
        version=3,
        status="stopped",
        reason="error",
        origin=Origin(notebook="/a.ipynb", cell_id="c"),
        attachments=(Attachment(name="n", media_type="m", digest="d", size=1),),
        tool_calls=(ToolCall(id="i", name="n", arguments="a"),),
        tool_call_id="call",
        reasoning="r",
        model="m",
        provider="p",
        options={"seed": 1},
        usage=Usage(input_tokens=1, output_tokens=2, cached_tokens=3, reasoning_tokens=4),
        finish_reason="stop",
        duration=1.5,
    )
    plain = Message(role="user", content="", id="", created_at=NOON)
    same = [f.name for f in fields(Message) if getattr(full, f.name) == getattr(plain, f.name)]
    assert same == ["created_at"], "the message above has to have every field set"
    assert message_from_json(stored(message_to_json(full))) == full


def with_strange_fields(value):
    """The same JSON with a field in every object that no version knows yet."""
    if isinstance(value, dict):
        return {name: with_strange_fields(inner) for name, inner in value.items()} | {"new": [1]}
    if isinstance(value, list):
        return [with_strange_fields(inner) for inner in value]
    return value


@steady
@given(messages)
def test_fields_of_a_later_version_are_passed_over_in_messages(message):
    row = message_to_json(message)
    options = row.pop("options", {})
    strange = with_strange_fields(stored(row)) | {"options": stored(options)}
    assert repr(message_from_json(strange)) == repr(message)


@pytest.mark.parametrize("name", ["kind", "id", "turn", "at", "content"])
def test_a_message_that_lacks_what_every_message_has_is_refused(name):
    row = message_to_json(assistant())
    del row[name]
    with pytest.raises(StoreCorruptedError, match=f"message of the store.*{name}"):
        message_from_json(row)


@pytest.mark.parametrize("time", ["", "yesterday", "2026-13-01T00:00:00+00:00", 5, None, []])
def test_a_message_of_no_time_is_refused(time):
    with pytest.raises(StoreCorruptedError):
        message_from_json(message_to_json(assistant()) | {"at": time})


@pytest.mark.parametrize("row", [None, 5, "text", [], [["kind", "user"]]], ids=repr)
def test_a_row_that_is_no_message_is_refused(row):
    with pytest.raises(StoreCorruptedError):
        message_from_json(row)
    with pytest.raises(StoreCorruptedError):
        messages_in_view([row], SessionRecord(sid="s", id="eda", created_at=NOON, used_at=NOON))


NESTED = ["origin", "attachments", "tool_calls", "usage"]


@pytest.mark.parametrize("value", [5, "text", ["text"], [None], {"x": 1}], ids=repr)
@pytest.mark.parametrize("name", NESTED)
def test_a_message_with_a_part_that_makes_no_sense_is_read_or_refused(name, value):
    try:
        message_from_json(message_to_json(assistant()) | {name: value})
    except StoreCorruptedError as error:
        assert "message of the store" in str(error)  # noqa: PT017  # either is right


def test_rows_of_other_kinds_and_versions_are_passed_over():
    record = SessionRecord(sid="s", id="eda", created_at=NOON, used_at=NOON, versions={2: 2})
    said = [
        user("one", turn=1),
        assistant("one", turn=1),
        user("old wording", turn=2),
        user("new wording", turn=2, version=2),
    ]
    rows = [
        *map(message_to_json, said[:2]),
        {"kind": "summary", "of": 2},
        {"id": "of no kind"},
        *map(message_to_json, said[2:]),
    ]
    assert [m.content for m in messages_in_view(rows, record)] == ["one", "one", "new wording"]


# -- records and partial replies -------------------------------------------------------------------


@steady
@given(records)
def test_a_record_is_read_with_every_field_as_it_was_written(record):
    assert repr(record_from_json(stored(record_to_json(record)))) == repr(record)


@steady
@given(records)
def test_fields_of_a_later_version_are_passed_over_in_records(record):
    row = stored(record_to_json(record))
    plain = {"settings", "versions", "undo"}  # these hold what people and other modules put there
    strange = {
        name: value if name in plain else with_strange_fields(value) for name, value in row.items()
    }
    assert repr(record_from_json(strange | {"new": 1})) == repr(record)


RECORD = SessionRecord(
    sid="s",
    id="eda",
    created_at=NOON,
    used_at=NOON,
    open=OpenTurn(owner="own_1", holder="a kernel", since=NOON, turn=1),
)


@pytest.mark.parametrize("name", record_to_json(RECORD))
def test_a_record_that_lacks_what_every_record_has_is_refused(name):
    row = record_to_json(RECORD)
    del row[name]
    with pytest.raises(StoreCorruptedError, match=f"session of the store.*{name}"):
        record_from_json(row)


@pytest.mark.parametrize("name", ["owner", "holder", "since", "turn"])
def test_a_mark_that_lacks_what_every_mark_has_is_refused(name):
    row = record_to_json(RECORD)
    del row["open"][name]
    with pytest.raises(StoreCorruptedError, match="session of the store"):
        record_from_json(row)


@pytest.mark.parametrize("row", [None, 5, "text", [], True], ids=repr)
def test_a_row_that_is_no_record_is_refused(row):
    with pytest.raises(StoreCorruptedError):
        record_from_json(row)


@pytest.mark.parametrize(
    "damage",
    [
        {"created": "yesterday"},
        {"used": None},
        {"versions": []},
        {"versions": {"x": 1}},
        {"open": []},
        {"open": "own_1"},
        {"usage": None},
        {"undo": 5},
        {"notebooks": None},
        {"marks": 5},
    ],
    ids=repr,
)
def test_a_record_with_a_part_that_makes_no_sense_is_refused(damage):
    with pytest.raises(StoreCorruptedError, match="session of the store"):
        record_from_json(record_to_json(RECORD) | damage)


@steady
@given(st.builds(Partial, epoch=counts, turn=counts, message=messages))
def test_a_partial_reply_is_read_as_it_was_written(partial):
    assert repr(partial_from_json(stored(partial_to_json(partial)))) == repr(partial)
    strange = stored(partial_to_json(partial)) | {"new": 1}
    assert repr(partial_from_json(strange)) == repr(partial)


@pytest.mark.parametrize("name", ["epoch", "turn", "message"])
def test_a_partial_reply_that_lacks_something_is_refused(name):
    row = partial_to_json(Partial(epoch=0, turn=1, message=assistant()))
    del row[name]
    with pytest.raises(StoreCorruptedError, match=name):
        partial_from_json(row)


@pytest.mark.parametrize(
    "row",
    [None, 5, "text", [], {"epoch": 0, "turn": 1, "message": None}, {"message": []}],
    ids=repr,
)
def test_a_row_that_is_no_partial_reply_is_refused(row):
    with pytest.raises(StoreCorruptedError):
        partial_from_json(row)


def test_what_is_stored_is_json_that_anybody_can_read():
    row = encode(message_to_json(user("é 🎉")))
    assert json.loads(row.data)["content"] == "é 🎉"
    assert "é 🎉".encode() in row.data
