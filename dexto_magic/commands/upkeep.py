"""The store as a whole: looked over, backed up, and restored. No agent has to be started for it."""

from __future__ import annotations

from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.commands.files import written_out
from dexto_magic.commands.progress import shown_share
from dexto_magic.conversation.health import StoreReport
from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.rendering import plain


def examined(agent: DextoAgent) -> StoreReport:
    """What state the store is in.

    Raises:
        StoreError: It is in memory.
    """
    return agent.doctor()


def backed_up(agent: DextoAgent, file: str, *, force: bool) -> BackedUp:
    """A backup of the store.

    Args:
        agent: The agent.
        file: The file, in which ``~`` is the home directory.
        force: Whether a file that is there is replaced.

    Raises:
        FormatError: The file is there already, or cannot be written.
        StoreError: The store cannot be read.
    """
    with shown_share("pages") as tell:
        return agent.backup(written_out(file), replace_file=force, tell=tell)


def restored(agent: DextoAgent, file: str, *, before: str | None) -> Restored:
    """The store with the content of a backup.

    Args:
        agent: The agent.
        file: The backup, likewise.
        before: The file for a backup of what is there now, likewise; or ``None``.

    Raises:
        FormatError: It is no backup that can be used, or the other file cannot be written.
        SessionBusyError: A turn is running.
        StoreError: The store cannot be replaced.
    """
    with shown_share("rows") as tell:
        kept = None if before is None else written_out(before)
        return agent.restore(written_out(file), before=kept, tell=tell)


def what_restoring_takes(agent: DextoAgent) -> str | None:
    """What a restore would put away, if anything; also where nobody can tell.

    Raises:
        StoreError: The store is in memory, or the system keeps it from being looked at.
    """
    report = agent.doctor()
    if not report.exists or (report.sessions == 0 and not report.needs_action):
        return None
    if report.sessions is None:
        return f"the store in {report.location} cannot be read"
    sessions = plain.count(report.sessions, "session")
    messages = plain.count(report.messages or 0, "message")
    return f"the store in {report.location} holds {sessions} with {messages}"
