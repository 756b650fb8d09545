"""``%dexto`` in real kernels."""

import json

import pytest

from tests.support.openai_server import OpenAIServer


def lines(ran):
    """What a verb said, as text."""
    assert ran.ok, ran.error if ran.outputs == [] else ran.reply
    return ran.output.text


def names(ran):
    """The names in a table of sessions."""
    return [line.split()[0] for line in lines(ran).splitlines()[1:]]


@pytest.fixture
def kernel(start):
    return start()


def test_the_status_says_where_one_is(kernel, tmp_path):
    before = lines(kernel.run("%dexto"))
    assert "none yet" in before
    assert str(tmp_path / "home") in before
    kernel.run("%dexto new eda")
    kernel.ask("My name is Sarah.", "")
    after = kernel.run("%dexto").output
    assert [line.split()[:2] for line in after.text.splitlines()[:3]] == [
        ["session", "eda"],
        ["title", "My"],
        ["turns", "1"],
    ]
    assert "practice (for" not in after.text, "it was chosen by the environment"
    assert "<table>" in after.html


def test_help_lists_every_verb_and_the_options_are_in_the_docstring(kernel):
    shown = lines(kernel.run("%dexto help"))
    for verb in (
        "ask",
        "use",
        "new",
        "sessions",
        "history",
        "reset",
        "delete",
        "system",
        "model",
        "key",
        "help",
    ):
        assert f"%dexto {verb}" in shown
    page = kernel.run("%dexto?").reply["payload"][0]["data"]["text/plain"]
    assert "%%dexto [-m PROVIDER:NAME]" in page
    for option in ("--model", "--system", "--output", "--option", "--no-stream", "--quiet"):
        assert option in page
    assert "%%dexto eda -m openai:gpt-4o-mini" in page


def test_a_question_on_a_line_goes_to_the_current_session_and_gives_the_reply(kernel):
    kernel.run("%dexto new eda")
    ran = kernel.run("%dexto ask My name is Sarah.", cell_id="c1")
    assert [m["msg_type"] for m in ran.messages if m["msg_type"] == "execute_result"] == []
    assert ran.output.text == "Nice to meet you, Sarah."
    ran = kernel.run("reply = %dexto ask What's my name?", cell_id="c2")
    assert ran.output.text == "Your name is Sarah."
    assert kernel.value("(reply.content, reply.turn)") == "('Your name is Sarah.', 2)"
    again = kernel.run("reply", cell_id="c3").output
    assert "Your name is Sarah." in again.html
    assert again.text == "Your name is Sarah."


def test_a_line_of_a_question_may_hold_anything(kernel):
    kernel.run("x = 'replaced'")
    ran = kernel.run("""%dexto ask Repeat after me: {x} $x "open 'quotes (\\alpha ?""")
    assert ran.output.text == """{x} $x "open 'quotes (\\alpha ?"""


def test_cells_without_a_name_go_where_use_and_new_say(kernel):
    kernel.ask("My name is Sarah.", "eda")
    assert lines(kernel.run("%dexto use eda")) == "cells without a name go to 'eda' now: 1 turn"
    assert kernel.ask("What is my name?").output.text == "Your name is Sarah."
    assert "new session 'other'" in lines(kernel.run("%dexto new other"))
    assert kernel.ask("What is my name?").output.text == "I don't have that information."
    assert lines(kernel.run("%dexto new eda")) == "cells without a name go to 'eda' now: 2 turns"
    assert "new session 'sess_" in lines(kernel.run("%dexto new"))
    assert not kernel.run("%dexto use nobody").ok


def test_the_session_before_goes_on_by_use_last(start):
    first = start()
    first.ask("My name is Sarah.")
    first.kill()
    second = start()
    ran = second.ask("What is my name?")
    assert ran.output.text == "I don't have that information."
    assert "<code>%dexto use last</code> continues the one before" in ran.output.html
    assert "1 turn" in lines(second.run("%dexto use last"))
    ran = second.ask("What is my name?")
    assert ran.output.text == "Your name is Sarah."
    assert "resumed 1 turn" in ran.output.html


def test_sessions_are_listed_by_use_found_by_pattern_and_the_current_one_marked(kernel):
    for name in ("eda", "thesis-1", "thesis-2"):
        kernel.ask(f"Hello from {name}.", name)
    kernel.run("%dexto use eda")
    assert names(kernel.run("%dexto sessions")) == ["thesis-2", "thesis-1", "eda"]
    assert names(kernel.run("%dexto sessions thesis")) == ["thesis-2", "thesis-1"]
    assert names(kernel.run("%dexto sessions 'from EDA'")) == ["eda"]
    assert names(kernel.run("%dexto sessions *-1")) == ["thesis-1"]
    shown = kernel.run("%dexto sessions -n 2").output
    assert "There are more" in shown.text
    assert "<b>eda</b> (current)" in kernel.run("%dexto sessions").output.html
    assert "No session's name" in lines(kernel.run("%dexto sessions nothing-like-it"))


def test_the_history_of_a_session_shows_its_newest_turns(kernel):
    kernel.ask("The title.", "eda")
    for n in range(4):
        kernel.ask(f"Repeat after me: answer {n}", "eda")
    shown = kernel.run("%dexto history eda -n 2").output
    assert "2 of 5 turns" in shown.text
    assert [f"answer {n}" in shown.text for n in range(4)] == [False, False, True, True]
    assert [f"answer {n}" in shown.html for n in range(4)] == [False, False, True, True]
    assert "5 turns" in lines(kernel.run("%dexto history")), "the session used last in this kernel"
    ran = kernel.run("%dexto history ead")
    assert (ran.ok, "Did you mean 'eda'?" in ran.error) == (False, True)


def test_a_verb_without_a_session_to_be_about_says_so(kernel):
    ran = kernel.run("%dexto history")
    assert (ran.ok, "name one: `%dexto history NAME`" in ran.stream) == (False, True)


def test_a_usage_line_is_one_that_can_be_typed(kernel):
    for line, usage in (
        ("%dexto delete", "usage: %dexto delete"),
        ("%dexto history --nonsense", "usage: %dexto history"),
        ("%dexto use", "usage: %dexto use"),
    ):
        said = kernel.run(line).stream
        assert usage in said
        assert "%%dexto" not in said


def test_a_number_is_a_number_of_something(kernel):
    kernel.ask("My name is Sarah.", "eda")
    for line in ("%dexto sessions -n -1", "%dexto history eda -n -1", "%dexto history eda -n x"):
        ran = kernel.run(line)
        assert not ran.ok
        assert "-n" in ran.stream + "".join(ran.error for _ in ran.outputs or [1] if not ran.stream)


def test_a_verb_is_told_from_its_text_by_any_white_space(kernel):
    assert kernel.run("%dexto ask\tMy name is Sarah.").output.text == "Nice to meet you, Sarah."
    assert kernel.value("_dexto.content") == "'Nice to meet you, Sarah.'"


def test_what_stands_for_the_session_before_is_no_name_for_a_new_one(kernel):
    ran = kernel.run("%dexto new last")
    assert (ran.ok, "the session before" in ran.stream) == (False, True)


def test_a_model_of_a_sessions_own_can_be_taken_away(kernel):
    kernel.run("%dexto new eda")
    kernel.run("%dexto model openai:gpt-4o-mini")
    assert "openai:gpt-4o-mini" in lines(kernel.run("%dexto model"))
    assert "goes by the default again: practice" in lines(kernel.run('%dexto model ""'))
    kernel.run("%dexto model practice:slow")
    assert "default again: practice" in lines(kernel.run('%dexto model ""'))
    assert kernel.value("__import__('dexto_magic').DextoAgent().model") == "'practice'"


def test_no_key_is_asked_for_where_none_is_needed(kernel):
    ran = kernel.run("%dexto key")
    assert (ran.ok, "needs no key" in ran.stream) == (False, True)


def test_a_variable_is_one_that_python_would_take(kernel):
    for name in ("class", "1st", "a b"):
        ran = kernel.ask("Hello.", "eda", options=f"-o '{name}'")
        assert (ran.ok, "takes the name of a variable" in ran.stream) == (False, True)


def test_no_session_is_reset_because_it_happened_to_be_used_last(kernel):
    kernel.ask("My name is Sarah.", "eda")
    ran = kernel.run("%dexto reset")
    assert (ran.ok, "name one: `%dexto reset NAME`" in ran.stream) == (False, True)
    assert "(last used here: 'eda')" in lines(kernel.run("%dexto"))
    assert "1 turn" in lines(kernel.run("%dexto history"))


def test_reset_and_delete_take_this_kernels_turns_at_once(kernel):
    kernel.ask("My name is Sarah.", "eda")
    assert "Gone from 'eda': 2 messages." in lines(kernel.run("%dexto reset eda"))
    assert kernel.ask("What is my name?", "eda").output.text == "I don't have that information."
    said = lines(kernel.run("%dexto delete eda"))
    assert "Session 'eda' is gone, with 2 messages." in said
    assert "IPython's own history file" in said
    assert "Nothing was deleted" in lines(kernel.run("%dexto delete eda"))


@pytest.mark.parametrize("verb", ["reset", "delete"])
def test_turns_from_before_this_kernel_go_only_when_told_so_twice(start, verb):
    """A notebook that is run again must not take away what it did not make."""
    start().ask("My name is Sarah.", "eda")
    kernel = start()
    ran = kernel.run(f"%dexto {verb} eda")
    assert not ran.ok
    assert "'eda' holds 1 turn" in ran.stream
    assert "add --yes" in ran.stream
    assert kernel.ask("What is my name?", "eda").output.text == "Your name is Sarah."
    assert "4 messages" in lines(kernel.run(f"%dexto {verb} eda --yes"))


def test_the_system_prompt_is_shown_set_and_taken_away(start):
    with OpenAIServer() as server:
        kernel = start(DEXTO_MODEL="openai:gpt-4o-mini", OPENAI_BASE_URL=server.base_url)
        kernel.run("%dexto new eda")
        assert "no system prompt of its own" in lines(kernel.run("%dexto system"))
        kernel.run("%dexto system You're a pirate, aren't you?")
        assert "You're a pirate, aren't you?" in lines(kernel.run("%dexto system"))
        kernel.ask("Hello.")
        kernel.run('%dexto system ""')
        kernel.ask("Hello.")
        first, second = (chat.body["messages"] for chat in server.chats)
    assert first[0] == {"role": "system", "content": "You're a pirate, aren't you?"}
    assert [m["role"] for m in second] == ["user", "assistant", "user"]


def test_a_sessions_model_is_kept_through_a_restart_and_the_practice_model_is_not(start):
    with OpenAIServer() as server:
        environment = {"DEXTO_MODEL": "", "OPENAI_BASE_URL": server.base_url}
        kernel = start(**environment)
        kernel.run("%dexto new eda")
        assert "openai:gpt-4.1" in lines(kernel.run("%dexto model openai:gpt-4.1"))
        kernel.ask("Hello.")
        assert "for this kernel" in lines(kernel.run("%dexto model practice"))
        assert "practice" in lines(kernel.run("%dexto model"))
        kernel.ask("My name is Sarah.")
        assert len(server.chats) == 1, "the practice model answered in this kernel"
        kernel.kill()
        again = start(**environment)
        again.run("%dexto use eda")
        assert "openai:gpt-4.1" in lines(again.run("%dexto model"))
        again.ask("Hello.")
        assert [chat.body["model"] for chat in server.chats] == ["gpt-4.1", "gpt-4.1"]
        assert "name one of its models" in again.run("%dexto model openai:").error


def test_the_configured_model_comes_before_the_environments_and_after_the_sessions(start):
    with OpenAIServer() as server:
        kernel = start(OPENAI_BASE_URL=server.base_url)
        kernel.run("%config DextoMagics.model = 'openai:gpt-4o'")
        kernel.run("%config DextoMagics.system = 'Be brief.'")
        kernel.ask("a", "eda")
        kernel.run("%dexto use eda\n%dexto model openai:gpt-4.1")
        kernel.ask("b", "eda")
        kernel.ask("c", "eda", options="-m openai:o3")
        sent = [(c.body["model"], c.body["messages"][0]["content"]) for c in server.chats]
    assert sent == [("gpt-4o", "Be brief."), ("gpt-4.1", "Be brief."), ("o3", "Be brief.")]


def test_a_base_url_can_be_configured_for_the_configured_model(start):
    with OpenAIServer() as server:
        kernel = start(OPENAI_API_KEY="sk-test")
        kernel.run(f"%config DextoMagics.base_url = {server.base_url!r}")
        assert "DextoMagics.model" in kernel.ask("a", "eda").error
        kernel.run("%config DextoMagics.model = 'openai:my-own'")
        assert kernel.ask("a", "eda").ok
        assert server.chats[0].body["model"] == "my-own"


def test_a_key_is_never_taken_from_the_line_nor_shown(kernel):
    ran = kernel.run("%dexto key sk-proj-very-secret-0123456789")
    assert not ran.ok
    assert "asks for the key, without echo" in ran.stream
    assert "very-secret" not in json.dumps([m["content"] for m in ran.messages])
    assert "very-secret" not in str(ran.reply)


def test_where_nobody_can_be_asked_for_a_key_the_variable_is_named(kernel):
    ran = kernel.run("%dexto key openai")
    assert not ran.ok
    assert "OPENAI_API_KEY" in ran.stream


def test_a_key_is_asked_for_without_echo_and_used_in_this_kernel(start):
    with OpenAIServer() as server:
        kernel = start(DEXTO_MODEL="openai:gpt-4o-mini", OPENAI_BASE_URL=server.root_url)
        asked = []

        def answer(message):
            asked.append(message["content"])
            kernel.client.input("sk-entered-0123456789")

        reply = kernel.client.execute_interactive(
            "%dexto key openai", allow_stdin=True, stdin_hook=answer, output_hook=lambda _: None
        )
        assert (reply["content"]["status"], asked) == (
            "ok",
            [{"prompt": "Key for openai: ", "password": True}],
        )
        kernel.ask("Hello.", "eda")
        assert server.requests[-1].key == "sk-entered-0123456789"
        assert "sk-entered" not in kernel.value("_dexto") + str(kernel.run("%dexto").outputs)


def test_a_new_name_that_looks_like_a_known_one_is_said(kernel):
    kernel.ask("Hello.", "thesis")
    ran = kernel.ask("Hello.", "thesys")
    assert "new session &#x27;thesys&#x27;; did you mean &#x27;thesis&#x27;?" in ran.output.html
