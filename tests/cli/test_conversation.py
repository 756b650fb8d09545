"""The verbs of the command line that talk, look back and tidy: as a shell runs them."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from dexto_magic import DextoAgent, cli
from dexto_magic.cli.console import for_shell
from dexto_magic.cli.verbs import VERBS
from tests.support.agents import asking
from tests.support.command_line import at_a_terminal, dexto, ended, environment, forks, refused
from tests.support.openai_answers import WAIT, cut, silent, status, text

PRACTICE = {"DEXTO_MODEL": "practice"}


@pytest.fixture
def home(tmp_path):
    """Where the store is, as ``DEXTO_HOME`` says in every test."""
    return tmp_path / "home"


@pytest.fixture
def talked(home):
    """A session with four turns."""
    with DextoAgent("practice", store=home) as agent:
        agent.create_session("eda")
        for prompt in ("My name is Sarah.", "My dog is Rex.", "Hello.", "Repeat after me: bye"):
            agent.generate(prompt, "eda")
    return home


def look(home, get):
    with DextoAgent("practice", store=home) as agent:
        return get(agent)


def history(home, name="eda"):
    return look(home, lambda agent: [m.content for m in agent.get_session_history(name)])


def said(*arguments, code=0, **more):
    """What a verb that asks a model prints to its two outputs; with no key but the model's own."""
    options = {"env": environment(**{**PRACTICE, **more.pop("env", {})}), **more}
    done = dexto(*arguments, **options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


class Line:
    """Command lines in this process, for those that only look and tidy; a process costs a second."""

    def __init__(self, capsys, monkeypatch):
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments, code=0):
        assert cli.main([str(argument) for argument in arguments]) == code
        return self._capsys.readouterr()

    def asking(self, server):
        """Has those to come ask a test's own server."""
        for name, value in asking(server).items():
            self._monkeypatch.setenv(name, value)

    def ok(self, *arguments):
        """What is said by one that succeeds, and complains of nothing."""
        out, notes = self(*arguments)
        assert notes == ""
        return out

    def refused(self, *arguments):
        """What is complained of by one that fails, and says nothing else."""
        out, notes = self(*arguments, code=1)
        assert out == ""
        return notes


@pytest.fixture
def line(capsys, monkeypatch):
    for name, value in PRACTICE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "80")
    return Line(capsys, monkeypatch)


# -- ask -------------------------------------------------------------------------------------------


def test_a_question_makes_its_session_and_the_next_one_goes_on_in_it(line):
    out, notes = line("ask", "eda", "My", "name", "is", "Sarah.")
    assert out == "Nice to meet you, Sarah.\n"
    assert re.fullmatch(
        r"dexto-magic: new session 'eda'\ndexto-magic: eda · turn 1 · practice · .*\n", notes
    )
    out, notes = line("ask", "eda", "What is my name?")
    assert out == "Your name is Sarah.\n"
    assert notes.startswith("dexto-magic: eda · turn 2 · ")
    _, notes = line("ask", "ead", "Hello.")
    assert notes.startswith("dexto-magic: new session 'ead'; did you mean 'eda'?\n")


def test_a_question_can_be_piped_in_whatever_is_in_it(home):
    prompt = "Repeat after me: {x} $y \"quotes' --option\n\n  indented 🎉\n"
    out, _ = said("ask", "eda", "-", stdin=None, input=prompt)
    assert out == prompt.removeprefix("Repeat after me: ")
    assert history(home) == [prompt.removesuffix("\n"), out.removesuffix("\n")]


@pytest.mark.parametrize("how", ["an empty pipe", "white space", "no input at all"])
def test_nothing_is_asked_and_no_session_made_where_nothing_is_said(home, how):
    if how == "no input at all":
        line = 'exec "$0" -m dexto_magic ask eda - <&-'
        words = refused(command=["sh", "-c", line, sys.executable])
    elif how == "white space":
        words = refused("ask", "eda", "  ")
    else:
        words = refused("ask", "eda", "-")
    assert words == "dexto-magic: The message is empty; nothing was sent.\n"
    assert not home.exists()


def test_the_model_is_the_options_or_the_environments(server, line):
    line.asking(server)
    out, notes = line("ask", "eda", "My name is Sarah.")
    assert "gpt-4o-mini" in notes
    _, notes = line("ask", "--model", "openai:gpt-4o", "eda", "What is my name?")
    assert [chat.body["model"] for chat in server.chats] == ["gpt-4o-mini", "gpt-4o"]
    out, _ = line("ask", "--model", "practice", "eda", "What is my name?")
    assert out == "Your name is Sarah.\n"
    assert len(server.chats) == 2
    assert "name one of its models" in line.refused("ask", "--model", "openai:", "eda", "Hello.")


def test_the_store_is_the_options(tmp_path, home, line):
    (tmp_path / "other").mkdir()
    line("ask", "--store", tmp_path / "other", "eda", "My name is Sarah.")
    assert history(tmp_path / "other")[0] == "My name is Sarah."
    assert not home.exists()
    assert "There is no folder" in line.refused("ask", "--store", tmp_path / "no", "eda", "Hello.")


def test_a_reply_comes_as_it_arrives(server):
    server.script(text("The first half", WAIT, ", and the second."))
    with running("ask", "eda", "Go.", env=asking(server)) as process:
        assert process.stdout.read(len("The first half")) == "The first half"
        server.release()
        out, notes = process.communicate()
    assert (out, process.returncode) == (", and the second.\n", 0)
    assert "eda · turn 1" in notes


@contextmanager
def running(*arguments, env):
    """A command line whose output is read while it runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dexto_magic", *arguments],
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        bufsize=1,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("arrived", ["The beginning", ""])
def test_ctrl_c_amid_a_reply_keeps_what_had_arrived(server, home, arrived):
    server.script(silent(*([arrived] if arrived else [])))
    with running("ask", "eda", "Go.", env=asking(server)) as process:
        server.wait_for_request()
        assert process.stdout.read(len(arrived)) == arrived
        process.send_signal(signal.SIGINT)
        out, notes = process.communicate()
    server.wait_for_disconnect()
    assert process.returncode == 130
    assert "Traceback" not in notes
    assert history(home) == ["Go.", arrived]
    if arrived:
        assert out == "\n"
        assert "dexto-magic: cut short: interrupted; what had arrived is kept\n" in notes


@forks
def test_ctrl_c_at_a_terminal_keeps_what_had_arrived(server, home):
    server.script(silent("The beginning"))
    with at_a_terminal("ask", "eda", "Go.", **asking(server)) as child:
        child.expect("The beginning")
        child.sendintr()
        words, code = ended(child)
    assert "cut short: interrupted; what had arrived is kept" in words
    assert code == 130
    assert history(home) == ["Go.", "The beginning"]


def test_a_reader_that_has_gone_ends_the_reply_and_keeps_what_had_arrived(server, home):
    server.script(text("The beginning\n", WAIT, "more\n", *["and more\n"] * 10, WAIT, "never"))
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "dexto_magic", "ask", "eda", "Go."],
        env=environment(**asking(server)),
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert os.read(reader, 100) == b"The beginning\n"
    os.close(reader)
    server.release()
    _, notes = process.communicate()
    assert (process.returncode, b"Traceback" in notes) == (0, False)
    assert history(home)[1].startswith("The beginning\n")


def test_what_goes_wrong_amid_a_reply_is_said_and_what_had_arrived_is_kept(server, home, line):
    server.script(cut("The beginning"))
    line.asking(server)
    out, notes = line("ask", "eda", "Go.", code=1)
    assert out == "The beginning\n"
    assert "dexto-magic: cut short: error; what had arrived is kept\n" in notes
    assert "broke off before the end of the reply" in notes.splitlines()[-1]
    assert history(home) == ["Go.", "The beginning"]


def test_what_is_to_be_known_of_a_turn_is_apart_from_the_reply(server, line):
    line.asking(server)
    server.script(
        status(429, headers={"retry-after": "0"}), text("cut", finish_reason="length", usage=(9, 9))
    )
    out, notes = line("ask", "eda", "Go.")
    assert out == "cut\n"
    assert "asking again" in notes
    assert "limit" in notes
    server.script(status(401, "Bad key."))
    out, notes = line("ask", "eda", "Go.", code=1)
    assert out == ""
    assert notes.startswith("dexto-magic: openai (gpt-4o-mini) does not accept the key")
    assert notes.count("\n") == 1


def test_a_question_waits_for_the_turn_that_runs(server, home):
    server.script(text("The beginning", WAIT, " and the end"), text("2"))
    with running("ask", "eda", "one", env=asking(server)) as first:
        assert first.stdout.read(3) == "The"
        out, notes = said("ask", "--wait", "0", "eda", "two", env=asking(server), code=1)
        assert "'eda' is busy: dexto-magic (process" in notes
        with running("ask", "eda", "two", env=asking(server)) as second:
            assert "waiting up to 60 s" in second.stderr.readline()
            server.release()
            out, notes = second.communicate()
            assert (out, second.returncode) == ("2\n", 0)
        first.communicate()
    for wait in ("-1", "nan"):
        _, notes = said("ask", f"--wait={wait}", "eda", "two", code=1)
        assert "it must be seconds, 0 or more" in notes
    _, notes = said("ask", "--wait", "soon", "eda", "two", code=2)
    assert "--wait" in notes


# -- retry, undo, redo, forget -----------------------------------------------------------------------


def test_a_turn_is_asked_again_taken_back_brought_back_and_forgotten(talked, line):
    out, notes = line("retry", "eda", "What is my name?")
    assert out == "Your name is Sarah.\n"
    assert "turn 4" in notes
    out, _ = line("retry", "eda")
    assert out == "Your name is Sarah.\n"
    assert line.ok("undo", "eda") == ("Turn 4 (“What is my name?”) is back at version 2.\n")
    assert line.ok("redo", "eda").endswith("at version 3.\n")
    for _ in range(3):
        line.ok("undo", "eda")
    assert history(talked)[-2] == "Hello."
    assert "turn 4" in line.ok("history", "eda", "--all")
    assert re.findall(r"── turn (\d)", line.ok("history", "eda", "--at", "2", "-n", "1")) == ["2"]
    assert "no turn 4 in view" in line.refused("history", "eda", "--at", "4")
    words = line.refused("forget", "eda", "1")
    assert "turn 1 of 'eda' is of 20" in words
    assert "To go on all the same, add --yes." in words
    assert line.ok("forget", "eda", "1", "--yes").startswith(
        "Turn 1 of 'eda' is forgotten: 2 messages."
    )
    assert history(talked)[0] == "My dog is Rex."
    assert "has no turn 1. It was forgotten before." in line.refused("forget", "eda", "1", "--yes")


def test_words_that_may_be_missing_are_found_behind_an_option(talked, line):
    out, _ = line("retry", "eda", "--at", "1", "Repeat after me:", "anew")
    assert out == "anew\n"
    with pytest.raises(SystemExit):
        line("undo", "eda", "more")


def test_hints_are_what_can_be_typed_in_a_shell(talked, line):
    assert "`dexto-magic redo NAME` brings it back" in line.ok("undo", "eda")
    line.ok("redo", "eda")
    assert "`dexto-magic history NAME` shows the numbers" in line.refused(
        "forget", "eda", "99", "--yes"
    )
    assert "`dexto-magic set NAME overflow=trim` leaves" in for_shell(
        "`%dexto set overflow=trim` leaves them out, `%dexto key` takes one"
    )
    assert "`%dexto key`" in for_shell("with `%dexto key`; ")


def test_a_phrase_is_one_however_its_quotation_marks_reach_it(line):
    line("ask", "eda", "alpha beta gamma alphabet")
    for words, hits in [
        (["alpha beta"], 1),
        (['"alpha beta"'], 1),
        (["alpha gamma"], 0),
        (['"alpha gamma"'], 0),
        (["alpha", "gamma"], 1),
        (['alphabet "beta gamma"'], 1),
        (['alphabet "gamma beta"'], 0),
    ]:
        found = line.ok("search", "--role", "user", *words)
        assert ("1 hit for" in found) == bool(hits), words


def test_of_what_is_not_there_to_be_shown_it_is_said_why(talked, line):
    assert line.ok("sessions", "zzz*") == "No session's name or title matches 'zzz*'.\n"
    assert line.ok("sessions", "-n", "0").startswith(
        "There are sessions, and none was asked for.\n"
    )
    assert line.ok("search", "sarah", "--page", "9") == "There is no page 9 of hits for 'sarah'.\n"
    assert "1 or more, not 0" in line.refused("search", "sarah", "-n", "0")


def test_a_file_that_nobody_named_is_called_as_its_format_is(talked, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for form, name in [("jsonl", "eda.jsonl"), ("openai", "eda.json"), (None, "eda.md")]:
        line.ok("export", "eda", *(["--format", form] if form else []))
        assert (tmp_path / name).exists()


def test_an_export_without_a_session_that_cannot_be_read_says_so_by_its_exit_code(
    talked, home, line, tmp_path
):
    look(home, lambda agent: agent.create_session("whole"))
    with closing(sqlite3.connect(home / "sessions" / "cache.db")) as database, database:
        database.execute(
            "DELETE FROM Cache WHERE rowid = "
            "(SELECT rowid FROM Cache WHERE key LIKE 'm:%' ORDER BY rowid LIMIT 1)"
        )
    told, _ = line("export", "--all", str(tmp_path / "all.jsonl"), code=1)
    assert "1 session written to" in told
    assert "Not in it, as the store cannot read them: 'eda'." in told


def test_what_cannot_be_done_is_an_error(home, line):
    look(home, lambda agent: agent.create_session("empty"))
    assert "nothing to undo in session 'empty'" in line.refused("undo", "empty")
    assert "nothing to redo in session 'empty'" in line.refused("redo", "empty")
    _, notes = line("retry", "empty", code=1)
    assert notes == "dexto-magic: There is nothing to retry: session 'empty' has no turn.\n"
    _, notes = line("retry", "nobody", code=1)
    assert "There is no session 'nobody'" in notes
    with pytest.raises(SystemExit):
        line("forget", "empty", "0")


# -- fork, rename, title, set --------------------------------------------------------------------------


def test_sessions_are_forked_renamed_titled_and_set_up(talked, line):
    said_of_fork = "'early' is a fork of 'eda' at turn 1"
    assert line.ok("fork", "eda", "early", "--at", "1") == f"{said_of_fork}: 1 turn\n"
    assert line.ok("fork", "eda", "early") == f"{said_of_fork} already: 1 turn\n"
    assert line.ok("rename", "early", "first words") == "'early' is called 'first words' now\n"
    assert line.ok("rename", "first words", "first words").endswith("now already\n")
    assert "There is no session 'early'" in line.refused("rename", "early", "first words")
    assert "choose another name" in line.refused("fork", "eda", "first words", "--at", "2")
    assert "already: choose another name" in line.refused("rename", "eda", "first words")
    assert line.ok("title", "eda") == "title of 'eda'  My name is Sarah.\n"
    assert line.ok("title", "eda", "--", "-- About me") == "title of 'eda'  -- About me\n"
    out, notes = line("title", "--generate", "eda")
    assert (out, notes) == ("title of 'eda'  My name is Sarah\n", "")
    assert line.ok("title", "eda", "") == "title of 'eda'  My name is Sarah\n"
    assert "Give a title, or have it written" in line.refused("title", "eda", "Mine", "--generate")
    assert re.search(r"overflow +trim", line.ok("set", "eda", "overflow=trim"))
    assert re.search(r"context_budget +8,000", line.ok("set", "eda", "context_budget=8000"))
    assert re.search(r"overflow +trim\ncontext_budget +8,000", line.ok("set", "eda"))
    for nonsense, words in (
        ("overflow=drop", "it is one of 'compact', 'trim', 'error'"),
        ("context_budget=x", "is a number of tokens"),
        ("nonsense", "is no setting: there are overflow and context_budget"),
    ):
        assert words in line.refused("set", "eda", nonsense)
    assert re.search(r"overflow +compact \(as usual\)", line.ok("set", "eda", "overflow="))


# -- context, compact, usage ---------------------------------------------------------------------------


def test_a_conversation_is_summarised_and_it_is_shown_how_full_it_is_and_what_it_took(
    talked, line, monkeypatch
):
    out, _ = line("context", "eda")
    assert re.search(r"^sent +4 turns$", out, re.MULTILINE)
    out, notes = line("compact", "eda")
    assert re.search(r"summarised turns 1 to 2, for \d+ tokens in / \d+ out", out)
    assert "sending the last 2 of 4 turns and a summary of the rest" in out
    assert notes == "dexto-magic: summarising turns 1 to 2 …\n"
    out, notes = line("compact", "eda")
    assert "nothing to summarise" in out
    out, _ = line("ask", "eda", "What is my name and my dog?")
    assert out == "Your name is Sarah. Your dog is Rex.\n"
    everything, one = line.ok("usage"), line.ok("usage", "eda")
    assert everything == line.ok("usage", "--all")
    assert "eda" in one
    prices = '{"currency": "EUR", "practice": {"input": 1, "output": 2}}'
    monkeypatch.setenv("DEXTO_PRICES", prices)
    assert "EUR" in line.ok("usage", "eda")
    monkeypatch.setenv("DEXTO_PRICES", "cheap")
    assert "DEXTO_PRICES" in line.refused("usage", "eda")
    monkeypatch.delenv("DEXTO_PRICES")
    assert "Name one session, or ask for all" in line.refused("usage", "eda", "--all")


def test_a_summary_that_fails_is_an_error_and_ctrl_c_ends_one(server, talked):
    server.script(status(400, "No."), silent())
    _, notes = said("compact", "eda", env=asking(server), code=1)
    assert notes.splitlines()[0] == "dexto-magic: summarising turns 1 to 2 …"
    assert "refused the request" in notes
    with running("compact", "eda", env=asking(server)) as process:
        server.wait_for_request(2)
        process.send_signal(signal.SIGINT)
        _, notes = process.communicate()
    assert (process.returncode, "Traceback" in notes) == (130, False)
    out, _ = said("compact", "eda")
    assert "summarised turns 1 to 2" in out


# -- all of them -----------------------------------------------------------------------------------------

LINES = {
    "sessions": [],
    "history": ["nobody"],
    "ask": ["nobody", "Hello."],
    "retry": ["nobody"],
    "undo": ["nobody"],
    "redo": ["nobody"],
    "forget": ["nobody", "1"],
    "fork": ["nobody", "somebody"],
    "rename": ["nobody", "somebody"],
    "title": ["nobody"],
    "set": ["nobody"],
    "context": ["nobody"],
    "compact": ["nobody"],
    "usage": ["nobody"],
    "reset": ["nobody"],
    "delete": ["nobody"],
    "search": ["hello", "--session", "nobody"],
    "export": ["nobody", "nobody.md"],
    "import": ["nowhere.jsonl"],
    "doctor": [],
    "backup": ["all.db"],
    "restore": ["all.db"],
    "new": ["nobody"],
    "system": ["nobody"],
    "model": ["nobody"],
    "demo": [],
}


def test_every_verb_is_one_of_these():
    assert set(LINES) == {run.__name__.strip("_") for run, _ in VERBS}


OF_NO_SESSION = {"sessions", "ask", "import", "new", "demo", "doctor", "backup", "restore"}


@pytest.mark.parametrize("verb", sorted(set(LINES) - OF_NO_SESSION))
def test_a_session_that_is_not_there_is_an_error_and_none_is_made(home, capsys, monkeypatch, verb):
    monkeypatch.setenv("DEXTO_MODEL", "practice")
    assert cli.main([verb, *LINES[verb]]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "dexto-magic: There is no session 'nobody'. `dexto-magic sessions` lists those that there "
        "are.\n"
    )
    assert look(home, lambda agent: len(agent.list_sessions())) == 0


@pytest.mark.parametrize("verb", sorted(set(LINES) - {"demo"}))
def test_a_mistyped_option_of_any_verb_is_told_how_it_should_be(home, capsys, verb):
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, *LINES[verb], "--nonsense"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err
    assert not home.exists()
