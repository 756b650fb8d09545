"""Text is compared as people mean it, in any script."""

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.search.folding import LONGEST, folded, placed, tokens, words

ANY_TEXT = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "aÀéßıİſΣςﬁ½²…_-.*\"' \n\0\ud800\u00ad\u200b\u200d\ufe0f\u0301\u0323\u0338"
        ),
        st.sampled_from("中文がか\u3099ﾞｶ한ㄱ가\u1100\u1161\u11a8ไทยကမ្ពुِّـשּׁ🎉👍🏽🇩🇪∑≠+"),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("İstanbul ılık", "istanbul ilik"),
        ("ISPARTA", "ısparta"),
        ("ΟΔΥΣΣΕΥΣ", "Οδυσσεύς"),
        ("Tiếng Việt, Đà Nẵng", "tieng viet da nang"),
        ("a\u0323\u0301", "a\u0301\u0323"),
        ("Łódź, Ærø, Œuvre, Þór", "lodz aero oeuvre thor"),
        ("ﬁnal ｗｉｄｅ ①", "final wide 1"),
        ("x² + H₂O", "x2 + h2o"),
        ("مُحَمَّد", "محمد"),
        ("أحمد إلى آخر", "احمد الي اخر"),
        ("می\u200cخواهم کتاب", "ميخواهم كتاب"),
        ("كـــتاب", "كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("١٢٣ ४५", "123 45"),
        ("ﾃﾞｰﾀ", "データ"),
        ("か\u3099", "が"),
        ("\u1112\u1161\u11ab", "한"),
        ("Zu\u00adsammen", "zusammen"),
        ("❤\ufe0f 👍🏽", "❤ 👍"),
        ("don’t", "don't"),
    ],
)
def test_the_same_however_it_was_typed(one, other):
    assert tokens(one) == tokens(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("が", "か"),
        ("कुल", "कल"),
        ("≠", "="),
        ("ก่", "ก"),
        ("x_train", "x train"),
        ("C++", "C"),
        ("C#", "C"),
        ("∑", "∏"),
        ("🎉", "🎂"),
    ],
)
def test_other_things_stay_apart(one, other):
    assert tokens(one) != tokens(other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x_train df.head() C++", ["x", "_", "train", "df", "head", "c", "+", "+"]),
        ("用Python写 3 行", ["用", "python", "写", "3", "行"]),
        ("한국어는", ["한", "국", "어", "는"]),
        ("👩\u200d👩\u200d👧 🇩🇪", ["👩", "👩", "👧", "🇩", "🇪"]),
        ("**bold**, `code` — a|b", ["bold", "code", "a", "|", "b"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("a\0b\ud800c\u200bd", ["a", "b", "c", "d"]),
        ("... !?", []),
        ("", []),
    ],
)
def test_words_and_signs_are_tokens(text, found):
    assert tokens(text) == found


def test_a_long_word_is_cut_into_tokens():
    assert [len(token) for token in tokens("a" * 150)] == [LONGEST, LONGEST, 150 - 2 * LONGEST]


def test_every_character_folds_to_what_folds_to_itself():
    for code in range(0x32400):  # whatever has a name, but for tags and selectors
        once = folded(chr(code))
        assert tokens(once) == once.split(), hex(code)


@settings(derandomize=True, deadline=None)
@given(ANY_TEXT, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_forms_of_the_same_text_fold_alike(text, form):
    assert tokens(unicodedata.normalize(form, text)) == tokens(text)


@settings(derandomize=True, deadline=None)
@given(ANY_TEXT)
def test_places_are_those_of_the_tokens(text):
    places = placed(text)

    assert [place.token for place in places] == tokens(text)
    assert all(0 <= place.start < place.end <= len(text) for place in places)
    assert all(one.start <= other.start for one, other in itertools.pairwise(places))
    for place in places:
        assert place.token in "".join(tokens(text[place.start : place.end]))


@settings(derandomize=True, deadline=None)
@given(ANY_TEXT)
def test_no_token_reaches_over_white_space(text):
    assert [token for _, _, found in words(text) for token in found] == tokens(text)


@settings(derandomize=True, deadline=None)
@given(ANY_TEXT)
def test_tokens_are_what_sqlite_takes_for_tokens(text):
    for token in tokens(text):
        assert token.encode()  # no surrogates
        assert not set(token) & set("\"'*^():{}-. \t\n\0")
        assert token.isascii() is False or token.isalnum() or token in "$+<=>|~_#%&@"
