"""Who holds the locks of a store now: seen from outside, without keeping anybody waiting.

A lock is asked for as those ask who share it, for a moment; a writer who comes just then tries
again half a millisecond later.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dexto_magic.conversation.health import Finding, LockHolder
from dexto_magic.stores.forks import Descriptor

_PATIENCE = 1.0
"""Seconds for which the gate must be held by one and the same to be told of: commits take less."""

_DELAY = 0.005

_LOCKS = Path("/proc/locks")
_OWN = re.compile(r"process (\d+) on (.+)")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A lock file that somebody holds.

    Attributes:
        path: The file.
        pid: Of the process, if the system tells.
        signed: What the file says of who holds it.
        since: When it was signed; UTC.
    """

    path: Path
    pid: int | None
    signed: str
    since: datetime


def gate_holder(gate: Path) -> Locked | None:
    """Who has kept the gate for a while, or ``None``.

    Raises:
        OSError: Nobody can tell.
    """
    deadline = time.monotonic() + _PATIENCE
    first = held = locked(gate)
    while held is not None and time.monotonic() < deadline:
        time.sleep(_DELAY)
        held = locked(gate)
    # Where each time it is another one, it is only busy.
    return held if first is not None and held is not None and held == first else None


def locked(path: Path) -> Locked | None:
    """Who holds a lock file, or ``None`` if nobody does, or if there is none.

    Raises:
        OSError: Nobody can tell.
    """
    try:
        file = Descriptor(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with closing(file):
        try:
            fcntl.flock(file.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found = os.fstat(file.number)
            return Locked(
                path=path,
                pid=_pid(found.st_ino),
                signed=os.pread(file.number, 300, 0).decode(errors="replace").strip(),
                since=datetime.fromtimestamp(found.st_mtime, UTC),
            )
    return None


def holder_of(gate: Locked) -> LockHolder:
    """Who holds the gate, in words."""
    state = "stopped" if _is_stopped(_pid_of(gate)) else ""
    return LockHolder(
        lock="gate",
        holder=gate.signed or _named(gate.pid),
        since=gate.since,
        doing=f"writing{', but ' + state if state else ''}",
    )


def gate_findings(gate: Locked) -> Iterator[Finding]:
    """What is to be known of a gate that one has kept for a while."""
    pid, who = _pid_of(gate), gate.signed or _named(gate.pid)
    since = f"since {gate.since:%Y-%m-%d %H:%M:%S} UTC"
    if _is_stopped(pid):
        yield Finding(
            level="problem",
            what=f"{who} is stopped, and has kept the right to write to itself {since}: others read, "
            "but nobody else can write.",
            next=f"Let it go on with `kill -CONT {pid}`, or end it with `kill -KILL {pid}`: what it "
            "has not committed is undone.",
        )
    else:
        yield Finding(
            level="problem",
            what=f"{who} has kept the right to write to itself {since}: a large change, or it hangs.",
            next="Look again in a minute; if it is still the same one, end that process: what it has "
            "not committed is undone.",
        )


def owners(folder: Path) -> Iterator[tuple[str, Locked | None]]:
    """The owners that have a lock file, and who holds it; ``None`` if they are dead.

    Raises:
        OSError: Nobody can tell.
    """
    for path in sorted(folder.glob("own_*.lock")):
        with suppress(FileNotFoundError):
            yield path.stem, locked(path)


def owner_holder(lock: Locked, runs: list[tuple[str, str, datetime]]) -> Iterator[LockHolder]:
    """A live owner in words, once for each turn that it runs: session, name and beginning."""
    for session_id, name, since in runs:
        doing = f"running a turn of {session_id!r}"
        yield LockHolder(lock="owner", holder=name, since=since, doing=doing)
    if not runs:
        yield LockHolder(lock="owner", holder=_named(lock.pid), since=lock.since)


def _named(pid: int | None) -> str:
    return "an unknown process" if pid is None else f"process {pid}"


def _pid_of(gate: Locked) -> int | None:
    match = _OWN.fullmatch(gate.signed)
    if gate.pid is None and match is not None and match[2] == socket.gethostname():
        return int(match[1])
    return gate.pid


def _pid(inode: int) -> int | None:
    """The process that holds a lock on a file alone, as Linux tells."""
    with suppress(OSError, ValueError):
        for line in _LOCKS.read_text().splitlines():
            _, kind, _, mode, pid, place, *_ = [*line.replace("-> ", "").split(), *[""] * 7]
            if kind == "FLOCK" and mode == "WRITE" and place.rpartition(":")[2] == str(inode):
                return int(pid) if int(pid) > 0 else None
    return None


def _is_stopped(pid: int | None) -> bool:
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] in ("T", "t")
    return False
