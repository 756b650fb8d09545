"""Restoring: the old content whole or the new, for all who have the store open, whatever comes between."""

import asyncio
import json
import os
import pickle
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dexto_magic.errors import (
    FormatError,
    SessionBusyError,
    StoreBusyError,
    StoreError,
    StoreReadOnlyError,
    StoreVersionError,
)
from dexto_magic.search.index import SearchIndex
from dexto_magic.stores import building
from dexto_magic.stores.disk import DiskStore
from tests.support.disks import collected, database, files_with, gate_of_another, raw, unwritable
from tests.support.messages import assistant, user
from tests.support.processes import heard, kill, python
from tests.support.stores import names, prompts, say, say_with_file, texts
from tests.support.upkeep import backed_up, changed, filled, notes, problems, restored, state_of

pytestmark = pytest.mark.anyio

FIXTURES = Path(__file__).parent / "fixtures"
SECRET = "the-secret-word"


@pytest.fixture
async def backup(tmp_path, anyio_backend):
    """A backup with the sessions 'old' and 'eda'."""
    store = DiskStore(tmp_path / "source")
    await store.open()
    await filled(store, "old", "eda")
    await backed_up(store, tmp_path / "backup.db")
    await store.close()
    shutil.rmtree(tmp_path / "source")
    return tmp_path / "backup.db"


# -- what becomes of the content -------------------------------------------------------------------


async def test_all_who_have_the_store_open_go_on_with_what_was_restored(disk, backup):
    owner = await filled(disk, "mine", "eda", turns=5)
    other = DiskStore(disk.location)
    await other.open()
    inode, generation = database(disk).stat().st_ino, await disk.generation()
    done = await restored(disk, backup)
    assert (done.sessions, done.messages, done.purge_pending) == (2, 12, False)
    for store in (disk, other):
        assert await names(store) == ["eda", "old"]
        assert len(await texts(store, "eda")) == 6
        assert await store.generation() != generation
        assert await store.get("mine") is None
    assert database(disk).stat().st_ino == inode
    await say(disk, owner, "eda", "more")
    assert (await prompts(other, "eda"))[-1] == "more"
    report = await disk.examine()
    assert (problems(report), notes(report)) == ([], [])
    await other.close()


async def test_another_process_goes_on_with_what_was_restored(disk, backup):
    await filled(disk, "mine")
    with python(
        """
        async def go_on():
            store = DiskStore(home)
            await store.open()
            owner = await store.join("a kernel")
            say((await store.list(limit=9)).sessions[0].id)
            sys.stdin.readline()
            await store.settle(await store.claim("old", user("from them"), owner), [assistant()])
            say(len((await store.transcript("old")).messages))

        asyncio.run(go_on())
        """,
        disk.location,
    ) as process:
        assert heard(process) == "mine"
        await restored(disk, backup)
        process.stdin.write("\n")
        process.stdin.flush()
        assert heard(process) == "8"
    assert (await prompts(disk, "old"))[-1] == "from them"


async def test_what_was_there_before_can_be_restored_in_its_turn(disk, backup, tmp_path):
    await filled(disk, "mine", turns=5)
    done = await restored(disk, backup)
    assert (done.before.sessions, done.before.messages) == (1, 10)
    before = Path(done.before.path)
    assert before.parent == tmp_path
    assert before.name.startswith("store-before-restore-")
    assert mode_of(before) == 0o600
    await restored(disk, before)
    assert await names(disk) == ["mine"]


async def test_what_was_there_before_is_kept_where_one_says(disk, backup, tmp_path):
    await filled(disk, "mine")
    done = await restored(disk, backup, before=tmp_path / "kept.db")
    assert done.before.path == str(tmp_path / "kept.db")
    with pytest.raises(FormatError, match="is there already"):
        await restored(disk, backup, before=tmp_path / "kept.db")


async def test_where_nothing_is_there_nothing_is_kept(tmp_path, backup):
    store = DiskStore(tmp_path / "new" / "store")
    done = await restored(store, backup)
    assert (done.before, done.set_aside) == (None, None)
    await store.open()
    assert await names(store) == ["eda", "old"]
    await store.close()
    assert all(not path.stat().st_mode & 0o077 for path in store._home.rglob("*"))


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_backup_of_an_earlier_version_is_restored_and_upgraded(disk, tmp_path, version):
    shutil.copytree(FIXTURES / version, tmp_path / version)
    await backed_up(DiskStore(tmp_path / version), tmp_path / "old.db")
    ((data,),) = raw_of(tmp_path / "old.db", "SELECT value FROM Cache WHERE key = 'v:schema'")
    assert json.loads(data)["version"] == int(version[1:])
    await restored(disk, tmp_path / "old.db")
    assert (await disk.examine()).version == 2
    assert "eda" in await names(disk)
    # Its turn had not ended, and whoever ran it is gone.
    _, reply = (await disk.transcript("数据 🎉")).messages
    assert (reply.content, reply.status, reply.reason) == ("半个", "stopped", "crashed")
    owner = await disk.join("a test")
    await say(disk, owner, "eda", "and now?")
    await disk.undo("eda")
    await collected(disk)
    assert problems(await disk.examine()) == []


async def test_a_turn_that_ran_when_the_backup_was_made_has_ended_when_it_is_back(disk, tmp_path):
    """Its owner is alive still, but runs it no more."""
    owner = await filled(disk, "eda")
    claim = await disk.claim("eda", user("a long story"), owner)
    await disk.save_partial(claim, assistant("Once"))
    await backed_up(disk, tmp_path / "all.db")
    await disk.settle(claim, [assistant("Once upon a time")])
    await restored(disk, tmp_path / "all.db")
    reply = (await disk.transcript("eda")).messages[-1]
    assert (reply.content, reply.reason) == ("Once", "crashed")
    await say(disk, owner, "eda", "go on")


async def test_what_is_searched_is_what_was_restored(disk, backup):
    await filled(disk, SECRET)
    index, other = SearchIndex(disk), SearchIndex(disk)
    assert (await index.search(SECRET)).hits
    await other.search("old")
    await restored(disk, backup)
    for one in (index, other):
        assert not (await one.search(SECRET)).hits
        assert (await one.search("old")).hits
        await one.close()
    assert files_with(disk, SECRET) == []


async def test_after_a_restore_nothing_of_what_was_there_is_in_a_file_of_the_store(disk, backup):
    owner = await filled(disk, SECRET, turns=200)
    await say_with_file(disk, owner, SECRET, "file", SECRET.encode() * 5000)
    assert files_with(disk, SECRET)
    done = await restored(disk, backup)
    assert done.purge_pending is False
    assert files_with(disk, SECRET) == []
    assert raw(disk, "SELECT key FROM Cache WHERE key LIKE 'x:%'") == []


async def test_a_reader_that_delays_the_purge_goes_on_with_the_old_and_that_is_said(disk, backup):
    await filled(disk, SECRET)
    with closing(sqlite3.connect(database(disk), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        count = "SELECT count(*) FROM Cache WHERE key LIKE 'm:%'"
        assert reader.execute(count).fetchall() == [(6,)]
        assert (await restored(disk, backup)).purge_pending is True
        assert reader.execute(count).fetchall() == [(6,)]
        assert await names(disk) == ["eda", "old"]
        reader.execute("COMMIT")
        assert reader.execute(count).fetchall() == [(12,)]
    await disk.update("eda", model="m:m")
    await collected(disk)
    assert files_with(disk, SECRET) == []


# -- what is refused -------------------------------------------------------------------------------


def raw_of(path, sql, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql, values).fetchall()


async def test_nothing_is_restored_while_a_turn_runs(disk, backup):
    owner = await filled(disk, "mine")
    other = DiskStore(disk.location)
    claim = await disk.claim("mine", user("long"), owner)
    with pytest.raises(SessionBusyError, match=r"a test \(process .* at work in 'mine' since") as e:
        await restored(other, backup)
    assert (e.value.session_id, e.value.holder) == ("mine", owner.holder)
    await disk.settle(claim, [assistant()])
    assert (await restored(other, backup)).sessions == 2


async def test_a_turn_whose_owner_was_killed_keeps_nobody_from_restoring(disk, backup):
    with python(
        """
        async def run():
            store = DiskStore(home)
            await store.open()
            await store.create("theirs")
            await store.claim("theirs", user(), await store.join("a kernel"))
            say("ready")
            sys.stdin.readline()

        asyncio.run(run())
        """,
        disk.location,
    ) as process:
        assert heard(process) == "ready"
        with pytest.raises(SessionBusyError):
            await restored(disk, backup)
        kill(process)
    assert (await restored(disk, backup)).sessions == 2


async def test_a_session_that_is_being_made_keeps_a_restore_out(disk, backup):
    """Its rows come in several transactions: those before the restore would be missing after."""
    owner = await filled(disk, "mine")
    await disk._write(lambda ledger: building.begin(ledger.entries, "0" * 16, owner.id))
    with pytest.raises(SessionBusyError, match="making a session, by a fork or an import"):
        await restored(disk, backup)
    await disk.leave(owner)
    assert (await restored(disk, backup)).sessions == 2


async def test_a_store_that_somebody_keeps_busy_is_left(tmp_path, backup):
    store = DiskStore(tmp_path / "store", timeout=0.2)
    await store.open()
    await filled(store, "mine")
    with gate_of_another(store), pytest.raises(StoreBusyError):
        await restored(store, backup)
    assert await names(store) == ["mine"]
    await store.close()


async def test_a_store_that_cannot_be_written_is_left(tmp_path, backup):
    store = DiskStore(tmp_path / "store")
    await store.open()
    await filled(store, "mine")
    await store.close()
    backup.chmod(0o644)

    def restore():
        with pytest.raises(StoreReadOnlyError):
            asyncio.run(restored(DiskStore(store.location), backup))

    with unwritable(store._home) as run:
        assert run(restore) == 0


async def test_a_store_of_a_newer_version_is_left(disk, backup):
    await filled(disk, "mine")
    newer(database(disk))
    with pytest.raises(StoreVersionError):
        await restored(disk, backup)
    assert await names(disk) == ["mine"]


def mode_of(path):
    return path.stat().st_mode & 0o777


def newer(path):
    changed(
        path,
        "UPDATE Cache SET value = replace(CAST(value AS TEXT), '\"minimum_reader\":2',"
        " '\"minimum_reader\":9') WHERE key = 'v:schema'",
    )
    changed(path, "UPDATE Cache SET value = CAST(value AS BLOB) WHERE key = 'v:schema'")


def pickled(path):
    class Trap:
        def __reduce__(self):
            return (os.system, (f"touch {path}.ran",))

    value = pickle.dumps(Trap())
    changed(path, "UPDATE Cache SET mode = 4, value = ? WHERE key LIKE 'm:%0000'", value)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path):
    data = bytearray(path.read_bytes())
    data[8192:16384] = b"\xff" * 8192
    path.write_bytes(data)


TRIGGER = "CREATE TRIGGER {} AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"x" * 9000), "file is not a database"),
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: (path.unlink(), path.mkdir()), "is no file"),
        (cut, "malformed|damaged"),
        (overwritten, "malformed|damaged"),
        (newer, "written by a newer version"),
        (pickled, "in a form .mode 4. that this package never writes"),
        (lambda p: changed(p, "UPDATE Cache SET filename = '/etc/passwd'"), "in a form that this"),
        (lambda p: changed(p, "UPDATE Cache SET mode = 3"), "that this package never writes"),
        (lambda p: changed(p, "UPDATE Cache SET raw = 0"), "but not the version of a store"),
        (lambda p: changed(p, "UPDATE Cache SET value = x'7b' WHERE key LIKE 'm:%'"), "not valid"),
        (lambda p: changed(p, "DELETE FROM Cache WHERE key = 'v:schema'"), "not the version"),
        (lambda p: changed(p, "DELETE FROM Cache"), "no backup of a store"),
        (lambda p: changed(p, "DROP TABLE Cache"), "no backup of a store"),
        (lambda p: changed(p, "CREATE TABLE theirs (x)"), "holds 'theirs'"),
        (lambda p: changed(p, TRIGGER.format("trap")), "holds 'trap'"),
        (lambda p: p.with_name(p.name + "-wal").write_bytes(b"x"), "not all there is"),
    ],
)
async def test_a_file_that_is_no_sound_backup_of_ours_is_refused(disk, backup, damage, told):
    await filled(disk, "mine")
    damage(backup)
    before = state_of(disk._home)
    with pytest.raises(FormatError, match=told) as error:
        await restored(disk, backup)
    assert error.value.path == str(backup)
    assert state_of(disk._home) == before
    assert not backup.with_name("backup.db.ran").exists()


async def test_what_acts_in_a_backup_does_not_come_with_it(disk, backup):
    """A trigger under the name of one that every store has, and settings that evict rows."""
    changed(backup, "DROP TRIGGER Settings_count_insert")
    changed(backup, TRIGGER.format("Settings_count_insert"))
    changed(backup, "UPDATE Settings SET value = 1 WHERE key = 'size_limit'")
    changed(
        backup, "UPDATE Settings SET value = 'least-recently-stored' WHERE key = 'eviction_policy'"
    )
    await restored(disk, backup)
    await filled(disk, "more")
    assert len(await names(disk)) == 3
    triggers = "SELECT sql FROM sqlite_master WHERE name = 'Settings_count_insert'"
    assert "DELETE" not in raw(disk, triggers)[0][0]
    assert raw(disk, "SELECT value FROM Settings WHERE key = 'size_limit'") == [(2**62,)]


# -- a damaged store -------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [cut, overwritten, lambda path: path.write_bytes(b"x" * 9000)])
async def test_a_damaged_store_is_set_aside_as_it_is_and_replaced(tmp_path, backup, damage):
    store = DiskStore(tmp_path / "store")
    await store.open()
    await filled(store, "mine", turns=50)
    await store.close()
    damage(database(store))
    damaged = database(store).read_bytes()
    done = await restored(store, backup)
    assert done.before is None
    aside = Path(done.set_aside)
    assert aside.parent == tmp_path
    assert aside.name.startswith("store-damaged-")
    assert mode_of(aside) == 0o700
    assert (aside / "cache.db").read_bytes() == damaged
    await store.open()
    assert await names(store) == ["eda", "old"]
    assert problems(await store.examine()) == []
    assert not (store._home / "restoring").exists()
    await store.close()


async def test_a_log_that_has_lost_its_database_is_set_aside_too(tmp_path, backup):
    with python(
        """
        async def talk():
            store = DiskStore(home)
            await store.open()
            await store.create("mine")
            say("ready")
            sys.stdin.readline()

        asyncio.run(talk())
        """,
        tmp_path / "store",
    ) as process:
        assert heard(process) == "ready"
        kill(process)
    store = DiskStore(tmp_path / "store")
    log = database(store).with_name("cache.db-wal").read_bytes()
    database(store).unlink()
    done = await restored(store, backup)
    assert (Path(done.set_aside) / "cache.db-wal").read_bytes() == log
    await store.open()
    assert await names(store) == ["eda", "old"]
    await store.close()


async def test_who_has_a_damaged_store_open_is_told_that_it_was_replaced(disk, backup):
    await filled(disk, "mine", turns=50)
    raw(disk, "PRAGMA wal_checkpoint(TRUNCATE)")
    overwritten(database(disk))
    done = await restored(DiskStore(disk.location), backup)
    assert done.set_aside is not None
    with pytest.raises(StoreError, match="was replaced while it was open"):
        await disk.get("mine")
    with pytest.raises(StoreError, match=r"was removed or replaced while it was open.*Restart"):
        await disk.create("more")
    await disk.close()
    await disk.open()
    assert await names(disk) == ["eda", "old"]


# -- killed and stopped ----------------------------------------------------------------------------

RESTORE = """
from datetime import UTC, datetime
from pathlib import Path
from dexto_magic.stores import restoring, table
from dexto_magic.stores.errands import Errand

table._PAGES_AT_ONCE = 20

class Slow(Errand):
    def pause(self):
        super().pause()
        say("pause")
        sys.stdin.readline()

task = restoring.Task(
    home=Path(home), path=Path(sys.argv[2]), before=None, timeout=30,
    now=lambda: datetime.now(UTC),
)
restoring.restored(task, Slow(), lambda *_: None)
say("done")
"""


async def test_a_restore_that_is_killed_leaves_the_old_content_whole_or_the_new(tmp_path, backup):
    """At each of its pauses: while it reads the backup, keeps what is there, and writes."""
    big = DiskStore(tmp_path / "big")
    await big.open()
    owner = await filled(big, "new", turns=100)
    await say_with_file(big, owner, "new", "file", os.urandom(500_000))
    await backed_up(big, tmp_path / "big.db")
    await big.close()
    store = DiskStore(tmp_path / "store")
    await store.open()
    await filled(store, "mine", turns=20)
    await store.close()
    killed, written = 0, False
    for pauses in range(1000):
        with python(RESTORE, store.location, tmp_path / "big.db") as process:
            lines = []
            for _ in range(pauses + 1):
                lines.append(heard(process))
                if lines[-1] == "done":
                    break
                process.stdin.write("\n")
                process.stdin.flush()
            kill(process)
        await store.open()
        found = await names(store)
        assert found in (["mine"], ["new"])
        assert len(await texts(store, found[0])) == (40 if found == ["mine"] else 202)
        report = await store.examine()
        assert (problems(report), report.unseen) == ([], ())
        await store.close()
        if lines[-1] == "done":
            written = True
            break
        killed += 1
    assert found == ["new"]
    assert written
    assert killed > 5


async def test_while_a_restore_is_stopped_others_read_and_are_told_who_keeps_them(tmp_path, backup):
    store = DiskStore(tmp_path / "store", timeout=0.2)
    await store.open()
    await filled(store, "mine")
    with python(RESTORE, store.location, backup) as process:
        told = None
        while told is None:  # until it is inside the gate
            heard(process)
            os.kill(process.pid, signal.SIGSTOP)
            assert await names(store) == ["mine"]
            told = await refusal(store.update("mine", model="m:m"))
            os.kill(process.pid, signal.SIGCONT)
            if told is None:
                process.stdin.write("\n")
                process.stdin.flush()
        assert f"process {process.pid} on" in told.holder
        kill(process)
    await store.update("mine", model="m:m")
    assert await names(store) == ["mine"]
    await store.close()


async def refusal(call):
    try:
        await call
    except StoreBusyError as error:
        return error
    return None


async def test_what_a_killed_restore_of_a_damaged_store_left_goes_at_the_next_opening(tmp_path):
    store = DiskStore(tmp_path / "store")
    (tmp_path / "store" / "restoring").mkdir(parents=True, mode=0o700)
    (tmp_path / "store" / "restoring" / "cache.db").write_bytes(SECRET.encode())
    await store.open()
    assert files_with(store, SECRET) == []
    await store.close()
