"""What is asked again, how often, and after how long."""

from datetime import UTC, datetime

import pytest

from dexto_magic.errors import ModelRateLimitError, ModelUnavailableError
from dexto_magic.llm.providers import LLMConfig
from dexto_magic.llm.retries import retry_after, wait_before
from tests.support.asking import ask, error_of, request
from tests.support.openai_answers import hang_up, status, text


def at(server):
    return LLMConfig(provider="openai", model="gpt-4o", base_url=server.base_url)


class TestAskingAgain:
    @pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 529])
    def test_what_may_pass_is_asked_again_and_said(self, server, code):
        server.script(status(code), text("Hello"))
        heard = ask(at(server))
        assert heard.text == "Hello"
        assert len(heard.notices) == 1
        assert heard.notices[0].startswith(f"openai answered {code}")
        assert heard.notices[0].endswith("attempt 2 of 3")

    @pytest.mark.parametrize("stream", [True, False])
    def test_a_dropped_connection_is_asked_again(self, server, stream):
        server.script(hang_up(), text("Hello"))
        heard = ask(at(server), request(stream=stream))
        assert heard.text == "Hello"
        assert "could not be reached" in heard.notices[0]

    def test_three_times_and_no_more(self, server):
        server.script(*[status(500)] * 3, text("too late"))
        heard = ask(at(server))
        assert isinstance(heard.error, ModelUnavailableError)
        assert len(heard.notices) == 2
        assert len(server.chats) == 3
        assert all(0.375 <= wait / 2**at <= 0.5 for at, wait in enumerate(heard.waits))

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
    def test_what_will_not_pass_is_asked_once(self, server, code):
        server.script(status(code), text("Hello"))
        assert ask(at(server)).error is not None
        assert len(server.chats) == 1

    def test_the_provider_is_given_the_time_it_asks_for(self, server):
        server.script(status(429, headers={"retry-after": "3"}), text("Hello"))
        heard = ask(at(server))
        assert heard.waits == [3.0]
        assert heard.notices == [
            "openai answered 429 (rate limit); asking again in 3 s, attempt 2 of 3"
        ]

    @pytest.mark.parametrize("code", [429, 503])
    def test_nobody_waits_longer_than_a_minute(self, server, code):
        error = error_of(server, status(code, headers={"retry-after": "61"}), text("Hello"))
        assert isinstance(error, ModelRateLimitError)
        assert error.retry_after == 61
        assert "Try again in 61 s" in str(error)
        assert len(server.chats) == 1

    def test_patience_does_not_fill_an_account(self, server):
        refusal = status(429, "You exceeded your quota.", error_code="insufficient_quota")
        error = error_of(server, refusal, text("Hello"))
        assert isinstance(error, ModelRateLimitError)
        assert "billing" in str(error)
        assert len(server.chats) == 1

    @pytest.mark.parametrize(("code", "word", "asked"), [(429, "false", 1), (400, "true", 3)])
    def test_the_servers_own_word_on_it_counts(self, server, code, word, asked):
        server.script(*[status(code, headers={"x-should-retry": word})] * 3)
        ask(at(server))
        assert len(server.chats) == asked

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "2.5"}, 2.5),
            ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
            ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30.0),
            ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT"}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "-1"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "nan"}, None),
        ],
    )
    def test_retry_after_in_all_its_spellings(self, headers, seconds):
        assert retry_after(headers, datetime(2026, 11, 22, 10, tzinfo=UTC)) == seconds

    def test_waits_double_up_to_a_limit(self):
        assert [wait_before(attempt, None, 0) for attempt in (2, 3, 4, 9)] == [0.5, 1, 2, 8]
        assert wait_before(2, None, 1) == 0.375
