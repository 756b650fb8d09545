"""The place where a store is: its files and who may read them, the file system, and the room left.

Looked at only by their names and states, as a database may not be opened beside SQLite: closing it
would end the locks that this process has on it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dexto_magic.conversation.health import Finding
from dexto_magic.stores.faults import DATABASE
from dexto_magic.stores.filesystems import Mount, mount_of

LITTLE_ROOM = 64 * 2**20
"""Bytes; with less than this a store may be full before anybody notices."""

_VOLATILE = ("tmpfs", "ramfs")

_NAMED = 3
"""Paths that are named one by one."""

_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))
_MENDED = ((3, 44, 6), (3, 50, 7))
"""Versions of SQLite: from, up to, and of the series in which it was mended before 3.51.3."""


def has_wal_reset_bug(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether a version of SQLite may lose commits where several processes write and checkpoint."""
    first, last = _WAL_RESET_BUG
    mended = any(version[:2] == fixed[:2] and version >= fixed for fixed in _MENDED)
    return first <= version <= last and not mended


def sqlite_findings(version: str = sqlite3.sqlite_version) -> Iterator[Finding]:
    """What is to be known of a version of SQLite."""
    if has_wal_reset_bug(tuple(map(int, version.split(".")))):
        yield Finding(
            level="note",
            what=f"SQLite {version} has the WAL-reset bug (3.7.0 to 3.51.2; mended in 3.51.3, 3.50.7 "
            "and 3.44.6). It needs several processes that write at once, and the gate of this store "
            "lets in one at a time: nothing needs to be done.",
        )


def file_system_of(path: Path) -> str | None:
    """The type of the file system of a path, or ``None`` if the system does not tell."""
    mount = mount_of(existing(path))
    return None if mount is None else mount.kind


def file_system_findings(kind: str | None) -> Iterator[Finding]:
    """What is to be known of a type of file system."""
    if kind is not None and Mount(kind=kind).is_remote:
        yield Finding(
            level="problem",
            what=f"The store is on a network file system ({kind}): it is opened only where locks hold "
            "there, is slower, and only as safe as those locks are.",
            next="Make a backup with `dexto-magic backup FILE`, set DEXTO_HOME to a folder on a "
            "local disk, and `dexto-magic restore FILE` there.",
        )
    if kind in _VOLATILE:
        yield Finding(
            level="note",
            what=f"The store is in memory ({kind}), and gone when the machine is switched off.",
            next="Set DEXTO_HOME to a folder on a disk, if it is to last.",
        )


def free_bytes(path: Path) -> int | None:
    """Bytes that are free where a path is, or ``None`` if the system does not tell."""
    try:
        return shutil.disk_usage(existing(path)).free
    except OSError:
        return None


def room_findings(free: int | None, size: int) -> Iterator[Finding]:
    """What is to be known of the room that is left."""
    if free is not None and free < LITTLE_ROOM:
        yield Finding(
            level="problem",
            what=f"Only {free // 2**20} MB are free where the store is.",
            next="Make room: what is acknowledged is safe, but soon nothing more can be saved.",
        )
    elif free is not None and free < size:
        yield Finding(
            level="note",
            what="There is less room left than the store takes: it cannot be backed up beside itself, "
            "and what is deleted may not be purged from its files.",
        )


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if it is not there, or nobody can tell."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def access_findings(home: Path) -> Iterator[Finding]:
    """Who else may read the store, whose it is, and links where there should be files."""
    parts = list(_parts(home))
    links = [path for path, found in parts if path != home and stat.S_ISLNK(found.st_mode)]
    mine = [(path, found) for path, found in parts if path not in links]
    if links:
        yield Finding(
            level="problem",
            what=f"There is a symbolic link where the store should have a file: {_listed(links)}.",
            next="Find out who made it; then put what it leads to in its place.",
        )
    others = [path for path, found in mine if found.st_uid != os.geteuid()]
    if others:
        yield Finding(
            level="note",
            what=f"Not all of the store belongs to the user who runs this: {_listed(others)}.",
            next="Run it as the user whose store this is.",
        )
    open_ones = [path for path, found in mine if found.st_mode & 0o077]
    if open_ones:
        yield Finding(
            level="problem",
            what=f"Other users of this machine may get at {_listed(open_ones)}; folders should "
            "have mode 0700, files 0600.",
            next=f"`chmod -R go= {shlex.quote(str(home))}`",
        )


def _parts(home: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The folders and files of a store, as they are, and no others."""
    folders = ("sessions", "owners", "derived")
    files = [home / "gate.lock"]
    for folder in folders:
        with suppress(OSError):
            files += sorted((home / folder).iterdir())
    for path in (home, *(home / folder for folder in folders), *files):
        with suppress(OSError):
            found = path.stat() if path == home else path.lstat()
            yield path, found


def _listed(paths: list[Path]) -> str:
    named = ", ".join(map(str, paths[:_NAMED]))
    return named if len(paths) <= _NAMED else f"{named} and {len(paths) - _NAMED} more"


def sizes(home: Path) -> tuple[int, int]:
    """Bytes of the database and of its log."""
    database = home / "sessions" / DATABASE
    return size_of(database), size_of(database.with_name(f"{DATABASE}-wal"))
