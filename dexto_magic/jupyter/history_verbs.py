"""Verbs of ``%dexto`` that are about what was said: asked, shown, found, taken back, forgotten."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError

from dexto_magic import commands
from dexto_magic.commands.arguments import (
    AT,
    EVERY_SESSION,
    EVERYTHING,
    FILE,
    FORCE,
    FORMAT,
    IN_SESSION,
    PAGE,
    ROLE,
    SINCE,
    TURN,
    UNTIL,
    YES,
    Argument,
    number,
    session_name,
    split_query,
)
from dexto_magic.commands.progress import shown_progress
from dexto_magic.conversation.context import ContextReport
from dexto_magic.conversation.finding import SearchPage
from dexto_magic.conversation.session import Removal, Transcript, TurnChange
from dexto_magic.conversation.transfer import Exported, Imported
from dexto_magic.conversation.usage import UsageReport
from dexto_magic.errors import SessionError
from dexto_magic.formats.files import SUFFIXES
from dexto_magic.jupyter import asking
from dexto_magic.jupyter.asking import Asked
from dexto_magic.jupyter.parsing import parsed, retry_options
from dexto_magic.jupyter.session_verbs import confirm, name_or_current, required_session
from dexto_magic.jupyter.workbench import Workbench
from dexto_magic.rendering.results import Said


def ask(bench: Workbench, text: str) -> Any:
    """Asks in the current session."""
    if not text:
        raise UsageError("there is nothing to ask: `%dexto ask TEXT`")
    return asking.ask(bench, text, None, Asked(as_value=True))


def retry(bench: Workbench, rest: str) -> Any:
    """Asks a turn of the current session again, the last one, or something else in its place."""
    text, asked = retry_options(rest)
    name = required_session(bench, "retry").id
    return asking.ask(bench, text or None, name, asked)


def undo(bench: Workbench, rest: str) -> TurnChange:
    """Takes the last turn of the current session back."""
    parsed("undo", rest)
    return bench.agent.undo(required_session(bench, "undo").id)


def redo(bench: Workbench, rest: str) -> TurnChange:
    """Brings back what was undone last."""
    parsed("redo", rest)
    return bench.agent.redo(required_session(bench, "redo").id)


def forget(bench: Workbench, rest: str) -> Removal | Said:
    """Takes a turn of the current session away for good."""
    arguments = parsed("forget", rest, TURN, YES)
    name = required_session(bench, "forget").id
    if commands.is_forgotten(bench.agent, name, arguments.turn):
        with suppress(SessionError):
            bench.agent.forget_turn(name, arguments.turn)  # what was cut short before ends now
        # Not an error in a cell: running a notebook again must not stop at what is done already.
        return Said((f"turn {arguments.turn} of {name!r} was forgotten before; nothing was done",))
    confirm(bench, name, "forget", yes=arguments.yes, turn=arguments.turn)
    return bench.agent.forget_turn(name, arguments.turn)


def history(bench: Workbench, rest: str) -> Transcript:
    """Shows turns of a session."""
    arguments = parsed(
        "history", rest, session_name(optional=True), number(None, "turns"), AT, EVERYTHING
    )
    return commands.history(
        bench.agent,
        _looked_at(bench, arguments.name, "history"),
        turns=arguments.number,
        at=arguments.at,
        everything=arguments.all,
    )


def search(bench: Workbench, rest: str) -> SearchPage:
    """Finds where words stand, in all sessions."""
    words, options = split_query(rest)
    arguments = parsed(
        "search",
        shlex.join(options),
        IN_SESSION,
        ROLE,
        SINCE,
        UNTIL,
        number(commands.SHOWN_HITS, "hits on a page"),
        PAGE,
    )
    return commands.search(
        bench.agent,
        words,
        session_id=arguments.session,
        role=arguments.role,
        since=arguments.since,
        until=arguments.until,
        limit=arguments.number,
        page=arguments.page,
    )


def export(bench: Workbench, rest: str) -> Exported:
    """Writes a session to a file, or all of them."""
    targets = Argument(("targets",), {"metavar": "TARGET", "nargs": "*", "help": "[NAME] [FILE]"})
    arguments = parsed("export", rest, targets, EVERY_SESSION, FORMAT, FORCE)
    if len(arguments.targets) > (1 if arguments.all else 2):
        raise UsageError("`%dexto export [NAME] [FILE]`, or `%dexto export --all FILE`")
    name, file = _name_and_file(arguments.targets, every=arguments.all)
    return commands.exported(
        bench.agent,
        None if arguments.all else _looked_at(bench, name, "export"),
        file,
        force=arguments.force,
        form=arguments.format,
        progress=shown_progress,
    )


def _name_and_file(targets: Sequence[str], *, every: bool) -> tuple[str | None, str | None]:
    """Which of what was typed is a session's name, and which a file's."""
    if len(targets) == 2:  # noqa: PLR2004  # a name and a file
        return targets[0], targets[1]
    only = targets[0] if targets else None
    is_file = only is not None and (every or Path(only).suffix.lower() in SUFFIXES)
    return (None, only) if is_file else (only, None)


def import_(bench: Workbench, rest: str) -> Imported:
    """Takes sessions in from a file."""
    arguments = parsed("import", rest, FILE, FORMAT)
    return commands.imported(
        bench.agent, arguments.file, form=arguments.format, progress=shown_progress
    )


def usage(bench: Workbench, rest: str) -> UsageReport:
    """Shows where tokens went."""
    arguments = parsed("usage", rest, session_name(optional=True), EVERY_SESSION)
    if arguments.all and arguments.name:
        raise UsageError("`%dexto usage NAME` is of one session, `%dexto usage --all` of all")
    name = None if arguments.all else _looked_at(bench, arguments.name, "usage")
    return commands.usage(bench.agent, name, rates=bench.prices())


def context(bench: Workbench, rest: str) -> ContextReport:
    """Shows how full the context window is."""
    name = parsed("context", rest, session_name(optional=True)).name
    return bench.agent.context(_looked_at(bench, name, "context"), model=bench.practice)


def compact(bench: Workbench, rest: str) -> ContextReport:
    """Has the older turns of a session summarised."""
    name = parsed("compact", rest, session_name(optional=True)).name
    return bench.agent.compact(name_or_current(bench, name, "compact"), model=bench.practice)


def _looked_at(bench: Workbench, name: str | None, verb: str) -> str:
    """The session to be looked at: as named, else the current one, else the one used last."""
    last = None if name or bench.current_session() else bench.last_used_session()
    return last.id if last else name_or_current(bench, name, verb)
