"""A hundred thousand messages: found, and caught up by what is new alone."""

import pytest

from dexto_magic.stores.memory import MemoryStore
from tests.support.searching import Counting, Place, index_file

SESSIONS, TURNS = 100, 500


@pytest.mark.anyio
async def test_a_hundred_thousand_messages(home, slow, anyio_backend):
    store = Counting(MemoryStore())
    store.side_folder = index_file(home).parent
    store.side_folder.mkdir(parents=True)
    async with Place(store) as place:
        for number in range(SESSIONS):
            texts = (f"turn {turn} of {number} " + "and so on " * 60 for turn in range(TURNS))
            await place.import_turns(f"s{number}", *texts)

        assert len(await place.find("fine", limit=200_000)) == SESSIONS * TURNS
        assert store.messages == 2 * SESSIONS * TURNS
        assert await place.places('"turn 77 of 42"') == [("s42", 78)]

        for _ in range(3):
            store.messages = store.sessions = 0
            await place.say("s42", "one more")
            await place.find("more")
            assert (store.sessions, store.messages) == (1, 2)

        await store.forget("s42", 78)
        assert await place.index.purge()
        assert await place.places('"turn 77 of 42"') == []
        assert b"turn 77 of 42" not in index_file(home).read_bytes()
