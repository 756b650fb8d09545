"""Values of every kind that a store or an export may hold, for hypothesis to choose from."""

import itertools
from datetime import UTC, timedelta, timezone

from hypothesis import settings
from hypothesis import strategies as st

from dexto_magic.conversation.line import Line, Step
from dexto_magic.conversation.messages import Aside, Attachment, Message, Origin, ToolCall, Usage
from dexto_magic.conversation.record import OpenTurn, Partial, SessionRecord

steady = settings(derandomize=True, deadline=None, max_examples=150)
"""How such tests run: the same each time, however long one example takes."""

# Every code point, lone surrogates and NUL among them. A high one right before a low one is not
# lone, and has a test of its own.
texts = st.text(st.characters(exclude_categories=())).filter(
    lambda text: (
        not any(
            "\ud800" <= high <= "\udbff" and "\udc00" <= low <= "\udfff"
            for high, low in itertools.pairwise(text)
        )
    )
)
words = texts.filter(bool)
numbers = st.integers(min_value=-(2**200), max_value=2**200) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
maps = st.dictionaries(texts, values, max_size=4)
counts = st.integers(min_value=0, max_value=2**70)
times = st.datetimes(
    timezones=st.just(UTC)
    | st.integers(min_value=-1439, max_value=1439).map(lambda n: timezone(timedelta(minutes=n)))
).map(lambda time: time.replace(fold=0))  # which fixed offsets have no use for

usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_tokens=st.none() | counts,
    reasoning_tokens=st.none() | counts,
)
origins = st.builds(Origin, notebook=words, cell_id=st.none() | words) | st.builds(
    Origin, cell_id=words
)
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool"]),
    content=texts,
    id=texts,
    created_at=times,
    turn=counts,
    version=st.integers(min_value=1),
    status=st.sampled_from(["complete", "stopped", "failed"]),
    reason=st.none() | words,
    origin=st.none() | origins,
    attachments=st.lists(
        st.builds(Attachment, name=texts, media_type=texts, digest=texts, size=counts), max_size=2
    ).map(tuple),
    tool_calls=st.lists(st.builds(ToolCall, id=texts, name=texts, arguments=texts), max_size=2).map(
        tuple
    ),
    tool_call_id=st.none() | words,
    reasoning=texts,
    model=st.none() | words,
    provider=st.none() | words,
    options=maps,
    usage=st.none() | usages,
    finish_reason=st.none() | words,
    duration=st.none() | st.floats(),
    sent_from=st.none() | counts,
)
asides = st.builds(
    Aside,
    kind=st.sampled_from(["summary", "title"]),
    content=texts,
    id=texts,
    created_at=times,
    turn=counts,
    through=st.none() | texts,
    versions=st.dictionaries(counts, counts, max_size=3),
    without=st.lists(counts, max_size=3).map(tuple),
    model=st.none() | words,
    provider=st.none() | words,
    usage=st.none() | usages,
    duration=st.none() | st.floats(),
)
steps = st.builds(Step, turn=counts, version=counts, before=st.none() | counts, end=counts)
lines = st.builds(
    Line,
    end=counts,
    made=counts,
    versions=st.dictionaries(counts, counts, max_size=3),
    latest=st.dictionaries(counts, counts, max_size=3),
    replaced=st.lists(steps, max_size=3).map(tuple),
    undone=st.lists(steps, max_size=3).map(tuple),
    gone=st.lists(counts, max_size=3).map(tuple),
)
marks = st.builds(
    OpenTurn,
    owner=texts,
    holder=texts,
    since=times,
    turn=counts,
    version=counts,
    cancel=st.booleans(),
    hides=counts,
    title=st.none() | texts,
)
records = st.builds(
    SessionRecord,
    sid=texts,
    id=texts,
    created_at=times,
    used_at=times,
    epoch=counts,
    rows=counts,
    revision=counts,
    line=lines,
    messages=counts,
    open=st.none() | marks,
    title=st.none() | texts,
    own_title=st.booleans(),
    model=st.none() | texts,
    system=st.none() | texts,
    settings=maps,
    usage=usages,
    forked_from=st.none() | texts,
    forked_at=st.none() | counts,
    parent=st.none() | texts,
    family=st.none() | texts,
    source=st.none() | texts,
    home=st.none() | texts,
    notebooks=st.lists(texts, max_size=3).map(tuple),
    marks=st.lists(texts, max_size=3).map(tuple),
)
partials = st.builds(Partial, epoch=counts, turn=counts, message=messages)


def with_strange_fields(value):
    """The same JSON with a field in every object that no version knows yet."""
    if isinstance(value, dict):
        return {name: with_strange_fields(inner) for name, inner in value.items()} | {"new": [1]}
    if isinstance(value, list):
        return [with_strange_fields(inner) for inner in value]
    return value
