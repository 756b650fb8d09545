"""What can't be a choice of model, and the words that say how it is right."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from dexto_magic.errors import SettingsError
from dexto_magic.llm.discretion import BaseURL, looks_like_key, shown, shown_url
from dexto_magic.llm.provider_table import PROVIDERS

_CLOSE = 0.86
"""How much of a provider's name a mistyped one has. Models' names come near it, too: ``mixtral``
has 0.857 of ``mistral``, ``deepseek-r1`` 0.842 of ``deepseek``, ``llama3`` 0.833 of ``ollama``."""

_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "provider": (str, "a string"),
    "model": (str, "a string"),
    "api_key": ((str, type(None)), "a string"),
    "base_url": ((str, type(None)), "a string"),
    "options": (Mapping, "a dict"),
    "context_window": ((int, type(None)), "a number of tokens"),
    "timeout": ((int, float), "a number of seconds"),
    "connect_timeout": ((int, float), "a number of seconds"),
}


def check_types(values: Mapping[str, Any]) -> None:
    """Lets the fields of an ``LLMConfig`` pass if each is of its kind.

    Raises:
        SettingsError: One is not.
    """
    for name, (kind, wording) in _KINDS.items():
        value = values[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SettingsError(
                f"{name} of llm must be {wording}, not {type(value).__name__}.", option=name
            )
    for name in ("timeout", "connect_timeout"):
        if not 0 < values[name] < math.inf:
            raise SettingsError(
                f"{name} of llm is {values[name]}: it must be a number of seconds above 0.",
                option=name,
            )
    window = values["context_window"]
    if window is not None and window < 1:
        raise SettingsError(
            f"context_window of llm is {window}: it must be a positive number of tokens, or left "
            "out if it is not known.",
            option="context_window",
        )


def check_names(given: Iterable[object], known: Iterable[str]) -> None:
    """Lets the keys of a user's dict pass if they are fields of an ``LLMConfig``.

    Raises:
        SettingsError: One is not; the message has the field that was probably meant.
    """
    # apiKey, api-key and API_KEY are all one letter-for-letter comparison away from api_key.
    folded = {_folded(name): name for name in known}
    for name in given:
        if name in folded.values():
            continue
        close = difflib.get_close_matches(_folded(str(name)), folded, n=1, cutoff=0.7)
        hint = (
            f"did you mean {folded[close[0]]!r}?"
            if close
            else f"it has {', '.join(folded.values())}. Request options, such as temperature, go "
            "into options."
        )
        raise SettingsError(f"llm has no setting {shown(str(name))}: {hint}", option="llm")


def check_choice(provider: str, model: str) -> None:
    """Lets a provider and a model pass if there is the one and can be the other.

    Raises:
        SettingsError: There is no such provider, or the model is missing or a key.
    """
    if provider not in PROVIDERS:
        close = difflib.get_close_matches(provider, PROVIDERS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(PROVIDERS)}."
        raise SettingsError(f"There is no provider {shown(provider)}: {hint}", option="provider")
    if not model:
        raise SettingsError(
            f"{provider} is a provider: name one of its models, too, as in '{provider}:MODEL'.",
            option="model",
        )
    if looks_like_key(model):
        raise SettingsError(
            "What stands where the model belongs looks like a key, and is not shown here. Name a "
            "model, such as 'openai:gpt-4o-mini', and enter the key with `%dexto key`, or as "
            "api_key.",
            option="model",
        )


def check_provider_of(text: str, implied: str) -> None:
    """Lets ``"name:model"`` pass unless its name is nearly a provider's.

    Raises:
        SettingsError: It is: the implied provider would be asked for it, and be given its key.
    """
    name, _colon, model = text.partition(":")
    close = difflib.get_close_matches(name.strip().lower(), PROVIDERS, n=1, cutoff=_CLOSE)
    if close:
        raise SettingsError(
            f"There is no provider {shown(name)}: did you mean {shown(f'{close[0]}:{model}')}? If "
            f"that is how a model's name begins, write its provider before it: '{implied}:…'.",
            option="model",
        )


def checked_url(url: str, option: str, variable_name: str | None = None) -> BaseURL:
    """``url``, if an API may be there.

    Args:
        url: What was given.
        option: The setting as it is named in Python.
        variable_name: The environment variable that it came from, or ``None``.

    Raises:
        SettingsError: It is no URL of HTTP.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", url):
        raise SettingsError(
            f"{variable_name or f'{option} of llm'} is {shown(shown_url(url))}: it must be a URL "
            "such as 'https://api.openai.com/v1'.",
            option=option,
            variable=variable_name,
        )
    return BaseURL(url)


def _folded(name: str) -> str:
    return re.sub(r"\W|_", "", name).lower()
