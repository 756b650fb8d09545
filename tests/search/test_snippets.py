"""A snippet shows the text as it was written, and exactly what was searched for in it."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dexto_magic.errors import SettingsError
from dexto_magic.search.folding import tokens
from dexto_magic.search.query import parse
from dexto_magic.search.snippets import LONGEST, snippet


def marked(text, query):
    """The snippet with its hits between guillemets."""
    return "".join(f"«{piece}»" if hit else piece for piece, hit in snippet(text, parse(query)))


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("Die STRASSE ist lang.", "straße", "Die «STRASSE» ist lang."),
        ("Use df.head(3) here", "df.head", "Use «df.head»(3) here"),
        ("ridge\n\n    regression", '"ridge regression"', "«ridge regression»"),
        ("`x_train`, y_train", "x_train", "`«x_train»`, y_train"),
        ("C++ and C", "c", "«C»++ and «C»"),
        ("regression, regressor", "regress*", "«regression», «regressor»"),
        ("今天天气很好", "天气", "今天«天气»很好"),
        ("e\u0301te\u0301 fini", "été", "«e\u0301te\u0301» fini"),
        ("Zu\u00adsammen", "zusammen", "«Zu\u00adsammen»"),
        ("½ cup", "1", "«½» cup"),
        ("👍🏽 ok", "👍", "«👍🏽» ok"),
        ("👩\u200d👩\u200d👧!", "👩", "«👩\u200d👩\u200d👧»!"),
        ("🇩🇪🇫🇷", "🇫", "🇩🇪«🇫🇷»"),
        ("nothing of it", "else", "nothing of it"),
        ("a \0\ud800 b", "b", "a \0\ud800 «b»"),
    ],
)
def test_hits_are_marked_as_they_were_written(text, query, shown):
    assert marked(text, query) == shown


def test_a_long_text_is_cut_around_its_hits_between_words():
    text = "Once upon a time there was nothing. " * 20 + "The needle is here. " + "And so on. " * 50

    shown = marked(text, "needle")

    assert shown.startswith("…")
    assert " The «needle» is here. And so on." in shown
    assert shown.endswith("…")
    assert set(shown.strip("…").split()) - {"«needle»"} <= set(text.split())


def test_what_stands_together_is_shown_rather_than_what_stands_first():
    text = "lasso " + "and so on " * 60 + "ridge or lasso? " + "and so on " * 60

    assert "«ridge» or «lasso»?" in marked(text, "lasso ridge")


def test_a_text_without_spaces_is_cut_between_characters():
    shown = marked("e\u0301" * 500 + "中" + "e\u0301" * 500, "中")

    before, after = shown.strip("…").split("«中»")
    assert before == "e\u0301" * (len(before) // 2)
    assert after == "e\u0301" * (len(after) // 2)


def test_a_long_hit_is_marked_as_far_as_it_is_shown():
    pieces = snippet("x" * 1000 + " end", parse("x" * 1000))

    assert pieces == (("x" * (LONGEST - 2), True), ("…", False))


WORDS = st.sampled_from(
    [*"abC中文が한👍🏽🇩🇪é+_", "ridge", "Ridge-", "x_train", "regress", "regression", "ß", "ss", "ﬁ"]
)
SPACES = st.sampled_from(["", " ", "  ", "\n\t", "-", ".", "\u00ad", "\u200d", "\u0301", "\0"])
TEXTS = st.lists(st.tuples(WORDS, SPACES), max_size=120).map(
    lambda parts: "".join(word + space for word, space in parts)
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(TEXTS, st.lists(WORDS, min_size=1, max_size=3).map(" ".join), st.booleans())
@example("a" * 1000, "a", False)
@example("a\u0301" + "\u0301" * 1000, "a", False)
def test_a_snippet_is_a_short_part_of_the_text_on_one_line(text, query, phrase):
    try:
        terms = parse(f'"{query}"' if phrase else query)
    except SettingsError:
        return
    pieces = snippet(text, terms)
    whole = "".join(piece for piece, _ in pieces)
    flat = " ".join(text.split())

    assert len(whole) <= LONGEST
    assert "\n" not in whole
    assert whole.strip("…") in flat
    assert whole.startswith("…") or flat.startswith(whole.strip("…"))
    assert whole.endswith("…") or flat.endswith(whole.strip("…"))
    assert all(piece for piece, _ in pieces)
    assert all(one[1] != other[1] for one, other in itertools.pairwise(pieces))
    found = [any(True for _ in term.starts(tokens(text))) for term in terms]
    assert any(hit for _, hit in pieces) == any(found)
