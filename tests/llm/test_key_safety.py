"""The key is shown nowhere: not in messages, not in what stands behind them."""

import traceback

import openai
import pytest

from tests.support.asking import KEY, ask, error_of
from tests.support.openai_answers import echo_key, events, hang_up, json_answer, raw, status


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
