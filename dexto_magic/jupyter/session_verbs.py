"""Verbs of ``%dexto`` that are about whole sessions, and about what answers in them."""

from __future__ import annotations

import getpass
from dataclasses import replace
from typing import Any

from IPython.core.error import StdinNotImplementedError, UsageError

from dexto_magic import commands
from dexto_magic.commands.arguments import (
    GENERATE,
    PATTERN,
    SETTING,
    UP_TO,
    YES,
    Argument,
    number,
    session_name,
)
from dexto_magic.conversation.session import Session
from dexto_magic.errors import SessionNotFoundError
from dexto_magic.jupyter.parsing import parsed
from dexto_magic.jupyter.workbench import LAST, Workbench
from dexto_magic.llm.provider_table import PRACTICE, PROVIDERS
from dexto_magic.llm.providers import llm_config
from dexto_magic.rendering import plain
from dexto_magic.rendering.results import Facts, Forked, Renamed, Said, SessionTable


def use(bench: Workbench, rest: str) -> Said:
    """Lets cells without a name go to a session."""
    session = bench.use(parsed("use", rest, session_name()).name)
    return _now_current(session)


def new(bench: Workbench, rest: str) -> Said:
    """Begins a session and makes it the current one."""
    name = parsed("new", rest, session_name(optional=True)).name
    _refuse_last(name)
    session, made = bench.new(name)
    if not made:
        return _now_current(session)
    return Said((f"new session {session.id!r}; cells without a name go there now",))


def _now_current(session: Session) -> Said:
    turns = plain.count(session.turn_count, "turn")
    return Said((f"cells without a name go to {session.id!r} now: {turns}",))


def sessions(bench: Workbench, rest: str) -> SessionTable:
    """Lists sessions."""
    arguments = parsed("sessions", rest, PATTERN, number(commands.SHOWN_SESSIONS, "sessions"))
    current = bench.current_session()
    return commands.sessions(
        bench.agent,
        arguments.pattern,
        limit=arguments.number,
        current=current.id if current else None,
    )


def fork(bench: Workbench, rest: str) -> Forked:
    """Goes on from a session, or from a turn of it, in a new one."""
    names = Argument(("names",), {"metavar": "NAME", "nargs": "*", "help": "[NAME] NEW"})
    arguments = parsed("fork", rest, names, UP_TO)
    if len(arguments.names) not in (1, 2):  # what it comes from, and what it makes
        raise UsageError("`%dexto fork [NAME] NEW [--at TURN]`: a name with spaces takes quotes")
    *given, new = arguments.names
    _refuse_last(new)
    name = name_or_current(bench, given[0] if given else None, "fork", more=" NEW")
    fork = commands.forked(bench.agent, name, new, turn=arguments.at)
    if fork.made:
        bench.note_fork(fork.session)
    bench.go_on_in(fork.session)
    return replace(fork, current=True)


def rename(bench: Workbench, rest: str) -> Renamed:
    """Gives a session another name."""
    arguments = parsed(
        "rename", rest, session_name("old", metavar="OLD"), session_name("new", metavar="NEW")
    )
    _refuse_last(arguments.new)
    renamed = commands.renamed(bench.agent, arguments.old, arguments.new)
    bench.rename(renamed.old, renamed.session.id)
    return renamed


def _refuse_last(name: str | None) -> None:
    """Keeps a session from having the name by which `use` could never reach it.

    Raises:
        UsageError: It is that name.
    """
    if name == LAST:
        raise UsageError(f"{LAST!r} stands for the session before in `%dexto use {LAST}`")


def title(bench: Workbench, rest: str) -> Said | Facts:
    """Shows, sets or generates the title of the current session."""
    generate = rest.startswith("--") and parsed("title", rest, GENERATE).generate
    session = required_session(bench, "title")
    if generate:
        session = bench.agent.generate_title(session.id, model=bench.practice)
    elif rest:
        session = bench.agent.update_session(session.id, title=unquoted(rest))
    return commands.title_of(session)


def set_(bench: Workbench, rest: str) -> Facts:
    """Shows or changes what the current session does when the window is full."""
    setting = parsed("set", rest, SETTING).setting
    session = required_session(bench, "set")
    if setting:
        session = commands.configure(bench.agent, session.id, setting)
    return commands.settings_of(session)


def reset(bench: Workbench, rest: str) -> Any:
    """Takes all messages of a session away."""
    arguments = parsed("reset", rest, session_name(optional=True), YES)
    name = name_or_current(bench, arguments.name, "reset")
    confirm(bench, name, "reset", yes=arguments.yes)
    return bench.agent.reset_conversation(name)


def delete(bench: Workbench, rest: str) -> Any:
    """Takes a session away."""
    arguments = parsed("delete", rest, session_name(), YES)
    try:
        confirm(bench, arguments.name, "delete", yes=arguments.yes)
        removal = bench.agent.delete_session(arguments.name)
    except SessionNotFoundError as error:
        # Not an error in a cell: running a notebook again must not stop at what is done already.
        return Said((f"{error} Nothing was deleted.",))
    bench.forget(removal.session_id)
    return removal


def system(bench: Workbench, text: str) -> Said | Facts:
    """Shows or sets the current session's system prompt."""
    if not text:
        session = bench.current_session()
        if session is not None and session.system:
            return Facts(((f"system prompt of {session.id!r}", session.system),))
        return Said(("this session has no system prompt of its own: `%dexto system TEXT`",))
    settled, lines = bench.settled_session()
    session = bench.agent.update_session(settled.id, system=unquoted(text))
    if session.system is None:
        return Said((*lines, f"{session.id!r} has no system prompt of its own any more"))
    said = f"system prompt of {session.id!r} from the next turn on"
    return Facts(((said, session.system),), tuple(lines))


def model(bench: Workbench, name: str) -> Said:
    """Shows or chooses who answers."""
    if not name:
        session = bench.current_session()
        return Said(
            (
                f"model: {bench.model_of(session)}",
                f"`%dexto model PROVIDER:NAME` chooses another; providers: {', '.join(PROVIDERS)}",
            )
        )
    name = unquoted(name)
    if name.partition(":")[0].strip().lower() == PRACTICE:
        bench.choose_practice(name)
        return Said((f"model: {bench.practice}, for this kernel, stored with no session",))
    session, lines = bench.choose_model(name)
    if session.model is None:
        return Said((*lines, f"{session.id!r} goes by the default again: {bench.agent.model}"))
    return Said((*lines, f"model of {session.id!r} from the next turn on: {session.model}"))


def key(bench: Workbench, rest: str) -> Said:
    """Takes a key, without echo."""
    implied = llm_config(bench.model_of(bench.current_session())).provider
    provider = rest.lower() or implied
    if provider == PRACTICE:
        raise UsageError("the practice model needs no key; name a provider: `%dexto key PROVIDER`")
    if provider not in PROVIDERS:
        # Whatever this is, it may be the key itself: it is not shown again.
        raise UsageError(
            "`%dexto key [PROVIDER]` asks for the key, without echo; it takes none on the line. If "
            "what you typed was a key, take it out of this cell and out of IPython's history. "
            f"Providers: {', '.join(PROVIDERS)}"
        )
    try:
        key = getpass.getpass(f"Key for {provider}: ").strip()
    except StdinNotImplementedError as error:
        raise UsageError(
            "this front end cannot ask for a key; set "
            f"{PROVIDERS[provider].key_variable or 'it in the environment'} instead"
        ) from error
    if not key:
        return Said(("no key was entered; nothing changed",))
    bench.take_key(provider, key)
    return Said((f"key for {provider} taken, for this kernel only; it is stored nowhere",))


def name_or_current(bench: Workbench, name: str | None, verb: str, *, more: str = "") -> str:
    """The name that was given, else that of the session that a cell without a name goes to.

    Raises:
        UsageError: There is no such session yet.
    """
    if name is not None:
        return name
    session = bench.current_session()
    if session is None:
        raise UsageError(
            f"cells without a name have no session here yet; name one: `%dexto {verb} NAME{more}`"
        )
    return session.id


def required_session(bench: Workbench, verb: str) -> Session:
    """The session that a cell without a name goes to.

    Raises:
        UsageError: There is none yet.
    """
    session = bench.current_session()
    if session is None:
        raise UsageError(
            f"`%dexto {verb}` is about the current session, and there is none here yet: choose one "
            "with `%dexto use NAME`"
        )
    return session


def confirm(bench: Workbench, name: str, verb: str, *, yes: bool, turn: int | None = None) -> None:
    """Lets a removal pass, unless it would take what is older than this kernel, and nobody said yes.

    Raises:
        UsageError: It would.
    """
    since = bench.started_at
    loss = None if yes else commands.loss(bench.agent, name, since=since, turn=turn)
    if loss is not None:
        raise UsageError(f"{loss}, from before this kernel. To {verb} it all the same, add --yes")


def unquoted(text: str) -> str:
    """A text without the quotation marks around all of it; nothing is left of ``""``."""
    mark = text[:1]
    quoted = len(text) > 1 and mark in "\"'" and text[-1] == mark and mark not in text[1:-1]
    return text[1:-1] if quoted else text
