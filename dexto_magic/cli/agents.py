"""The agents that verbs of the command line work with, and the folder of their store."""

from __future__ import annotations

import argparse

from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.commands.arguments import option
from dexto_magic.errors import SettingsError
from dexto_magic.llm.provider_table import PRACTICE
from dexto_magic.settings import folder

STORE = option(
    "--store",
    metavar="FOLDER",
    text="where the sessions are kept; otherwise DEXTO_HOME, else the platform's user data",
)

_LABEL = "dexto-magic"


def quiet_agent(parsed: argparse.Namespace) -> DextoAgent:
    """The agent for a verb that asks no model: a ``DEXTO_MODEL`` of no sense must not matter."""
    _check_store(parsed)
    return DextoAgent(PRACTICE, store=parsed.store, label=_LABEL)


def asking_agent(parsed: argparse.Namespace) -> DextoAgent:
    """The agent for a verb that asks a model."""
    _check_store(parsed)
    return DextoAgent(parsed.model, store=parsed.store, label=_LABEL)


def agent_at_rest(parsed: argparse.Namespace) -> DextoAgent:
    """The agent for a verb that needs no store that can be opened, nor one that is there."""
    return DextoAgent(PRACTICE, store=parsed.store, label=_LABEL)


def _check_store(parsed: argparse.Namespace) -> None:
    if parsed.store is not None and not folder(parsed.store).exists():
        # None is made where a name was mistyped.
        raise SettingsError(f"There is no folder {parsed.store!r}.", option="store")
