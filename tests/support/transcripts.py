"""Conversations of every kind, for tests by property: any that there can be, and any that make sense.

Texts are of every code point, half surrogate pairs and NUL among them.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from dexto_magic.conversation.history import automatic_title
from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import (
    Aside,
    Attachment,
    Message,
    Origin,
    ToolCall,
    Usage,
    turns_of,
)
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.formats.records import session_name
from tests.support.hostile import HOSTILE

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
"""The time at which tests import."""

NASTY = (
    "",
    "\n",
    " two\n\nparagraphs \n",
    "\ud83d\ude00",  # two halves that would join
    "\udead",
    "\0\x1b[31m\x07",
    "line\u2028separator\u2029and\x85next\rreturn\r\n",
    "\N{PILE OF POO}\N{ZERO WIDTH JOINER}\u0301\ufeff",
    "```\n## Turn 2\n```",
    "%%dexto other\nnot a cell",
    "x" * 5_000,
)
texts = (
    st.text(st.characters(exclude_categories=()), max_size=40)
    | st.sampled_from(NASTY)
    | st.sampled_from(HOSTILE)
)
words = texts.filter(bool)
numbers = st.integers(min_value=-(2**200), max_value=2**200) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
options = st.dictionaries(texts, values, max_size=3)
counts = st.integers(min_value=0, max_value=2**70)
turns = st.integers(min_value=0, max_value=100_000)
versions = st.dictionaries(turns, st.integers(min_value=1, max_value=9), max_size=3)
times = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001  # the zone is drawn
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001  # likewise
    timezones=st.just(UTC)
    | st.integers(min_value=-1439, max_value=1439).map(lambda n: timezone(timedelta(minutes=n))),
).map(lambda time: time.replace(fold=0))  # which fixed offsets have no use for
names = texts.map(lambda text: session_name(text, "unnamed"))

usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_tokens=st.none() | counts,
    reasoning_tokens=st.none() | counts,
)
attachments = st.builds(Attachment, name=texts, media_type=texts, digest=texts, size=counts)
calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts)
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool"]),
    content=texts,
    id=texts,
    created_at=times,
    turn=turns,
    version=st.integers(min_value=1, max_value=2**70),
    status=st.sampled_from(["complete", "stopped", "failed"]),
    reason=st.none() | texts,
    origin=st.none() | st.builds(Origin, notebook=st.none() | texts, cell_id=st.none() | texts),
    attachments=st.lists(attachments, max_size=2).map(tuple),
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    tool_call_id=st.none() | texts,
    reasoning=texts,
    model=st.none() | texts,
    provider=st.none() | texts,
    options=options,
    usage=st.none() | usages,
    finish_reason=st.none() | texts,
    duration=st.none() | st.floats(),
)
asides = st.builds(
    Aside,
    kind=st.sampled_from(["summary", "title"]),
    content=texts,
    id=texts,
    created_at=times,
    turn=counts,
    through=st.none() | texts,
    versions=versions,
    model=st.none() | texts,
    provider=st.none() | texts,
    usage=st.none() | usages,
    duration=st.none() | st.floats(),
)
steps = st.lists(
    st.builds(Step, turn=turns, version=counts, before=st.none() | counts, end=turns), max_size=2
).map(tuple)
lines = st.builds(
    Line,
    end=turns,
    made=turns,
    versions=versions,
    latest=versions,
    replaced=steps,
    undone=steps,
    gone=st.lists(turns, max_size=3).map(tuple),
)
sessions = st.builds(
    Session,
    id=names,
    title=st.none() | texts,
    created_at=times,
    updated_at=times,
    message_count=counts,
    turn_count=counts,
    model=st.none() | texts,
    system=st.none() | texts,
    own_title=st.booleans(),
    overflow=st.sampled_from([None, "compact", "trim", "error"]),
    context_budget=st.none() | counts,
    forked_from=st.none() | texts,
    forked_at=st.none() | counts,
    usage=usages,
    home=st.none() | texts,
    notebooks=st.lists(texts, max_size=3).map(tuple),
)
files = st.lists(st.binary(max_size=50), max_size=3).map(
    lambda pieces: {hashlib.sha256(data).hexdigest(): data for data in pieces}
)

transcripts = st.builds(
    Transcript,
    session=sessions,
    messages=st.lists(messages, max_size=4).map(tuple),
    others=st.lists(messages, max_size=2).map(tuple),
    asides=st.lists(asides, max_size=2).map(tuple),
    line=st.none() | lines,
    files=files,
)
"""Any transcript at all, whether or not its parts have anything to do with each other."""


@st.composite
def conversations(draw, contents=texts):
    """A transcript as a store gives it: turns from 1, each a user message and what follows it."""
    said = []
    for turn in range(1, draw(st.integers(min_value=1, max_value=3)) + 1):
        roles = ["user", *draw(st.lists(st.sampled_from(["assistant", "tool"]), max_size=3))]
        for role in roles:
            message = draw(messages)
            said.append(
                replace(
                    message,
                    role=role,
                    content=draw(contents),
                    id=f"msg_{len(said):012x}",
                    turn=turn,
                    version=1,
                    tool_call_id=message.tool_call_id if role == "tool" else None,
                    tool_calls=message.tool_calls if role == "assistant" else (),
                )
            )
    session = replace(
        draw(sessions),
        title=automatic_title(said[0].content),
        own_title=False,
        message_count=len(said),
        turn_count=len(turns_of(said)),
    )
    return Transcript(session=session, messages=tuple(said), files=draw(files))


def same(one, other):
    """Whether two values are equal in every field, where NaN is as good as NaN and True not 1."""
    if type(one) is not type(other):
        return False
    if is_dataclass(one):
        return all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return one == other
