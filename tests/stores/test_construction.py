"""A session of many rows that is built amid everything else: whole or not at all."""

import asyncio
import os
import shutil
import signal
import threading
from dataclasses import replace

import pytest

from dexto_magic.conversation.session import Transcript
from dexto_magic.errors import SessionError, SessionExistsError, SessionNotFoundError, StoreError
from dexto_magic.stores import building, construction
from dexto_magic.stores.building import AT_ONCE
from dexto_magic.stores.codec import Row
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.waiting import outcome
from tests.support.conversations import conversation, session
from tests.support.disks import collected, files_with, raw
from tests.support.messages import assistant, attachment, with_file
from tests.support.processes import heard, in_child, kill, python
from tests.support.stores import prompts, say, texts
from tests.support.waiting import until

TURNS = 5000
"""Of two messages each: too many for one transaction."""

LARGE = b"bytes of an attachment " * 5000


def long_one(name="eda", **fields):
    return conversation(TURNS, name=name, file=LARGE, **fields)


async def opened(home):
    store = DiskStore(home)
    await store.open()
    return store


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a store with a long session, to be copied."""
    home = tmp_path_factory.mktemp("built") / "store"

    async def fill():
        store = await opened(home)
        await store.restore(long_one())
        await store.close()

    asyncio.run(fill())
    return home


@pytest.fixture
async def long(built, tmp_path, anyio_backend):
    """A store with a long session."""
    shutil.copytree(built, tmp_path / "store")
    store = await opened(tmp_path / "store")
    yield store
    await store.close()


def rows_of(store, kind):
    return raw(store, f"SELECT count(*) FROM Cache WHERE key >= '{kind}:' AND key < '{kind};'")[0][
        0
    ]


async def assert_nothing_left(store, *, sessions=1):
    """Of what was not finished, and its names are free; ``sessions`` long ones are there."""
    await collected(store)
    counts = {kind: rows_of(store, kind) for kind in "nsmbxi"}
    assert counts == {
        "n": sessions,
        "s": sessions,
        "m": sessions * 2 * TURNS,
        "b": sessions,
        "x": 0,
        "i": 0,
    }


# -- killed ----------------------------------------------------------------------------------------


async def kill_at(store, moment):
    """Has this process killed at the so many-th statement that its writing thread begins.

    Those of triggers are among them. The list that is returned has as many items as were begun.
    """
    engine = await store._running()
    begun = []

    def count(statement):
        begun.append(statement)
        if len(begun) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    await outcome(engine.write_alone(lambda table: table._cache._con.set_trace_callback(count)))
    return begun


WORKS = {
    "fork": lambda store: store.fork("eda", "made"),
    "restore": lambda store: store.restore(
        long_one(name="made", home="/a.ipynb"), source="file.jsonl"
    ),
}


@pytest.mark.parametrize("verb", WORKS)
def test_a_long_session_whose_builder_is_killed_is_there_whole_or_not_at_all(built, tmp_path, verb):
    """At the first and the last moments, and at many between; its names are free afterwards."""
    home = tmp_path / "store"
    shutil.copytree(built, home)

    async def build(moment):
        store = await opened(home)
        begun = await kill_at(store, moment)
        await WORKS[verb](store)
        await store.close()
        (tmp_path / "begun").write_text(str(len(begun)))

    async def look():
        """Whether it was made; it is taken away again."""
        store = await opened(home)
        made = await store.get("made")
        if made is not None:
            assert (made.turn_count, made.message_count) == (TURNS, 2 * TURNS)
            kept, asked = await texts(store, "made"), await texts(store, "eda")
            assert kept == asked
            assert await store.file("made", attachment(LARGE).digest) == LARGE
            if verb == "restore":
                assert await store.restored("file.jsonl") == made
                assert await store.home_session("/a.ipynb") == made
            assert set((await store.delete("made")).forks) == ({"eda"} if verb == "fork" else set())
        await assert_nothing_left(store)
        assert await store.home_session("/a.ipynb") is None
        await store.close()
        return made is not None

    assert in_child(lambda: asyncio.run(build(None))) == 0
    assert asyncio.run(look())
    statements = int((tmp_path / "begun").read_text())
    moments = [1, 2, 9, *range(10, statements, statements // 8)]
    moments += range(statements - 5, statements + 1)
    made = []
    for moment in moments:
        assert in_child(lambda at=moment: asyncio.run(build(at))) == -signal.SIGKILL
        made.append(asyncio.run(look()))
    assert made == sorted(made), "once it is there, it stays"
    assert not made[0]
    assert made[-1]


# -- while it is being built -----------------------------------------------------------------------

BUILDER = """
from dexto_magic.stores import construction
async def main():
    store = DiskStore(home)
    await store.open()
    construction._let_cancel = lambda: (say("a part"), sys.stdin.readline())
    await store.fork("eda", "made")
    say("made")
    await store.close()
asyncio.run(main())
"""


def let_go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.anyio
async def test_what_another_process_is_building_is_seen_and_collected_by_none(long):
    """A purge, an opening and a use of the name meanwhile do not touch it."""
    derived = long.side_folder / "search.db"
    derived.write_text("of what is there")
    with python(BUILDER, long.location) as builder:
        assert heard(builder) == "a part"
        assert await long.get("made") is None
        assert [s.id for s in await long.list(limit=9)] == ["eda"]
        assert len(await long.changes(0, limit=99)) == 1
        await long.create("other")
        assert (await long.delete("other")).purge_pending is True, "what is built may hold some"
        assert files_with(long, "other") == []
        assert rows_of(long, "m") == 2 * TURNS + AT_ONCE
        await long.close()
        await long.open()
        await long.create("other")
        assert (await long.delete("other")).purge_pending is True
        assert rows_of(long, "m") == 2 * TURNS + AT_ONCE
        assert derived.exists(), "nothing was removed"
        while (word := [let_go_on(builder), heard(builder)][1]) != "made":
            assert word == "a part"
        assert builder.wait() == 0
    assert (await long.get("made")).message_count == 2 * TURNS
    assert await prompts(long, "made") == await prompts(long, "eda")
    await assert_nothing_left(long, sessions=2)
    await long.create("other")
    assert (await long.delete("other")).purge_pending is False


@pytest.mark.anyio
async def test_what_a_killed_process_was_building_is_collected_by_the_next_purge(long):
    with python(BUILDER, long.location) as builder:
        assert heard(builder) == "a part"
        kill(builder)
    assert rows_of(long, "m") == 2 * TURNS + AT_ONCE
    await long.create("other")
    assert (await long.delete("other")).purge_pending is False
    await assert_nothing_left(long)


@pytest.mark.anyio
@pytest.mark.parametrize("verb", WORKS)
async def test_a_long_one_that_is_given_up_leaves_nothing(long, verb):
    making = asyncio.create_task(WORKS[verb](long))
    await until(lambda: rows_of(long, "m") > 2 * TURNS)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert await long.get("made") is None
    await assert_nothing_left(long)
    await long.create("made")


@pytest.mark.anyio
async def test_others_get_their_turn_while_a_long_one_is_built(long):
    owner = await long.join("a test")
    await long.create("other")
    making = asyncio.create_task(long.fork("eda", "made"))
    await until(lambda: rows_of(long, "m") > 2 * TURNS)
    await say(long, owner, "other", "one")
    assert not making.done()
    assert (await making).turn_count == TURNS


@pytest.mark.anyio
async def test_a_store_that_is_closed_while_a_long_one_is_built_has_nothing_of_it(long):
    making = asyncio.create_task(long.fork("eda", "made"))
    await until(lambda: rows_of(long, "m") > 2 * TURNS)
    await long.close()
    with pytest.raises(StoreError, match="closed"):
        await making
    await long.open()
    assert await long.get("made") is None
    await assert_nothing_left(long)


@pytest.fixture
def amid(monkeypatch, long):
    """Has something done in the store by another, between two steps of a fork or restore.

    At each of them, or at the one of a number.
    """

    def arrange(action, *, at=None):
        steps = 0

        async def act():
            other = await opened(long._home)
            await action(other, await other.join("another"))
            await other.close()

        def between():
            nonlocal steps
            steps += 1
            if at is None or steps == at:
                acting = threading.Thread(target=asyncio.run, args=[act()])
                acting.start()
                acting.join()

        monkeypatch.setattr(construction, "_let_cancel", between)
        return lambda: steps

    return arrange


LAST = 2 * TURNS // AT_ONCE + 1
"""The step, that of the attachments, after which a fork only has to be made visible."""


CONTENTS = [LARGE + b"%d" % n for n in range(10)]


@pytest.mark.anyio
@pytest.mark.parametrize("verb", WORKS)
async def test_attachments_are_written_a_few_at_a_time(disk, monkeypatch, verb):
    monkeypatch.setattr(building, "FILES_AT_ONCE", 3 * len(LARGE))
    message, files = with_file("look", *CONTENTS, turn=1)
    said = Transcript(session=session("eda"), messages=(message, assistant("Hi.", turn=1)))
    await disk.restore(replace(said, files=files))
    engine, written = await disk._running(), []
    write, table = engine.write, engine._table
    set_row = table.set

    def noted(key, row):
        written[-1] += key[:2] == "b:"
        set_row(key, row)

    monkeypatch.setattr(table, "set", noted)
    monkeypatch.setattr(
        engine, "write", lambda step: write(lambda ledger: (written.append(0), step(ledger))[1])
    )
    if verb == "fork":
        await disk.fork("eda", "made")
    else:
        made = replace(said, session=session("made"), files=files)
        await disk.restore(made)
    assert (sum(written), max(written), written[-1]) == (10, 2, 0)
    for digest, content in files.items():
        assert await disk.file("made", digest) == content


@pytest.mark.anyio
async def test_attachments_of_what_was_not_finished_are_collected(disk):
    message, files = with_file("look", *(b"%d" % n for n in range(50)), turn=1)
    said = Transcript(session=session("eda"), messages=(message,), files=files)
    engine = await disk._running()

    def begin(ledger):
        building.begin(ledger.entries, "0123456789abcdef", "own_000000000000")
        rows = {digest: Row.of_bytes(content) for digest, content in said.files.items()}
        building.write_files(ledger.entries, "0123456789abcdef", rows)

    await disk._write(begin)
    assert rows_of(disk, "b") == 50
    assert await outcome(engine.purge())
    assert (rows_of(disk, "b"), rows_of(disk, "x")) == (0, 0)


@pytest.mark.anyio
@pytest.mark.parametrize("at", [1, LAST - 1, LAST])
async def test_a_fork_of_a_session_that_is_reset_meanwhile_is_one_of_the_empty_session(
    long, amid, at
):
    amid(lambda other, _: other.reset("eda"), at=at)
    made = await long.fork("eda", "made")
    assert (made.turn_count, made.message_count) == (0, 0)
    await collected(long)
    assert rows_of(long, "m") == 0
    assert await long.get("made") == made


@pytest.mark.anyio
@pytest.mark.parametrize("at", [1, LAST])
async def test_a_session_that_is_deleted_meanwhile_is_not_forked(long, amid, at):
    amid(lambda other, _: other.delete("eda"), at=at)
    with pytest.raises(SessionNotFoundError, match="'eda'"):
        await long.fork("eda", "made")
    assert list(await long.list(limit=9)) == []
    await collected(long)
    assert [rows_of(long, kind) for kind in "nsmbd"] == [0] * 5


@pytest.mark.anyio
@pytest.mark.parametrize("at", [1, LAST])
async def test_what_is_forgotten_meanwhile_is_in_no_fork(long, amid, at):
    owner = await long.join("a test")
    await long.undo("eda")
    await say(long, owner, "eda", "the-secret-word")
    amid(lambda other, _: other.forget("eda", TURNS), at=at)
    made = await long.fork("eda", "made")
    assert (made.turn_count, made.message_count) == (TURNS - 1, 2 * TURNS - 2)
    assert len(await texts(long, "made")) == 2 * TURNS - 2
    await collected(long)
    assert files_with(long, "the-secret-word") == []


@pytest.mark.anyio
@pytest.mark.parametrize("at", [1, LAST])
async def test_what_is_forgotten_meanwhile_is_in_no_fork_though_its_number_is_used_again(
    long, amid, at
):
    owner = await long.join("a test")
    await long.undo("eda")
    await say(long, owner, "eda", "the-secret-word")

    async def forget_and_use_the_number(other, another):
        await other.forget("eda", TURNS)
        await other.undo("eda")
        await say(other, another, "eda", "one before")
        await say(other, another, "eda", "the last")

    amid(forget_and_use_the_number, at=at)
    await long.fork("eda", "made")
    assert (await prompts(long, "made"))[-2:] == ["one before", "the last"]
    assert (await long.get("made")).message_count == 2 * TURNS
    await collected(long)
    assert files_with(long, "the-secret-word") == []


@pytest.mark.anyio
async def test_a_fork_of_a_session_that_is_used_meanwhile_has_what_was_in_view(long, amid):
    async def use(other, owner):
        await say(other, owner, "eda", "next")
        await other.undo("eda")
        await other.undo("eda")
        await other.redo("eda")
        await other.update("eda", title="Mine")

    amid(use)
    made = await long.fork("eda", "made")
    assert (made.turn_count, made.message_count) == (TURNS, 2 * TURNS)
    assert (await prompts(long, "made"))[-1] == f"q{TURNS}"


@pytest.mark.anyio
async def test_a_fork_of_a_session_that_is_renamed_meanwhile_goes_by_its_new_name(long, amid):
    amid(lambda other, _: other.rename("eda", "renamed"), at=2)
    assert (await long.fork("eda", "made")).forked_from == "renamed"
    await long.rename("renamed", "again")
    assert (await long.get("made")).forked_from == "again"


@pytest.mark.anyio
@pytest.mark.parametrize("verb", WORKS)
async def test_a_name_that_is_taken_meanwhile_is_the_others(long, amid, verb):
    amid(lambda other, _: other.create("made"), at=2)
    with pytest.raises(SessionExistsError, match="'made'"):
        await WORKS[verb](long)
    assert (await long.get("made")).message_count == 0
    await long.delete("made")
    assert await long.restored("file.jsonl") is None
    await assert_nothing_left(long)


@pytest.mark.anyio
async def test_a_source_that_is_restored_meanwhile_is_the_others(long, amid):
    amid(lambda other, _: other.restore(long_one("other"), source="file.jsonl"), at=1)
    there = await WORKS["restore"](long)
    assert there.id == "other"
    assert await long.get("made") is None
    assert there == await long.restored("file.jsonl")
    await collected(long)
    assert rows_of(long, "m") == 2 * 2 * TURNS
    await long.delete("other")
    await assert_nothing_left(long)


@pytest.mark.anyio
async def test_a_session_of_which_turns_are_forgotten_again_and_again_is_not_forked(long, amid):
    numbers = iter(range(1, 100))
    steps = amid(lambda other, _: other.forget("eda", next(numbers)))
    with pytest.raises(SessionError, match="'eda' was reset, or turns of it were forgotten"):
        await long.fork("eda", "made")
    assert steps() > LAST
    assert await long.get("made") is None
    await collected(long)
    assert rows_of(long, "m") == 2 * TURNS, (
        "what is forgotten leaves a row, so that none is missing"
    )


@pytest.mark.anyio
async def test_on_a_full_disk_nothing_is_left_of_a_fork_and_it_works_with_room(long):
    engine = await long._running()

    async def limit(pages):
        sql = f"PRAGMA max_page_count = {pages}"
        await outcome(engine.write_alone(lambda table: table._cache._sql(sql).fetchall()))

    ((pages,),) = raw(long, "PRAGMA page_count")
    await limit(pages + 100)
    with pytest.raises(StoreError, match="no room left"):
        await long.fork("eda", "made")
    assert await long.get("made") is None
    await limit(2**30)
    await long.create("other")
    await long.delete("other")
    await assert_nothing_left(long)
    assert (await long.fork("eda", "made")).turn_count == TURNS


@pytest.mark.anyio
async def test_many_turns_that_were_revised_are_forked_in_their_order(disk):
    """Their rows stand apart, so that each is copied by itself."""
    owner = await disk.join("a test")
    await disk.restore(conversation(60))
    for number in range(60, 0, -1):
        await say(disk, owner, "eda", f"q{number} anew", revises=number)
    await disk.fork("eda", "made")
    assert await prompts(disk, "made") == [f"q{n} anew" for n in range(1, 61)]
