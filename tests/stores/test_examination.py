"""The doctor: it tells what is wrong and what to do, whatever the state of a store, and changes nothing."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dexto_magic.stores import holders, premises
from dexto_magic.stores.disk import DiskStore
from tests.support.disks import database, raw, unwritable
from tests.support.messages import summary
from tests.support.processes import heard, in_child, kill, python
from tests.support.stores import everything, say, say_with_file, texts
from tests.support.upkeep import changed, filled, notes, problems, state_of
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

FIXTURES = Path(__file__).parent / "fixtures"

WRITER = """
async def write():
    store = DiskStore(home)
    await store.open()
    owner = await store.join("a kernel")
    await store.create("theirs")
    say("ready")
    n = 0
    while True:
        claim = await store.claim("theirs", user(f"{n}"), owner)
        await store.settle(claim, [assistant("yes")])
        n += 1

asyncio.run(write())
"""

HOLDER = """
from pathlib import Path
from dexto_magic.stores.locks import Gate
with Gate(Path(home) / "gate.lock", timeout=30).entered():
    say(os.getpid())
    sys.stdin.readline()
"""

RUNNER = """
async def run():
    store = DiskStore(home)
    await store.open()
    owner = await store.join("analysis.ipynb")
    await store.create("long")
    await store.claim("long", user("a long story"), owner)
    say("ready")
    sys.stdin.readline()

asyncio.run(run())
"""


# -- a sound store ---------------------------------------------------------------------------------


async def test_of_a_sound_store_everything_is_told_and_nothing_found(disk):
    await filled(disk, "eda", "other")
    report = await disk.examine()
    assert (report.sessions, report.messages, report.version) == (2, 12, 2)
    assert (problems(report), notes(report), report.unseen) == ([], [], ())
    assert report.location == disk.location
    assert report.generation == await disk.generation()
    assert report.size > 0
    assert report.free > 0
    assert report.sqlite == sqlite3.sqlite_version
    assert not report.needs_action


async def test_all_that_a_store_can_hold_is_sound(disk):
    """Versions, forks, homes, marks, summaries, files, what was undone, forgotten, reset, deleted."""
    owner = await filled(disk, "eda", "emptied", "gone", turns=4)
    await disk.set_home("eda", "/a.ipynb", ["cell 1", "cell 2"])
    await disk.set_home("emptied", "/a.ipynb", ["cell 2", "cell 3"])
    await say_with_file(disk, owner, "eda", "with a file", b"content")
    await disk.note("eda", summary("brief", await everything(disk, "eda"), turn=2))
    await disk.fork("eda", "fork", turn=3)
    await say(disk, owner, "eda", "again", revises=2)
    await disk.undo("eda")
    await disk.forget("eda", 1)
    await disk.reset("emptied")
    await disk.delete("gone")
    await disk.rename("fork", "branch")
    whole = await disk.transcript("branch", everything=True)
    await disk.restore(
        type(whole)(
            session=type(whole.session)(**{**vars(whole.session), "id": "in"}),
            messages=whole.messages,
            line=whole.line,
        ),
        source="a file",
    )
    report = await disk.examine()
    assert (problems(report), notes(report), report.unseen) == ([], [], ())
    assert report.sessions == 4


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_store_of_an_earlier_version_is_sound_and_left_as_it_is(tmp_path, version):
    shutil.copytree(FIXTURES / version, tmp_path / "store")
    for path in (tmp_path / "store", *(tmp_path / "store").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    before = state_of(tmp_path)
    report = await DiskStore(tmp_path / "store").examine()
    assert (problems(report), report.unseen) == ([], ())
    assert report.version == int(version[1:])
    assert any("died before its end" in note for note in notes(report))
    assert state_of(tmp_path) == before


async def test_nothing_is_changed_by_looking(tmp_path):
    store = DiskStore(tmp_path / "store")
    await store.open()
    await filled(store, "eda")
    before = state_of(tmp_path)
    await store.examine()
    assert state_of(tmp_path) == before
    await store.close()
    before = state_of(tmp_path)
    await store.examine()
    assert state_of(tmp_path) == before


async def test_what_a_killed_process_left_is_looked_at_and_left(tmp_path):
    with python(RUNNER, tmp_path / "store") as process:
        assert heard(process) == "ready"
        kill(process)
    before = state_of(tmp_path)
    report = await DiskStore(tmp_path / "store").examine()
    assert (report.sessions, report.holders, report.unseen) == (1, (), ())
    assert any("'long'" in note for note in notes(report))
    assert state_of(tmp_path) == before
    assert report.log_size > 0


# -- no store, or none that can be read ------------------------------------------------------------


async def test_where_there_is_no_store_that_is_said_and_none_is_made(tmp_path):
    report = await DiskStore(tmp_path / "store").examine()
    assert not report.exists
    assert not report.needs_action
    assert notes(report)[0].startswith(f"There is no store in {tmp_path / 'store'}")
    assert not (tmp_path / "store").exists()


@pytest.fixture
async def closed(tmp_path, anyio_backend):
    """A store with content, which nobody has open."""
    store = DiskStore(tmp_path / "store")
    await store.open()
    await filled(store, "eda", "other", turns=40)
    await store.close()
    return store


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(path.read_bytes()[:700]),
        lambda path: path.write_bytes(b"no database at all" * 500),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(
            path.read_bytes()[:8192] + b"\xff" * 8192 + path.read_bytes()[16384:]
        ),
    ],
)
async def test_of_a_damaged_store_the_damage_is_told_and_what_brings_a_backup_back(closed, damage):
    (database(closed).parent / "other-file").touch()  # the folder is that of a store
    damage(database(closed))
    before = state_of(closed._home)
    report = await closed.examine()
    assert report.needs_action
    assert any("dexto-magic restore FILE" in finding.next for finding in report.findings)
    assert state_of(closed._home) == before


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("DELETE FROM Cache WHERE key LIKE 'm:%:000000000003'", "2 sessions of which messages"),
        ("DELETE FROM Cache WHERE key = 'n:eda'", "1 sessions to which not everything leads"),
        ("DELETE FROM Cache WHERE typeof(key) = 'blob'", "2 sessions to which not everything"),
        ("DELETE FROM Cache WHERE key LIKE 's:%'", "leftovers of sessions that are gone"),
        ("UPDATE Cache SET key = 'n:nobody' WHERE key = 'n:eda'", "1 entries of an index"),
        ("UPDATE Cache SET value = x'7b' WHERE key LIKE 'm:%:000000000003'", "2 messages that"),
        ("UPDATE Cache SET value = x'7b7d' WHERE key LIKE 's:%'", "2 records of sessions"),
        ("UPDATE Cache SET mode = 4, value = x'80' WHERE key LIKE 'm:%0003'", "2 rows that this"),
        ("UPDATE Cache SET filename = 'a/b' WHERE key LIKE 'm:%0003'", "2 rows that this package"),
        ("UPDATE Cache SET key = 'p:' || substr(key, 3) WHERE key LIKE 's:%'", "leftovers of"),
    ],
)
async def test_what_sqlite_cannot_know_to_be_wrong_is_found(closed, sql, told):
    changed(database(closed), sql)
    report = await closed.examine()
    assert any(told in what for what in problems(report)), problems(report)
    assert all(finding.next for finding in report.findings if finding.level == "problem")


async def test_rows_past_the_end_and_parts_of_a_reply_without_a_turn_are_found(closed):
    ((sid,),) = raw(closed, "SELECT substr(key, 3) FROM Cache WHERE key LIKE 's:%' LIMIT 1")
    copy = "INSERT INTO Cache (key, raw, store_time, mode, value) SELECT ?, 1, 0, mode, value"
    for key in (f"m:{sid}:00000000:{999:012x}", f"p:{sid}"):
        changed(
            database(closed), copy + " FROM Cache WHERE key LIKE 'm:%:000000000003' LIMIT 1", key
        )
    found = problems(await closed.examine())
    assert any("rows past the end" in what for what in found)
    assert any("without a turn" in what for what in found)


async def test_a_store_of_a_newer_version_is_left_alone(closed):
    (data,) = raw(closed, "SELECT value FROM Cache WHERE key = 'v:schema'")[0]
    schema = json.dumps(json.loads(data) | {"version": 99, "minimum_reader": 99}).encode()
    changed(database(closed), "UPDATE Cache SET value = ? WHERE key = 'v:schema'", schema)
    before = state_of(closed._home)
    report = await closed.examine()
    assert report.findings[0].next == "`pip install --upgrade dexto-magic`"
    assert report.unseen == ("What is in the store: it is of a newer version.",)
    assert state_of(closed._home) == before


async def test_a_database_of_somebody_else_is_not_searched(closed):
    changed(database(closed), "CREATE TABLE theirs (x)")
    report = await closed.examine()
    assert "not a store of this package: it holds 'theirs'" in problems(report)[0]
    assert report.sessions is None


async def test_a_store_that_cannot_be_written_is_looked_at_and_that_is_said(closed):
    def look():
        report = asyncio.run(DiskStore(closed.location).examine())
        assert (report.sessions, report.messages) == (2, 160)
        assert any(
            "cannot be written" in f.what or "not written" in f.what for f in report.findings
        )

    with unwritable(closed._home) as run:
        assert run(look) == 0


# -- others ----------------------------------------------------------------------------------------


async def test_what_others_write_meanwhile_is_never_taken_for_damage(disk):
    await filled(disk, "eda", turns=30)
    with python(WRITER, disk.location) as process:
        assert heard(process) == "ready"
        for _ in range(8):
            report = await disk.examine()
            assert (problems(report), report.unseen) == ([], ())


async def test_a_writer_that_is_stopped_in_the_gate_is_named_with_the_command_that_helps(disk):
    await filled(disk, "eda")
    with python(HOLDER, disk.location) as process:
        pid = int(heard(process))
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
        report = await disk.examine()
        (gate,) = [holder for holder in report.holders if holder.lock == "gate"]
        assert f"process {pid} on " in gate.holder
        (finding,) = [f for f in report.findings if f.level == "problem"]
        assert "is stopped" in finding.what
        assert f"`kill -CONT {pid}`" in finding.next
        assert report.sessions == 1
        os.kill(pid, signal.SIGCONT)


async def test_who_is_alive_and_what_they_run_is_told(disk):
    await filled(disk, "eda")
    with python(RUNNER, disk.location) as process:
        assert heard(process) == "ready"
        report = await disk.examine()
        running = [holder for holder in report.holders if holder.doing]
        assert [holder.doing for holder in running] == ["running a turn of 'long'"]
        assert f"analysis.ipynb (process {process.pid}" in running[0].holder
        idle = [holder.holder for holder in report.holders if not holder.doing]
        assert idle == [f"process {os.getpid()}"]


async def test_looking_keeps_no_writer_waiting_and_no_log_growing(disk):
    """A writer commits while every row is looked at, and the log is emptied right after."""
    await filled(disk, "eda", turns=300)
    looking = asyncio.create_task(disk.examine())
    written = 0
    while not looking.done():
        await disk.update("eda", model=f"m:{written}")
        written += 1
    assert problems(await looking) == []
    assert written > 0
    assert (await disk.delete("eda")).purge_pending is False


async def test_a_purge_that_a_reader_delays_is_told(disk):
    await filled(disk, "eda")
    with closing(sqlite3.connect(database(disk), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM Cache").fetchall()
        assert (await disk.delete("eda")).purge_pending is True
        report = await disk.examine()
        assert any("purge pending: of 1 removals" in note for note in notes(report))


async def test_looking_that_nobody_waits_for_any_more_ends(disk):
    await filled(disk, "eda", turns=300)
    looking = asyncio.create_task(disk.examine())
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking


async def test_a_process_that_looks_can_fork(disk):
    await filled(disk, "eda", turns=200)
    looking = asyncio.create_task(disk.examine())
    forked = 0
    while not looking.done():
        assert in_child(lambda: None) == 0
        forked += 1
        await asyncio.sleep(0)
    assert forked
    assert problems(await looking) == []
    assert len(await texts(disk, "eda")) == 400


# -- the place -------------------------------------------------------------------------------------


async def test_who_else_may_read_is_told_with_the_command_that_ends_it(disk):
    await filled(disk, "eda")
    database(disk).chmod(0o644)
    report = await disk.examine()
    (finding,) = [f for f in report.findings if f.level == "problem"]
    assert str(database(disk)) in finding.what
    assert finding.next == f"`chmod -R go= {disk.location}`"


async def test_a_link_in_the_place_of_a_file_is_told(closed, tmp_path):
    database(closed).rename(tmp_path / "elsewhere.db")
    database(closed).symlink_to(tmp_path / "elsewhere.db")
    assert any("symbolic link" in what for what in problems(await closed.examine()))


@pytest.mark.parametrize(
    ("kind", "is_network"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "gpfs")),
        *((kind, True) for kind in ("ceph", "9p", "fuse.rclone", "glusterfs")),
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "overlay", "zfs", "apfs", None)),
    ],
)
def test_network_file_systems_are_known(kind, is_network):
    found = list(premises.file_system_findings(kind))
    assert bool(found) is is_network
    assert all(finding.level == "problem" and kind in finding.what for finding in found)


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.45.0", True),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.52.0", False),
    ],
)
def test_versions_of_sqlite_with_the_wal_reset_bug_are_known(version, affected):
    found = list(premises.sqlite_findings(version))
    assert bool(found) is affected
    assert all(finding.level == "note" and "the gate" in finding.what for finding in found)


def test_little_room_is_a_problem_and_less_than_the_store_takes_a_note():
    levels = [
        [f.level for f in premises.room_findings(free, 10**9)] for free in (10**6, 10**8, 10**10)
    ]
    assert levels == [["problem"], ["note"], []]


def test_a_lock_that_nobody_holds_has_no_holder(tmp_path):
    (tmp_path / "gate.lock").touch()
    assert holders.locked(tmp_path / "gate.lock") is None
    assert holders.locked(tmp_path / "none.lock") is None
