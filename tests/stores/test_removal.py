"""Deleted means deleted: what was removed is in no file of the store, whatever comes between."""

import asyncio
import random
import re
import sqlite3
from contextlib import closing

import pytest

from dexto_magic.conversation.places import KNOWN_MARKS
from dexto_magic.stores import revision
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.keys import change_key, sid_of
from dexto_magic.stores.table import Table
from tests.support.disks import collected, database, files_with, gate_of_another, raw
from tests.support.messages import assistant, failed, summary, title, user, with_file
from tests.support.processes import heard, kill, python
from tests.support.stores import everything, prompts, say, say_with_file, texts, turn
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


# -- forgotten -------------------------------------------------------------------------------------

SECRETS = [f"{SECRET} number {n}" for n in range(9)]
LARGE = SECRET.encode() * 2000


async def tell_secrets(store, *, turns=3):
    """Turns of which the second one holds secrets in all that a turn can hold."""
    owner = await store.join("a test")
    await store.create("eda")
    for n in range(1, turns + 1):
        if n != 2:
            await say(store, owner, "eda", f"public {n}")
            continue
        message, files = with_file(SECRETS[0] * 50, LARGE, b"a small " + SECRET.encode())
        claim = await store.claim("eda", message, owner, files=files)
        await store.save_partial(claim, assistant(SECRETS[1] * 300, usage=None))
        await store.settle(claim, [assistant(SECRETS[1] * 600, reasoning=SECRETS[2])])
    await turn(store, owner, "eda", user(SECRETS[3]), failed(SECRETS[4]), revises=2)
    await say_with_file(store, owner, "eda", SECRETS[5], SECRET.encode(), revises=2)
    whole = await everything(store, "eda")
    await store.note("eda", summary(SECRETS[6], whole))
    await store.note("eda", title(SECRETS[7], whole, turn=2))
    await store.undo("eda")


async def test_after_a_turn_is_forgotten_its_text_is_in_no_file_and_the_rest_is(disk):
    await tell_secrets(disk, turns=200)
    assert files_with(disk, SECRET)
    removal = await disk.forget("eda", 2)
    assert (removal.message_count, removal.purge_pending) == (6, False)
    assert files_with(disk, SECRET) == []
    assert len(await prompts(disk, "eda")) == 199
    assert files_with(disk, "public 200")
    assert raw(disk, "SELECT key FROM Cache WHERE key LIKE 'x:%' OR key LIKE 'b:%'") == []


async def test_after_the_first_turn_is_forgotten_its_text_is_no_title(disk):
    owner = await disk.join("a test")
    await disk.create("eda")
    await say(disk, owner, "eda", SECRET)
    await say(disk, owner, "eda", "public")
    await disk.forget("eda", 1)
    assert files_with(disk, SECRET) == []
    assert (await disk.get("eda")).title == "public"


async def test_a_damaged_fork_is_named_and_keeps_no_turn_from_being_forgotten(disk):
    await tell_secrets(disk)
    await disk.fork("eda", "other")
    sid = (await disk.changes(0, limit=9))[-1].sid
    raw(disk, f"DELETE FROM Cache WHERE key LIKE 'm:{sid}:%0000'")
    assert (await disk.forget("eda", 2)).forks == ("other",)


async def test_after_an_undone_turn_is_forgotten_its_text_is_in_no_file(disk):
    owner = await disk.join("a test")
    await disk.create("eda")
    await say(disk, owner, "eda", "public")
    await say_with_file(disk, owner, "eda", SECRET, LARGE)
    await disk.undo("eda")
    await disk.forget("eda", 2)
    assert files_with(disk, SECRET) == []


async def test_attachments_are_gone_to_the_byte_after_a_reset_and_a_delete(disk):
    owner = await disk.join("a test")
    for verb in (disk.reset, disk.delete):
        await say_with_file(disk, owner, (await disk.create(verb.__name__)).id, "look", LARGE)
        assert files_with(disk, SECRET)
        await verb(verb.__name__)
        assert files_with(disk, SECRET) == []


READER = """
import sqlite3
connection = sqlite3.connect(os.path.join(home, "sessions", "cache.db"), isolation_level=None)
connection.execute("BEGIN")
say("reads", connection.execute("SELECT count(*) FROM Cache").fetchone()[0])
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["goes on", "is killed"])
@pytest.mark.parametrize("later", ["any write", "a close and an opening"])
async def test_while_another_process_reads_the_purge_is_pending_and_done_later(disk, end, later):
    await tell_secrets(disk)
    with python(READER, disk.location) as reader:
        assert heard(reader).startswith("reads ")
        assert (await disk.forget("eda", 2)).purge_pending is True
        assert await prompts(disk, "eda") == ["public 1", "public 3"]
        assert files_with(disk, SECRET)
        assert (await disk.forget("eda", 3)).purge_pending is True
        if end == "is killed":
            kill(reader)
        else:
            reader.stdin.write("\n")
            reader.stdin.flush()
            reader.wait()
    engine = await disk._running()
    if later == "any write":
        await disk.create("other")
        await until(lambda: not engine.purge_pending)
    else:
        await disk.close()
        await disk.open()
        await collected(disk)
    assert files_with(disk, SECRET) == []
    assert files_with(disk, "public 3") == []
    assert await texts(disk, "eda") == ["public 1", "Hi."]


async def test_a_process_that_is_killed_while_it_forgets_has_forgotten_a_turn_or_not(disk):
    """At whatever moment: each turn is there whole, or gone to the byte after the next opening."""
    owner = await disk.join("a test")
    await disk.create("eda")
    for n in range(1, 61):
        await say_with_file(disk, owner, "eda", f"secret-{n:03}", b"secret-%03d" % n * 500)
    forgotten = 0
    for more in (1, 2, 3, 1, 5, 2):
        with python(
            """
            async def main():
                store = DiskStore(home)
                await store.open()
                for number in range(int(sys.argv[2]), 61):
                    say((await store.forget("eda", number)).turn)
            asyncio.run(main())
            """,
            disk.location,
            forgotten + 1,
        ) as process:
            for _ in range(more):
                told = int(heard(process))
            kill(process)
        kept = [int(text.removeprefix("secret-")) for text in await prompts(disk, "eda")]
        forgotten = kept[0] - 1
        assert kept == list(range(forgotten + 1, 61))
        assert forgotten >= told
        await disk.close()
        await disk.open()
        await collected(disk)
        found = [n for n in range(1, 61) if files_with(disk, f"secret-{n:03}")]
        assert found == kept


# -- what is derived from the store ----------------------------------------------------------------


async def cut_short(store, verb):
    """A removal whose process is killed right after its first step."""
    steps = {
        "delete": lambda ledger: ledger.delete("eda"),
        "reset": lambda ledger: ledger.reset("eda"),
        "forget": lambda ledger: revision.forget(ledger.entries, "eda", 2, {}),
    }
    await store._write(steps[verb])
    await store.close()


@pytest.mark.parametrize("verb", ["delete", "reset", "forget"])
async def test_what_may_still_hold_what_was_removed_is_removed_at_the_next_opening(disk, verb):
    await tell_secrets(disk)
    index = disk.side_folder / "search.db"
    index.write_text(SECRET)
    (disk.side_folder / "somebody's").mkdir()
    (disk.side_folder / "somebody's" / "file").write_text("stays")
    await cut_short(disk, verb)
    await disk.open()
    assert [path.name for path in disk.side_folder.iterdir()] == ["somebody's"]
    await collected(disk)
    assert files_with(disk, SECRET) == []


async def test_what_is_derived_stays_where_nothing_was_cut_short(disk):
    await tell_secrets(disk)
    await disk.forget("eda", 2)
    await disk.fork("eda", "other")
    await disk.delete("eda")
    index = disk.side_folder / "search.db"
    index.write_text("of what is there")
    await disk.close()
    await disk.open()
    assert index.read_text() == "of what is there"


async def moved_about(disk):
    """Many sessions, told at once: their rows grow, and move from page to page as they do."""
    chance = random.Random(1)
    owner = await disk.join("a test")
    names = [f"s{n}" for n in range(30)]
    for name in names:
        await disk.create(name)
    for number in range(1500):
        name = chance.choice(names)
        asked = user(f"secret-{name}-{number} " + "x" * chance.randint(0, 900))
        claim = await disk.claim(name, asked, owner)
        if chance.random() < 0.3:
            part = f"secret-{name}-{number}-part " + "y" * chance.randint(0, 3000)
            await disk.save_partial(claim, assistant(part))
        reply = f"secret-{name}-{number}-reply " + "z" * chance.randint(0, 1500)
        await disk.settle(claim, [assistant(reply)])
        if chance.random() < 0.05:
            marks = [f"cell {mark}-{number}" for mark in range(chance.randint(1, 20))]
            await disk.set_home(name, f"/nb/{number}.ipynb", marks)
    return names


def secrets_in(folder, name):
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return [
        found for data in files for found in re.findall(rb"secret-%s-\d+" % name.encode(), data)
    ]


async def test_no_copy_of_a_removed_row_is_left_where_rows_were_moved_from(disk, tmp_path):
    """SQLite overwrites what is deleted, but not what it leaves when it balances pages."""
    names = await moved_about(disk)
    for number, name in enumerate(names[:20]):
        removal = await (disk.delete(name) if number % 2 else disk.reset(name))
        assert not removal.purge_pending
    for name in names[:20]:
        assert secrets_in(tmp_path, name) == []
    kept = await disk.transcript(names[25])
    assert len(secrets_in(tmp_path, names[25])) >= len(kept.messages)


async def test_no_copy_of_a_forgotten_turn_is_left_where_rows_were_moved_from(disk, tmp_path):
    (*_, name) = await moved_about(disk)
    for number in range(1, (await disk.get(name)).turn_count + 1):
        assert not (await disk.forget(name, number)).purge_pending
    assert secrets_in(tmp_path, name) == []


# -- what only looks like a trace -------------------------------------------------------------------


def number_next_change(disk, number):
    """Has the store's next change be of a number."""
    change = "SELECT key FROM Cache WHERE key >= x'43' AND key < x'44' ORDER BY key DESC LIMIT 1"
    ((key,),) = raw(disk, change)
    raw(disk, "UPDATE Cache SET key = ? WHERE key = ?", change_key(number - 1, sid_of(key)), key)


def counted_rewrites(monkeypatch):
    """Notes how often a database is written anew."""
    rewrites, rewrite = [], Table.rewrite

    def noted(table):
        rewrites.append(table)
        rewrite(table)

    monkeypatch.setattr(Table, "rewrite", noted)
    return rewrites


@pytest.mark.parametrize("end", [b"s:", b"p:"])
async def test_the_number_of_a_change_is_not_taken_for_a_trace(disk, monkeypatch, end):
    """A removal's change is the last of its session: what looks like a trace stays for ever."""
    owner = await disk.join("a test")
    await say(disk, owner, (await disk.create("other")).id, "hello")
    await disk.create("eda", system=SECRET)
    number_next_change(disk, int.from_bytes(b"\x01" + end))
    rewrites = counted_rewrites(monkeypatch)
    sid = (await disk.changes(0, limit=9))[-1].sid
    assert (await disk.delete("eda")).purge_pending is False
    assert "cache.db" in files_with(disk, end.decode() + sid)
    assert files_with(disk, SECRET) == []
    for _ in range(3):
        await say(disk, owner, "other", "and again")
    assert rewrites == []
    assert raw(disk, "SELECT key FROM Cache WHERE key LIKE 'x:%'") == []


async def test_what_is_told_of_a_key_costs_one_rewrite_and_no_more(disk, monkeypatch):
    owner = await disk.join("a test")
    await disk.create("eda", system=SECRET)
    sid = (await disk.changes(0, limit=9))[-1].sid
    await say(disk, owner, (await disk.create("other")).id, f"the key of a record: s:{sid}")
    rewrites = counted_rewrites(monkeypatch)
    assert (await disk.delete("eda")).purge_pending is False
    assert files_with(disk, SECRET) == []
    await say(disk, owner, "other", "and again")
    assert len(rewrites) == 1
    await disk.close()
    index = disk.side_folder / "search.db"
    index.write_text("of what is there")
    await disk.open()
    assert index.exists()
