"""Random bytes over the database, strange rows, and what is cut off: an error of ours, or what is there.

SQLite has no checksums, so a letter that became another one is not noticed. But nothing else is
raised than errors that a caller can name, nothing hangs, and nothing is repaired in silence.
"""

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from dexto_magic.errors import DextoError
from dexto_magic.stores.codec import MODE_EXACT, MODE_JSON, decode, encode
from dexto_magic.stores.disk import DiskStore
from tests.support.disks import database
from tests.support.messages import summary
from tests.support.stores import everything, names, say, say_with_file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a store in which there is some of everything."""
    home = tmp_path_factory.mktemp("whole") / "store"

    async def fill():
        store = DiskStore(home)
        await store.open()
        owner = await store.join("a test")
        await store.create("eda")
        for n in range(20):
            await say_with_file(store, owner, "eda", f"question {n}", b"%d" % n * 99)
        await say(store, owner, "eda", "again", revises=3)
        await store.note("eda", summary("in short", await everything(store, "eda")))
        await store.fork("eda", "fork", turn=9)
        await store.undo("eda")
        await store.set_home("eda", "/one.ipynb", ["cell 1", "cell 2"])
        await store.close()

    asyncio.run(fill())
    return home


def overwritten(file, chance):
    """Some bytes that are others, in one place or in several."""
    data = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 1, 5, 50])):
        other = chance.randbytes(chance.choice([1, 4, 64]))
        at = chance.randrange(len(data) - len(other))
        data[at : at + len(other)] = other
    file.write_bytes(data)


def blanked(file, chance):
    """A page of nothing, as of a sector that was never written."""
    data = bytearray(file.read_bytes())
    at = 4096 * chance.randrange(len(data) // 4096)
    data[at : at + 4096] = bytes(4096)
    file.write_bytes(data)


def cut_off(file, chance):
    with file.open("r+b") as opened:
        opened.truncate(chance.randrange(file.stat().st_size))


def swapped(file, chance):
    """Two pages in each other's place."""
    data = bytearray(file.read_bytes())
    one, other = (4096 * chance.randrange(len(data) // 4096) for _ in range(2))
    first, second = data[one : one + 4096], data[other : other + 4096]
    data[one : one + 4096], data[other : other + 4096] = second, first
    file.write_bytes(data)


STRANGE = [None, True, -1, 2**70, 1.5, "", "x", "0" * 16, [], [None], {}, {"x": 1}]


def misshapen(file, chance):
    """A row that is JSON of another shape: a part of it is gone, or is something else."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        rows = connection.execute(
            "SELECT rowid, mode, value FROM Cache WHERE mode IN (?, ?)", (MODE_JSON, MODE_EXACT)
        ).fetchall()
        rowid, mode, value = chance.choice(rows)
        row = encode(_altered(decode(mode, value), chance))
        change = "UPDATE Cache SET mode = ?, value = ? WHERE rowid = ?"
        connection.execute(change, (row.mode, row.data, rowid))


def _altered(value, chance):
    parts = list(value) if isinstance(value, dict) else []
    if isinstance(value, list):
        parts = list(range(len(value)))
    if not parts or chance.random() < 0.2:
        return chance.choice(STRANGE)
    part = chance.choice(parts)
    if chance.random() < 0.3:
        value.pop(part)
    else:
        value[part] = _altered(value[part], chance)
    return value


DAMAGES = [
    misshapen,
    misshapen,
    misshapen,
    overwritten,
    overwritten,
    blanked,
    cut_off,
    swapped,
]


async def used(store):
    """Everything that is read and written of a store; what each step raised."""
    raised = []

    async def step(call):
        try:
            return await call
        except DextoError as error:
            raised.append(type(error))

    await step(store.open())
    if not raised:
        owner = await step(store.join("a test"))
        await step(store.generation())
        await step(names(store))
        for name in ("eda", "fork"):
            await step(store.get(name))
            await step(everything(store, name))
            await step(store.transcript(name, limit=3))
        await step(store.changes(0, limit=99))
        await step(store.home_session("/one.ipynb"))
        await step(store.sessions_of_marks(["cell 1"]))
        await step(store.create("new"))
        await step(store.redo("eda"))
        if owner is not None:
            await step(say(store, owner, "eda", "more"))
        await step(store.forget("fork", 2))
        await step(store.fork("eda", "another"))
        await step(store.rename("fork", "other"))
        await step(store.reset("eda"))
        await step(store.delete("eda"))
    await step(store.close())
    return raised


def test_a_damaged_database_gives_errors_of_ours_or_what_is_there(whole, home, times, counted):
    found = Counter()
    for seed in range(times(150, 3000)):
        chance = random.Random(seed)
        shutil.copytree(whole, home)
        store = DiskStore(home, timeout=5)
        damage = chance.choice(DAMAGES)
        damage(database(store), chance)
        try:
            raised = asyncio.run(used(store))
        except Exception as error:
            raise AssertionError(f"{damage.__name__}, seed {seed}") from error
        assert database(store).exists()
        found["damaged databases"] += 1
        found["opened without a word" if not raised else "refused or partly read"] += 1
        assert all(issubclass(kind, DextoError) for kind in raised)
        shutil.rmtree(home)
    counted("random bytes, blank pages, cuts", {**found, "errors that are not ours": 0})
