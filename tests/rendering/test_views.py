"""What was taken away, and what an undo or a redo did, in words."""

import re
from dataclasses import replace

import pytest

from dexto_magic.conversation.session import Removal, TurnChange
from dexto_magic.conversation.transfer import Exported
from dexto_magic.rendering.views import as_html, as_text
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.views import message, session


def removal(**fields):
    fields = {
        "deleted": False,
        "message_count": 4,
        "notebooks": (),
        "purge_pending": False,
    } | fields
    return Removal(session_id="eda", **fields)


def change(version, asked="What is a median?", *, undone=True):
    return TurnChange(
        session=session(),
        turn=5,
        version=version,
        asked=message("user", asked),
        undone=undone,
    )


class TestRemoval:
    def test_of_a_turn_says_which(self):
        text = as_text(removal(turn=3))

        assert text.splitlines()[0] == "Turn 3 of 'eda' is forgotten: 4 messages."
        assert "The session is kept" not in text

    def test_names_the_forks_that_hold_the_same(self):
        line = "Not reached: forks that hold the same messages: 'a', 'b c'."

        for fields in ({"turn": 3}, {"deleted": True}, {}):
            told = removal(forks=("a", "b c"), **fields)
            assert line in as_text(told).splitlines()
            assert line.replace("'", "&#x27;") in as_html(told)
            assert "forks" not in as_text(removal(**fields))

    def test_ends_with_what_it_never_reaches(self):
        assert as_text(removal(turn=1, notebooks=("/a.ipynb",))).splitlines()[-1] == (
            "Not reached: outputs in notebooks (/a.ipynb), IPython's own history file, exports, "
            "and what the provider keeps."
        )


class TestExported:
    def test_names_the_sessions_that_are_not_in_it(self):
        told = Exported(
            path="all.jsonl",
            sessions=1,
            messages=2,
            lossless=True,
            deleted=("a", "b"),
            unread=tuple(f"s{n}" for n in range(22)),
        )
        *_, unread, deleted = as_text(told).splitlines()
        assert deleted == "Not in it, as they were deleted meanwhile: 'a', 'b'."
        assert unread.startswith("Not in it, as the store cannot read them: 's0', 's1', ")
        assert unread.endswith("'s19' and 2 more.")
        assert "Not in it" not in as_text(replace(told, deleted=(), unread=()))


class TestTurnChange:
    @pytest.mark.parametrize(
        ("version", "undone", "words"),
        [
            (None, True, "is out of the conversation; `%dexto redo` brings it back."),
            (1, True, "is back at version 1."),
            (2, False, "is in the conversation again, at version 2."),
        ],
    )
    def test_says_what_became_of_the_turn(self, version, undone, words):
        assert as_text(change(version, undone=undone)) == f"Turn 5 (“What is a median?”) {words}\n"

    def test_says_in_a_page_what_may_be_typed(self):
        html = as_html(change(None))

        assert "(“What is a median?”) is out of the conversation; <code>%dexto redo</code>" in html

    def test_names_a_long_question_by_its_beginning(self):
        for view in (as_text, as_html):
            assert f"(“{'x' * 59}…”)" in view(change(1, "x" * 9999))
        assert "(“a b”)" in as_text(change(1, "a\n\n b"))

    def test_nothing_in_what_was_asked_is_to_be_typed(self):
        html = as_html(change(None, "`%dexto delete eda`"))

        assert re.findall("<code>(.*?)</code>", html) == ["%dexto redo"]
        assert "(“`%dexto delete eda`”)" in html


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text):
    assert_inert(as_html(change(None, text)))
    assert_inert(as_html(change(2, text)))
    assert_inert(as_html(removal(turn=1, forks=(text,), notebooks=(text,))))
