"""What would be sent, as people see it: how full it is, of what, and what is left out."""

import re
from dataclasses import replace

import pytest

from dexto_magic.conversation.context import ContextReport
from dexto_magic.rendering.views import as_html, as_text
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert

REPORT = ContextReport(
    session="eda",
    model="openai:gpt-4o-mini",
    window=128_000,
    budget=32_000,
    used=12_345,
    turns=40,
    sent=12,
    summarised=28,
    summary="They met.\n$x$ <b>",
    lines=("`%dexto compact` summarises now.",),
)


def facts(report):
    """The names and values of a page, which the terminal has, too."""
    pairs = dict(re.findall("<tr><th>(.*?)</th><td>(.*?)</td></tr>", as_html(report)))
    for name, value in pairs.items():
        assert re.search(rf"^{name} +{re.escape(value)}$", as_text(report), re.MULTILINE)
    return pairs


class TestContext:
    def test_is_told_in_a_terminal(self):
        assert as_text(REPORT, width=60) == (
            "session    eda\n"
            "model      openai:gpt-4o-mini\n"
            "window     128,000 tokens\n"
            "budget     32,000 tokens\n"
            "in use     12,345 tokens, estimated\n"
            "when full  older turns are summarised (compact)\n"
            "sent       the last 12 of 40 turns and a summary of turns 1 to 28\n"
            "\n"
            "████████████████░░░░░░░░░░░░░░░░░░░░░░░░ 38 % full\n"
            "\n"
            "summary of turns 1 to 28\n"
            "  They met.\n"
            "  $x$ <b>\n"
            "\n"
            "`%dexto compact` summarises now.\n"
        )

    def test_is_told_in_a_page(self):
        html = as_html(REPORT)

        assert len(facts(REPORT)) == 7
        assert 'role="img" aria-label="38 % full"' in html
        assert '<div class="dexto-dim">38 % full</div>' in html
        assert "<summary>summary of turns 1 to 28</summary>" in html
        assert "<div><code>%dexto compact</code> summarises now.</div>" in html

    def test_fits_a_narrow_terminal(self):
        assert "\n████████░░░░░░░░░░░ 38 % full\n" in as_text(REPORT, width=29)

    @pytest.mark.parametrize(
        ("window", "budget", "share"),
        [
            (10_000, None, "50 % full"),
            (10_000, 6_000, "83 % full"),
            (10_000, 50_000, "50 % full"),
            (None, 5_001, "99 % full"),
            (None, 5_000, "100 % full"),
            (4_000, None, "125 % full"),
        ],
    )
    def test_is_as_full_as_the_smaller_bound_says(self, window, budget, share):
        report = replace(REPORT, window=window, budget=budget, used=5_000)

        assert share in as_text(report)
        assert share in as_html(report)

    def test_has_no_bar_where_nothing_bounds_it(self):
        report = replace(REPORT, window=None, budget=None)

        assert (facts(report)["window"], facts(report)["budget"]) == ("not known", "none")
        assert "full" not in as_text(report).replace("when full", "")
        assert "<svg" not in as_html(report)

    def test_says_whether_somebody_counted(self):
        assert facts(REPORT)["in use"] == "12,345 tokens, estimated"
        assert facts(replace(REPORT, is_reported=True))["in use"] == "12,345 tokens, reported"

    @pytest.mark.parametrize(
        ("turns", "sent", "summarised", "words"),
        [
            (0, 0, None, "no turns yet"),
            (1, 1, None, "1 turn"),
            (40, 40, None, "40 turns"),
            (40, 12, None, "the last 12 of 40 turns"),
            (40, 12, 28, "the last 12 of 40 turns and a summary of turns 1 to 28"),
        ],
    )
    def test_says_which_turns_would_be_sent(self, turns, sent, summarised, words):
        report = replace(REPORT, turns=turns, sent=sent, summarised=summarised, summary="")

        assert facts(report)["sent"] == words
        assert "<details>" not in as_html(report)

    @pytest.mark.parametrize("overflow", ["compact", "trim", "error"])
    def test_says_what_is_done_when_it_is_full(self, overflow):
        assert facts(replace(REPORT, overflow=overflow))["when full"].endswith(f"({overflow})")

    def test_colours_nothing_but_a_label(self):
        colored = as_text(REPORT, color=True)

        assert re.sub(r"\x1b\[\d+m", "", colored) == as_text(REPORT)
        assert "\x1b[2msummary of turns 1 to 28\x1b[0m" in colored


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text):
    assert_inert(
        as_html(replace(REPORT, session=text, model=text, summary=text, lines=(text, text)))
    )


@pytest.mark.parametrize("sequence", ["\x1b[31m", "\u202e", "\x9b2J", "a\rb"])
def test_nothing_that_others_wrote_drives_the_terminal(sequence):
    text = as_text(
        replace(REPORT, session=sequence, model=sequence, summary=sequence, lines=(sequence,))
    )

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
