"""``dexto-magic`` as a shell runs it: in a process of its own, in a pipe or at a terminal."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pexpect
import pytest

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What drives a terminal, or reorders what stands beside it."""


def environment(**more):
    """A shell's environment, in which nothing decides how Python writes its output."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = os.pathsep.join(place for place in sys.path if place)
    return {**own, "PYTHONPATH": path, "COLUMNS": "80", **more}


def dexto(*arguments, command=(sys.executable, "-m", "dexto_magic"), **options):
    """Runs a command line whose output is piped, and whose input is at its end."""
    options = {
        "stdin": subprocess.DEVNULL,
        "env": environment(),
        "encoding": "utf-8",
        **options,
    }
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, check=False, **options
    )


def ok(*arguments, **options):
    """What a command line says that succeeds, and complains of nothing."""
    done = dexto(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(*arguments, code=1, **options):
    """What a command line complains of that fails, and says nothing else."""
    done = dexto(*arguments, **options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def at_a_terminal(*arguments, **more):
    """A command line at a terminal of its own, with ``more`` in its environment."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "dexto_magic", *arguments],
        env=environment(TERM="xterm", **more),
        dimensions=(24, 200),
        encoding="utf-8",
        timeout=60,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def ended(child):
    """What else it says, and its exit code."""
    child.expect(pexpect.EOF)
    child.close()
    return child.before, child.exitstatus


forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""A terminal takes a fork, of which Python 3.12 warns where other tests have left threads."""
