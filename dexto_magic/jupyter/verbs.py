"""What ``%dexto`` can do: one function for each verb, and the table of them.

A verb takes the rest of its line and returns a value to be shown, or ``None``.
"""

from __future__ import annotations

import difflib
import getpass
import json
import keyword
import shlex
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from dexto_magic import commands
from dexto_magic.conversation.messages import JSON
from dexto_magic.conversation.session import Session, Transcript
from dexto_magic.errors import SessionNotFoundError
from dexto_magic.jupyter.asking import Asked, ask
from dexto_magic.jupyter.workbench import LAST, Workbench
from dexto_magic.llm.provider_table import PRACTICE, PROVIDERS
from dexto_magic.llm.providers import llm_config
from dexto_magic.rendering import plain
from dexto_magic.rendering.views import Facts, Said, SessionTable


@dataclass(frozen=True)
class Verb:
    """A verb of ``%dexto``.

    Attributes:
        usage: Its name and what may follow.
        help: What it does, in one line.
        run: Does it, with the rest of the line.
    """

    usage: str
    help: str
    run: Callable[[Workbench, str], Any]

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


def cell_options(parser: MagicArgumentParser, line: str) -> tuple[str | None, str | None, Asked]:
    """What the first line of a ``%%dexto`` cell says: the session, the variable, and how to ask.

    Raises:
        UsageError: It says nothing that can be done.
    """
    arguments = parse(parser, line)
    output = arguments.output
    if output is not None and (not output.isidentifier() or keyword.iskeyword(output)):
        raise UsageError(f"-o takes the name of a variable, not {arguments.output!r}")
    asked = Asked(
        model=arguments.model,
        system=arguments.system,
        options=dict(map(_option, arguments.option)),
        stream=not arguments.no_stream,
        quiet=arguments.quiet,
    )
    return arguments.session, arguments.output, asked


def _option(text: str) -> tuple[str, JSON]:
    """A request option: its value as JSON where it is JSON, else as text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"-O takes KEY=VALUE, such as temperature=0, not {text!r}")
    try:
        return name, cast(JSON, json.loads(value))
    except ValueError:
        return name, value


def _ask(bench: Workbench, text: str) -> Any:
    if not text:
        raise UsageError("there is nothing to ask: `%dexto ask TEXT`")
    return ask(bench, text, None, Asked(as_value=True))


def _use(bench: Workbench, rest: str) -> Said:
    session = bench.use(_parsed("use", rest, _NAME).name)
    return _now_current(session)


def _new(bench: Workbench, rest: str) -> Said:
    name = _parsed("new", rest, _OPTIONAL_NAME).name
    if name == LAST:
        raise UsageError(f"{LAST!r} stands for the session before in `%dexto use {LAST}`")
    session, made = bench.new(name)
    if not made:
        return _now_current(session)
    return Said((f"new session {session.id!r}; cells without a name go there now",))


def _now_current(session: Session) -> Said:
    turns = plain.count(session.turn_count, "turn")
    return Said((f"cells without a name go to {session.id!r} now: {turns}",))


def _sessions(bench: Workbench, rest: str) -> SessionTable:
    arguments = _parsed("sessions", rest, _PATTERN, _number(commands.SHOWN_SESSIONS))
    current = bench.current_session()
    return commands.sessions(
        bench.agent,
        arguments.pattern,
        limit=arguments.number,
        current=current.id if current else None,
    )


def _history(bench: Workbench, rest: str) -> Transcript:
    arguments = _parsed("history", rest, _OPTIONAL_NAME, _number(commands.SHOWN_TURNS))
    last = None if arguments.name or bench.current_session() else bench.last_used_session()
    name = last.id if last else _name_or_current(bench, arguments.name, "history")
    return commands.history(bench.agent, name, turns=arguments.number)


def _reset(bench: Workbench, rest: str) -> Any:
    arguments = _parsed("reset", rest, _OPTIONAL_NAME, _YES)
    name = _name_or_current(bench, arguments.name, "reset")
    _confirmed(bench, name, "reset", yes=arguments.yes)
    return bench.agent.reset_conversation(name)


def _delete(bench: Workbench, rest: str) -> Any:
    arguments = _parsed("delete", rest, _NAME, _YES)
    try:
        _confirmed(bench, arguments.name, "delete", yes=arguments.yes)
        removal = bench.agent.delete_session(arguments.name)
    except SessionNotFoundError as error:
        # Not an error in a cell: running a notebook again must not stop at what is done already.
        return Said((f"{error} Nothing was deleted.",))
    bench.forget(removal.session_id)
    return removal


def _system(bench: Workbench, text: str) -> Said | Facts:
    if not text:
        session = bench.current_session()
        if session is not None and session.system:
            return Facts(((f"system prompt of {session.id!r}", session.system),))
        return Said(("this session has no system prompt of its own: `%dexto system TEXT`",))
    settled, lines = bench.settled_session()
    session = bench.agent.update_session(settled.id, system="" if text in _NOTHING else text)
    if session.system is None:
        return Said((*lines, f"{session.id!r} has no system prompt of its own any more"))
    said = f"system prompt of {session.id!r} from the next turn on"
    return Facts(((said, session.system),), tuple(lines))


def _model(bench: Workbench, name: str) -> Said:
    if not name:
        session = bench.current_session()
        return Said(
            (
                f"model: {bench.model_of(session)}",
                f"`%dexto model PROVIDER:NAME` chooses another; providers: {', '.join(PROVIDERS)}",
            )
        )
    if name.partition(":")[0].strip().lower() == PRACTICE:
        bench.choose_practice(name)
        return Said((f"model: {bench.practice}, for this kernel, stored with no session",))
    session, lines = bench.choose_model("" if name in _NOTHING else name)
    if session.model is None:
        return Said((*lines, f"{session.id!r} goes by the default again: {bench.agent.model}"))
    return Said((*lines, f"model of {session.id!r} from the next turn on: {session.model}"))


def _key(bench: Workbench, rest: str) -> Said:
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


def _help(_: Workbench, __: str) -> Facts:
    return Facts(
        tuple((f"%dexto {verb.usage}".rstrip(), verb.help) for verb in VERBS.values()),
        ("`%dexto?` shows the options of a `%%dexto` cell.",),
    )


def _name_or_current(bench: Workbench, name: str | None, verb: str) -> str:
    if name is not None:
        return name
    session = bench.current_session()
    if session is None:
        raise UsageError(
            f"cells without a name have no session here yet; name one: `%dexto {verb} NAME`"
        )
    return session.id


def _confirmed(bench: Workbench, name: str, verb: str, *, yes: bool) -> None:
    loss = None if yes else commands.loss(bench.agent, name, since=bench.started_at)
    if loss is not None:
        raise UsageError(f"{loss}, from before this kernel. To {verb} it all the same, add --yes")


_NOTHING = ('""', "''")
"""What takes a session's own value away, where a new one would stand."""

_Argument = tuple[tuple[str, ...], dict[str, Any]]

_NAME: _Argument = (("name",), {"metavar": "NAME"})
_OPTIONAL_NAME: _Argument = (("name",), {"metavar": "NAME", "nargs": "?"})
_PATTERN: _Argument = (("pattern",), {"metavar": "PATTERN", "nargs": "?"})
_YES: _Argument = (("--yes",), {"action": "store_true"})


def _number(default: int) -> _Argument:
    return ("-n", "--number"), {"type": commands.natural, "default": default, "metavar": "N"}


def _parsed(verb: str, rest: str, *arguments: _Argument) -> Namespace:
    """The arguments of a verb, split as a shell does, so that quotes work.

    Raises:
        UsageError: They are not what the verb takes.
    """
    parser = MagicArgumentParser(prog=f"dexto {verb}")  # it writes a % before it
    for names, how in arguments:
        parser.add_argument(*names, **how)
    return parse(parser, rest)


def parse(parser: MagicArgumentParser, line: str) -> Namespace:
    """Parses a line; the parser's own splitting keeps quotes and breaks ``--x="a b"``.

    Raises:
        UsageError: Something in it is unknown, missing or not closed.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{error} in: {line}") from error
    try:
        arguments, unknown = parser.parse_known_args(words)
    except UsageError as error:
        raise UsageError(f"{error}; {_usage(parser)}") from error
    if unknown:
        options = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001  # argparse has no public list
        close = difflib.get_close_matches(unknown[0].partition("=")[0], options, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown argument {unknown[0]!r}{hint}; {_usage(parser)}")
    return arguments


def _usage(parser: MagicArgumentParser) -> str:
    return " ".join(parser.format_usage().replace("::", "usage:").split())


VERBS = {
    verb.name: verb
    for verb in (
        Verb("ask TEXT", "ask in the current session; returns the reply", _ask),
        Verb("use NAME|last", "let cells without a name go to a session", _use),
        Verb("new [NAME]", "begin a session and use it", _new),
        Verb("sessions [PATTERN] [-n N]", "list sessions, most recently used first", _sessions),
        Verb("history [NAME] [-n N]", "show the newest turns of a session", _history),
        Verb("reset [NAME] [--yes]", "take all messages of a session away, and keep it", _reset),
        Verb("delete NAME [--yes]", "take a session away with all that it holds", _delete),
        Verb("system [TEXT]", "show or set the session's system prompt", _system),
        Verb("model [NAME]", "show or choose the session's model, or the practice model", _model),
        Verb("key [PROVIDER]", "enter a key, without echo, for this kernel only", _key),
        Verb("help", "list the verbs", _help),
    )
}
