"""Verbs of ``%dexto`` that are about the store as a whole; it need not be one that can be opened."""

from __future__ import annotations

from IPython.core.error import UsageError

from dexto_magic import commands
from dexto_magic.commands.arguments import BACKUP, BEFORE, FORCE, RESTORED, YES
from dexto_magic.conversation.health import StoreReport
from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.jupyter.parsing import parsed
from dexto_magic.jupyter.workbench import Workbench


def doctor(bench: Workbench, rest: str) -> StoreReport:
    """Looks the store over."""
    parsed("doctor", rest)
    return commands.examined(bench.agent_at_rest)


def backup(bench: Workbench, rest: str) -> BackedUp:
    """Writes all sessions to one file."""
    arguments = parsed("backup", rest, BACKUP, FORCE)
    return commands.backed_up(bench.agent_at_rest, arguments.file, force=arguments.force)


def restore(bench: Workbench, rest: str) -> Restored:
    """Replaces all sessions by those of a backup."""
    arguments = parsed("restore", rest, RESTORED, BEFORE, YES)
    agent = bench.agent_at_rest
    loss = None if arguments.yes else commands.what_restoring_takes(agent)
    if loss is not None:
        raise UsageError(f"{loss}. To replace it all the same, add --yes")
    return commands.restored(agent, arguments.file, before=arguments.before)
