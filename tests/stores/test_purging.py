"""How a purge looks through the file: in short steps, while others write, and yet for certain."""

import asyncio
import os
import threading
from contextlib import closing

import pytest

from dexto_magic.stores import traces
from dexto_magic.stores.locks import Gate
from dexto_magic.stores.traces import RawFile, Search
from tests.support.disks import database, files_with, gate_of_another, raw
from tests.support.processes import heard, python
from tests.support.stores import say
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SECRET = "the-secret-word"


async def told(disk, *names, turns=1):
    """Sessions in which secrets were told."""
    owner = await disk.join("a test")
    for name in names:
        await disk.create(name)
        for _ in range(turns):
            await say(disk, owner, name, SECRET * 20)


@pytest.fixture
def looks(monkeypatch):
    """What is done at each look through a block of the file; it is looked through in small ones."""
    hooks, go_on = [], Search.go_on

    def hooked(search):
        goes_on = go_on(search)
        for hook in hooks:
            hook(search, goes_on)
        return goes_on

    monkeypatch.setattr(traces, "_BLOCK", 4096)
    monkeypatch.setattr(Search, "go_on", hooked)
    return hooks


def thread():
    """The thread at work: only the one that writes is ever inside the gate."""
    return threading.current_thread().name.removeprefix("dexto-store-")


async def test_the_file_is_looked_through_by_the_reader_and_in_blocks(disk, looks, monkeypatch):
    await told(disk, "eda", "other", turns=50)
    threads, sizes, read = [], [], RawFile.read

    def noted(file, start, count):
        sizes.append(count)
        return read(file, start, count)

    monkeypatch.setattr(RawFile, "read", noted)
    looks.append(lambda *_: threads.append(thread()))
    assert (await disk.delete("eda")).purge_pending is False
    assert set(threads) == {"reader"}
    assert len(sizes) == len(threads) > 10
    assert max(sizes) < 5000


async def test_while_the_file_is_looked_through_others_write(disk, looks):
    await told(disk, "eda", turns=50)
    entered = []

    def enter(*_):
        if not entered:
            with closing(Gate(disk._home / "gate.lock", timeout=5)) as gate, gate.entered():
                raw(disk, "UPDATE Cache SET access_count = 1 WHERE key = 'v:schema'")
            entered.append(gate)

    looks.append(enter)
    assert (await disk.delete("eda")).purge_pending is False
    assert entered
    assert files_with(disk, SECRET) == []


def plant(disk, text):
    """Writes into an unused page as if somebody had moved what stood elsewhere."""
    path = database(disk)
    number = next(
        start
        for start in range(4096 * 2, path.stat().st_size, 4096)
        if not any(path.read_bytes()[start : start + 4096])
    )
    file = os.open(path, os.O_RDWR)
    os.pwrite(file, text.encode(), number + 2000)
    os.close(file)


async def test_what_gets_into_the_file_behind_a_look_is_found_all_the_same(disk, looks):
    await told(disk, "other")
    await told(disk, "eda", turns=200)
    sid = (await disk.changes(0, limit=9))[-1].sid
    await disk.delete("other")
    planted = []

    def move(_, goes_on):
        if not goes_on and not planted:
            planted.append(plant(disk, f"s:{sid} {SECRET}"))

    looks.append(move)
    assert (await disk.delete("eda")).purge_pending is False
    assert planted
    assert files_with(disk, SECRET) == []


async def test_a_file_that_changes_again_and_again_is_looked_through_inside_the_gate(disk, looks):
    await told(disk, "eda", "other", turns=5)
    threads = []

    def change(_, goes_on):
        if not goes_on:
            threads.append(thread())
            os.utime(database(disk))

    looks.append(change)
    assert (await disk.delete("eda")).purge_pending is False
    assert threads == ["reader", "reader", "reader", "writer"]


async def test_a_file_that_cannot_be_marked_is_looked_through_inside_the_gate(
    disk, looks, monkeypatch
):
    await told(disk, "eda", turns=5)
    threads = set()
    looks.append(lambda *_: threads.add(thread()))
    monkeypatch.setattr(RawFile, "mark", lambda _: None)
    assert (await disk.delete("eda")).purge_pending is False
    assert threads == {"writer"}


async def test_a_look_is_for_all_who_wait_for_one(disk, looks):
    sessions = [f"s{n}" for n in range(20)]
    await told(disk, *sessions)
    searches = set()
    looks.append(lambda search, _: searches.add(search))
    removals = await asyncio.gather(*map(disk.delete, sessions))
    assert [removal.purge_pending for removal in removals] == 20 * [False]
    assert len(searches) <= 3
    assert files_with(disk, SECRET) == []


async def test_a_purge_that_meets_an_error_says_so_to_all_who_wait_and_is_tried_again(disk):
    await told(disk, "eda", "other")
    engine = await disk._running()
    engine._gate._timeout = 0
    await disk._write(lambda ledger: ledger.delete("eda"))
    engine.purge_pending = True
    with gate_of_another(disk):
        purges = [asyncio.wrap_future(engine.purge()) for _ in range(3)]
        told_all = await asyncio.gather(*purges, return_exceptions=True)
    assert {type(error).__name__ for error in told_all} == {"StoreBusyError"}
    assert engine.purge_pending
    engine._gate._timeout = 30
    await disk.create("third")
    await until(lambda: not engine.purge_pending)
    await disk.delete("other")
    assert files_with(disk, SECRET) == []


REWRITE = """
from pathlib import Path
from dexto_magic.stores import table as tables

async def main():
    store = DiskStore(home)
    await store.open()
    owner = await store.join("a test")
    await store.create("eda")
    for _ in range(20):
        await store.settle(await store.claim("eda", user("x" * 9000), owner), [assistant("Hi.")])
    folders = [Path(os.environ["SQLITE_TMPDIR"]), Path(home, "sessions")]
    for folder in folders:
        os.utime(folder, (0, 0))  # until something is made in it

    def rewrite(table):
        table._cache._sql("PRAGMA cache_size = 10")
        table.rewrite()

    tables._IN_MEMORY = int(sys.argv[2])
    await asyncio.wrap_future((await store._running()).write_alone(rewrite))
    say([folder.stat().st_mtime > 0 for folder in folders])
    await store.close()
asyncio.run(main())
"""


@pytest.mark.parametrize(("in_memory", "expected"), [(2**28, [False, False]), (0, [False, True])])
def test_no_copy_of_a_store_is_made_where_the_system_has_temporary_files(
    tmp_path, monkeypatch, in_memory, expected
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "temporary"))
    with python(REWRITE, tmp_path / "it's a store", in_memory) as process:
        assert heard(process) == str(expected)
