"""Long lists read piece by piece: what is whole is given, whatever is around it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.errors import FormatError
from dexto_magic.formats import arrays
from dexto_magic.formats.arrays import elements

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.fixture
def found(tmp_path):
    """The elements of a file with this content."""

    def found(content):
        path = tmp_path / "list.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(elements(path))

    return found


@pytest.fixture(params=[1, 7, 1 << 20])
def piece(request, monkeypatch):
    """How much is read at a time."""
    monkeypatch.setattr(arrays, "PIECE", request.param)


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("indent", [None, 2])
def test_every_element_comes_in_its_order(found, indent):
    said = [{"a": '"[{,}]"\\'}, [1, [2]], "x,]", -1.5e3, 12345, None, True, {}, [], "\\", 7]
    content = "\ufeff \n" + json.dumps(said, indent=indent) + "\n"
    assert [element.value for element in found(content)] == said
    assert [element.number for element in found(content)] == list(range(1, len(said) + 1))
    assert found("[]") == found(" [ \n ] ") == []


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize(
    "damage",
    [
        *("nonsense", "{bad}", '{"a": }', "{'a': 1}", '{"a": [1, 2}]}', "'x'", "}", "\x01", "--1"),
        '{"a": "\n"}',
        "[" * 2000 + "]" * 2000,
    ],
    ids=lambda damage: damage[:8],
)
def test_what_is_damaged_costs_no_other(found, damage):
    first, broken, last = found(f'[{{"n": 1}}, {damage}, {{"n": 3}}]')
    assert (first.value, last.value) == ({"n": 1}, {"n": 3})
    assert (broken.number, broken.value) == (2, None)
    assert broken.error


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize(
    "damage",
    [
        '{"n": 2, "text": "a " b"}',
        '{"n": 2, "text": { "}',
        '{"n": 2, "text": [[}',
        '{"n": 2, "te' + "\0" * 40,
        '{"n": 2, "more": [{"n": 9}, {"n": "}]',
    ],
)
def test_damage_to_brackets_and_quotation_marks_costs_no_other(found, damage):
    said = [{"n": n, "text": 'b "[{,}]" c'} for n in range(1, 6)]
    before, after = json.dumps(said[:1])[:-1], json.dumps(said[2:])[1:]
    elements = found(f"{before}, {damage}, {after}")
    assert [e.value for e in elements if e.error is None] == [said[0], *said[2:]]
    assert [e.number for e in elements if e.error] == [2]


@pytest.mark.usefixtures("piece")
def test_a_missing_comma_costs_what_follows_it(found):
    one, broken, three = found("[1 {}, 3]")
    assert (one.value, three.value) == (1, 3)
    assert broken.error == "it is no JSON"


@pytest.mark.usefixtures("piece")
def test_every_truncated_list_gives_what_is_whole(found):
    content = json.dumps([{"text": 'a "b" ]}', "n": [1, 2]}, "two", {}])
    for length in range(1, len(content)):
        *whole, last = found(content[:length])
        assert last.error == "the file ends before it does"
        known = json.loads(content)
        assert [e.value for e in whole] in (known[:n] for n in range(4))


def test_what_is_no_utf_8_is_read_as_far_as_it_is(found):
    (element,) = found(b'["a\xffb"]')
    assert element.value == "a\N{REPLACEMENT CHARACTER}b"


def test_what_is_no_list_is_refused(found):
    with pytest.raises(FormatError, match="is no list"):
        found('{"a": 1}')


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(values, max_size=6), st.data())
def test_any_damage_comes_to_an_end(tmp_path_factory, said, data):
    content = bytearray(json.dumps(said).encode())
    for _ in range(data.draw(st.integers(min_value=0, max_value=3))):
        at = data.draw(st.integers(min_value=1, max_value=len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"", b'"', b"[", b"]", b"{", b"}", b",", b"\\", b"x", b"\xff"])
        )
    path = tmp_path_factory.mktemp("any") / "list.json"
    path.write_bytes(bytes(content))
    found = list(elements(path))
    assert len(found) <= len(content)
    assert [element.number for element in found] == list(range(1, len(found) + 1))
