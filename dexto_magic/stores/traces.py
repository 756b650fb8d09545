"""What stands in the database's file of rows that are no longer in the database.

SQLite overwrites what it deletes, but not the copies that it leaves in the unused part of a page
from which rows were moved (measured: 1 of 3,000 deleted rows could still be read). So the file is
read as it is, beside SQLite.
"""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from dexto_magic.stores.forks import Descriptor

_BLOCK: Final = 2**20
"""Bytes that are looked through at a time: less than a millisecond, in which no other thread runs."""

_LONGEST = 64
"""Bytes of the longest key that is looked for, and more."""

_FEW = 8
"""Sids of which each is looked for by itself (2 GB/s each), rather than all at once (120 MB/s)."""

_PAST_NS = 10 * 10**9
"""How long ago a marked file seems to be changed: more than any clock of a file system rounds."""

_ANY_KEY = re.compile(rb"[bmps]:[0-9a-f]{16}")

_KEY = re.compile(rb"(?:m:[0-9a-f]{16}:[0-9a-f]{8}:[0-9a-f]{12}|[ps]:[0-9a-f]{16}|b:[0-9a-f]{16}:)")


class RawFile:
    """The database's file, to be read beside SQLite.

    To close a file ends all locks that the process holds on it, those of SQLite too, and the next
    process that closes the store takes itself for the last, and removes the log that is still
    written here (https://sqlite.org/howtocorrupt.html). So it is opened once, and closed when no
    table of this process is left that has it open: see ``shared``.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: Descriptor | None = None

    @classmethod
    def shared(cls, path: Path) -> RawFile:
        """The one of this process for a file that is there; to be kept as long as SQLite has it."""
        found = path.stat()
        with _SHARING:
            file = _SHARED.get((found.st_dev, found.st_ino))
            if file is None:
                file = _SHARED[found.st_dev, found.st_ino] = cls(path.resolve())
            elif file._descriptor is None:
                file._path = path.resolve()  # it was moved, or its number is another file's by now
            return file

    @property
    def _number(self) -> int:
        if self._descriptor is None or self._descriptor.number < 0:  # which a forked child closes
            self._descriptor = Descriptor(self._path, os.O_RDONLY)
            # Not at exit: threads that write may outlive that for a while.
            weakref.finalize(self, self._descriptor.close).atexit = False
        return self._descriptor.number

    def size(self) -> int:
        """Bytes that it has."""
        return os.fstat(self._number).st_size

    def read(self, start: int, count: int) -> bytes:
        """Up to so many bytes from a place on."""
        return os.pread(self._number, count, start)

    def mark(self) -> int | None:
        """Marks the file as it is; ``None`` if this user may not.

        By a time of change that no write gives it: SQLite writes through the system, which sets
        that to its own clock's, exact to some milliseconds at best, and this is not of now.
        """
        at = time.time_ns() - _PAST_NS
        try:
            os.utime(self._number, ns=(at, at))
        except PermissionError:
            return None  # it is another user's, who shares it
        return os.fstat(self._number).st_mtime_ns

    def has_mark(self, mark: int | None) -> bool:
        """Whether it is as it was when it was marked so: nobody has written to it, or marked it."""
        return mark is not None and os.fstat(self._number).st_mtime_ns == mark


_SHARING = threading.Lock()
"""No child is forked meanwhile: whoever opens a table holds a lock for which that waits."""

_SHARED: weakref.WeakValueDictionary[tuple[int, int], RawFile] = weakref.WeakValueDictionary()


class Search:
    """Looks through the file for the keys of sessions' rows, a block at a time.

    Args:
        file: The file.
        sids: The sessions' sids.

    Attributes:
        found: How often each key stands there, as far as it was looked through; of attachments'
            keys all of a session's, by what they begin with.
    """

    def __init__(self, file: RawFile, sids: Collection[str]) -> None:
        self.found: Counter[bytes] = Counter()
        self._file = file
        self._sids = {sid.encode() for sid in sids}
        self._at = 0
        self._end = file.size()

    def go_on(self) -> bool:
        """Looks through the next block; whether there is another one."""
        block = self._file.read(self._at, _BLOCK + _LONGEST)
        for start in self._starts(block):
            match = _KEY.match(block, start)
            if match is not None and start < _BLOCK:  # else it is found in the next block
                self.found[match[0]] += 1
        self._at += _BLOCK
        return self._at < self._end

    def _starts(self, block: bytes) -> Iterator[int]:
        """Where in a block a key may begin."""
        if len(self._sids) > _FEW:
            for match in _ANY_KEY.finditer(block):
                if match[0][2:] in self._sids:
                    yield match.start()
            return
        for sid in self._sids:
            at = block.find(sid, 2)
            while at >= 0:
                yield at - 2
                at = block.find(sid, at + 1)
