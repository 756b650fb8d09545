"""The JSON form of what is said: what is read is what was written, whoever wrote it."""

import json
from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import given

from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import (
    Aside,
    Attachment,
    Message,
    Origin,
    ToolCall,
    Usage,
)
from dexto_magic.conversation.wire import (
    MISREAD,
    aside_from_json,
    aside_to_json,
    line_from_json,
    line_to_json,
    message_from_json,
    message_to_json,
)
from tests.support.messages import assistant, user
from tests.support.values import asides, lines, messages, steady, with_strange_fields
from tests.support.views import NOON


def written(value):
    """The same after it was JSON."""
    return json.loads(json.dumps(value))


# -- messages --------------------------------------------------------------------------------------


@steady
@given(messages)
def test_a_message_is_read_with_every_field_as_it_was_written(message):
    assert repr(message_from_json(written(message_to_json(message)))) == repr(message)


@pytest.mark.parametrize("name", ["reason", "tool_call_id", "model", "provider", "finish_reason"])
def test_an_empty_text_is_told_from_none(name):
    for value in ("", None):
        message = assistant(**{name: value})
        assert message_from_json(written(message_to_json(message))) == message


@pytest.mark.parametrize(
    "origin", [None, Origin(), Origin(notebook=""), Origin(notebook="/a.ipynb", cell_id="")]
)
def test_an_origin_that_says_little_is_told_from_none(origin):
    message = user("q", origin=origin)
    assert message_from_json(written(message_to_json(message))) == message


@pytest.mark.parametrize("value", [0, 0.0, Usage(), Usage(cached_tokens=0)])
def test_a_nothing_that_was_measured_is_told_from_what_was_not(value):
    message = assistant(**{"usage" if isinstance(value, Usage) else "duration": value})
    assert message_from_json(written(message_to_json(message))) == message


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
        sent_from=2,
    )
    plain = Message(role="user", content="", id="", created_at=NOON)
    same = [f.name for f in fields(Message) if getattr(full, f.name) == getattr(plain, f.name)]
    assert same == ["created_at"], "the message above has to have every field set"
    assert message_from_json(written(message_to_json(full))) == full


@steady
@given(messages)
def test_fields_of_a_later_version_are_passed_over_in_messages(message):
    row = message_to_json(message)
    options = row.pop("options", {})
    strange = with_strange_fields(written(row)) | {"options": written(options)}
    assert repr(message_from_json(strange)) == repr(message)


@pytest.mark.parametrize("name", ["kind", "id", "turn", "at", "content"])
def test_a_message_that_lacks_what_every_message_has_is_refused(name):
    row = message_to_json(assistant())
    del row[name]
    with pytest.raises(KeyError, match=name):
        message_from_json(row)


@pytest.mark.parametrize("time", ["", "yesterday", "2026-13-01T00:00:00+00:00", 5, None, []])
def test_a_message_of_no_time_is_refused(time):
    with pytest.raises(MISREAD):
        message_from_json(message_to_json(assistant()) | {"at": time})


@pytest.mark.parametrize("row", [None, 5, "text", [], [["kind", "user"]]], ids=repr)
def test_a_row_that_is_nothing_of_ours_is_misread(row):
    for read in (message_from_json, aside_from_json, line_from_json):
        with pytest.raises(MISREAD):
            read(row)


NESTED = ["origin", "attachments", "tool_calls", "usage"]


@pytest.mark.parametrize("value", [5, "text", ["text"], [None], {"x": 1}], ids=repr)
@pytest.mark.parametrize("name", NESTED)
def test_a_message_with_a_part_that_makes_no_sense_is_read_or_misread(name, value):
    with suppress(*MISREAD):
        message_from_json(message_to_json(assistant()) | {name: value})


# -- asides ----------------------------------------------------------------------------------------


@steady
@given(asides)
def test_an_aside_is_read_with_every_field_as_it_was_written(aside):
    assert repr(aside_from_json(written(aside_to_json(aside)))) == repr(aside)
    strange = with_strange_fields(written(aside_to_json(aside)))
    assert strange.get("versions", {}).pop("new", [1]) == [1]
    assert repr(aside_from_json(strange)) == repr(aside)


def test_every_field_of_an_aside_is_in_its_row():
    full = Aside(
        kind="title",
        content="c",
        id="aside_1",
        created_at=NOON,
        turn=2,
        through="msg_1",
        versions={2: 3},
        without=(1,),
        model="m",
        provider="p",
        usage=Usage(input_tokens=1),
        duration=1.5,
    )
    plain = Aside(kind="summary", content="", id="", created_at=NOON)
    same = [f.name for f in fields(Aside) if getattr(full, f.name) == getattr(plain, f.name)]
    assert same == ["created_at"], "the aside above has to have every field set"
    assert aside_from_json(written(aside_to_json(full))) == full


def test_a_plain_aside_takes_a_row_of_few_fields():
    plain = Aside(kind="summary", content="", id="", created_at=NOON)
    assert set(aside_to_json(plain)) == {"kind", "id", "at", "content", "turn"}


@pytest.mark.parametrize("name", ["kind", "id", "turn", "at", "content"])
def test_an_aside_that_lacks_what_every_aside_has_is_refused(name):
    row = aside_to_json(Aside(kind="summary", content="", id="", created_at=NOON))
    del row[name]
    with pytest.raises(KeyError, match=name):
        aside_from_json(row)


# -- lines -----------------------------------------------------------------------------------------


@steady
@given(lines)
def test_a_line_is_read_with_every_field_as_it_was_written(line):
    row = written(line_to_json(line))
    assert line_from_json(row) == line
    strange = {
        name: [with_strange_fields(step) for step in value]
        if name in ("replaced", "undo")
        else value
        for name, value in row.items()
    }
    assert line_from_json(strange | {"new": 1}) == line


def test_every_field_of_a_line_is_in_its_row():
    step = Step(turn=1, version=2, before=1, end=3)
    full = Line(
        end=3, made=4, versions={1: 2}, latest={1: 5}, replaced=(step,), undone=(step,), gone=(2,)
    )
    same = [f.name for f in fields(Line) if getattr(full, f.name) == getattr(Line(), f.name)]
    assert same == [], "the line above has to have every field set"
    assert line_from_json(written(line_to_json(full))) == full


def test_a_line_of_the_first_version_of_the_store_is_read():
    assert line_from_json({"turns": 3, "versions": {}, "undo": []}) == Line(end=3, made=3)


@pytest.mark.parametrize("name", ["turns", "versions", "undo"])
def test_a_line_that_lacks_what_every_line_has_is_refused(name):
    row = line_to_json(Line())
    del row[name]
    with pytest.raises(KeyError, match=name):
        line_from_json(row)


def test_a_step_that_lacks_something_is_refused():
    row = line_to_json(Line(end=1, made=1)) | {"undo": [{"turn": 1, "version": 1, "before": None}]}
    with pytest.raises(TypeError, match="end"):
        line_from_json(row)
