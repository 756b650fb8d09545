"""Reading the database's file beside SQLite: what is found there, and what that must not touch."""

import os

import pytest

from dexto_magic.stores import traces
from dexto_magic.stores.traces import RawFile, Search
from tests.support.disks import database
from tests.support.processes import heard, python
from tests.support.stores import names, say

pytestmark = pytest.mark.anyio

VISIT = """
async def main():
    store = DiskStore(home)
    await store.open()
    say(sorted(s.id for s in (await store.list(limit=9)).sessions))
    await store.close()
asyncio.run(main())
"""


def visit(store):
    """The names of the sessions that another process finds, which then closes the store."""
    with python(VISIT, store.location) as process:
        return heard(process)


async def test_after_a_purge_others_that_close_the_store_leave_its_log_to_those_who_have_it(disk):
    """SQLite's locks are the process's, and end when it closes the file once, by whatever handle."""
    owner = await disk.join("a test")
    await say(disk, owner, (await disk.create("one")).id, "hello")
    assert (await disk.delete("one")).purge_pending is False
    await disk.create("two")
    assert visit(disk) == "['two']"
    assert database(disk).with_name("cache.db-wal").exists()
    await disk.create("three")
    assert visit(disk) == "['three', 'two']"
    assert await names(disk) == ["three", "two"]


def keyed(*keys):
    return {key.encode(): count for key, count in keys}


SID, OTHER = "0123456789abcdef", "fedcba9876543210"
MESSAGE = f"m:{SID}:00000000:00000000001f"


@pytest.mark.parametrize("others", [[], [f"{n:016x}" for n in range(20)]])
def test_keys_are_counted_wherever_they_stand(tmp_path, monkeypatch, others):
    monkeypatch.setattr(traces, "_BLOCK", 100)
    text = f"s:{SID}{MESSAGE}..{SID}s:{OTHER}" + 37 * f"p:{SID}!b:{SID}:digest {MESSAGE}~~m:{SID}:"
    (tmp_path / "file").write_text(text + f"s:{SID}")
    search = Search(RawFile(tmp_path / "file"), [SID, *others])
    while search.go_on():
        pass
    assert search.found == keyed(
        (f"s:{SID}", 2), (MESSAGE, 38), (f"p:{SID}", 37), (f"b:{SID}:", 37)
    )


def test_a_file_is_open_once_for_all_who_have_it_and_closed_after_the_last(tmp_path):
    path = tmp_path / "file"
    path.write_text("text")
    (tmp_path / "link").symlink_to(path)
    first, second = RawFile.shared(tmp_path / "link"), RawFile.shared(path)
    assert first is second
    assert (first.size(), first.read(1, 2)) == (4, b"ex")
    number = first._number
    del first
    os.fstat(number)
    del second
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_file_that_was_moved_before_it_was_read_is_found_where_it_is_now(tmp_path):
    """As is one that has the number of another that is gone."""
    (tmp_path / "one").write_bytes(b"text")
    first = RawFile.shared(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    assert RawFile.shared(tmp_path / "two") is first
    assert first.read(0, 4) == b"text"
