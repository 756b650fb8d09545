"""Which notebook this is, and which session is its own.

A cell that names no session talks in its notebook's own one. A path alone does not tell: it may be
a new file where another one was, a copy, or a notebook that was renamed. So a session is resumed
only with evidence: a cell or a kernel that it knows, or an output that names it. The kernel counts
because the most natural crash of all comes before a new notebook was ever saved: its file has no
cells then, but a front end that restarts a kernel keeps its id.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from IPython.core.interactiveshell import InteractiveShell

from dexto_magic import settings
from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.conversation.places import cell_mark
from dexto_magic.conversation.session import Session, valid_session_id
from dexto_magic.errors import InvalidSessionIdError
from dexto_magic.jupyter.display import is_kernel
from dexto_magic.rendering import plain

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


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
    """What shows which notebook this is.

    Attributes:
        executing: The mark of the cell that is run, if its id is known.
        kernel: The mark of the kernel, if it has one of its own.
        cells: The marks of the cells in the file.
        session_ids: The sessions that the outputs in the file name.
    """

    executing: tuple[str, ...]
    kernel: tuple[str, ...]
    cells: tuple[str, ...]
    session_ids: tuple[str, ...]

    @property
    def direct(self) -> tuple[str, ...]:
        """What is here for sure, whatever file stands at the path."""
        return (*self.executing, *self.kernel)


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
        found = _UUID.search(Path(get_connection_file()).stem)
    except RuntimeError:
        return None  # a kernel inside another program, which has none
    return found[0] if found else None  # a name that somebody chose may be used again


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
    found = _resumable(agent, here.notebook, evidence)
    if found is not None:
        lines = []
        if found.home not in (None, here.notebook):
            lines = [f"this notebook was {found.home}: its session {found.id!r} goes on"]
        _adopt(agent, found, here.notebook, evidence)
        return Own(session_id=found.id, lines=tuple(lines))
    line = _why_new(agent, here.notebook, evidence)
    made = agent.create_session()
    _adopt(agent, made, here.notebook, evidence)
    return Own(session_id=made.id, lines=(f"new session {made.id!r}{line}",))


def adopt(agent: DextoAgent, session: Session, here: Place) -> None:
    """Makes the session the own one of the notebook in which a cell is run, if there is one."""
    if here.notebook is not None:
        evidence = _evidence(here)
        agent.adopt_notebook(session.id, here.notebook, (*evidence.direct, *evidence.cells))


def current_own_session(agent: DextoAgent, here: Place) -> Session | None:
    """The notebook's own session if there is one to resume; nothing is made or changed."""
    if here.notebook is None:
        return None
    return _resumable(agent, here.notebook, _evidence(here))


def joined(session: Session, here: Place) -> str | None:
    """What to say when a kernel uses a session for the first time, or ``None`` if it is empty."""
    if not session.turn_count:
        return None
    turns, last = plain.count(session.turn_count, "turn"), plain.date(session.updated_at)
    if here.notebook in (None, session.home, *session.notebooks) or not session.notebooks:
        return f"resumed {turns}, last on {last}"
    return f"joined {session.id!r}: {turns}, last used in {session.notebooks[-1]} on {last}"


def _resumable(agent: DextoAgent, notebook: str, evidence: _Evidence) -> Session | None:
    """The session that this notebook has been talking in, if anything shows which.

    What is here, the executing cell and the kernel, counts for more than the file: a kernel goes on
    telling the path it was started for, where another file may stand by now.
    """
    own = agent.notebook_session(notebook)
    if own is not None and agent.knows_marks(own.id, evidence.direct):
        return own
    for session in agent.sessions_of_marks(evidence.direct):
        if session.home is None:
            return session  # another notebook took its path
    if own is not None and _shown_by_file(agent, own, evidence):
        return own
    others = _of_other_paths(agent, notebook, evidence)
    return next((other for other in others if not _is_there(other)), None)


def _of_other_paths(agent: DextoAgent, notebook: str, evidence: _Evidence) -> list[Session]:
    """Sessions of this file as it was under another path, or of the one it is a copy of."""
    named = (agent.get_session(session_id) for session_id in evidence.session_ids)
    # A guest that talked in another's session by its name is no copy for that.
    hosts = [one for one in named if one and one.home and notebook not in one.notebooks]
    found = [*hosts, *agent.sessions_of_marks([*evidence.executing, *evidence.cells])]
    return [session for session in found if session.home != notebook]


def _is_there(session: Session) -> bool:
    return session.home is not None and Path(session.home).exists()


def _shown_by_file(agent: DextoAgent, session: Session, evidence: _Evidence) -> bool:
    return session.id in evidence.session_ids or agent.knows_marks(session.id, evidence.cells)


def _adopt(agent: DextoAgent, session: Session, notebook: str, evidence: _Evidence) -> None:
    """Makes it the notebook's own, unless the path is that of another file by now."""
    own = agent.notebook_session(notebook)
    ours = bool(set(evidence.executing) & set(evidence.cells))
    ours = ours or _shown_by_file(agent, session, evidence)
    if ours or own is None or not _shown_by_file(agent, own, evidence):
        marks = (*evidence.direct, *(evidence.cells if ours else ()))
        agent.adopt_notebook(session.id, notebook, marks)


def _why_new(agent: DextoAgent, notebook: str, evidence: _Evidence) -> str:
    """What to say of a new session after its name: which one the user may have meant."""
    original = next(iter(_of_other_paths(agent, notebook, evidence)), None)
    if original is not None:
        return (
            f": this is a copy of {original.home}; `%dexto use {shlex.quote(original.id)}` goes on in the "
            "conversation of that one"
        )
    own = agent.notebook_session(notebook)
    if own is not None:
        return (
            f": nothing in this file is known to {own.id!r}, the session of an earlier file of this "
            f"name; `%dexto use {shlex.quote(own.id)}` goes on in that one"
        )
    return ", this notebook's own"


def _evidence(here: Place) -> _Evidence:
    cells = _cells(here.notebook)
    outputs = [output for cell in cells for output in _list(cell, "outputs")]
    names = [_dict(_dict(output, "metadata"), "dexto").get("session") for output in outputs]
    ids = [cell.get("id") for cell in cells]
    return _Evidence(
        executing=(cell_mark(here.cell_id),) if here.cell_id is not None else (),
        kernel=(f"kernel {here.kernel_id}",) if here.kernel_id is not None else (),
        cells=tuple(dict.fromkeys(cell_mark(one) for one in ids if isinstance(one, str))),
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
