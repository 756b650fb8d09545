"""Stores that are looked over, backed up and restored by tests."""

import hashlib
import sqlite3
from contextlib import closing

from tests.support.stores import say_all


def untold(_done, _total):
    """Tells nobody."""


async def filled(store, *names, turns=3):
    """An open store with some sessions, and an owner of it."""
    owner = await store.join("a test")
    for name in names:
        await store.create(name)
        await say_all(store, owner, name, *(f"{name} {n}" for n in range(turns)))
    return owner


async def backed_up(store, path, **options):
    return await store.back_up(path, **({"replace_file": False, "tell": untold} | options))


async def restored(store, path, **options):
    return await store.restore_backup(path, **({"before": None, "tell": untold} | options))


def problems(report):
    """What a report says that needs somebody to act."""
    return [finding.what for finding in report.findings if finding.level == "problem"]


def notes(report):
    """What else it says, but for what is said of SQLite itself."""
    found = [finding.what for finding in report.findings if finding.level == "note"]
    return [what for what in found if "WAL-reset" not in what]


def state_of(folder):
    """All files under a folder, by what is in them, when they were written, and who may read them.

    Without the file in which SQLite's readers take note of each other.
    """
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith("-shm")
    }


def changed(path, sql, *values):
    """Changes a database file behind everybody's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql, values)
