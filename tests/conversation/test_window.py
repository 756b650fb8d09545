"""What a model is sent of a conversation."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dexto_magic.conversation.messages import Aside, Usage
from dexto_magic.conversation.window import Material, estimate
from dexto_magic.turns.compaction import to_summarise
from tests.support.messages import assistant, failed, user
from tests.support.views import NOON


def turn(number, question, *replies):
    return [user(question, turn=number), *(replace(reply, turn=number) for reply in replies)]


def messages(history, prompt="next", **more):
    return Material(history=history, prompt=prompt, **more).composed().messages


def sent(history, prompt="next", **more):
    """What is sent, as ``role: content``."""
    return [f"{m.role}: {m.content}" for m in messages(history, prompt, **more)]


def test_a_first_message_is_sent_alone():
    assert sent([], "Hello.") == ["user: Hello."]


def test_all_turns_are_sent_in_order_before_the_new_message():
    history = [*turn(1, "q1", assistant("a1")), *turn(2, "q2", assistant("a2"))]
    assert sent(history) == [
        "user: q1",
        "assistant: a1",
        "user: q2",
        "assistant: a2",
        "user: next",
    ]


def test_the_system_prompt_comes_first_and_the_note_right_before_the_message():
    history = turn(1, "q1", assistant("a1"))
    assert sent(history, system="Be brief.", note="The kernel was restarted.") == [
        "system: Be brief.",
        "user: q1",
        "assistant: a1",
        "system: The kernel was restarted.",
        "user: next",
    ]


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_system_prompt_and_no_note_are_not_sent(nothing):
    assert sent([], system=nothing, note=nothing) == ["user: next"]


def test_a_failed_turn_is_left_out_with_its_question():
    failed = assistant("", status="failed", reason="ModelUnavailableError")
    history = [
        *turn(1, "q1", assistant("a1")),
        *turn(2, "q2", failed),
        *turn(3, "q2", assistant("a2")),
    ]
    assert sent(history) == [
        "user: q1",
        "assistant: a1",
        "user: q2",
        "assistant: a2",
        "user: next",
    ]


def test_a_turn_that_has_no_reply_yet_is_left_out():
    assert sent([*turn(1, "q1", assistant("a1")), *turn(2, "q2")]) == [
        "user: q1",
        "assistant: a1",
        "user: next",
    ]


@pytest.mark.parametrize("reason", ["interrupted", "cancelled", "crashed", "error"])
def test_a_stopped_reply_is_sent_with_a_mark_that_says_why(reason):
    history = turn(1, "q1", assistant("The answer is", status="stopped", reason=reason))
    assert sent(history)[1] == (
        f"assistant: The answer is\n\n[This reply was cut short: {reason}.]"
    )


def test_a_reply_that_stopped_amid_its_reasoning_is_sent_as_the_mark_alone():
    stopped = assistant("", status="stopped", reason="interrupted", reasoning="Hm.")
    assert sent(turn(1, "q1", stopped)) == [
        "user: q1",
        "assistant: [This reply was cut short: interrupted.]",
        "user: next",
    ]


def test_a_stopped_reply_keeps_the_white_space_it_begins_with():
    """It may be the indentation of code."""
    stopped = assistant("    return x\n", status="stopped", reason="error")
    content = messages(turn(1, "q1", stopped))[1].content
    assert content.startswith("    return x\n")


def test_reasoning_is_never_sent():
    history = turn(1, "q1", assistant("a1", reasoning="Long thoughts."))
    assert "thoughts" not in str(sent(history))


def test_what_tools_said_is_not_sent():
    """No tool is offered to a model yet, and a provider refuses answers to calls it never saw."""
    told = replace(assistant("output"), role="tool", tool_call_id="call_1")
    assert sent(turn(1, "q1", assistant("calling"), told, assistant("a1"))) == [
        "user: q1",
        "assistant: calling",
        "assistant: a1",
        "user: next",
    ]


def test_text_is_sent_as_it_was_written():
    text = "\n {x} $\\alpha$ %s 🎉\ud800 \x00 \r\n "
    history = turn(1, text, assistant(text))
    assert [m.content for m in messages(history, text, system=text, note=text)] == [text] * 5


def test_asking_does_not_change_the_history():
    history = turn(1, "q1", assistant("a1", status="stopped", reason="error"))
    before = list(history)
    messages(history, note="note")
    assert history == before


# -- how large it is, and what is left out of it -----------------------------------------------------


WORDS = "word " * 100
"""About 130 tokens."""


def counted(answer, asked, replied, **fields):
    return assistant(answer, usage=Usage(input_tokens=asked, output_tokens=replied), **fields)


def long_turns(count, text=WORDS, usage=None):
    """Turns of which nobody counted the tokens, each as long as the other."""
    return [
        message
        for number in range(1, count + 1)
        for message in turn(number, text, assistant(text, usage=usage))
    ]


def summary_up_to(number, text="Facts."):
    return Aside(kind="summary", content=text, id="sum_1", created_at=NOON, turn=number)


def material(history, **more):
    more.setdefault("prompt", "next")
    return Material(history=history, **more)


def test_a_size_is_what_was_reported_last_and_an_estimate_of_what_is_new():
    history = [
        *turn(1, "q1", counted("a1", 100, 10)),
        *turn(2, "q2", counted("a2", 500, 50)),
    ]
    composition = material(history, prompt="x" * 400).composed()
    assert composition.measured
    assert 550 + 100 <= composition.tokens <= 550 + 120


def test_what_came_after_the_last_report_is_estimated():
    history = [
        *turn(1, "q1", counted("a1", 500, 50)),
        *turn(2, WORDS, assistant("cut", status="stopped", reason="error", usage=None)),
    ]
    composition = material(history).composed()
    assert composition.measured
    assert 550 + 120 <= composition.tokens <= 550 + 180


def test_without_any_report_all_is_estimated():
    composition = material(long_turns(2)).composed()
    assert not composition.measured
    assert 400 <= composition.tokens == composition.estimate <= 700


def test_reasoning_is_no_part_of_the_next_request():
    usage = Usage(input_tokens=100, output_tokens=5000, reasoning_tokens=4990)
    composition = material(turn(1, "q1", assistant("a1", usage=usage))).composed()
    assert composition.tokens < 130


def test_an_estimate_goes_by_how_the_provider_counted_its_own_words_so_far():
    """Four bytes a token is English; other text, and other tokenizers, differ."""
    for replied, factor in ((100, 1), (200, 2), (50, 0.5), (10_000, 4)):
        history = turn(1, "q1", counted("x" * 400, 0, replied))
        without, with_it = (
            material(history, prompt=prompt).composed() for prompt in ("", "x" * 4000)
        )
        assert with_it.estimate - without.estimate == pytest.approx(1000 * factor, rel=0.1)


def test_white_space_in_a_row_is_hardly_anything():
    """Tokenizers have a token for it; a table that is aligned by it is no longer for that."""
    table = "\n".join("1" + " " * 79 for _ in range(100))
    assert estimate(table) < 100 < len(table) // 4


def test_a_report_that_is_far_too_small_is_not_believed():
    """Ollama counts what it did not cut off: by that, every conversation would fit."""
    history = [
        *long_turns(80),
        *turn(81, "q", counted("a", 2048, 10)),
    ]
    composition = material(history).composed()
    assert not composition.measured
    assert composition.tokens > 15_000


def test_a_long_answer_to_a_short_question_is_believed():
    history = turn(1, "q", counted("word " * 20_000, 12, 20_000))
    composition = material(history).composed()
    assert composition.measured
    assert 20_012 <= composition.tokens <= 20_020


def test_as_many_of_the_newest_turns_as_fit_are_kept():
    whole = material(long_turns(10))
    size = whole.composed().tokens
    for limit in (size, size - 1, size * 3 // 4, size // 2, size // 10):
        fitted = whole.fitting(limit)
        assert fitted.tokens <= limit
        assert fitted.first == 11 - fitted.turns
        if fitted.turns < 10:
            more = whole.composed(fitted.first - 1)
            assert more.tokens > limit, "one more would not have fitted"


def test_of_a_reported_conversation_as_much_is_left_out_as_its_share():
    history = [
        *long_turns(9, usage=Usage(input_tokens=10, output_tokens=130)),
        *turn(10, WORDS, counted(WORDS, 3000, 130)),
    ]
    fitted = material(history).fitting(2000)
    assert (fitted.measured, fitted.turns) == (True, 5)
    assert 1700 <= fitted.tokens <= 2000


def test_what_came_after_the_last_report_can_be_left_out_too():
    history = [
        *turn(1, "q1", counted("a1", 10, 5)),
        *turn(2, WORDS * 10, assistant("a2", usage=None)),
        *turn(3, "q3", assistant("a3", usage=None)),
    ]
    whole = material(history)
    assert whole.composed().tokens > 1200
    assert whole.composed(3).tokens < 30
    assert whole.fitting(200).turns == 1


@pytest.mark.parametrize(
    ("summarised", "sent_from", "made", "counts"),
    [
        (5, 6, NOON, False),
        (5, 3, NOON, True),
        (5, None, NOON, True),
        (5, 7, NOON + timedelta(hours=1), True),
        (5, 10, NOON, True),
    ],
    ids=["sent with it", "made later", "sent whole", "trimmed before it", "sent alone"],
)
def test_a_summary_is_counted_once(summarised, sent_from, made, counts):
    """By the provider, if it was sent with the last reply; else by its text."""
    last = counted("a", 500, 10, sent_from=sent_from)
    history = [*long_turns(9), *turn(10, "q", replace(last, created_at=NOON, duration=5.0))]
    summary = replace(summary_up_to(summarised, WORDS * 10), created_at=made)
    first = sent_from or 1
    composition = material(history, summary=summary).composed(first)
    sent = sum(260 for n in range(first, summarised + 1))
    reported = 510 - sent if composition.measured else 0
    assert (composition.tokens > reported + 1000) == counts


def test_a_reply_that_may_have_been_sent_with_an_earlier_summary_does_not_say_what_is_in_it():
    last = counted("a", 5000, 10, sent_from=6)
    history = [*long_turns(9), *turn(10, "q", replace(last, created_at=NOON, duration=5.0))]
    summary = replace(summary_up_to(8, WORDS), created_at=NOON + timedelta(hours=1))
    composition = material(history, summary=summary).composed()
    assert (composition.measured, composition.tokens < 1000) == (False, True)


def test_a_reply_to_a_part_of_the_conversation_says_how_large_that_part_is():
    history = [
        *long_turns(9),
        *turn(10, "q", counted("a", 500, 10, sent_from=8)),
    ]
    whole = material(history)
    assert whole.composed(8).tokens < 530
    assert whole.composed().tokens > 2000
    assert whole.composed(9).tokens < 350


def test_a_message_that_does_not_fit_is_sent_alone():
    fitted = material(long_turns(3), prompt=WORDS, system="Be brief.").fitting(10)
    assert [m.content for m in fitted.messages] == ["Be brief.", WORDS]
    assert (fitted.turns, fitted.first) == (0, 4)


def test_a_summary_stands_before_the_turns_that_it_does_not_speak_of():
    composition = material(long_turns(5, "t"), system="S", note="N", summary=summary_up_to(3))
    contents = [m.content for m in composition.composed().messages]
    assert contents == [
        "S",
        "What was said before, up to turn 3 of this conversation, in a summary:\n\nFacts.",
        *["t"] * 4,
        "N",
        "next",
    ]
    assert composition.composed().messages[1].role == "system"
    assert composition.composed(1) == composition.composed(4)


def test_a_summary_that_does_not_fit_is_left_out_before_the_message_is():
    long = material(long_turns(5), summary=summary_up_to(3, WORDS * 10))
    assert long.fitting(2000).summary is not None
    fitted = long.fitting(500)
    assert (fitted.summary, fitted.turns) == (None, 0)
    assert [m.content for m in fitted.messages] == ["next"]


@pytest.mark.parametrize(
    ("turns", "first", "summarised", "line"),
    [
        (0, 1, None, None),
        (3, 1, None, None),
        (3, 2, None, "sending the last 2 of 3 turns"),
        (40, 29, 28, "sending the last 12 of 40 turns and a summary of the rest"),
        (40, 31, 28, "sending the last 10 of 40 turns and a summary of those up to turn 28"),
        (3, 4, None, "sending the new message without the 3 turns before it"),
        (1, 2, None, "sending the new message without the turn before it"),
        (3, 4, 3, "sending the new message with a summary of the 3 turns before it"),
        (
            5,
            6,
            3,
            "sending the new message with a summary of the turns up to 3, without those after",
        ),
    ],
)
def test_what_is_left_out_is_said_in_one_line(turns, first, summarised, line):
    summary = summary_up_to(summarised) if summarised else None
    composition = material(long_turns(turns), summary=summary).composed(first)
    assert composition.left_out == line


def test_turns_that_failed_are_not_called_left_out():
    history = [*turn(1, "q1", failed()), *turn(2, "q2", assistant("a2")), *turn(3, "q3", failed())]
    assert material(history).composed().left_out is None
    later = [*history, *turn(4, "q4", assistant("a4"))]
    composition = material(later, summary=summary_up_to(2)).composed()
    assert composition.left_out == "sending the last 1 of 2 turns and a summary of the rest"


def test_a_conversation_of_ten_thousand_messages_is_composed():
    """This takes a moment, and would take minutes if each turn looked at all others."""
    history = long_turns(5000, "word")
    whole = material(history, summary=summary_up_to(10))
    assert len(whole.composed().messages) == 2 * 4990 + 2
    assert whole.fitting(whole.composed().tokens // 2).turns > 2000
    assert len(to_summarise(whole)) == 4988
