"""The life of a durable store: opened by many at once, let go of whatever happens, and forked."""

import asyncio
import gc
import shutil
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dexto_magic.errors import StoreCorruptedError, StoreError
from dexto_magic.stores import engine as engines
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.locks import Gate, is_alive
from tests.support.messages import user
from tests.support.processes import heard, in_child, kill, python
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


_BEFORE = set()
"""The threads that were there before a test: another one may have left some."""


@pytest.fixture(autouse=True)
def threads_before():
    _BEFORE.clear()
    _BEFORE.update(threading.enumerate())


def threads_of_stores():
    mine = set(threading.enumerate()) - _BEFORE
    return [t for t in mine if t.name.startswith("dexto-store-")]


def files_open_under(folder):
    paths = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [str(path) for path in paths if path.is_relative_to(folder)]


@pytest.fixture
def started(monkeypatch):
    """The engines that were started, as they are."""
    made = []

    class Watched(engines.Engine):
        def __init__(self, *arguments, **options):
            made.append(self)
            super().__init__(*arguments, **options)

    monkeypatch.setattr("dexto_magic.stores.disk.Engine", Watched)
    return made


@pytest.fixture
def gate_of_another(tmp_path):
    """The gate of the store, to be held as another process would."""
    (tmp_path / "store").mkdir(mode=0o700)
    with closing(Gate(tmp_path / "store" / "gate.lock", timeout=0)) as gate:
        yield gate


# -- opening ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["emptied", "removed"])
async def test_a_log_without_its_database_is_not_begun_anew(tmp_path, damage):
    """After a kill most of a store may be in the log: SQLite would throw it away."""
    with python(
        """
        async def talk():
            store = DiskStore(home)
            await store.open()
            for n in range(100):
                await store.create(f"s{n}")
            say("ready")
            sys.stdin.readline()

        asyncio.run(talk())
        """,
        tmp_path / "store",
    ) as process:
        assert heard(process) == "ready"
        kill(process)
    database = tmp_path / "store" / "sessions" / "cache.db"
    log = database.with_name("cache.db-wal")
    kept = log.read_bytes()
    assert len(kept) > 4096
    database.write_bytes(b"") if damage == "emptied" else database.unlink()
    store = DiskStore(tmp_path / "store")
    with pytest.raises(StoreCorruptedError, match=r"missing or empty, but cache\.db-wal"):
        await store.open()
    assert log.read_bytes() == kept


async def test_a_store_that_many_open_at_once_is_opened_once(tmp_path, started):
    store = DiskStore(tmp_path / "store")
    await asyncio.gather(*(store.open() for _ in range(5)))
    await store.open()
    assert len(started) == 1
    await store.create("eda")
    await store.close()
    await until(lambda: not threads_of_stores())


async def test_a_store_can_be_used_while_it_is_being_opened(tmp_path):
    store = DiskStore(tmp_path / "store")
    opening = asyncio.create_task(store.open())
    await asyncio.sleep(0)
    assert (await store.create("eda")).id == "eda"
    await opening
    await store.close()


async def test_one_who_gives_up_on_an_opening_does_not_end_it_for_others(
    tmp_path, gate_of_another, started
):
    store = DiskStore(tmp_path / "store")
    with gate_of_another.entered():
        one, other = (asyncio.create_task(store.open()) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
    await other
    assert (await store.create("eda")).id == "eda"
    assert len(started) == 1
    await store.close()


async def test_when_all_give_up_on_an_opening_it_is_let_go_of(tmp_path, gate_of_another):
    """The gate is another's, and would be waited for for an hour."""
    logged = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    store = DiskStore(tmp_path / "store", timeout=3600)
    with gate_of_another.entered():
        opening = [asyncio.create_task(store.open()) for _ in range(2)]
        await asyncio.sleep(0)
        for task in opening:
            task.cancel()
        done = await asyncio.gather(*opening, return_exceptions=True)
        assert [type(outcome) for outcome in done] == [asyncio.CancelledError] * 2
        await until(lambda: not threads_of_stores())
        with pytest.raises(StoreError, match="not open"):
            await store.get("eda")
    await store.open()
    assert await store.get("eda") is None
    await store.close()
    gc.collect()
    assert logged == []


async def test_closing_a_store_that_is_being_opened_is_told_to_who_opens_it(
    tmp_path, gate_of_another
):
    store = DiskStore(tmp_path / "store", timeout=3600)
    with gate_of_another.entered():
        opening = asyncio.create_task(store.open())
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StoreError, match="closed before it was open"):
            await opening


@linux
async def test_an_opening_that_fails_is_told_to_all_and_leaves_nothing_behind(tmp_path):
    store = DiskStore(tmp_path / "store")
    database = tmp_path / "store" / "sessions" / "cache.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"not a database" * 999)
    done = await asyncio.gather(*(store.open() for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in done] == [StoreCorruptedError] * 3
    await until(lambda: not threads_of_stores())
    assert files_open_under(tmp_path) == []
    database.unlink()
    await store.open()
    await store.create("eda")
    await store.close()


def test_a_store_can_be_opened_again_on_another_event_loop(tmp_path):
    store = DiskStore(tmp_path / "store")

    async def use(name):
        await asyncio.gather(*(store.open() for _ in range(3)))
        await asyncio.gather(*(store.create(f"{name} {n}") for n in range(3)))
        await store.close()
        await store.close()

    for name in "ab":
        asyncio.run(use(name))


# -- closing ---------------------------------------------------------------------------------------

LOSSES = {
    "removed": shutil.rmtree,
    "emptied": lambda home: [shutil.rmtree(home), home.mkdir()],
    "a file now": lambda home: [shutil.rmtree(home), home.write_text("in the way")],
    "without a gate": lambda home: (home / "gate.lock").unlink(),
    "without owners": lambda home: shutil.rmtree(home / "owners"),
}


@linux
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_store_lets_go_of_everything_though_its_folder_is_gone(tmp_path, loss):
    store = DiskStore(tmp_path / "store", timeout=5)
    await store.open()
    await store.create("eda")
    owner, other = await store.join("one"), await store.join("other")
    await store.claim("eda", user(), owner)
    LOSSES[loss](tmp_path / "store")
    await store.leave(owner)
    assert not is_alive(tmp_path / "store" / "owners", owner.id)
    await store.close()
    await until(lambda: not threads_of_stores())
    assert files_open_under(tmp_path) == []
    assert not is_alive(tmp_path / "store" / "owners", other.id)


@pytest.mark.parametrize("loss", ["removed", "emptied", "without a gate", "without owners"])
async def test_a_store_whose_folder_was_lost_can_be_opened_again(tmp_path, loss):
    store = DiskStore(tmp_path / "store")
    await store.open()
    owner = await store.join("a test")
    LOSSES[loss](tmp_path / "store")
    await store.leave(owner)
    await store.close()
    await store.open()
    await store.create("new")
    await store.claim("new", user("question"), await store.join("a test"))
    assert len((await store.transcript("new")).messages) == 1
    await store.close()


@linux
async def test_one_owner_that_cannot_be_ended_keeps_nothing_else_from_being_let_go_of(
    disk, monkeypatch
):
    engine = await disk._running()
    await disk.join("one")
    really_close = engine._table.close

    def close_and_fail():
        really_close()
        raise ZeroDivisionError

    monkeypatch.setattr(engine._table, "close", close_and_fail)
    with pytest.raises(ZeroDivisionError):
        await disk.close()
    await until(lambda: not threads_of_stores())
    assert not any("owners" in path or "gate" in path for path in files_open_under(disk._home))


async def test_a_close_that_is_cancelled_lets_go_all_the_same(tmp_path):
    store = DiskStore(tmp_path / "store")
    await store.open()
    ending = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    while not ending.done():
        ending.cancel()
        await asyncio.sleep(0)
    await ending
    await until(lambda: not threads_of_stores())


# -- forks -----------------------------------------------------------------------------------------


def bounded(code, home):
    """The same as ``python``, but a process that hangs is ended: a bound, reached only then."""
    bound = "import faulthandler; faulthandler.dump_traceback_later(60, exit=True)\n"
    return python(bound + textwrap.dedent(code), home)


def test_a_fork_waits_for_no_opening_that_waits_for_the_gate(tmp_path):
    """Else it would take as long as another process likes to write."""
    with bounded(
        """
        import threading
        from pathlib import Path
        from dexto_magic.stores import locks
        waits = threading.Event()
        locks.time.sleep = lambda _: waits.set()
        with locks.Gate(Path(home) / "gate.lock", timeout=0).entered():
            opening = threading.Thread(target=asyncio.run, args=[DiskStore(home).open()])
            opening.start()
            waits.wait()
            if os.fork() == 0:
                os._exit(0)
            say("forked", os.waitstatus_to_exitcode(os.wait()[1]))
        opening.join()
        say("opened")
        os._exit(0)  # nobody has closed it
        """,
        tmp_path,
    ) as process:
        assert heard(process) == "forked 0"
        assert heard(process) == "opened"


def test_a_fork_waits_for_no_opening_that_waits_for_the_reading_thread(tmp_path):
    """That one waits for the fork: each would wait for the other, the gate held, for ever."""
    with bounded(
        """
        import threading
        from dexto_magic.stores.threads import Worker
        at_reader, go_on, submit = threading.Event(), threading.Event(), Worker.submit

        def submitted(worker, job):
            if getattr(job.run, "__name__", "") == "touch":
                at_reader.set()
                go_on.wait()
            return submit(worker, job)

        Worker.submit = submitted
        opening = threading.Thread(target=asyncio.run, args=[DiskStore(home).open()])
        opening.start()
        at_reader.wait()
        if os.fork() == 0:
            os._exit(0)
        say("forked", os.waitstatus_to_exitcode(os.wait()[1]))
        go_on.set()
        opening.join()
        say("opened")
        os._exit(0)  # nobody has closed it
        """,
        tmp_path,
    ) as process:
        assert heard(process) == "forked 0"
        assert heard(process) == "opened"


def test_a_process_forks_only_while_no_thread_closes_its_connection(tmp_path):
    """Else the child finds SQLite's mutexes held."""
    with bounded(
        """
        import threading
        from dexto_magic.stores.table import Table
        at_close, go_on, done, close = threading.Event(), threading.Event(), [], Table.close

        def closed(table):
            at_close.set()
            go_on.wait()
            close(table)
            done.append(threading.current_thread().name)

        store = DiskStore(home)
        asyncio.run(store.open())
        Table.close = closed
        closing = threading.Thread(target=asyncio.run, args=[store.close()])
        closing.start()
        at_close.wait()
        os.register_at_fork(before=go_on.set)  # the last to be registered is the first to be run
        if os.fork() == 0:
            say(bool(done))
            os._exit(0)
        os.wait()
        closing.join()
        """,
        tmp_path,
    ) as process:
        assert heard(process) == "True"


def test_threads_that_fork_at_once_and_open_stores_do_not_wait_for_each_other_for_ever(tmp_path):
    with bounded(
        """
        import threading

        async def open_and_close(n):
            for _ in range(20):
                store = DiskStore(os.path.join(home, str(n)))
                await store.open()
                await store.close()

        def fork():
            for _ in range(40):
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)

        threads = [threading.Thread(target=fork) for _ in range(2)]
        threads += [
            threading.Thread(target=lambda n=n: asyncio.run(open_and_close(n))) for n in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say("done")
        """,
        tmp_path,
    ) as process:
        assert heard(process) == "done"


def test_those_who_first_use_a_store_in_a_forked_child_at_once_share_one_opening(tmp_path):
    store = DiskStore(tmp_path / "store")

    async def start():
        await store.open()
        await store.create("eda")

    async def use():
        found = await asyncio.gather(*(store.get("eda") for _ in range(5)), store.open())
        assert [session.id for session in found[:-1]] == ["eda"] * 5
        assert len(threads_of_stores()) == 2
        await store.close()

    asyncio.run(start())
    assert in_child(lambda: asyncio.run(use())) == 0
    asyncio.run(store.close())


def test_a_store_that_is_only_closed_in_a_forked_child_is_still_the_parents(tmp_path):
    store = DiskStore(tmp_path / "store")

    async def reopened():
        await store.close()
        with pytest.raises(StoreError, match="not open"):
            await store.get("eda")
        await store.open()
        await store.create("the child's")
        await store.close()

    async def used():
        await store.create("the parent's")
        assert {s.id for s in await store.list(limit=9)} == {"the child's", "the parent's"}
        await store.close()

    asyncio.run(store.open())
    assert in_child(lambda: asyncio.run(reopened())) == 0
    asyncio.run(used())
