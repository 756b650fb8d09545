"""The console script, as a shell runs it."""

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from dexto_magic import DextoAgent, cli
from dexto_magic.cli import line as command_line
from dexto_magic.cli.verbs import VERBS as OF_THE_LINE
from dexto_magic.stores.disk import DiskStore
from tests.support.command_line import (
    CONTROLS,
    at_a_terminal,
    dexto,
    ended,
    environment,
    forks,
    ok,
    refused,
)
from tests.support.hostile import HOSTILE
from tests.support.messages import assistant, user

HISTORY = """\
{name} — 2 turns, last used {at} UTC

── turn 1 · {at} UTC ─{rule}
you
  My name is Sarah.

practice · 4 in / 5 out · {seconds} s
  Nice to meet you, Sarah.

── turn 2 · {at} UTC ─{rule}
you
  What is my name?

practice · {tokens} in / 4 out · {seconds} s
  Your name is Sarah.
"""


@pytest.fixture
def home(tmp_path):
    """Where the store is, as ``DEXTO_HOME`` says in every test."""
    return tmp_path / "home"


@pytest.fixture
def talked(home):
    """Two sessions with a conversation, the second one used last."""
    with DextoAgent("practice", store=home) as agent:
        for name in ("tutorial", "sales 2026"):
            agent.create_session(name)
            agent.generate("My name is Sarah.", name)
            agent.generate("What is my name?", name)
    return home


def project_version():
    project = Path(__file__).parents[2] / "pyproject.toml"
    return tomllib.loads(project.read_text())["project"]["version"]


def names(home):
    with DextoAgent(store=home) as agent:
        return sorted(session.id for session in agent.list_sessions())


def contents(home, name):
    with DextoAgent(store=home) as agent:
        return [message.content for message in agent.get_session_history(name)]


def stored(home, session_id, *texts):
    """Puts a session into a store that has these texts for questions and answers in turn."""

    async def store_them():
        store = DiskStore(home)
        await store.open()
        await store.create(session_id)
        owner = await store.join("a test")
        for text in texts:
            claim = await store.claim(session_id, user(text), owner)
            await store.settle(claim, [assistant(text, model=text)])
        await store.close()

    asyncio.run(store_them())


# -- sessions --------------------------------------------------------------------------------------


def test_sessions_are_a_table_the_last_used_first(talked):
    lines = ok("sessions").splitlines()
    assert lines[0].split() == ["name", "title", "turns", "last", "used", "(UTC)"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["sales 2026", "tutorial"]
    assert all(re.search(r"My name is Sarah\. +2  20\d\d-\d\d-\d\d", line) for line in lines[1:])


@pytest.mark.parametrize("pattern", ["TUTOR", "t*l"])
def test_a_pattern_narrows_the_sessions_down(talked, pattern):
    lines = ok("sessions", pattern).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "tutorial"]


@pytest.mark.parametrize("number", [["-n", "1"], ["--number=1"]])
def test_a_number_limits_the_sessions_and_it_is_said_that_there_are_more(talked, number):
    lines = ok("sessions", *number).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("sales 2026")
    assert lines[2].startswith("There are more: ")


def test_a_number_however_large_shows_all(talked):
    assert len(ok("sessions", "-n", "9" * 30).splitlines()) == 3


def test_an_empty_store_is_said_to_be_empty(home):
    assert ok("sessions").startswith("No sessions.")


# -- history ---------------------------------------------------------------------------------------


def test_a_history_is_shown_whole(talked):
    shown = ok("history", "sales 2026")
    at = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d", shown)[0]
    normal = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", at, shown)
    normal = re.sub(r"\d+\.\d s$", "0.0 s", normal, flags=re.MULTILINE)
    normal = re.sub(r"\d+ in / 4 out", "49 in / 4 out", normal)
    rule = "─" * (80 - len(f"── turn 1 · {at} UTC ─"))
    assert normal == HISTORY.format(name="sales 2026", at=at, seconds="0.0", tokens=49, rule=rule)


def test_a_number_limits_the_history_to_the_newest_turns(talked):
    shown = ok("history", "tutorial", "-n", "1")
    assert "tutorial — 1 of 2 turns" in shown
    assert "What is my name?" in shown
    assert "Nice to meet you" not in shown
    assert ok("history", "tutorial", "-n", "0").startswith("tutorial — 0 of 2 turns, last used ")


def test_a_name_may_be_typed_with_composed_or_separate_accents(home):
    with DextoAgent("practice", store=home) as agent:
        agent.create_session("café")
    for name in ("caf\u00e9", "cafe\u0301"):
        assert ok("history", name) == "caf\u00e9 — no turns yet\n"


def test_a_name_that_begins_like_an_option_is_told_by_two_dashes(home):
    with DextoAgent("practice", store=home) as agent:
        agent.create_session("--yes")
    assert ok("history", "--", "--yes").startswith("--yes — no turns yet")


# -- where the store is ----------------------------------------------------------------------------


def test_the_store_is_the_options_or_the_environments(talked, tmp_path):
    with DextoAgent("practice", store=tmp_path / "other") as agent:
        agent.create_session("elsewhere")
    for order in (["--store", tmp_path / "other", "else"], ["else", "--store", tmp_path / "other"]):
        assert "elsewhere" in ok("sessions", *order)
    assert "elsewhere" in ok("sessions", env=environment(DEXTO_HOME=str(tmp_path / "other")))
    assert "elsewhere" not in ok("sessions")


def test_a_tilde_in_the_option_is_the_users_home(talked, tmp_path):
    env = environment(HOME=str(tmp_path))
    assert "tutorial" in ok("sessions", "--store", "~/home", env=env)


def test_a_relative_dexto_home_is_refused_and_named(tmp_path):
    words = refused("sessions", env=environment(DEXTO_HOME="here"), cwd=tmp_path)
    assert words.startswith("dexto-magic: DEXTO_HOME is 'here': it must be an absolute path")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_not_there_is_said_so_and_not_made(tmp_path):
    words = refused("sessions", "--store", tmp_path / "mistyped")
    assert "mistyped" in words
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_home_of_a_user_who_is_not_there_is_refused(how):
    place = "~no-such-user-here/store"
    if how == "option":
        words = refused("sessions", "--store", place)
    else:
        words = refused("sessions", env=environment(DEXTO_HOME=place))
    assert "no-such-user-here" in words


def test_a_store_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("in the way")
    words = refused("sessions", "--store", tmp_path / "file" / "store")
    assert str(tmp_path / "file") in words


def test_a_damaged_store_is_an_error_and_left_as_it_is(tmp_path):
    database = tmp_path / "sessions" / "cache.db"
    database.parent.mkdir()
    database.write_bytes(b"not a database at all" * 100)
    assert str(database) in refused("sessions", "--store", tmp_path)
    assert database.read_bytes() == b"not a database at all" * 100


@pytest.mark.parametrize("verb", [["sessions"], ["history", "tutorial"], ["delete", "tutorial"]])
def test_no_verb_cares_for_a_model_that_cannot_be_used(talked, verb):
    """None of them asks one."""
    wrong = environment(DEXTO_MODEL="anthropic")
    confirmed = [*verb, "--yes"] if verb[0] == "delete" else verb
    assert "tutorial" in ok(*confirmed, env=wrong)


# -- names that are not there ----------------------------------------------------------------------


@pytest.mark.parametrize("verb", [["history"], ["reset"], ["delete", "--yes"]])
def test_an_unknown_session_is_an_error_with_those_that_look_like_it(talked, verb):
    words = refused(*verb, "tutorail")
    assert words == "dexto-magic: There is no session 'tutorail'. Did you mean 'tutorial'?\n"
    assert names(talked) == ["sales 2026", "tutorial"]


@pytest.mark.parametrize("name", ["", "x" * 129, "a\x1b[31mb"])
def test_what_cannot_be_a_name_is_an_error_that_says_why(name):
    words = refused("history", name)
    assert "1 to 128 printable characters" in words
    assert not CONTROLS.search(words.rstrip("\n"))


def test_a_name_that_is_not_utf_8_is_an_error_that_can_be_printed():
    words = refused("history", b"\xff".decode(errors="surrogateescape"))
    assert "U+DCFF" in words


# -- what takes away -------------------------------------------------------------------------------


def test_delete_with_yes_takes_the_session_away(talked):
    shown = ok("delete", "tutorial", "--yes")
    assert shown.splitlines()[0] == "Session 'tutorial' is gone, with 4 messages."
    assert "Not reached: outputs in notebooks" in shown
    assert names(talked) == ["sales 2026"]


def test_reset_with_yes_takes_the_messages_away_and_keeps_the_session(talked):
    assert ok("reset", "tutorial", "--yes").startswith(
        "Gone from 'tutorial': 4 messages. The session is kept.\n"
    )
    assert contents(talked, "tutorial") == []
    assert names(talked) == ["sales 2026", "tutorial"]


@pytest.mark.parametrize(("verb", "answer"), [("delete", "y\n"), ("reset", "")])
def test_without_yes_and_without_a_terminal_nothing_is_lost(talked, verb, answer):
    """Whatever is piped in: it was not typed by somebody who had read the question."""
    words = refused(verb, "tutorial", stdin=None, input=answer)
    assert re.fullmatch(
        "dexto-magic: 'tutorial' holds 2 turns, the first of .* UTC, the last of .* UTC. "
        "To go on all the same, add --yes.\n",
        words,
    )
    assert len(contents(talked, "tutorial")) == 4


def test_without_any_input_nothing_is_lost(talked):
    """As a daemon or ``<&-`` runs it."""
    words = refused(
        "delete",
        "tutorial",
        command=["sh", "-c", 'exec "$0" "$@" <&-', sys.executable, "-m", "dexto_magic"],
    )
    assert "add --yes" in words
    assert len(contents(talked, "tutorial")) == 4


@pytest.mark.parametrize("verb", ["delete", "reset"])
def test_a_session_without_turns_is_taken_without_a_question(home, verb):
    with DextoAgent("practice", store=home) as agent:
        agent.create_session("empty")
    assert "0 messages." in ok(verb, "empty").splitlines()[0]
    assert names(home) == ([] if verb == "delete" else ["empty"])


@forks
@pytest.mark.parametrize(("verb", "answer"), [("delete", "y"), ("reset", "Y"), ("delete", " yes ")])
def test_at_a_terminal_a_yes_goes_on(talked, verb, answer):
    with at_a_terminal(verb, "tutorial") as child:
        child.expect(rf"'tutorial' holds 2 turns, .*\. {verb.title()} it\? \[y/N\] ")
        child.sendline(answer)
        words, code = ended(child)
    assert "'tutorial'" in words
    assert "4 messages." in words
    assert code == 0
    assert names(talked) == (["sales 2026"] if verb == "delete" else ["sales 2026", "tutorial"])


@forks
@pytest.mark.parametrize(("verb", "answer"), [("delete", "n"), ("reset", ""), ("reset", "yess")])
def test_at_a_terminal_anything_else_takes_nothing_away(talked, verb, answer):
    with at_a_terminal(verb, "tutorial") as child:
        child.expect(r"\[y/N\] ")
        child.sendline(answer)
        words, code = ended(child)
    assert "messages" not in words
    assert code == 1
    assert len(contents(talked, "tutorial")) == 4


@forks
@pytest.mark.parametrize(("key", "code"), [("c", 130), ("d", 1)])
def test_at_a_terminal_an_end_in_place_of_an_answer_takes_nothing_away(talked, key, code):
    with at_a_terminal("delete", "tutorial") as child:
        child.expect(r"\[y/N\] ")
        child.sendcontrol(key)
        words, exited = ended(child)
    assert "Traceback" not in words
    assert exited == code
    assert len(contents(talked, "tutorial")) == 4


@forks
def test_at_a_terminal_yes_is_not_asked_for_where_it_was_given(talked):
    with at_a_terminal("delete", "--yes", "tutorial") as child:
        words, code = ended(child)
    assert "[y/N]" not in words
    assert code == 0
    assert names(talked) == ["sales 2026"]


# -- what a terminal is shown ----------------------------------------------------------------------


@forks
def test_at_a_terminal_labels_are_set_off_and_in_a_pipe_they_are_not(talked):
    with at_a_terminal("history", "tutorial") as child:
        words, _ = ended(child)
    assert "\x1b[1myou\x1b[0m" in words
    assert not CONTROLS.search(ok("history", "tutorial").replace("\n", ""))
    assert not CONTROLS.search(ok("sessions").replace("\n", ""))


@forks
def test_what_is_stored_cannot_drive_a_terminal(home):
    texts = [
        *HOSTILE,
        "\x1b[2J\x1b]0;title\x07",
        "\x9b2J\x90q\x9c",
        "\r\x08\x7f",
        "\x1b]52;c;eA==\x07",
    ]
    stored(home, "eda", *texts)
    piped = ok("history", "eda", "-n", "1000") + ok("sessions")
    assert not CONTROLS.search(piped.replace("\n", ""))
    assert "alert(1)" in piped
    with at_a_terminal("history", "eda", "-n", "1000") as child:
        shown, code = ended(child)
    assert code == 0
    ours = re.compile("\x1b\\[[012]m")
    assert ours.search(shown)
    assert not CONTROLS.search(ours.sub("", shown).replace("\r\n", ""))


def test_what_cannot_be_encoded_is_shown_as_well_as_can_be(home):
    stored(home, "eda", "naïve 数据 🎉 \ud800")
    shown = ok("history", "eda")
    assert "naïve 数据 🎉 \ufffd" in shown
    for encoding in ("ascii", "latin-1"):
        env = environment(PYTHONIOENCODING=encoding)
        assert "na" in ok("history", "eda", env=env, encoding=encoding)


# -- pipes that close ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["buffered", "at once"])
def test_a_reader_that_has_gone_is_no_error(talked, how):
    for arguments in (["sessions"], ["reset", "tutorial", "--yes"]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "dexto_magic", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=environment(PYTHONUNBUFFERED="" if how == "buffered" else "1"),
            check=False,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, b"")
    assert contents(talked, "tutorial") == []


def test_head_takes_what_it_wants_of_a_long_history(home):
    stored(home, "eda", "x" * 1_000_000)
    line = '"$0" -m dexto_magic history eda | head -1; exit ${PIPESTATUS[0]}'
    done = dexto(command=["bash", "-c", line, sys.executable])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("eda — 1 turn, last used ")
    assert done.stdout.count("\n") == 1


# -- lines of no sense, and help -------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["history"],
        ["delete", "one", "two"],
        ["reset", "eda", "--nonsense"],
        ["delete", "eda", "--y"],
        ["sessions", "-n", "many"],
        ["history", "eda", "-n", "-1"],
        ["demo", "--store", "x"],
    ],
    ids=" ".join,
)
def test_a_line_of_no_sense_is_told_how_it_should_be(home, arguments):
    words = refused(*arguments, code=2)
    assert words.startswith("usage: dexto-magic")
    assert "dexto-magic" in words.splitlines()[-1]
    assert "error: " in words
    assert not home.exists(), "nothing was begun"


def test_what_is_said_of_a_bad_number_is_for_people():
    words = refused("sessions", "-n", "-1", code=2)
    assert "-1" in words
    assert "_natural" not in words


VERBS = {run.__name__.strip("_"): (run, arguments) for run, arguments in OF_THE_LINE}


def test_help_names_every_verb_and_what_it_does():
    words = " ".join(ok("--help", env=environment(COLUMNS="200")).split())
    for verb, (run, _) in VERBS.items():
        assert f" {verb} {run.__doc__}" in words
        assert re.fullmatch(r"[A-Z].*\.", run.__doc__)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_names_all_that_it_takes(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert shown.startswith(f"usage: dexto-magic {verb} ")
    for argument in VERBS[verb][1]:
        assert (argument.how.get("metavar") or argument.names[0]) in shown
        assert argument.how["help"] in shown


def test_help_shows_how_an_option_is_spelled():
    assert "--store FOLDER" in ok("delete", "--help")
    assert "--yes" in ok("delete", "--help")
    assert "--headless" in ok("demo", "--help")


def test_the_version_is_that_of_the_project(tmp_path):
    assert ok("--version", cwd=tmp_path) == f"dexto-magic {project_version()}\n"
    assert "--version" in ok("--help")


def test_the_version_is_known_in_a_clone_that_is_not_installed(monkeypatch, capsys):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dexto-magic {project_version()}\n"


def test_a_copy_whose_version_nobody_knows_works(monkeypatch, capsys, tmp_path):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(command_line, "__file__", str(tmp_path / "dexto_magic" / "cli" / "line.py"))
    assert cli.main(["sessions"]) == 0
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.endswith("dexto-magic of unknown version\n")


def test_the_installed_script_is_the_same_program(talked):
    script = Path(sys.executable).with_name("dexto-magic")
    if not script.exists():
        pytest.skip("the package is not installed in this environment")
    assert ok("sessions", command=[script]) == ok("sessions")
    assert "no session 'nobody'" in refused("history", "nobody", command=[script])
    refused("nonsense", command=[script], code=2)


# -- the demo --------------------------------------------------------------------------------------


def test_the_headless_demo_shows_a_conversation_outliving_its_kernel(home):
    shown = ok("demo", "--headless")
    first = re.search(r"^Kernel 1 \(process (\d+)\), answered by practice:$", shown, re.MULTILINE)
    second = re.search(r"^Kernel 2 \(process (\d+)\):$", shown, re.MULTILINE)
    assert first[1] != second[1]
    story = [
        first[0],
        "  > My name is Sarah.",
        "  Nice to meet you, Sarah.",
        f"Killed process {first[1]} with SIGKILL.",
        second[0],
        "  > What is my name?",
        "  Your name is Sarah.",
        "The history that kernel 2 sees:",
        "  quickstart — 2 turns, last used ",
        "    My name is Sarah.",
        "    Nice to meet you, Sarah.",
        "    What is my name?",
        "    Your name is Sarah.",
    ]
    places = []
    for line in story:
        places.append(shown.find("\n" + line, places[-1] + 1 if places else -1))
    assert places == sorted(places), list(zip(story, places, strict=True))
    assert -1 not in places[1:]
    assert not CONTROLS.search(shown.replace("\n", ""))
    for pid in (first[1], second[1]):
        assert not Path(f"/proc/{pid}").exists(), "no kernel is left"
    assert not home.exists(), "the demo has a store of its own"


def test_a_demo_with_a_model_that_makes_no_sense_begins_nothing():
    assert "openai:" in refused("demo", "--headless", "--model", "openai:")


def test_a_demo_that_the_model_refuses_says_why_and_leaves_no_kernel():
    done = dexto("demo", "--headless", "--model", "openai:gpt-4o")
    assert done.returncode == 1
    assert "OPENAI_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    pid = re.search(r"Kernel 1 \(process (\d+)\)", done.stdout)[1]
    assert not Path(f"/proc/{pid}").exists()


@pytest.fixture
def demo(tmp_path):
    """The demo in JupyterLab at a terminal, with folders of its own and a browser that does nothing."""
    own = {
        name: str(tmp_path / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    with at_a_terminal("demo", BROWSER="true", TMPDIR=str(tmp_path), **own) as child:
        child.expect(r"copy of the quickstart, (\S+), answered by practice\.")
        child.notebook = Path(child.match[1])
        child.expect("is running at:")
        yield child


def assert_left(child, words):
    """The copy is still there, and that is the last thing that was said."""
    folder = child.notebook.parent
    said = f"The notebook is still in {folder}, and its sessions with it: "
    assert words.endswith(f"{said}dexto-magic sessions --store {folder / 'store'}\r\n")
    assert child.notebook.exists()


QUESTION = r"Shut ?down this Jupyter server"


@forks
def test_ctrl_c_in_the_demo_has_jupyterlab_ask_and_a_yes_ends_both(demo):
    demo.sendintr()
    demo.expect(QUESTION)
    demo.sendline("y")
    words, code = ended(demo)
    assert "Shutdown confirmed" in words
    assert code == 0
    assert_left(demo, words)


@forks
def test_ctrl_c_in_the_demo_can_be_thought_better_of(demo):
    demo.sendintr()
    demo.expect(QUESTION)
    demo.sendline("n")
    demo.expect("resuming operation")
    assert demo.isalive()
    demo.sendintr()
    # It is asked again, unless JupyterLab has not yet got round to forgetting the first time.
    demo.expect([QUESTION, "received signal 2, stopping"])
    demo.sendintr()
    words, _ = ended(demo)
    assert_left(demo, words)
