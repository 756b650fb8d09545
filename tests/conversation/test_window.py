"""What a model is sent of a conversation."""

from dataclasses import replace

import pytest

from dexto_magic.conversation.window import Material
from tests.support.messages import assistant, user


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
