"""Deleted means deleted: what was removed is in no file of the store, whatever comes between."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from dexto_magic.conversation.places import KNOWN_MARKS
from dexto_magic.stores.disk import DiskStore
from tests.support.disks import database, files_with, gate_of_another, raw
from tests.support.messages import assistant, user
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SECRET = "the-secret-word"


async def fill_with_secret(disk, *, turns=300):
    owner = await disk.join("test")
    await disk.create("eda", system=f"system {SECRET}")
    for n in range(turns):
        claim = await disk.claim("eda", user(f"{n} {SECRET} " * 5), owner)
        await disk.save_partial(claim, assistant(f"{n} {SECRET} " * 50, usage=None))
        await disk.settle(claim, [assistant(f"{n} {SECRET} " * 100)])
    return await disk.claim("eda", user(f"running {SECRET}"), owner)


async def test_after_a_delete_the_text_is_in_no_file(disk):
    claim = await fill_with_secret(disk)
    await disk.save_partial(claim, assistant(SECRET))
    assert files_with(disk, SECRET)
    removal = await disk.delete("eda")
    assert removal.purge_pending is False
    assert files_with(disk, SECRET) == []
    assert raw(disk, "SELECT key FROM Cache WHERE typeof(key) = 'text'") == [("v:schema",)]


async def test_after_a_reset_the_text_is_in_no_file(disk):
    await fill_with_secret(disk)
    await disk.update("eda", system="")
    await disk.reset("eda")
    assert files_with(disk, SECRET) == []


async def test_after_a_removal_no_text_of_a_session_without_messages_is_in_a_file(disk):
    await disk.create(f"unused {SECRET}", system=f"system {SECRET}")
    assert files_with(disk, SECRET)
    assert (await disk.delete(f"unused {SECRET}")).purge_pending is False
    assert files_with(disk, SECRET) == []


async def test_after_a_reset_and_a_delete_no_text_of_the_session_is_in_a_file(disk):
    owner = await disk.join("test")
    await disk.create("eda", system=f"system {SECRET}")
    await disk.settle(await disk.claim("eda", user(SECRET), owner), [assistant(SECRET)])
    await disk.reset("eda")
    assert files_with(disk, SECRET), "the system prompt is kept"
    await disk.delete("eda")
    assert files_with(disk, SECRET) == []


async def test_a_removal_of_an_empty_session_says_so_if_a_reader_delays_its_purge(disk):
    with closing(sqlite3.connect(database(disk), isolation_level=None)) as reader:
        await disk.create("eda", system=SECRET)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM Cache").fetchall()
        assert (await disk.reset("eda")).purge_pending is True
        assert (await disk.delete("eda")).purge_pending is True
        assert files_with(disk, SECRET)
    assert (await disk.delete((await disk.create("other")).id)).purge_pending is False
    assert files_with(disk, SECRET) == []


@pytest.mark.parametrize("verb", ["reset", "delete"])
async def test_a_removal_that_is_cancelled_halfway_says_what_it_did_and_is_finished(disk, verb):
    await fill_with_secret(disk, turns=10)
    await disk.update("eda", system="")
    engine = await disk._running()
    purge, held = engine.purge, gate_of_another(disk)

    def cancelled_meanwhile():
        held.__enter__()  # so that the purge cannot begin before it is dropped
        removing.cancel()
        return purge()

    engine.purge = cancelled_meanwhile
    removing = asyncio.create_task(getattr(disk, verb)("eda"))
    removal = await removing
    assert (removal.deleted, removal.message_count) == (verb == "delete", 21)
    assert removal.purge_pending is True
    assert files_with(disk, SECRET)
    held.__exit__(None, None, None)
    await until(lambda: not engine.purge_pending)
    assert files_with(disk, SECRET) == []


async def test_a_delete_leaves_no_mark_behind_that_the_session_knew_once(disk):
    await disk.create("own")
    for k in range(3):
        await disk.set_home("own", "/a.ipynb", [f"cell {k} {n}" for n in range(KNOWN_MARKS)])
    await disk.set_home("own", "/b.ipynb", ["cell last"])
    marks = "SELECT count(*) FROM Cache WHERE key >= 'k:' AND key < 'k;'"
    assert raw(disk, marks) == [(KNOWN_MARKS,)]
    homes = "SELECT count(*) FROM Cache WHERE key >= 'f:' AND key < 'f;'"
    assert raw(disk, homes) == [(1,)]
    await disk.delete("own")
    assert (raw(disk, marks), raw(disk, homes)) == ([(0,)], [(0,)])


async def test_a_purge_that_a_reader_delays_is_said_and_done_later(disk):
    await fill_with_secret(disk)
    reader = sqlite3.connect(database(disk), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM Cache").fetchall()
    assert (await disk.delete("eda")).purge_pending is True
    assert files_with(disk, SECRET)
    reader.execute("COMMIT")
    reader.close()
    await disk.create("any later write")
    await disk.close()
    assert files_with(disk, SECRET) == []


async def test_a_removal_that_was_cut_short_is_finished_at_the_next_opening(tmp_path):
    store = DiskStore(tmp_path / "store")
    await store.open()
    await fill_with_secret(store)
    # The first step alone, as if the process had been killed right after it.
    await store._write(lambda ledger: ledger.delete("eda"))
    await store.close()
    assert files_with(store, SECRET)
    await store.open()
    await store.create("next")  # the writer does things in order: the purge stands before this
    while raw(store, "SELECT key FROM Cache WHERE key LIKE 'x:%'"):
        await store.update("next", model="m")
    assert files_with(store, SECRET) == []
    await store.close()
