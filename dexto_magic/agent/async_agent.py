"""The core API: sessions to create, talk in, look at and take away, from asynchronous code.

Everything else is built on it: ``DextoAgent`` is the same, blocking; cells, panel and command line
call that. It knows no notebook, and has no current session: that belongs to a front end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from dexto_magic import wiring
from dexto_magic.agent.arguments import named_folder, text_or_none
from dexto_magic.agent.choosing import ModelChoice, default_config
from dexto_magic.agent.context import ContextMethods
from dexto_magic.agent.exchange import ExchangeMethods
from dexto_magic.agent.membership import Membership
from dexto_magic.agent.notebooks import NotebookMethods
from dexto_magic.agent.ridding import Ridding
from dexto_magic.agent.searching import SearchMethods
from dexto_magic.agent.turns import TurnMethods
from dexto_magic.agent.upkeep import UpkeepMethods
from dexto_magic.cancellation import seen_through
from dexto_magic.llm.providers import LLMConfig, llm_config, spec
from dexto_magic.search.index import SearchIndex
from dexto_magic.settings import Settings
from dexto_magic.stores.protocol import Store
from dexto_magic.turns.running import TurnHost
from dexto_magic.turns.unsaved import UnsavedReplies


class AsyncDextoAgent(
    ExchangeMethods,
    TurnMethods,
    SearchMethods,
    ContextMethods,
    NotebookMethods,
    UpkeepMethods,
):
    """Conversations with a model, each in a named session that outlives this process.

    Use it as an asynchronous context manager, or call ``start`` and ``stop``. It belongs to the
    event loop it was started on, where any number of tasks may use it at once.

    Args:
        llm: Which model answers: ``{"provider": "openai", "model": "gpt-4o-mini", "api_key": …}``
            with what else ``LLMConfig`` has, such as ``base_url``, ``options`` or ``timeout``; an
            ``LLMConfig``; ``"provider:model"``; or ``"practice"``. ``None`` for ``DEXTO_MODEL``, else
            ``openai:gpt-4o-mini``.
        store: The folder in which sessions are kept, or a ``Store``. ``None`` for ``DEXTO_HOME``,
            else the platform's folder for user data.
        system: The system prompt of sessions that have none of their own.
        label: What this agent is, in words, for those who have to wait for it.

    Raises:
        SettingsError: ``llm``, or a variable that stands in for an argument, cannot be used.
    """

    def __init__(
        self,
        llm: str | Mapping[str, Any] | LLMConfig | None = None,
        *,
        store: str | os.PathLike[str] | Store | None = None,
        system: str | None = None,
        label: str = "another agent",
    ) -> None:
        try:
            self._models = ModelChoice(llm_config(llm) if llm else default_config())
        finally:
            del llm  # a key may be in it, and a verbose traceback shows the variables of this frame
        if store is None:
            store = Settings.from_environment().home
        self._owns_store = isinstance(store, str | os.PathLike)
        if isinstance(store, str | os.PathLike):
            store = wiring.store_at(named_folder(store))
        self._store = store
        self._system = text_or_none("system", system)
        self._label = label
        self._index = SearchIndex(store)
        self._ridding = Ridding(self._index)
        self._membership = Membership(
            store, closes=self._owns_store, label=label, used=self._ridding.again
        )
        self._host = TurnHost(
            store=store,
            session=self._membership.session,
            owner=self._membership.owner,
            answerer=self._models.answering,
            system=self._system,
            unsaved=UnsavedReplies(store),
        )

    def _twin(self) -> AsyncDextoAgent:
        """Another agent, not started, that is set up as this one is, entered keys included."""
        store = self._store.location if self._owns_store else self._store
        twin = AsyncDextoAgent(
            self._models.config, store=store, system=self._system, label=self._label
        )
        twin._models.keys.update(self._models.keys)
        return twin

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the store. Does nothing if it is started.

        Raises:
            StoreError: The store cannot be opened.
        """
        await self._membership.begin()
        self._ridding.later()

    async def stop(self) -> None:
        """Ends running turns, saving what arrived, and lets go of everything.

        Does nothing if it is not started.

        Raises:
            StoreError: A reply that the store could not take still cannot be saved.
        """
        if self._membership.resign():
            await seen_through(self._let_go())

    async def _let_go(self) -> None:
        """Each step is taken, the last one first, whatever becomes of the others."""
        runs = self._host.runs
        async with AsyncExitStack() as steps:
            steps.push_async_callback(self._membership.end)
            steps.push_async_callback(self._index.close)
            steps.push_async_callback(self._models.close)
            steps.push_async_callback(self._host.unsaved.end)
            steps.push_async_callback(self._ridding.end)
            for run in runs:
                run.stop("interrupted")
            await asyncio.gather(*(run.ended() for run in runs))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def location(self) -> str:
        """Where the sessions are kept, for people."""
        return self._store.location

    @property
    def model(self) -> str:
        """The model that answers where nothing else is said, as ``"provider:model"``."""
        return spec(self._models.config)

    async def set_key(self, provider: str, key: str) -> None:
        """Takes a key for a provider, for as long as this agent lives; it is stored nowhere.

        Raises:
            SettingsError: There is no such provider, or the key is no text.
        """
        try:
            self._models.take_key(provider, key)
        finally:
            del key  # a verbose traceback shows the variables of this frame
