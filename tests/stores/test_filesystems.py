"""A store on a network file system: used with care where its locks hold, and refused elsewhere.

A table of mounts that says so stands in for one; all else is real.
"""

import errno
import fcntl
import warnings

import pytest

from dexto_magic.errors import StoreError
from dexto_magic.stores import filesystems
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.filesystems import Mount, locks_hold, mount_of
from tests.support.audit import is_intact, strays
from tests.support.disks import collected, database, files_with, raw
from tests.support.messages import assistant, user
from tests.support.processes import heard, kill, python
from tests.support.stores import names, say, texts


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Makes the folder of a test one that is on some file system, as far as it is told."""

    def mounted(kind, options="rw", folder=tmp_path):
        table = tmp_path / "mounts"
        place = str(folder).replace(" ", "\\040")
        table.write_text(
            f"/dev/vda / ext4 rw,relatime 0 0\nserver:/homes {place} {kind} {options} 0 0\n"
        )
        monkeypatch.setattr(filesystems, "MOUNTS", table)
        return tmp_path / "store"

    return mounted


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


LOCKS_THAT_DO_NOT_HOLD = {"fail": no_locks, "are granted to everybody": lambda *_: None}


# -- what is mounted -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "fuse.sshfs"])
def test_file_systems_that_other_machines_may_have_are_remote(mounted, kind):
    assert mount_of(mounted(kind)) == Mount(kind=kind, options=("rw",))
    assert mount_of(mounted(kind)).is_remote


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "nfsd"]
)
def test_others_are_not(mounted, kind):
    assert not mount_of(mounted(kind)).is_remote


def test_a_folder_is_on_what_is_mounted_nearest_above_it_and_last(tmp_path, mounted):
    mounted("nfs4", folder=tmp_path / "my home")
    with (tmp_path / "mounts").open("a") as table:
        table.write(f"none {tmp_path}/my\\040home/local ext4 rw 0 0\n")
        table.write(f"none {tmp_path}/hidden nfs4 rw 0 0\nnone {tmp_path}/hidden xfs rw 0 0\n")
    there = {
        name: mount_of(tmp_path / name).kind
        for name in ("my home", "my home/x", "my home/local/x", "my homes", "hidden/x", "")
    }
    assert list(there.values()) == ["nfs4", "nfs4", "ext4", "ext4", "xfs", "ext4"]


def test_a_link_leads_to_where_it_leads(tmp_path, mounted):
    mounted("nfs4", folder=tmp_path / "remote")
    (tmp_path / "remote").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "remote")
    assert mount_of(tmp_path / "link" / "store").kind == "nfs4"


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystems, "MOUNTS", tmp_path / "nothing")
    assert mount_of(tmp_path) is None


# -- whether locks hold ----------------------------------------------------------------------------


def test_locks_hold_here(tmp_path):
    assert locks_hold(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", LOCKS_THAT_DO_NOT_HOLD)
@pytest.mark.parametrize("lock", ["flock", "lockf"])
def test_locks_of_either_kind_that_keep_nobody_out_do_not_hold(tmp_path, monkeypatch, lock, how):
    monkeypatch.setattr(fcntl, lock, LOCKS_THAT_DO_NOT_HOLD[how])
    assert not locks_hold(tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- the store -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_where_locks_hold_a_store_keeps_no_log_and_says_once_where_it_is(mounted):
    home = mounted("nfs4")
    store, other = DiskStore(home), DiskStore(home)
    with pytest.warns(UserWarning, match=r"on a network file system \(nfs4\).*DEXTO_HOME") as told:
        await store.open()
    assert len(told) == 1
    assert str(home) in str(told[0].message)
    with warnings.catch_warnings(action="ignore"):
        await other.open()
    owner, another = await store.join("one"), await other.join("other")
    await store.create("eda")
    for n in range(10):
        await say(store, owner, "eda", f"one {n}")
        await say(other, another, "eda", f"other {n}")
    assert len(await texts(store, "eda")) == 40
    await other.fork("eda", "fork")
    await store.reset("eda")
    assert await names(other) == ["fork", "eda"]
    assert {path.name for path in database(store).parent.iterdir()} == {"cache.db"}
    assert raw(store, "PRAGMA journal_mode") == [("delete",)]
    removed = await other.delete("fork")
    assert removed.purge_pending is False
    assert files_with(store, "other 3") == []
    await store.close()
    await other.close()
    assert is_intact(database(store))
    assert strays(database(store)) == []


@pytest.mark.anyio
async def test_a_store_moves_between_a_local_and_a_network_file_system(mounted):
    home = mounted("ext4")
    store = DiskStore(home)
    for kind, journal in (("ext4", "wal"), ("nfs4", "delete"), ("ext4", "wal")):
        mounted(kind)
        with warnings.catch_warnings(action="ignore"):
            await store.open()
        await store.create(f"{kind} {journal} {len(await names(store))}")
        assert raw(store, "PRAGMA journal_mode") == [(journal,)]
        await store.close()
    await store.open()
    assert len(await names(store)) == 3
    await store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("how", LOCKS_THAT_DO_NOT_HOLD)
async def test_where_locks_do_not_hold_a_store_is_not_opened(mounted, monkeypatch, how):
    home = mounted("nfs")
    monkeypatch.setattr(fcntl, "flock", LOCKS_THAT_DO_NOT_HOLD[how])
    store = DiskStore(home)
    with pytest.raises(StoreError, match=r"\(nfs\) do not keep processes apart") as caught:
        await store.open()
    assert "Set DEXTO_HOME to a folder on a local disk, such as /" in str(caught.value)
    assert not database(store).exists()


@pytest.mark.anyio
@pytest.mark.parametrize("option", ["nolock", "local_lock=all", "nobrl"])
async def test_where_other_machines_are_not_told_of_locks_a_store_is_not_opened(mounted, option):
    store = DiskStore(mounted("nfs", f"rw,{option},vers=3"))
    with pytest.raises(StoreError, match="do not keep processes apart"):
        await store.open()


@pytest.mark.anyio
async def test_a_local_file_system_without_locks_is_no_place_for_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    store = DiskStore(tmp_path / "store")
    with pytest.raises(StoreError, match=r"do not keep processes apart.*DEXTO_HOME"):
        await store.open()


@pytest.mark.anyio
async def test_what_a_kill_amid_a_commit_left_is_put_back(mounted):
    """The journal of a writer who was killed tells what the database was like before."""
    home = mounted("nfs4")
    with python(
        """
        import signal, warnings
        from pathlib import Path
        from dexto_magic.stores import filesystems
        from dexto_magic.stores.waiting import outcome
        filesystems.MOUNTS = Path(sys.argv[2])
        warnings.simplefilter("ignore")

        def half(table):
            with table.transaction():
                table._cache._sql("PRAGMA cache_size = 1")  # so that pages go to the file at once
                table._cache._sql("DELETE FROM Cache")
                say("amid it")
                sys.stdin.readline()

        async def main():
            store = DiskStore(home)
            await store.open()
            owner = await store.join("doomed")
            await store.create("eda")
            for n in range(50):
                claim = await store.claim("eda", user(f"q{n}" + 500 * "x"), owner)
                await store.settle(claim, [assistant(f"a{n}")])
            await outcome((await store._running()).write_alone(half))

        asyncio.run(main())
        """,
        home,
        filesystems.MOUNTS,
    ) as process:
        assert heard(process) == "amid it"
        kill(process)
    store = DiskStore(home)
    assert database(store).with_name("cache.db-journal").stat().st_size > 0
    with warnings.catch_warnings(action="ignore"):
        await store.open()
    assert len(await texts(store, "eda")) == 100
    owner = await store.join("a test")
    await store.settle(await store.claim("eda", user(), owner), [assistant()])
    await collected(store)
    await store.close()
    assert is_intact(database(store))
    assert strays(database(store)) == []
