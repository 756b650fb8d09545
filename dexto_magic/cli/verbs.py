"""The verbs of the command line: what each takes, and what it does."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable

from dexto_magic import commands
from dexto_magic.cli.agents import STORE, asking_agent, quiet_agent
from dexto_magic.cli.console import confirmed, follow, note, piped, show, terminal
from dexto_magic.cli.upkeep import backup, doctor, restore
from dexto_magic.commands.arguments import (
    AT,
    BACKUP,
    BEFORE,
    EVERY_SESSION,
    EVERYTHING,
    FILE,
    FORCE,
    FORMAT,
    GENERATE,
    IN_SESSION,
    OPTIONAL_FILE,
    PAGE,
    PATTERN,
    RESTORED,
    ROLE,
    SETTING,
    SINCE,
    TURN,
    UNTIL,
    UP_TO,
    WORDS,
    YES,
    Argument,
    counted,
    flag,
    number,
    option,
    query_of,
    session_name,
)
from dexto_magic.commands.progress import shown_progress
from dexto_magic.errors import ModelRequestError, SettingsError
from dexto_magic.rendering.finding import search_text
from dexto_magic.rendering.results import Renamed


def _sessions(parsed: argparse.Namespace) -> int:
    """List sessions, most recently used first."""
    with quiet_agent(parsed) as agent:
        return show(commands.sessions(agent, parsed.pattern, limit=parsed.number))


def _history(parsed: argparse.Namespace) -> int:
    """Show turns of a session: the newest, those around one, all versions."""
    with quiet_agent(parsed) as agent:
        return show(
            commands.history(
                agent, parsed.name, turns=parsed.number, at=parsed.at, everything=parsed.all
            )
        )


def _search(parsed: argparse.Namespace) -> int:
    """Find words in all sessions, with the command that shows each hit in place."""
    with quiet_agent(parsed) as agent:
        found = commands.search(
            agent,
            query_of(parsed.words),
            session_id=parsed.session,
            role=parsed.role,
            since=parsed.since,
            until=parsed.until,
            limit=parsed.number,
            page=parsed.page,
        )
        print(search_text(found, **terminal(), command="dexto-magic"), end="", flush=True)
        return 0


def _export(parsed: argparse.Namespace) -> int:
    """Write a session, or all, to a .md, .jsonl, .json or .ipynb file."""
    name, file = (
        (None, parsed.target or parsed.file) if parsed.all else (parsed.target, parsed.file)
    )
    if name is None and not parsed.all:
        raise SettingsError("Name a session, or ask for all with --all.", option="name")
    with quiet_agent(parsed) as agent:
        told = commands.exported(
            agent, name, file, force=parsed.force, form=parsed.format, progress=shown_progress
        )
        show(told)
        return 1 if told.unread else 0


def _import(parsed: argparse.Namespace) -> int:
    """Take in an export, a notebook, OpenAI messages, a ChatGPT export or llm's logs."""
    with quiet_agent(parsed) as agent:
        imported = commands.imported(
            agent, parsed.file, form=parsed.format, progress=shown_progress
        )
        show(imported)
        return 1 if imported.broken else 0


def _ask(parsed: argparse.Namespace) -> int:
    """Ask in a session, which is made if need be."""
    text = piped() if parsed.words == ["-"] else " ".join(parsed.words)
    if not text.strip():
        raise ModelRequestError("The message is empty; nothing was sent.")
    with asking_agent(parsed) as agent:
        session, line = commands.known_or_made(agent, parsed.name)
        if line is not None:
            note(line)
        return follow(agent.stream(text, session.id, wait=parsed.wait))


def _retry(parsed: argparse.Namespace) -> int:
    """Ask a turn of a session again, the last one, or something else in its place."""
    with asking_agent(parsed) as agent:
        text = " ".join(parsed.words) or None
        stream = agent.stream_retry(parsed.name, text, turn=parsed.at, wait=parsed.wait)
        return follow(stream)


def _undo(parsed: argparse.Namespace) -> int:
    """Take the last turn of a session back, or bring its version before back."""
    with quiet_agent(parsed) as agent:
        return show(agent.undo(parsed.name))


def _redo(parsed: argparse.Namespace) -> int:
    """Bring back what was undone last."""
    with quiet_agent(parsed) as agent:
        return show(agent.redo(parsed.name))


def _forget(parsed: argparse.Namespace) -> int:
    """Take a turn away for good, in all its versions."""
    with quiet_agent(parsed) as agent:
        if not confirmed(agent, parsed, "Forget", turn=parsed.turn):
            return 1
        return show(agent.forget_turn(parsed.name, parsed.turn))


def _fork(parsed: argparse.Namespace) -> int:
    """Go on from a session, or from a turn of it, in a new one."""
    with quiet_agent(parsed) as agent:
        return show(commands.forked(agent, parsed.name, parsed.new, turn=parsed.at))


def _rename(parsed: argparse.Namespace) -> int:
    """Give a session another name."""
    with quiet_agent(parsed) as agent:
        session = agent.rename_session(parsed.old, parsed.new)
        return show(Renamed(parsed.old, session, made=parsed.old != parsed.new))


def _title(parsed: argparse.Namespace) -> int:
    """Show, set or generate the title of a session."""
    if parsed.generate:
        if parsed.text is not None:
            raise SettingsError("Give a title, or have it written with --generate.", option="text")
        with asking_agent(parsed) as agent:
            return show(commands.title_of(agent.generate_title(parsed.name)))
    with quiet_agent(parsed) as agent:
        session = commands.known(agent, parsed.name)
        if parsed.text is not None:
            session = agent.update_session(session.id, title=parsed.text)
        return show(commands.title_of(session))


def _set(parsed: argparse.Namespace) -> int:
    """Show or change what a session does when the window is full."""
    with quiet_agent(parsed) as agent:
        session = commands.known(agent, parsed.name)
        if parsed.setting:
            session = commands.configure(agent, session.id, parsed.setting)
        return show(commands.settings_of(session))


def _context(parsed: argparse.Namespace) -> int:
    """Show how full the context window is."""
    with asking_agent(parsed) as agent:
        return show(agent.context(parsed.name))


def _compact(parsed: argparse.Namespace) -> int:
    """Have the older turns of a session summarised."""
    with asking_agent(parsed) as agent:
        return show(agent.compact(parsed.name, tell=note))


def _usage(parsed: argparse.Namespace) -> int:
    """Show where the tokens of a session went, or of all."""
    with quiet_agent(parsed) as agent:
        if parsed.all and parsed.name is not None:
            raise SettingsError("Name one session, or ask for all with --all.", option="name")
        return show(commands.usage(agent, parsed.name, rates=commands.prices({})))


def _new(parsed: argparse.Namespace) -> int:
    """Make a session."""
    with quiet_agent(parsed) as agent:
        return show(agent.create_session(parsed.name))


def _system(parsed: argparse.Namespace) -> int:
    """Show or set the system prompt of a session."""
    with quiet_agent(parsed) as agent:
        session = commands.known(agent, parsed.name)
        if parsed.text is not None:
            session = agent.update_session(session.id, system=parsed.text)
        return show(commands.system_of(session))


def _model(parsed: argparse.Namespace) -> int:
    """Show or choose the model of a session."""
    with quiet_agent(parsed) as agent:
        session = commands.known(agent, parsed.name)
        if parsed.model is not None:
            session = agent.update_session(session.id, model=parsed.model)
        return show(commands.model_of(session))


def _reset(parsed: argparse.Namespace) -> int:
    """Take all messages of a session away, and keep the session."""
    with quiet_agent(parsed) as agent:
        if not confirmed(agent, parsed, "Reset"):
            return 1
        return show(agent.reset_conversation(parsed.name))


def _delete(parsed: argparse.Namespace) -> int:
    """Take a session away with all that it holds."""
    with quiet_agent(parsed) as agent:
        if not confirmed(agent, parsed, "Delete"):
            return 1
        return show(agent.delete_session(parsed.name))


def _demo(parsed: argparse.Namespace) -> int:
    """Open JupyterLab on a copy of the quickstart notebook."""
    from dexto_magic import demo

    # At once, as what the demo starts writes to the same place, and runs for long.
    say = functools.partial(print, flush=True)
    run = demo.headless if parsed.headless else demo.lab
    return run(parsed.model, say=say)


_MODEL = option(
    "--model", metavar="PROVIDER:NAME", text="who answers; otherwise DEXTO_MODEL, else the default"
)

_WAIT = option(
    "--wait",
    metavar="SECONDS",
    text="how long to wait for another turn of the session",
    kind=float,
    default=60.0,
)

_ANY_WORDS = Argument(("words",), {"metavar": "TEXT", "nargs": "*", "help": "what to ask instead"})

_AGAIN = option("--at", metavar="TURN", text="the turn to ask again", kind=counted)
_ASKED_WORDS = Argument(
    ("words",), {"metavar": "TEXT", "nargs": "+", "help": "the message; - to read it from a pipe"}
)

_TEXT = Argument(("text",), {"metavar": "TEXT", "nargs": "?", "help": 'the title; "" for none'})

_SYSTEM_TEXT = Argument(
    ("text",),
    {"metavar": "TEXT", "nargs": "?", "help": 'the system prompt; "" for none of its own'},
)

_OWN_MODEL = Argument(
    ("model",),
    {"metavar": "PROVIDER:NAME", "nargs": "?", "help": 'the model; "" for none of its own'},
)

_DEMO_MODEL = option("--model", metavar="PROVIDER:NAME", text="a real model, not the practice one")

_HEADLESS = flag(
    "--headless", "no browser: the same conversation in two kernels, the first one killed"
)

_SESSION = session_name()

_TARGET = session_name("target", optional=True)

VERBS: tuple[tuple[Callable[[argparse.Namespace], int], tuple[Argument, ...]], ...] = (
    (_sessions, (PATTERN, number(commands.SHOWN_SESSIONS, "sessions"), STORE)),
    (_history, (_SESSION, number(None, "turns"), AT, EVERYTHING, STORE)),
    (
        _search,
        (
            WORDS,
            IN_SESSION,
            ROLE,
            SINCE,
            UNTIL,
            number(commands.SHOWN_HITS, "hits on a page"),
            PAGE,
            STORE,
        ),
    ),
    (_ask, (_SESSION, _ASKED_WORDS, _MODEL, _WAIT, STORE)),
    (_retry, (_SESSION, _ANY_WORDS, _AGAIN, _MODEL, _WAIT, STORE)),
    (_undo, (_SESSION, STORE)),
    (_redo, (_SESSION, STORE)),
    (_forget, (_SESSION, TURN, YES, STORE)),
    (_fork, (_SESSION, session_name("new", metavar="NEW"), UP_TO, STORE)),
    (_rename, (session_name("old", metavar="OLD"), session_name("new", metavar="NEW"), STORE)),
    (_title, (_SESSION, _TEXT, GENERATE, _MODEL, STORE)),
    (_set, (_SESSION, SETTING, STORE)),
    (_context, (_SESSION, _MODEL, STORE)),
    (_compact, (_SESSION, _MODEL, STORE)),
    (_usage, (session_name(optional=True), EVERY_SESSION, STORE)),
    (_reset, (_SESSION, YES, STORE)),
    (_delete, (_SESSION, YES, STORE)),
    (_new, (_SESSION, STORE)),
    (_system, (_SESSION, _SYSTEM_TEXT, STORE)),
    (_model, (_SESSION, _OWN_MODEL, STORE)),
    (_export, (_TARGET, OPTIONAL_FILE, EVERY_SESSION, FORMAT, FORCE, STORE)),
    (_import, (FILE, FORMAT, STORE)),
    (doctor, (STORE,)),
    (backup, (BACKUP, FORCE, STORE)),
    (restore, (RESTORED, BEFORE, YES, STORE)),
    (_demo, (_DEMO_MODEL, _HEADLESS)),
)
"""What each verb does, and what it takes; the first line of a function is its help."""
