"""``dexto-magic``: the verbs that make sense without a notebook, for the shell."""

from __future__ import annotations

import argparse
import functools
import io
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dexto_magic import commands
from dexto_magic.errors import DextoError, SettingsError
from dexto_magic.llm.provider_table import PRACTICE
from dexto_magic.rendering.plain import printable
from dexto_magic.rendering.views import as_text
from dexto_magic.settings import folder, wants_color
from dexto_magic.sync_agent import DextoAgent


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; its exit code: 0, 1 for what went wrong, 2 for a line of no sense."""
    parsed = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without an emoji still gets the rest
    try:
        run: Callable[[argparse.Namespace], int] = parsed.run
        return run(parsed)
    except DextoError as error:
        print(f"dexto-magic: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has read enough, as `head` does; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dexto-magic",
        description="Named conversations with language models: what notebooks and agents left in "
        "the store, looked at and tidied from the shell.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument(
        "--store",
        metavar="FOLDER",
        help="where the sessions are kept; otherwise DEXTO_HOME, else the platform's user data",
    )
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("name", metavar="NAME", help="the session's name")

    def verb(run: Callable[[argparse.Namespace], int], *parents: argparse.ArgumentParser) -> Any:
        """A sub-command, called and described as the function that does it."""
        name, text = run.__name__.strip("_"), (run.__doc__ or "").strip()
        added = verbs.add_parser(name, help=text, description=text, parents=parents)
        added.set_defaults(run=run)
        return added

    sessions = verb(_sessions, store)
    sessions.add_argument(
        "pattern", metavar="PATTERN", nargs="?", help="part of a name or title, or a pattern with *"
    )
    sessions.add_argument(
        "-n", "--number", metavar="N", type=commands.natural, default=commands.SHOWN_SESSIONS
    )
    history = verb(_history, named, store)
    history.add_argument(
        "-n", "--number", metavar="N", type=commands.natural, default=commands.SHOWN_TURNS
    )
    for removing in (verb(_reset, named, store), verb(_delete, named, store)):
        removing.add_argument("--yes", action="store_true", help="do not ask")
    demo = verb(_demo)
    demo.add_argument("--model", metavar="PROVIDER:NAME", help="a real model, not the practice one")
    demo.add_argument(
        "--headless",
        action="store_true",
        help="no browser: the same conversation in two kernels, the first one killed",
    )
    return parser


def _version() -> str:
    """The version that is installed; in a clone that is not installed, the one that it would be."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("dexto-magic")
    project = Path(__file__).parents[1] / "pyproject.toml"
    with suppress(OSError, ValueError, KeyError):
        return str(tomllib.loads(project.read_text())["project"]["version"])
    return "of unknown version"  # copied file by file: no reason for the other verbs to fail


def _agent(parsed: argparse.Namespace) -> DextoAgent:
    """The agent for a verb. None asks a model, so a ``DEXTO_MODEL`` of no sense must not matter."""
    if parsed.store is not None and not folder(parsed.store).exists():
        # None is made where a name was mistyped.
        raise SettingsError(f"There is no folder {parsed.store!r}.", option="store")
    return DextoAgent(PRACTICE, store=parsed.store)


def _sessions(parsed: argparse.Namespace) -> int:
    """List sessions, most recently used first."""
    with _agent(parsed) as agent:
        return _show(commands.sessions(agent, parsed.pattern, limit=parsed.number))


def _history(parsed: argparse.Namespace) -> int:
    """Show the newest turns of a session."""
    with _agent(parsed) as agent:
        return _show(commands.history(agent, parsed.name, turns=parsed.number))


def _reset(parsed: argparse.Namespace) -> int:
    """Take all messages of a session away, and keep the session."""
    with _agent(parsed) as agent:
        if not _confirmed(agent, parsed, "Reset"):
            return 1
        return _show(agent.reset_conversation(parsed.name))


def _delete(parsed: argparse.Namespace) -> int:
    """Take a session away with all that it holds."""
    with _agent(parsed) as agent:
        if not _confirmed(agent, parsed, "Delete"):
            return 1
        return _show(agent.delete_session(parsed.name))


def _demo(parsed: argparse.Namespace) -> int:
    """Open JupyterLab on a copy of the quickstart notebook."""
    from dexto_magic import demo

    # At once, as what the demo starts writes to the same place, and runs for long.
    say = functools.partial(print, flush=True)
    run = demo.headless if parsed.headless else demo.lab
    return run(parsed.model, say=say)


def _confirmed(agent: DextoAgent, parsed: argparse.Namespace, verb: str) -> bool:
    """Whether what would be lost may be lost: said by ``--yes``, or asked at a terminal."""
    if parsed.yes:
        return True
    loss = commands.loss(agent, parsed.name, since=datetime.now(UTC))
    if loss is None:
        return True
    if sys.stdin is not None and sys.stdin.isatty():  # it is None where it was closed
        try:
            answer = input(f"{loss}. {verb} it? [y/N] ")
        except EOFError:
            print()
            return False
        return answer.strip().lower() in ("y", "yes")
    print(f"dexto-magic: {loss}. To go on all the same, add --yes.", file=sys.stderr)
    return False


def _show(value: object) -> int:
    width = shutil.get_terminal_size().columns
    color = sys.stdout.isatty() and wants_color()
    print(as_text(value, width=width, color=color), end="", flush=True)
    return 0
