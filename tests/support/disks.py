"""What is on a disk where a store is, seen and touched behind its back."""

import sqlite3
from contextlib import closing, contextmanager

from dexto_magic.stores.locks import Gate
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
    return [
        path.name
        for path in store._home.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


async def collected(store):
    """Waits until nothing is left to be collected of what was removed, or never came to be."""
    await until(lambda: not raw(store, "SELECT key FROM Cache WHERE key LIKE 'x:%'"))
