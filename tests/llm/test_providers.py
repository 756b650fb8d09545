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

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("anthropc:claude-3", "anthropic:claude-3"),
            ("opnai:gpt-4o", "openai:gpt-4o"),
            (" Ollma : llama3:8b", "ollama: llama3:8b"),
        ],
    )
    def test_a_mistyped_provider_is_not_taken_for_a_model_of_openais(self, text, meant):
        for value in (text, {"model": text}):
            with pytest.raises(SettingsError, match="did you mean") as caught:
                llm_config(value)
            assert f"did you mean {meant!r}?" in str(caught.value)
            assert "'openai:…'" in str(caught.value), "in case that the model is called so"

    @pytest.mark.parametrize(
        "model", ["mixtral:8x7b", "llama3:8b", "deepseek-r1:7b", "ft:gpt-4o:org::id", "phi4:14b"]
    )
    def test_a_models_name_with_a_colon_is_not_taken_for_a_mistyped_provider(self, model):
        assert llm_config(model).model == model

    def test_at_a_url_of_ones_own_models_may_have_any_name(self):
        config = llm_config({"model": "opnai:x", "base_url": "http://gpu:8000/v1"})
        assert (config.provider, config.model) == ("openai", "opnai:x")
        assert with_model(config, "vlllm:x").model == "vlllm:x"

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("anthropic", "DEXTO_MODEL is 'anthropic': anthropic is a provider: name one"),
            ("opnai:gpt-4o", "DEXTO_MODEL is 'opnai:gpt-4o': There is no provider 'opnai': did"),
            ("sk-proj-abcdefgh1234", "DEXTO_MODEL is (not shown: it looks like a key): What"),
            ("openai:sk-proj-abc", "DEXTO_MODEL is (not shown: it looks like a key): What"),
        ],
    )
    def test_in_a_variable_are_named_with_it(self, value, words):
        with pytest.raises(SettingsError) as caught:
            llm_config(value, variable="DEXTO_MODEL")
        assert str(caught.value).startswith(words)
        assert (caught.value.variable, caught.value.option) == ("DEXTO_MODEL", "model")
        assert llm_config("openai:o3", variable="DEXTO_MODEL") == llm_config("openai:o3")


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

    @pytest.mark.parametrize("provider", ["ollama", "lmstudio", "vllm"])
    @pytest.mark.parametrize("model", ["mistral-nemo:12b", "opnai:x", "llama:7b"])
    def test_open_models_have_names_with_colons(self, provider, model):
        config = with_model(llm_config(f"{provider}:m"), model)
        assert (config.provider, config.model) == (provider, model)

    def test_a_model_of_ollamas_may_be_called_as_a_provider_is(self):
        assert spec(with_model(llm_config("ollama:llama3"), "mistral")) == "ollama:mistral"

    @pytest.mark.parametrize("base", [BASE, llm_config("practice")])
    @pytest.mark.parametrize("model", ["", "groq", "sk-proj-abcdef"])
    def test_what_is_no_model_is_refused(self, base, model):
        with pytest.raises(SettingsError):
            with_model(base, model)


class TestPracticeAsTheDefault:
    """It is a stand-in that was chosen: no other name may become one of its models."""

    @pytest.mark.parametrize("base", ["practice", "practice:slow"])
    @pytest.mark.parametrize("model", ["gpt-4o", "nosuch", "slow", "mistral-nemo:12b"])
    def test_a_name_without_a_provider_is_refused(self, base, model):
        with pytest.raises(SettingsError, match=r"name the provider, too, as in 'openai:gpt-4o'"):
            with_model(llm_config(base), model)

    def test_a_mistyped_provider_is_told(self):
        with pytest.raises(SettingsError, match=r"did you mean 'openai:gpt-4o'\?"):
            with_model(llm_config("practice"), "opnai:gpt-4o")

    @pytest.mark.parametrize("model", ["practice", "practice:slow", "openai:gpt-4o", "ollama:phi"])
    def test_a_full_name_is_taken(self, model):
        assert with_model(llm_config("practice"), model) == llm_config(model)


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
