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
    new, _ = moved(old, then, picks)

    found = shift(old, new)

    before, after = in_view(old), in_view(new)
    assert found.turns == {turn for turn, _ in before ^ after}
    # Whatever else came into view was said since, so that the rows since then hold it.
    assert not (after - before - found.returned) & made_before
    assert found.returned <= after - before


def test_turns_more_are_not_back():
    old = Line().appended().appended()

    found = shift(old, old.appended().appended())

    assert (found.turns, found.returned) == (frozenset({3, 4}), frozenset())


def test_what_was_undone_is_back_when_it_is_redone():
    old = Line().appended().appended()
    undone, _ = old.undo()
    redone, _ = undone.redo()

    assert shift(undone, redone).returned == {(2, 1)}
