"""Which error a failure is, and the words for it."""

import socket

import httpx2
import openai
import pytest

from dexto_magic.errors import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
)
from dexto_magic.llm.failures import Target
from dexto_magic.llm.openai_client import failure_of
from dexto_magic.llm.providers import LLMConfig
from dexto_magic.llm.server_errors import error_answer
from tests.support.asking import ask, error_of, request
from tests.support.openai_answers import (
    chunk,
    cut,
    cut_whole,
    events,
    json_answer,
    raw,
    silent,
    status,
)

TARGET = Target(
    provider="openai",
    model="gpt-4o",
    base_url="https://api.openai.com/v1",
    key=None,
    timeout=120.0,
    connect_timeout=10.0,
)
SENT = httpx2.Request("POST", "https://api.openai.com/v1/chat/completions")


def at(server, **fields):
    return LLMConfig(provider="openai", model="gpt-4o", base_url=server.base_url, **fields)


class TestWords:
    @pytest.mark.parametrize(
        ("cause", "words", "again"),
        [
            (httpx2.ConnectTimeout, "did not accept a connection within 10 s", True),
            (httpx2.PoolTimeout, "did not accept a connection within 10 s", True),
            (httpx2.ReadTimeout, "did not send anything within 120 s", False),
            (httpx2.WriteTimeout, "did not send anything within 120 s", False),
        ],
    )
    def test_only_a_connection_that_takes_too_long_is_tried_again(self, cause, words, again):
        exc = openai.APITimeoutError(request=SENT)
        exc.__cause__ = cause("")
        failure = failure_of(exc, TARGET, began=False)
        assert words in str(failure.exception())
        assert failure.retryable is again

    def test_a_refused_key(self, server):
        error = error_of(server, status(401, "Incorrect API key provided: sk-ab*****yz."))
        assert isinstance(error, ModelAuthenticationError)
        assert "does not accept the key (401): Incorrect API key provided: [key]." in str(error)
        assert "%dexto key" in str(error)
        assert "OPENAI_API_KEY" in str(error)

    @pytest.mark.parametrize(
        ("said", "shown"),
        [
            ("Your api key: ****QwUk is invalid", "Your api key: [key] is invalid."),
            ("bad key sk-proj-Q2x...=key", "bad key [key]."),
        ],
    )
    def test_a_refused_key_of_which_the_server_shows_the_ends(self, server, said, shown):
        assert shown in str(error_of(server, status(401, said)))

    @pytest.mark.parametrize("key", ["ollama", "k", "e"])
    def test_a_dummy_key_costs_no_words(self, key):
        with socket.socket() as taken:  # bound and not listening: nobody else answers there
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
            llm = {"provider": "ollama", "model": "llama3", "base_url": url}
            message = str(ask(llm, key=key).error)
        assert f"ollama (llama3) could not be reached at {url}" in message
        assert "Is it running on this machine? `ollama serve` starts it." in message

    def test_a_missing_key(self, server):
        assert "wants a key" in str(error_of(server, status(401), provider="vllm", key=None))

    def test_googles_way_to_refuse_a_key(self, server):
        inner = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}
        error = error_of(server, status(400, body=[{"error": inner}]), provider="google")
        assert isinstance(error, ModelAuthenticationError)
        assert "GEMINI_API_KEY" in str(error)

    def test_something_the_key_may_not_do(self, server):
        error = error_of(server, status(403, "Project has no access."))
        assert isinstance(error, ModelAuthenticationError)
        assert "Project has no access." in str(error)

    def test_an_unknown_model_with_the_names_that_are_close(self, server):
        server.models = ["gpt-4o", "gpt-4o-mini", "o3"]
        missing = status(404, "The model `gpt4o` does not exist", error_code="model_not_found")
        error = error_of(server, missing, model="gpt4o")
        assert isinstance(error, ModelRequestError)
        assert "Did you mean 'gpt-4o' or 'gpt-4o-mini'?" in str(error)

    def test_an_unknown_model_where_none_is_close(self, server):
        server.models = []
        error = error_of(server, status(400, "zz is not a valid model ID"), model="zz")
        assert "knows no model of that name" in str(error)

    def test_a_path_that_is_not_there(self, server):
        error = error_of(server, status(404, body={"detail": "Not Found"}))
        assert isinstance(error, ModelRequestError)
        assert f"nothing at {server.base_url}/chat/completions: Not Found." in str(error)
        assert "/v1" in str(error)
        assert [sent.method for sent in server.requests] == ["POST"]

    def test_a_page_of_a_proxy_is_shown_by_its_title(self, server):
        page = b"<!DOCTYPE html><html><head><title>Blocked by\n policy</title></head></html>"
        error = error_of(server, status(451, body=page))
        assert "(451): Blocked by policy." in str(error)

    def test_a_long_and_dirty_message_is_cut_and_cleaned(self, server):
        error = error_of(server, status(400, "bad\x1b[31m\x00\r\nline " + "x" * 1000))
        assert "bad [31m line x" in str(error)
        assert len(str(error)) < 450

    def test_a_silent_server(self, server):
        server.script(silent())
        heard = ask(at(server, timeout=0.05))
        assert isinstance(heard.error, ModelUnavailableError)
        assert "did not send anything within 0.1 s" in str(heard.error)
        assert len(server.chats) == 1, "it may be at work on a reply that is paid for"

    def test_a_server_that_falls_silent(self, server):
        server.script(silent("Hel"))
        heard = ask(at(server, timeout=0.05))
        assert isinstance(heard.error, ModelUnavailableError)
        assert heard.text == "Hel"

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            ({"message": "Overloaded", "type": "overloaded_error"}, ModelUnavailableError),
            ({"message": "Slow down", "code": 429}, ModelRateLimitError),
            ({"message": "Slow down", "type": "rate_limit_error"}, ModelRateLimitError),
            ({"message": "maximum context length is 8"}, ContextOverflowError),
            ({"message": "No", "type": "invalid_request_error"}, ModelRequestError),
            ("an error was encountered while running the model", ModelUnavailableError),
            ({}, None),
        ],
    )
    def test_an_error_amid_the_stream(self, server, error, kind):
        server.script(
            events(chunk({"content": "Hel"}), {"error": error}, chunk({}, finish_reason="stop"))
        )
        heard = ask(at(server))
        assert heard.text == "Hel"
        assert heard.notices == []
        assert type(heard.error) is (kind or type(None))
        if isinstance(error, dict) and kind:
            assert error["message"] in str(heard.error)

    def test_an_error_in_place_of_a_whole_reply(self, server):
        server.script(json_answer({"error": {"message": "Slow down", "code": 429}}))
        assert isinstance(ask(at(server), request(stream=False)).error, ModelRateLimitError)

    def test_an_error_as_vllm_puts_it_amid_a_stream(self, server):
        told = {"object": "error", "message": "prompt is too long", "code": 400}
        server.script(events(chunk({"content": "Hel"}), told))
        heard = ask(at(server))
        assert isinstance(heard.error, ContextOverflowError)
        assert heard.text == "Hel"

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (cut("Hel"), "broke off before the end of the reply"),
            (
                events(chunk({"content": "Hel"}), done=False),
                "broke off before the end of the reply",
            ),
            (raw(b"data: {not json}\n\n"), "sent something that is not a chat completion"),
            (raw(b"<html>", content_type="text/html"), "not a chat completion: text/html"),
        ],
    )
    def test_a_reply_that_is_cut_or_garbled(self, server, answer, words):
        assert words in str(error_of(server, answer))

    def test_a_model_that_ollama_could_fetch(self, server):
        missing = status(404, body={"error": "model 'zz' not found"})
        assert "`ollama pull zz`" in str(error_of(server, missing, provider="ollama", model="zz"))

    def test_a_whole_reply_that_is_cut_is_not_asked_for_again(self, server):
        server.script(cut_whole('{"choices": ['))
        heard = ask(at(server), request(stream=False))
        assert isinstance(heard.error, ModelUnavailableError)
        assert len(server.chats) == 1


class TestTooLong:
    @pytest.mark.parametrize(
        "message",
        [
            "This model's maximum context length is 8192 tokens. However, your messages have 9000.",
            "Your input exceeds the context window of this model.",
            "prompt is too long: 213462 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            "Please reduce the length of the messages or completion.",
            "the request exceeds the available context size, try increasing it",
            "The number of tokens to keep from the initial prompt is greater than the context length.",
            "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
            "The input (400013 tokens) is longer than the model's context length (262144 tokens).",
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
            "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.",
            "too many tokens in the prompt",
        ],
    )
    def test_every_providers_wording_is_understood(self, server, message):
        error = error_of(server, status(400, message))
        assert isinstance(error, ContextOverflowError)
        for way_out in ("`%dexto compact`", "`%dexto set overflow=trim`", "larger context window"):
            assert way_out in str(error)

    @pytest.mark.parametrize(
        ("message", "window"),
        [
            ("This model's maximum context length is 8192 tokens. However, you sent 9000.", 8192),
            ("prompt is too long: 213462 tokens > 200000 maximum", 200_000),
            ("`max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease", 200_000),
            (
                "input token count (9) exceeds the maximum number of tokens allowed (1_048_575).",
                1_048_575,
            ),
            ("maximum prompt length is 131,072 but the request contains 537812 tokens.", 131_072),
            ("the request exceeds the available context size (4096 tokens), try", 4096),
            ("the model is loaded with context length of only 4096 tokens", 4096),
            ("(length 5000) is longer than the maximum model length of 4096.", 4096),
            ("is longer than the model's context length (262144 tokens).", 262_144),
            ("too large for model with 32768 maximum context length", 32_768),
            ("131393 exceeds the maximum allowed input length of 131040 tokens.", 131_040),
            ("Your input exceeds the context window of this model.", None),
            ("Please reduce the length of the messages or completion.", None),
            ("the request exceeds the available context size, try increasing it", None),
            ("more than the context window of 128k tokens", None),
            ("more than the context window of 1.5M tokens", None),
            ("maximum context length is 0 tokens", None),
        ],
    )
    def test_the_number_that_it_says_is_taken(self, server, message, window):
        assert error_of(server, status(400, message)).window == window

    def test_the_code_is_enough(self, server):
        refusal = status(400, "No.", error_code="context_length_exceeded")
        assert isinstance(error_of(server, refusal), ContextOverflowError)

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (400, "max_tokens is too large: 100000. This model supports 16384 completion tokens."),
            (400, "Unsupported value: 'temperature'"),
            (
                413,
                "Request too large on tokens per minute (TPM): reduce the length of the messages",
            ),
            (429, "Too many tokens, please wait before trying again."),
            (404, "The model `context-window-9` does not exist"),
        ],
    )
    def test_other_refusals_are_not_mistaken_for_it(self, code, message):
        assert error_answer(code, {"message": message}, {}, None).error is not ContextOverflowError
