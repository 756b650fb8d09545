"""The bytes of stored values: what is read is what was written, and nothing else is ever read."""

import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexto_magic.errors import StoreCorruptedError
from dexto_magic.stores.codec import (
    CODECS,
    MODE_BYTES,
    MODE_EXACT,
    MODE_JSON,
    Row,
    decode,
    decode_all,
    decode_bytes,
    encode,
)
from tests.support.values import steady, values


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
    "a mode of tomorrow's": (77, b"1"),
    "an attachment": (MODE_BYTES, b"1"),
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


def test_what_is_stored_is_json_that_anybody_can_read():
    row = encode({"content": "é 🎉"})
    assert json.loads(row.data) == {"content": "é 🎉"}
    assert "é 🎉".encode() in row.data


# -- bytes of attachments --------------------------------------------------------------------------


@steady
@given(st.binary())
def test_bytes_are_read_as_they_were_written(content):
    row = Row.of_bytes(content)
    assert row.mode in CODECS
    assert decode_bytes(*row) == content


@pytest.mark.parametrize(
    ("mode", "data"),
    [
        (MODE_JSON, b"1"),
        (MODE_EXACT, b"1"),
        (4, pickle.dumps(Bomb())),
        (None, b"1"),
        (MODE_BYTES, "text"),
        (MODE_BYTES, None),
    ],
    ids=repr,
)
def test_what_is_no_attachment_is_not_read_as_one(mode, data):
    with pytest.raises(StoreCorruptedError, match="attachment"):
        decode_bytes(mode, data)
