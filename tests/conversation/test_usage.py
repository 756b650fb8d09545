"""What conversations have cost: nothing is lost, and nothing is counted twice."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.messages import Aside, Message, Usage
from dexto_magic.conversation.prices import prices_of
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.conversation.usage import (
    DAY,
    HOUR,
    Tally,
    UsageBuilder,
    UsageReport,
    usage_of,
)
from dexto_magic.errors import SettingsError

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINI = {"input": 0.15, "cached": 0.075, "output": 0.60}
PRICES = prices_of({"currency": "USD", "gpt-4o-mini": MINI})


def usage(tokens, out=0, **fields):
    return Usage(input_tokens=tokens, output_tokens=out, **fields)


def reply(turn=1, used=None, *, at=NOON, **fields):
    fields = {"model": "gpt-4o-mini", "provider": "openai", **fields}
    return Message(
        role="assistant",
        content="Hi.",
        id=f"msg_{turn}",
        created_at=at,
        turn=turn,
        usage=used,
        **fields,
    )


def question(turn=1, at=NOON):
    return Message(role="user", content="Hello?", id=f"msg_u{turn}", created_at=at, turn=turn)


def aside(kind="summary", used=None, *, turn=1, at=NOON, model="gpt-4o-mini"):
    return Aside(kind=kind, content="…", id="a", created_at=at, turn=turn, model=model, usage=used)


def transcript(*messages, others=(), asides=(), lost=None, name="eda", **fields):
    """A session whose lifetime total is that of all that it holds, and what it has lost."""
    total = lost or Usage()
    for item in (*messages, *others, *asides):
        total += item.usage or Usage()
    fields = {"created_at": NOON, "updated_at": NOON, "title": None, "usage": total, **fields}
    return Transcript(
        session=Session(id=name, **fields), messages=messages, others=others, asides=asides
    )


def tokens(parts):
    return {part.name: part.tally.usage.total_tokens for part in parts}


def summed(rows, *more):
    return sum((*(row.tally for row in rows), *more), Tally())


class TestReport:
    def test_counts_each_reply_summary_and_title_but_no_question(self):
        report = usage_of(
            [
                transcript(
                    question(),
                    reply(used=usage(100, 10)),
                    asides=(aside("title", usage(5, 1)), aside("summary", usage(50, 5))),
                )
            ]
        )

        assert tokens(report.kinds) == {"reply": 110, "summary": 55, "title": 6}
        assert report.total.count == 3
        assert report.total.usage == usage(155, 16)

    def test_tells_the_rows_of_a_session_apart(self):
        report = usage_of(
            [
                transcript(
                    reply(1, usage(1)),
                    reply(2, usage(2), version=2, at=NOON + HOUR),
                    others=(reply(2, usage(3), version=1),),
                    asides=(aside(turn=1),),
                )
            ]
        )

        assert [(row.turn, row.kind, row.version, row.in_view) for row in report.messages] == [
            (1, "reply", 1, True),
            (1, "summary", 1, True),
            (2, "reply", 1, False),
            (2, "reply", 2, True),
        ]
        assert report.messages[3].at == NOON + HOUR
        assert report.messages[3].model == "openai:gpt-4o-mini"

    def test_counts_versions_that_are_out_of_view(self):
        report = usage_of([transcript(reply(used=usage(5)), others=(reply(used=usage(7)),))])

        assert report.total.usage.total_tokens == 12
        assert not report.gone.usage.total_tokens

    def test_keeps_apart_what_is_cached_and_what_is_reasoning(self):
        report = usage_of(
            [
                transcript(
                    reply(1, usage(100, 50, cached_tokens=80)),
                    reply(2, usage(10, 20, reasoning_tokens=15)),
                )
            ]
        )

        assert report.total.usage == usage(110, 70, cached_tokens=80, reasoning_tokens=15)

    def test_says_what_is_not_reported_as_what_is_not_known(self):
        report = usage_of([transcript(reply(1, usage(9)), reply(2), asides=(aside(),))])

        assert (report.total.count, report.total.unknown) == (3, 2)
        assert report.total.usage == usage(9)
        assert report.total.usage.cached_tokens is None

    def test_has_a_row_for_what_a_reset_took(self):
        report = usage_of([transcript(reply(used=usage(5, 1)), lost=usage(100, 10))])

        assert report.gone.usage == usage(100, 10)
        assert report.total.usage == usage(105, 11)

    def test_believes_messages_that_took_more_than_their_session_says(self):
        report = usage_of([transcript(reply(used=usage(5, 1)), usage=usage(2))])

        assert report.total.usage == usage(5, 1)
        assert not report.gone.usage.total_tokens

    def test_lists_what_took_most_first(self):
        report = usage_of(
            [
                transcript(reply(used=usage(1), model="a"), name="small"),
                transcript(reply(used=usage(9), model="b"), name="large"),
                transcript(reply(used=usage(1), model=None), name="also small"),
            ]
        )

        assert [part.name for part in report.sessions] == ["large", "also small", "small"]
        assert [part.name for part in report.models] == ["openai:b", "openai:a", None]

    def test_names_a_model_as_one_asks_for_it(self):
        def name(**fields):
            return usage_of([transcript(reply(used=usage(1), **fields))]).models[0].name

        assert name(provider="ollama", model="llama3.2:3b") == "ollama:llama3.2:3b"
        assert name(provider="practice", model="practice") == "practice"
        assert name(provider=None, model="x") == "x"

    def test_has_rows_by_message_for_a_single_session_only(self):
        builder = UsageBuilder()
        builder.add(transcript(reply(used=usage(1))))
        assert len(builder.report().messages) == 1
        builder.add(transcript(reply(used=usage(2)), name="b"))
        builder.add(transcript(name="c"))

        assert builder.report().messages == ()
        assert builder.report().total.usage.total_tokens == 3

    def test_of_nothing_is_empty(self):
        assert usage_of([]) == UsageReport()
        assert usage_of([transcript()]).total == Tally()


class TestForks:
    def fork(self, *messages, **fields):
        """A session that was forked at turn 2, an hour after noon, and has spent no more."""
        own = [message for message in messages if message.created_at > NOON + HOUR]
        return transcript(
            *messages,
            **{
                "created_at": NOON + HOUR,
                "forked_from": "eda",
                "forked_at": 2,
                "usage": sum((message.usage for message in own), Usage()),
                **fields,
            },
        )

    def test_do_not_count_what_was_spent_in_their_parent(self):
        report = usage_of(
            [
                self.fork(
                    reply(1, usage(100)), reply(2, usage(200)), reply(3, usage(7), at=NOON + DAY)
                )
            ]
        )

        assert [row.turn for row in report.messages] == [3]
        assert report.total.usage == usage(7)
        assert report.inherited == 2
        assert not report.gone.usage.total_tokens

    def test_count_a_turn_that_was_asked_anew(self):
        report = usage_of(
            [self.fork(reply(1, usage(100)), reply(2, usage(9), version=2, at=NOON + DAY))]
        )

        assert report.total.usage == usage(9)
        assert report.inherited == 1

    def test_do_not_count_summaries_that_they_took_over(self):
        forked = self.fork(reply(1, usage(100)), asides=(aside(used=usage(50)),), usage=Usage())

        report = usage_of([forked])

        assert report.inherited == 2
        assert report.total == Tally()

    def test_and_their_parents_count_each_reply_once(self):
        parent = transcript(reply(1, usage(100)), reply(2, usage(200)))
        forked = self.fork(reply(1, usage(100)), reply(2, usage(200)), name="fork")

        report = usage_of([parent, forked])

        assert report.total.usage == usage(300)
        assert tokens(report.sessions) == {"eda": 300, "fork": 0}

    def test_a_session_that_is_no_fork_counts_all_whenever_it_was_made(self):
        """As one that was imported: its messages may be older than it is."""
        report = usage_of([transcript(reply(1, usage(5), at=NOON - DAY))])

        assert report.total.usage == usage(5)
        assert report.inherited == 0


class TestSeries:
    def times(self, *hours):
        report = usage_of(
            [transcript(*(reply(1, usage(1), at=NOON + hour * HOUR) for hour in hours))]
        )
        return report.series

    def test_is_by_the_hour_within_two_days(self):
        series = self.times(0, 0.5, 3, 47)

        assert series.step == HOUR
        assert [(point.start, point.usage.total_tokens) for point in series.points] == [
            (NOON, 2),
            (NOON + 3 * HOUR, 1),
            (NOON + 47 * HOUR, 1),
        ]

    def test_is_by_the_day_beyond(self):
        series = self.times(0, 11, 12, 48)

        assert series.step == DAY
        midnight = NOON.replace(hour=0)
        assert [(point.start, point.usage.total_tokens) for point in series.points] == [
            (midnight, 2),
            (midnight + DAY, 1),
            (midnight + 2 * DAY, 1),
        ]

    def test_is_in_order_whatever_came_first(self):
        assert [point.start for point in self.times(5, 1).points] == [NOON + HOUR, NOON + 5 * HOUR]

    def test_of_nothing_has_no_points(self):
        assert usage_of([transcript()]).series.points == ()


MODELS = st.sampled_from([None, "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "other"])
USAGES = st.none() | st.builds(
    Usage,
    input_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(0, 10**6),
    cached_tokens=st.none() | st.integers(0, 10**6),
    reasoning_tokens=st.none() | st.integers(0, 10**6),
)
TIMES = st.integers(0, 10**5).map(lambda hours: NOON + hours * HOUR)
REPLIES = st.lists(
    st.builds(reply, st.integers(1, 9), USAGES, at=TIMES, model=MODELS), max_size=6
).map(tuple)
ASIDES = st.lists(
    st.builds(aside, st.sampled_from(["summary", "title"]), USAGES, at=TIMES, model=MODELS),
    max_size=3,
).map(tuple)
SESSIONS = st.lists(
    st.builds(
        lambda messages, others, asides, lost, **fields: transcript(
            *messages, others=others, asides=asides, lost=lost, **fields
        ),
        REPLIES,
        REPLIES,
        ASIDES,
        USAGES,
        name=st.sampled_from("abc"),
    ),
    max_size=4,
)


class TestSums:
    @settings(derandomize=True, deadline=None)
    @given(SESSIONS, st.sampled_from([None, PRICES]))
    def test_of_every_table_are_the_same(self, sessions, prices):
        report = usage_of(sessions, prices=prices)

        assert report.total.usage == sum((t.session.usage for t in sessions), Usage())
        assert summed(report.sessions) == report.total
        assert summed(report.models, report.gone) == report.total
        assert summed(report.kinds, report.gone) == report.total
        if len(sessions) == 1:
            assert summed(report.messages, report.gone) == report.total

    @settings(derandomize=True, deadline=None)
    @given(SESSIONS)
    def test_over_time_are_those_of_all_that_is_kept(self, sessions):
        report = usage_of(sessions)

        over_time = sum((point.usage for point in report.series.points), Usage())
        assert over_time + report.gone.usage == report.total.usage

    @settings(derandomize=True, deadline=None)
    @given(SESSIONS)
    def test_are_the_same_whichever_session_comes_first(self, sessions):
        def sums(sessions):
            report = usage_of(sessions, prices=PRICES)
            return report.total, report.models, report.kinds, report.series

        assert sums(sessions) == sums(sessions[::-1])

    @settings(derandomize=True, deadline=None)
    @given(SESSIONS)
    def test_count_each_reply_once(self, sessions):
        report = usage_of(sessions)

        written = Counter(
            item.usage is None
            for each in sessions
            for item in (*each.messages, *each.others, *each.asides)
        )
        assert report.total.count == written.total()
        assert report.total.unknown == written[True]


class TestCosts:
    def cost(self, used, **fields):
        return usage_of([transcript(reply(used=used, **fields))], prices=PRICES).total.cost

    def test_are_those_of_a_million_tokens(self):
        assert self.cost(usage(10**6)) == Decimal("0.15")
        assert self.cost(usage(0, 10**6)) == Decimal("0.60")
        assert self.cost(usage(1234, 56)) == Decimal("0.0002187")

    def test_are_lower_for_what_was_cached(self):
        assert self.cost(usage(10**6, cached_tokens=10**6)) == Decimal("0.075")
        assert self.cost(usage(1000, cached_tokens=400)) == Decimal("0.00012")

    def test_are_unknown_without_a_price(self):
        report = usage_of([transcript(reply(used=usage(7), model="other"))], prices=PRICES)

        assert report.total.cost is None
        assert report.total.unpriced == 7
        assert report.unpriced == ("openai:other",)

    def test_of_a_part_are_at_least_those_of_the_whole(self):
        priced = reply(1, usage(10**6))
        for other in (reply(2, usage(7), model="other"), reply(2)):
            report = usage_of([transcript(priced, other)], prices=PRICES)

            assert report.total.cost == Decimal("0.15")
            assert report.total.is_lower_bound
        assert not usage_of([transcript(priced)], prices=PRICES).total.is_lower_bound

    def test_of_what_is_no_longer_kept_are_unknown(self):
        report = usage_of([transcript(lost=usage(9))], prices=PRICES)

        assert report.gone.unpriced == 9
        assert report.unpriced == ()

    def test_are_not_told_where_no_prices_are_given(self):
        report = usage_of([transcript(reply(used=usage(10**6)))])

        assert (report.total.cost, report.total.unpriced, report.currency) == (None, 0, None)
        assert report.unpriced == ()

    def test_are_in_the_currency_that_the_user_names(self):
        prices = prices_of({"currency": " € ", "x": {"input": 1, "output": 2}})

        assert usage_of([], prices=prices).currency == "€"


class TestPrices:
    @pytest.mark.parametrize(
        "served",
        [
            "gpt-4o-mini",
            "gpt-4o-mini-2024-07-18",
            "gpt-4o-mini-20240718",
            "gpt-4o-mini@20240718",
            "gpt-4o-mini-0718",
            "gpt-4o-mini-latest",
        ],
    )
    def test_hold_for_dated_snapshots(self, served):
        assert PRICES.of("openai", served) == PRICES.models["gpt-4o-mini"]

    @pytest.mark.parametrize(
        "other", ["gpt-4o", "gpt-4o-mini-audio", "gpt-4o-mini-32k", "gpt-4o-mini2", "x-gpt-4o-mini"]
    )
    def test_do_not_hold_for_other_models_of_like_names(self, other):
        assert PRICES.of("openai", other) is None

    def test_of_a_provider_come_before_those_of_any(self):
        prices = prices_of(
            {
                "currency": "USD",
                "m": {"input": 1, "output": 1},
                "azure:m": {"input": 2, "output": 2},
            }
        )

        assert prices.of("azure", "m").input == 2
        assert prices.of("azure", "m-2024-07-18").input == 2
        assert prices.of("openai", "m").input == 1
        assert prices.of(None, "m").input == 1
        assert prices.of("azure", None) is None

    def test_of_a_snapshot_come_before_those_of_its_model(self):
        prices = prices_of(
            {
                "currency": "USD",
                "m": {"input": 1, "output": 1},
                "m-2024-07-18": {"input": 3, "output": 3},
            }
        )

        assert prices.of("openai", "m-2024-07-18").input == 3
        assert prices.of("openai", "m-2024-11-20").input == 1

    def test_of_cached_input_are_those_of_input_unless_given(self):
        prices = prices_of({"currency": "USD", "m": {"input": 1.5, "output": 2}})

        assert prices.of(None, "m").cached == Decimal("1.5")

    def test_are_read_from_json_to_the_last_digit(self):
        text = '{"currency": "USD", "m": {"input": 0.1, "cached": 0.000000001, "output": 3}}'

        price = prices_of(text).of(None, "m")

        assert price.input == Decimal("0.1")
        assert price.cached == Decimal("0.000000001")
        assert prices_of(json.loads(text)).of(None, "m") == price

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ("{", "it is no JSON"),
            ("[" * 100_000, "it is no JSON"),
            ("[]", "it is not a mapping"),
            ("{}", "it names no currency"),
            ({"currency": 1}, "the currency 1 is no name"),
            ({"currency": "U\nS"}, "the currency 'U\\nS' is no name"),
            ({"currency": " "}, "the currency's name must have 1 to 16 characters"),
            ({"currency": "x" * 99}, "the currency's name must have 1 to 16 characters"),
            ({"m": MINI}, "it names no currency"),
            ({"currency": "USD", 3: MINI}, "3 is no model's name"),
            ({"currency": "USD", "": MINI}, "'' is no model's name"),
            ({"currency": "USD", "m": 3}, "'m' has 3 in place of its prices"),
            ({"currency": "USD", "m": {"input": 1}}, "'m' has no price of output"),
            ({"currency": "USD", "m": {"output": 1}}, "'m' has no price of input"),
            ({"currency": "USD", "m": {**MINI, "outptu": 1}}, "'m' has 'outptu', and there is"),
            ({"currency": "USD", "m": {**MINI, "input": "1"}}, "is '1', which is no number"),
            ({"currency": "USD", "m": {**MINI, "input": True}}, "is True, which is no number"),
            ({"currency": "USD", "m": {**MINI, "input": -1}}, "is -1, and must be from 0"),
            ({"currency": "USD", "m": {**MINI, "input": float("nan")}}, "is nan, and must be"),
            ('{"currency": "USD", "m": {"input": NaN, "output": 1}}', "is nan, and must be"),
            ('{"currency": "USD", "m": {"input": 1e999999, "output": 1}}', "and must be from 0"),
            ('{"currency": "USD", "m": {"input": %s, "output": 1}}' % ("9" * 9999), "no JSON"),
        ],
    )
    def test_that_are_none_say_what_is_wrong_and_how_it_is_done(self, given, problem):
        with pytest.raises(SettingsError) as caught:
            prices_of(given, variable="DEXTO_PRICES")

        assert problem in str(caught.value)
        assert "DEXTO_PRICES cannot be used" in str(caught.value)
        assert '{"input": 0.15, "cached": 0.075, "output": 0.60}' in str(caught.value)
        assert (caught.value.option, caught.value.variable) == ("prices", "DEXTO_PRICES")
        assert len(str(caught.value)) < 400
