"""What a store keeps of a session, and what is public of it."""

from dataclasses import fields, replace

import pytest

from dexto_magic.conversation.line import Line
from dexto_magic.conversation.record import OpenTurn
from dexto_magic.conversation.session import Session
from tests.support.messages import user
from tests.support.records import EMPTY, FULL, NOW, claim_in


def test_the_public_session_says_what_the_record_does():
    session = FULL.session()
    names = {field.name for field in fields(session)} & {f.name for f in fields(FULL)}
    assert all(getattr(session, name) == getattr(FULL, name) for name in names)
    assert (session.updated_at, session.message_count, session.turn_count) == (NOW, 8, 4)
    assert (session.overflow, session.context_budget) == ("trim", 1000)


def test_every_field_of_a_public_session_comes_from_its_record():
    plain = EMPTY.session()
    record = replace(FULL, own_title=True)
    same = [
        field.name
        for field in fields(Session)
        if getattr(record.session(), field.name) == getattr(plain, field.name)
    ]
    assert same == ["id", "created_at"]


def test_a_turn_that_was_forgotten_is_not_counted():
    assert replace(FULL, line=FULL.line.without(1).without(5)).session().turn_count == 3


def test_only_the_current_version_of_a_turn_is_in_view():
    shown = {
        (turn, version): FULL.line.shows(user(turn=turn, version=version))
        for turn in (1, 2)
        for version in (1, 2)
    }
    assert shown == {(1, 1): True, (1, 2): False, (2, 1): False, (2, 2): True}


def test_sessions_of_one_origin_are_of_one_family():
    assert EMPTY.kin == "s1:00000000"
    assert replace(EMPTY, epoch=17).kin == "s1:00000011"
    assert FULL.kin == "s0:00000000"


def test_what_is_committed_of_a_session_is_the_line_without_its_running_turn():
    assert EMPTY.committed == Line()
    record, _ = claim_in(EMPTY)
    assert record.committed == Line()
    idle = replace(record, open=None)
    assert idle.committed == Line(end=1, made=1)
    running, _ = claim_in(idle)
    assert running.committed == idle.line
    revising, _ = claim_in(idle, revises=1, hidden=[user("old", turn=2)] * 1)
    assert [revising.line.current(1), revising.committed.current(1)] == [2, 1]


@pytest.mark.parametrize(("turn", "version"), [(2, 1), (2, 3), (3, 2), (4, 1)])
def test_a_running_turn_that_no_step_tells_of_is_no_new_version(turn, version):
    mark = OpenTurn(owner="own_1", holder="a kernel", since=NOW, turn=turn, version=version)
    assert not replace(FULL, open=mark).revises
    assert replace(FULL, open=replace(mark, turn=2, version=2)).revises
