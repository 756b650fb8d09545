"""Every fault that a store may meet, and the error that it gives: to be read as a table.

What was acknowledged before is there after it, and the store works again once the fault is mended.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from dexto_magic.errors import (
    StoreBusyError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreVersionError,
)
from dexto_magic.stores import filesystems
from dexto_magic.stores.codec import encode
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.waiting import outcome
from tests.support.disks import database, raw, unwritable
from tests.support.processes import PRELUDE, python
from tests.support.stores import say, texts

# -- faults of a place, before it is opened --------------------------------------------------------


def here(function):
    function()
    return 0


@contextmanager
def read_only_folder(home):
    with unwritable(home) as run:
        yield run


@contextmanager
def read_only_file(home):
    with unwritable(home) as run:
        for folder in (home, home / "sessions"):
            folder.chmod(0o777)
        yield run


@contextmanager
def a_file_in_the_way(home):
    elsewhere = home.with_name("elsewhere")
    home.rename(elsewhere)
    home.write_text("in the way")
    yield here
    home.unlink()
    elsewhere.rename(home)


@contextmanager
def database_with(home, change):
    file = home / "sessions" / "cache.db"
    kept = file.read_bytes()
    file.write_bytes(change(kept))
    damaged = file.read_bytes()
    yield here
    assert file.read_bytes() == damaged, "it is left as it is"
    file.write_bytes(kept)


def truncated(home):
    return database_with(home, lambda kept: kept[: len(kept) // 2])


def overwritten(home):
    return database_with(home, lambda kept: os.urandom(8192) + kept[8192:])


def no_database_at_all(home):
    return database_with(home, lambda kept: b"These are my notes. " * 999)


@contextmanager
def log_without_its_database(home):
    elsewhere = home.with_name("elsewhere")
    shutil.copytree(home, elsewhere)
    database = home / "sessions" / "cache.db"
    database.with_name("cache.db-wal").write_bytes(database.read_bytes())
    database.unlink()
    yield here
    shutil.rmtree(home)
    elsewhere.rename(home)


@contextmanager
def newer_version(home):
    store = DiskStore(home)
    ((before,),) = raw(store, "SELECT value FROM Cache WHERE key = 'v:schema'")
    change = "UPDATE Cache SET value = ? WHERE key = 'v:schema'"
    newer = encode({"version": 9, "minimum_reader": 9, "generation": "g"})
    raw(store, change, newer.data)
    with database_with(home, lambda kept: kept) as run:
        yield run
    raw(store, change, before)


@contextmanager
def network_without_locks(home):
    table = home.with_name("mounts")
    table.write_text(f"server:/homes {home.parent.resolve()} nfs4 rw 0 0\n")

    def no_locks(*_):
        raise OSError(37, "No locks available")

    with patch.object(filesystems, "MOUNTS", table), patch("fcntl.flock", no_locks):
        yield here


@contextmanager
def locks_that_are_kept(home):
    """By another process, which has stopped while it opened the store."""
    with stopped(home, "with Gate(Path(home) / 'gate.lock', timeout=5).entered():\n    stop()"):
        yield here


# -- faults that come while it is open -------------------------------------------------------------


@contextmanager
def stopped(home, code):
    """Another process, which stops itself by ``stop()`` as somebody's Ctrl-Z would."""
    prelude = (
        "import signal\nfrom pathlib import Path\nfrom dexto_magic.stores.locks import Gate\n"
        # A thread runs on for a moment until the process is stopped: it waits for that.
        "def stop(*_):\n    os.kill(os.getpid(), signal.SIGSTOP)\n    sys.stdin.readline()\n"
    )
    with python(prelude + code, home) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield process
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait() == 0


@asynccontextmanager
async def full_disk(store):
    async def limit(pages):
        sql = f"PRAGMA max_page_count = {pages}"
        engine = await store._running()
        await outcome(engine.write_alone(lambda table: table._cache._sql(sql).fetchall()))

    await limit(1)  # SQLite makes that the pages there are
    yield
    await limit(2**30)


def moved_away(*parts):
    @asynccontextmanager
    async def away(store):
        path = store._home.joinpath(*parts)
        path.rename(path.with_name("elsewhere"))
        yield
        path.with_name("elsewhere").rename(path)

    return away


@asynccontextmanager
async def another_in_place(store):
    path = database(store)
    path.rename(path.with_name("old.db"))
    path.write_bytes(b"")
    yield
    path.with_name("old.db").rename(path)


@asynccontextmanager
async def stopped_writer(store):
    """Stopped amid a transaction, the gate and SQLite's own lock in its hands."""
    code = """
from dexto_magic.stores.waiting import outcome
async def main():
    store = DiskStore(home)
    await store.open()
    await outcome((await store._running()).write(stop))
    await store.close()
asyncio.run(main())
"""
    with stopped(store._home, code) as process:
        yield process.pid


@asynccontextmanager
async def program_that_goes_around_the_gate(store):
    with closing(sqlite3.connect(database(store), isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        yield
        intruder.execute("ROLLBACK")


@asynccontextmanager
async def nothing(_):
    yield


# -- the table -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row of the table.

    Attributes:
        error: What a write gives, or an opening that fails.
        says: What the message says, among other things.
        before: What is done before an opening; gives how to run what meets the fault.
        amid: What is done while the store is open.
        opens: Whether the store can be opened.
        reads: Whether reading goes on.
    """

    error: type
    says: str
    before: Callable | None = None
    amid: Callable = nothing
    opens: bool = True
    reads: bool = True


MOVED = "removed or replaced while it was open; nothing was written"
DAMAGED = "cache.db is damaged"

FAULTS = {
    "disk full": Fault(amid=full_disk, error=StoreFullError, says="no room left"),
    "read-only folder": Fault(
        before=read_only_folder, error=StoreReadOnlyError, says="can be read but not written"
    ),
    "read-only file": Fault(
        before=read_only_file, error=StoreReadOnlyError, says="can be read but not written"
    ),
    "folder that cannot be made": Fault(
        before=a_file_in_the_way, opens=False, error=StoreError, says="DEXTO_HOME"
    ),
    "folder removed while open": Fault(amid=moved_away(), error=StoreError, says=MOVED),
    "database removed while open": Fault(
        amid=moved_away("sessions", "cache.db"), error=StoreError, says=MOVED
    ),
    "database replaced while open": Fault(
        amid=another_in_place, error=StoreError, says=MOVED, reads=False
    ),
    "log removed while open": Fault(
        amid=moved_away("sessions", "cache.db-wal"), error=StoreError, says=MOVED
    ),
    "gate removed while open": Fault(amid=moved_away("gate.lock"), error=StoreError, says=MOVED),
    "network file system without locks": Fault(
        before=network_without_locks, opens=False, error=StoreError, says="Set DEXTO_HOME to a"
    ),
    "file truncated": Fault(before=truncated, opens=False, error=StoreCorruptedError, says=DAMAGED),
    "random bytes": Fault(before=overwritten, opens=False, error=StoreCorruptedError, says=DAMAGED),
    "no database at all": Fault(
        before=no_database_at_all, opens=False, error=StoreCorruptedError, says=DAMAGED
    ),
    "log without its database": Fault(
        before=log_without_its_database,
        opens=False,
        error=StoreCorruptedError,
        says="is missing or empty, but cache.db-wal beside it is not",
    ),
    "newer version": Fault(
        before=newer_version, opens=False, error=StoreVersionError, says="newer version of dexto"
    ),
    "writer that is stopped": Fault(
        amid=stopped_writer, error=StoreBusyError, says="was kept busy by process "
    ),
    "opener that is stopped": Fault(
        before=locks_that_are_kept, opens=False, error=StoreBusyError, says="kept busy by process "
    ),
    "program that goes around the gate": Fault(
        amid=program_that_goes_around_the_gate,
        error=StoreBusyError,
        says="locked by a program that is not this one",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_fault_gives_the_error_that_is_its_own(fault, tmp_path_factory):
    home = tmp_path_factory.mktemp("fault") / "store"
    asyncio.run(made(home))
    with ExitStack() as stack:
        run = here if fault.before is None else stack.enter_context(fault.before(home))
        assert run(lambda: asyncio.run(met(fault, home))) == 0
    asyncio.run(used_again(home))


async def made(home):
    store = DiskStore(home)
    await store.open()
    await store.create("eda")
    await say(store, await store.join("a test"), "eda", "acknowledged")
    await store.close()


async def met(fault, home):
    store = DiskStore(home, timeout=0.2)
    if fault.opens:
        await store.open()
        async with fault.amid(store):
            await refused(fault, store.create("new", system="x" * 20_000))
            await refused(fault, store.update("eda", system="x" * 20_000))
            if fault.reads:
                assert await texts(store, "eda") == ["acknowledged", "Hi."]
                assert len((await store.list(limit=9)).sessions) == 1
        if fault.before is None:
            assert (await store.create("by the same object")).id == "by the same object"
    else:
        await refused(fault, store.open())
    await store.close()


async def refused(fault, call):
    with pytest.raises(StoreError) as caught:
        await call
    assert caught.type is fault.error
    assert fault.says in str(caught.value)


async def used_again(home):
    """All that was acknowledged is there, nothing that was refused, and there can be more."""
    store = DiskStore(home)
    await store.open()
    assert await texts(store, "eda") == ["acknowledged", "Hi."]
    assert {s.id for s in await store.list(limit=9)} <= {"eda", "by the same object"}
    await say(store, await store.join("a test"), "eda", "more")
    await store.close()


# -- with the system's own means -------------------------------------------------------------------

REAL = """
import subprocess
from pathlib import Path
from dexto_magic.errors import StoreFullError, StoreReadOnlyError
from tests.support.stores import say as ask, texts

def mount(*options):
    subprocess.run(["mount", *options, "none", home], check=True)

async def answers(store, count):
    return (await texts(store, "eda"))[1 : 2 * count : 2] == [str(n) for n in range(count)]

async def main():
    mount("-t", "tmpfs", "-o", "size=1m,mode=700")
    ballast = Path(home) / "ballast"
    store = DiskStore(Path(home) / "store")
    await store.open()
    await store.create("eda")
    owner = await store.join("a test")
    ballast.write_bytes(bytes(300_000))
    asked = 0
    try:
        while True:
            await ask(store, owner, "eda", 3000 * "x", str(asked))
            asked += 1
    except StoreFullError:
        say("full", await answers(store, asked))
    ballast.unlink()
    await store.leave(owner)  # of whom a turn may be open
    await ask(store, await store.join("a test"), "eda", "by the same object", "more")
    say((await texts(store, "eda"))[-1], await answers(store, asked))
    await store.close()
    mount("-o", "remount,ro")
    store = DiskStore(Path(home) / "store")
    await store.open()
    try:
        await store.create("new")
    except StoreReadOnlyError:
        say("read-only", await answers(store, asked))
    await store.close()

asyncio.run(main())
"""


def test_a_disk_that_is_full_and_one_that_is_read_only_lose_nothing(tmp_path):
    """Real ones, of a megabyte, in a name space of their own."""
    allowed = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(allowed, check=False).returncode:
        pytest.skip("nobody but root may mount anything here")
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", PRELUDE + REAL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["full True", "more True", "read-only True"]


# -- what is only seen from two processes ----------------------------------------------------------


@pytest.mark.anyio
async def test_a_stopped_writer_is_named_and_others_write_when_it_is_gone(tmp_path):
    store = DiskStore(tmp_path / "store", timeout=0.2)
    await store.open()
    await store.create("eda")
    async with stopped_writer(store) as pid:
        with pytest.raises(StoreBusyError) as caught:
            await store.create("new")
        holder = caught.value.holder
        assert holder == f"process {pid} on {os.uname().nodename}"
        assert (await store.get("eda")).id == "eda"
    await store.create("new")
    await store.close()
