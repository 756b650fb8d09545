"""How a session of many rows is built, one transaction after another, while others get their turn.

What each transaction does is in ``building``. Whoever builds has a liveness lock of its own, so
that what it leaves behind when it dies or gives up is collected.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from dexto_magic.cancellation import let_cancel as _let_cancel
from dexto_magic.conversation import descent
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.conversation.wire import aside_to_json, message_to_json
from dexto_magic.stores import building
from dexto_magic.stores.building import AT_ONCE, Fork, Span
from dexto_magic.stores.codec import Row, encode
from dexto_magic.stores.engine import Engine
from dexto_magic.stores.ledger import Ledger, new_sid
from dexto_magic.stores.waiting import outcome


async def forked(engine: Engine, session_id: str, new_id: str, turn: int | None) -> Session | None:
    """A fork, or ``None`` if what it comes from lost turns while it was made."""
    sid = new_sid()

    def plan(ledger: Ledger) -> Fork:
        return building.planned(ledger.entries, session_id, new_id, sid, turn)

    fork = await outcome(engine.read(plan))

    def copy(spans: Sequence[Span], ledger: Ledger) -> None:
        building.copy(ledger.entries, fork, spans)

    def copy_files(digests: Sequence[str], ledger: Ledger) -> None:
        building.copy_files(ledger.entries, fork, digests)

    async with _under_construction(engine, sid):
        for spans in building.batches(fork.spans):
            await outcome(engine.write(functools.partial(copy, spans)))
            _let_cancel()
        for digests in building.files_at_once(fork.files):
            await outcome(engine.write(functools.partial(copy_files, digests)))
            _let_cancel()
        return await outcome(
            engine.write(lambda ledger: building.finish_fork(ledger.entries, fork))
        )


async def restored(engine: Engine, transcript: Transcript, source: str | None) -> Session:
    """A session from a transcript."""
    sid = new_sid()
    record = descent.restored(transcript, sid=sid, name=transcript.session.id, source=source)
    files = {digest: Row.of_bytes(content) for digest, content in transcript.files.items()}

    def write(start: int, rows: Sequence[Row], ledger: Ledger) -> None:
        building.write(ledger.entries, sid, start, rows)

    def write_files(digests: Sequence[str], ledger: Ledger) -> None:
        building.write_files(ledger.entries, sid, {digest: files[digest] for digest in digests})

    def finish(ledger: Ledger) -> Session:
        return building.finish_restored(ledger.entries, record, home=transcript.session.home)

    async with _under_construction(engine, sid):
        forms, start = _forms(transcript), 0
        while forms_at_once := list(islice(forms, AT_ONCE)):
            # Before the transaction, which keeps others out.
            rows = [encode(form) for form in forms_at_once]
            await outcome(engine.write(functools.partial(write, start, rows)))
            _let_cancel()
            start += len(rows)
        sizes = {digest: len(row.data) for digest, row in files.items()}
        for digests in building.files_at_once(sizes):
            await outcome(engine.write(functools.partial(write_files, digests)))
            _let_cancel()
        return await outcome(engine.write(finish))


def _forms(transcript: Transcript) -> Iterator[dict[str, Any]]:
    """The rows of a transcript: messages by turn and version, so that any in view are in order."""
    messages = (*transcript.messages, *transcript.others)
    yield from map(message_to_json, sorted(messages, key=lambda said: (said.turn, said.version)))
    yield from map(aside_to_json, transcript.asides)


@asynccontextmanager
async def _under_construction(engine: Engine, sid: str) -> AsyncIterator[None]:
    """Marks the rows of a session as somebody's work, until it is there or given up."""
    owner = await outcome(engine.join("building a session"))
    try:
        await outcome(engine.write(lambda ledger: building.begin(ledger.entries, sid, owner.id)))
        yield
    except BaseException:
        engine.leave(owner)
        engine.purge()
        raise
    engine.leave(owner)
    engine.purge()  # of a fork that was given up
