"""The arguments of verbs, declared once for ``%dexto`` and for the command line.

Both parse with argparse; what a front end adds is whether a session's name may be left out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dexto_magic.errors import SettingsError
from dexto_magic.formats.files import FORMATS

NAME = "NAME"
"""How a session's name stands in a line of usage."""

ROLES = ("user", "assistant", "tool")


@dataclass(frozen=True)
class Argument:
    """An argument as argparse takes it.

    Attributes:
        names: Its name, or its options.
        how: What else argparse is told of it.
    """

    names: tuple[str, ...]
    how: dict[str, Any] = field(default_factory=dict)

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Declares it to a parser."""
        parser.add_argument(*self.names, **self.how)


def natural(text: str) -> int:
    """The number that was typed, such as after ``-n``; an argparse ``type``.

    Raises:
        ArgumentTypeError: It is not a whole number of 0 or more.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def counted(text: str) -> int:
    """The number of a turn or page that was typed; an argparse ``type``.

    Raises:
        ArgumentTypeError: None has such a number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of a turn or page: they count from 1"
        )
    return int(text)


def session_name(name: str = "name", *, metavar: str = NAME, optional: bool = False) -> Argument:
    """The name of a session."""
    how: dict[str, Any] = {"metavar": metavar, "help": "the session's name"}
    return Argument((name,), how | {"nargs": "?"} if optional else how)


def option(
    *names: str, metavar: str, text: str, kind: Callable[[str], Any] = str, default: Any = None
) -> Argument:
    """An option with a value."""
    return Argument(names, {"metavar": metavar, "help": text, "type": kind, "default": default})


def number(default: int | None, what: str) -> Argument:
    """``-n``: how much is shown."""
    return option(
        "-n", "--number", metavar="N", text=f"how many {what}", kind=natural, default=default
    )


def flag(name: str, text: str) -> Argument:
    """An option without a value."""
    return Argument((name,), {"action": "store_true", "help": text})


PATTERN = Argument(
    ("pattern",),
    {"metavar": "PATTERN", "nargs": "?", "help": "part of a name or title, or a pattern with *"},
)
YES = flag("--yes", "do not ask")
AT = option("--at", metavar="TURN", text="the turn to show, with those around it", kind=counted)
EVERYTHING = flag("--all", "also versions that were replaced or undone, and summaries")
TURN = Argument(("turn",), {"metavar": "TURN", "type": counted, "help": "the turn's number"})
UP_TO = option("--at", metavar="TURN", text="the last turn to take over", kind=counted)
WORDS = Argument(
    ("words",), {"metavar": "WORDS", "nargs": "+", "help": 'words, "a phrase", or begin*'}
)
IN_SESSION = option("--session", metavar=NAME, text="only in this session")
ROLE = Argument(("--role",), {"choices": ROLES, "help": "only what this role said"})
SINCE = option("--since", metavar="WHEN", text="30d, 12h, 2w or 2026-11-01, and later")
UNTIL = option("--until", metavar="WHEN", text="before that; of a date, before its end")
PAGE = option("--page", metavar="N", text="which page of the hits", kind=counted, default=1)
EVERY_SESSION = flag("--all", "of all sessions")
GENERATE = flag("--generate", "let the model write it")
SETTING = Argument(
    ("setting",),
    {
        "metavar": "KEY=VALUE",
        "nargs": "?",
        "help": "overflow=compact|trim|error or context_budget=TOKENS; empty to take it away",
    },
)
FORCE = flag("--force", "replace a file that is there")
FORMAT = option(
    "--format", metavar="FORMAT", text=f"one of {', '.join(FORMATS)}, if the file does not say it"
)
OPTIONAL_FILE = Argument(
    ("file",),
    {"metavar": "FILE", "nargs": "?", "help": "a name that ends in .md, .jsonl, .json or .ipynb"},
)
BACKUP = Argument(("file",), {"metavar": "FILE", "help": "the file for the backup"})
RESTORED = Argument(("file",), {"metavar": "FILE", "help": "the backup"})
BEFORE = option(
    "--before",
    metavar="OTHER",
    text="the file for a backup of what is there now; otherwise one beside the store's folder",
)
FILE = Argument(("file",), {"metavar": "FILE", "help": "the file to read"})

_VALUED = ("--session", "--role", "--since", "--until", "--page", "-n", "--number")
_TOKEN = re.compile(r'"[^"]*"|\S+')


def split_query(text: str) -> tuple[str, list[str]]:
    """What is searched for, its quotes kept, and the options of a search, wherever they stand."""
    words: list[str] = []
    options: list[str] = []
    tokens = iter(_TOKEN.findall(text))
    for token in tokens:
        if token in _VALUED:
            options += [token, *(value.strip('"') for value in islice(tokens, 1))]
        else:
            (options if token.startswith("--") else words).append(token)
    return " ".join(words), options


def query_of(words: Sequence[str]) -> str:
    """What is searched for, from words that a shell has split.

    A word with spaces in it was in quotation marks, which the shell took away: it is a phrase,
    unless there are marks of its own in it.
    """
    return " ".join(
        f'"{word}"' if " " in word.strip() and '"' not in word else word for word in words
    )


def refuse_negative(asked: int) -> None:
    """Lets pass what ``-n`` can be.

    Raises:
        SettingsError: It is negative.
    """
    if asked < 0:
        raise SettingsError(f"-n takes a whole number of 0 or more, not {asked}.", option="-n")
