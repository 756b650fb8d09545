"""Locks between processes: who may write, and who is alive.

Both are locks of the operating system on a descriptor that we own: the kernel lets go of them at
once when a process ends, however it ends. Lock files are never removed while they may be held: a
file that is unlinked while it is held lets two in.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from dexto_magic.conversation.messages import new_id
from dexto_magic.errors import StoreBusyError, StoreError
from dexto_magic.stores.faults import translation
from dexto_magic.stores.filesystems import mount_of, unfit
from dexto_magic.stores.forks import Descriptor
from dexto_magic.stores.protocol import Owner

_FIRST_DELAY = 0.0005
_LONGEST_DELAY = 0.01
"""Seconds between attempts at a lock that is held: short, as a commit takes about one or two."""


_NO_LOCK_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""What opening a lock file meets where there is none, or something that is none of ours."""

_OWNER_ID = re.compile("own_[a-z0-9]{12}")


class Gate:
    """The one place through which all writes to a store go, one process at a time.

    SQLite's own busy wait is unfair (at 8 processes of 5,000 appends the worst waited 3.0 s), and
    its WAL-reset bug (3.7.0 to 3.51.2) needs several processes that write and checkpoint at once.
    The file holds the name of whoever is in, so that one who waits in vain can say for whom.

    Args:
        path: The lock file, beside the store.
        timeout: Seconds to wait before ``StoreBusyError``.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._file = Descriptor(path, os.O_RDWR | os.O_CREAT)
        self._name = f"{_process()}\n".encode()

    @contextmanager
    def entered(self, *, given_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Holds the gate; yields ``False``, without it, if ``given_up`` says so while waiting.

        Raises:
            StoreBusyError: Somebody else held it until the time-out.
            StoreError: The lock file, and so the store, was removed, or the disk is full.
        """
        if not self._wait(given_up):
            yield False
            return
        try:
            self._check_place()
            self._sign()
            yield True
        finally:
            unlock_descriptor(self._file.number)

    def _sign(self) -> None:
        try:
            os.pwrite(self._file.number, self._name, 0)
            os.ftruncate(self._file.number, len(self._name))
        except OSError as error:
            raise translation(error, self._path.parent) from error

    def _wait(self, given_up: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self._timeout
        delay = _FIRST_DELAY
        while not self._taken():
            if given_up():
                return False
            if time.monotonic() > deadline:
                holder = self.holder()
                raise StoreBusyError(
                    f"The store in {self._path.parent} was kept busy by {holder} for "
                    f"{self._timeout:g} s; nothing was written. If that process is stopped or "
                    "hangs, let it go on or end it, then try again.",
                    path=str(self._path.parent),
                    holder=holder,
                )
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)
        return True

    def _taken(self) -> bool:
        try:
            return lock_descriptor(self._file.number, blocking=False)
        except OSError as error:  # such as ENOLCK
            folder = self._path.parent
            raise unfit(folder, mount_of(folder)) from error

    def holder(self) -> str:
        """Who was in last, in words."""
        with suppress(UnicodeDecodeError):
            return os.pread(self._file.number, 300, 0).decode().strip() or "an unknown process"
        return "an unknown process"

    def _check_place(self) -> None:
        held = os.fstat(self._file.number)
        try:
            there = self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            there = None
        if there is None or (there.st_ino, there.st_dev) != (held.st_ino, held.st_dev):
            raise StoreError(
                f"The store in {self._path.parent} was removed or replaced while it was open; "
                "nothing was written. Restart this kernel to open what is there now.",
                path=str(self._path.parent),
            )

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()


class Liveness:
    """Proof that one owner is alive: a lock on a file of its own.

    To be made inside the gate only: until it is locked, the file looks like a dead owner's.

    Args:
        folder: Where the owners of a store have their lock files.
        label: What the owner is, in words, for those who have to wait for it.

    Raises:
        StoreError: The file cannot be made.
    """

    def __init__(self, folder: Path, label: str) -> None:
        self.owner = Owner(id=new_id("own"), holder=f"{label} ({_process()})")
        self._path = _lock_file(folder, self.owner.id)
        try:
            self._file = Descriptor(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            raise translation(error, folder.parent) from error
        lock_descriptor(self._file.number, blocking=False)

    def end(self) -> None:
        """Ends the owner, also outside the gate. Its file can go: the name is never used again."""
        with suppress(OSError):  # a folder that is gone, or no longer ours, keeps no owner alive
            self._path.unlink()
        self._file.close()


def is_alive(folder: Path, owner_id: str) -> bool:
    """Whether the owner still holds its lock.

    Those who ask share a lock for a moment, so none takes another for the owner: it can be asked at
    any time, outside the gate too.

    Raises:
        StoreError: Nobody can tell.
    """
    if not _OWNER_ID.fullmatch(owner_id):
        return False  # no owner has such an id, and it must not become part of a path
    try:
        fd = os.open(_lock_file(folder, owner_id), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # filelock's locks are of the same kind, but never shared.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(fd)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in _NO_LOCK_FILE:
            return False
        # Nobody is dead for want of a descriptor.
        raise translation(error, folder.parent) from error
    return False


def sweep(folder: Path) -> None:
    """Removes the lock files of dead owners. To be called inside the gate only."""
    for path in folder.glob("own_*.lock"):
        if not is_alive(folder, path.stem):
            with suppress(OSError):  # somebody's folder of that name, or not ours to remove
                path.unlink()


def _lock_file(folder: Path, owner_id: str) -> Path:
    return folder / f"{owner_id}.lock"


def _process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
