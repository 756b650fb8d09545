"""What is typed is searched for as it stands, and never run."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.errors import SettingsError
from dexto_magic.search import schema
from dexto_magic.search.query import MOST_TERMS, Term, expression, parse


def term(*tokens, prefix=False):
    return Term(tokens=tokens, prefix=prefix)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("ridge Regression", [term("ridge"), term("regression")]),
        ('"ridge regression" fit', [term("ridge", "regression"), term("fit")]),
        ("“ridge regression”", [term("ridge", "regression")]),
        ("«ridge regression»", [term("ridge", "regression")]),
        ("regress*", [term("regress", prefix=True)]),
        ("regress＊", [term("regress", prefix=True)]),
        ('"ridge regr"*', [term("ridge", "regr", prefix=True)]),
        ('"ridge regr*"', [term("ridge", "regr", prefix=True)]),
        ("x_train", [term("x", "_", "train")]),
        ("x_tr*", [term("x", "_", "tr", prefix=True)]),
        ("df.head", [term("df", "head")]),
        ("C++", [term("c", "+", "+")]),
        ("R", [term("r")]),
        ("中文", [term("中", "文")]),
        ("中*", [term("中")]),
        ('"unclosed works', [term("unclosed"), term("works")]),
        ('un"closed works"', [term("un"), term("closed", "works")]),
        (
            "a AND b OR NOT c",
            [term("a"), term("and"), term("b"), term("or"), term("not"), term("c")],
        ),
        ("np.* - **", [term("np")]),
        ("w*rd", [term("w", "rd")]),
        ("twice twice", [term("twice")]),
        ("🎉", [term("🎉")]),
    ],
)
def test_a_query_is_words_phrases_and_beginnings(text, terms):
    assert list(parse(text)) == terms


@pytest.mark.parametrize("text", ["", "  ", "...", '""', "*", '"*"', "- --", "\0", "\ud800", "'"])
def test_a_query_without_anything_says_what_to_type(text):
    with pytest.raises(SettingsError, match="type words") as caught:
        parse(text)
    assert caught.value.option == "query"


def test_a_query_of_too_many_words_says_so():
    assert len(parse(" ".join(f"w{n}" for n in range(MOST_TERMS)))) == MOST_TERMS
    with pytest.raises(SettingsError, match=f"at most {MOST_TERMS} words, not {MOST_TERMS + 1}"):
        parse(" ".join(f"w{n}" for n in range(MOST_TERMS + 1)))


@pytest.fixture(scope="module")
def words():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.make(connection)
    yield connection
    connection.close()


HOSTILE = st.text(
    st.sampled_from("aAndORNEAR(){}[]^*+-:\"'\\,;.~!@#$%&|<>=/?_ \0\ud800é中\n"), max_size=60
)


@settings(derandomize=True, deadline=None)
@given(st.one_of(HOSTILE, st.text(max_size=60)))
def test_nothing_that_is_typed_is_a_program(words, text):
    try:
        terms = parse(text)
    except SettingsError:
        return
    words.execute("SELECT rowid FROM words WHERE words MATCH ?", (expression(terms),)).fetchall()


def test_a_query_as_long_as_may_be_is_not_too_long_for_sqlite(words):
    text = " ".join(f'"{"phrase " * 50}{n}"' for n in range(MOST_TERMS))

    found = words.execute("SELECT rowid FROM words WHERE words MATCH ?", (expression(parse(text)),))

    assert found.fetchall() == []
