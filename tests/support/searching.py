"""A store to search in, what is said in it, and what is found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dexto_magic.conversation.history import automatic_title
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.search.index import SearchIndex
from dexto_magic.stores.disk import DiskStore
from tests.support.messages import assistant, user

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clock:
    """A clock that goes on by a minute whenever it is looked at."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        self.now += timedelta(minutes=1)
        return self.now


class Place:
    """A store, an owner in it, and an index of it."""

    def __init__(self, store, *, clock=None, **options):
        self.store = store
        self.clock = clock or Clock()
        self.index = SearchIndex(store, **options)
        self.owner = None

    async def __aenter__(self):
        await self.store.open()
        self.owner = await self.store.join("a test")
        return self

    async def __aexit__(self, *_):
        await self.index.close()
        await self.store.close()

    async def say(self, session_id, prompt="Hello.", *replies, **claim):
        """One whole turn; prompt and replies are texts or messages."""
        if await self.store.get(session_id) is None:
            await self.store.create(session_id)
        running = await self.store.claim(
            session_id, self.message(user, prompt), self.owner, **claim
        )
        said = [self.message(assistant, reply) for reply in replies or ("Fine.",)]
        await self.store.settle(running, said)
        return running.message

    async def import_turns(self, session_id, *texts):
        """A session with a turn for each text, made in one step."""
        messages = [
            replace(self.message(make, text), turn=turn)
            for turn, prompt in enumerate(texts, start=1)
            for make, text in ((user, prompt), (assistant, "Fine."))
        ]
        title = automatic_title(texts[0])
        session = Session(id=session_id, title=title, created_at=NOON, updated_at=self.clock())
        await self.store.restore(Transcript(session=session, messages=tuple(messages)))

    def message(self, make, text):
        """A message of the clock's time."""
        made = make(text) if isinstance(text, str) else text
        return replace(made, created_at=self.clock())

    async def find(self, query, **options):
        """The texts that are found, whole, as all that is said in tests is short."""
        return [hit.text for hit in await self.index.search(query, **options)]

    async def places(self, query, **options):
        """Where it is found: sessions and turns."""
        return [(hit.session_id, hit.turn) for hit in await self.index.search(query, **options)]


def on_disk(folder, **options):
    """A place whose store is in a folder."""
    return Place(DiskStore(folder), **options)


def index_file(folder):
    """The file of the index of a store in a folder."""
    return folder / "derived" / "search.db"


class Counting:
    """A store that counts what is read of it for an index."""

    def __init__(self, store):
        self._store = store
        self.messages = 0
        self.sessions = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def rows(self, sid, **options):
        found = await self._store.rows(sid, **options)
        self.sessions += 1
        self.messages += len(found.messages) if found else 0
        return found
