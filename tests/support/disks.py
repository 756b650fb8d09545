"""What is on a disk where a store is, seen and touched behind its back."""

import os
import sqlite3
import stat
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

from dexto_magic.stores.locks import Gate
from tests.support.processes import in_child
from tests.support.waiting import until


def database(store):
    return store._home / "sessions" / "cache.db"


def raw(store, sql, *values):
    """Reads or changes the database behind the store's back."""
    connection = sqlite3.connect(database(store), isolation_level=None)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


@contextmanager
def gate_of_another(store):
    """Holds the gate as another process would."""
    with closing(Gate(store._home / "gate.lock", timeout=30)) as gate, gate.entered():
        yield


def files_with(store, text):
    """The names of files that hold a text; read by another process, as this one has them open."""
    command = ["grep", "-rlaF", "-e", text, "."]
    environment = os.environ | {"LC_ALL": "C"}
    found = subprocess.run(
        command, cwd=store._home, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert found.returncode in (0, 1)
    return [Path(path).name for path in found.stdout.splitlines()]


async def collected(store):
    """Waits until nothing is left to be collected of what was removed, or never came to be."""
    await until(lambda: not raw(store, "SELECT key FROM Cache WHERE key LIKE 'x:%'"))


@contextmanager
def unwritable(folder):
    """A folder of which nothing can be written, and how to run something as a user who is not root."""
    parents = [folder, *folder.parents]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [*parents, *folder.rglob("*")]}
    for path in modes:
        if path.is_relative_to(folder) or not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(0o555 if path.is_dir() else 0o444)

    def run(function):
        def as_user():
            if os.geteuid() == 0:  # root may write anywhere
                os.setgid(65534)
                os.setuid(65534)
            function()

        return in_child(as_user)

    try:
        yield run
    finally:
        for path, mode in modes.items():
            if stat.S_IMODE(path.stat().st_mode) != mode:
                path.chmod(mode)
