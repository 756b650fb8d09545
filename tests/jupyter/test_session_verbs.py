"""``%dexto`` verbs about whole sessions: fork, rename, title, usage; and their being run again."""

import re

import pytest

from dexto_magic import DextoAgent
from tests.support.agents import asking
from tests.support.openai_answers import WAIT, held, text


def lines(ran):
    """What a verb said, as text."""
    assert ran.ok, ran.error if not ran.outputs and not ran.stream else ran.stream
    return ran.output.text


def refused(ran):
    """What a verb said that could not be done, and did nothing."""
    assert not ran.ok
    assert ran.outputs == []
    return ran.stream or ran.error


def current(kernel):
    return re.search(r"session +(.+)", lines(kernel.run("%dexto")))[1]


@pytest.fixture
def kernel(fresh):
    return fresh()


# -- fork ------------------------------------------------------------------------------------------


def test_a_fork_is_gone_on_in_and_the_conversation_that_it_comes_from_is_left(kernel):
    kernel.ask("My name is Sarah.", "eda")
    kernel.ask("My name is Bob.", "eda", cell_id="c2")
    assert lines(kernel.run("%dexto fork eda early --at 1")) == (
        "'early' is a fork of 'eda' at turn 1: 1 turn; cells without a name go there now"
    )
    assert current(kernel) == "early"
    assert kernel.ask("What is my name?").output.text == "Your name is Sarah."
    assert (
        lines(kernel.run("%dexto fork later"))
        == "'later' is a fork of 'early' at turn 2: 2 turns; cells without a name go there now"
    )
    assert current(kernel) == "later"
    assert kernel.ask("What is my name?", "eda").output.text == "Your name is Bob."


def test_a_fork_whose_cell_is_run_again_is_switched_to(start):
    """In its own kernel, where a line without a name means the fork by then, and in a new one."""
    kernel = start()
    kernel.ask("My name is Sarah.", "eda")
    kernel.run("%dexto use eda")
    for line in ("%dexto fork other", "%dexto fork eda other", "%dexto fork eda other --at 1"):
        assert "'other' is a fork of 'eda' at turn 1" in lines(kernel.run(line))
    kernel.ask("Hello.")
    kernel.run("%dexto use eda")
    said = (
        "'other' is a fork of 'eda' at turn 1 already: 2 turns; cells without a name go there now"
    )
    assert lines(kernel.run("%dexto fork other")) == said
    again = start()
    assert lines(again.run("%dexto fork eda other")) == said
    assert current(again) == "other"


def test_a_fork_takes_the_name_of_no_other_session(kernel):
    for name in ("eda", "thesis"):
        kernel.ask("My name is Sarah.", name)
    for line in ("%dexto fork eda thesis", "%dexto fork eda eda"):
        assert "SessionExistsError: There is a session" in refused(kernel.run(line))
    assert "'last' stands for the session before" in refused(kernel.run("%dexto fork eda last"))
    assert "no turn 7 in view" in refused(kernel.run("%dexto fork eda other --at 7"))
    assert "Did you mean 'eda'?" in refused(kernel.run("%dexto fork ead other"))
    assert current(kernel).startswith("none yet")
    assert "other" not in lines(kernel.run("%dexto sessions"))


@pytest.mark.parametrize("line", ["", "a b c", "a b c d --at 1"])
def test_a_fork_is_told_what_it_takes(shared, line):
    said = refused(shared.run(f"%dexto fork {line}"))
    assert "`%dexto fork [NAME] NEW [--at TURN]`: a name with spaces takes quotes" in said


def test_names_with_spaces_and_quotes_take_quotes(kernel):
    kernel.ask("My name is Sarah.", "'my data'")
    said = lines(kernel.run("""%dexto fork 'my data' "Sarah's copy" """))
    assert (
        said
        == """"Sarah's copy" is a fork of 'my data' at turn 1: 1 turn; cells without a name go there now"""
    )
    said = lines(kernel.run("""%dexto rename "Sarah's copy" "Bob's" """))
    assert said == """"Sarah's copy" is called "Bob's" now"""
    assert kernel.ask("What is my name?").output.text == "Your name is Sarah."
    assert "No closing quotation" in refused(kernel.run("%dexto fork Sarah's"))


def notes(chat):
    return [m["content"] for m in chat.body["messages"] if "memory of the conv" in m["content"]]


def test_what_was_said_in_this_kernel_is_no_memory_of_another_in_a_fork_of_it(start, server):
    first = start(**asking(server))
    first.ask("My name is Sarah.", "eda")
    kernel = start(**asking(server))
    kernel.ask("Hello.", "eda")
    kernel.run("%dexto fork eda both")
    ran = kernel.ask("What is my name?")
    assert "resumed" not in ran.output.html
    kernel.run("%dexto fork eda old --at 1")
    kernel.ask("What is my name?")
    assert [len(notes(chat)) for chat in server.chats] == [0, 1, 0, 1]


# -- rename ----------------------------------------------------------------------------------------


def test_a_renamed_session_stays_the_current_one_and_again_it_is_said_to_be_done(kernel):
    kernel.ask("My name is Sarah.", "eda")
    kernel.run("%dexto use eda")
    assert lines(kernel.run("%dexto rename eda thesis")) == "'eda' is called 'thesis' now"
    assert current(kernel) == "thesis"
    assert lines(kernel.run("%dexto rename eda thesis")) == (
        "'thesis' is there already, and no 'eda': nothing was renamed"
    )
    ran = kernel.ask("What is my name?")
    assert ran.output.text == "Your name is Sarah."
    assert "resumed" not in ran.output.html
    assert "no session 'nobody'" in refused(kernel.run("%dexto rename nobody somebody"))
    assert "'last' stands for" in refused(kernel.run("%dexto rename thesis last"))
    assert "usage: %dexto rename OLD NEW" in refused(kernel.run("%dexto rename thesis"))


def test_a_renamed_session_stays_the_current_one_however_its_accents_were_typed(kernel):
    kernel.run("%dexto new caf\u00e9")
    kernel.run("%dexto rename cafe\u0301 the\u0301")
    assert current(kernel) == "th\u00e9"


def test_a_notebooks_own_session_keeps_its_notebook_under_another_name(start, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text('{"cells": []}')
    kernel = start(JPY_SESSION_NAME=str(path))
    own = kernel.ask("My name is Sarah.", cell_id="c1").output.metadata["dexto"]["session"]
    kernel.run(f"%dexto rename {own} thesis")
    kernel.kill()
    ran = start(JPY_SESSION_NAME=str(path)).ask("What is my name?", cell_id="c1")
    assert ran.output.metadata["dexto"]["session"] == "thesis"
    assert ran.output.text == "Your name is Sarah."


def test_a_session_that_is_renamed_elsewhere_while_it_answers_stays_the_current_one(
    fresh, server, tmp_path
):
    server.script(text("The beginning", WAIT, " and the end"))
    kernel = fresh(**asking(server))
    kernel.run("%dexto new eda")
    asked = kernel.begin("%%dexto\none", cell_id="c1")
    server.wait_for_request()
    with DextoAgent("practice", store=tmp_path / "home") as agent:
        agent.rename_session("eda", "thesis")
    server.release()
    ran = kernel.end(asked)
    assert ran.output.metadata["dexto"]["session"] == "thesis"
    assert "thesis · turn 1" in ran.output.html
    assert current(kernel) == "thesis"


def test_a_session_that_went_elsewhere_is_not_said_to_be_deleted_for_sure(kernel, tmp_path):
    kernel.run("%dexto new eda")
    with DextoAgent("practice", store=tmp_path / "home") as agent:
        agent.rename_session("eda", "thesis")
    ran = kernel.ask("Hello.")
    assert "&#x27;eda&#x27; is gone: it was deleted, or renamed elsewhere" in ran.output.html
    assert "new session" in ran.output.html


# -- title -----------------------------------------------------------------------------------------


def test_a_title_is_shown_set_written_and_taken_away(kernel):
    kernel.run("%dexto new eda")
    assert lines(kernel.run("%dexto title")) == "'eda' has no title; its next question makes one"
    kernel.ask("Plot the monthly totals of all of our shops, please.")
    assert lines(kernel.run("%dexto title")).endswith(
        "Plot the monthly totals of all of our shops, please."
    )
    for typed, title in (
        ("Sarah's {x} $y plots", "Sarah's {x} $y plots"),
        ('"In quotes"', "In quotes"),
        ("'In others'", "In others"),
        ('"a" and "b"', '"a" and "b"'),
        ("- a dash", "- a dash"),
    ):
        assert lines(kernel.run(f"%dexto title {typed}")).endswith(f"  {title}")
    assert lines(kernel.run("%dexto title --generate")).endswith("Plot the monthly totals of all")
    assert "Plot the monthly totals of all " in lines(kernel.run("%dexto sessions"))
    assert lines(kernel.run('%dexto title ""')).endswith("Plot the monthly totals of all")
    for typed in ("--genrate", "--generate me", "--all"):
        assert "usage: %dexto title [--generate]" in refused(kernel.run(f"%dexto title {typed}"))
    assert lines(kernel.run("%dexto title")).endswith("Plot the monthly totals of all")


def test_while_the_practice_model_is_chosen_nothing_is_sent_to_another(fresh, server):
    kernel = fresh(**asking(server))
    kernel.run("%dexto model practice")
    kernel.run("%dexto new eda")
    for number in range(4):
        kernel.ask(f"My number {number} is {number}.")
    for verb in ("compact", "context", "title --generate"):
        assert kernel.run(f"%dexto {verb}").ok
    assert "practice" in lines(kernel.run("%dexto context"))
    kernel.run('%dexto model ""')
    assert server.chats == []


def test_a_title_that_cannot_be_written_fails_the_cell_and_changes_nothing(fresh, server):
    kernel = fresh(**asking(server))
    kernel.run("%dexto new eda")
    assert "has no turns yet" in refused(kernel.run("%dexto title --generate"))
    kernel.ask("Hello.")
    server.script(text(""))
    assert "wrote nothing" in refused(kernel.run("%dexto title --generate"))
    assert lines(kernel.run("%dexto title")).endswith("Hello.")


# -- usage -----------------------------------------------------------------------------------------


def test_usage_is_of_the_current_session_of_one_or_of_all(kernel):
    for name in ("eda", "thesis"):
        kernel.ask(f"My name is {name}.", name)
    kernel.run("%dexto use eda")
    current_one, one, everything = (
        lines(kernel.run(f"%dexto usage {which}")) for which in ("", "thesis", "--all")
    )
    assert "eda" in current_one
    assert "thesis" not in current_one
    assert "thesis" in one
    assert ("eda" in everything, "thesis" in everything) == (True, True)
    assert "is of one session" in refused(kernel.run("%dexto usage eda --all"))


def test_prices_are_configured_or_the_environments(fresh):
    kernel = fresh(DEXTO_PRICES='{"currency": "EUR", "practice": {"input": 1000, "output": 5000}}')
    kernel.ask("My name is Sarah.", "eda")
    assert "EUR" in lines(kernel.run("%dexto usage eda"))
    kernel.run(
        "%config DextoMagics.prices = {'currency': 'USD', 'practice': {'input': 1, 'output': 2}}"
    )
    assert "USD" in lines(kernel.run("%dexto usage eda"))
    kernel.run("%config DextoMagics.prices = {'practice': 'cheap'}")
    assert "prices cannot be used" in refused(kernel.run("%dexto usage eda"))
    kernel.run("%config DextoMagics.prices = {}")


# -- run all, again ----------------------------------------------------------------------------------

NOTEBOOK = (
    "%dexto new eda",
    "%%dexto\nMy name is Sarah.",
    "%dexto fork other",
    "%%dexto\nMy dog is Rex.",
    "%dexto rename draft thesis",
    "%dexto set overflow=trim",
    "%dexto title About me",
    "%dexto compact",
    "%dexto context",
    "%dexto usage",
    "%dexto history --all",
    "%dexto delete nobody",
)


def test_a_notebook_with_verbs_in_it_can_be_run_again_and_again(start):
    kernels = [start(), start()]
    kernels[0].ask("Hello.", "draft")
    for kernel in (kernels[0], *kernels):
        for number, cell in enumerate(NOTEBOOK):
            ran = kernel.run(cell, cell_id=f"c{number}")
            assert ran.ok, (cell, ran.stream or ran.error)


def test_a_key_is_not_shown_by_a_mistyped_line_of_any_verb(shared):
    for verb in ("fork", "rename", "set", "title", "forget", "use"):
        ran = shared.run(f"%dexto {verb} sk-proj-0123456789abcdef0123456789 --nonsense")
        assert not ran.ok


def test_what_waits_for_a_summary_in_another_kernel_is_told(start, server):
    one, two = start(**asking(server)), start(**asking(server))
    for _ in range(3):
        one.ask("My name is Sarah.", "eda")
    server.script(held(text("My name is Sarah.")))
    first = one.begin("%dexto compact eda", cell_id="c1")
    server.wait_for_request(4)
    second = two.begin("%%dexto eda\nWhat is my name?", cell_id="c2")
    waiting = two.end(second, until=lambda ran: any("waiting" in o.html for o in ran.outputs))
    assert "is at work in &#x27;eda&#x27;" in waiting.output.html
    server.release()
    assert one.end(first).ok
    assert two.end(second, waiting).ok
    assert waiting.output.text == "Your name is Sarah."
