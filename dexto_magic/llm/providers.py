"""What a choice of model comes to: a provider, a model, a base URL, a key.

Separate from the adapter, and importing no client, so that a model's name can be checked and
completed without loading one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

from dexto_magic.conversation.messages import JSON
from dexto_magic.errors import ModelAuthenticationError, SettingsError
from dexto_magic.llm.local import OLLAMA_VARIABLE, is_loopback, ollama_models, ollama_url
from dexto_magic.llm.outgoing import sendable_options
from dexto_magic.llm.provider_table import PRACTICE, PROVIDERS, Provider, known_context_window
from dexto_magic.settings import MODEL_VARIABLE, variable

__all__ = [
    "DEFAULT_MODEL",
    "PRACTICE",
    "PROVIDERS",
    "LLMConfig",
    "Provider",
    "Secret",
    "base_url_of",
    "context_window_of",
    "is_loopback",
    "key_of",
    "llm_config",
    "ollama_models",
    "required_key",
    "spec",
    "with_model",
]

DEFAULT_MODEL = "openai:gpt-4o-mini"
"""Asked where nothing else is said: the tutorial's."""

# How keys begin at the providers of the table; a long word without any punctuation is one too.
_KEY = re.compile(r"(?:sk|pk|rk|gsk|xai|hf|tgp)[-_]|AIza|AQ\.|Bearer\s|[A-Za-z0-9]{32,}$")

_SHOWN_MODELS = 3


class Secret(str):
    """A key: a string in every way, except that its ``repr`` does not show it.

    Debuggers and verbose tracebacks print the ``repr`` of local variables.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[key]'"


@dataclass(frozen=True, kw_only=True)
class LLMConfig:
    """Which model is asked, where, and how. Values are checked when it is made.

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
        _check_types(self)
        url = (self.base_url or "").strip()
        object.__setattr__(self, "api_key", Secret((self.api_key or "").strip()) or None)
        object.__setattr__(self, "base_url", _checked_url(url, "base_url") if url else None)
        object.__setattr__(self, "options", sendable_options(self.options))
        object.__setattr__(self, "provider", self.provider.strip().lower())
        object.__setattr__(self, "model", self.model.strip())
        _check_choice(self.provider, self.model)


def llm_config(value: str | Mapping[str, Any] | LLMConfig) -> LLMConfig:
    """The configuration that a user's ``llm=`` stands for.

    Args:
        value: ``"provider:model"``, ``"practice"``, the name of an OpenAI model, a mapping with
            the fields of ``LLMConfig`` as keys, or an ``LLMConfig``. What stands before the first
            colon counts as a provider only if the table has it, so ``"llama3.2:latest"`` is a
            model; Ollama's ``mistral:7b`` is written ``"ollama:mistral:7b"``.

    Raises:
        SettingsError: It can't be used.
    """
    if isinstance(value, LLMConfig):
        return value
    if isinstance(value, str):
        provider, model = _split(value, "openai")
        return LLMConfig(provider=provider, model=model)
    if not isinstance(value, Mapping):
        raise SettingsError(
            "llm must be a string such as 'openai:gpt-4o-mini', a dict such as {'provider': "
            f"'openai', 'model': 'gpt-4o-mini'}}, or an LLMConfig, not {type(value).__name__}.",
            option="llm",
        )
    given: dict[str, Any] = {
        name: Secret(item) if isinstance(item, str) else item for name, item in value.items()
    }
    del value  # so that a traceback finds no key in this frame
    _check_names(given)
    for name in given.keys() - {"api_key"}:
        given[name] = str(given[name]) if isinstance(given[name], str) else given[name]
    provider, model = given.pop("provider", None), given.pop("model", None) or ""
    if provider is None:
        provider, model = _split(model, "openai") if isinstance(model, str) else ("openai", model)
    if not model and provider == PRACTICE:
        model = PRACTICE
    return LLMConfig(provider=provider, model=model, **given)


def with_model(config: LLMConfig, model: str) -> LLMConfig:
    """The configuration for one call, or one session, that names a model of its own.

    The same provider, named or implied, keeps the key, the base URL and the options. Another one
    starts from its own row of the table: a key must not go to a host that it is not for.

    Raises:
        SettingsError: ``model`` can't be used.
    """
    provider, name = _split(model, config.provider)
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
        return _checked_url(url, "base_url", provider.base_url_variable)
    if provider.base_url is None:
        raise SettingsError(
            f"{provider.name} has another URL for each customer: set base_url, for example to "
            "'https://YOUR-RESOURCE.openai.azure.com/openai/v1/'.",
            option="base_url",
        )
    return provider.base_url


def key_of(config: LLMConfig, keys: Mapping[str, str]) -> str | None:
    """The key to send, or ``None``: as configured, else as entered, else the environment's.

    Args:
        config: What is asked.
        keys: The keys entered for this process, by provider.
    """
    name = PROVIDERS[config.provider].key_variable
    found = config.api_key or keys.get(config.provider) or (variable(name) if name else None)
    return Secret(found.strip()) if found else None


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


def _split(text: str, implied: str) -> tuple[str, str]:
    """The provider and the model that ``text`` names; the model may be missing."""
    text = text.strip()
    if text.lower() == PRACTICE:
        return PRACTICE, PRACTICE
    head, colon, tail = text.partition(":")
    named = head.strip().lower()
    if named not in PROVIDERS:
        return implied, text
    # Ollama has a model `mistral`: where open models are served, a bare name is a model's.
    if not colon and implied != PRACTICE and not PROVIDERS[implied].needs_key:
        return implied, text
    return named, tail


def _check_types(config: LLMConfig) -> None:
    kinds: Mapping[str, tuple[type | tuple[type, ...], str]] = {
        "provider": (str, "a string"),
        "model": (str, "a string"),
        "api_key": ((str, type(None)), "a string"),
        "base_url": ((str, type(None)), "a string"),
        "options": (Mapping, "a dict"),
        "context_window": ((int, type(None)), "a number of tokens"),
        "timeout": ((int, float), "a number of seconds"),
        "connect_timeout": ((int, float), "a number of seconds"),
    }
    for name, (kind, wording) in kinds.items():
        value = getattr(config, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SettingsError(
                f"{name} of llm must be {wording}, not {type(value).__name__}.", option=name
            )
    for name in ("timeout", "connect_timeout"):
        if not 0 < getattr(config, name) < math.inf:
            raise SettingsError(
                f"{name} of llm is {getattr(config, name)}: it must be a number of seconds above 0.",
                option=name,
            )
    if config.context_window is not None and config.context_window < 1:
        raise SettingsError(
            f"context_window of llm is {config.context_window}: it must be a positive number of "
            "tokens, or left out if it is not known.",
            option="context_window",
        )


def _check_names(given: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(LLMConfig)]
    for name in given:
        if name in known:
            continue
        # apiKey, api-key and API_KEY are all one letter-for-letter comparison away from api_key.
        folded = {re.sub(r"\W|_", "", option).lower(): option for option in known}
        close = difflib.get_close_matches(
            re.sub(r"\W|_", "", str(name)).lower(), folded, n=1, cutoff=0.7
        )
        hint = (
            f"did you mean {folded[close[0]]!r}?"
            if close
            else f"it has {', '.join(known)}. Request options, such as temperature, go into options."
        )
        raise SettingsError(f"llm has no setting {_shown(str(name))}: {hint}", option="llm")


def _check_choice(provider: str, model: str) -> None:
    if provider not in PROVIDERS:
        close = difflib.get_close_matches(provider, PROVIDERS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(PROVIDERS)}."
        raise SettingsError(f"There is no provider {_shown(provider)}: {hint}", option="provider")
    if not model:
        raise SettingsError(
            f"{provider} is a provider: name one of its models, too, as in '{provider}:MODEL'.",
            option="model",
        )
    if _KEY.match(model):
        raise SettingsError(
            "What stands where the model belongs looks like a key, and is not shown here. Name a "
            "model, such as 'openai:gpt-4o-mini', and enter the key with `%dexto key`, or as "
            "api_key.",
            option="model",
        )


def _checked_url(url: str, option: str, variable_name: str | None = None) -> str:
    source = variable_name or f"{option} of llm"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", url):
        raise SettingsError(
            f"{source} is {_shown(url)}: it must be a URL such as 'https://api.openai.com/v1'.",
            option=option,
            variable=variable_name,
        )
    return url


def _shown(text: str) -> str:
    """``text`` in quotes, unless it looks like a key."""
    return "(not shown: it looks like a key)" if _KEY.match(text) else repr(text)
