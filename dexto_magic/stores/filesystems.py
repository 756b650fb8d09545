"""Which file system a store is on, and whether its locks keep processes apart.

Homes of most JupyterHubs are on a network file system. SQLite's write-ahead log needs memory that
all who use it share, so it cannot be used there (https://sqlite.org/wal.html); locks may hold, or
be granted to everybody. Nobody is told so by an error, only by a damaged store later: so it is
found out before a store is opened.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dexto_magic.errors import StoreError

MOUNTS: Final = Path("/proc/mounts")
"""Where Linux tells what is mounted; elsewhere nothing is known, and all counts as local."""

_REMOTE = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|glusterfs|beegfs|orangefs|pvfs2|virtiofs"
    r"|fuse\.(?:sshfs|glusterfs|s3fs|rclone|gcsfuse|blobfuse2?|ceph|juicefs|davfs)|davfs"
)

_LOCKS_OF_ITS_OWN = re.compile(r"nolock|nobrl|local_lock=(?:all|flock|posix)")
"""Options by which locks hold on one machine and are not heard of by the others."""

_PROBE = """
import fcntl, sys
for path, lock in zip(sys.argv[1:], (fcntl.flock, fcntl.lockf)):
    file = open(path, "r+b")
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        print("kept out")
    else:
        print("let in")
"""
"""Another process, which tries what ours are: the gate's, and SQLite's, which are of another kind."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """What is mounted somewhere.

    Attributes:
        kind: The type of the file system, as the system names it.
        options: How it is mounted.
    """

    kind: str
    options: tuple[str, ...] = ()

    @property
    def is_remote(self) -> bool:
        """Whether other machines may have it mounted, too."""
        return _REMOTE.fullmatch(self.kind) is not None

    @property
    def shares_locks(self) -> bool:
        """Whether other machines are told of its locks."""
        return not any(map(_LOCKS_OF_ITS_OWN.fullmatch, self.options))


def mount_of(folder: Path) -> Mount | None:
    """What a folder is on, or ``None`` where the system does not tell."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, found, deepest = folder.resolve(), None, -1
    for line in lines:
        _, point, kind, options, *_ = [*map(_unescaped, line.split(" ")), "", "", "", ""]
        # Of two in one place, the later one hides the other.
        if point and place.is_relative_to(point) and len(Path(point).parts) >= deepest:
            deepest = len(Path(point).parts)
            found = Mount(kind=kind, options=tuple(options.split(",")))
    return found


def locks_hold(folder: Path) -> bool:
    """Whether another process is kept out by a lock in a folder, and let in after it."""
    try:
        with ExitStack() as stack:
            files = [
                stack.enter_context(tempfile.NamedTemporaryFile(dir=folder, prefix="probe-"))
                for _ in range(2)
            ]
            names = [file.name for file in files]
            for file, lock in zip(files, (fcntl.flock, fcntl.lockf), strict=True):
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept_out = _tried(names) == ["kept out"] * 2
            for file, lock in zip(files, (fcntl.flock, fcntl.lockf), strict=True):
                lock(file, fcntl.LOCK_UN)
            return kept_out and _tried(names) == ["let in"] * 2
    except (OSError, subprocess.SubprocessError):
        return False


def journal_of(folder: Path) -> tuple[Literal["wal", "delete"], str | None]:
    """Which journal a place allows, and what is to be said of it, if anything.

    Raises:
        StoreError: None.
    """
    mount = mount_of(folder)
    if mount is None or not mount.is_remote:
        return "wal", None
    if not (mount.shares_locks and locks_hold(folder)):
        raise unfit(folder, mount)
    return "delete", warning_of(folder, mount)


def unfit(folder: Path, mount: Mount | None) -> StoreError:
    """The error for a place in which locks do not keep processes apart."""
    kind = "" if mount is None else f" ({mount.kind})"
    return StoreError(
        f"The store in {folder} was not opened: the locks of the file system there{kind} do not keep "
        "processes apart, and without them it would be damaged sooner or later. Set DEXTO_HOME to a "
        f"folder on a local disk, such as {_local_folder()}.",
        path=str(folder),
    )


def warning_of(folder: Path, mount: Mount) -> str:
    """What is said of a store on a network file system whose locks hold."""
    return (
        f"The store in {folder} is on a network file system ({mount.kind}). Its locks hold, so it is "
        "used, with a rollback journal: slower, and only as safe as those locks are. A folder on a "
        f"local disk is better, such as {_local_folder()}: set DEXTO_HOME to it."
    )


def _local_folder() -> Path:
    """A folder that is local, outlasts a restart if possible, and is free to be made."""
    places = [Path("/var/tmp"), Path(tempfile.gettempdir())]  # noqa: S108  # a proposal, not a use
    mounts = [mount_of(place) for place in places]
    local = [
        place
        for place, mount in zip(places, mounts, strict=True)
        if not (mount and mount.is_remote)
    ]
    return (local or places)[0] / f"dexto-magic-{os.getuid()}"


def _tried(names: list[str]) -> list[str]:
    command = [sys.executable, "-I", "-S", "-c", _PROBE, *names]
    # In a session of its own, as an interrupt in a terminal is sent to all of one.
    done = subprocess.run(  # noqa: S603  # this very interpreter
        command, capture_output=True, text=True, check=True, timeout=30, start_new_session=True
    )
    return done.stdout.splitlines()


def _unescaped(field: str) -> str:
    """A field of the table of mounts, in which spaces are written as octal numbers."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), field)
