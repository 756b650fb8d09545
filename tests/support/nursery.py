"""Children to be killed, forked from a process that has imported everything: in milliseconds."""

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.processes import python


@dataclass(frozen=True)
class Life:
    """What there is to know of a child that has ended.

    Attributes:
        said: What it said, in order.
        code: Its exit code, or minus the signal that ended it.
        end: When it ended, on the clock that only goes forward.
    """

    said: list
    code: int
    end: float


class Nursery:
    """Forks children; see ``nursery``."""

    def __init__(self, process):
        self._process = process

    def life(self, kill_after=None, **work):
        """The life of a child that does this work, until its end or for so many seconds."""
        killed = []

        def kill(pid):
            killed.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)

        self._write(json.dumps(work))
        pid = self._read()["pid"]
        killer = threading.Timer(0 if kill_after is None else kill_after, kill, [pid])
        if kill_after is not None:
            killer.start()
        said = []
        while "over" not in (line := self._read()):
            said.append(line)
        if kill_after is not None:
            killer.cancel()
            killer.join()
        self._write("")  # only now is its number free for another process
        return Life(said, line["over"], killed[0] if killed else line["at"])

    def _write(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self):
        line = self._process.stdout.readline()
        assert line, f"the nursery ended with {self._process.wait()}"
        return json.loads(line)


@contextmanager
def nursery(module):
    """A process that forks children, each of which calls ``work(**what)`` of a module."""
    code = f"from tests.support import nursery\nfrom {module} import work\nnursery.serve(work)"
    with python(code, "none") as process:
        yield Nursery(process)
        process.stdin.close()
        process.wait()


def serve(work):
    """Forks a child for every line that comes in; tells of its beginning and its end."""
    while line := sys.stdin.readline():
        wait, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(wait, 1)
            code = 1
            try:
                work(**json.loads(line))
                code = 0
            finally:
                os._exit(code)
        say(pid=pid)
        os.write(go, b".")
        os.close(wait)
        os.close(go)
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
        say(over=code, at=time.monotonic())
        sys.stdin.readline()
        os.waitpid(pid, 0)


def say(**what):
    """Says something at once and whole, even if the process is killed right after."""
    os.write(1, json.dumps(what).encode() + b"\n")


def kill_at_statement(number):
    """Has this process killed as its so many-th SQLite statement begins, in whatever thread."""
    begun = 0
    connect = sqlite3.connect

    def count(_):
        nonlocal begun
        begun += 1
        if begun == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = watched
