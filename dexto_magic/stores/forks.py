"""What a fork waits for, and what a forked child lets go of.

A child has its parent's memory and open files, but only the thread that forked. A mutex that
another thread holds at that moment, SQLite's own among them, stays held in the child for ever
(measured: 5 of 60 children that were forked during writes hung), and an open file that child and
parent share keeps the parent's locks between processes alive when the parent is dead.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import weakref
from pathlib import Path

_FORKING = threading.RLock()
"""Held while a process forks: one at a time, and no new lock comes up meanwhile."""

_OPENING = threading.RLock()
"""Held while a file is opened or closed, so that no child gets one that it does not know of."""

_LOCKS: weakref.WeakValueDictionary[int, threading.Lock] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()
_DESCRIPTORS: weakref.WeakSet[Descriptor] = weakref.WeakSet()


def new_lock() -> threading.Lock:
    """A lock for the use of SQLite: the process forks only while nobody holds it.

    Whoever holds it must not wait for another thread or process: all that fork would wait, too.
    """
    _register_at_fork()
    lock = threading.Lock()
    with _FORKING:
        _LOCKS[next(_NUMBERS)] = lock
    return lock


class Descriptor:
    """An open file that forked children close.

    Args:
        path: The file; a link is not followed.
        flags: As for ``os.open``.

    Attributes:
        number: The descriptor, or -1 if it is closed.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, flags: int) -> None:
        _register_at_fork()
        with _OPENING:
            self.number = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            _DESCRIPTORS.add(self)

    def close(self) -> None:
        """Closes it, without unlocking: in a forked child that would free the parent's lock."""
        with _OPENING:
            number, self.number = self.number, -1
            if number >= 0:
                os.close(number)


@functools.cache
def _register_at_fork() -> None:
    held: list[threading.Lock] = []

    def wait() -> None:
        # In this order, as a thread that holds one of the locks may open files.
        _FORKING.acquire()
        for lock in list(_LOCKS.values()):  # as they were made
            lock.acquire()
            held.append(lock)
        _OPENING.acquire()

    def go_on() -> None:
        _OPENING.release()
        while held:
            held.pop().release()
        _FORKING.release()

    def begin_as_child() -> None:
        for descriptor in list(_DESCRIPTORS):
            descriptor.close()
        go_on()

    os.register_at_fork(before=wait, after_in_parent=go_on, after_in_child=begin_as_child)
