"""What is said of a backup that was made, and of a store that was restored from one."""

from __future__ import annotations

from dexto_magic.conversation.transfer import BackedUp, Restored
from dexto_magic.rendering import plain
from dexto_magic.rendering.health import size


def backed_up_lines(value: BackedUp) -> list[str]:
    """What is in a backup, and what it is there for."""
    content = _content(value.sessions, value.messages)
    return [
        f"{content} backed up to {value.path}: {size(value.size)}, read back and found whole.",
        "What is deleted later is still in it: keep it as safe as the store.",
    ]


def restored_lines(value: Restored) -> list[str]:
    """What is in the store now, and where what was there before is."""
    lines = [f"{_content(value.sessions, value.messages)} restored from {value.path}."]
    if value.before is not None:
        before = value.before
        lines.append(
            f"What was there before is in {before.path}: "
            f"{_content(before.sessions, before.messages)}. Delete that file to be rid of it."
        )
    if value.set_aside is not None:
        lines += [
            f"What was there before is damaged: its files are in {value.set_aside}, as they were.",
            "Delete that folder to be rid of them.",
            "Kernels that have the store open say so when they use it next, and need a restart.",
        ]
    if value.purge_pending:
        lines.append(
            "purge pending: another process is reading the store, so bytes of what was there before "
            "are still in its files; it is tried again by itself."
        )
    return lines


def _content(sessions: int, messages: int) -> str:
    return f"{plain.count(sessions, 'session')} with {plain.count(messages, 'message')}"
