"""Which model answers: the turn's, else the session's, else the agent's; and by which key.

A name is made a configuration here, relative to the agent's own, so that a session's model keeps
the key and the base URL where they belong to it.
"""

from __future__ import annotations

from dexto_magic.conversation.session import Session
from dexto_magic.errors import SettingsError
from dexto_magic.llm.discretion import Secret
from dexto_magic.llm.provider_table import PRACTICE, PROVIDERS
from dexto_magic.llm.providers import (
    DEFAULT_MODEL,
    LLMConfig,
    context_window_of,
    llm_config,
    spec,
    with_model,
)
from dexto_magic.settings import MODEL_VARIABLE, variable
from dexto_magic.turns.prompts import Answerer
from dexto_magic.wiring import Models


def default_config() -> LLMConfig:
    """What is asked where nobody has said it: as ``DEXTO_MODEL`` says, else the tutorial's model.

    Raises:
        SettingsError: The variable names no model.
    """
    chosen = variable(MODEL_VARIABLE)
    return llm_config(chosen, variable=MODEL_VARIABLE) if chosen else llm_config(DEFAULT_MODEL)


class ModelChoice:
    """The models of one agent.

    Args:
        config: The agent's own.

    Attributes:
        config: The agent's own.
        keys: The keys entered for this process, by provider; they are stored nowhere.
    """

    def __init__(self, config: LLMConfig) -> None:
        self.config = config
        self._models = Models()
        self.keys = self._models.keys

    def own(self, model: str | None) -> str | None:
        """The name under which a session keeps a model of its own; ``None`` for none.

        Raises:
            SettingsError: The model cannot be used, or not be a session's own.
        """
        if not model:
            return None
        config = with_model(self.config, model)
        if config.provider == PRACTICE:
            raise SettingsError(
                "The practice model is never stored as a session's own: choose it for this agent "
                "(llm='practice'), for one turn (model='practice'), or with DEXTO_MODEL=practice.",
                option="model",
            )
        return spec(config)

    def config_of(self, session: Session, choice: str | None = None) -> LLMConfig:
        """The configuration that a turn of the session goes by, given the turn's own choice.

        Raises:
            SettingsError: The model cannot be used.
        """
        name = choice or session.model
        return with_model(self.config, name) if name else self.config

    def answering(self, session: Session, choice: str | None = None) -> Answerer:
        """Who answers in the session, and how it is asked.

        Raises:
            ModelAuthenticationError: There is no key, and one is needed.
            SettingsError: The model cannot be used.
        """
        config = self.config_of(session, choice)
        return Answerer(
            model=self._models.get(config),
            options=config.options,
            window=context_window_of(config),
        )

    def take_key(self, provider: str, key: str) -> None:
        """Takes a key for a provider.

        Raises:
            SettingsError: There is no such provider, or the key is no text.
        """
        given: object = key
        if provider not in PROVIDERS or not isinstance(given, str) or not given.strip():
            del key, given  # a verbose traceback shows the variables of this frame
            raise SettingsError(
                f"A key is a text, for one of {', '.join(PROVIDERS)}.", option="api_key"
            )
        self.keys[provider] = Secret(key)

    async def close(self) -> None:
        """Closes the connections of the models that were asked."""
        await self._models.close()
