"""All sessions that a store has at a moment, to be read one after another, each of them once.

They are known by the store's own names for them. Reading all takes time, in which others work on: a
session that is used has another place among the others then, and one that is renamed another name.
"""

from __future__ import annotations

from dataclasses import replace

from dexto_magic.conversation.session import Transcript
from dexto_magic.errors import SessionNotFoundError
from dexto_magic.stores.protocol import Store

EVERY = 2**62
"""More sessions than any store holds, and less than SQLite's largest number."""

_CHANGES = 500
"""Changes that are heard of at a time."""

_ATTEMPTS = 10
"""How often a session is looked for that is called something else each time."""


class Roll:
    """The sessions of a store.

    Args:
        store: The store, open.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[str, str | None] = {}
        self._called: dict[str, str] = {}
        self._number = 0

    async def sids(self) -> list[str]:
        """The store's own names for all of them, most recently used first.

        Raises:
            StoreError: The store cannot be read.
        """
        # In one go: one that is used between two pages of a list is on neither.
        listed = [session.id for session in await self._store.list(limit=EVERY)]
        places = {name: place for place, name in enumerate(listed)}
        await self._hear()
        there = [(sid, name) for sid, name in self._names.items() if name is not None]
        there.sort(key=lambda pair: places.get(pair[1], -1))  # renamed since: just used, say
        return [sid for sid, _ in there]

    def name(self, sid: str) -> str:
        """What it is called, or was called last that was heard of."""
        return self._called[sid]

    async def transcript(self, sid: str) -> Transcript | None:
        """All that is kept of it, whatever it is called by now; ``None`` if it is gone.

        Raises:
            StoreError: The store cannot be read.
        """
        for _ in range(_ATTEMPTS):
            name = self._names[sid]
            if name is None:
                return None
            try:
                found = await whole_transcript(self._store, name)
            except SessionNotFoundError:
                found = None
            await self._hear()  # whether that was it, and no other that has its name by now
            if found is not None and self._names[sid] == name:
                return found
        return None

    async def _hear(self) -> None:
        """Takes in what they are called by now."""
        while changes := await self._store.changes(self._number, limit=_CHANGES):
            for change in changes:
                self._names[change.sid] = change.session_id
                if change.session_id is not None:
                    self._called[change.sid] = change.session_id
            self._number = changes[-1].number


async def whole_transcript(store: Store, name: str) -> Transcript:
    """All that is kept of the session of a name, the bytes of its attachments included.

    Raises:
        SessionNotFoundError: There is no such session.
        StoreError: The store cannot be read.
    """
    transcript = await store.transcript(name, everything=True)
    said = (*transcript.messages, *transcript.others)
    digests = {attachment.digest for message in said for attachment in message.attachments}
    found = {digest: await store.file(name, digest) for digest in sorted(digests)}
    kept = {digest: content for digest, content in found.items() if content is not None}
    return replace(transcript, files=kept)
