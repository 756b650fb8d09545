"""Which turns are summarised, how many in one request, and what is made of a model's title."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.messages import Turn
from dexto_magic.conversation.window import Material, size_of
from dexto_magic.turns.compaction import (
    LONGEST_TITLE,
    SMALLEST_PORTION,
    cleaned_title,
    kept_turns,
    portion,
    shortened,
    to_summarise,
)
from tests.conversation.test_window import long_turns, summary_up_to
from tests.support.messages import assistant, user

steady = settings(derandomize=True, deadline=None, max_examples=80)

texts = st.text(max_size=300) | st.sampled_from(["x" * 5000, "数据" * 2000, "word " * 900])
turns = st.builds(
    lambda number, asked, answers: Turn(
        number=number,
        messages=(user(asked, turn=number), *(assistant(a, turn=number) for a in answers)),
    ),
    st.integers(1, 9),
    texts,
    st.lists(texts, min_size=1, max_size=6),
)


@steady
@given(turn=turns, tokens=st.integers(SMALLEST_PORTION, 2000))
def test_a_turn_is_shortened_to_about_as_much_as_it_may_be_whatever_its_script(turn, tokens):
    short = shortened(turn, tokens)
    frames = 8 * len(turn.messages)  # each message's, and what marks its cut
    assert size_of([short]) <= max(tokens + frames, 0)
    assert [m.id for m in short.messages] == [m.id for m in turn.messages]
    for before, after in zip(turn.messages, short.messages, strict=True):
        if after.content != before.content:
            begin, end = after.content.split(" [...] ", 1)
            assert before.content.startswith(begin)
            assert before.content.endswith(end)


@steady
@given(given_turns=st.lists(turns, min_size=1, max_size=6), room=st.integers(0, 3000))
def test_a_portion_fits_and_is_the_next_turns(given_turns, room):
    part, is_whole = portion(given_turns, None, room, None)
    if is_whole:
        assert part == given_turns[: len(part)]
        assert size_of(part) <= room or not part
    else:
        assert (len(part), part[0].number) == (1, given_turns[0].number)


def test_all_is_one_portion_where_nobody_knows_what_fits():
    whole = Material(history=long_turns(50), prompt="next").turns
    assert portion(whole, None, None, None) == (list(whole), True)


def test_after_a_refusal_a_portion_is_half_as_large_at_most():
    whole = Material(history=long_turns(8), prompt="next").turns
    part, _ = portion(whole, None, None, size_of(whole))
    assert len(part) == 4


@pytest.mark.parametrize(
    ("count", "summarised", "rest"), [(1, 0, []), (2, 0, []), (5, 0, [1, 2, 3])]
)
def test_the_newest_two_are_not_summarised(count, summarised, rest):
    material = Material(history=long_turns(count), prompt="next")
    assert [turn.number for turn in to_summarise(material)] == rest


def test_what_a_summary_stands_for_is_not_summarised_again():
    material = Material(history=long_turns(6), prompt="next", summary=summary_up_to(3))
    assert [turn.number for turn in to_summarise(material)] == [4]
    assert [turn.number for turn in to_summarise(material, 0)] == [4, 5, 6]


def test_as_many_of_the_newest_as_fit_beside_a_summary_stay():
    """Each is about 260 tokens."""
    material = Material(history=long_turns(6), prompt="next")
    assert [kept_turns(material, target) for target in (10_000, 620, 350, 200, 0)] == [
        2,
        2,
        1,
        0,
        0,
    ]
    summarised = Material(history=long_turns(6), prompt="next", summary=summary_up_to(3, "x" * 800))
    assert kept_turns(summarised, 620) == 1


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Monthly totals", "Monthly totals"),
        ("  **Monthly totals**\n\nBecause …", "Monthly totals"),
        ("# “Monthly totals”", "Monthly totals"),
        ('"Sarah\'s plots"', "Sarah's plots"),
        ("\n\n`df` and x", "`df` and x"),
        ("", ""),
        ('""\n', ""),
    ],
)
def test_a_title_is_the_first_line_without_what_is_around_it(written, title):
    assert cleaned_title(written) == title


def test_a_title_has_an_end():
    assert len(cleaned_title("word " * 100)) <= LONGEST_TITLE
