"""What an agent does for its store as a whole: looked over, backed up, and restored.

One of the parts of ``agent``, which has them all. None of it needs the agent to be started: a store
that cannot be opened is where it is needed most.
"""

from __future__ import annotations

import os
from pathlib import Path

from dexto_magic.conversation.health import StoreReport
from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.errors import FormatError
from dexto_magic.search.index import SearchIndex
from dexto_magic.stores.protocol import Store, Tell


def unheard(_done: int, _total: int) -> None:
    """Tells nobody how far something is."""


class UpkeepMethods:
    """The methods of an agent that are about its store as a whole."""

    _store: Store
    _index: SearchIndex

    async def doctor(self) -> StoreReport:
        """What state the store is in, and what can be done about what is wrong with it.

        Nothing is changed, and nobody is kept waiting. It works on a store that is damaged, of a
        newer version or not there, too, and need not be started.

        Raises:
            StoreError: The store is in memory: there is nothing to look at.
        """
        return await self._index.examined(await self._store.examine())

    async def backup(
        self, path: str | os.PathLike[str], *, replace_file: bool = False, tell: Tell = unheard
    ) -> BackedUp:
        """Writes all sessions as they are to one file, while others use the store.

        ``restore`` reads it. None of it is there before all of it is, and was read back. The agent
        need not be started.

        Args:
            path: The file, outside of the store's folder; it is for its owner only.
            replace_file: Whether a file that is there is replaced.
            tell: Is told from time to time how many pages are copied, and of how many.

        Raises:
            FormatError: The file is there already, or cannot be written.
            StoreError: There is no store, it is in memory, or it cannot be read.
        """
        return await self._store.back_up(_place(path), replace_file=replace_file, tell=tell)

    async def restore(
        self,
        path: str | os.PathLike[str],
        *,
        before: str | os.PathLike[str] | None = None,
        tell: Tell = unheard,
    ) -> Restored:
        """Replaces all sessions by those of a backup, after a backup of those that are there.

        Whoever has the store open goes on with the new content. It is there whole, or the old one
        is, whatever comes between. The agent need not be started.

        Args:
            path: What ``backup`` wrote, of this version or an earlier one.
            before: The file for a backup of what is there now; ``None`` for one beside the store's
                folder.
            tell: Is told from time to time how many rows are read, and of how many.

        Raises:
            FormatError: It is no backup, is damaged or of a newer version, or what is there now
                cannot be backed up.
            SessionBusyError: A turn is running, or a session is being made, here or elsewhere.
            StoreError: The store is in memory, of a newer version, or cannot be written.
        """
        kept = None if before is None else _place(before)
        return await self._store.restore_backup(_place(path), before=kept, tell=tell)


def _place(path: str | os.PathLike[str]) -> Path:
    """A file as it was named, from the root.

    Raises:
        FormatError: It has no name.
    """
    if not os.fspath(path):
        raise FormatError("The name of the file is empty.")
    return Path(os.path.abspath(path))  # noqa: PTH100  # links are for those who look at them
