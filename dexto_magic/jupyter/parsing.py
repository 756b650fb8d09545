"""What is typed after a magic or a verb, as values; what cannot be is a ``UsageError``."""

from __future__ import annotations

import difflib
import json
import keyword
import re
import shlex
from argparse import ArgumentTypeError, Namespace
from typing import cast

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from dexto_magic.commands.arguments import Argument, counted
from dexto_magic.conversation.messages import JSON
from dexto_magic.jupyter.asking import Asked


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
        only_shown=arguments.show_prompt,
    )
    return arguments.session, arguments.output, asked


_RETRY_OPTION = re.compile(
    r"""(?P<name>-m|--model|-s|--system|-O|--option|--at)(?:\s+|=)(?P<value>"[^"]*"|'[^']*'|\S+)\s*"""
)
_ANY_OPTION = re.compile(r"--[A-Za-z][\w-]*")


def retry_options(rest: str) -> tuple[str, Asked]:
    """The new text of a retry, to the letter, and the options before it.

    Raises:
        UsageError: An option is unknown, or its value is of no sense.
    """
    given: dict[str, str] = {}
    options: dict[str, JSON] = {}
    text = rest
    while found := _RETRY_OPTION.match(text):
        name, value = found["name"].lstrip("-"), found["value"]
        value = value[1:-1] if value[0] in "\"'" else value
        if name in ("O", "option"):
            options |= [_option(value)]
        else:
            given[name[0]] = value
        text = text[found.end() :]
    if text.startswith("-- "):
        text = text[len("-- ") :]
    elif unknown := _ANY_OPTION.match(text):
        raise UsageError(
            f"`%dexto retry` has no option {unknown[0]!r}, or it lacks its value. It has --at TURN, "
            "-m MODEL, -s TEXT and -O KEY=VALUE; a text that begins with dashes goes behind `-- `"
        )
    try:
        turn = counted(given["a"]) if "a" in given else None
    except ArgumentTypeError as error:
        raise UsageError(f"--at: {error}") from error
    return text, Asked(
        model=given.get("m"),
        system=given.get("s"),
        options=options,
        as_value=True,
        again=True,
        turn=turn,
    )


def _option(text: str) -> tuple[str, JSON]:
    """A request option: its value as JSON where it is JSON, else as text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"-O takes KEY=VALUE, such as temperature=0, not {text!r}")
    try:
        return name, cast(JSON, json.loads(value))
    except ValueError:
        return name, value


def parsed(verb: str, rest: str, *arguments: Argument) -> Namespace:
    """The arguments of a verb, split as a shell does, so that quotes work.

    Raises:
        UsageError: They are not what the verb takes.
    """
    parser = MagicArgumentParser(prog=f"dexto {verb}")  # it writes a % before it
    for argument in arguments:
        argument.add_to(parser)
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
    parser.allow_abbrev = False  # lest --y be --yes, and what is mistyped something else
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
