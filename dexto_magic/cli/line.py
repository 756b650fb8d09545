"""One command line: what was typed, what it does, and the exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from dexto_magic.cli.console import note
from dexto_magic.cli.verbs import VERBS
from dexto_magic.errors import DextoError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; its exit code: 0, 1 for what went wrong, 2 for a line of no sense."""
    parsed = _parsed(_parser(), arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without an emoji still gets the rest
    try:
        run: Callable[[argparse.Namespace], int] = parsed.run
        return run(parsed)
    except DextoError as error:
        note(str(error))
        return 1
    except KeyboardInterrupt as interrupt:
        note(str(interrupt))
        return 130
    except BrokenPipeError:
        # Whoever read has read enough, as `head` does; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; words that may be missing are found behind an option, too.

    The parser takes none for the words where an option comes before them.
    """
    parsed, rest = parser.parse_known_args(arguments)
    if rest and getattr(parsed, "words", None) == [] and not any(w.startswith("-") for w in rest):
        parsed.words = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return parsed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dexto-magic",
        allow_abbrev=False,
        description="Named conversations with language models: what notebooks and agents left in "
        "the store, looked at, searched, tidied and gone on with from the shell.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for run, arguments in VERBS:
        name, text = run.__name__.strip("_"), (run.__doc__ or "").strip()
        added = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        for argument in arguments:
            argument.add_to(added)
        added.set_defaults(run=run)
    return parser


def _version() -> str:
    """The version that is installed; in a clone that is not installed, the one that it would be."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("dexto-magic")
    project = Path(__file__).parents[2] / "pyproject.toml"
    with suppress(OSError, ValueError, KeyError):
        return str(tomllib.loads(project.read_text())["project"]["version"])
    return "of unknown version"  # copied file by file: no reason for the other verbs to fail
