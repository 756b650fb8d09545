"""What the doctor says of the search index, which a search mends whatever is wrong with it."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from tests.support.upkeep import state_of

pytestmark = pytest.mark.anyio


async def examined(place):
    report = await place.index.examined(await place.store.examine())
    before = (await place.store.examine()).findings
    return report, [finding for finding in report.findings if finding not in before]


async def test_the_state_of_a_sound_index_is_told_and_nothing_found(disk, home):
    assert (await examined(disk))[0].search == "none yet: the first search makes it"
    await disk.say("eda", "a word")
    await disk.index.search("word")
    before = state_of(home)
    assert (await examined(disk))[0].search == "up to date"
    assert state_of(home) == before
    await disk.say("eda", "another")
    report, found = await examined(disk)
    assert (report.search, found) == ("behind: the next search catches up", [])


@pytest.mark.parametrize(
    ("content", "level"),
    [(b"SQLite format 3\0" + b"\xff" * 5000, "note"), (b"no database" * 500, "note")],
)
async def test_a_damaged_index_is_told_and_left_to_the_next_search(disk, home, content, level):
    await disk.say("eda", "a word")
    (home / "derived" / "search.db").write_bytes(content)
    report, found = await examined(disk)
    assert report.search == "damaged"
    assert [finding.level for finding in found] == [level]
    assert "dexto-magic search" in found[0].next
    assert (home / "derived" / "search.db").read_bytes() == content


async def test_a_file_of_somebody_else_in_its_place_is_a_problem(disk, home):
    await disk.say("eda", "a word")
    path = home / "derived" / "search.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE theirs (x)")
    report, (finding,) = await examined(disk)
    assert finding.level == "problem"
    assert finding.next.startswith(f"`mv {path} ")
    path.unlink()
    path.symlink_to(home / "elsewhere")
    report, (finding,) = await examined(disk)
    assert finding.level == "problem"
    assert report.needs_action


async def test_an_index_of_before_a_restore_and_one_that_owes_a_purge_are_told(disk, home):
    await disk.say("eda", "a word")
    await disk.index.search("word")
    report = replace(await disk.store.examine(), generation="gen_another")
    assert (await disk.index.examined(report)).search == "of another content"
    await disk.index.close()
    with closing(sqlite3.connect(home / "derived" / "search.db")) as index:
        index.execute("UPDATE state SET owed = 1")
        index.commit()
    _, (finding,) = await examined(disk)
    assert finding.what.startswith("purge pending")


async def test_an_index_that_somebody_writes_to_is_not_waited_for(disk, home):
    await disk.say("eda", "a word")
    await disk.index.search("word")
    with closing(sqlite3.connect(home / "derived" / "search.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert (await examined(disk))[0].search.startswith("not looked at: another process")
