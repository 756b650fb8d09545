"""A session that is made of many rows, such as a fork, and is there whole or not at all.

It is built in several transactions, so that others get their turn, under a sid that nothing leads
to; the last one gives it its name and its record. Until then a tombstone stands for its rows, by
which they are collected if whoever builds it dies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dexto_magic.conversation import descent
from dexto_magic.conversation.history import check_turn
from dexto_magic.conversation.record import SessionRecord
from dexto_magic.conversation.revision import title_by_itself
from dexto_magic.conversation.session import Session, taken
from dexto_magic.stores import homes, removal, rows
from dexto_magic.stores.codec import Row, encode
from dexto_magic.stores.entries import Entries, Entry
from dexto_magic.stores.keys import (
    file_key,
    member_key,
    message_key,
    name_key,
    source_key,
)

AT_ONCE = 2000
"""Rows that one transaction writes."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Rows that are copied in one transaction.

    Attributes:
        start: The number of the first one in the session that they come from.
        end: The number of the row after the last.
        number: The number of the first one in the new session.
    """

    start: int
    end: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Fork:
    """A fork as it is planned.

    Attributes:
        parent: The session that it comes from.
        record: The new session.
        spans: The rows that it takes over.
        digests: The attachments that it takes over.
    """

    parent: SessionRecord
    record: SessionRecord
    spans: tuple[Span, ...]
    digests: frozenset[str]


def planned(entries: Entries, session_id: str, name: str, sid: str, turn: int | None) -> Fork:
    """The plan of a fork; reads only.

    Args:
        entries: The store's.
        session_id: The session that it comes from.
        name: The new one's name.
        sid: The store's name for it.
        turn: The last turn that it takes over, or ``None`` for all.

    Raises:
        SessionNotFoundError: There is no such session.
        SessionExistsError: The name is taken.
        SessionError: The turn is not in view, or is still running.
    """
    with entries.table.snapshot():
        parent = entries.known(session_id).record
        _refuse_taken(entries, name)
        committed = replace(parent, line=parent.committed)
        if turn is not None:
            check_turn(committed, turn)
        line = committed.line.up_to(committed.line.end if turn is None else turn)
        found = entries.read(parent, 0, parent.rows)
    messages = {
        n: rows.message_from_json(row) for n, row in enumerate(found) if rows.is_message(row)
    }
    shown = sorted(
        (number for number, message in messages.items() if line.shows(message)),
        key=lambda number: messages[number].turn,
    )
    asides = {n: rows.aside_from_json(row) for n, row in enumerate(found) if rows.is_aside(row)}
    summaries = [number for number, aside in asides.items() if descent.inherits(line, aside)]
    record = descent.forked(
        parent,
        sid=sid,
        name=name,
        line=line,
        rows=len(shown) + len(summaries),
        messages=len(shown),
        title=title_by_itself(line, [*messages.values()], [*asides.values()]),
        now=entries.now(),
    )
    return Fork(
        parent=parent,
        record=record,
        spans=tuple(_spans([*shown, *summaries])),
        digests=frozenset(
            attachment.digest for number in shown for attachment in messages[number].attachments
        ),
    )


def _spans(numbers: Sequence[int]) -> Iterator[Span]:
    """The numbers as spans of neighbours, in their order."""
    start = 0
    for at in range(1, len(numbers) + 1):
        ends = at == len(numbers) or numbers[at] != numbers[at - 1] + 1 or at - start == AT_ONCE
        if ends:
            yield Span(start=numbers[start], end=numbers[at - 1] + 1, number=start)
            start = at


def begin(entries: Entries, sid: str, owner_id: str) -> None:
    """Begins to build a session; a step of a transaction, as all that follow."""
    removal.begin_building(entries.table, sid, owner_id)


def copy(entries: Entries, fork: Fork, spans: Sequence[Span]) -> None:
    """Copies some of a fork's rows."""
    parent, sid = fork.parent, fork.record.sid
    for span in spans:
        entries.table.copy(
            message_key(parent.sid, parent.epoch, span.start),
            message_key(parent.sid, parent.epoch, span.end),
            prefix=message_key(sid, 0, 0)[:-12],
            number=span.number,
        )


def batches(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """The spans in groups, each for one transaction."""
    batch: list[Span] = []
    size = 0
    for span in spans:
        if batch and size + span.end - span.start > AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(span)
        size += span.end - span.start
    if batch:
        yield batch


def finish_fork(entries: Entries, fork: Fork) -> Session | None:
    """Makes a fork visible; ``None`` if what it comes from is no longer what was copied."""
    parent = entries.entry(fork.parent.sid)
    if parent is None or parent.record.epoch != fork.parent.epoch:
        return None
    if parent.record.forgets != fork.parent.forgets:
        return None
    for digest in fork.digests:
        content = entries.table.get_row(file_key(fork.parent.sid, digest))
        if content is not None:
            entries.table.set(file_key(fork.record.sid, digest), content)
    record = replace(fork.record, forked_from=parent.record.id)
    assert record.family is not None
    entries.table.add(member_key(record.family, record.sid), encode(None))
    return _finish(entries, record)


def write(entries: Entries, sid: str, start: int, encoded: Sequence[Row]) -> None:
    """Writes some of the rows of a session that is restored."""
    for number, row in enumerate(encoded, start=start):
        entries.table.add(message_key(sid, 0, number), row)


def finish_restored(
    entries: Entries, record: SessionRecord, *, home: str | None, files: Mapping[str, Row]
) -> Session:
    """Makes a restored session visible, at home in its notebook if that has no other.

    Where another one came from the same source meanwhile, it is that one.
    """
    _refuse_taken(entries, record.id)
    there = None if record.source is None else entries.restored(record.source)
    if there is not None:
        return there.record.session()  # what was built is collected, as nothing leads to it
    for digest, content in files.items():
        entries.table.set(file_key(record.sid, digest), content)
    if record.source is not None:
        key = source_key(record.source)
        entries.table.set(key, encode([*(entries.table.get(key) or ()), record.sid]))
    if home is not None and homes.sid_at_home(entries.table, home) is None:
        homes.settle(entries.table, home, record.sid)
        record = replace(record, home=home)
    return _finish(entries, record, back=True)


def _finish(entries: Entries, record: SessionRecord, *, back: bool = False) -> Session:
    _refuse_taken(entries, record.id)
    entries.table.add(name_key(record.id), encode(record.sid))
    removal.end_building(entries.table, record.sid)
    return entries.put(
        Entry(record, use=0, change=0), record, used=True, back=back
    ).record.session()


def _refuse_taken(entries: Entries, name: str) -> None:
    if entries.table.get(name_key(name)) is not None:
        raise taken(name)
