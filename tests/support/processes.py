"""Other processes for tests: real ones, told apart from this one by being killed."""

import os
import signal
import subprocess
import sys
import textwrap
import traceback
from contextlib import contextmanager

PRELUDE = """
import asyncio, os, sys
from dexto_magic.stores.disk import DiskStore
from tests.support.messages import assistant, user
home = sys.argv[1]

def say(*words):
    print(*words, flush=True)
"""


@contextmanager
def python(code, *arguments):
    """A Python process that runs ``code``; its output is read line by line with ``heard``."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def heard(process):
    """The next line that the process says."""
    line = process.stdout.readline()
    assert line, f"the process ended with {process.wait()}"
    return line.strip()


def kill(process):
    """Kills it as the kernel's out-of-memory killer would, and waits until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def in_child(function):
    """Runs ``function`` in a forked child; its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:  # noqa: BLE001  # told by the exit code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
