"""What one kernel knows of conversations, and how long: driven through cells in real kernels."""

import pytest

from tests.support.agents import asking
from tests.support.openai_answers import silent, status, text


def test_a_key_stays_whatever_is_configured_meanwhile(start, server):
    kernel = start(DEXTO_MODEL="openai:gpt-4o-mini", OPENAI_BASE_URL=server.base_url)
    bench = "get_ipython().magics_manager.registry['DextoMagics'].bench"
    kernel.run(f"{bench}.take_key('openai', 'sk-entered-0123456789')")
    for change in ("footer = False", "timeout = 60", "system = 'Be brief.'"):
        kernel.run(f"%config DextoMagics.{change}")
        assert kernel.ask("Hello.", "eda").ok
        assert server.chats[-1].key == "sk-entered-0123456789"


def test_a_setting_of_the_looks_leaves_the_agent_running(start):
    kernel = start()
    agent = "get_ipython().magics_manager.registry['DextoMagics'].bench.agent"
    before = kernel.value(f"id({agent})")
    kernel.run("%config DextoMagics.footer = False")
    kernel.run("%config DextoMagics.wait = 5")
    assert kernel.value(f"id({agent})") == before


def test_another_store_has_other_sessions_whatever_was_tried_between(start, tmp_path):
    kernel = start()
    kernel.ask("My name is Sarah.")
    (tmp_path / "file").write_text("in the way")
    kernel.run(f"import os; os.environ['DEXTO_HOME'] = {str(tmp_path / 'file')!r}")
    assert not kernel.ask("Hello.").ok
    kernel.run(f"os.environ['DEXTO_HOME'] = {str(tmp_path / 'other')!r}")
    ran = kernel.ask("What is my name?")
    assert "was deleted" not in ran.output.html
    assert ran.output.text == "I don't have that information."


@pytest.mark.parametrize(
    "line",
    ["%dexto", "%%dexto --show-prompt\nHello.", "%dexto sessions", "%dexto undo", "%dexto usage"],
)
def test_another_store_has_no_current_session_whatever_is_asked_of_it_first(shared, line, tmp_path):
    shared.run("%dexto new eda")
    shared.ask("Hello.")
    before = shared.value("__import__('os').environ['DEXTO_HOME']")
    shared.run(f"import os; os.environ['DEXTO_HOME'] = {str(tmp_path)!r}")
    ran = shared.run(line, cell_id="c1")
    assert "SessionId" not in str(ran.reply)
    assert ran.ok or "there is none here yet" in ran.stream or "no session here yet" in ran.stream
    shared.run(f"os.environ['DEXTO_HOME'] = {before}\n")
    shared.run("%dexto delete eda")


def notes(chat):
    return [m["content"] for m in chat.body["messages"] if "memory of the conv" in m["content"]]


def test_a_first_turn_that_came_to_nothing_is_not_called_one_of_before(start, server):
    server.script(status(401, "No."), silent("The beginning"), text("Hello."))
    kernel = start(**asking(server))
    assert not kernel.ask("one", "eda").ok
    asked = kernel.begin("%%dexto eda\ntwo", cell_id="c1")
    kernel.end(asked, until=lambda ran: any("The beginning" in o.html for o in ran.outputs))
    kernel.interrupt()
    assert not kernel.end(asked).ok
    ran = kernel.ask("three", "eda")
    assert "resumed" not in ran.output.html
    assert [notes(chat) for chat in server.chats] == [[], [], []]


def test_the_turns_of_before_are_called_so_until_one_of_this_kernel_stands_after_them(
    start, server
):
    start(**asking(server)).ask("x = 5", "eda")
    kernel = start(**asking(server))
    server.script(status(401, "No."), text("First."), text("Second."))
    ran = [kernel.ask(prompt, "eda") for prompt in ("one", "two", "three")]
    assert ["resumed 1 turn" in "".join(o.html for o in one.outputs) for one in ran] == [
        True,
        False,
        False,
    ]
    assert [len(notes(chat)) for chat in server.chats[1:]] == [1, 1, 0]


@pytest.mark.parametrize("what", ["%dexto system Be brief.", "%%dexto -m practice:bad-key\nHello."])
def test_the_session_before_is_the_one_before_whatever_became_of_the_new_one(start, what):
    kernel = start()
    before = kernel.ask("My name is Sarah.").output.metadata["dexto"]["session"]
    kernel = start()
    kernel.run(what, cell_id="c1")
    kernel.run("%dexto use last")
    ran = kernel.ask("What is my name?")
    assert ran.output.metadata["dexto"]["session"] == before
    assert ran.output.text == "Your name is Sarah."


def test_a_verb_that_makes_a_session_says_why_it_is_a_new_one(start, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text('{"cells": []}')
    first = start(JPY_SESSION_NAME=str(path))
    old = first.ask("My name is Sarah.", cell_id="c1").output.metadata["dexto"]["session"]
    said = start(JPY_SESSION_NAME=str(path)).run("%dexto system Be brief.").output.text
    assert f"known to '{old}'" in said
