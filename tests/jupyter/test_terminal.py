"""``%dexto`` in IPython in a terminal: a real pseudo-terminal, real keys, a real kill -9."""

import os
import re
import signal
import sys
from contextlib import ExitStack

import pexpect
import pytest

from tests.support.openai_answers import WAIT, held, status, text

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # forkpty

SECONDS = 60
END = ("", "")
"""What ends a cell magic: IPython waits for empty lines."""

CONTROLS = re.compile(r"\x1b\][^\x07]*\x07|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>]")


class Terminal:
    """IPython in a terminal of its own, 100 columns wide."""

    def __init__(self, home, *, simple=True, colors="NoColor", **environment):
        options = ["--no-banner", "--no-confirm-exit", f"--colors={colors}"]
        self._process = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", *options, *(["--simple-prompt"] if simple else [])],
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here answers where the cursor is
                "IPYTHONDIR": str(home / "ipython"),
                "DEXTO_HOME": str(home / "store"),
                "DEXTO_MODEL": "practice",
                **environment,
            },
            encoding="utf-8",
            dimensions=(50, 100),
            timeout=SECONDS,
        )
        self._number = 1
        self.until(f"In [{self._number}]:")

    def until(self, shown):
        """What came until ``shown`` did, with it."""
        self._process.expect_exact(shown)
        return self._process.before + shown

    def type(self, line):
        """Types a line and presses Enter."""
        self._process.sendline(line)

    def raw(self, *lines):
        """All that the terminal is sent from the first key to the next prompt."""
        for line in lines:
            self.type(line)
        return self.answer()

    def answer(self):
        """All that comes until the next prompt."""
        self._number += 1
        return self.until(f"In [{self._number}]:")

    def run(self, *lines):
        """What is shown from the first key to the next prompt, without colours."""
        return CONTROLS.sub("", self.raw(*lines)).replace("\r\n", "\n")

    def interrupt(self):
        """Presses Ctrl-C."""
        self._process.sendintr()

    def kill(self):
        """kill -9, seen through to the end."""
        self._process.kill(signal.SIGKILL)
        self._process.wait()

    def close(self):
        self._process.close(force=True)


@pytest.fixture
def start(tmp_path):
    """Starts IPython in terminals, on one store, with the extension loaded."""
    with ExitStack() as stack:

        def started(**options):
            terminal = Terminal(tmp_path, **options)
            stack.callback(terminal.close)
            assert terminal.run("%load_ext dexto_magic").count("\n") == 2  # what was typed, no more
            return terminal

        yield started


@pytest.mark.parametrize("simple", [True, False], ids=["simple prompt", "full prompt"])
def test_questions_are_typed_as_they_are_and_remembered(start, simple):
    terminal = start(simple=simple)
    assert "Nice to meet you, Sarah." in terminal.run("%dexto ask My name is Sarah.")
    assert "Your name is Sarah." in terminal.run("%dexto ask What's my name?")
    history = terminal.run("%dexto history")
    for words in ("My name is Sarah.", "What's my name?", "Your name is Sarah.", "── turn 2 · 20"):
        assert words in history
    sessions = terminal.run("%dexto sessions")
    assert "last used (UTC)" in sessions
    assert re.search(r"sess_\w+ .*\b2  20", sessions)


def test_a_cell_with_a_name_is_typed_over_several_lines(start):
    terminal = start()
    shown = terminal.run("%%dexto eda", "My name is Sarah.", "And what's new?", *END)
    assert "new session 'eda'" in shown
    assert "Nice to meet you, Sarah." in shown
    assert "eda · turn 1 · practice · " in shown
    assert "And what's new?" in terminal.run("%dexto history eda")


def test_the_session_called_current_is_where_a_question_without_a_name_goes(start):
    terminal = start()

    def asked_in():
        terminal.run("%dexto ask What's my name?")
        return re.search(r"'(.+)'", terminal.run("_dexto.session_id"))[1]

    def called_current():
        return re.search(r"session +(\S+)", terminal.run("%dexto"))[1]

    terminal.run("%%dexto eda", "My name is Sarah.", *END)
    assert called_current() == "none", "a cell with a name changes nothing for those without"
    own = asked_in()
    assert own != "eda"
    assert called_current() == own
    assert f"{own} (current)  " in terminal.run("%dexto sessions")
    terminal.run("%dexto use eda")
    assert (called_current(), asked_in()) == ("eda", "eda")
    assert "eda (current)  " in terminal.run("%dexto sessions")


def test_a_question_is_asked_without_the_percent_sign_unless_the_name_is_taken(start):
    terminal = start()
    terminal.run("%dexto ask My name is Sarah.")
    assert "Your name is Sarah." in terminal.run("dexto ask What is my name?")
    terminal.run("dexto = 1")
    assert "Your name is Sarah." not in terminal.run("dexto ask What is my name?")


def test_a_question_goes_on_in_the_next_line_after_a_backslash(start):
    terminal = start()
    shown = terminal.run("reply = %dexto ask Repeat after me: hello \\", "world?")
    assert "hello  world?" in shown
    assert "'hello  world?'" in terminal.run("reply.content")


def test_a_reply_streams_into_the_terminal(start, server):
    server.script(text("The first half", WAIT, ", and the second."))
    terminal = start(
        DEXTO_MODEL="openai:gpt-4o-mini",
        OPENAI_BASE_URL=server.base_url,
        OPENAI_API_KEY="sk-test-0123456789abcdef",
    )
    terminal.type("%dexto ask Go.")
    terminal.until("The first half")
    server.release()
    assert terminal.answer().startswith(", and the second.\r\n")


def test_a_reply_in_one_piece_is_shown_once_and_what_it_waits_for_at_once(start, server):
    server.script(status(429, "Slow down.", headers={"retry-after": "0"}), held(text("All of it.")))
    terminal = start(
        DEXTO_MODEL="openai:gpt-4o-mini",
        OPENAI_BASE_URL=server.base_url,
        OPENAI_API_KEY="sk-test-0123456789abcdef",
    )
    for line in ("%%dexto eda --no-stream", "Go.", *END):
        terminal.type(line)
    terminal.until("asking again")
    server.release()
    assert terminal.answer().count("All of it.") == 1
    assert server.chats[-1].body.get("stream") is not True


@pytest.mark.parametrize("simple", [True, False], ids=["simple prompt", "full prompt"])
def test_ctrl_c_keeps_what_came_and_gives_the_prompt_back(start, simple):
    terminal = start(simple=simple)
    terminal.run("%dexto model practice:slow")
    terminal.type("%dexto ask Tell me a story.")
    terminal.until("Sentence 1 of this reply")
    terminal.interrupt()
    shown = terminal.answer()
    assert "cut short: interrupted" in shown
    assert "KeyboardInterrupt" in shown
    assert "Traceback" not in shown
    history = terminal.run("%dexto history")
    assert "Sentence 1 of this reply" in history
    assert "cut short: interrupted" in history
    terminal.run("%dexto model practice")
    assert "Nice to meet you, Sarah." in terminal.run("%dexto ask My name is Sarah.")


EVIL = (
    r"\x1b]0;evil\x07title \x1b[31mred \x1b[2J\x1b[Hgone \x1b]8;;https://evil.example\x07link\x1b]8;;\x07 "
    r"\x9b31mred \x1bPq\x1b\\ \x1b]52;c;ZXZpbA==\x07 \r\x08\x07\u202eright"
)


def test_control_sequences_in_prompts_and_replies_do_not_reach_the_terminal(start):
    terminal = start()
    call = f"get_ipython().run_cell_magic('dexto', 'evil', 'Repeat after me: {EVIL}')"
    for line in (call, "%dexto history evil", "%dexto sessions", "_dexto", "print(1)"):
        shown = terminal.raw(line)
        ours = re.compile(r"\x1b\[[012]m")  # bold, dim, and their end
        left = ours.sub("", shown)
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", left), line
        assert not re.search(r"\r(?!\r?\n)", left), line
        assert "evil.example" not in left.replace(call, "")
    assert "title red gone link" in terminal.run("%dexto history evil")


@pytest.mark.parametrize(
    ("options", "colored"),
    [
        ({"colors": "Linux"}, True),
        ({"colors": "NoColor"}, False),
        ({"colors": "Linux", "NO_COLOR": "1"}, False),
    ],
    ids=["by default", "IPython's option", "NO_COLOR"],
)
def test_colours_are_shown_unless_they_are_not_wanted(start, options, colored):
    terminal = start(**options)
    terminal.run("%dexto ask My name is Sarah.")
    shown = terminal.raw("%dexto history") + terminal.raw("%dexto history nobody")
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[31mSessionNotFoundError"):
        assert (code in shown) == colored


def test_a_killed_terminals_conversation_goes_on_in_the_next(start):
    first = start()
    first.run("%%dexto eda", "My name is Sarah.", *END)
    first.kill()
    second = start()
    shown = second.run("%%dexto eda", "What is my name?", *END)
    assert "resumed 1 turn, last on 20" in shown
    assert "Your name is Sarah." in shown


def test_what_a_terminal_asked_without_a_name_is_found_again_after_a_kill(start):
    first = start()
    first.run("%dexto ask My name is Sarah.")
    first.kill()
    second = start()
    assert "1 turn" in second.run("%dexto use last")
    shown = second.run("%dexto ask What's my name?")
    assert "resumed 1 turn, last on 20" in shown
    assert "Your name is Sarah." in shown


def test_who_asks_without_a_name_in_a_new_terminal_is_told_of_the_session_before(start):
    first = start()
    first.run("%dexto ask My name is Sarah.")
    first.kill()
    shown = start().run("%dexto ask What's my name?")
    assert "I don't have that information." in shown
    assert "`%dexto use last` continues the one before" in shown


def test_turns_are_taken_back_asked_again_and_all_of_it_is_in_the_history(start):
    terminal = start()
    terminal.run("%%dexto eda", "Repeat after me: first", *END)
    terminal.run("%dexto use eda")
    shown = terminal.run("%dexto retry Repeat after me: second")
    assert "second\n" in shown
    assert "eda · turn 1 · practice" in shown
    shown = terminal.run("%dexto history")
    assert "Repeat after me: second" in shown
    assert "first" not in shown.partition("──")[2]
    assert "Turn 1 (“Repeat after me: first”) is back at version 1." in (
        terminal.run("%dexto undo")
    )
    assert "is out of the conversation; `%dexto redo` brings it back" in terminal.run("%dexto undo")
    for _ in range(2):
        terminal.run("%dexto redo")
    terminal.run("%dexto ask Repeat after me: third")
    terminal.run("%dexto undo")
    everything = terminal.run("%dexto history --all")
    for words in ("me: first", "me: second", "me: third"):
        assert words in everything
    assert "usage: %dexto undo" in terminal.run("%dexto undo 2")


def test_a_retry_that_is_interrupted_keeps_what_came_and_gives_the_prompt_back(start):
    terminal = start()
    terminal.run("%dexto new eda")
    terminal.run("%dexto ask My name is Sarah.")
    terminal.run("%dexto model practice:slow")
    terminal.type("%dexto retry")
    terminal.until("Sentence 1 of this reply")
    terminal.interrupt()
    shown = terminal.answer()
    assert "cut short: interrupted" in shown
    assert "KeyboardInterrupt: the turn was ended; what had arrived is kept" in shown
    assert "Sentence 1 of this reply" in terminal.run("%dexto history")
    terminal.run("%dexto undo")
    assert "Nice to meet you, Sarah." in terminal.run("%dexto history")


def test_a_conversation_is_forked_summarised_and_looked_at_before_it_is_sent(start):
    terminal = start()
    terminal.run("%dexto new eda")
    for prompt in ("My name is Sarah.", "My dog is Rex.", "Hello."):
        terminal.run(f"%dexto ask {prompt}")
    assert "'other' is a fork of 'eda' at turn 3: 3 turns" in terminal.run("%dexto fork other")
    shown = terminal.run("%dexto compact")
    assert "summarised turn 1, for" in shown
    assert "My name is Sarah." in shown
    shown = terminal.run("%%dexto --show-prompt", "What is my name?", *END)
    assert "nothing was sent" in shown
    assert "── 1 · system ──" in shown
    assert "What is my name?" in shown
    assert "Your name is Sarah." in terminal.run("%dexto ask What is my name?")
    assert "'other' is called 'thesis' now" in terminal.run("%dexto rename other thesis")
