"""Which names a session may have, and the values around sessions."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.session import (
    MAX_ID_LENGTH,
    SessionPage,
    not_found,
    taken,
    valid_session_id,
)
from dexto_magic.errors import (
    InvalidSessionIdError,
    SessionExistsError,
    SessionNotFoundError,
)
from tests.support.views import session

steady = settings(derandomize=True, deadline=None, max_examples=200)

any_text = st.text(st.characters(exclude_categories=()), max_size=2 * MAX_ID_LENGTH)

NAMES = {
    "plain": "user-sarah-2024",
    "spaces within": "my first session",
    "punctuation": "a/b:c*d?e[f]%g_h\\i'j\"k<l>|m",
    "path": "../../etc/passwd",
    "option": "--yes",
    "Latin": "Größe naïve Łódź",
    "Greek and Cyrillic": "Ανάλυση анализ",
    "Arabic": "تحليل البيانات",
    "Hebrew with points": "שָׁלוֹם",
    "Persian with a joiner": "می\u200cخواهم",
    "Malayalam with a joiner at the end": "അവന്\u200d",
    "Hindi": "डेटा विश्लेषण",
    "Thai": "การวิเคราะห์",
    "Chinese": "数据分析",
    "Japanese": "データ分析",
    "Korean": "데이터 분석",
    "emoji with joiners": "👩\u200d🔬 🏳️\u200d🌈",
    "beyond the first plane": "𝔡𝔞𝔱𝔞 𒀭",
    "one character": "x",
    "as long as can be": "長" * MAX_ID_LENGTH,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_may_be_of_any_script(name):
    assert valid_session_id(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
        ("\u212b", "\u00c5"),
        ("e\u0301" * MAX_ID_LENGTH, "é" * MAX_ID_LENGTH),
    ],
)
def test_names_that_look_the_same_are_the_same(typed, kept):
    assert valid_session_id(typed) == kept


REFUSED = {
    "empty": ("", "cannot be empty"),
    "blank": ("   ", "begins or ends with white space"),
    "space before": (" eda", "' eda' begins or ends with white space"),
    "space after": ("eda ", "'eda ' begins or ends with white space"),
    "new line after": ("eda\n", r"'eda\\n' begins or ends"),
    "wide space after": ("eda\u3000", r"'eda\\u3000' begins or ends"),
    "new line": ("a\nb", r"'a\\nb' holds U\+000A \(a control character\) as character 2"),
    "nul": ("a\x00b", r"U\+0000"),
    "escape": ("a\x1b[31mb", r"U\+001B"),
    "8-bit control": ("a\x9bb", r"U\+009B"),
    "lone surrogate": ("a\ud800b", r"U\+D800"),
    "no-break space": ("a\u00a0b", r"U\+00A0 \(NO-BREAK SPACE\) as character 2"),
    "zero-width space": ("a\u200bb", r"U\+200B \(ZERO WIDTH SPACE\)"),
    "override": ("a\u202eb", r"U\+202E \(RIGHT-TO-LEFT OVERRIDE\)"),
    "byte order mark": ("\ufeffab", r"U\+FEFF \(.*\) as character 1"),
    "line separator": ("a\u2028b", r"U\+2028 \(LINE SEPARATOR\)"),
    "private use": ("a\ue000b", r"U\+E000"),
    "too long": ("x" * (MAX_ID_LENGTH + 1), r"'xxxxxxxxxxxxxxxxxxxx…' has 129 characters"),
    "longer when composed": ("\u0958" * 65, "has 130 characters"),
}


@pytest.mark.parametrize(("name", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_name_is_shown_with_the_part_that_is_wrong(name, words):
    with pytest.raises(InvalidSessionIdError, match=words) as caught:
        valid_session_id(name)
    assert caught.value.session_id == name
    assert "1 to 128 printable characters of any script" in str(caught.value)


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d", "\u200d\u200c\u200d"])
def test_a_name_that_nobody_can_see_is_refused(joiner):
    """Joiners are part of a word's spelling, but no word."""
    with pytest.raises(InvalidSessionIdError):
        valid_session_id(joiner)


@pytest.mark.parametrize("name", [None, 5, b"eda", ["eda"], 1.5])
def test_what_is_no_text_cannot_be_a_name(name):
    with pytest.raises(InvalidSessionIdError, match=f"not {type(name).__name__}") as caught:
        valid_session_id(name)
    assert caught.value.session_id == repr(name)


def test_a_refused_name_is_a_value_error_for_those_who_know_no_other():
    with pytest.raises(ValueError, match="cannot be empty"):
        valid_session_id("")


@steady
@given(any_text)
def test_a_name_is_kept_as_it_is_or_refused_in_words_that_can_be_printed(text):
    try:
        name = valid_session_id(text)
    except InvalidSessionIdError as error:
        words = str(error).replace("\u200c", "").replace("\u200d", "")
        assert words.isprintable()
    else:
        assert valid_session_id(name) == name == unicodedata.normalize("NFC", text)
        assert 1 <= len(name) <= MAX_ID_LENGTH
        assert name.strip() == name
        assert name.replace("\u200c", "").replace("\u200d", "").isprintable()
        name.encode()  # so it can be sent, shown and written anywhere


@steady
@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40))
def test_no_letter_number_sign_or_symbol_is_refused(text):
    assert valid_session_id(text) == unicodedata.normalize("NFC", text)


# -- values around sessions ------------------------------------------------------------------------


def test_a_page_is_a_sequence_of_its_sessions():
    sessions = tuple(session(name) for name in ("a", "b", "c"))
    page = SessionPage(sessions=sessions, cursor="next")
    assert len(page) == 3
    assert list(page) == list(sessions)
    assert page[0] == page[-3] == sessions[0]
    assert page[1:] == sessions[1:]
    assert sessions[2] in page
    assert not SessionPage(sessions=(), cursor=None)


def test_a_name_that_is_not_there_is_named_with_those_that_look_like_it():
    error = not_found("edda", ["eda", "edda-2"])
    assert isinstance(error, SessionNotFoundError)
    assert str(error) == "There is no session 'edda'. Did you mean 'eda' or 'edda-2'?"
    assert (error.session_id, error.close_matches) == ("edda", ("eda", "edda-2"))
    assert str(not_found("edda")) == (
        "There is no session 'edda'. `%dexto sessions` lists those that there are."
    )


def test_a_name_that_is_taken_is_named_with_the_ways_on():
    error = taken("eda")
    assert isinstance(error, SessionExistsError)
    assert error.session_id == "eda"
    assert "'eda'" in str(error)
    assert "get_or_create_session" in str(error)
