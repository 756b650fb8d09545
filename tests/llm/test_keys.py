"""Where a model is asked, and with which key; what to do if there is none."""

import http.server
import socket
import threading

import pytest

from dexto_magic.errors import ModelAuthenticationError, SettingsError
from dexto_magic.llm.discretion import Secret
from dexto_magic.llm.local import is_loopback, ollama_models, ollama_url
from dexto_magic.llm.provider_table import PROVIDERS
from dexto_magic.llm.providers import LLMConfig, base_url_of, key_of, llm_config, required_key


@pytest.fixture(autouse=True)
def no_ollama(monkeypatch):
    """Whatever runs on this machine's usual port is not asked."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")


class TestBaseURL:
    def test_the_configured_one_wins_then_the_variable_then_the_table(self, monkeypatch):
        config = llm_config("openai:gpt-4o")
        assert base_url_of(config) == "https://api.openai.com/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
        assert base_url_of(config) == "https://gateway.example/v1"
        config = llm_config({"model": "gpt-4o", "base_url": "http://here/v1"})
        assert base_url_of(config) == "http://here/v1"

    def test_a_variable_moves_its_own_provider_only(self, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
        assert base_url_of(llm_config("groq:llama")) == "https://api.groq.com/openai/v1"

    def test_a_variable_that_holds_no_url_is_named(self, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "gateway")
        with pytest.raises(SettingsError, match="OPENAI_BASE_URL is 'gateway'") as caught:
            base_url_of(llm_config("openai:gpt-4o"))
        assert caught.value.variable == "OPENAI_BASE_URL"

    def test_azure_has_to_be_told(self):
        with pytest.raises(SettingsError, match=r"openai\.azure\.com"):
            base_url_of(llm_config("azure:gpt-4o"))

    def test_every_row_of_the_table_can_be_asked(self, monkeypatch):
        monkeypatch.delenv("OLLAMA_HOST")
        for provider in PROVIDERS.values():
            if provider.base_url is not None:
                assert base_url_of(llm_config(f"{provider.name}:m")) == provider.base_url

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("", "http://127.0.0.1:11434"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            (":8080", "http://127.0.0.1:8080"),
            ("gpu", "http://gpu:11434"),
            ("gpu:80", "http://gpu:80"),
            (' "gpu" ', "http://gpu:11434"),
            ("http://gpu", "http://gpu:80"),
            ("https://gpu", "https://gpu:443"),
            ("http://gpu:8080/ollama/", "http://gpu:8080/ollama"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("[::]", "http://127.0.0.1:11434"),
            ("::1", "http://[::1]:11434"),
        ],
    )
    def test_ollamas_host_in_all_its_spellings(self, host, url, monkeypatch):
        assert ollama_url(host) == url
        if host:
            monkeypatch.setenv("OLLAMA_HOST", host)
            assert base_url_of(llm_config("ollama:llama3")) == f"{url}/v1"

    @pytest.mark.parametrize(
        ("url", "here"),
        [
            ("http://127.0.0.1:1234/v1", True),
            ("http://127.8.9.10/", True),
            ("http://localhost/v1", True),
            ("http://api.localhost./v1", True),
            ("http://[::1]:8000", True),
            ("http://0.0.0.0:8000", True),
            ("https://api.openai.com/v1", False),
            ("http://localhost.evil.example/", False),
            ("http://127.0.0.1.evil.example/", False),
            ("http://127.0.0.1@evil.example/", False),
            ("http://192.168.0.5/", False),
        ],
    )
    def test_what_stays_on_this_machine(self, url, here):
        assert is_loopback(url) is here


class TestKeys:
    def test_the_configured_one_wins_then_the_entered_then_the_variable(self, monkeypatch):
        config = llm_config("openai:gpt-4o")
        assert key_of(config, {"groq": "sk-groq"}) is None
        monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
        assert key_of(config, {}) == "sk-variable"
        assert key_of(config, {"openai": "sk-entered"}) == "sk-entered"
        config = llm_config({"model": "gpt-4o", "api_key": "sk-argument"})
        assert key_of(config, {"openai": "sk-entered"}) == "sk-argument"

    def test_the_providers_own_goes_wherever_its_base_url_leads(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
        elsewhere = {"model": "llama3", "base_url": "http://1.2.3.4:8000/v1"}
        assert key_of(llm_config(elsewhere), {}) == "sk-openai"
        assert key_of(llm_config({"provider": "vllm", **elsewhere}), {}) is None

    def test_a_repr_never_shows_one(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
        config = LLMConfig(provider="openai", model="gpt-4o", api_key="sk-argument")
        assert "sk-argument" not in repr(config)
        assert repr(config.api_key) == repr(key_of(llm_config("gpt-4o"), {})) == "'[key]'"
        assert f"Bearer {Secret('sk-1')}" == "Bearer sk-1"

    @pytest.mark.parametrize(
        "value",
        [
            "ollama:llama3",
            "lmstudio:qwen",
            "vllm:qwen",
            "practice",
            {"model": "m", "base_url": "http://localhost:8000/v1"},
            {"provider": "vllm", "model": "m", "base_url": "http://gpu:8000/v1"},
        ],
    )
    def test_none_is_needed_here(self, value):
        assert required_key(llm_config(value), {}) is None

    def test_openais_own_variable_may_lead_to_this_machine(self, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
        assert required_key(llm_config("openai:gpt-4o"), {}) is None

    def test_one_that_is_there_is_sent_even_where_none_is_needed(self, monkeypatch):
        monkeypatch.setenv("VLLM_API_KEY", "sk-local")
        assert required_key(llm_config("vllm:qwen"), {}) == "sk-local"

    @pytest.mark.parametrize("provider", [p.name for p in PROVIDERS.values() if p.needs_key])
    def test_a_missing_one_names_the_ways_out_in_order(self, provider, monkeypatch):
        monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")  # whoever runs this may have an Ollama
        config = LLMConfig(provider=provider, model="m", base_url="https://api.example/v1")
        with pytest.raises(ModelAuthenticationError) as caught:
            required_key(config, {})
        message = str(caught.value)
        variable = PROVIDERS[provider].key_variable
        places = [message.index(way) for way in (variable, "%dexto key", "%dexto model practice")]
        assert places == sorted(places)
        assert "Ollama" not in message, "none answers here"
        assert (caught.value.provider, caught.value.model) == (provider, "m")


class TestOllama:
    def test_an_ollama_on_this_machine_is_a_way_out(self, server, monkeypatch):
        monkeypatch.setenv("OLLAMA_HOST", server.root_url)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        server.models = ["llama3.2:latest", "mistral:7b"]
        assert ollama_models() == ["llama3.2:latest", "mistral:7b"]
        with pytest.raises(ModelAuthenticationError) as caught:
            required_key(llm_config("openai:gpt-4o"), {})
        assert "'ollama:llama3.2:latest', 'ollama:mistral:7b'" in str(caught.value)

    def test_it_is_asked_only_for_that_error(self, server, monkeypatch):
        monkeypatch.setenv("OLLAMA_HOST", server.root_url)
        required_key(llm_config({"model": "m", "api_key": "sk-1"}), {})
        required_key(llm_config("ollama:llama3"), {})
        assert server.requests == []

    def test_one_elsewhere_is_not_asked(self, monkeypatch):
        def connect(*_args, **_kwargs):
            raise AssertionError("the question left this machine")

        monkeypatch.setattr(socket, "create_connection", connect)
        monkeypatch.setenv("OLLAMA_HOST", "ollama.example:11434")
        assert ollama_models() == []

    @pytest.mark.parametrize("host", ["127.0.0.1:9", "https://127.0.0.1:9", "http://[x", "a:b:c"])
    def test_one_that_is_not_here_is_none(self, host, monkeypatch):
        monkeypatch.setenv("OLLAMA_HOST", host)
        assert ollama_models() == []

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b'{"models": 5}', b'{"models": [5]}', b"x"]
    )
    def test_another_server_on_its_port_is_none(self, body, monkeypatch):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as other:
            thread = threading.Thread(target=other.handle_request)
            thread.start()
            monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{other.server_port}")
            assert ollama_models(timeout=5) == []
            thread.join()
