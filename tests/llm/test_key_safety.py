"""The key is shown nowhere: not in messages, not in what stands behind them."""

import traceback

import openai
import pytest

from dexto_magic.errors import DextoError, SettingsError
from dexto_magic.llm.discretion import redacted, shown_url
from dexto_magic.llm.providers import (
    LLMConfig,
    base_url_of,
    key_of,
    llm_config,
    required_key,
    with_model,
)
from tests.support.asking import KEY, ask, error_of
from tests.support.openai_answers import echo_key, events, hang_up, json_answer, raw, status


def shown_by_a_verbose_traceback(error):
    """The variables of every frame behind an error and its causes, but for this module's."""
    shown = []
    while error is not None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        shown += [frame.f_locals for frame in frames if frame.f_code.co_filename != __file__]
        error = error.__cause__ or error.__context__
    return repr(shown)


class TestTheKey:
    @pytest.mark.parametrize("after", ["", "x" * 290])
    @pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
    def test_is_in_no_error_that_echoes_it_even_where_the_text_is_cut(self, server, code, after):
        error = error_of(server, echo_key(code, after=after))
        shown = "".join(traceback.format_exception(error))
        assert "[key]" in str(error)
        for secret in (KEY, "sk-proj-Q2x%2F9", KEY[:12]):
            assert secret not in shown
        assert error.__cause__ is None
        assert error.__context__ is None

    @pytest.mark.parametrize(
        "answers",
        [
            [hang_up()] * 3,
            [echo_key()],
            [echo_key(500)] * 3,
            [events({"error": {"message": KEY}})],
            [json_answer({"error": KEY})],
            [raw(f"data: {KEY}\n\n".encode())],
        ],
    )
    def test_is_in_no_frame_behind_an_error(self, server, answers):
        """A verbose traceback prints the local variables of every frame in the chain."""
        error = error_of(server, *answers)
        ours = [
            repr(frame.f_locals)
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if "/dexto_magic/" in frame.f_code.co_filename
        ]
        assert ours
        assert KEY not in "".join(ours)
        cause = error.__cause__
        while cause is not None:
            assert cause.__traceback__ is None
            cause = cause.__cause__ or cause.__context__

    def test_a_foreign_error_without_it_stands_behind_ours(self, server):
        assert isinstance(error_of(server, *[hang_up()] * 3).__cause__, openai.APIConnectionError)

    def test_is_in_no_message_about_where_the_server_sends_us(self, server):
        refusal = status(302, headers={"location": f"https://evil.example/?key={KEY}"})
        error = error_of(server, refusal)
        assert KEY not in str(error)
        assert "https://evil.example/?key=[key] (302)" in str(error)

    def test_is_in_no_stream_error_or_url(self, server):
        server.script(events({"error": {"message": f"bad {KEY}"}}))
        url = server.base_url.replace("//", f"//user:{KEY[:3]}@") + f"?key={KEY}"
        heard = ask({"model": "gpt-4o", "base_url": url})
        assert KEY not in str(heard.error)


class TestWhatIsLeftOfAKey:
    """Servers quote a key that they refuse with its middle taken out."""

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("Incorrect API key provided: sk-ab*****yz.", "Incorrect API key provided: [key]."),
            ("Your api key: ****QwUk is invalid", "Your api key: [key] is invalid"),
            ("Invalid key sk-proj-...cdef", "Invalid key [key]"),
            ("provided: sk-proj-SEC...cdef.", "provided: [key]."),
            ("key 'gsk_ab…yz', AIzaSy...w", "key '[key]', [key]"),
            ("Bearer a1b2••••c3d4", "Bearer [key]"),
            ("(sk-ab***yz***) x***", "([key]) [key]"),
        ],
    )
    def test_is_not_shown_whoever_s_it_is(self, text, shown):
        assert redacted(text, None) == redacted(text, KEY) == shown

    @pytest.mark.parametrize("text", ["abcd...wxyz", "abcdef…", "...56wxyz", "abc....z"])
    def test_is_known_by_its_ends(self, text):
        assert redacted(f"key {text}!", "abcdef123456wxyz") == "key [key]!"

    @pytest.mark.parametrize(
        "text",
        [
            "loading...done, wait...",
            "a ** b **c** * d",
            "*****",
            "ask-...",
            "risk-…",
            "abc...",
            "…",
        ],
    )
    def test_is_not_seen_in_prose(self, text):
        assert redacted(text, "zyxwvu987654") == text

    @pytest.mark.parametrize("text", ["q" * 100_000 + "**", "*" * 100_000, "sk-" * 30_000])
    def test_is_looked_for_in_any_text(self, text):
        assert redacted(text, "zyxwvu987654") == text


class TestADummyKey:
    @pytest.mark.parametrize("key", ["ollama", "k", "x", "EMPTY", "1234567"])
    def test_takes_no_words_out_of_a_message(self, key):
        text = "`ollama serve` broke off: EMPTY box 1234567"
        assert redacted(text, key) == text

    def test_of_eight_characters_may_be_a_key(self):
        assert redacted("a 12345678 b", "12345678") == "a [key] b"


class TestURLs:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://user:hunter2@h:8/v1?api-key=zzz#f", "https://h:8/v1"),
            ("https://user:hunter2@h:0/v1", "https://h:0/v1"),
            ("https://user:hun/ter2@h/v1", "https://h/v1"),
            ("https://user:hun?ter2@h/v1?zzz", "https://h/v1"),
            ("https://user:hun#ter2@h/v1", "https://h/v1"),
            ("user:hunter2@h/v1", "h/v1"),
            ("http://user:hunter2@[x", "http://[x"),
            ("https://h/@v1/", "https://h/@v1/"),
            ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
            ("api.example.com", "api.example.com"),
            ("", ""),
        ],
    )
    def test_are_shown_without_what_may_be_secret(self, url, shown):
        assert shown_url(url) == shown

    def test_in_a_repr(self):
        url = "https://user:hunter2@h/v1?api-key=zzz"
        config = LLMConfig(provider="openai", model="x", base_url=url)
        assert "base_url='https://h/v1'" in repr(config)
        assert base_url_of(config) == url
        assert repr(base_url_of(config)) == "'https://h/v1'"

    @pytest.mark.parametrize(
        "url", ["https://user:hunter2@h:0/v1", "ftp://user:hunter2@h/v1?hunter2", "u:hunter2@h"]
    )
    def test_in_the_error_about_one(self, url, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        for call in (
            lambda: LLMConfig(provider="openai", model="x", base_url=url),
            lambda: base_url_of(llm_config("gpt-4o")),
            lambda: required_key(llm_config("gpt-4o"), {}),
        ):
            with pytest.raises(SettingsError, match="must be a URL") as caught:
                call()
            assert "hunter2" not in str(caught.value)
            assert "hunter2" not in shown_by_a_verbose_traceback(caught.value)


class TestAMistake:
    """A verbose traceback prints the arguments and variables of every frame."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"provider": "opnai", "api_key": KEY},
            {"model": "", "api_key": KEY},
            {"model": KEY},
            {"provider": KEY},
            {"model": 5, "api_key": KEY},
            {"api_key": KEY.encode()},
            {"api_key": [KEY]},
            {"base_url": KEY},
            {"base_url": f"ftp://u:{KEY}@h", "api_key": KEY},
            {"base_url": [KEY]},
            {"options": [KEY]},
            {"options": {"seed": {KEY}}},
            {"timeout": KEY},
            {"context_window": 0, "api_key": KEY},
        ],
    )
    def test_in_a_configuration_leaves_no_key_in_any_frame(self, fields):
        fields = {"provider": "openai", "model": "gpt-4o", **fields}
        for call in (lambda: LLMConfig(**fields), lambda: llm_config(fields)):
            with pytest.raises(SettingsError) as caught:
                call()
            assert KEY not in shown_by_a_verbose_traceback(caught.value)

    @pytest.mark.parametrize(
        "value",
        [
            {"apiKey": KEY},
            {"openai": {"api_key": KEY}},
            {"api_key": KEY},
            {KEY: 1},
            {"model": f"opnai:{KEY}"},
            [KEY],
            KEY.encode(),
            KEY,
            f"openai:{KEY}",
        ],
    )
    def test_in_what_llm_is_leaves_no_key_in_any_frame(self, value):
        base = LLMConfig(provider="openai", model="gpt-4o", api_key=KEY)
        calls = [lambda: llm_config(value), lambda: llm_config(value, variable="DEXTO_MODEL")]
        if isinstance(value, str):
            calls.append(lambda: with_model(base, value))
        for call in calls:
            with pytest.raises(SettingsError) as caught:
                call()
            assert KEY not in str(caught.value)
            assert KEY not in shown_by_a_verbose_traceback(caught.value)

    def test_in_a_name_that_python_refuses_leaves_no_key_in_any_frame(self):
        with pytest.raises(TypeError) as caught:
            LLMConfig(provider="openai", model="gpt-4o", apikey=KEY)
        assert KEY not in shown_by_a_verbose_traceback(caught.value)

    def test_a_missing_key_shows_no_other_providers(self, monkeypatch):
        monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
        with pytest.raises(DextoError, match="wants a key") as caught:
            required_key(llm_config("gpt-4o"), {"groq": KEY})
        assert KEY not in shown_by_a_verbose_traceback(caught.value)
        assert KEY not in repr(key_of(llm_config("groq:x"), {"groq": KEY}))
