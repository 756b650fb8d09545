"""Where tokens went, as people see it: every number in a table, and a chart that says what it is."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from wcwidth import wcswidth

from dexto_magic.conversation.messages import Aside, Usage
from dexto_magic.conversation.prices import prices_of
from dexto_magic.conversation.usage import UsageReport, usage_of
from dexto_magic.rendering.usage import MOST_ROWS, money
from dexto_magic.rendering.views import as_html, as_text
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.views import NOON, USAGE, message, transcript

PRICES = prices_of({"currency": "USD", "m": {"input": 0.15, "cached": 0.075, "output": 0.6}})
HOUR = timedelta(hours=1)


def reply(turn=1, used=USAGE, *, model="m", **fields):
    fields = {"provider": "openai", **fields}
    return message("assistant", "Hi.", turn=turn, usage=used, model=model, **fields)


def aside(kind="summary", used=USAGE, *, model="m", **fields):
    fields = {"created_at": NOON, **fields}
    return Aside(kind=kind, content="…", id="a", model=model, usage=used, turn=1, **fields)


def told(*messages, others=(), asides=(), lost=None, name="eda"):
    """A transcript whose session has used what its messages took, and what it has lost."""
    total = lost or Usage()
    for item in (*messages, *others, *asides):
        total += item.usage or Usage()
    shown = transcript(*messages, name=name, usage=total)
    return replace(shown, others=others, asides=asides)


def both(*transcripts, prices=None):
    """A report as text, and as the text of a page."""
    report = usage_of(transcripts, prices=prices)
    return as_text(report, width=200), text_of(as_html(report))


def text_of(html):
    """The text of a page, without its style sheet."""
    parts = []
    reader = HTMLParser()
    reader.handle_data = parts.append
    reader.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return "".join(parts)


def rows_of(html):
    """The cells of each row of each table of a page but the one over time."""
    html = re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)
    return [
        [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]
        for row in re.findall(r"<tr><td.*?</tr>", html)
    ]


SESSION = told(
    reply(1, Usage(input_tokens=1234, output_tokens=56, cached_tokens=1000)),
    reply(2, None),
    reply(3, Usage(input_tokens=2000, output_tokens=70, reasoning_tokens=20), version=2),
    others=(reply(3, Usage(input_tokens=1900, output_tokens=50)),),
    asides=(
        aside("title", Usage(input_tokens=90, output_tokens=5)),
        aside("summary", Usage(input_tokens=1300, output_tokens=99), model="other"),
    ),
    lost=Usage(input_tokens=5000, output_tokens=400),
)


class TestText:
    def test_is_aligned_tables_below_a_chart(self):
        small = told(
            reply(1, Usage(input_tokens=1234, output_tokens=56, cached_tokens=1000)),
            reply(2, Usage(input_tokens=2000, output_tokens=7), created_at=NOON + 2 * HOUR),
        )

        assert as_text(usage_of([small])) == (
            "eda — 2 replies, 3,234 in (1,000 cached) / 63 out\n"
            "\n"
            "▆ █\n"
            "tokens per hour, 2026-11-20 14:00 to 2026-11-20 16:00 (UTC), at most 2,007\n"
            "\n"
            "by message\n"
            "turn  what   model     time (UTC)        input  cached  output\n"
            "   1  reply  openai:m  2026-11-20 14:04  1,234   1,000      56\n"
            "   2  reply  openai:m  2026-11-20 16:03  2,000               7\n"
            "      total                              3,234   1,000      63\n"
            "\n"
            "Cached is part of input.\n"
        )

    def test_of_sessions_is_by_session_and_by_model(self):
        two = [told(reply(1, Usage(input_tokens=5)), name="a"), told(name="語", lost=USAGE)]

        assert as_text(usage_of(two)).partition("by session\n")[2] == (
            "session  requests  input  cached  output\n"
            "語                 1,234   1,000      56\n"
            "a               1      5               0\n"
            "total           1  1,239   1,000      56\n"
            "\n"
            "by model\n"
            "model           requests  input  cached  output\n"
            "openai:m               1      5               0\n"
            "no longer kept            1,234   1,000      56\n"
            "total                  1  1,239   1,000      56\n"
            "\n"
            "Cached is part of input.\n"
            "No longer kept: tokens of turns that were taken away by a reset or by `%dexto forget`;"
            " not in the chart.\n"
            "Sessions that were deleted are not counted.\n"
        )

    @pytest.mark.parametrize("width", [40, 60, 80, 120])
    @pytest.mark.parametrize("character", ["x", "語", "e\u0301"])
    def test_tables_fit_the_terminal(self, width, character):
        long = told(
            reply(1, Usage(input_tokens=10**6, output_tokens=10**5), model=character * 90),
            reply(2, Usage(input_tokens=10, reasoning_tokens=1, cached_tokens=1)),
            name=character * 100,
        )

        for sessions in ([long], [long, told()]):
            text = as_text(usage_of(sessions, prices=PRICES), width=width)
            tables = text.partition("by ")[2].partition("Cached is")[0]
            assert max(map(wcswidth, tables.splitlines())) <= width
            assert "1,000,010" in tables
            assert "100,000" in tables

    def test_shortens_a_name_before_a_column_goes(self):
        report = usage_of([told(reply(1, model="m" * 90))])

        assert "mmm…" in as_text(report, width=80)
        assert "time (UTC)" in as_text(report, width=80)
        assert "time (UTC)" not in as_text(report, width=50)

    def test_colours_nothing_but_headings_and_totals(self):
        report = usage_of([SESSION], prices=PRICES)
        colored = as_text(report, color=True)

        assert "\x1b[1mby model\x1b[0m" in colored
        assert re.search(r"\x1b\[1mtotal .*\x1b\[0m", colored)
        assert re.sub(r"\x1b\[\d+m", "", colored) == as_text(report)

    def test_of_nothing_says_so(self):
        assert as_text(UsageReport()) == "There is no session yet, and nothing was used.\n"
        assert as_text(usage_of([told()])) == "eda — nothing was asked yet\n"


class TestTables:
    def test_have_each_message_with_what_it_is(self):
        page = rows_of(as_html(usage_of([SESSION])))[-8:]

        assert [row[:4] for row in page] == [
            ["1", "reply", "openai:m", "2026-11-20 14:04"],
            ["1", "title", "m", "2026-11-20 14:03"],
            ["1", "summary", "other", "2026-11-20 14:03"],
            ["2", "reply", "openai:m", "2026-11-20 14:05"],
            ["3", "(reply)", "openai:m", "2026-11-20 14:06"],
            ["3", "version 2", "openai:m", "2026-11-20 14:06"],
            ["", "no longer kept", "", ""],
            ["", "total", "", ""],
        ]

    @pytest.mark.parametrize("sessions", [[SESSION], [SESSION, told(reply(), name="b")]])
    def test_add_up_to_their_last_row(self, sessions):
        """As somebody would who copies them into a sheet."""
        html = as_html(usage_of(sessions))
        html = re.sub("<details>.*?</details>", "", html, flags=re.DOTALL)

        tables = re.findall(r"<table.*?</table>", html, re.DOTALL)
        assert len(tables) == 3
        for table in tables:
            columns = re.findall("<th.*?>(.*?)</th>", table)
            *rows, total = rows_of(table)
            for name in ("input", "cached", "output", "reasoning"):
                index = columns.index(name)
                cells = [row[index].replace(",", "").strip("?") for row in (*rows, total)]
                *numbers, last = [int(cell or 0) for cell in cells]
                assert sum(numbers) == last > 0

    def test_are_the_same_in_a_terminal_and_in_a_page(self):
        text, page = both(SESSION, prices=PRICES)

        cells = {
            cell for row in rows_of(as_html(usage_of([SESSION], prices=PRICES))) for cell in row
        }
        assert {cell for cell in cells if cell not in text} == set()
        assert text.split("\n")[0] in page

    def test_have_columns_only_for_what_was_reported(self):
        text, page = both(told(reply(used=Usage(input_tokens=1, output_tokens=2))))

        for word in ("cached", "reasoning", "cost"):
            assert word not in text
            assert word not in page

    def test_tell_unknown_tokens_from_none(self):
        html = as_html(usage_of([told(reply(1, None), reply(2, Usage()))]))

        assert rows_of(html)[:2] == [
            ["1", "reply", "openai:m", "2026-11-20 14:04", "?", "?"],
            ["2", "reply", "openai:m", "2026-11-20 14:05", "0", "0"],
        ]
        assert "?: 1 of 2 came without a report of tokens" in text_of(html)

    def test_that_are_long_keep_their_sums(self):
        many = told(*(reply(turn, Usage(input_tokens=1)) for turn in range(1, 201)))
        sessions = [told(reply(), name=f"s{number}") for number in range(200)]

        rows = rows_of(as_html(usage_of([many])))
        assert rows[0][1:] == ["150 before", "", "", "150", "0"]
        assert len(rows) == MOST_ROWS + 2
        rows = rows_of(as_html(usage_of(sessions)))
        assert rows[MOST_ROWS] == ["150 others", "150", "185,100", "150,000", "8,400"]
        assert rows[MOST_ROWS + 1] == ["total", "200", "246,800", "200,000", "11,200"]

    def test_of_a_fork_say_what_was_paid_for_elsewhere(self):
        forked = replace(
            told(reply(1, created_at=NOON - HOUR)),
            session=replace(told().session, forked_from="a", forked_at=1),
        )

        text, page = both(forked)

        assert text == f"eda — nothing was asked yet\n\n{page.strip().splitlines()[-1]}\n"
        assert "1 that a fork took over were paid for where they were said first" in text


class TestCosts:
    def test_are_told_in_the_users_currency(self):
        text, page = both(told(reply(1, Usage(input_tokens=10**6))), prices=PRICES)

        assert text.startswith("eda — 1 reply, 1,000,000 in / 0 out, 0.150 USD\n")
        assert "≥" not in text
        assert "0.150 USD" in page

    def test_are_none_where_no_prices_are_given(self):
        text, page = both(SESSION)

        assert "USD" not in text + page
        assert "price" not in text + page

    def test_say_where_there_is_no_price(self):
        text, page = both(told(reply(), reply(2, model="x")), prices=PRICES)

        assert re.search(r"openai:x .* –\n", text)
        assert re.search(r"total .* ≥ 0.00014\n", text)
        assert "≥ 0.000144 USD" in text.splitlines()[0]
        for view in (text, page):
            assert "–: no price was given; ≥: what a part of it cost." in view

    @pytest.mark.parametrize(
        ("amount", "words"),
        [
            ("0.0123", "0.0123 USD"),
            ("0.0001851", "0.000185 USD"),
            ("1234.5", "1,234.50 USD"),
            ("0", "0.00 USD"),
            ("1.5", "1.50 USD"),
        ],
    )
    def test_have_the_figures_that_tell(self, amount, words):
        assert money(Decimal(amount), "USD") == words

    def test_of_one_table_have_their_points_below_each_other(self):
        text, _ = both(told(reply(1, Usage(input_tokens=1)), reply(2)), prices=PRICES)

        assert re.findall(r" (0\.\d+)\n", text) == ["0.000000", "0.000144", "0.000144"]
        assert "cost (USD)\n" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_inert(text):
    prices = replace(PRICES, currency=text)
    one = told(
        reply(1, model=text, provider=text), asides=(aside(model=text),), lost=USAGE, name=text
    )

    assert_inert(as_html(usage_of([one], prices=prices)))
    assert_inert(as_html(usage_of([one, told(reply(model=text), name=text)], prices=prices)))


def test_is_the_same_byte_for_byte_each_time():
    def html():
        return as_html(usage_of([SESSION, told(reply(), name="b")], prices=PRICES))

    assert html() == html()


@pytest.mark.parametrize("sequence", ["\x1b[31m", "a\nb", "\u202e", "\x9b2J"])
def test_names_cannot_drive_a_terminal(sequence):
    one = told(reply(1, model=sequence), name=sequence)

    text = as_text(usage_of([one, told(name="b")], prices=replace(PRICES, currency=sequence)))

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "a\nb" not in text
