"""What a choice of model comes to: a provider, a model, a base URL, a key.

Separate from the adapter, and importing no client, so that a model's name can be checked and
completed without loading one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from dexto_magic.conversation.messages import JSON
from dexto_magic.errors import ModelAuthenticationError, SettingsError
from dexto_magic.llm.discretion import BaseURL, Secret, discreet, looks_like_key, shown
from dexto_magic.llm.local import OLLAMA_VARIABLE, is_loopback, ollama_models, ollama_url
from dexto_magic.llm.outgoing import sendable_options
from dexto_magic.llm.provider_table import PRACTICE, PROVIDERS, known_context_window
from dexto_magic.llm.validation import (
    check_choice,
    check_names,
    check_provider_of,
    check_types,
    checked_url,
)
from dexto_magic.settings import MODEL_VARIABLE, variable

__all__ = [
    "DEFAULT_MODEL",
    "LLMConfig",
    "base_url_of",
    "context_window_of",
    "key_of",
    "llm_config",
    "required_key",
    "spec",
    "with_model",
]

DEFAULT_MODEL = "openai:gpt-4o-mini"
"""Asked where nothing else is said: the tutorial's."""

_SHOWN_MODELS = 3

_T = TypeVar("_T")


def _discreetly_made(made: type[_T]) -> type[_T]:
    made.__init__ = discreet(made.__init__)  # type: ignore[method-assign]  # the dataclass wrote it
    return made


@_discreetly_made
@dataclass(frozen=True, kw_only=True)
class LLMConfig:
    """Which model is asked, where, and how. Values are checked when it is made.

    The key goes to ``base_url``, whatever host that is. The environment's key is that of the
    provider, and a model of no named provider is OpenAI's: ``{"model": …, "base_url": …}`` sends
    ``OPENAI_API_KEY`` there, as OpenAI's own client does. For another server, name its provider
    (``"vllm"`` for any without a key), or give ``api_key``.

    Attributes:
        provider: A name of the provider table.
        model: The model as the provider names it.
        api_key: The key; ``None`` to take the one entered for this process or the environment's.
        base_url: Where the provider's API is, if not where the table says.
        options: Request options as the provider documents them, such as ``temperature``.
        context_window: The model's context window in tokens, where the table does not know it.
        timeout: Seconds to wait for the first byte of a reply, and for the next after each.
        connect_timeout: Seconds to wait for a connection.

    Raises:
        SettingsError: One of them can't be used.
    """

    provider: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    options: Mapping[str, JSON] = field(default_factory=dict, hash=False)
    context_window: int | None = None
    timeout: float = 120.0
    connect_timeout: float = 10.0

    def __post_init__(self) -> None:
        check_types(vars(self))
        url = BaseURL((self.base_url or "").strip())
        object.__setattr__(self, "api_key", Secret((self.api_key or "").strip()) or None)
        object.__setattr__(self, "base_url", checked_url(url, "base_url") if url else None)
        object.__setattr__(self, "options", sendable_options(self.options))
        object.__setattr__(self, "provider", self.provider.strip().lower())
        object.__setattr__(self, "model", self.model.strip())
        check_choice(self.provider, self.model)


@discreet
def llm_config(
    value: str | Mapping[str, Any] | LLMConfig, *, variable: str | None = None
) -> LLMConfig:
    """The configuration that a user's ``llm=`` stands for.

    Args:
        value: ``"provider:model"``, ``"practice"``, the name of an OpenAI model, a mapping with
            the fields of ``LLMConfig`` as keys, or an ``LLMConfig``. What stands before the first
            colon counts as a provider only if the table has it, so ``"llama3.2:latest"`` is a
            model; Ollama's ``mistral:7b`` is written ``"ollama:mistral:7b"``.
        variable: The environment variable that ``value`` came from, for errors to name.

    Raises:
        SettingsError: It can't be used.
    """
    if isinstance(value, LLMConfig):
        return value
    if isinstance(value, str):
        try:
            provider, model = _split(value, "openai")
            return LLMConfig(provider=provider, model=model)
        except SettingsError as exc:
            if variable is not None:
                exc.args = (f"{variable} is {shown(value)}: {exc}",)
                exc.variable = variable
            raise
    if not isinstance(value, Mapping):
        raise SettingsError(
            "llm must be a string such as 'openai:gpt-4o-mini', a dict such as {'provider': "
            f"'openai', 'model': 'gpt-4o-mini'}}, or an LLMConfig, not {type(value).__name__}.",
            option="llm",
        )
    check_names(value, [field.name for field in fields(LLMConfig)])
    given = dict(value)
    provider, model = given.pop("provider", None), given.pop("model", None) or ""
    if provider is None:
        provider = "openai"
        if isinstance(model, str):
            provider, model = _split(model, provider, elsewhere=bool(given.get("base_url")))
    if not model and provider == PRACTICE:
        model = PRACTICE
    return LLMConfig(provider=provider, model=model, **given)


@discreet
def with_model(config: LLMConfig, model: str) -> LLMConfig:
    """The configuration for one call, or one session, that names a model of its own.

    The same provider, named or implied, keeps the key, the base URL and the options. Another one
    starts from its own row of the table: a key must not go to a host that it is not for.

    Raises:
        SettingsError: ``model`` can't be used.
    """
    provider, name = _split(model, config.provider, elsewhere=config.base_url is not None)
    if provider != config.provider:
        return LLMConfig(
            provider=provider,
            model=name,
            timeout=config.timeout,
            connect_timeout=config.connect_timeout,
        )
    window = config.context_window if name == config.model else None
    return replace(config, model=name, context_window=window)


def spec(config: LLMConfig) -> str:
    """``"provider:model"``, as it is stored with a session and read by ``llm_config``."""
    plain = config.provider == config.model == PRACTICE
    return PRACTICE if plain else f"{config.provider}:{config.model}"


def context_window_of(config: LLMConfig) -> int | None:
    """The model's context window in tokens, or ``None`` where nobody said it."""
    if config.context_window is not None:
        return config.context_window
    own = PROVIDERS["openai"]
    if config.provider != own.name or base_url_of(config) != own.base_url:
        return None  # another host may serve another model under the name
    return known_context_window(config.model)


@discreet
def base_url_of(config: LLMConfig) -> str:
    """Where the API is: as configured, else as the provider's variable says, else by the table.

    Raises:
        SettingsError: The variable holds no URL, or there is none to go by.
    """
    provider = PROVIDERS[config.provider]
    if config.base_url is not None:
        return config.base_url
    moved = variable(provider.base_url_variable) if provider.base_url_variable else None
    if moved is not None:
        url = f"{ollama_url(moved)}/v1" if provider.base_url_variable == OLLAMA_VARIABLE else moved
        return checked_url(url, "base_url", provider.base_url_variable)
    if provider.base_url is None:
        raise SettingsError(
            f"{provider.name} has another URL for each customer: set base_url, for example to "
            "'https://YOUR-RESOURCE.openai.azure.com/openai/v1/'.",
            option="base_url",
        )
    return provider.base_url


def key_of(config: LLMConfig, keys: Mapping[str, str]) -> str | None:
    """The key to send, or ``None``: as configured, else as entered, else the environment's.

    By the provider alone: ``base_url`` may be anywhere, and the provider's key goes there.

    Args:
        config: What is asked.
        keys: The keys entered for this process, by provider.
    """
    name = PROVIDERS[config.provider].key_variable
    found = config.api_key or keys.get(config.provider) or (variable(name) if name else None)
    return Secret(found.strip()) if found else None


@discreet
def required_key(config: LLMConfig, keys: Mapping[str, str]) -> str | None:
    """The key to send, or ``None`` where none is needed: on loopback, and by the table.

    Raises:
        ModelAuthenticationError: There is none, and one is needed; the message names the ways out.
        SettingsError: The base URL can't be used.
    """
    key = key_of(config, keys)
    provider = PROVIDERS[config.provider]
    if key is not None or not provider.needs_key or is_loopback(base_url_of(config)):
        return key
    raise ModelAuthenticationError(
        f"{config.provider} wants a key, and none is set. Set {provider.key_variable}; or enter "
        f"one, for this kernel only, with `%dexto key`; {_ways_without_key()}.",
        provider=config.provider,
        model=config.model,
    )


def _ways_without_key() -> str:
    practice = (
        "or take the practice model, which needs neither key nor network, with "
        f"`%dexto model {PRACTICE}` or {MODEL_VARIABLE}={PRACTICE}"
    )
    models = [f"'ollama:{name}'" for name in ollama_models()[:_SHOWN_MODELS]]
    if not models:
        return practice
    return f"{practice}; or Ollama, which answers on this machine: {', '.join(models)}"


def _split(text: str, implied: str, *, elsewhere: bool = False) -> tuple[str, str]:
    """The provider and the model that ``text`` names; the model may be missing.

    Args:
        text: What the user wrote.
        implied: Whose model it is if ``text`` does not say.
        elsewhere: Whether the implied provider's API is at a URL of the user's own, where models
            may have any name.

    Raises:
        SettingsError: No provider is named that could be meant.
    """
    text = text.strip()
    if text.lower() == PRACTICE:
        return PRACTICE, PRACTICE
    head, colon, tail = text.partition(":")
    named = head.strip().lower()
    # Where open models are served, names have colons: `mistral-nemo:12b`.
    open_models = implied != PRACTICE and not PROVIDERS[implied].needs_key
    if named in PROVIDERS:
        # Ollama has a model `mistral`, too: there a bare name is a model's.
        return (named, tail) if colon or not open_models else (implied, text)
    if looks_like_key(text):
        return implied, text  # to be refused as one, unseen
    if colon and not open_models and not elsewhere:
        check_provider_of(text, implied)
    if implied == PRACTICE and text:
        raise SettingsError(
            f"{text!r} does not say whose model it is, and the practice model stands in for no "
            "other: name the provider, too, as in 'openai:gpt-4o' or 'practice:slow'.",
            option="model",
        )
    return implied, text
