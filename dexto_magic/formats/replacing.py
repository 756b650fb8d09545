"""A file that is written beside its place, and takes it once it is whole.

What is amid being written may be all that somebody ever said, and a kill leaves it where it is. So
it is for nobody else's eyes, and the next one that is written for the same place takes it away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_PRIVATE = 0o600

_PERMISSIONS = 0o777


@contextmanager
def replacing(place: Path) -> Iterator[BinaryIO]:
    """A file, open for writing, that takes a place when it ends well, and else is gone.

    Whoever may read what is at the place may read what takes it.

    Raises:
        OSError: It cannot be made, written, or put in its place.
    """
    name = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:12]
    _sweep(place.parent, f".dexto-{name}-*.part")
    mode = _mode_at(place)
    part, fd = _begun(place, name)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123  # a descriptor
            yield file
            file.flush()
            os.fchmod(fd, mode)
            part.replace(place)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _begun(place: Path, name: str) -> tuple[Path, int]:
    """A new file beside a place, and its descriptor, locked for as long as that is open."""
    while True:
        part = place.with_name(f".dexto-{name}-{secrets.token_hex(8)}.part")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
        with suppress(OSError):  # where there are no locks, nothing is swept, either
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.lexists(part):
            return part, fd
        os.close(fd)  # somebody who sweeps was there before it was locked


def _mode_at(place: Path) -> int:
    """Who may read a file at a place: as the one that is there, else as is usual in its folder."""
    with suppress(FileNotFoundError):
        return place.stat().st_mode & _PERMISSIONS  # what was for one's own eyes stays so
    # A file that is made tells; to ask for the umask is to set it, for all threads.
    probe = place.with_name(f".dexto-{secrets.token_hex(8)}.part")
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mode & _PERMISSIONS
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _sweep(folder: Path, pattern: str) -> None:
    """Removes what was left by those who were killed; what is still being written is locked."""
    for part in folder.glob(pattern):
        with suppress(OSError):  # it is locked, or gone by now, or not ours to remove
            fd = os.open(part, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
            finally:
                os.close(fd)
