"""A session's record for tests of how it moves: one that is empty, one that has everything."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

from dexto_magic.conversation.history import opened
from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import Usage
from dexto_magic.conversation.record import OpenTurn, SessionRecord
from tests.support.messages import user

MADE = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
NOW = MADE + timedelta(hours=1)
LATER = NOW + timedelta(seconds=5)

EMPTY = SessionRecord(sid="s1", id="eda", created_at=MADE, used_at=MADE)
FULL = SessionRecord(
    sid="s1",
    id="eda",
    created_at=MADE,
    used_at=NOW,
    epoch=3,
    rows=9,
    revision=20,
    line=Line(
        end=4,
        made=5,
        versions={2: 2},
        latest={2: 2},
        replaced=(Step(turn=2, version=2, before=1, end=3),),
        undone=(Step(turn=5, version=1, before=None, end=5),),
    ),
    messages=8,
    open=OpenTurn(owner="own_1", holder="a kernel", since=NOW, turn=4),
    title="Plot it",
    model="openai:gpt-4o",
    system="Be brief.",
    settings={"overflow": "trim", "context_budget": 1000},
    usage=Usage(input_tokens=10, output_tokens=5),
    forked_from="older",
    forked_at=1,
    parent="s0",
    family="s0:00000000",
    source="file.jsonl",
    home="/a.ipynb",
    notebooks=("/a.ipynb", "/b.ipynb"),
    marks=("cell c1", "cell c2"),
)


def claim_in(record, message=None, *, now=NOW, **revision):
    """The record and the claim after a turn was begun."""
    return opened(
        record, message or user("Plot it"), owner="own_1", holder="a kernel", now=now, **revision
    )


def changed(before, after):
    """The names of the fields that are not the same."""
    names = (field.name for field in fields(before))
    return {name for name in names if getattr(before, name) != getattr(after, name)}
