"""A reply that is kept while it arrives: how often, and what follows a save that fails."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from dexto_magic import MemoryStore
from dexto_magic.errors import StoreBusyError
from dexto_magic.llm.protocol import TextDelta
from dexto_magic.turns.engine import SAVE_CHARACTERS, Question, RunningTurn
from dexto_magic.turns.keeping import Keeper
from tests.support.messages import user
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Recording(MemoryStore):
    """A store that remembers what was saved on the way, and can be busy."""

    def __init__(self):
        super().__init__()
        self.saved = []
        self.busy = False

    async def save_partial(self, claim, message):
        await asyncio.sleep(0)
        if self.busy:
            raise StoreBusyError("busy")
        self.saved.append(len(message.content))
        await super().save_partial(claim, message)


@pytest.fixture
async def kept(anyio_backend):
    """A store, a running turn in it, and what is told and stopped."""
    store = Recording()
    await store.create("eda")
    claim = await store.claim("eda", user("q"), await store.join("a test"))
    question = Question(
        provider="p", model="m", options={}, asked_at=datetime.now(UTC), clock=time.monotonic()
    )
    turn, told, stopped = RunningTurn(question), [], []
    keeper = Keeper(store, claim, turn, stop=stopped.append, tell=told.append)
    yield store, turn, keeper, told, stopped
    await keeper.end()


async def test_much_text_is_saved_as_it_comes_and_not_twice_a_second_only(kept):
    store, turn, keeper, _, _ = kept
    for n in range(1, 11):
        turn.feed(TextDelta("x" * SAVE_CHARACTERS))
        keeper.fed()
        await until(lambda n=n: store.saved == [m * SAVE_CHARACTERS for m in range(1, n + 1)])


async def test_what_came_during_a_save_is_saved_after_it(kept):
    store, turn, keeper, _, _ = kept
    for _ in range(3):
        turn.feed(TextDelta("x" * SAVE_CHARACTERS))
        keeper.fed()
    await until(lambda: store.saved == [SAVE_CHARACTERS, 3 * SAVE_CHARACTERS])


async def test_a_little_text_is_saved_too(kept):
    store, turn, keeper, _, _ = kept
    turn.feed(TextDelta("x"))
    keeper.fed()
    assert store.saved == []
    await until(lambda: store.saved == [1])


async def test_a_save_that_fails_is_told_once_and_tried_again(kept):
    store, turn, keeper, told, _ = kept
    store.busy = True
    turn.feed(TextDelta("x" * SAVE_CHARACTERS))
    keeper.fed()
    await until(lambda: told)
    turn.feed(TextDelta("y"))
    keeper.fed()
    store.busy = False
    await until(lambda: SAVE_CHARACTERS + 1 in store.saved)
    assert ["not saved yet" in notice.text for notice in told] == [True]


@pytest.mark.parametrize("how", ["cancel", "reset", "delete"])
async def test_the_turn_is_told_to_stop(kept, how):
    store, _, _, _, stopped = kept
    await {"cancel": store.request_cancel, "reset": store.reset, "delete": store.delete}[how]("eda")
    await until(lambda: stopped)
    assert stopped[0] == {"cancel": "interrupted", "reset": "reset", "delete": "deleted"}[how]
