"""What a cell does before its reply arrives: driven through cells in real kernels."""

from tests.support.agents import asking
from tests.support.openai_answers import status, text


def test_an_option_that_is_refused_leaves_no_session_and_no_promise(start):
    kernel = start()
    ran = kernel.ask("Hello.", "brandnew", options="-O model=x")
    assert (ran.ok, ran.outputs) == (False, [])
    assert "'model'" in ran.error
    assert "No session's name" in kernel.run("%dexto sessions brandnew").output.text


def test_waiting_and_retries_show_though_the_reply_is_asked_for_in_one_piece(start, server):
    server.script(status(429, "Slow down.", headers={"retry-after": "0"}), text("Hello."))
    ran = start(**asking(server)).ask("Go.", "eda", options="--no-stream")
    shown = [m["content"]["data"]["text/html"] for m in ran.messages if "data" in m["content"]]
    assert any("asking again" in html and "Hello." not in html for html in shown)
    assert "Hello." in ran.output.html
