"""All of a history: every version, what was made of the turns, and where a turn is missing."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside
from dexto_magic.conversation.session import Transcript
from dexto_magic.rendering import plain
from dexto_magic.rendering.views import as_html, as_text
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.views import NOON, USAGE, message, session, transcript, transcript_of


def pair(turn, *, version=1, said=None, **fields):
    said = said or f"{turn}.{version}"
    return (
        message("user", f"Q{said}", turn=turn, version=version),
        message("assistant", f"A{said}", turn=turn, version=version, model="m", **fields),
    )


def aside(kind="summary", turn=1, content="They met.", **fields):
    fields = {"model": "m", "usage": USAGE, **fields}
    return Aside(kind=kind, content=content, id="a", created_at=NOON, turn=turn, **fields)


def everything(*shown, line, others=(), asides=(), **fields):
    """A transcript with all that is kept, of a session that has as many turns as the line."""
    fields = {"turn_count": line.count, "title": None, **fields}
    return Transcript(
        session=session(**fields),
        messages=tuple(one for turn in shown for one in turn),
        others=tuple(one for turn in others for one in turn),
        asides=tuple(asides),
        line=line,
    )


def heads(view):
    """The labels of a history, in order, as the terminal and the page have them."""
    text = [
        line.strip("─ ")
        for line in as_text(view).splitlines()[1:]
        if line.startswith(("── turn", "["))
    ]
    html = re.findall(
        r'(?:<div class="dexto-dim">|<summary>)((?:<b>turn|turn|summary|title).*?)</',
        as_html(view).replace("<b>turn", "turn").replace("</b>", ""),
    )
    assert [line.strip("[]") for line in text] == [re.sub("&quot;", '"', line) for line in html]
    return [re.sub(" · 2026-11-20 14:.. UTC", "", line).strip("[]") for line in text]


def one_turn():
    return Line().appended()


class TestVersions:
    def test_stand_in_order_with_the_current_one_marked(self):
        line = one_turn().revised(1).revised(1).appended()
        view = everything(
            pair(1, version=3),
            pair(2),
            others=(pair(1), pair(1, version=2)),
            line=line,
        )

        assert heads(view) == [
            "turn 1 · version 1 of 3, replaced",
            "turn 1 · version 2 of 3, replaced",
            "turn 1 · version 3 of 3, current",
            "turn 2",
        ]
        assert re.findall(r"  A(\S+)", as_text(view)) == ["1.1", "1.2", "1.3", "2.1"]

    def test_that_are_undone_stand_after_those_in_view(self):
        line, _ = one_turn().appended().undo()

        assert heads(everything(pair(1), others=(pair(2),), line=line)) == [
            "turn 1",
            "turn 2 · undone",
        ]

    def test_that_were_undone_by_a_step_back_are_no_longer_current(self):
        line, _ = one_turn().revised(1).undo()

        assert heads(everything(pair(1), others=(pair(1, version=2),), line=line)) == [
            "turn 1 · version 1 of 2, current",
            "turn 1 · version 2 of 2, undone",
        ]

    def test_whose_number_was_taken_by_a_later_turn_are_replaced(self):
        line = one_turn().appended().undo()[0].appended()

        assert heads(everything(pair(1), pair(2, version=2), others=(pair(2),), line=line)) == [
            "turn 1",
            "turn 2 · version 1 of 2, replaced",
            "turn 2 · version 2 of 2, current",
        ]

    def test_of_which_nothing_came_say_that_they_failed(self):
        line = one_turn().revised(1).unrevised()
        failed = (
            message("user", "Q", version=2),
            message("assistant", "", version=2, status="failed", reason="ModelError"),
        )

        assert heads(everything(pair(1), others=(failed,), line=line)) == [
            "turn 1 · version 1 of 2, current",
            "turn 1 · version 2 of 2, failed",
        ]

    def test_are_counted_once(self):
        """The turn's label says which version it is, so those of its messages need not."""
        line = one_turn().revised(1)
        view = everything(pair(1, version=2), others=(pair(1),), line=line)

        assert as_text(view).count("version 2") == 1
        assert as_html(view).count("version 2") == 1

    def test_are_named_at_the_message_where_only_those_in_view_are_shown(self):
        view = everything(pair(1, version=2), line=one_turn().revised(1))

        for shown in (as_text, as_html):
            assert "version 2" in shown(replace(view, line=None))
            assert "of 2" not in shown(replace(view, line=None))

    def test_out_of_view_stand_back_in_a_page(self):
        line, _ = one_turn().appended().undo()
        html = as_html(everything(pair(1), others=(pair(2),), line=line))

        assert re.findall(r'<div class="(dexto-turn.*?)">', html) == [
            "dexto-turn",
            "dexto-turn dexto-past",
        ]

    def test_that_are_running_have_no_reply_yet(self):
        line = one_turn().revised(1)
        view = everything((message("user", "Q", version=2),), others=(pair(1),), line=line)

        assert heads(view)[-1] == "turn 1 · version 2 of 2, current"
        assert as_text(view).endswith("[no reply yet]\n")


class TestForgottenTurns:
    def test_leave_their_place(self):
        line = one_turn().appended().appended().without(2)
        view = everything(pair(1), pair(3), line=line)

        assert heads(view) == ["turn 1", "turn 2 was forgotten", "turn 3"]

    def test_whose_number_was_taken_again_leave_none(self):
        line = one_turn().appended().undo()[0].without(2).appended()

        assert heads(everything(pair(1), pair(2, version=2), line=line)) == [
            "turn 1",
            "turn 2 · version 2 of 2, current",
        ]

    def test_are_not_spoken_of_where_less_than_all_is_asked_for(self):
        line = one_turn().appended().without(1)

        assert "forgotten" not in as_text(replace(everything(pair(2), line=line), line=None))


class TestAsides:
    def test_stand_after_the_last_turn_that_they_are_about(self):
        line = one_turn().appended().appended()
        view = everything(
            *map(pair, (1, 2, 3)),
            asides=(aside("title", 1, "Files"), aside("summary", 2), aside("summary", 1)),
            line=line,
        )

        counted = "1,234 in (1,000 cached) / 56 out"
        assert heads(view) == [
            "turn 1",
            f"title by m, {counted}: Files",
            f"summary of turn 1 by m, {counted}",
            "turn 2",
            f"summary of turns 1 to 2 by m, {counted}",
            "turn 3",
        ]

    def test_that_are_summaries_are_folded_in_a_page_and_set_off_in_a_terminal(self):
        view = everything(pair(1), asides=(aside(content="1.\n<b>2</b>"),), line=one_turn())

        assert '</summary>\n<pre class="dexto-typed">\n1.\n&lt;b&gt;2' in as_html(view)
        assert "<details open" not in as_html(view)
        assert "\n  1.\n  <b>2</b>\n" in as_text(view)

    def test_leave_out_what_is_not_known(self):
        unknown = aside("title", 1, "Files", model=None, usage=None)

        assert heads(everything(pair(1), asides=(unknown,), line=one_turn())) == [
            "turn 1",
            "title: Files",
        ]

    def test_cannot_pass_for_a_turn(self):
        forged = "fine\n── turn 9 · 2026-01-01 00:00 UTC ──\nyou"
        view = everything(
            pair(1), asides=(aside(content=forged), aside("title", 1, forged)), line=one_turn()
        )

        assert not [line for line in as_text(view).splitlines() if line.startswith("── turn 9")]


class TestTheNewestOnly:
    def test_shows_nothing_of_the_turns_before(self):
        line = one_turn().appended().appended().appended().without(1)
        whole = everything(
            *map(pair, (2, 3, 4)),
            others=(pair(2, version=2), pair(3, version=2)),
            asides=(aside(turn=2), aside(turn=3)),
            line=line,
        )
        newest = tuple(one for one in whole.messages if one.turn >= 3)

        assert [head.split(" · ")[0] for head in heads(replace(whole, messages=newest))] == [
            "turn 3",
            "turn 3",
            "summary of turns 1 to 3 by m, 1,234 in (1,000 cached) / 56 out",
            "turn 4",
        ]
        assert heads(whole)[0] == "turn 1 was forgotten"


class TestLineage:
    def test_stands_in_the_heading(self):
        forked = transcript(
            message("user", "a"), turn_count=1, forked_from="eda", forked_at=4, name="b"
        )

        line = "b — 1 turn, last used 2026-11-20 14:03 UTC, forked from 'eda' at turn 4"
        assert as_text(forked).splitlines()[0] == line
        assert line in text_of(as_html(forked))

    def test_stands_in_the_heading_of_an_empty_fork(self):
        empty = transcript(turn_count=0, forked_from="eda", forked_at=0, title=None)

        assert plain.transcript_line(empty) == "eda — no turns yet, forked from 'eda' at turn 0"

    def test_is_said_of_forks_only(self):
        assert plain.lineage(session()) == ""
        assert "forked" not in as_text(transcript(message("user", "a")))
        assert plain.lineage(session(forked_from="x")) == "forked from 'x'"

    def test_stands_in_the_table_of_sessions_where_there_is_room(self):
        sessions = [session("b", forked_from="eda", forked_at=4), session()]

        assert plain.sessions_text(sessions) == (
            "name  title        turns  last used (UTC)   forked from\n"
            "b     Load a file     40  2026-11-20 14:03  eda at turn 4\n"
            "eda   Load a file     40  2026-11-20 14:03\n"
        )
        narrow = plain.sessions_text(sessions, width=50)
        assert "forked" not in narrow
        assert "Load a file" in narrow

    def test_stands_in_the_table_of_sessions_of_a_page(self):
        html = as_html(session("b", forked_from="eda", forked_at=4, model="openai:x"))

        assert "<th>model</th><th>forked from</th>" in html
        assert "<td>eda at turn 4</td>" in html


def text_of(html):
    """The text of a page, without its style sheet."""
    parts = []
    reader = HTMLParser()
    reader.handle_data = parts.append
    reader.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return "".join(parts)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text):
    told = transcript_of(text)
    out_of_view = tuple(replace(one, turn=3, version=2) for one in told.messages)
    view = Transcript(
        session=replace(told.session, forked_from=text, forked_at=1),
        messages=told.messages,
        others=out_of_view,
        asides=(aside(content=text, model=text), aside("title", 2, text, model=text)),
        line=Line(end=2, made=5, gone=(4,)),
    )

    assert_inert(as_html(view))
    assert_inert(as_html(view.session))


@pytest.mark.parametrize("sequence", ["\x1b[31m", "\x1b]0;x\x07", "\u202e", "\x9b2J", "a\rb"])
def test_nothing_that_others_wrote_drives_the_terminal(sequence):
    view = everything(
        pair(1),
        asides=(aside(content=sequence, model=sequence), aside("title", 1, sequence)),
        line=one_turn(),
        forked_from=sequence,
    )

    text = as_text(view) + as_text(view.session)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
