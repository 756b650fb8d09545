"""Messages, turns and token counts as values."""

import re
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.conversation.messages import (
    Attachment,
    Message,
    Reply,
    ToolCall,
    Turn,
    Usage,
    new_id,
    turns_of,
)
from tests.support.messages import assistant, user

steady = settings(derandomize=True, deadline=None, max_examples=100)

counts = st.integers(min_value=0, max_value=2**70)
usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_tokens=st.none() | counts,
    reasoning_tokens=st.none() | counts,
)


def test_a_new_id_is_its_prefix_and_twelve_characters_never_the_same():
    ids = {new_id("msg") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("msg_[a-z0-9]{12}", id_) for id_ in ids)


# -- tokens ----------------------------------------------------------------------------------------


@steady
@given(usages, usages)
def test_a_sum_of_usages_adds_every_count(one, other):
    total = one + other
    assert total.input_tokens == one.input_tokens + other.input_tokens
    assert total.output_tokens == one.output_tokens + other.output_tokens
    assert total.total_tokens == one.total_tokens + other.total_tokens
    for name in ("cached_tokens", "reasoning_tokens"):
        known = [n for n in (getattr(one, name), getattr(other, name)) if n is not None]
        assert getattr(total, name) == (sum(known) if known else None)


@steady
@given(usages, usages, usages)
def test_usages_add_up_to_the_same_in_any_order(one, two, three):
    assert (one + two) + three == one + (two + three) == three + one + two
    assert one + Usage() == one


def test_zero_cached_tokens_are_told_from_an_unknown_number():
    assert (Usage() + Usage(cached_tokens=0)).cached_tokens == 0
    assert (Usage() + Usage()).cached_tokens is None


# -- messages --------------------------------------------------------------------------------------

SAID = Message(
    role="assistant", content="Hi.", id="msg_1", created_at=datetime(2026, 11, 20, tzinfo=UTC)
)
PICTURE = Attachment(name="a.png", media_type="image/png", digest="00", size=1)
CALL = ToolCall(id="call_1", name="f", arguments="{}")


@pytest.mark.parametrize(
    "other",
    [
        {"id": "msg_2"},
        {"created_at": datetime(2026, 11, 21, tzinfo=UTC)},
        {"turn": 2, "version": 2},
        {"status": "stopped", "reason": "interrupted"},
        {"model": "gpt-4o-mini", "provider": "openai", "options": {"seed": 1}},
        {"reasoning": "Hm.", "usage": Usage(), "finish_reason": "stop", "duration": 1.0},
    ],
)
def test_content_is_the_same_whoever_stored_it_and_when(other):
    stored = replace(SAID, **other)
    assert stored != SAID
    assert SAID.same_content(stored)


@pytest.mark.parametrize(
    "other",
    [
        {"role": "user"},
        {"content": "Hi!"},
        {"attachments": (PICTURE,)},
        {"tool_calls": (CALL,)},
    ],
)
def test_content_is_another_if_anything_that_was_said_differs(other):
    assert not SAID.same_content(replace(SAID, **other))


def test_a_message_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SAID.content = "something else"


def test_messages_can_be_put_in_a_set_whatever_their_options():
    assert len({SAID, replace(SAID), replace(SAID, options={"stop": ["a"]})}) == 2


def test_two_messages_made_alike_do_not_share_their_options():
    one, other = user(), user()
    assert one.options == {}
    assert one.options is not other.options


# -- turns -----------------------------------------------------------------------------------------


def turn(number, *replies):
    return [user(f"q{number}", turn=number), *(replace(m, turn=number) for m in replies)]


def assistant_or_tool(role):
    return replace(assistant(), role=role)


@steady
@given(st.lists(st.lists(st.sampled_from(["assistant", "tool"]), max_size=4), max_size=6))
def test_turns_are_a_user_message_each_and_all_that_follows_it(shape):
    said = [
        message
        for number, roles in enumerate(shape, start=1)
        for message in turn(number, *map(assistant_or_tool, roles))
    ]
    turns = turns_of(said)
    assert [t.number for t in turns] == list(range(1, len(shape) + 1))
    assert [len(t.messages) for t in turns] == [1 + len(roles) for roles in shape]
    assert [message for t in turns for message in t.messages] == said
    assert all(t.messages[0].role == "user" for t in turns)


def test_a_history_that_begins_amid_a_turn_has_the_rest_of_it_as_its_first():
    said = [*turn(4, assistant("a"), assistant("b"))[1:], *turn(5, assistant("c"))]
    assert [(t.number, len(t.messages)) for t in turns_of(said)] == [(4, 2), (5, 2)]


def test_no_messages_are_no_turns():
    assert turns_of([]) == []


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ([], "open"),
        ([assistant()], "complete"),
        ([assistant(status="stopped", reason="error")], "stopped"),
        ([assistant("", status="failed", reason="crashed")], "failed"),
        ([assistant(), assistant_or_tool("tool")], "complete"),
        ([assistant(), assistant_or_tool("tool"), assistant("", status="failed")], "failed"),
    ],
)
def test_a_turn_ended_as_its_last_message_did(replies, status):
    assert Turn(number=1, messages=tuple(turn(1, *replies))).status == status


def test_a_reply_shows_what_its_message_holds():
    message = replace(
        SAID,
        turn=3,
        status="stopped",
        reason="interrupted",
        reasoning="Hm.",
        model="gpt-4o-mini",
        usage=Usage(input_tokens=1),
    )
    reply = Reply(session_id="eda", message=message)
    shown = (
        reply.content,
        reply.reasoning,
        reply.status,
        reply.usage,
        reply.model,
        reply.turn,
    )
    assert shown == ("Hi.", "Hm.", "stopped", Usage(input_tokens=1), "gpt-4o-mini", 3)
    assert reply.session_usage == Usage()
