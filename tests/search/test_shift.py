"""What a move of the line means for an index is what going through all turns would tell."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.line import Line
from dexto_magic.search.shift import shift

STEPS = st.lists(
    st.sampled_from(["append", "revise", "fail", "undo", "redo", "forget"]), max_size=14
)


def moved(line, steps, picks):
    """The line after steps, and all versions of turns that were made and are not forgotten."""
    made = {(turn, version) for turn in range(1, line.end + 1) for version in [line.current(turn)]}
    for step in steps:
        shown = [turn for turn in range(1, line.end + 1) if turn in line]
        if step == "append":
            line = line.appended()
            made.add((line.end, line.current(line.end)))
        elif step in ("undo", "redo"):
            done = line.undo() if step == "undo" else line.redo()
            line = line if done is None else done[0]
        elif shown:
            turn = picks.choice(shown)
            if step == "forget":
                line = line.without(turn)
                made = {(number, version) for number, version in made if number != turn}
            else:
                line = line.revised(turn)
                made.add((turn, line.current(turn)))
                line = line.unrevised() if step == "fail" else line
    return line, made


def in_view(line):
    return {(turn, line.current(turn)) for turn in range(1, line.end + 1) if turn in line}


@settings(derandomize=True, deadline=None, max_examples=500)
@given(STEPS, STEPS, st.randoms(use_true_random=False))
def test_a_shift_tells_what_an_index_has_to_do(first, then, picks):
    old, made_before = moved(Line(), first, picks)
    new, made_after = moved(old, then, picks)

    found = shift(old, new)

    before, after = in_view(old), in_view(new)
    assert found.turns == {turn for turn, _ in before ^ after}
    if found.returned is False:
        # Whatever came into view was said since, so that the rows since then hold it.
        assert not (after - before) & made_before
    if not found.lost:
        # Whatever went out of view can still be brought back: it was not forgotten.
        assert before <= made_after


def test_turns_more_are_neither_back_nor_lost():
    old = Line().appended().appended()

    found = shift(old, old.appended().appended())

    assert (found.turns, found.returned, found.lost) == (frozenset({3, 4}), False, False)


def test_what_was_undone_is_within_reach_until_something_else_is_asked():
    old = Line().appended().appended()
    undone, _ = old.undo()

    assert not shift(old, undone).lost
    assert shift(old, undone.appended()).lost


def test_a_forgotten_turn_is_lost_even_if_its_number_was_given_again():
    old = Line().appended().appended()
    again = old.without(2).undo()[0].appended().appended()

    assert 2 in again
    assert shift(old, again).lost
