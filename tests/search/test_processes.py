"""Any number of processes search and write at once, are killed and fork."""

import asyncio
import signal
import threading
from contextlib import ExitStack

import pytest

from tests.support.processes import heard, in_child, kill, python
from tests.support.searching import index_file, on_disk
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SEARCHER = """
from tests.support.searching import on_disk

async def main():
    async with on_disk(home, patience=30) as place:
        say("ready")
        found = 0
        for line in sys.stdin:
            hits = await place.index.search("ridge", limit=1000)
            assert all("ridge" in hit.text for hit in hits)
            assert not place.index._here().spare.exists()
            say(len(hits))

asyncio.run(main())
"""

BUILDER = """
from tests.support.searching import on_disk

async def main():
    async with on_disk(home) as place:
        say("ready")
        sys.stdin.readline()
        say(len(await place.index.search("ridge", limit=10_000)))

asyncio.run(main())
"""

PURGER = """
from tests.support.searching import on_disk

async def main():
    async with on_disk(home) as place:
        sys.stdin.readline()
        await place.store.delete("s0")
        say(await place.index.purge())

asyncio.run(main())
"""


def ask(process, line="go"):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


async def fill(place, sessions, turns):
    for number in range(sessions):
        await place.import_turns(
            f"s{number}", *(f"ridge {turn} of {number}" for turn in range(turns))
        )


async def test_several_search_while_one_writes(home, anyio_backend):
    async with on_disk(home, patience=30) as place:
        await fill(place, 3, 100)
        with ExitStack() as stack:
            searchers = [stack.enter_context(python(SEARCHER, home)) for _ in range(3)]
            assert [heard(searcher) for searcher in searchers] == ["ready"] * 3
            said = 300
            for number in range(12):
                for searcher in searchers:
                    ask(searcher)
                await place.say(f"s{number % 4}", f"ridge more {number}")
                await place.find("ridge")
                if number % 3 == 0:
                    await place.say("gone", "ridge gone")
                    await place.store.delete("gone")
                    await place.index.purge()
                for searcher in searchers:
                    found = int(await asyncio.to_thread(heard, searcher))
                    assert said <= found <= said + 2, "what is said meanwhile is found, or is not"
                said += 1
            for searcher in searchers:
                ask(searcher)
            assert [heard(searcher) for searcher in searchers] == [str(said)] * 3
        assert len(await place.find("ridge", limit=1000)) == said


async def test_several_that_build_the_same_index_build_it_once(home, anyio_backend):
    async with on_disk(home) as place:
        await fill(place, 30, 40)
    with ExitStack() as stack:
        builders = [stack.enter_context(python(BUILDER, home)) for _ in range(3)]
        assert [heard(builder) for builder in builders] == ["ready"] * 3
        for builder in builders:
            ask(builder)
        assert [heard(builder) for builder in builders] == ["1200"] * 3
    async with on_disk(home) as place:
        assert len(await place.find("fine", limit=10_000)) == 1200
        assert (
            len({hit.message_id for hit in await place.index.search("ridge", limit=9999)}) == 1200
        )


def size(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("pages", [1, 40, 140])
async def test_an_index_whose_builder_is_killed_is_built_by_the_next(home, pages, anyio_backend):
    path = index_file(home)
    async with on_disk(home) as place:
        await fill(place, 4, 600)
        with python(BUILDER, home) as builder:
            assert heard(builder) == "ready"
            ask(builder)
            await until(lambda: size(path) >= 4096 * pages)
            kill(builder)

        assert len(await place.find("ridge", limit=10_000)) == 2400
        assert len(await place.find("fine", limit=10_000)) == 2400


async def test_a_purge_that_is_killed_is_done_by_the_next(home, anyio_backend):
    path = index_file(home)
    async with on_disk(home) as place:
        await fill(place, 1, 600)
        await place.import_turns("s1", "ridge kept")
        assert len(await place.find("ridge", limit=1000)) == 601
        await place.index.close()
        for moment in range(3):
            with python(PURGER, home) as purger:
                ask(purger)
                await until(lambda: path.with_name("search.db-journal").exists())
                for _ in range(moment * 50):  # further and further on
                    await asyncio.sleep(0)
                kill(purger)
            assert await place.find("ridge") == ["ridge kept"]
            assert b"of 0" not in path.read_bytes()
            assert await place.index.purge()
            await fill(place, 1, 600)
            assert len(await place.find("ridge", limit=1000)) == 601
            await place.index.close()


async def test_one_that_is_stopped_amid_indexing_keeps_nobody_from_searching(home, anyio_backend):
    path = index_file(home)
    async with on_disk(home, patience=0.1) as place:
        await fill(place, 4, 600)
        with python(BUILDER, home) as builder:
            assert heard(builder) == "ready"
            ask(builder)
            await until(lambda: size(path) >= 4096 * 20)
            builder.send_signal(signal.SIGSTOP)

            assert len(await place.find("ridge", limit=10_000)) == 2400

            builder.send_signal(signal.SIGCONT)
            assert heard(builder) == "2400"


async def test_a_forked_child_searches_with_connections_of_its_own(disk):
    await fill(disk, 2, 20)
    assert len(await disk.find("ridge", limit=100)) == 40

    def search():
        assert len(asyncio.run(disk.find("ridge", limit=100))) == 40
        asyncio.run(disk.index.close())

    assert await asyncio.to_thread(in_child, search) == 0
    await disk.say("s0", "ridge more")
    assert len(await disk.find("ridge", limit=100)) == 41


def test_forks_amid_a_search_neither_hang_nor_harm(home):
    over = threading.Event()
    outcomes = []

    async def searching():
        async with on_disk(home) as place:
            await fill(place, 2, 200)
            while not over.is_set():
                index_file(home).unlink(missing_ok=True)
                outcomes.append(len(await place.find("ridge", limit=1000)))

    async def search():
        async with on_disk(home) as place:
            assert len(await place.find("fine", limit=1000)) == 400

    thread = threading.Thread(target=lambda: asyncio.run(searching()))
    thread.start()
    try:
        asyncio.run(until(lambda: outcomes))
        codes = [in_child(lambda: asyncio.run(search())) for _ in range(8)]
    finally:
        over.set()
        thread.join()

    assert codes == [0] * 8
    assert set(outcomes) == {400}
