"""Whatever is wrong with the index, what was said is found, and the store is left alone."""

import asyncio
import os
import random
import shutil
import sqlite3
import stat

import pytest

from dexto_magic.errors import StoreError
from tests.support.processes import in_child
from tests.support.searching import index_file, on_disk

pytestmark = pytest.mark.anyio

TURNS = 30


async def fill(place):
    for name in ("s0", "s1", "s2"):
        texts = [f"ridge {number} " + "and so on " * 20 for number in range(TURNS // 3)]
        await place.import_turns(name, *texts)


async def assert_finds_all(place):
    assert len(await place.find("ridge", limit=100)) == TURNS
    assert len(await place.find("fine", session="s1", limit=100)) == TURNS // 3
    assert len(await place.find('"so on and"', limit=100)) == TURNS


async def what_is_said(place):
    return [
        await place.store.transcript(session.id)
        for session in (await place.store.list(limit=100)).sessions
    ]


def sql(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def is_whole(path):
    """Whether a file is a database that SQLite finds nothing wrong with."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def keep(start, end=None):
    return lambda whole: whole[start:end]


def fill_with(byte, start, end=None):
    def damaged(whole):
        stop = len(whole) if end is None else end
        return whole[:start] + byte * (stop - start) + whole[stop:]

    return damaged


def scatter(seed, count):
    """Blocks of chance here and there, but for the first page."""

    def damaged(whole):
        chance, text = random.Random(seed), bytearray(whole)
        for _ in range(count):
            start = chance.randrange(4096, len(text) - 100)
            text[start : start + 100] = chance.randbytes(100)
        return bytes(text)

    return damaged


DAMAGES = {
    "empty": keep(0, 0),
    "one page": keep(0, 4096),
    "half a page": keep(0, 2048),
    "header": keep(0, 200),
    "all but the end": keep(0, -1),
    "odd": keep(0, 20_001),
    "zeros": fill_with(b"\0", 4096),
    "junk": fill_with(b"junk", 4096),
    "tables": fill_with(b"\xff", 100, 4096),
    "a page": fill_with(b"\0", 8192, 12288),
    "too long": lambda whole: whole + b"x" * 5000,
    **{f"scattered {seed}": scatter(seed, 200) for seed in range(8)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_index_is_made_anew(home, damage, anyio_backend):
    async with on_disk(home) as place:
        await fill(place)
        await assert_finds_all(place)
    path = index_file(home)
    path.write_bytes(damage(path.read_bytes()))

    async with on_disk(home) as place:
        before = await what_is_said(place)
        await assert_finds_all(place)
        await place.say("more", "ridge more")
        assert len(await place.find("ridge", limit=100)) == TURNS + 1
        await place.store.delete("more")
        assert await place.index.purge()
        assert await what_is_said(place) == before
        await assert_finds_all(place)
    assert is_whole(path)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_an_index_that_is_damaged_while_it_is_open_is_made_anew(disk, home, damage):
    await fill(disk)
    await assert_finds_all(disk)
    path = index_file(home)
    path.write_bytes(damage(path.read_bytes()))

    await disk.say("more", "ridge more")
    assert len(await disk.find("ridge", limit=100)) == TURNS + 1
    await disk.store.delete("more")
    assert await disk.index.purge()

    await assert_finds_all(disk)


async def test_an_index_that_was_removed_is_made_anew_in_its_place(disk, home):
    await fill(disk)
    await assert_finds_all(disk)
    index_file(home).unlink()

    await assert_finds_all(disk)

    assert index_file(home).exists()
    assert stat.S_IMODE(index_file(home).stat().st_mode) == 0o600


async def test_an_index_in_place_of_the_one_that_was_open_is_used(disk, home, tmp_path):
    await fill(disk)
    await assert_finds_all(disk)
    copy = tmp_path / "copy.db"
    shutil.copy(index_file(home), copy)
    await disk.say("more", "ridge more")
    copy.rename(index_file(home))

    assert len(await disk.find("ridge", limit=100)) == TURNS + 1


async def test_an_index_of_another_store_is_made_anew(home, tmp_path, anyio_backend):
    async with on_disk(tmp_path / "other") as other:
        await other.say("other", "ridge of another store")
        await other.find("ridge")
    async with on_disk(home) as place:
        await fill(place)
        shutil.copy(index_file(tmp_path / "other"), index_file(home))

        await assert_finds_all(place)

        assert b"another store" not in index_file(home).read_bytes()


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 3",
        "DROP TABLE texts",
        "DROP TABLE words",
        "CREATE TABLE more (x)",
        "CREATE TRIGGER t AFTER INSERT ON texts BEGIN DELETE FROM texts; END",
        "DELETE FROM state",
        "UPDATE sessions SET line = 'x'",
        "UPDATE sessions SET line = '{}'",
        "UPDATE sessions SET noted = noted + 1, line = '[1]'",
        "DELETE FROM texts",
        "DELETE FROM words_data",
        "UPDATE texts SET text = x'ff'",
        "UPDATE entries SET at = 'soon'",
        "PRAGMA journal_mode = WAL",
    ],
)
async def test_an_index_that_is_not_as_we_make_it_is_made_anew(home, statement, anyio_backend):
    async with on_disk(home) as place:
        await fill(place)
        await assert_finds_all(place)
    sql(index_file(home), statement)

    async with on_disk(home) as place:
        await place.say("s0", "one more")
        await assert_finds_all(place)
        assert await place.find("one more", role="user") == ["one more"]
    assert [path.name for path in index_file(home).parent.iterdir()] == ["search.db"]
    assert is_whole(index_file(home))


def text_file(path):
    path.write_text("my own search notes\n" * 500)


def short_file(path):
    path.write_text("x")


def other_database(path):
    sql(path, "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (1)")


def other_database_in_use(path):
    whole = path.with_name("mine.db")
    connection = sqlite3.connect(whole, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("CREATE TABLE mine (x)")
    for suffix in ("", "-wal"):
        shutil.copy(f"{whole}{suffix}", f"{path}{suffix}")
    connection.close()


def link(path):
    path.with_name("target.txt").write_text("mine")
    path.symlink_to("target.txt")


def link_to_nothing(path):
    path.symlink_to("nothing")


def folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (text_file, "no database"),
        (short_file, "another program's database"),
        (other_database, "another program's database"),
        (other_database_in_use, "another program's database"),
        (link, "a link"),
        (link_to_nothing, "a link"),
        (folder, "no regular file"),
        (os.mkfifo, "no regular file"),
    ],
)
async def test_what_is_no_index_is_left_alone_and_named(disk, home, make, found):
    await disk.say("a", "ridge")
    path = index_file(home)
    make(path)
    there = {each.name: each.lstat().st_mtime_ns for each in path.parent.iterdir()}

    with pytest.raises(StoreError, match=f"search.db is not a search index.*{found}") as caught:
        await disk.find("ridge")
    assert caught.value.path == str(path)
    assert not await disk.index.purge()

    assert {each.name: each.lstat().st_mtime_ns for each in path.parent.iterdir()} == there
    path.rmdir() if path.is_dir() else path.unlink()
    path.with_name("search.db-wal").unlink(missing_ok=True)
    assert await disk.find("ridge") == ["ridge"]


async def test_a_journal_that_a_removed_index_left_is_of_no_consequence(disk, home):
    await fill(disk)
    index_file(home).with_name("search.db-journal").write_bytes(b"left over" * 1000)

    assert await disk.index.purge()
    await assert_finds_all(disk)

    assert [path.name for path in index_file(home).parent.iterdir()] == ["search.db"]


async def test_where_there_is_no_folder_memory_answers(disk, home):
    await fill(disk)
    await assert_finds_all(disk)
    shutil.rmtree(index_file(home).parent)

    await assert_finds_all(disk)
    await disk.say("more", "ridge more")
    assert len(await disk.find("ridge", limit=100)) == TURNS + 1
    assert await disk.index.purge()

    assert not index_file(home).parent.exists()


async def limit_pages(place, pages):
    """Lets the index have so many pages, or those that it has, as a full disk would."""
    desk = place.index._here()
    statement = f"PRAGMA max_page_count = {pages}"
    await desk.run(lambda: desk.durable.read(lambda connection: connection.execute(statement)))


async def test_where_the_disk_is_full_memory_answers_until_it_is_not(disk):
    seconds = [0.0]
    disk.index._clock = lambda: seconds[0]
    await disk.say("a", "ridge a")
    assert await disk.find("ridge") == ["ridge a"]
    await limit_pages(disk, 1)
    await fill(disk)
    spare = disk.index._here().spare

    assert len(await disk.find("ridge", limit=100)) == TURNS + 1
    assert spare.exists()

    await limit_pages(disk, 2**30)
    await disk.say("b", "ridge b")
    seconds[0] += 59
    assert len(await disk.find("ridge", limit=100)) == TURNS + 2
    assert spare.exists()
    seconds[0] += 2
    assert len(await disk.find("ridge", limit=100)) == TURNS + 2
    assert not spare.exists()


async def test_a_purge_for_which_there_is_no_room_takes_the_whole_index(disk, home):
    await fill(disk)
    await disk.say("gone", "qzxj" * 9)
    await assert_finds_all(disk)
    await limit_pages(disk, 1)
    await disk.store.delete("gone")

    assert await disk.index.purge()

    assert not index_file(home).exists() or b"qzxj" not in index_file(home).read_bytes()
    await assert_finds_all(disk)


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_an_index_that_somebody_keeps_locked_is_not_waited_for_for_ever(
    home, begin, anyio_backend
):
    async with on_disk(home, patience=0.05) as place:
        await fill(place)
        await assert_finds_all(place)
        holder = sqlite3.connect(index_file(home), isolation_level=None)
        holder.execute(begin)
        await place.say("more", "ridge more")

        assert len(await place.find("ridge", limit=100)) == TURNS + 1
        await place.store.delete("more")
        assert not await place.index.purge()
        await assert_finds_all(place)

        holder.close()
        assert await place.index.purge()
        assert is_whole(index_file(home))


@pytest.fixture
def unwritable(home):
    """A store with an index, and how to run as somebody who has no right to write there."""

    async def make():
        async with on_disk(home) as place:
            await fill(place)
            await assert_finds_all(place)

    asyncio.run(make())
    paths = [*home.parents, home, *home.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path, mode in modes.items():
        if path.is_relative_to(home) or not mode & stat.S_IXOTH:
            path.chmod(0o555 if path.is_dir() else 0o444)

    def run(function):
        def as_user():
            if os.geteuid() == 0:  # root may write anywhere
                os.setgid(65534)
                os.setuid(65534)
            asyncio.run(function())

        return in_child(as_user)

    yield run
    for path, mode in modes.items():
        if path.exists():
            path.chmod(mode)


@pytest.mark.parametrize("state", ["caught up", "behind", "removed", "damaged"])
def test_an_index_that_cannot_be_written_is_used_as_far_as_it_goes(home, unwritable, state):
    path = index_file(home)
    if state == "behind":
        sql(path, "UPDATE state SET number = 3", "UPDATE sessions SET covered = -1, rows = 0")
    elif state == "removed":
        path.unlink()
    elif state == "damaged":
        path.write_bytes(path.read_bytes()[:9000])
    before = path.exists() and path.read_bytes()

    async def search():
        place = on_disk(home)
        await place.store.open()
        await assert_finds_all(place)
        assert place.index._here().spare.exists() == (state != "caught up")
        await place.index.purge()
        await place.index.close()
        await place.store.close()

    assert unwritable(search) == 0
    assert (path.exists() and path.read_bytes()) == before


async def test_a_file_of_ours_is_for_us_alone(disk, home):
    await disk.say("a", "ridge")
    before = os.umask(0)
    try:
        await disk.find("ridge")
    finally:
        os.umask(before)

    assert stat.S_IMODE(index_file(home).stat().st_mode) == 0o600
