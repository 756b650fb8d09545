"""The verbs that ``%dexto`` and the command line share. They return values and never print.

A front end finds out what its user wants, calls one of these, and shows what it returns. What only
makes sense beside a cell (``use``, ``key``) is the notebook's own; what is one call of the agent's
(``undo``, ``reset``, ``delete``) needs no function here.
"""

from dexto_magic.commands.changing import (
    SETTINGS,
    configure,
    forked,
    is_forgotten,
    loss,
    model_of,
    renamed,
    settings_of,
    system_of,
    title_of,
)
from dexto_magic.commands.files import exported, imported
from dexto_magic.commands.listing import SHOWN_SESSIONS, known, known_or_made, sessions
from dexto_magic.commands.reading import (
    SHOWN_AROUND,
    SHOWN_HITS,
    SHOWN_TURNS,
    history,
    prices,
    search,
    usage,
)
from dexto_magic.commands.upkeep import backed_up, examined, restored, what_restoring_takes

__all__ = [
    "SETTINGS",
    "SHOWN_AROUND",
    "SHOWN_HITS",
    "SHOWN_SESSIONS",
    "SHOWN_TURNS",
    "backed_up",
    "configure",
    "examined",
    "exported",
    "forked",
    "history",
    "imported",
    "is_forgotten",
    "known",
    "known_or_made",
    "loss",
    "model_of",
    "prices",
    "renamed",
    "restored",
    "search",
    "sessions",
    "settings_of",
    "system_of",
    "title_of",
    "usage",
    "what_restoring_takes",
]
