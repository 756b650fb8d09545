"""Views as HTML: they show what the plain ones say, and nothing in them can act."""

import re
from html.parser import HTMLParser

import pytest

from dexto_magic.rendering import plain
from dexto_magic.rendering.html import (
    facts_html,
    lines_html,
    reply_html,
    sessions_html,
    text_html,
    transcript_html,
)
from dexto_magic.rendering.markdown import CODE_STYLE, to_html
from dexto_magic.rendering.results import Facts, SessionTable
from dexto_magic.rendering.views import as_html
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.views import (
    USAGE,
    attachment,
    message,
    session,
    transcript,
    transcript_of,
)


def text_of(html):
    """The text of a view, without its style sheet."""
    parts = []
    reader = HTMLParser()
    reader.handle_data = parts.append
    reader.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    reader.close()
    return "".join(parts)


class TestReply:
    def test_stands_in_order_and_each_part_on_its_line(self):
        html = reply_html(
            to_html("Hi **you**."),
            notices=["joined 'eda'"],
            reasoning="1 < 2",
            mark="cut short: interrupted",
            line="eda · turn 3",
        )

        assert html.startswith('<div class="dexto">\n<style>\n')
        assert html[html.index("</style>") :].splitlines() == [
            "</style>",
            '<div class="dexto-dim">joined &#x27;eda&#x27;</div>',
            "<details><summary>reasoning</summary>",
            '<pre class="dexto-typed">',
            "1 &lt; 2</pre>",
            "</details>",
            "<div>",
            "<p>Hi <strong>you</strong>.</p>",
            "</div>",
            '<div class="dexto-mark">⚠ cut short: interrupted</div>',
            '<div class="dexto-dim">eda · turn 3</div>',
            "</div>",
        ]

    def test_has_no_empty_parts(self):
        assert reply_html("").endswith("</style>\n\n</div>\n")

    def test_brings_the_colours_of_code_only_with_code(self):
        assert CODE_STYLE in reply_html(to_html("```\nx\n```"))
        assert CODE_STYLE not in reply_html(to_html("`x`"))

    def test_that_cannot_be_rendered_is_its_text(self):
        html = reply_html(text_html("\n*a* <b> $x$"), line="eda")

        assert '<div>\n<pre class="dexto-typed">\n\n*a* &lt;b&gt; $x$</pre>\n</div>' in html
        assert reply_html(text_html("")) == reply_html("")


class TestTranscript:
    def test_shows_what_was_typed_as_it_was_typed(self):
        typed = "\n*How* is\n  <this> $x$?"

        html = transcript_html(transcript(message("user", typed)))

        assert '<div class="dexto-you">' in html
        assert (
            f'<pre class="dexto-typed">\n{typed.replace("<", "&lt;").replace(">", "&gt;")}</pre>'
            in html
        )

    def test_shows_what_was_answered_as_markdown(self):
        html = transcript_html(transcript(message("assistant", "*So*:\n\n- $x_1$")))

        assert "<p><em>So</em>:</p>\n<ul>\n<li><span>$x_1$</span></li>\n</ul>" in html

    def test_says_who_when_and_for_how_much(self):
        text = text_of(
            transcript_html(
                transcript(
                    message("user", "a", turn=40, attachments=(attachment(),)),
                    message("assistant", "b", turn=40, usage=USAGE, model="m", duration=2.1),
                )
            )
        )

        for words in (
            "eda — 1 of 40 turns, last used 2026-11-20 14:03 UTC",
            "Load a file",
            "turn 40 · 2026-11-20 14:43 UTC",
            "attached: data.csv (text/csv, 12,345 bytes)",
            "m · 1,234 in (1,000 cached) / 56 out · 2.1 s",
        ):
            assert words in text

    @pytest.mark.parametrize(
        "fields",
        [
            {"content": "part", "status": "stopped", "reason": "interrupted"},
            {"content": "", "status": "failed", "reason": "ModelRateLimitError"},
        ],
    )
    def test_marks_what_did_not_end_well(self, fields):
        unwell = message("assistant", **fields)

        assert f'<div class="dexto-mark">⚠ {plain.mark(unwell)}</div>' in transcript_html(
            transcript(unwell)
        )
        assert (
            "dexto-mark"
            not in transcript_html(transcript(message("assistant", "well"))).split("</style>")[1]
        )

    def test_names_who_speaks_where_a_page_drops_styles(self):
        html = transcript_html(transcript(message("user", "a"), message("assistant", "b")))

        assert re.findall("<b>(.*?)</b>", html) == ["Load a file", "turn 1", "you", "assistant"]

    def test_does_not_say_the_first_question_twice(self):
        asked = message("user", "Load  a\nfile")

        assert "<b>Load a file</b>" not in transcript_html(transcript(asked))
        assert "<b>Mine</b>" in transcript_html(transcript(asked, title="Mine"))

    def test_keeps_reasoning_and_tools_folded(self):
        html = transcript_html(transcript_of("words"))

        assert html.count("<details>") == 3
        assert "<details open" not in html

    def test_says_that_there_is_nothing_yet(self):
        assert "eda — no turns yet" in transcript_html(transcript(turn_count=0))
        assert "no reply yet" in transcript_html(transcript(message("user", "a")))


class TestTables:
    def test_of_sessions_say_what_the_plain_one_says(self):
        html = sessions_html([session(model="openai:x"), session("b", title=None)], current="b")

        assert re.findall(r"<t[hd]>(.*?)</t[hd]>", html) == [
            *plain.SESSION_COLUMNS[:5],
            *("eda", "Load a file", "40", "2026-11-20 14:03", "openai:x"),
            *("<b>b</b> (current)", "", "40", "2026-11-20 14:03", ""),
        ]

    def test_of_sessions_have_no_column_for_models_where_none_has_its_own(self):
        assert "<th>model</th>" not in sessions_html([session(), session("b")])

    def test_of_no_sessions_say_what_to_do(self):
        assert plain.NO_SESSIONS in text_of(sessions_html([]))

    def test_of_facts_pair_names_and_values(self):
        assert "<tr><th>a</th><td>1 &lt; 2</td></tr>" in facts_html([("a", "1 < 2")])

    def test_what_is_to_be_typed_is_code_in_our_own_lines(self):
        assert "<div>try <code>%dexto &lt;b&gt;</code>!</div>" in lines_html(["try `%dexto <b>`!"])
        assert "<code>%dexto use last</code>" in reply_html("", notices=["`%dexto use last`"])

    @pytest.mark.parametrize("text", ["use `x` and $y$", "a`b`c", "``", "`% dexto`", "`dexto`"])
    def test_backticks_in_what_others_wrote_are_shown_as_they_are(self, text):
        for html in (
            lines_html([text]),
            reply_html("", notices=[text]),
            facts_html([(text, text)]),
            reply_html("", line=text, to_type="%dexto"),
        ):
            assert "<code>" not in html.replace("<code>%dexto</code>", "")
            assert text in text_of(html)

    def test_nothing_in_the_line_below_a_reply_is_code(self):
        """It names a session and a model."""
        html = reply_html("", line="`%dexto x` · turn 1")

        assert '<div class="dexto-dim">`%dexto x` · turn 1</div>' in html

    def test_what_to_type_ends_the_line_below_a_reply_whatever_is_in_it(self):
        html = reply_html("", line="go on:", to_type="%dexto use 'a`b'")

        assert "go on: <code>%dexto use &#x27;a`b&#x27;</code></div>" in html

    @pytest.mark.parametrize(
        "value",
        [
            SessionTable((session(),), more=True),
            SessionTable((), more=True),
            Facts((("a", "b"),), ("`%dexto help` lists the verbs.",)),
        ],
        ids=["sessions", "no sessions", "facts"],
    )
    def test_with_a_line_below_are_one_piece_with_one_style_sheet(self, value):
        html = as_html(value)

        assert html.count("<style>") == html.count('<div class="dexto">') == 1
        assert ("There are more" in text_of(html)) == isinstance(value, SessionTable)
        assert ("<code>%dexto help</code> lists" in html) == isinstance(value, Facts)

    def test_lines_stand_one_by_one(self):
        assert "<div>a</div>\n<div>b</div>" in lines_html(["a", "b"])


def test_money_in_our_own_lines_is_no_formula():
    html = reply_html("", notices=["$5 and $10, \\(x\\)"], line="$a$", mark="$b$")

    assert not re.search(r"\$[^<]+\$|\\\(", html)
    assert "$5 and $10, \\(x\\)" in text_of(html)


@pytest.mark.parametrize("text", HOSTILE)
class TestHostileText:
    def test_in_a_history_is_inert(self, text):
        assert_inert(transcript_html(transcript_of(text)))

    def test_in_a_reply_is_inert(self, text):
        assert_inert(
            reply_html(to_html(text), notices=[text, text], reasoning=text, mark=text, line=text)
        )

    def test_as_it_is_is_inert(self, text):
        assert_inert(reply_html(text_html(text), line=text, to_type=text))

    def test_in_a_table_is_inert(self, text):
        assert_inert(sessions_html([session(text, title=text, model=text)], current=text))
        assert_inert(facts_html([(text, text)], lines=[text]))
        assert_inert(lines_html([text]))
