"""The purge: taking what was removed out of the store's files, to the byte, one step at a time.

Collecting rows, emptying the log and writing the database anew are done inside the gate. To look
through the file for copies takes long, so that is done outside of it, while others write. They
change the log, but the file itself only when they empty that: then it is looked through again.
Once there is no copy in the file and none in the log, none can come to be.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice

from dexto_magic.stores.codec import encode
from dexto_magic.stores.keys import (
    CHANGES,
    NUMBER_ENDS,
    TOMBSTONES,
    USES,
    file_range,
    partial_key,
    session_key,
    sid_of_tombstone,
)
from dexto_magic.stores.removal import ALL, collect, is_of_the_living
from dexto_magic.stores.rows import FORGOTTEN
from dexto_magic.stores.table import Table
from dexto_magic.stores.threads import Job, Worker
from dexto_magic.stores.traces import Search

_OCCURRENCES = 2
"""How often the key of a row stands in the file: with the row, and in the index."""

_BLOCKS = 8
"""Blocks of the file that one step looks through."""

_KEYS = 1000
"""Keys that one step looks up."""

_ATTEMPTS = 3
"""How often the file is looked through outside the gate, before that is done inside."""

_FORGOTTEN = encode(FORGOTTEN)


class Purge:
    """One purge. Its steps are taken in turn, by the thread that writes or by the one that reads.

    Args:
        table: The table.
        is_alive: Whether an owner is alive.
    """

    def __init__(self, table: Table, *, is_alive: Callable[[str], bool]) -> None:
        self._table = table
        self._is_alive = is_alive
        self._wanted: set[str] | None = None
        self._look: _Look | None = None
        self._attempts = 0

    @property
    def has_begun(self) -> bool:
        """Whether a step of it was taken."""
        return self._wanted is not None

    @property
    def is_looking(self) -> bool:
        """Whether the next step only reads, and so needs no gate."""
        return self._look is not None and not self._look.is_over

    def step(self) -> bool | None:
        """Does some of it.

        Returns:
            Whether nothing of what had been removed when it began is in any file of the store any
            more; ``None`` if there is more to do. A session that is still being built may hold some
            of it, and another process that is reading keeps it in the log.
        """
        if self._look is None:
            return self._begin()
        if self.is_looking:
            self._look.go_on()
            return None
        look, self._look = self._look, None
        if not look.is_of_now:
            self._attempts += 1
            return None
        return self._end(look)

    def _begin(self) -> bool | None:
        """Collects rows; if there are none left, empties the log, and begins to look."""
        if self._wanted is None:
            self._wanted = set(self._tombstones())
        emptied = collect(self._table, is_alive=self._is_alive)
        if emptied is None:
            return None
        if not emptied:
            return self._outcome()
        if not self._table.purge_log():
            return False
        look = _Look(self._table, emptied)
        if look.can_tell and self._attempts < _ATTEMPTS:
            self._look = look
            return None
        while not look.is_over:
            look.go_on()
        return self._end(look)

    def _end(self, look: _Look) -> bool | None:
        """Removes copies, if some were found, and the tombstones; in the gate, like ``_begin``."""
        if look.has_found:
            # Of what is gone it takes no copy along: what is still found then stands in rows.
            self._table.rewrite()
            if not self._table.purge_log():
                return False
        with self._table.transaction():
            for key in look.tombstones:
                self._table.delete(key)
        return self._outcome()

    def _outcome(self) -> bool | None:
        left = [key for key in self._tombstones() if key in (self._wanted or ())]
        if all(is_of_the_living(self._table.get(key), self._is_alive) for key in left):
            return not left
        return None

    def _tombstones(self) -> list[str]:
        return self._table.keys(*TOMBSTONES, limit=ALL)


class _Look:
    """A look through the file for copies of rows that sessions had, or have forgotten.

    A row's key stands before what it says, and in the index: twice, if the row is there. To be
    begun inside the gate, when the log is empty.

    Args:
        table: The table.
        tombstones: The tombstones of the sessions.

    Attributes:
        tombstones: Those.
        is_over: Whether it is over.
        has_found: Whether there is such a copy, or what looks like one.
    """

    def __init__(self, table: Table, tombstones: Sequence[str]) -> None:
        self.tombstones = tombstones
        self.is_over = self.has_found = False
        self._table = table
        sids = {sid_of_tombstone(key) for key in tombstones}
        # As of now: what is written later is not in the file that is looked through.
        self._expected = _expected(table, sids)
        self._search = Search(table.file, sids)
        self._messages: Iterator[bytes] | None = None
        self._mark = table.file.mark()

    @property
    def can_tell(self) -> bool:
        """Whether it can tell if the file has changed."""
        return self._mark is not None

    @property
    def is_of_now(self) -> bool:
        """Whether the file is as it was when this was begun; to be asked inside the gate."""
        return self._table.file.has_mark(self._mark)

    def go_on(self) -> None:
        """Looks through some of it."""
        if self._messages is not None:
            keys = [key.decode() for key in islice(self._messages, _KEYS)]
            self.has_found = any(map(self._is_trace, keys))
            self.is_over = self.has_found or not keys
            return
        with self._table.translated():
            if all(self._search.go_on() for _ in range(_BLOCKS)):
                return
        found = self._search.found
        self._messages = (key for key in found if key.startswith(b"m:"))
        self.has_found = self.is_over = any(
            count > self._expected[key] for key, count in found.items() if key[:2] != b"m:"
        )

    def _is_trace(self, key: str) -> bool:
        """Whether there is a copy of a message that is gone; one of a message says nothing new.

        Rows are written once, so it does not matter that they are looked up later.
        """
        row = self._table.get_row(key)
        if row is None:
            return True
        return row == _FORGOTTEN and self._search.found[key.encode()] > _OCCURRENCES


def _expected(table: Table, sids: set[str]) -> Counter[bytes]:
    """How often keys of sessions' rows, but for messages, stand in the file if there is no copy."""
    expected: Counter[bytes] = Counter()
    for sid in sids:
        for key in (session_key(sid), partial_key(sid)):
            if table.get_row(key) is not None:
                expected[key.encode()] += _OCCURRENCES
        files = file_range(sid)
        expected[files[0].encode()] += _OCCURRENCES * len(table.keys(*files, limit=ALL))
    # The sid stands after a number in keys of use and change, of which the last two bytes may be
    # such a key's beginning. That of a session that is gone stays so for ever.
    for number in (b"s:", b"p:"):
        for kind in (USES, CHANGES):
            for found in table.keys_with(*kind, at=NUMBER_ENDS - len(number), part=number):
                expected[found[NUMBER_ENDS - len(number) :]] += _OCCURRENCES
    return expected


class Purger:
    """Does purges on a store's threads, one after another, each for all who asked before it began.

    Between two steps others get their turn.

    Args:
        new: Makes a purge.
        reader: The thread that reads.
        writer: The thread that writes, inside the gate.
        at_end: What to do after a purge, on the thread that writes.
    """

    def __init__(
        self,
        new: Callable[[], Purge],
        *,
        reader: Worker,
        writer: Worker,
        at_end: Callable[[], None],
    ) -> None:
        self._new = new
        self._reader = reader
        self._writer = writer
        self._at_end = at_end
        self._lock = threading.Lock()
        self._purge: Purge | None = None
        self._asked: list[Future[bool]] = []
        self._served: list[Future[bool]] = []

    @property
    def is_at_work(self) -> bool:
        """Whether there is a purge that is not over."""
        return self._purge is not None

    def ask(self) -> Future[bool]:
        """Asks for a purge; its outcome. It goes on if that is cancelled."""
        future: Future[bool] = Future()
        with self._lock:
            self._asked.append(future)
            if self._purge is not None:
                return future
            purge = self._purge = self._new()
        self._go_on(purge)
        return future

    def _go_on(self, purge: Purge) -> None:
        worker = self._reader if purge.is_looking else self._writer
        job = Job(partial(self._step, purge), alone=True)
        job.future.add_done_callback(partial(self._stepped, purge))
        worker.submit(job)

    def _step(self, purge: Purge) -> bool | None:
        if not purge.has_begun:
            with self._lock:
                self._served, self._asked = self._asked, []
        done = purge.step()
        if done is not None:
            self._at_end()
        return done

    def _stepped(self, purge: Purge, step: Future[bool | None]) -> None:
        error = step.exception()
        if error is None and step.result() is None:
            self._go_on(purge)
            return
        following: Purge | None = None
        with self._lock:
            served, self._served = self._served, []
            if error is not None:  # of all who have asked: the next purge would meet it as well
                served, self._asked = [*served, *self._asked], []
            elif self._asked:
                following = self._new()
            self._purge = following
        for future in served:
            if not future.set_running_or_notify_cancel():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(bool(step.result()))
        if following is not None:
            self._go_on(following)
