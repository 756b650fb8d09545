"""The provider table: who can be asked, where, and what is known of it.

Pure data, each row with the page that it was taken from; what a user makes of it is decided in
``providers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PRACTICE = "practice"
"""The provider that needs neither a key nor a network, and its default model."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A row of the provider table.

    Attributes:
        name: As it stands in ``"provider:model"``.
        base_url: Where its Chat Completions API is; ``None`` if every customer has another.
        key_variable: The environment variable that holds its key, or ``None``.
        base_url_variable: The environment variable that moves it elsewhere, or ``None``.
        needs_key: Whether it refuses to answer without a key.
        stream_options: Whether it accepts ``stream_options``, by which a stream reports usage.
    """

    name: str
    base_url: str | None
    key_variable: str | None = None
    base_url_variable: str | None = None
    needs_key: bool = True
    stream_options: bool = True


_ROWS = (
    # https://platform.openai.com/docs/api-reference; both variables are those of its own client.
    Provider(
        name="openai",
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        base_url_variable="OPENAI_BASE_URL",
    ),
    # https://docs.ollama.com/api/openai-compatibility; OLLAMA_HOST: https://docs.ollama.com/faq
    Provider(
        name="ollama",
        base_url="http://127.0.0.1:11434/v1",
        key_variable="OLLAMA_API_KEY",
        base_url_variable="OLLAMA_HOST",
        needs_key=False,
    ),
    # https://lmstudio.ai/docs/developer/openai-compat
    Provider(name="lmstudio", base_url="http://127.0.0.1:1234/v1", needs_key=False),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    Provider(
        name="vllm",
        base_url="http://127.0.0.1:8000/v1",
        key_variable="VLLM_API_KEY",
        needs_key=False,
    ),
    # https://openrouter.ai/docs/quickstart
    Provider(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
    ),
    # https://console.groq.com/docs/openai
    Provider(name="groq", base_url="https://api.groq.com/openai/v1", key_variable="GROQ_API_KEY"),
    # https://docs.together.ai/docs/inference/openai-compatibility
    Provider(
        name="together", base_url="https://api.together.ai/v1", key_variable="TOGETHER_API_KEY"
    ),
    # https://docs.mistral.ai/api; it answers stream_options with 422 and reports usage unasked:
    # https://github.com/openai/openai-agents-python/issues/442
    Provider(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        key_variable="MISTRAL_API_KEY",
        stream_options=False,
    ),
    # https://api-docs.deepseek.com
    Provider(
        name="deepseek", base_url="https://api.deepseek.com/v1", key_variable="DEEPSEEK_API_KEY"
    ),
    # https://ai.google.dev/gemini-api/docs/openai
    Provider(
        name="google",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai/",
        key_variable="GEMINI_API_KEY",
    ),
    # https://platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk
    Provider(
        name="anthropic",
        base_url="https://api.anthropic.com/v1/",
        key_variable="ANTHROPIC_API_KEY",
    ),
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle: the v1 API, at
    # https://<resource>.openai.azure.com/openai/v1/
    Provider(name="azure", base_url=None, key_variable="AZURE_OPENAI_API_KEY"),
    # A transport inside this package. RFC 2606 keeps .invalid out of every network.
    Provider(name=PRACTICE, base_url="http://practice.invalid/v1", needs_key=False),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType({row.name: row for row in _ROWS})
"""The provider table, by name."""

# https://platform.openai.com/docs/models. Nothing is cut on a guess: of other providers, whose
# windows differ by account and change under one name, none stands here.
_CONTEXT_WINDOWS: Mapping[str, int] = MappingProxyType(
    {
        "gpt-3.5-turbo": 16_385,
        "gpt-4": 8_192,
        "gpt-4-turbo": 128_000,
        "gpt-4o": 128_000,
        "gpt-4o-mini": 128_000,
        "gpt-4.1": 1_047_576,
        "gpt-4.1-mini": 1_047_576,
        "gpt-4.1-nano": 1_047_576,
        "gpt-5": 400_000,
        "gpt-5-mini": 400_000,
        "gpt-5-nano": 400_000,
        "o1": 200_000,
        "o3": 200_000,
        "o3-mini": 200_000,
        "o4-mini": 200_000,
    }
)
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def known_context_window(model: str) -> int | None:
    """The context window in tokens of a model of OpenAI's or a dated snapshot of one, if known."""
    return _CONTEXT_WINDOWS.get(_SNAPSHOT.sub("", model))
