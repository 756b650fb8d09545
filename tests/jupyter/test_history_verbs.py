"""``%dexto`` verbs about what was said: undo, redo, retry, forget, context, compact, previews."""

import json
import re

import pytest

from tests.support.agents import asking
from tests.support.openai_answers import WAIT, held, silent, status, text, windowed

LONG = " ".join(f"word{n}" for n in range(40))


def lines(ran):
    """What a verb said, as text."""
    assert ran.ok, ran.error if not ran.outputs and not ran.stream else ran.stream
    return ran.output.text


def refused(ran):
    """What a verb said that could not be done, and did nothing."""
    assert not ran.ok
    assert ran.outputs == []
    return ran.stream or ran.error


@pytest.fixture
def kernel(shared, request):
    """The shared kernel, in a session of the test's own."""
    name = request.node.name
    assert shared.run(f"%dexto new {name!r}").ok
    shared.session = name
    return shared


def history(kernel):
    """What is in view, as ``question answer``."""
    code = f"""
    from dexto_magic import DextoAgent
    with DextoAgent("practice") as agent:
        found = [m.content for m in agent.get_session_history({kernel.session!r})]
    """
    kernel.run(
        "\n".join(line.strip() if "found" not in line else line[4:] for line in code.splitlines())
    )
    return json.loads(kernel.run("import json; print(json.dumps(found))").stream)


# -- undo and redo ---------------------------------------------------------------------------------


def test_undo_and_redo_say_what_went_and_what_came_back(kernel):
    kernel.ask("My name is Sarah.")
    kernel.ask("My name is Bob.", cell_id="c2")
    assert lines(kernel.run("%dexto undo")) == (
        "Turn 2 (“My name is Bob.”) is out of the conversation; `%dexto redo` brings it back."
    )
    assert kernel.run("%dexto ask What is my name?").output.text == "Your name is Sarah."
    assert "nothing to redo" in refused(kernel.run("%dexto redo"))
    kernel.run("%dexto undo")
    assert "(“What is my name?”) is in the conversation again" in lines(kernel.run("%dexto redo"))
    for _ in range(2):
        kernel.run("%dexto undo")
    assert "nothing to undo" in refused(kernel.run("%dexto undo"))


@pytest.mark.parametrize(
    "line", ["undo 2", "forget 1 --y", "redo --all", "undo --yes", "forget", "forget x", "forget 0"]
)
def test_what_a_verb_does_not_take_is_a_usage_error_and_changes_nothing(kernel, line):
    kernel.ask("My name is Sarah.")
    assert f"usage: %dexto {line.split()[0]}" in refused(kernel.run(f"%dexto {line}"))
    assert len(history(kernel)) == 2


@pytest.mark.parametrize(
    ("line", "close"),
    [("udno", "undo"), ("retyr", "retry"), ("compcat", "compact"), ("forgt", "forget")],
)
def test_a_mistyped_verb_is_a_usage_error_with_a_close_one_and_no_request(kernel, line, close):
    kernel.ask("My name is Sarah.")
    said = refused(kernel.run(f"%dexto {line}"))
    assert f"unknown verb '{line}'; did you mean `%dexto {close}`?" in said
    assert len(history(kernel)) == 2


@pytest.mark.parametrize("verb", ["undo", "redo", "retry", "forget 1", "title", "set", "compact"])
def test_a_verb_without_a_session_to_be_about_says_so_and_makes_none(fresh, verb):
    kernel = fresh()
    said = refused(kernel.run(f"%dexto {verb}"))
    assert re.search("there is none here yet|no session here yet; name one", said)
    assert "No sessions" in lines(kernel.run("%dexto sessions"))


# -- retry -----------------------------------------------------------------------------------------


def test_retry_asks_again_and_shows_the_answer_as_a_cell_does(kernel):
    kernel.ask("My name is Sarah.")
    ran = kernel.run("%dexto retry", cell_id="c2")
    assert ran.output.text == "Nice to meet you, Sarah."
    assert ran.output.metadata["dexto"]["turn"] == 1
    assert f"{kernel.session} · turn 1 · practice · " in ran.output.html
    assert len(history(kernel)) == 2
    assert "version 1" in lines(kernel.run("%dexto undo"))


def test_retry_with_new_text_takes_it_as_it_is(kernel):
    kernel.ask("My name is Sarah.")
    new = """Repeat after me: {x} $y "an open quote' --option \\alpha"""
    ran = kernel.run(f"reply = %dexto retry {new}", cell_id="c2")
    assert ran.output.text == """{x} $y "an open quote' --option \\alpha"""
    assert history(kernel)[0] == new
    assert kernel.value("(reply.turn, reply.message.version, _dexto == reply)") == "(1, 2, True)"


def test_a_retry_that_fails_fails_the_cell_and_leaves_the_old_answer_in_view(fresh, server):
    kernel = fresh(**asking(server))
    kernel.run("%dexto new eda")
    kernel.ask("My name is Sarah.")
    server.script(status(401, "Bad key."))
    ran = kernel.run("%dexto retry", cell_id="c2")
    assert not ran.ok
    assert "ModelAuthenticationError: openai (gpt-4o-mini) does not accept the key" in ran.error
    shown = lines(kernel.run("%dexto history eda"))
    assert "Nice to meet you, Sarah." in shown
    assert "failed" not in shown
    assert "1 turn" in lines(kernel.run("%dexto use eda"))


def test_a_retry_is_of_any_turn_and_takes_the_options_of_a_cell(fresh, server):
    kernel = fresh(**asking(server))
    kernel.run("%dexto new again")
    for said in ("My name is Sarah.", "Hello."):
        kernel.ask(said)
    kernel.run(
        "%dexto retry --at 1 -m openai:gpt-4o -s 'Be  brief.' -O seed=7 --option top_p=0.5 My name"
        "  is {Ann} -m."
    )
    body = server.chats[-1].body
    assert [m["content"] for m in body["messages"]] == ["Be  brief.", "My name  is {Ann} -m."]
    assert (body["model"], body["seed"], body["top_p"]) == ("gpt-4o", 7, 0.5)
    assert kernel.run("%dexto retry -- --help me").ok
    assert server.chats[-1].body["messages"][-1]["content"] == "--help me"
    count = len(server.chats)
    for line, said in [("--help", "no option '--help'"), ("--at x", "'x' is no number of a turn")]:
        assert said in refused(kernel.run(f"%dexto retry {line}"))
    assert len(server.chats) == count


def test_an_interrupted_retry_keeps_what_came_and_undo_brings_the_old_answer_back(fresh, server):
    kernel = fresh(**asking(server))
    kernel.run("%dexto new eda")
    kernel.ask("My name is Sarah.")
    server.script(silent("The beginning"))
    asked = kernel.begin("%dexto retry", cell_id="c2")
    ran = kernel.end(asked, until=lambda ran: any("The beginning" in o.html for o in ran.outputs))
    kernel.interrupt()
    ran = kernel.end(asked, ran)
    assert not ran.ok
    assert "KeyboardInterrupt: the turn was ended; what had arrived is kept" in ran.error
    assert "cut short" in ran.output.html
    assert "The beginning" in lines(kernel.run("%dexto history eda"))
    kernel.run("%dexto undo")
    assert "Nice to meet you, Sarah." in lines(kernel.run("%dexto history eda"))


def test_a_retry_waits_visibly_for_a_turn_of_another_kernel(start, server):
    one, two = start(**asking(server)), start(**asking(server))
    one.ask("My name is Sarah.", "eda")
    two.run("%dexto use eda")
    server.script(held(text("2")), text("better"))
    first = one.begin("%%dexto eda\ntwo", cell_id="c2")
    server.wait_for_request(2)
    second = two.begin("%dexto retry", cell_id="c3")
    waiting = two.end(second, until=lambda ran: any("waiting" in o.html for o in ran.outputs))
    assert f"process {one.pid}" in waiting.output.html
    server.release()
    assert one.end(first).ok
    assert two.end(second, waiting).ok
    assert waiting.output.text == "better"
    assert "better" in lines(one.run("%dexto history eda"))


def notes(chat):
    return [m["content"] for m in chat.body["messages"] if "memory of the conv" in m["content"]]


def test_turns_of_before_are_called_so_in_a_retry_if_there_are_any_above_it(start, server):
    first = start(**asking(server))
    first.ask("My name is Sarah.", "one")
    for prompt in ("My name is Sarah.", "Hello."):
        first.ask(prompt, "two")
    kernel = start(**asking(server))
    server.requests.clear()
    for name in ("one", "two"):
        kernel.run(f"%dexto use {name}")
        assert kernel.run("%dexto retry", cell_id="c1").ok
    assert [len(notes(chat)) for chat in server.chats] == [0, 1]


# -- forget ----------------------------------------------------------------------------------------


def test_forget_takes_a_turn_away_and_says_so_when_the_cell_is_run_again(kernel):
    kernel.ask("My name is Sarah.")
    kernel.ask("Hello.", cell_id="c2")
    said = lines(kernel.run("%dexto forget 1"))
    assert said.startswith(f"Turn 1 of {kernel.session!r} is forgotten: 2 messages.")
    assert "IPython's own history file" in said
    assert kernel.run("%dexto ask What is my name?").output.text == "I don't have that information."
    assert "turn 1 of" in lines(kernel.run("%dexto forget 1"))
    assert "was forgotten before; nothing was done" in lines(kernel.run("%dexto forget 1 --yes"))
    assert "no turn 9" in refused(kernel.run("%dexto forget 9"))


def test_a_turn_from_before_this_kernel_is_forgotten_only_when_told_so_twice(start):
    start().ask("My name is Sarah.", "eda")
    kernel = start()
    kernel.ask("Hello.", "eda")
    kernel.run("%dexto use eda")
    said = refused(kernel.run("%dexto forget 1"))
    assert "turn 1 of 'eda' is of 20" in said
    assert "from before this kernel. To forget it all the same, add --yes" in said
    assert kernel.ask("What is my name?", "eda").output.text == "Your name is Sarah."
    assert "is forgotten" in lines(kernel.run("%dexto forget 2")), "that one is of this kernel"
    assert "is forgotten: 2 messages" in lines(kernel.run("%dexto forget 1 --yes"))


# -- history -----------------------------------------------------------------------------------------


def test_the_history_shows_turns_around_one_and_all_versions(kernel):
    kernel.ask("Hello.")
    kernel.ask("Repeat after me: first", cell_id="c2")
    kernel.run("%dexto retry Repeat after me: second", cell_id="c3")
    for n in range(8):
        kernel.run(f"%dexto ask Repeat after me: later {n}")
    kernel.run("%dexto undo")
    shown = lines(kernel.run("%dexto history"))
    assert "second" in shown
    assert not re.search("me: first|later 7", shown)
    shown = lines(kernel.run("%dexto history --all"))
    assert re.search("first", shown)
    assert "later 7" in shown
    shown = lines(kernel.run("%dexto history --at 5 -n 3"))
    assert re.findall(r"── turn (\d+)", shown) == ["4", "5", "6"]
    assert re.findall(r"── turn (\d+)", lines(kernel.run("%dexto history -n 1"))) == ["9"]
    said = refused(kernel.run("%dexto history --at 99"))
    assert f"`%dexto history {kernel.session} --all`" in said or "no turn 99 in view" in said
    assert "argument --at: '0' is no number of a turn" in refused(
        kernel.run("%dexto history --at 0")
    )
    assert "did you mean --all" in refused(kernel.run("%dexto history --al1"))


# -- context, compact, set ---------------------------------------------------------------------------


def test_compact_says_what_was_summarised_and_what_it_cost_and_again_that_it_is_done(kernel):
    for prompt in ("My name is Sarah.", "My dog is Rex.", "Hello.", "Repeat after me: bye"):
        kernel.run(f"%dexto ask {prompt}")
    before = lines(kernel.run("%dexto context"))
    assert re.search(r"^sent +4 turns$", before, re.MULTILINE)
    shown = kernel.run("%dexto compact").output
    for view in (shown.text, shown.html):
        assert re.search(r"summarised turns 1 to 2, for \d+ tokens in / \d+ out", view)
        assert "sending the last 2 of 4 turns and a summary of the rest" in view
        assert "My name is Sarah." in view
    again = lines(kernel.run(f"%dexto compact {kernel.session}"))
    assert "nothing to summarise: the newest 2 turns stay word for word" in again
    ran = kernel.run("%dexto ask What is my name?", cell_id="c9")
    assert ran.output.text == "Your name is Sarah."
    assert "sending the last 2 of 4 turns and a summary of the rest" in ran.output.html
    shown = lines(kernel.run("%dexto history --all"))
    assert "My name is Sarah." in shown, "originals stay"
    assert "summary" in shown


def test_compact_can_be_interrupted(fresh, server):
    kernel = fresh(**asking(server))
    kernel.run("%dexto new eda")
    for _ in range(3):
        kernel.ask("My name is Sarah.")
    server.script(silent())
    asked = kernel.begin("%dexto compact", cell_id="c2")
    server.wait_for_request(4)
    kernel.interrupt()
    ran = kernel.end(asked)
    assert (ran.ok, ran.error) == (False, "KeyboardInterrupt: interrupted")
    server.wait_for_disconnect()
    assert kernel.ask("What is my name?").output.text == "Your name is Sarah."


def test_settings_are_shown_and_set_and_nonsense_is_refused(kernel):
    shown = lines(kernel.run("%dexto set"))
    assert re.search(r"overflow +compact \(as usual\)", shown)
    assert re.search(r"context_budget +none", shown)
    assert re.search(r"overflow +trim", lines(kernel.run("%dexto set overflow=trim")))
    assert re.search(r"context_budget +8,000", lines(kernel.run("%dexto set context_budget=8000")))
    for nonsense, words in (
        ("overflow", "'overflow' is no setting: there are overflow and context_budget"),
        ("overflow=drop", "overflow is 'drop': it is one of 'compact', 'trim', 'error'"),
        ("context_budget=lots", "is a number of tokens, such as 8000, not 'lots'"),
        ("context_budget=-1", "is a number of tokens, such as 8000, not '-1'"),
        ("temperature=0", "'temperature=0' is no setting"),
        ("=", "'=' is no setting"),
        ("overflow = trim", "unknown argument '='"),
        ("--all", "unknown argument '--all'"),
    ):
        assert words in refused(kernel.run(f"%dexto set {nonsense}"))
    shown = lines(kernel.run("%dexto set overflow="))
    assert re.search(r"overflow +compact \(as usual\)", shown)
    assert re.search(r"context_budget +8,000", shown)


def test_a_conversation_that_does_not_fit_goes_on_in_its_cells_and_says_how(kernel):
    """The practice model with a short window: a fact from turn 1, after three compactions."""
    name = kernel.session
    kernel.ask("My name is Sarah.", options="-m practice:short-window")
    said = []
    while len(re.findall("summarised turn", " ".join(said))) < 3:
        ran = kernel.ask(f"Repeat after me: {LONG}", options="-m practice:short-window")
        assert ran.ok
        said.append(ran.output.html)
    ran = kernel.ask("What is my name?", name, options="-m practice:short-window")
    assert ran.output.text == "Your name is Sarah."
    assert ran.output.html.count("turns and a summary of the rest") == 1


def test_a_summary_on_its_way_is_shown_while_it_is_waited_for_and_not_afterwards(fresh, server):
    server.otherwise = windowed(300)
    kernel = fresh(**asking(server))
    kernel.run("%dexto new eda")
    kernel.ask("My name is Sarah.")
    for _ in range(3):
        kernel.ask(f"Repeat after me: {LONG}")
    server.script(status(400, "too many tokens"), text("My name is ", WAIT, "Sarah."))
    asked = kernel.begin("%%dexto\nWhat is my name?", cell_id="c9")
    ran = kernel.end(asked, until=lambda ran: any("summarising" in o.html for o in ran.outputs))
    assert "summarising turns 1 to 2 …" in ran.output.html
    server.release()
    ran = kernel.end(asked, ran)
    assert ran.ok
    assert "summarising" not in ran.output.html
    assert "summarised turns 1 to 2, for 12 tokens in / 5 out" in ran.output.html


# -- what would be sent ------------------------------------------------------------------------------


def test_show_prompt_shows_what_would_go_out_and_does_nothing_else(kernel):
    kernel.ask("My name is Sarah.")
    ran = kernel.ask("What's {my} name?", options="--show-prompt -O temperature=0 -s 'Be brief.'")
    shown = ran.output
    assert shown.kind == "execute_result"
    assert f"{kernel.session} · practice · 4 messages · " in shown.text
    assert "nothing was sent" in shown.text
    for words in (
        "Be brief.",
        "My name is Sarah.",
        "Nice to meet you, Sarah.",
        "What's {my} name?",
    ):
        assert words in shown.text
    assert '"temperature": 0' in shown.text
    assert len(history(kernel)) == 2


def test_show_prompt_is_what_is_then_sent_with_the_note_of_a_new_kernel(start, server):
    start(**asking(server)).ask("My name is Sarah.", "eda")
    kernel = start(**asking(server))
    for _ in range(2):
        options = "-m gpt-4o -s 'Be brief.' -O seed=7 --no-stream"
        kernel.run(f"%%dexto eda --show-prompt {options}\nWhat is my name?", cell_id="c1")
        shown = json.loads(kernel.run("import json; print(json.dumps(dict(_.body)))").stream)
        count = len(server.chats)
        ran = kernel.ask("What is my name?", "eda", options=options)
        assert len(server.chats) == count + 1
        assert json.dumps(shown) == json.dumps(
            {name: server.chats[-1].body[name] for name in shown}
        )
        assert set(shown) == set(server.chats[-1].body)
        assert ran.ok
        server.chats.clear()
    first, second = server.chats[1:]
    assert (len(notes(first)), len(notes(second))) == (1, 0)


def test_show_prompt_makes_no_session_and_needs_no_key(fresh):
    kernel = fresh(DEXTO_MODEL="openai:gpt-4o-mini", OLLAMA_HOST="127.0.0.1:1")
    for name in ("", "brandnew"):
        ran = kernel.ask("Hello.", name, options="--show-prompt")
        assert "a new session · openai:gpt-4o-mini · 1 message · " in ran.output.text
    assert "No sessions" in lines(kernel.run("%dexto sessions"))
    assert "session  none yet" in lines(kernel.run("%dexto"))
    ran = kernel.ask("Hello.", options="--show-prompt -O model=x")
    assert (ran.ok, ran.outputs) == (False, [])


def test_a_mistyped_option_is_a_usage_error_and_no_request(kernel):
    kernel.ask("My name is Sarah.")
    ran = kernel.ask("Hello.", options="--show-promt")
    assert "unknown argument '--show-promt'; did you mean --show-prompt?" in refused(ran)
    assert len(history(kernel)) == 2
