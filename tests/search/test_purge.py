"""What was deleted, reset or forgotten is in no file of the index, to the byte."""

import asyncio
import random
import sqlite3
from functools import partial

import pytest

from dexto_magic.search.catalogue import Catalogue
from dexto_magic.search.desk import Desk
from dexto_magic.search.following import catch_up
from dexto_magic.stores.disk import DiskStore
from dexto_magic.stores.memory import MemoryStore
from tests.support.messages import attachment, user
from tests.support.searching import Counting, Place, index_file, on_disk

pytestmark = pytest.mark.anyio


def bytes_of(home):
    """Whatever is in files beside the store, in small letters: that is how words are kept."""
    return b"".join(path.read_bytes() for path in index_file(home).parent.iterdir()).lower()


def is_left(home, secret):
    """Whether a word is in a file; without its beginning, which neighbours in an index share."""
    return secret[3:].encode() in bytes_of(home)


@pytest.fixture
def secret():
    """Words that nobody else says; another one at each call."""
    chance = random.Random(0)
    return lambda: f"qz{chance.getrandbits(64):016x}"


async def test_a_deleted_session(disk, home, secret):
    word, title, name, kept = secret(), secret(), secret(), secret()
    file = user("Look.", attachments=(attachment(b"x", name=f"{word}.csv"),))
    await disk.say(name, f"Say {word}.", f"I say {word}.")
    await disk.say(name, file)
    await disk.store.update(name, title=title)
    await disk.say("kept", kept)
    assert len(await disk.find(word)) == 3
    assert all(is_left(home, gone) for gone in (word, title, name, kept))

    await disk.store.delete(name)

    assert await disk.index.purge()
    assert not any(is_left(home, gone) for gone in (word, title, name))
    assert is_left(home, kept)
    assert await disk.find(kept) == [kept]


async def test_a_session_that_was_reset(disk, home, secret):
    word, kept = secret(), secret()
    await disk.say("a", word)
    await disk.find(word)

    await disk.store.reset("a")
    await disk.say("a", kept)

    assert await disk.index.purge()
    assert not is_left(home, word)
    assert await disk.find(kept) == [kept]


@pytest.mark.parametrize("looked", [True, False])
async def test_a_forgotten_turn_with_all_its_versions(disk, home, secret, looked):
    first, second, kept = secret(), secret(), secret()
    await disk.say("a", kept)
    await disk.say("a", first)
    await disk.find(kept)
    await disk.say("a", second, revises=2)
    if looked:
        assert await disk.find(first) == []  # out of view, and its words still in the file

    await disk.store.forget("a", 2)

    assert await disk.index.purge()
    assert not any(is_left(home, gone) for gone in (first, second))
    assert await disk.find(kept) == [kept]


async def test_a_forgotten_turn_whose_number_was_given_again_before_anybody_looked(
    disk, home, secret
):
    gone, between, again = secret(), secret(), secret()
    for word in ("first", between, gone):
        await disk.say("a", word)
    await disk.find(gone)

    await disk.store.forget("a", 3)
    await disk.store.undo("a")
    await disk.say("a", "other")
    await disk.say("a", again)

    assert await disk.find(again) == [again]
    assert not is_left(home, gone)


async def test_what_others_removed_is_purged_at_the_next_search(disk, home, secret):
    word = secret()
    await disk.say("a", word)
    await disk.say("b", "ridge")
    await disk.find(word)
    await disk.store.delete("a")

    async with on_disk(home) as other:
        assert await other.find("ridge") == ["ridge"]

    assert not is_left(home, word)


async def test_the_name_of_a_session_that_was_never_read(disk, home, secret):
    name = secret()
    await disk.say("a", "ridge")
    await disk.find("ridge")
    await disk.store.create(name)
    assert await disk.index.purge()
    assert is_left(home, name)

    await disk.store.delete(name)

    assert await disk.index.purge()
    assert not is_left(home, name)


async def test_many_of_many(home, secret, anyio_backend):
    """SQLite's secure_delete alone leaves a few of them, where it moved rows about."""
    store = Counting(MemoryStore())
    store.side_folder = index_file(home).parent
    store.side_folder.mkdir(parents=True)
    chance = random.Random(1)
    live, dead = {}, {}
    async with Place(store) as place:
        for _ in range(4):
            for _ in range(200):
                words = [secret() for _ in range(chance.choice([3, 20, 200, 1000]))]
                live[f"s{len(live) + len(dead)}"] = words
                await place.say([*live][-1], " ".join(words), "Fine.")
            await place.find("fine")
            for name in chance.sample([*live], 80):
                await store.delete(name)
                dead[name] = live.pop(name)
            assert await place.index.purge()
            left = bytes_of(home)
            assert not [name for name, (word, *_) in dead.items() if word[3:].encode() in left]

        name, (word, *_) = live.popitem()
        assert await place.places(word) == [(name, 1)]


async def test_costs_nothing_where_nothing_was_searched(disk, home):
    await disk.say("a", "ridge")
    await disk.store.delete("a")

    assert await disk.index.purge()

    assert list(index_file(home).parent.iterdir()) == []


async def test_does_not_read_what_was_never_indexed(home, anyio_backend):
    store = Counting(DiskStore(home))
    async with Place(store) as place:
        await place.say("a", "ridge")
        await place.find("ridge")
        for number in range(10):
            await place.say(f"new{number}", "lasso")
        await place.store.delete("a")
        store.sessions = 0

        assert await place.index.purge()

        assert store.sessions == 1
        assert len(await place.find("lasso", limit=50)) == 10


class Late(Desk):
    """What a process has of an index that is overtaken before a step of it, and dies after that."""

    def __init__(self, folder, step, remove):
        super().__init__(folder, patience=10)
        self._step = step
        self._remove = remove

    async def run(self, work):
        step = work.args[0] if isinstance(work, partial) and work.args else None
        if not isinstance(step, partial) or step.func is not self._step:
            return await super().run(work)
        await self._remove()
        await super().run(work)
        raise asyncio.CancelledError


@pytest.mark.parametrize("step", [Catalogue.note, Catalogue.take_in])
@pytest.mark.parametrize("removal", ["delete", "reset", "forget"])
async def test_what_another_has_read_and_not_yet_taken_in(disk, home, secret, removal, step):
    word, name = secret(), secret()
    await disk.say("kept", "ridge")
    await disk.find("ridge")
    await disk.say(name, word)

    async def remove():
        await getattr(disk.store, removal)(name, *([1] if removal == "forget" else []))
        assert await disk.index.purge()

    late = Late(index_file(home).parent, step, remove)
    with pytest.raises(asyncio.CancelledError):
        await catch_up(disk.store, late.durable, late.run)
    await late.close()

    assert not is_left(home, word)
    assert removal != "delete" or not is_left(home, name)
    assert await disk.find("ridge") == ["ridge"]
    assert await disk.find(word) == []


async def test_in_memory_is_of_what_is_in_memory(place, secret):
    word = secret()
    await place.say("a", word)
    await place.find(word)
    await place.store.delete("a")

    assert await place.index.purge()

    assert await place.find(word) == []


async def test_waits_for_a_reader_and_is_done_at_the_next_search(home, secret, anyio_backend):
    word = secret()
    async with on_disk(home, patience=0.05) as place:
        await place.say("a", word)
        await place.say("b", "ridge")
        await place.find(word)
        await place.store.delete("a")
        reader = sqlite3.connect(index_file(home), isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entries").fetchall()

        assert not await place.index.purge()
        assert is_left(home, word)
        reader.close()

        assert await place.find("ridge") == ["ridge"]
        assert not is_left(home, word)
        assert await place.index.purge()


async def test_an_index_too_large_to_be_copied_goes_as_a_whole(disk, home, secret, monkeypatch):
    word = secret()
    await disk.say("a", word)
    await disk.say("b", "ridge")
    await disk.find(word)
    await disk.store.delete("a")
    monkeypatch.setattr("dexto_magic.search.shelf._LARGEST", 1)

    assert await disk.index.purge()

    assert not index_file(home).exists()
    assert await disk.find("ridge") == ["ridge"]


@pytest.mark.parametrize("damage", [b"", b"damaged" * 500])
async def test_an_index_that_is_damaged_goes_as_a_whole(disk, home, secret, damage):
    word = secret()
    await disk.say("a", word)
    await disk.say("b", "ridge")
    await disk.find(word)
    await disk.index.close()
    whole = index_file(home).read_bytes()
    index_file(home).write_bytes(whole[:4096] + damage + whole[4096 + len(damage) : -4096])
    await disk.store.delete("a")

    assert await disk.index.purge()

    assert not is_left(home, word)
    assert await disk.find("ridge") == ["ridge"]


async def test_a_store_that_cannot_be_read_is_no_reason_to_fail(disk):
    await disk.say("a", "ridge")
    await disk.find("ridge")
    await disk.store.close()

    assert not await disk.index.purge()


# -- what is owed ----------------------------------------------------------------------------------


async def test_no_purge_is_owed_for_what_only_went_out_of_view(disk, monkeypatch):
    merges = []
    monkeypatch.setattr(Catalogue, "merge", merges.append)
    await disk.say("a", "one")
    await disk.say("a", "two")
    for step in (
        disk.store.undo("a"),
        disk.say("a", "instead"),
        disk.say("a", "anew", revises=1),
        disk.store.undo("a"),
        disk.store.redo("a"),
        disk.say("a", "more"),
    ):
        await step
        await disk.find("one")
    assert merges == []
    await disk.store.forget("a", 2)
    await disk.find("one")
    assert len(merges) == 1


@pytest.mark.parametrize("looked", [True, False])
async def test_a_forgotten_turn_whose_number_was_taken_again(disk, home, secret, looked):
    word, kept = secret(), secret()
    await disk.say("a", kept)
    await disk.say("a", word)
    await disk.find(kept)
    await disk.store.undo("a")
    if looked:
        await disk.find(kept)
    await disk.store.forget("a", 2)
    await disk.say("a", kept)
    assert len(await disk.find(kept)) == 2
    assert not is_left(home, word)
