"""What only the durable store does: outlive processes, keep to itself, delete for good."""

import asyncio
import gc
import json
import os
import pickle
import signal
import sqlite3
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import diskcache
import pytest

from dexto_magic.conversation.wire import message_to_json
from dexto_magic.errors import (
    SessionBusyError,
    SessionExistsError,
    StoreBusyError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreVersionError,
)
from dexto_magic.stores.codec import MODE_JSON, decode, encode
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.table import SETTINGS
from dexto_magic.stores.waiting import outcome
from tests.support.disks import database, gate_of_another, raw, unwritable
from tests.support.messages import assistant, user
from tests.support.processes import heard, in_child, kill, python
from tests.support.stores import everything, texts
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def until_taken(engine):
    """Waits until the writer has taken what was submitted, and so waits at the gate itself."""
    while not engine._writer._jobs.empty():
        pass


async def table_of(store):
    return (await store._running())._table


# -- outliving processes ---------------------------------------------------------------------------

TURN_LEFT_OPEN = """
async def main():
    store = DiskStore(home)
    await store.open()
    owner = await store.join("doomed")
    claim = await store.claim("eda", user("question"), owner)
    await store.save_partial(claim, assistant("half", usage=None))
    say("open", os.getpid())
    sys.stdin.readline()
asyncio.run(main())
"""


async def test_what_was_acknowledged_is_there_after_kill_9(disk):
    with python(
        """
        async def main():
            store = DiskStore(home)
            await store.open()
            owner = await store.join("doomed")
            await store.create("eda")
            for n in range(10_000):
                claim = await store.claim("eda", user(f"q{n}"), owner)
                await store.settle(claim, [assistant(f"a{n}")])
                say(n)
        asyncio.run(main())
        """,
        disk.location,
    ) as process:
        while (last := int(heard(process))) < 20:
            pass
        kill(process)
        last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
    kept = await texts(disk, "eda")
    assert kept[: 2 * (last + 1)] == [f"{who}{n}" for n in range(last + 1) for who in "qa"]


async def test_a_killed_processs_turn_is_busy_before_and_recovered_after(disk):
    await disk.create("eda")
    with python(TURN_LEFT_OPEN, disk.location) as process:
        word, pid = heard(process).split()
        assert word == "open"
        survivor = await disk.join("survivor")
        with pytest.raises(SessionBusyError, match=f"doomed .process {pid} on ") as caught:
            await disk.claim("eda", user("again"), survivor)
        assert pid in caught.value.holder
        assert await texts(disk, "eda") == ["question"]
        kill(process)
    _, reply = (await disk.transcript("eda")).messages
    assert (reply.content, reply.status, reply.reason) == ("half", "stopped", "crashed")
    claim = await disk.claim("eda", user("again"), survivor)
    assert claim.message.turn == 2


async def test_to_read_a_session_that_another_process_is_answering_takes_no_gate(disk):
    await disk.create("eda")
    with python(TURN_LEFT_OPEN, disk.location) as process:
        heard(process)
        engine = await disk._running()
        engine.write = lambda _: pytest.fail("reading has written")
        with gate_of_another(disk):
            assert await texts(disk, "eda") == ["question"]
            assert (await disk.get("eda")).message_count == 1


async def test_a_cancel_reaches_the_process_that_runs_the_turn(disk):
    await disk.create("eda")
    with python(
        """
        async def main():
            store = DiskStore(home)
            await store.open()
            owner = await store.join("other")
            claim = await store.claim("eda", user("question"), owner)
            say("open")
            while (signal := await store.watch(claim)) == "go on":
                await asyncio.sleep(0.01)
            await store.settle(claim, [assistant("so far", status="stopped")])
            say(signal)
            await store.close()
        asyncio.run(main())
        """,
        disk.location,
    ) as process:
        heard(process)
        assert await disk.request_cancel("eda") is True
        assert heard(process) == "cancel"
    assert await texts(disk, "eda") == ["question", "so far"]


async def test_processes_that_take_turns_never_interleave(disk):
    """Three processes, 40 turns each, on one session: each turn whole, each process's in order."""
    await disk.create("eda")
    code = """
    from dexto_magic.errors import SessionBusyError
    async def main():
        store = DiskStore(home)
        await store.open()
        owner = await store.join("one of three")
        for n in range(40):
            while True:
                try:
                    claim = await store.claim("eda", user(f"{os.getpid()} {n}"), owner)
                    break
                except SessionBusyError:
                    await asyncio.sleep(0.001)
            await store.settle(claim, [assistant(f"{os.getpid()} {n}")])
        await store.close()
    asyncio.run(main())
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(python(code, disk.location)) for _ in range(3)]
        with ThreadPoolExecutor() as waiters:
            assert list(waiters.map(subprocess.Popen.wait, processes)) == [0, 0, 0]
    kept = await texts(disk, "eda")
    assert len(kept) == 240
    assert kept[::2] == kept[1::2]
    for process in processes:
        mine = [text for text in kept[::2] if text.startswith(f"{process.pid} ")]
        assert mine == [f"{process.pid} {n}" for n in range(40)]


def test_a_forked_child_goes_on_with_a_store_of_its_own(tmp_path):
    """Forked while the parent's threads are writing; neither hangs, and both writes are there."""
    store = DiskStore(tmp_path / "store")

    async def turn(text):
        owner = await store.join(text)
        claim = await store.claim("eda", user(text), owner)
        await store.settle(claim, [assistant()])
        await store.leave(owner)

    async def fill(name):
        await store.create(name)
        owner = await store.join(name)
        for n in range(50):
            claim = await store.claim(name, user(f"{n}"), owner)
            await store.settle(claim, [assistant()])

    async def start():
        await store.open()
        await store.create("eda")

    async def parent():
        filling = asyncio.create_task(fill("busy"))
        for n in range(10):
            await asyncio.sleep(0)
            code = await asyncio.to_thread(
                in_child, lambda n=n: asyncio.run(asyncio.wait_for(turn(f"child {n}"), 30))
            )
            assert code == 0
            await turn(f"parent {n}")
        await filling
        assert (await texts(store, "eda"))[::2] == [
            f"{who} {n}" for n in range(10) for who in ("child", "parent")
        ]
        assert len(await texts(store, "busy")) == 100
        await store.close()

    asyncio.run(start())
    asyncio.run(parent())


def test_a_forked_child_does_not_keep_its_parents_turns_alive(tmp_path):
    """The child inherits the parent's locks, and outlives it."""
    home = tmp_path / "store"
    with python(
        """
        async def main():
            store = DiskStore(home)
            await store.open()
            await store.create("eda")
            await store.claim("eda", user("question"), await store.join("parent"))
            if os.fork() == 0:
                say("child", os.getpid())
                sys.stdin.readline()
                os._exit(0)
            await asyncio.sleep(3600)
        asyncio.run(main())
        """,
        home,
    ) as process:
        heard(process)
        kill(process)

        async def survivor():
            store = DiskStore(home)
            await store.open()
            kept = (await store.transcript("eda")).messages
            await store.close()
            return kept

        assert [m.status for m in asyncio.run(survivor())] == ["complete", "failed"]
        process.stdin.write("\n")


# -- who may write ---------------------------------------------------------------------------------


async def test_a_stopped_writer_is_named_and_reading_goes_on(tmp_path):
    store = DiskStore(tmp_path / "store", timeout=0.2)
    await store.open()
    await store.create("eda")
    with python(
        """
        from pathlib import Path
        from dexto_magic.stores.locks import Gate
        with Gate(Path(home) / "gate.lock", timeout=5).entered():
            say(os.getpid())
            sys.stdin.readline()
        """,
        store.location,
    ) as process:
        pid = heard(process)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreBusyError, match=f"process {pid} on ") as caught:
            await store.create("other")
        assert pid in caught.value.holder
        assert store.location in str(caught.value)
        assert (await store.get("eda")).id == "eda"
        assert len((await store.list(limit=5)).sessions) == 1
        kill(process)
    await store.create("other")
    await store.close()


async def test_a_write_that_waits_can_be_cancelled_and_then_never_happens(disk):
    with python(
        """
        from pathlib import Path
        from dexto_magic.stores.locks import Gate
        with Gate(Path(home) / "gate.lock", timeout=5).entered():
            say("in")
            sys.stdin.readline()
        """,
        disk.location,
    ) as process:
        heard(process)
        waiting = asyncio.create_task(disk.create("eda"))
        await asyncio.to_thread(until_taken, await disk._running())
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        process.stdin.write("\n")
        process.stdin.flush()
    assert await disk.get("eda") is None


async def test_a_write_that_has_begun_tells_its_result_however_often_it_is_cancelled(disk):
    """A program that goes around the gate keeps the commit waiting meanwhile."""
    await disk.create("eda")
    owner = await disk.join("test")
    intruder = sqlite3.connect(database(disk), isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    engine, jobs = await disk._running(), []
    write = engine.write
    engine.write = lambda step: jobs.append(write(step)) or jobs[-1]
    claiming = asyncio.create_task(disk.claim("eda", user("question"), owner))
    await until(lambda: jobs and jobs[0].running())
    for _ in range(5):
        claiming.cancel()
        await asyncio.sleep(0)
    assert not claiming.done()
    intruder.execute("ROLLBACK")
    intruder.close()
    await disk.settle(await claiming, [assistant("answer")])
    assert await texts(disk, "eda") == ["question", "answer"]


async def test_a_write_that_fails_after_it_was_cancelled_says_so_once(disk):
    """To who called it, and to no log."""
    await disk.create("eda")
    logged = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    intruder = sqlite3.connect(database(disk), isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    engine, jobs = await disk._running(), []
    write = engine.write
    engine.write = lambda step: jobs.append(write(step)) or jobs[-1]
    creating = asyncio.create_task(disk.create("eda"))
    await until(lambda: jobs and jobs[0].running())
    for _ in range(3):
        creating.cancel()
        await asyncio.sleep(0)
    intruder.execute("ROLLBACK")
    intruder.close()
    with pytest.raises(SessionExistsError):
        await creating
    await disk.create("other")  # as the writing thread remembers what it did last
    del creating
    jobs.clear()
    gc.collect()
    assert logged == []


async def test_a_program_that_goes_around_the_gate_is_reported(tmp_path):
    store = DiskStore(tmp_path / "store", timeout=0.1)
    await store.open()
    intruder = sqlite3.connect(database(store), isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="locked by a program that is not this one"):
        await store.create("eda")
    intruder.execute("ROLLBACK")
    intruder.close()
    await store.create("eda")
    await store.close()


# -- nothing evicted -------------------------------------------------------------------------------


async def test_a_planted_size_limit_and_eviction_policy_take_nothing_away(tmp_path):
    """As if somebody had opened the folder with diskcache's defaults and a small limit."""
    store = DiskStore(tmp_path / "store")
    database(store).parent.mkdir(parents=True)
    planted = diskcache.Cache(
        str(database(store).parent),
        size_limit=100_000,
        eviction_policy="least-recently-stored",
        cull_limit=10,
    )
    planted.close()
    await store.open()
    owner = await store.join("test")
    await store.create("eda")
    for n in range(1000):
        claim = await store.claim("eda", user(f"q{n} " + "x" * 300), owner)
        await store.settle(claim, [assistant(f"a{n} " + "x" * 300)])
    kept = await texts(store, "eda")
    assert [text.split()[0] for text in kept] == [f"{w}{n}" for n in range(1000) for w in "qa"]
    await store.close()


async def test_more_than_diskcaches_default_gigabyte_stays(slow, disk):
    owner = await disk.join("test")
    await disk.create("eda")
    filler = "x" * 1_000_000
    for n in range(1_100):
        claim = await disk.claim("eda", user(f"q{n} {filler}"), owner)
        await disk.settle(claim, [assistant(f"a{n}")])
    assert database(disk).stat().st_size > 2**30
    kept = await texts(disk, "eda")
    assert [text.split()[0] for text in kept] == [f"{w}{n}" for n in range(1_100) for w in "qa"]


async def test_every_setting_is_as_given_on_every_connection(disk):
    table = await table_of(disk)

    def pragmas(*_):
        return {
            name: table._cache._sql(f"PRAGMA {name.removeprefix('sqlite_')}").fetchone()[0]
            for name in SETTINGS
            if name.startswith("sqlite_")
        }

    wanted = {name: value for name, value in SETTINGS.items() if name.startswith("sqlite_")}
    assert await disk._read(pragmas) == wanted
    assert await outcome((await disk._running()).write_alone(pragmas)) == wanted
    kept = dict(raw(disk, "SELECT key, value FROM Settings"))
    assert {name: kept[name] for name in SETTINGS} == SETTINGS


def test_diskcache_still_has_the_private_parts_that_the_table_uses(tmp_path):
    """If this fails, a release of diskcache changed them: read its source before going on."""
    cache = diskcache.Cache(str(tmp_path))
    assert cache._sql("SELECT count(*) FROM Cache").fetchall() == [(0,)]
    assert isinstance(cache._con, sqlite3.Connection)
    columns = [row[1] for row in cache._sql("PRAGMA table_info(Cache)")]
    assert {"key", "raw", "mode", "filename", "value"} <= set(columns)
    cache.close()


# -- foreign and damaged files ---------------------------------------------------------------------


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("row", ["n:eda", "session", "message"])
async def test_a_planted_pickle_is_refused_and_not_run(tmp_path, disk, row):
    owner = await disk.join("test")
    await disk.create("eda")
    await disk.settle(await disk.claim("eda", user(), owner), [assistant()])
    key = {"n:eda": "n:eda", "session": "s:%", "message": "m:%"}[row]
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    raw(disk, "UPDATE Cache SET mode = 4, value = ? WHERE key LIKE ?", bomb, key)
    with pytest.raises(StoreCorruptedError, match="never writes"):
        await disk.transcript("eda")
    assert not (tmp_path / "boom").exists()


async def test_a_planted_pickled_schema_is_refused_at_opening(tmp_path, disk):
    await disk.close()
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    raw(disk, "UPDATE Cache SET mode = 4, value = ? WHERE key = 'v:schema'", bomb)
    with pytest.raises(StoreCorruptedError):
        await disk.open()
    assert not (tmp_path / "boom").exists()


async def test_a_pickled_key_is_never_read(tmp_path, disk):
    await disk.create("eda")
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    raw(disk, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 4, ?)", bomb, bomb)
    assert len((await disk.list(limit=10)).sessions) == 1
    assert await disk.changes(0, limit=10)
    await disk.delete("eda")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "plant",
    [
        "CREATE TRIGGER evil AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END",
        "CREATE VIEW evil AS SELECT 1",
        "INSERT INTO Settings VALUES ('_evil', 1)",
    ],
)
async def test_a_file_with_foreign_parts_is_not_opened(disk, plant):
    await disk.close()
    raw(disk, plant)
    before = database(disk).read_bytes()
    with pytest.raises(StoreCorruptedError, match="evil"):
        await disk.open()
    assert database(disk).read_bytes() == before


def foreign_tables(folder):
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")


def foreign_cache(folder):
    with closing(diskcache.Cache(str(folder))) as cache:
        cache["somebody"] = "else's"


@pytest.mark.parametrize("make", [foreign_tables, foreign_cache])
async def test_a_database_of_somebody_else_is_refused_untouched_at_the_first_opening(
    tmp_path, make
):
    store = DiskStore(tmp_path / "store")
    folder = database(store).parent
    folder.mkdir(parents=True)
    make(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        with pytest.raises(StoreCorruptedError, match="not a store of this package"):
            await store.open()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("kept", ["nothing", "settings", "no rows"])
async def test_what_a_kill_left_of_a_first_opening_is_opened(tmp_path, disk, kept):
    """diskcache makes its parts one by one, and the schema row comes last."""
    await disk.close()
    raw(disk, "DELETE FROM Cache")
    if kept != "no rows":
        raw(disk, "DROP TABLE Cache")
    if kept == "nothing":
        raw(disk, "DROP TABLE Settings")
    await disk.open()
    await disk.create("eda")
    assert (await disk.get("eda")).id == "eda"


async def test_a_store_says_how_it_is_to_be_read(disk):
    ((data,),) = raw(disk, "SELECT value FROM Cache WHERE key = 'v:schema'")
    schema = json.loads(data)
    assert schema.pop("generation").startswith("gen_")
    assert schema == {
        "version": 2,
        "minimum_reader": 2,
        "codecs": {"74": "orjson", "75": "json", "76": "bytes"},
    }


async def test_a_store_of_a_newer_version_is_not_touched(disk):
    await disk.close()
    newer = encode({"version": 9, "minimum_reader": 9, "generation": "g"})
    raw(disk, "UPDATE Cache SET value = ? WHERE key = 'v:schema'", newer.data)
    before = database(disk).read_bytes()
    with pytest.raises(StoreVersionError, match="newer version of dexto-magic"):
        await disk.open()
    assert database(disk).read_bytes() == before


async def test_a_newer_store_that_older_versions_may_use_opens(disk):
    await disk.create("eda")
    await disk.close()
    newer = encode({"version": 9, "minimum_reader": 1, "generation": "g"})
    raw(disk, "UPDATE Cache SET value = ? WHERE key = 'v:schema'", newer.data)
    await disk.open()
    assert (await disk.get("eda")).id == "eda"


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be one " * 99])
async def test_a_damaged_file_is_named_and_left_as_it_is(disk, damage):
    await disk.close()
    database(disk).write_bytes(damage)
    with pytest.raises(StoreCorruptedError, match=r"cache\.db is damaged"):
        await disk.open()
    assert database(disk).read_bytes() == damage


async def test_a_missing_message_is_reported_and_not_skipped(disk):
    owner = await disk.join("test")
    await disk.create("eda")
    for n in range(3):
        await disk.settle(await disk.claim("eda", user(f"{n}"), owner), [assistant()])
    raw(disk, "DELETE FROM Cache WHERE key LIKE 'm:%000000000002'")
    with pytest.raises(StoreCorruptedError, match="Message 3 of 6 of session 'eda' is missing"):
        await disk.transcript("eda")


async def test_a_taken_row_is_never_overwritten(disk):
    owner = await disk.join("test")
    await disk.create("eda")
    claim = await disk.claim("eda", user("first"), owner)
    raw(
        disk,
        "UPDATE Cache SET key = replace(key, '000000000000', '000000000001') WHERE key LIKE 'm:%'",
    )
    with pytest.raises(StoreCorruptedError, match="Nothing was overwritten"):
        await disk.settle(claim, [assistant("second")])


# -- room for what is to come ----------------------------------------------------------------------


async def test_rows_of_other_kinds_and_versions_are_not_in_view(disk):
    """Summaries and versions that are not current are kept, and passed over."""
    owner = await disk.join("test")
    await disk.create("eda")
    for n in range(2):
        await disk.settle(await disk.claim("eda", user(f"q{n}"), owner), [assistant(f"a{n}")])
    ((sid,),) = raw(disk, "SELECT substr(key, 3) FROM Cache WHERE key LIKE 's:%'")

    def put(key, value):
        row = encode(value)
        raw(disk, "DELETE FROM Cache WHERE key = ?", key)
        raw(
            disk,
            "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, ?, ?)",
            key,
            row.mode,
            row.data,
        )

    later = [
        {"kind": "summary", "id": "sum_1", "turn": 1, "at": "2026-01-01T00:00:00+00:00"},
        message_to_json(user("q1 anew", turn=2, version=2)),
        message_to_json(assistant("a1 anew", turn=2, version=2)) | {"of a later": "version"},
    ]
    for number, row in enumerate(later, start=4):
        put(f"m:{sid}:00000000:{number:012x}", row)
    ((data,),) = raw(disk, "SELECT value FROM Cache WHERE key = ?", f"s:{sid}")
    record = decode(MODE_JSON, data) | {"rows": 7}
    record["line"]["versions"] = {"2": 2}
    put(f"s:{sid}", record)
    assert await texts(disk, "eda") == ["q0", "a0", "q1 anew", "a1 anew"]
    assert [m.content for m in (await disk.transcript("eda", limit=3)).messages] == [
        "a0",
        "q1 anew",
        "a1 anew",
    ]


# -- its folder ------------------------------------------------------------------------------------


async def test_files_are_for_their_owner_only_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        store = DiskStore(tmp_path / "deep" / "store")
        await store.open()
        await store.join("test")
        await store.create("eda")
        modes = {
            path.relative_to(store._home).as_posix(): stat.S_IMODE(path.stat().st_mode)
            for path in (store._home, *store._home.rglob("*"))
        }
    finally:
        os.umask(before)
    await store.close()
    names = (".", "sessions", "owners", "derived")
    folders = {name: mode for name, mode in modes.items() if name in names}
    assert folders == dict.fromkeys(names, 0o700)
    files = {name: mode for name, mode in modes.items() if name not in folders}
    assert {"gate.lock", "sessions/cache.db", "sessions/cache.db-wal"} <= set(files)
    assert set(files.values()) == {0o600}


async def test_a_folder_removed_while_open_is_noticed_before_a_write_is_lost(disk):
    await disk.create("eda")
    disk._home.rename(disk._home.with_name("elsewhere"))
    with pytest.raises(StoreError, match="was removed or replaced while it was open"):
        await disk.create("other")
    disk._home.with_name("elsewhere").rename(disk._home)
    await disk.create("other")


async def test_a_database_replaced_while_open_is_noticed(disk):
    await disk.create("eda")
    database(disk).rename(database(disk).with_name("old.db"))
    with pytest.raises(StoreError, match=r"cache\.db was removed or replaced"):
        await disk.create("other")
    database(disk).with_name("old.db").rename(database(disk))


async def test_a_log_that_another_took_away_is_noticed_before_a_write_is_lost(disk):
    """To read the database in the same process, as a backup does, ends SQLite's locks on it."""
    await disk.create("one")
    database(disk).read_bytes()
    with python(
        """
        async def main():
            store = DiskStore(home)
            await store.open()
            await store.create("two")
            await store.close()
        asyncio.run(main())
        """,
        disk.location,
    ) as process:
        assert process.wait() == 0
    assert not database(disk).with_name("cache.db-wal").exists()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"cache\.db-wal was removed or replaced"):
            await disk.create("three")
    await disk.close()
    await disk.open()
    await disk.create("three")
    assert [s.id for s in (await disk.list(limit=9)).sessions] == ["three", "two", "one"]


async def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = DiskStore(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="DEXTO_HOME") as caught:
        await store.open()
    assert str(tmp_path / "file") in str(caught.value)


async def test_a_full_disk_loses_nothing_and_the_store_works_again_with_room(disk):
    owner = await disk.join("test")
    await disk.create("eda")

    async def limit(pages):
        sql = f"PRAGMA max_page_count = {pages}"
        engine = await disk._running()
        await outcome(engine.write_alone(lambda table: table._cache._sql(sql).fetchall()))

    claim = await disk.claim("eda", user("question"), owner)
    await limit(1)  # SQLite makes that the pages there are
    with pytest.raises(StoreFullError, match="no room left"):
        await disk.settle(claim, [assistant("x" * 100_000)])
    assert await texts(disk, "eda") == ["question"]
    await limit(2**30)
    await disk.settle(claim, [assistant("x" * 100_000)])
    assert len(await texts(disk, "eda")) == 2


async def test_when_one_of_many_writes_fails_the_others_that_share_its_commit_do_not(disk):
    owner = await disk.join("test")
    await disk.create("taken")
    outcomes = await asyncio.gather(
        disk.create("one"),
        disk.create("taken"),
        disk.create("two"),
        disk.claim("nobody", user(), owner),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Session",
        "SessionExistsError",
        "Session",
        "SessionNotFoundError",
    ]
    assert [s.id for s in (await disk.list(limit=9)).sessions] == ["two", "one", "taken"]


def test_a_store_that_cannot_be_written_can_be_read(unwritable_store):
    """Run by a user who has no right to write there."""
    folder, run = unwritable_store

    async def read_only():
        store = DiskStore(folder)
        await store.open()
        assert await texts(store, "eda") == ["question"]
        assert len((await store.list(limit=5)).sessions) == 1
        for write in (
            store.create("other"),
            store.reset("eda"),
            store.join("test"),
            store.undo("eda"),
            store.forget("eda", 1),
            store.fork("eda", "other"),
            store.rename("eda", "other"),
            store.restore(await everything(store, "eda")),
        ):
            with pytest.raises(StoreReadOnlyError, match="can be read but not written"):
                await write
        await store.close()

    assert run(lambda: asyncio.run(read_only())) == 0


def test_a_store_whose_database_alone_is_read_only_can_be_read(unwritable_store):
    folder, run = unwritable_store
    for part in (folder, folder / "sessions"):
        part.chmod(0o777)

    async def read_only():
        for _ in range(2):
            store = DiskStore(folder)
            await store.open()
            assert await texts(store, "eda") == ["question"]
            with pytest.raises(StoreReadOnlyError, match="can be read but not written"):
                await store.create("other")
            await store.close()

    assert run(lambda: asyncio.run(read_only())) == 0
    there = {path.name for path in (folder / "sessions").iterdir()}
    assert there == {"cache.db"}, "what the user would leave there would be in its owner's way"


@pytest.fixture
def unwritable_store(tmp_path_factory):
    """A store with one message in a folder without write permission, and how to run as a user."""
    folder = tmp_path_factory.mktemp("shared") / "store"

    async def make():
        store = DiskStore(folder)
        await store.open()
        await store.create("eda")
        owner = await store.join("test")
        await store.claim("eda", user("question"), owner)
        await store.close()

    asyncio.run(make())
    with unwritable(folder) as run:
        yield folder, run
