"""Which notebook this is, and which session is its own.

A cell that names no session talks in its notebook's own one. A path alone does not tell: it may be
a new file where another one was, a copy, or a notebook that was renamed. So a session is resumed
only with evidence: a cell or a kernel that it knows, or an output that names it. The kernel counts
because the most natural crash of all comes before a new notebook was ever saved: its file has no
cells then, but a front end that restarts a kernel keeps its id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from IPython.core.interactiveshell import InteractiveShell

from dexto_magic import settings
from dexto_magic.conversation.history import cell_mark
from dexto_magic.conversation.session import Session, valid_session_id
from dexto_magic.errors import InvalidSessionIdError
from dexto_magic.jupyter.display import is_kernel
from dexto_magic.rendering import plain
from dexto_magic.sync_agent import DextoAgent


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a cell is run.

    Attributes:
        notebook: The path of its file, or ``None`` where nobody tells (terminal, nbclient).
        cell_id: The cell's id, or ``None`` where the front end sends none.
        kernel_id: The kernel's id, the same after a restart by the front end; ``None`` in a
            terminal.
    """

    notebook: str | None
    cell_id: str | None
    kernel_id: str | None


@dataclass(frozen=True, kw_only=True)
class Own:
    """The session of a cell that names none.

    Attributes:
        session_id: Its name.
        lines: What the user should know about the choice.
    """

    session_id: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Evidence:
    """What a notebook's file tells.

    Attributes:
        marks: Its cells, the one that is executing first, and its kernel.
        session_ids: The sessions that its outputs name.
    """

    marks: tuple[str, ...]
    session_ids: tuple[str, ...]


def place(shell: InteractiveShell) -> Place:
    """Where the cell that is executing stands.

    VS Code tells the path in a variable of the user's; Jupyter Server in the environment. A
    console has a path without a suffix there, which is no file.
    """
    path = shell.user_ns.get("__vsc_ipynb_file__") or settings.notebook_path()
    notebook = str(path) if path and Path(path).suffix else None
    get_parent = getattr(shell, "get_parent", None)
    parent = get_parent() if get_parent is not None else {}
    cell_id = (parent.get("metadata") or {}).get("cellId") if isinstance(parent, Mapping) else None
    return Place(notebook=notebook, cell_id=cell_id, kernel_id=_kernel_id(shell))


def _kernel_id(shell: InteractiveShell) -> str | None:
    if not is_kernel(shell):
        return None
    from ipykernel.connect import get_connection_file

    try:
        return Path(get_connection_file()).stem
    except RuntimeError:
        return None  # a kernel inside another program, which has none


def own_session(agent: DextoAgent, here: Place) -> Own:
    """The notebook's own session, resumed, adopted or made.

    Raises:
        StoreError: The store cannot take it.
    """
    if here.notebook is None:
        before = agent.list_sessions(limit=1)
        session = agent.create_session()
        line = f"new session {session.id!r}"
        if before:
            line += "; `%dexto use last` continues the one before"
        return Own(session_id=session.id, lines=(line,))
    evidence = _evidence(here)
    own = agent.notebook_session(here.notebook)
    if own is not None and _shows(agent, own, evidence):
        return _adopted(agent, own, here, evidence)
    other = _other(agent, here.notebook, evidence)
    if other is not None and other.home is not None and not Path(other.home).exists():
        line = f"this notebook was {other.home}: its session {other.id!r} goes on"
        return _adopted(agent, other, here, evidence, line)
    made = agent.create_session()
    if other is not None:
        line = (
            f"new session {made.id!r}: this is a copy of {other.home}; "
            f"`%dexto use {other.id}` goes on in the conversation of that one"
        )
    elif own is not None:
        line = (
            f"new session {made.id!r}: nothing in this file is known to {own.id!r}, the session of "
            f"an earlier file of this name; `%dexto use {own.id}` goes on in that one"
        )
    else:
        line = f"new session {made.id!r}, this notebook's own"
    return _adopted(agent, made, here, evidence, line)


def adopt(agent: DextoAgent, session: Session, here: Place) -> None:
    """Makes the session the own one of the notebook in which a cell is run, if there is one."""
    if here.notebook is not None:
        agent.adopt_notebook(session.id, here.notebook, _evidence(here).marks)


def current_own_session(agent: DextoAgent, here: Place) -> Session | None:
    """The notebook's own session if there is one to resume; nothing is made or changed."""
    if here.notebook is None:
        return None
    own = agent.notebook_session(here.notebook)
    return own if own is not None and _shows(agent, own, _evidence(here)) else None


def joined(session: Session, here: Place) -> str | None:
    """What to say when a kernel uses a session for the first time, or ``None`` if it is empty."""
    if not session.turn_count:
        return None
    turns, last = plain.count(session.turn_count, "turn"), plain.date(session.updated_at)
    if here.notebook in (None, session.home, *session.notebooks) or not session.notebooks:
        return f"resumed {turns}, last on {last}"
    return f"joined {session.id!r}: {turns}, last used in {session.notebooks[-1]} on {last}"


def _adopted(
    agent: DextoAgent, session: Session, here: Place, evidence: _Evidence, *lines: str
) -> Own:
    assert here.notebook is not None
    agent.adopt_notebook(session.id, here.notebook, evidence.marks)
    return Own(session_id=session.id, lines=lines)


def _shows(agent: DextoAgent, session: Session, evidence: _Evidence) -> bool:
    return session.id in evidence.session_ids or agent.knows_marks(session.id, evidence.marks)


def _other(agent: DextoAgent, notebook: str, evidence: _Evidence) -> Session | None:
    """The own session of another notebook that this file gives evidence of.

    Of several, one whose notebook is gone comes first: this may be that one, renamed.
    """
    named = (agent.get_session(session_id) for session_id in evidence.session_ids)
    found = [*named, *agent.sessions_of_marks(evidence.marks)]
    others = [one for one in found if one is not None and one.home not in (None, notebook)]
    gone = [one for one in others if one.home is not None and not Path(one.home).exists()]
    return next(iter([*gone, *others]), None)


def _evidence(here: Place) -> _Evidence:
    cells = _cells(here.notebook)
    outputs = [output for cell in cells for output in _list(cell, "outputs")]
    ids = [here.cell_id, *(cell.get("id") for cell in cells)]
    marks = [cell_mark(cell_id) for cell_id in ids if isinstance(cell_id, str)]
    if here.kernel_id is not None:
        marks.append(f"kernel {here.kernel_id}")
    names = [_dict(_dict(output, "metadata"), "dexto").get("session") for output in outputs]
    return _Evidence(
        marks=tuple(dict.fromkeys(marks)),
        session_ids=tuple(dict.fromkeys(name for name in names if _is_session_id(name))),
    )


def _cells(notebook: str | None) -> list[Any]:
    """The cells in the file; none if it is not there, not readable or not a notebook."""
    if notebook is None:
        return []
    try:
        content = json.loads(Path(notebook).read_bytes())
    except (OSError, ValueError):
        return []
    return [cell for cell in _list(content, "cells") if isinstance(cell, dict)]


def _list(value: object, name: str) -> list[Any]:
    item = value.get(name) if isinstance(value, dict) else None
    return item if isinstance(item, list) else []


def _dict(value: object, name: str) -> dict[str, Any]:
    item = value.get(name) if isinstance(value, dict) else None
    return item if isinstance(item, dict) else {}


def _is_session_id(name: object) -> TypeGuard[str]:
    try:
        return isinstance(name, str) and bool(valid_session_id(name))
    except InvalidSessionIdError:
        return False
