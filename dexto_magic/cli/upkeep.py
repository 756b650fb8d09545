"""The verbs of the command line that are about the store as a whole."""

from __future__ import annotations

import argparse

from dexto_magic import commands
from dexto_magic.cli.agents import agent_at_rest
from dexto_magic.cli.console import agreed, show


def doctor(parsed: argparse.Namespace) -> int:
    """Look the store over, and say what is wrong and what to do; changes nothing."""
    report = commands.examined(agent_at_rest(parsed))
    show(report)
    return 1 if report.needs_action else 0


def backup(parsed: argparse.Namespace) -> int:
    """Write all sessions to one file, while others use the store."""
    return show(commands.backed_up(agent_at_rest(parsed), parsed.file, force=parsed.force))


def restore(parsed: argparse.Namespace) -> int:
    """Replace all sessions by those of a backup, after a backup of those that are there."""
    agent = agent_at_rest(parsed)
    loss = None if parsed.yes else commands.what_restoring_takes(agent)
    if not agreed(loss, "Replace"):
        return 1
    return show(commands.restored(agent, parsed.file, before=parsed.before))
