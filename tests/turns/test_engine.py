"""What becomes of a reply on its way, and when it is saved."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic import DextoAgent, DextoError
from dexto_magic.conversation.messages import Message, Usage
from dexto_magic.llm.protocol import Finished, ReasoningDelta, TextDelta
from dexto_magic.turns.engine import SAVE_CHARACTERS, SAVE_SECONDS, Question, RunningTurn

steady = settings(derandomize=True, deadline=None, max_examples=100)

START = 1000.0
"""What the clock says when the request leaves: any number, as only differences count."""

QUESTION = Question(
    provider="openai",
    model="gpt-4o-mini",
    options={"temperature": 0},
    asked_at=datetime(2026, 11, 20, 14, 3, tzinfo=UTC),
    clock=START,
)


def fed(*pieces):
    """A turn to which these pieces have come: text, or reasoning in a tuple of one."""
    turn = RunningTurn(QUESTION)
    for piece in pieces:
        turn.feed(ReasoningDelta(*piece) if isinstance(piece, tuple) else TextDelta(piece))
    return turn


# -- when to save ----------------------------------------------------------------------------------


def test_nothing_is_saved_until_something_has_come():
    assert not RunningTurn(QUESTION).save_due(START + 1_000_000)


def test_an_empty_piece_is_nothing_to_save():
    assert not fed("", ("",)).save_due(START + 1_000_000)


@pytest.mark.parametrize("piece", ["x", ("x",)], ids=["text", "reasoning"])
def test_what_has_come_is_saved_half_a_second_after_the_question(piece):
    assert SAVE_SECONDS == 0.5
    turn = fed(piece)
    assert not turn.save_due(START)
    assert not turn.save_due(START + 0.49)
    assert turn.save_due(START + 0.5)


def test_much_is_saved_at_once():
    assert SAVE_CHARACTERS == 4096
    assert not fed("x" * 4095).save_due(START)
    assert fed("x" * 4096).save_due(START)


def test_text_and_reasoning_count_together():
    turn = fed(("x" * 2000,), "x" * 2095)
    assert not turn.save_due(START)
    turn.feed(TextDelta("x"))
    assert turn.save_due(START)


def test_after_a_save_both_counts_begin_anew():
    turn = fed("x" * 4096)
    turn.partial(START + 10.0)
    assert not turn.save_due(START + 1_000_000), "all that came is saved"
    turn.feed(TextDelta("x"))
    assert not turn.save_due(START + 10.49)
    assert turn.save_due(START + 10.5)
    turn.feed(TextDelta("x" * 4094))
    assert not turn.save_due(START + 10.1)
    turn.feed(TextDelta("x"))
    assert turn.save_due(START + 10.1)


@steady
@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0, max_value=2),
            st.integers(min_value=0, max_value=5000),
            st.booleans(),
        )
    )
)
def test_what_waits_to_be_saved_is_never_old_and_much(pieces):
    """Saved whenever it is due, as the agent does, a crash costs half a second or 4096 characters."""
    turn, now, saved_at, kept = RunningTurn(QUESTION), START, START, 0
    arrived = 0
    for seconds, length, thought in pieces:
        now += seconds
        turn.feed(ReasoningDelta("r" * length) if thought else TextDelta("t" * length))
        arrived += length
        if turn.save_due(now):
            message = turn.partial(now)
            kept, saved_at = len(message.content) + len(message.reasoning), now
            assert kept == arrived
        else:
            assert arrived - kept < SAVE_CHARACTERS
            assert arrived == kept or now - saved_at < SAVE_SECONDS


# -- what is saved ---------------------------------------------------------------------------------


def test_a_part_is_a_message_that_says_who_was_asked_what():
    part = fed("The ", ("Hm",), "answer", (".",)).partial(START + 1)
    assert part == Message(
        role="assistant",
        content="The answer",
        id=part.id,
        created_at=QUESTION.asked_at,
        reasoning="Hm.",
        model="gpt-4o-mini",
        provider="openai",
        options={"temperature": 0},
    )


def test_all_parts_of_a_reply_and_the_reply_have_one_id_and_no_other_reply_has_it():
    turn = fed("The ")
    first = turn.partial(START + 1)
    turn.feed(TextDelta("answer"))
    second, whole = turn.partial(START + 2), turn.complete(Finished(), START + 3)
    assert first.id == second.id == whole.id == turn.cut_short("error", START).id
    assert (first.content, second.content, whole.content) == ("The ", "The answer", "The answer")
    assert fed("The ").partial(START).id != first.id


def test_text_is_put_together_as_it_came():
    pieces = ["", "a\n", " \ud83d", "\ude00", "é", ""]
    assert fed(*pieces).text == "".join(pieces)


def test_a_whole_reply_tells_what_it_took():
    usage = Usage(input_tokens=3, output_tokens=2)
    end = Finished(model="gpt-4o-mini-2024", finish_reason="stop", usage=usage)
    reply = fed("Hi.", ("Hm.",)).complete(end, START + 2.34567)
    assert (reply.status, reply.reason) == ("complete", None)
    assert (reply.content, reply.reasoning) == ("Hi.", "Hm.")
    assert (reply.model, reply.finish_reason, reply.usage) == ("gpt-4o-mini-2024", "stop", usage)
    assert reply.duration == 2.346
    assert (reply.provider, reply.options) == ("openai", {"temperature": 0})
    assert reply.created_at == QUESTION.asked_at


def test_a_reply_by_a_server_that_tells_nothing_has_the_model_that_was_asked():
    reply = fed("Hi.").complete(Finished(), START)
    assert (reply.model, reply.finish_reason, reply.usage) == ("gpt-4o-mini", None, None)
    assert reply.duration == 0.0


def test_an_empty_reply_that_came_whole_is_complete():
    assert RunningTurn(QUESTION).complete(Finished(), START).status == "complete"


@pytest.mark.parametrize("pieces", [("The answer",), (("Hm.",),), ("", ("",), " ")])
@pytest.mark.parametrize("error", [None, "ModelUnavailableError"])
def test_what_was_cut_short_with_something_to_show_has_stopped(pieces, error):
    turn = fed(*pieces)
    reply = turn.cut_short("error" if error else "interrupted", START + 1.5, error=error)
    assert (reply.status, reply.reason) == ("stopped", "error" if error else "interrupted")
    assert (reply.content, reply.duration) == (turn.text, 1.5)
    assert (reply.usage, reply.finish_reason) == (None, None)


@pytest.mark.parametrize("pieces", [(), ("",), (("",), "")])
@pytest.mark.parametrize(
    ("reason", "error", "told"),
    [
        ("interrupted", None, "interrupted"),
        ("cancelled", None, "cancelled"),
        ("error", "ModelRateLimitError", "ModelRateLimitError"),
    ],
)
def test_what_was_cut_short_with_nothing_to_show_has_failed(pieces, reason, error, told):
    reply = fed(*pieces).cut_short(reason, START + 1.5, error=error)
    assert (reply.status, reply.reason, reply.content) == ("failed", told, "")
    assert (reply.model, reply.provider, reply.duration) == ("gpt-4o-mini", "openai", 1.5)


# -- a turn that cannot be stored as it is ---------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"stop": {"a", "b"}}, {"temperature": object()}, {"seed": 10**5000}],
    ids=["a set", "an object", "a number that no text can hold"],
)
def test_options_that_are_not_json_are_refused_and_the_session_stays_free(tmp_path, options):
    with DextoAgent("practice", store=tmp_path) as agent:
        agent.create_session("eda")
        with pytest.raises(DextoError):
            agent.generate("one", "eda", options=options)
        assert agent.generate("My name is Sarah.", "eda").content == "Nice to meet you, Sarah."
