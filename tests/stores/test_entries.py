"""How many rows an operation reads: what is done to the last turn costs the same in any history."""

import random
from dataclasses import replace

import pytest

from dexto_magic.errors import StoreCorruptedError
from dexto_magic.stores import revision
from tests.support.conversations import conversation
from tests.support.disks import raw
from tests.support.messages import assistant, summary, title, user
from tests.support.stores import everything, say

pytestmark = pytest.mark.anyio


@pytest.fixture
async def read(disk, monkeypatch):
    """Tells how many rows were read since it was asked before."""
    table = (await disk._running())._table
    seen = 0

    def counted(name, size):
        original = getattr(table, name)

        def counting(*arguments, **options):
            nonlocal seen
            found = original(*arguments, **options)
            seen += size(found)
            return found

        monkeypatch.setattr(table, name, counting)

    counted("get_row", lambda row: row is not None)
    counted("get_range", len)
    counted("keys", len)

    def since():
        nonlocal seen
        count, seen = seen, 0
        return count

    return since


async def test_what_is_done_to_the_last_turn_reads_no_more_rows_in_a_longer_history(disk, read):
    owner = await disk.join("a test")

    async def append(name):
        claim = await disk.claim(name, user("next"), owner)
        await disk.save_partial(claim, assistant("half"))
        await disk.watch(claim)
        await disk.settle(claim, [assistant("whole")])

    async def counts(turns):
        name = (await disk.restore(conversation(turns, name=f"{turns} turns"))).id
        told = summary("so far", await everything(disk, name))
        read()
        counts = {}
        for step, call in (
            ("get", disk.get(name)),
            ("note", disk.note(name, told)),
            ("append", append(name)),
            ("newest", disk.transcript(name, limit=10)),
            ("revise", say(disk, owner, name, "anew", revises=turns + 1)),
            ("newest again", disk.transcript(name, limit=10)),
            ("undo the version", disk.undo(name)),
            ("undo the turn", disk.undo(name)),
            ("redo", disk.redo(name)),
            ("update", disk.update(name, title="Mine")),
            ("rename", disk.rename(name, f"{name}, renamed")),
        ):
            await call
            counts[step] = read()
        return counts

    few, many = await counts(100), await counts(3000)
    assert few == many
    assert max(few.values()) < 150


async def test_the_newest_messages_cost_the_same_after_a_turn_was_replaced_where_it_stood(
    disk, read
):
    owner = await disk.join("a test")

    async def count(turns):
        name = (await disk.restore(conversation(turns, name=f"{turns} turns"))).id
        for turn in (10, 20, turns - 3):
            await say(disk, owner, name, "anew", revises=turn)
        read()
        newest = (await disk.transcript(name, limit=10)).messages
        reads = read()
        assert newest == (await everything(disk, name)).messages[-10:]
        return reads

    few, many = await count(100), await count(3000)
    assert few == many < 60


async def test_what_is_out_of_view_at_the_end_is_not_a_query_for_each_few_rows(disk, monkeypatch):
    owner = await disk.join("a test")
    await disk.restore(conversation(20, name="eda"))
    for _ in range(150):
        await say(disk, owner, "eda", "anew", revises=20)
    table, queries = (await disk._running())._table, []
    get_range = table.get_range
    monkeypatch.setattr(table, "get_range", lambda *keys: queries.append(keys) or get_range(*keys))
    newest = (await disk.transcript("eda", limit=4)).messages
    assert [message.turn for message in newest] == [19, 19, 20, 20]
    assert len(queries) < 10


@pytest.mark.parametrize("seed", range(3))
async def test_the_newest_messages_are_the_last_of_all_whatever_was_done(disk, seed):
    await moved_about(disk, random.Random(seed), 60)
    await disk.fork("eda", "fork")
    whole = await everything(disk, "eda")
    await disk.restore(replace(whole, session=replace(whole.session, id="restored", home=None)))
    owner = await disk.join("a test")
    for name in ("eda", "fork", "restored"):
        for turn in [*(await disk.transcript(name)).messages][::9]:
            await say(disk, owner, name, "anew", revises=turn.turn)
        messages = (await everything(disk, name)).messages
        for limit in range(len(messages) + 2):
            newest = (await disk.transcript(name, limit=limit)).messages
            assert newest == messages[max(0, len(messages) - limit) :]


async def test_a_title_is_taken_away_without_reading_what_was_said_in_the_transaction(disk, read):
    await disk.restore(conversation(500, name="eda"))
    await disk.update("eda", title="Mine")
    engine, counts = await disk._running(), []
    write = engine.write

    def counted(step):
        def counting(ledger):
            read()
            result = step(ledger)
            counts.append(read())
            return result

        return write(counting)

    engine.write = counted
    assert (await disk.update("eda", title="")).title == (await everything(disk, "eda")).messages[
        0
    ].content
    assert len(counts) == 1
    assert counts[0] < 10


async def test_a_title_is_taken_away_as_the_session_is_by_then(disk):
    owner = await disk.join("a test")
    await say(disk, owner, (await disk.create("eda")).id, "first")
    await disk.update("eda", title="Mine")
    engine = await disk._running()
    write = engine.write

    def overtaken(step):
        engine.write = write
        write(lambda ledger: revision.undo(ledger.entries, "eda"))
        write(lambda ledger: ledger.claim("eda", user("else"), owner, **CLAIM))
        return write(step)

    engine.write = overtaken
    assert (await disk.update("eda", title="")).title == "else"


CLAIM = {"revises": None, "asked": None, "files": {}}


async def test_an_old_turn_is_found_without_reading_what_came_after_it(disk, read):
    owner = await disk.join("a test")

    async def counts(turns):
        name = (await disk.restore(conversation(turns, name=f"{turns} turns"))).id
        asked = (await everything(disk, name)).messages[2 * 9]
        await disk.set_home(name, "/a.ipynb", [])
        read()
        claim = await disk.claim(name, user("anew"), owner, revises=10, asked=asked.id)
        count = read()
        await disk.settle(claim, [assistant("whole")])
        session = await disk.get(name)
        assert session.message_count == 2 * turns
        return count

    assert await counts(3000) < await counts(300) + 50


async def moved_about(disk, chance, moves):
    """A session with versions, notes, gaps and turns that were taken back and brought back."""
    owner = await disk.join("a test")
    await disk.create("eda")
    for n in range(moves):
        whole = await everything(disk, "eda")
        turns = [turn for turn in range(1, whole.line.end + 1) if turn in whole.line]
        verb = chance.choices(
            ("say", "anew", "undo", "redo", "forget", "note"), (60, 20, 10, 4, 2, 4)
        )[0]
        if verb == "redo" and whole.line.undone:
            await disk.redo("eda")
        elif verb in ("say", "redo") or len(turns) < 2:
            claim = await disk.claim("eda", user(f"{n}"), owner)
            await disk.settle(claim, [assistant(f"{n}.{k}") for k in range(chance.randint(1, 3))])
        elif verb == "anew":
            await say(disk, owner, "eda", f"{n} anew", revises=chance.choice(turns))
        elif verb == "note":
            await disk.note("eda", title(f"title {n}", whole))
        else:
            await (disk.undo("eda") if verb == "undo" else disk.forget("eda", chance.choice(turns)))


@pytest.mark.parametrize("seed", range(3))
async def test_an_old_turn_is_found_whatever_was_done_to_others(disk, seed):
    await moved_about(disk, random.Random(seed), 130)
    await disk.fork("eda", "other")
    owner = await disk.join("a test")
    for _ in range(35):
        await say(disk, owner, "other", "more")
    for name in ("eda", "other"):
        whole = await everything(disk, name)
        messages = [*whole.messages, *whole.others]

        def look(ledger, name=name, messages=messages):
            record = ledger.get(name)
            versions = {(m.turn, m.version) for m in messages}
            return {which: ledger.entries.messages_of(record, *which) for which in versions}

        for which, found in (await disk._read(look)).items():
            assert found == [m for m in messages if (m.turn, m.version) == which]


async def test_a_row_that_is_missing_is_told_of_by_whatever_reads_it(disk):
    owner = await disk.join("a test")
    await disk.restore(conversation(5))
    raw(disk, "DELETE FROM Cache WHERE key LIKE 'm:%000000000009'")
    for call in (
        disk.undo("eda"),
        disk.forget("eda", 1),
        disk.fork("eda", "other"),
        disk.transcript("eda", everything=True),
        disk.transcript("eda", limit=1),
        disk.claim("eda", user("anew"), owner, revises=5),
    ):
        with pytest.raises(StoreCorruptedError, match="Message 10 of 10 of session 'eda'"):
            await call
    assert (await disk.get("eda")).turn_count == 5
    assert await disk.get("other") is None
