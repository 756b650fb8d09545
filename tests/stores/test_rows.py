"""What the rows of a store say: each is read as it was written, or refused as damaged."""

import pytest
from hypothesis import given

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.record import OpenTurn, Partial, SessionRecord
from dexto_magic.conversation.wire import aside_to_json, message_to_json
from dexto_magic.errors import StoreCorruptedError
from dexto_magic.stores.codec import decode, encode
from dexto_magic.stores.rows import (
    FORGOTTEN,
    aside_from_json,
    is_aside,
    is_message,
    message_from_json,
    partial_from_json,
    partial_to_json,
    record_from_json,
    record_to_json,
)
from tests.support.messages import assistant
from tests.support.values import (
    asides,
    messages,
    partials,
    records,
    steady,
    with_strange_fields,
)
from tests.support.views import NOON


def stored(value):
    """The value after it was written and read; told apart by ``repr``, as NaN equals nothing."""
    return decode(*encode(value))


# -- messages and asides ---------------------------------------------------------------------------


@steady
@given(messages)
def test_a_message_is_stored_with_every_field_as_it_was_said(message):
    row = stored(message_to_json(message))
    assert is_message(row)
    assert not is_aside(row)
    assert repr(message_from_json(row)) == repr(message)


@steady
@given(asides)
def test_an_aside_is_stored_with_every_field_as_it_was_written(aside):
    row = stored(aside_to_json(aside))
    assert is_aside(row)
    assert not is_message(row)
    assert repr(aside_from_json(row)) == repr(aside)


@pytest.mark.parametrize("row", [FORGOTTEN, {"kind": "a later version's"}, {"id": "of no kind"}])
def test_rows_of_other_kinds_are_neither(row):
    assert not is_message(row)
    assert not is_aside(row)


@pytest.mark.parametrize("row", [None, 5, "text", [], [["kind", "user"]], {}], ids=repr)
def test_a_row_that_is_no_message_is_refused(row):
    for read in (message_from_json, aside_from_json):
        with pytest.raises(StoreCorruptedError, match="of the store cannot be read"):
            read(row)
    if row != {}:
        assert is_message(row), "so that it is refused, and not passed over"


@pytest.mark.parametrize("name", ["kind", "id", "turn", "at", "content"])
def test_a_message_that_lacks_what_every_message_has_is_refused(name):
    row = message_to_json(assistant())
    del row[name]
    with pytest.raises(StoreCorruptedError, match=f"message of the store.*{name}"):
        message_from_json(row)
    with pytest.raises(StoreCorruptedError, match="summary or title of the store"):
        aside_from_json(row)


# -- records and partial replies -------------------------------------------------------------------


@steady
@given(records)
def test_a_record_is_read_with_every_field_as_it_was_written(record):
    assert repr(record_from_json(stored(record_to_json(record)))) == repr(record)


@steady
@given(records)
def test_fields_of_a_later_version_are_passed_over_in_records(record):
    row = stored(record_to_json(record))
    plain = {"settings", "versions", "latest"}  # these hold what people and others put there

    def strange(parts):
        kept = {
            name: value if name in plain else with_strange_fields(value)
            for name, value in parts.items()
        }
        return kept | {"new": 1}

    assert repr(record_from_json(strange(row) | {"line": strange(row["line"])})) == repr(record)


RECORD = SessionRecord(
    sid="s",
    id="eda",
    created_at=NOON,
    used_at=NOON,
    open=OpenTurn(owner="own_1", holder="a kernel", since=NOON, turn=1),
)


SINCE_VERSION_2 = {"forked_at", "parent", "family", "source", "forgets", "line"}


@pytest.mark.parametrize("name", sorted(set(record_to_json(RECORD)) - SINCE_VERSION_2))
def test_a_record_that_lacks_what_every_record_has_is_refused(name):
    row = record_to_json(RECORD)
    del row[name]
    with pytest.raises(StoreCorruptedError, match=f"session of the store.*{name}"):
        record_from_json(row)


def test_a_record_without_a_line_is_refused_and_so_is_this_versions_by_the_first():
    """Version 1 looked for the parts of a line in the record itself, and would strip the rest."""
    row = record_to_json(RECORD)
    assert not {"turns", "versions", "undo"} & set(row)
    del row["line"]
    with pytest.raises(StoreCorruptedError, match=r"session of the store.*turns"):
        record_from_json(row)


def test_a_record_of_the_first_version_of_the_store_is_read():
    row = {
        "sid": "7c368e2f0dc2f598",
        "id": "eda",
        "created": "2026-11-20T09:01:00+00:00",
        "used": "2026-11-20T09:14:00+00:00",
        "epoch": 0,
        "rows": 3,
        "revision": 3,
        "turns": 2,
        "messages": 3,
        "versions": {},
        "undo": [],
        "open": {
            "owner": "own_db3dp13twlm9",
            "holder": "a fixture",
            "since": "2026-11-20T09:14:00+00:00",
            "turn": 2,
            "version": 1,
            "cancel": False,
        },
        "title": "Hello.",
        "own_title": False,
        "model": None,
        "system": None,
        "settings": {},
        "usage": {"input": 0, "output": 0},
        "forked_from": None,
        "home": None,
        "notebooks": [],
        "marks": [],
    }
    record = record_from_json(row)
    assert record.line == Line(end=2, made=2)
    assert (record.open.turn, record.open.version, record.open.hides) == (2, 1, 0)
    assert (record.forked_at, record.parent, record.family, record.source) == (None,) * 4


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
        {"line": None},
        {"line": {"versions": []}},
        {"line": {"versions": {"x": 1}}},
        {"open": []},
        {"open": "own_1"},
        {"usage": None},
        {"line": {"undo": 5}},
        {"line": {"undo": [5]}},
        {"line": {"undo": [{"turn": 1}]}},
        {"line": {"replaced": 5}},
        {"line": {"latest": {"x": 1}}},
        {"line": {"gone": 5}},
        {"notebooks": None},
        {"marks": 5},
    ],
    ids=repr,
)
def test_a_record_with_a_part_that_makes_no_sense_is_refused(damage):
    row = record_to_json(RECORD)
    if damage.get("line"):
        damage = {"line": row["line"] | damage["line"]}
    with pytest.raises(StoreCorruptedError, match="session of the store"):
        record_from_json(row | damage)


@steady
@given(partials)
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
