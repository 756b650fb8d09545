"""What ``%dexto`` can do: the table of its verbs, and how a line of it finds its verb.

A verb takes the rest of its line and returns a value to be shown, or ``None``. Those about sessions
are in ``session_verbs``, those about what was said in ``history_verbs``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from IPython.core.error import UsageError

from dexto_magic.jupyter import history_verbs, session_verbs, upkeep_verbs
from dexto_magic.jupyter.workbench import Workbench
from dexto_magic.rendering import plain
from dexto_magic.rendering.results import Facts


@dataclass(frozen=True)
class Verb:
    """A verb of ``%dexto``.

    Attributes:
        usage: Its name and what may follow.
        help: What it does, in one line.
        run: Does it, with the rest of the line.
        replies: Whether it asks a model, so that its value is a reply.
    """

    usage: str
    help: str
    run: Callable[[Workbench, str], Any]
    replies: bool = False

    @property
    def name(self) -> str:
        """The verb itself."""
        return self.usage.split(maxsplit=1)[0]


def status(bench: Workbench, _: str) -> Facts:
    """Where one is: session, model, turns, tokens, store."""
    session, last = bench.current_session(), bench.last_used_session()
    model = bench.model_of(session)
    none = "none yet: a cell without a name makes one"
    if last is not None:
        none += f" (last used here: {last.id!r})"
    return Facts(
        (
            ("session", session.id if session else none),
            ("title", (session.title or "") if session else ""),
            ("turns", plain.number(session.turn_count) if session else "0"),
            ("tokens", plain.tokens(session.usage) if session else "0"),
            ("model", f"{model} (for this kernel)" if bench.practice else model),
            ("store", bench.agent.location),
        ),
        ("`%dexto help` lists the verbs, `%dexto?` the options of a `%%dexto` cell.",),
    )


def run(bench: Workbench, line: str) -> Any:
    """Does what a line of ``%dexto`` says.

    Raises:
        UsageError: It says nothing that can be done.
        DextoError: It could not be done.
    """
    words = line.split(maxsplit=1)
    if not words:
        return status(bench, "")
    name, rest = words[0], words[1] if len(words) > 1 else ""
    verb = VERBS.get(name)
    if verb is None:
        close = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean `%dexto {close[0]}`? " if close else ""
        raise UsageError(f"unknown verb {name!r}; {hint}to ask: `%dexto ask {line.strip()}`")
    return verb.run(bench, rest.strip())


def replies(line: str) -> bool:
    """Whether a line of ``%dexto`` asks a model, so that its value is a reply."""
    verb = VERBS.get(line.split(maxsplit=1)[0]) if line.strip() else None
    return verb is not None and verb.replies


def _help(_: Workbench, __: str) -> Facts:
    return Facts(
        tuple((f"%dexto {verb.usage}".rstrip(), verb.help) for verb in VERBS.values()),
        ("`%dexto?` shows the options of a `%%dexto` cell.",),
    )


_ROWS = (
    Verb(
        "ask TEXT", "ask in the current session; returns the reply", history_verbs.ask, replies=True
    ),
    Verb("use NAME|last", "let cells without a name go to a session", session_verbs.use),
    Verb("new [NAME]", "begin a session and use it", session_verbs.new),
    Verb(
        "sessions [PATTERN] [-n N]",
        "list sessions, most recently used first",
        session_verbs.sessions,
    ),
    Verb(
        "history [NAME] [-n N] [--at TURN] [--all]",
        "show turns of a session: the newest, those around one, all versions",
        history_verbs.history,
    ),
    Verb(
        "search WORDS [--session NAME] [--role ROLE] [--since WHEN] [--until WHEN] [-n N] [--page N]",
        "find words in all sessions, with the command that shows each hit in place",
        history_verbs.search,
    ),
    Verb("undo", "take the last turn back, or bring its version before back", history_verbs.undo),
    Verb("redo", "bring back what was undone last", history_verbs.redo),
    Verb(
        "retry [--at TURN] [-m MODEL] [-s TEXT] [-O KEY=VALUE] [NEW TEXT]",
        "ask a turn again, the last one, or something else in its place",
        history_verbs.retry,
        replies=True,
    ),
    Verb(
        "forget TURN [--yes]",
        "take a turn away for good, in all its versions",
        history_verbs.forget,
    ),
    Verb(
        "fork [NAME] NEW [--at TURN]",
        "go on from a session, or from a turn of it, in a new one",
        session_verbs.fork,
    ),
    Verb("rename OLD NEW", "give a session another name", session_verbs.rename),
    Verb("title [TEXT | --generate]", "show, set or generate the title", session_verbs.title),
    Verb(
        "reset [NAME] [--yes]",
        "take all messages of a session away, and keep it",
        session_verbs.reset,
    ),
    Verb("delete NAME [--yes]", "take a session away with all that it holds", session_verbs.delete),
    Verb("system [TEXT]", "show or set the session's system prompt", session_verbs.system),
    Verb(
        "model [NAME]",
        "show or choose the session's model, or the practice model",
        session_verbs.model,
    ),
    Verb("key [PROVIDER]", "enter a key, without echo, for this kernel only", session_verbs.key),
    Verb(
        "set [KEY=VALUE]", "show or change what is done when the window is full", session_verbs.set_
    ),
    Verb("context [NAME]", "show how full the context window is", history_verbs.context),
    Verb("compact [NAME]", "have the older turns summarised", history_verbs.compact),
    Verb("usage [NAME | --all]", "show where tokens went", history_verbs.usage),
    Verb(
        "export [NAME | --all] [FILE] [--format FORMAT] [--force]",
        "write a session, or all, to a .md, .jsonl, .json or .ipynb file",
        history_verbs.export,
    ),
    Verb(
        "import FILE [--format FORMAT]",
        "take in an export, a notebook, OpenAI messages, a ChatGPT export or llm's logs",
        history_verbs.import_,
    ),
    Verb("doctor", "look the store over: what is wrong, what to do", upkeep_verbs.doctor),
    Verb(
        "backup FILE [--force]",
        "write all sessions to one file, while others use the store",
        upkeep_verbs.backup,
    ),
    Verb(
        "restore FILE [--before OTHER] [--yes]",
        "replace all sessions by those of a backup, after a backup of those that are there",
        upkeep_verbs.restore,
    ),
    Verb("help", "list the verbs", _help),
)

VERBS = {verb.name: verb for verb in _ROWS}
