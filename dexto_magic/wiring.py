"""Which store and which model stand behind the protocols: the only module that names them.

Heavy modules are imported here, when they are first needed, so that loading the package costs
nothing.
"""

from __future__ import annotations

import os

from dexto_magic.llm.protocol import ChatModel
from dexto_magic.llm.provider_table import PRACTICE
from dexto_magic.llm.providers import LLMConfig, base_url_of, required_key
from dexto_magic.stores.protocol import Store


def store_at(folder: str | os.PathLike[str]) -> Store:
    """The store that keeps sessions in a folder; it is not opened yet."""
    from dexto_magic.stores.disk import DiskStore

    return DiskStore(folder)


class Models:
    """The models that an agent has asked for, each made once.

    Attributes:
        keys: The keys entered for this process, by provider; they are stored nowhere.
    """

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self._made: dict[tuple[LLMConfig, str | None, str], ChatModel] = {}

    def get(self, config: LLMConfig) -> ChatModel:
        """The model that a configuration names; nothing is asked yet.

        The key and the base URL are looked up each time: what was set in a cell counts at once.

        Raises:
            ModelAuthenticationError: There is no key, and one is needed.
            SettingsError: The configuration cannot be used.
        """
        key, base_url = required_key(config, self.keys), base_url_of(config)
        if (config, key, base_url) not in self._made:
            self._made[config, key, base_url] = _model(config, key, base_url)
        return self._made[config, key, base_url]

    async def close(self) -> None:
        """Closes their connections."""
        made, self._made = self._made, {}
        for model in made.values():
            await model.close()


def _model(config: LLMConfig, key: str | None, base_url: str) -> ChatModel:
    from dexto_magic.llm.openai_model import OpenAIModel

    if config.provider == PRACTICE:
        from dexto_magic.llm.practice import practice_transport

        return OpenAIModel(config, api_key=key, base_url=base_url, transport=practice_transport())
    return OpenAIModel(config, api_key=key, base_url=base_url)
