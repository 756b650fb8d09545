"""Backups: the whole of a store in one file, made while others write, there whole or not at all."""

import asyncio
import errno
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dexto_magic.errors import FormatError, StoreCorruptedError, StoreError, StoreVersionError
from dexto_magic.stores import backups
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.memory import MemoryStore
from tests.support.disks import database, gate_of_another, raw, unwritable
from tests.support.processes import heard, kill, python
from tests.support.stores import names, texts
from tests.support.upkeep import backed_up, changed, filled, restored, untold

pytestmark = pytest.mark.anyio

WRITER = """
async def write():
    store = DiskStore(home)
    await store.open()
    owner = await store.join("a kernel")
    await store.create("theirs")
    for n in range(10 ** 9):
        claim = await store.claim("theirs", user(f"{n}"), owner)
        await store.settle(claim, [assistant("yes")])
        if n == 20:
            say("ready")

asyncio.run(write())
"""

BACKUP = """
from pathlib import Path
done = 0

def tell(done, total):
    say(done)
    sys.stdin.readline()

from dexto_magic.stores import backups
backups._PAGES = 5
asyncio.run(DiskStore(home).back_up(Path(sys.argv[2]), replace_file=False, tell=tell))
say("done")
"""


async def content(path, tmp_path):
    """The sessions of a backup, by the texts of their messages, as a new store has them."""
    folder = tmp_path / f"again-{len(list(tmp_path.iterdir()))}"
    store = DiskStore(folder)
    await restored(store, path)
    await store.open()
    try:
        return {name: await texts(store, name) for name in await names(store)}
    finally:
        await store.close()


async def test_a_backup_is_one_file_for_its_owner_only_with_all_that_there_is(disk, tmp_path):
    await filled(disk, "eda", "other")
    done = await backed_up(disk, tmp_path / "all.db")
    assert (done.sessions, done.messages) == (2, 12)
    assert done.path == str(tmp_path / "all.db")
    assert done.size == (tmp_path / "all.db").stat().st_size
    assert (tmp_path / "all.db").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"store", "all.db"}
    assert await content(tmp_path / "all.db", tmp_path) == {
        name: await texts(disk, name) for name in ("other", "eda")
    }


async def test_a_backup_is_for_its_owner_only_whatever_the_umask(disk, tmp_path):
    await filled(disk, "eda")
    before = os.umask(0)
    try:
        await backed_up(disk, tmp_path / "all.db")
    finally:
        os.umask(before)
    assert (tmp_path / "all.db").stat().st_mode & 0o777 == 0o600


async def test_a_backup_made_while_others_write_is_a_moment_of_the_store(disk, tmp_path):
    await filled(disk, "eda", turns=200)
    with python(WRITER, disk.location) as process:
        assert heard(process) == "ready"
        made = [await backed_up(disk, tmp_path / f"{n}.db") for n in range(5)]
    assert [one.messages for one in made] == sorted(one.messages for one in made)
    assert made[0].messages < made[-1].messages, "they wrote all the while"
    for one in made:
        found = await content(Path(one.path), tmp_path)
        assert len(found["eda"]) == 400
        theirs = found["theirs"]
        assert theirs[::2] == [str(n) for n in range(len(theirs[::2]))]


async def test_a_backup_needs_no_gate(disk, tmp_path):
    """A stopped writer keeps nobody from keeping what is there."""
    await filled(disk, "eda")
    with gate_of_another(disk):
        assert (await backed_up(disk, tmp_path / "all.db")).sessions == 1


async def test_a_store_that_cannot_be_written_can_be_backed_up(tmp_path, anyio_backend):
    store = DiskStore(tmp_path / "store")
    await store.open()
    await filled(store, "eda")
    await store.close()
    target = tmp_path / "target"
    target.mkdir()
    target.chmod(0o777)

    def back_up():
        done = asyncio.run(backed_up(DiskStore(store.location), target / "all.db"))
        assert done.messages == 6

    with unwritable(store._home) as run:
        assert run(back_up) == 0


async def test_what_was_deleted_before_is_not_in_a_backup(disk, tmp_path):
    """Not even what is left in the unused part of a page, while a reader delays the purge."""
    await filled(disk, "the-secret", turns=200)
    await filled(disk, "eda")
    with closing(sqlite3.connect(database(disk), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM Cache").fetchall()
        assert (await disk.delete("the-secret")).purge_pending is True
        await backed_up(disk, tmp_path / "all.db")
    assert b"the-secret" not in (tmp_path / "all.db").read_bytes()


# -- the file --------------------------------------------------------------------------------------


async def test_a_file_that_is_there_is_left_unless_that_is_said(disk, tmp_path):
    await filled(disk, "eda")
    path = tmp_path / "all.db"
    path.write_text("mine")
    with pytest.raises(FormatError, match=r"is there already, and was left as it is.*--force"):
        await backed_up(disk, path)
    assert path.read_text() == "mine"
    await backed_up(disk, path, replace_file=True)
    assert path.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("replace_file", [False, True])
async def test_a_link_is_never_followed(disk, tmp_path, replace_file):
    await filled(disk, "eda")
    (tmp_path / "theirs").write_text("theirs")
    for target in (tmp_path / "theirs", tmp_path / "nowhere"):
        link = tmp_path / f"link to {target.name}"
        link.symlink_to(target)
        with pytest.raises(FormatError, match="is a link, or no file"):
            await backed_up(disk, link, replace_file=replace_file)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "nowhere").exists()


async def test_a_file_that_comes_meanwhile_is_left(disk, tmp_path):
    await filled(disk, "eda")

    def tell(done, total):
        (tmp_path / "all.db").write_text("theirs")

    with pytest.raises(FormatError, match="came to be meanwhile"):
        await backed_up(disk, tmp_path / "all.db", tell=tell)
    assert (tmp_path / "all.db").read_text() == "theirs"
    assert {path.name for path in tmp_path.iterdir()} == {"store", "all.db"}


@pytest.mark.parametrize("place", ["all.db", "sessions/all.db"])
async def test_no_backup_is_kept_where_what_is_deleted_must_be_gone(disk, place):
    await filled(disk, "eda")
    with pytest.raises(FormatError, match="inside the store's own folder"):
        await backed_up(disk, disk._home / place)


async def test_a_folder_that_is_not_there_is_told(disk, tmp_path):
    await filled(disk, "eda")
    with pytest.raises(FormatError, match="cannot be written: No such file"):
        await backed_up(disk, tmp_path / "none" / "all.db")


async def test_a_file_system_without_links_gets_the_file_all_the_same(disk, tmp_path, monkeypatch):
    """As FAT is; there is none to be had here."""

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(backups.os, "link", refuse)
    await filled(disk, "eda")
    assert (await backed_up(disk, tmp_path / "all.db")).sessions == 1
    assert {path.name for path in tmp_path.iterdir()} == {"store", "all.db"}


async def test_a_backup_that_is_killed_or_stopped_leaves_no_file_of_that_name(disk, tmp_path):
    await filled(disk, "eda", turns=300)
    path = tmp_path / "all.db"
    for steps in range(5):
        with python(BACKUP, disk.location, path) as process:
            for _ in range(steps):
                heard(process)
                process.stdin.write("\n")
                process.stdin.flush()
            heard(process)
            os.kill(process.pid, signal.SIGSTOP)
            await disk.update("eda", model=f"m:{steps}")
            assert not path.exists()
            kill(process)
        assert not path.exists()
    assert (await backed_up(disk, path)).messages == 600


async def test_a_backup_that_nobody_waits_for_any_more_leaves_nothing(disk, tmp_path):
    await filled(disk, "eda", turns=100)
    loop = asyncio.get_running_loop()
    making = asyncio.create_task(
        backed_up(
            disk, tmp_path / "all.db", tell=lambda *_: loop.call_soon_threadsafe(making.cancel)
        )
    )
    try:
        await making
    except asyncio.CancelledError:
        assert {path.name for path in tmp_path.iterdir()} == {"store"}
    else:
        assert (tmp_path / "all.db").exists(), "it was cancelled too late"


# -- what cannot be backed up ----------------------------------------------------------------------


async def test_of_no_store_there_is_no_backup(tmp_path):
    with pytest.raises(StoreError, match="There is no store in"):
        await backed_up(DiskStore(tmp_path / "none"), tmp_path / "all.db")
    assert list(tmp_path.iterdir()) == []


async def test_of_a_damaged_store_no_backup_is_called_done(tmp_path):
    store = DiskStore(tmp_path / "store")
    await store.open()
    await filled(store, "eda", turns=100)
    await store.close()
    data = bytearray(database(store).read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    database(store).write_bytes(data)
    with pytest.raises(StoreCorruptedError, match="damaged"):
        await backed_up(store, tmp_path / "all.db")
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


async def test_a_store_of_a_newer_version_is_not_backed_up(disk, tmp_path):
    await filled(disk, "eda")
    ((data,),) = raw(disk, "SELECT value FROM Cache WHERE key = 'v:schema'")
    changed(
        database(disk),
        "UPDATE Cache SET value = ? WHERE key = 'v:schema'",
        data.replace(b'"minimum_reader":2', b'"minimum_reader":9'),
    )
    with pytest.raises(StoreVersionError):
        await backed_up(disk, tmp_path / "all.db")


async def test_a_store_in_memory_says_that_it_has_no_file(tmp_path):
    store = MemoryStore()
    for call in (
        store.examine(),
        store.back_up(tmp_path / "x", replace_file=False, tell=untold),
        store.restore_backup(tmp_path / "x", before=None, tell=untold),
    ):
        with pytest.raises(StoreError, match="in memory, without a file"):
            await call
