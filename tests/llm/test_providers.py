"""What a choice of model comes to: a provider, a model, and what goes with them."""

import pytest

from dexto_magic.errors import SettingsError
from dexto_magic.llm.providers import LLMConfig, context_window_of, llm_config, spec, with_model

KEYS = [
    "sk-proj-abcdefgh1234",
    "sk-ant-api03-xyz",
    "gsk_abcdef",
    "AIzaSyA-abc",
    "xai-abcdef",
    "hf_abcdef",
    "Bearer abc",
    "0123456789abcdef0123456789abcdef",
]


class TestChoosing:
    @pytest.mark.parametrize(
        ("value", "provider", "model"),
        [
            ("openai:gpt-4o-mini", "openai", "gpt-4o-mini"),
            ("gpt-4o-mini", "openai", "gpt-4o-mini"),
            (" OpenAI : gpt-4o ", "openai", "gpt-4o"),
            ("llama3.2:latest", "openai", "llama3.2:latest"),
            ("ollama:llama3.2:latest", "ollama", "llama3.2:latest"),
            ("ollama:mistral:7b", "ollama", "mistral:7b"),
            ("openrouter:openai/gpt-4o:free", "openrouter", "openai/gpt-4o:free"),
            ("practice", "practice", "practice"),
            ("practice:slow", "practice", "slow"),
            ({"provider": "openai", "model": "gpt-4o-mini"}, "openai", "gpt-4o-mini"),
            ({"model": "ollama:llama3"}, "ollama", "llama3"),
            ({"model": "gpt-4o"}, "openai", "gpt-4o"),
            ({"provider": "ollama", "model": "mistral:7b"}, "ollama", "mistral:7b"),
            ({"provider": "practice"}, "practice", "practice"),
            ({"provider": "practice", "model": None}, "practice", "practice"),
        ],
    )
    def test_every_form_names_a_provider_and_a_model(self, value, provider, model):
        config = llm_config(value)
        assert (config.provider, config.model) == (provider, model)

    def test_the_tutorials_dict(self):
        config = llm_config({"provider": "openai", "model": "gpt-4o-mini", "api_key": " sk-1\n"})
        assert config.api_key == "sk-1"
        assert config == LLMConfig(provider="openai", model="gpt-4o-mini", api_key="sk-1")

    def test_every_field_of_a_dict_is_kept(self):
        fields = {
            "provider": "vllm",
            "model": "qwen",
            "api_key": "k",
            "base_url": "http://gpu:8000/v1",
            "options": {"temperature": 0},
            "context_window": 32_000,
            "timeout": 600,
            "connect_timeout": 5,
        }
        assert llm_config(fields) == LLMConfig(**fields)

    def test_what_is_blank_counts_as_not_given(self):
        config = llm_config({"model": "gpt-4o", "api_key": "", "base_url": " "})
        assert (config.api_key, config.base_url) == (None, None)

    def test_a_configuration_stands_for_itself(self):
        config = LLMConfig(provider="openai", model="gpt-4o")
        assert llm_config(config) is config

    @pytest.mark.parametrize(
        "text", ["openai:gpt-4o", "ollama:mistral:7b", "practice", "practice:slow"]
    )
    def test_what_is_stored_is_read_back(self, text):
        assert spec(llm_config(text)) == text

    def test_options_are_the_configurations_own(self):
        options = {"temperature": 0}
        config = llm_config({"model": "gpt-4o", "options": options})
        options["temperature"] = 2
        assert config.options == {"temperature": 0}


class TestMistakes:
    @pytest.mark.parametrize(
        ("value", "hint"),
        [
            ({"model": "gpt-4o", "apiKey": "sk-1"}, "did you mean 'api_key'?"),
            ({"model": "gpt-4o", "baseURL": "http://x"}, "did you mean 'base_url'?"),
            ({"modle": "gpt-4o"}, "did you mean 'model'?"),
            ({"model": "gpt-4o", "contextWindow": 5}, "did you mean 'context_window'?"),
            ({"model": "gpt-4o", "temperature": 0}, "go into options"),
            ({"model": "gpt-4o", 5: 0}, "no setting '5'"),
            ({"model": "gpt-4o", "timeout": 0}, "timeout of llm is 0"),
            ({"model": "gpt-4o", "timeout": "1"}, "timeout of llm must be a number of seconds"),
            ({"model": "gpt-4o", "connect_timeout": float("nan")}, "connect_timeout of llm is nan"),
            ({"provider": "opnai", "model": "gpt-4o"}, "did you mean 'openai'?"),
            ({"provider": "skynet", "model": "t-800"}, "known are openai, ollama"),
            ({"provider": "openai"}, "'openai:MODEL'"),
            ({}, "'openai:MODEL'"),
            ({"provider": "openai", "model": " "}, "'openai:MODEL'"),
            ("", "'openai:MODEL'"),
            ("openai", "'openai:MODEL'"),
            ("ollama:", "'ollama:MODEL'"),
            ({"model": 5}, "model of llm must be a string, not int"),
            ({"provider": 5, "model": "m"}, "provider of llm must be a string, not int"),
            ({"model": "m", "api_key": 5}, "api_key of llm must be a string, not int"),
            ({"model": "m", "options": "hot"}, "options of llm must be a dict, not str"),
            ({"model": "m", "context_window": "8k"}, "must be a number of tokens, not str"),
            ({"model": "m", "context_window": True}, "must be a number of tokens, not bool"),
            ({"model": "m", "context_window": 0}, "must be a positive number"),
            ({"model": "m", "base_url": "api.example.com"}, "must be a URL"),
            ({"model": "m", "base_url": "ftp://x"}, "must be a URL"),
            ({"model": "m", "base_url": "http://[x"}, "must be a URL"),
            ({"model": "m", "base_url": "http://x:port/"}, "must be a URL"),
            ({"model": "m", "base_url": "http://a b/"}, "must be a URL"),
            (5, "not int"),
            (None, "not NoneType"),
        ],
    )
    def test_are_settings_errors_that_say_how_it_is_right(self, value, hint):
        with pytest.raises(SettingsError) as caught:
            llm_config(value)
        assert hint in str(caught.value)

    @pytest.mark.parametrize("key", KEYS)
    def test_a_key_in_the_wrong_place_is_not_shown(self, key):
        for value in (
            key,
            f"openai:{key}",
            {"model": key},
            {"provider": key, "model": "m"},
            {"model": "m", key: 1},
            {"model": "m", "base_url": key},
        ):
            with pytest.raises(SettingsError) as caught:
                llm_config(value)
            assert key not in str(caught.value)

    @pytest.mark.parametrize(
        "name",
        ["gpt-4o-2024-08-06", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "hf.co/bartowski/x:Q4"],
    )
    def test_a_long_name_of_a_model_is_no_key(self, name):
        assert llm_config(name).model == name

    def test_a_verbose_traceback_finds_no_key(self):
        with pytest.raises(SettingsError) as caught:
            llm_config({"model": "", "api_key": "sk-secret", "base_url": "http://x"})
        frames = [entry for entry in caught.traceback if "dexto_magic" in str(entry.path)]
        assert frames
        assert all("sk-secret" not in repr(entry.frame.f_locals) for entry in frames)


class TestModelOfACall:
    BASE = LLMConfig(
        provider="openai",
        model="gpt-4o",
        api_key="sk-1",
        base_url="https://gateway.example/v1",
        options={"temperature": 0},
        context_window=8_000,
    )

    @pytest.mark.parametrize("model", ["o3", "openai:o3"])
    def test_of_the_same_provider_keeps_key_url_and_options(self, model):
        config = with_model(self.BASE, model)
        assert config.model == "o3"
        assert config.api_key == "sk-1"
        assert config.base_url == self.BASE.base_url
        assert config.options == {"temperature": 0}
        assert config.context_window is None, "that was another model's"

    def test_the_same_model_is_the_same_configuration(self):
        assert with_model(self.BASE, "gpt-4o") == self.BASE

    @pytest.mark.parametrize("model", ["groq:llama", "practice", "ollama:llama3"])
    def test_of_another_provider_takes_nothing_along(self, model):
        assert with_model(self.BASE, model) == llm_config(model)

    def test_a_tag_is_part_of_the_models_name(self):
        base = llm_config("ollama:llama3")
        assert with_model(base, "llama3.2:latest") == llm_config("ollama:llama3.2:latest")

    def test_a_model_of_ollamas_may_be_called_as_a_provider_is(self):
        assert spec(with_model(llm_config("ollama:llama3"), "mistral")) == "ollama:mistral"

    @pytest.mark.parametrize("base", [BASE, llm_config("practice")])
    @pytest.mark.parametrize("model", ["", "groq", "sk-proj-abcdef"])
    def test_what_is_no_model_is_refused(self, base, model):
        with pytest.raises(SettingsError):
            with_model(base, model)


class TestContextWindows:
    @pytest.mark.parametrize(
        ("value", "tokens"),
        [
            ("gpt-4o-mini", 128_000),
            ("gpt-4o-2024-08-06", 128_000),
            ("gpt-4o-audio-preview", None),
            ("ollama:gpt-4o", None),
            ({"model": "gpt-4o", "base_url": "http://here/v1"}, None),
            ({"model": "gpt-4o", "context_window": 5}, 5),
            ({"provider": "ollama", "model": "llama3", "context_window": 8_192}, 8_192),
        ],
    )
    def test_are_known_or_not_guessed(self, value, tokens):
        assert context_window_of(llm_config(value)) == tokens

    def test_a_gateway_may_serve_something_else(self, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
        assert context_window_of(llm_config("gpt-4o")) is None
