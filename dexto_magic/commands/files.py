"""Sessions out of the store into files, and in from them."""

from __future__ import annotations

import os
import re

from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.conversation.transfer import Exported, Imported, Progress, unseen
from dexto_magic.formats.files import suffix_of


def exported(
    agent: DextoAgent,
    name: str | None,
    file: str | None,
    *,
    force: bool = False,
    form: str | None = None,
    progress: Progress = unseen,
) -> Exported:
    """A session, or all, written to a file.

    Args:
        agent: The agent.
        name: The session's name, or ``None`` for all.
        file: The file, in which ``~`` is the home directory; ``None`` for a document named as the
            session.
        force: Whether a file that is there is replaced.
        form: The name of the format, if the file's name does not say it.
        progress: Shows how far it is.

    Raises:
        SessionNotFoundError: There is no such session.
        FormatError: The file cannot be written, or is there already.
        StoreError: The store cannot be read.
    """
    if file:
        path = written_out(file)
    else:
        form = form or ("jsonl" if name is None else "markdown")
        path = _file_name(name or "sessions") + suffix_of(form)
    names = None if name is None else [name]
    return agent.export_sessions(path, names, format=form, replace_file=force, progress=progress)


def imported(
    agent: DextoAgent, file: str, *, form: str | None = None, progress: Progress = unseen
) -> Imported:
    """Sessions taken in from a file.

    Args:
        agent: The agent.
        file: The file, in which ``~`` is the home directory.
        form: The name of the format, if the file does not tell it.
        progress: Shows how far it is.

    Raises:
        FormatError: The file cannot be read, or is of no format that can be taken in.
        StoreError: The store cannot take it.
    """
    try:
        return agent.import_sessions(written_out(file), format=form, progress=progress)
    except KeyboardInterrupt as interrupt:
        interrupt.args = (
            "the import was stopped; what it has taken in is whole, and run again it goes on there",
        )
        raise


def written_out(file: str) -> str:
    """The name of a file, ``~`` written out where that is somebody's home."""
    return os.path.expanduser(file)  # noqa: PTH111  # a user that is not there is no error


def _file_name(name: str) -> str:
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", name).strip(". ") or "session"
