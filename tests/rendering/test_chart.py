"""Small pictures: they show what the numbers say, and say in words what they show."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.messages import Usage
from dexto_magic.conversation.usage import DAY, HOUR, Point, Series
from dexto_magic.rendering.chart import (
    MOST_BARS,
    bars_html,
    bars_of,
    share_html,
    share_text,
    spark_text,
)
from tests.support.html_safety import assert_inert
from tests.support.views import NOON

DAYS = NOON.replace(hour=0, minute=0)


def usage(tokens=0, out=0, cached=None):
    return Usage(input_tokens=tokens, output_tokens=out, cached_tokens=cached)


def series(points, step=DAY):
    """Points by how many steps they are after the first day."""
    return Series(
        step=step,
        points=tuple(Point(start=DAYS + n * step, usage=used) for n, used in points.items()),
    )


def boxes(html, kind):
    """The rectangles of a kind of token: left, top, width, height."""
    path = re.search(rf'<path class="dexto-{kind}" fill="\S+" d="(.*?)">', html)
    shapes = re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)", path[1] if path else "")
    return [tuple(map(float, shape)) for shape in shapes]


def page(*args, **kwargs):
    return "\n".join(bars_html(bars_of(series(*args, **kwargs))))


class TestBars:
    def test_have_a_place_for_times_in_which_nothing_was_asked(self):
        bars = bars_of(series({0: usage(5), 3: usage(7)}))

        assert [used.total_tokens for used in bars.usages] == [5, 0, 0, 7]

    def test_stand_for_several_days_where_there_are_many(self):
        bars = bars_of(series({n: usage(1) for n in range(100)}), 60)

        assert bars.step == 2 * DAY
        assert [used.total_tokens for used in bars.usages] == [2] * 50

    def test_are_few_however_long_ago_the_first_was(self):
        bars = bars_of(series({0: usage(1), 20_000: usage(2)}))

        assert len(bars.usages) <= MOST_BARS
        assert (bars.usages[0].total_tokens, bars.usages[-1].total_tokens) == (1, 2)

    def test_are_none_where_no_tokens_are_known(self):
        assert bars_of(Series()) is None
        assert bars_of(series({0: usage()})) is None

    @settings(derandomize=True, deadline=None)
    @given(
        st.dictionaries(st.integers(0, 2000), st.builds(usage, st.integers(1, 99)), min_size=1),
        st.integers(1, 60),
        st.sampled_from([HOUR, DAY]),
    )
    def test_show_every_token_once(self, points, most, step):
        bars = bars_of(series(dict(sorted(points.items())), step), most)

        assert len(bars.usages) <= most
        assert sum(bars.usages, Usage()) == sum(points.values(), Usage())
        assert bars.usages[0].total_tokens
        assert bars.usages[-1].total_tokens

    @pytest.mark.parametrize(
        ("points", "step", "caption"),
        [
            ({0: usage(9)}, DAY, "tokens per day, 2026-11-20 (UTC), at most 9"),
            (
                {0: usage(1), 3: usage(1234)},
                DAY,
                "tokens per day, 2026-11-20 to 2026-11-23 (UTC), at most 1,234",
            ),
            (
                {0: usage(1), 100: usage(2)},
                DAY,
                "tokens per 2 days, 2026-11-20 to 2027-02-28 (UTC), at most 2",
            ),
            (
                {0: usage(1), 47: usage(2)},
                HOUR,
                "tokens per hour, 2026-11-20 00:00 to 2026-11-21 23:00 (UTC), at most 2",
            ),
        ],
    )
    def test_say_what_they_show(self, points, step, caption):
        assert bars_of(series(points, step)).caption() == caption

    def test_stand_for_several_hours_where_a_terminal_is_narrow(self):
        bars = bars_of(series({0: usage(1), 47: usage(2)}, HOUR), 20)

        assert bars.caption().startswith("tokens per 3 hours, 2026-11-20 00:00 to ")


class TestInATerminal:
    def test_are_as_high_as_there_are_tokens(self):
        points = {0: usage(80), 1: usage(40), 3: usage(1), 4: usage(0, 10)}

        assert spark_text(bars_of(series(points))) == "█▄ ▁▁"


class TestInAPage:
    def test_are_stacked_to_the_height_of_the_most(self):
        html = page({0: usage(60, 35, cached=20), 1: usage(19)})

        left, top, width, height = boxes(html, "output")[0]
        assert (left, top, height) == (0, 1, 35)
        assert boxes(html, "cached") == [(0, 36, width, 20)]
        assert boxes(html, "input") == [(0, 56, width, 40), (40, 77, width, 19)]

    def test_are_as_wide_as_the_picture_whatever_their_number(self):
        for count in (1, 7, 60):
            html = page({n: usage(1) for n in range(count)})

            wide = int(re.search(r'<svg .*? width="(\d+)"', html)[1])
            left, _, width, _ = boxes(html, "input")[-1]
            assert len(boxes(html, "input")) == count
            assert wide - 4 <= left + width <= wide <= 600

    def test_have_a_key_for_the_kinds_that_there_are(self):
        key = r'class="dexto-(\w+)">■</span> ([^<]*[^< ])'

        assert re.findall(key, page({0: usage(5, 6)})) == [("input", "input"), ("output", "output")]
        assert re.findall(key, page({0: usage(5, 6, cached=2)})) == [
            ("input", "input, not cached"),
            ("cached", "input, cached"),
            ("output", "output"),
        ]

    def test_are_told_to_those_who_do_not_see_them(self):
        html = page({0: usage(5, 6), 1: usage(7)})

        assert 'role="img" aria-label="tokens per day, 2026-11-20 to 2026-11-21 (UTC), ' in html
        assert 'at most 11: input; output"' in html

    def test_have_no_words_that_are_left_over_where_a_page_drops_pictures(self):
        """JupyterLab's sanitiser takes out the elements of a picture and leaves its text."""
        html = page({0: usage(5, 6), 1: usage(7)})

        picture = re.search("<svg.*</svg>", html, re.DOTALL)[0]
        assert re.sub("<[^>]*>", "", picture).strip() == ""

    def test_have_their_numbers_in_a_table(self):
        html = page({0: usage(5, 6), 2: usage(1234, 8, cached=1000)})

        assert re.findall("<td.*?>(.*?)</td>", html) == [
            *("2026-11-20", "5", "", "6"),
            *("2026-11-22", "1,234", "1,000", "8"),
        ]

    @settings(derandomize=True, deadline=None)
    @given(
        st.lists(
            st.builds(
                usage,
                st.integers(0, 10**12),
                st.integers(0, 10**12),
                st.none() | st.integers(0, 10**12),
            ),
            min_size=1,
            max_size=90,
        )
    )
    def test_are_well_formed_and_inside_the_picture(self, usages):
        bars = bars_of(series(dict(enumerate([*usages, usage(1)]))))
        html = "\n".join(bars_html(bars))

        assert_inert(html)
        for kind in ("input", "cached", "output"):
            for left, top, width, height in boxes(html, kind):
                assert left + width <= 600
                assert 0 <= top <= top + height <= 96.1


class TestShare:
    @pytest.mark.parametrize(
        ("share", "blocks"),
        [
            (0, "░░░░░░░░░░"),
            (0.01, "█░░░░░░░░░"),
            (0.5, "█████░░░░░"),
            (1, "██████████"),
            (7, "██████████"),
        ],
    )
    def test_is_a_line_of_blocks(self, share, blocks):
        assert share_text(share, width=10) == blocks

    @pytest.mark.parametrize(("share", "width"), [(0, 0), (0.5, 150), (1, 300)])
    def test_is_a_bar_in_its_room(self, share, width):
        html = "\n".join(share_html(share, "half full"))

        assert boxes(html, "room") == [(0, 0, 300, 12)]
        assert boxes(html, "input") == [(0, 0, width, 12)]
        assert 'role="img" aria-label="half full"' in html
        assert_inert(html)

    def test_that_is_over_looks_so(self):
        html = "\n".join(share_html(2.5, "250 % full"))

        assert boxes(html, "over") == [(0, 0, 300, 12)]
        assert boxes(html, "input") == []
