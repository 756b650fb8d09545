"""What one kernel knows of conversations: its agent, its current session, what it has used.

The current session belongs here, to a front end, never to the agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from dexto_magic import commands
from dexto_magic.agent.sync_agent import DextoAgent
from dexto_magic.conversation.prices import Prices
from dexto_magic.conversation.session import Session
from dexto_magic.errors import SessionNotFoundError, SettingsError
from dexto_magic.jupyter.identity import (
    Place,
    adopt,
    current_own_session,
    joined,
    own_session,
    place,
)
from dexto_magic.llm.provider_table import PRACTICE
from dexto_magic.llm.providers import DEFAULT_MODEL, llm_config, spec
from dexto_magic.settings import MODEL_VARIABLE, Settings

LAST = "last"
"""What stands for the session before, where a name would."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What the kernel's configuration says.

    Attributes:
        model: As ``"provider:model"``, or ``""`` to go by the environment.
        base_url: Where its provider is, or ``""`` to go by the provider table.
        system: The system prompt of sessions that have none of their own, or ``""`` for none.
        wait: Seconds that a cell waits for another turn of its session.
        timeout: Seconds that a model may be silent.
        footer: Whether a line below each reply tells its session, model and tokens.
        prices: What a million tokens cost, by model, or nothing.
    """

    model: str = ""
    base_url: str = ""
    system: str = ""
    wait: float = 60.0
    timeout: float = 120.0
    footer: bool = True
    prices: Mapping[str, Any] = field(default_factory=dict)


class Workbench:
    """A kernel's conversations.

    Attributes:
        shell: The kernel's shell.
        defaults: What its configuration says; may be set at any time.
        current: The session that a cell without a name goes to, once that is known.
        practice: The practice model that was chosen for this kernel, or ``None``.
        started_at: Since when the magics are loaded here; UTC.
    """

    def __init__(self, shell: InteractiveShell, started_at: datetime) -> None:
        self.shell = shell
        self.defaults = Defaults()
        self.current: str | None = None
        self.practice: str | None = None
        self.started_at = started_at
        self._keys: dict[str, str] = {}
        self._used: list[str] = []
        self._greeted: set[str] = set()
        self._fresh: set[str] = set()
        self._agent: DextoAgent | None = None
        self._made_for: tuple[object, ...] | None = None

    @property
    def agent(self) -> DextoAgent:
        """The kernel's agent, started when it is first needed.

        What is configured and what the environment says count at once, as they are set in cells;
        another store has other sessions.

        Raises:
            SettingsError: The configuration cannot be used.
            StoreError: The store cannot be opened.
        """
        settings, defaults = Settings.from_environment(), self.defaults
        made_for = (settings, defaults.model, defaults.base_url, defaults.system, defaults.timeout)
        if self._agent is None or self._made_for != made_for:
            agent = self._made_agent(settings)
            if self._agent is not None and self._agent.location != agent.location:
                self.current, self._used = None, []
                self._greeted, self._fresh = set(), set()
            self.close()
            agent.start()
            for provider, key in self._keys.items():
                agent.set_key(provider, key)
            self._agent, self._made_for = agent, made_for
        return self._agent

    @property
    def agent_at_rest(self) -> DextoAgent:
        """An agent for the store as a whole, not started: perhaps it cannot be opened.

        Raises:
            SettingsError: ``DEXTO_HOME`` cannot be used.
        """
        return DextoAgent(PRACTICE, label="a kernel or terminal")

    def prices(self) -> Prices | None:
        """What tokens cost, if the user said so.

        Raises:
            SettingsError: What was said are no prices.
        """
        return commands.prices(self.defaults.prices)

    def take_key(self, provider: str, key: str) -> None:
        """Takes a key for a provider, for as long as the magics are loaded; it is stored nowhere."""
        self._keys[provider] = key
        self.agent.set_key(provider, key)

    def _made_agent(self, settings: Settings) -> DextoAgent:
        defaults = self.defaults
        if defaults.base_url and not defaults.model:
            raise SettingsError(
                "DextoMagics.base_url is set, but not DextoMagics.model: set that, too, so that it "
                "is clear which provider is meant.",
                option="base_url",
            )
        if defaults.model or settings.model is None:
            llm = llm_config(defaults.model or DEFAULT_MODEL)
        else:
            llm = llm_config(settings.model, variable=MODEL_VARIABLE)
        llm = replace(llm, timeout=defaults.timeout)
        if defaults.base_url:
            llm = replace(llm, base_url=defaults.base_url)
        notebook = place(self.shell).notebook
        label = Path(notebook).name if notebook else "a kernel or terminal"
        return DextoAgent(llm, system=defaults.system or None, label=label)

    def close(self) -> None:
        """Lets go of the agent."""
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.stop()

    # -- sessions --------------------------------------------------------------------------------

    def use(self, name: str) -> Session:
        """Makes a session the current one.

        Args:
            name: Its name, or ``"last"`` for the latest that this kernel has not used yet.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        if name == LAST:
            page = self.agent.list_sessions(limit=len(self._used) + 1)
            others = [session.id for session in page if session.id not in self._used]
            if not others:
                raise SessionNotFoundError("There is no session from before this kernel.")
            name = others[0]
        session = commands.known(self.agent, name)
        self.go_on_in(session)
        return session

    def go_on_in(self, session: Session) -> None:
        """Lets cells without a name go to a session."""
        self.current = session.id
        self._note_use(session)

    def note_fork(self, fork: Session) -> None:
        """Takes note of a fork that was made just now: what was said here was said in it, too."""
        self._greeted.add(fork.id)
        last = self.agent.get_session_history(fork.id, limit=1)
        if fork.forked_from in self._fresh and last and last[0].created_at >= self.started_at:
            self._fresh.add(fork.id)

    def new(self, name: str | None) -> tuple[Session, bool]:
        """Makes a session and makes it the current one; tells whether it was made just now.

        Without a name, it becomes the notebook's own. A name that is taken is switched to.
        """
        session = self.agent.get_session(name) if name else None
        made = session is None
        if session is None:
            session = self.agent.create_session(name)
            if name is None:
                adopt(self.agent, session, place(self.shell))
        self.go_on_in(session)
        return session, made

    def rename(self, old: str, new: str) -> None:
        """Takes note that a session has another name."""
        if self.current == old:
            self.current = new
        self._used = [new if used == old else used for used in self._used]
        for known in (self._greeted, self._fresh):
            if old in known:
                known.discard(old)
                known.add(new)

    def forget(self, name: str) -> None:
        """Takes note that a session is gone."""
        if self.current == name:
            self.current = None
        self._used = [used for used in self._used if used != name]
        self._greeted.discard(name)
        self._fresh.discard(name)

    def current_session(self) -> Session | None:
        """The session that a cell without a name goes to, or ``None``; nothing is made."""
        return self._current_one(place(self.shell))

    def _current_one(self, here: Place) -> Session | None:
        agent = self.agent  # first of all: in another store there is no current one
        session = agent.get_session(self.current) if self.current else None
        return session or current_own_session(agent, here)

    def last_used_session(self) -> Session | None:
        """The session that was used last in this kernel, or ``None``."""
        agent = self.agent
        for name in reversed(self._used):
            session = agent.get_session(name)
            if session is not None:
                return session
        return None

    def settled_session(self) -> tuple[Session, list[str]]:
        """The session that a cell without a name goes to, made if need be, and what to say of it."""
        name, lines = self._own(place(self.shell))
        session = commands.known(self.agent, name)
        self._note_use(session)
        return session, lines

    def session_of_cell(self, name: str | None, here: Place) -> tuple[Session, list[str], bool]:
        """The session of a cell, made if need be; what to say of it; and whether it is resumed.

        It is as long as its turns, those at least that the model is shown, are from before.
        """
        if name is None:
            name, lines = self._own(here)
            session = commands.known(self.agent, name)
        else:
            session, line = commands.known_or_made(self.agent, name)
            lines = [line] if line else []
        if session.id not in self._greeted and (greeting := joined(session, here)) is not None:
            lines = [*lines, greeting]
        self._note_use(session)
        self._greeted.add(session.id)
        return session, lines, session.id not in self._fresh

    def session_in_sight(self, name: str | None, here: Place) -> tuple[Session | None, bool]:
        """The session that a cell would go to, if it is there, and whether it would be resumed.

        Nothing is made, and nothing is said to have been used.
        """
        session = self._current_one(here) if name is None else self.agent.get_session(name)
        resumed = session is not None and session.turn_count > 0 and session.id not in self._fresh
        return session, resumed

    def note_turn(self, session: Session, ended_in: str) -> None:
        """Takes note that the session has a turn of this kernel, and so is resumed no more.

        Args:
            session: The session as it was before.
            ended_in: Its name by then: it may have been renamed meanwhile.
        """
        if ended_in != session.id:
            self.rename(session.id, ended_in)
        self._fresh.add(ended_in)

    def _own(self, here: Place) -> tuple[str, list[str]]:
        agent, lines = self.agent, list[str]()
        if self.current is not None and agent.get_session(self.current) is None:
            lines.append(f"session {self.current!r} is gone: it was deleted, or renamed elsewhere")
            self.forget(self.current)
        if self.current is None:
            own = own_session(agent, here)
            self.current = own.session_id
            lines.extend(own.lines)
        return self.current, lines

    def _note_use(self, session: Session) -> None:
        self._used = [used for used in self._used if used != session.id] + [session.id]
        if not session.turn_count:
            self._fresh.add(session.id)

    # -- models ----------------------------------------------------------------------------------

    def choose_practice(self, name: str) -> None:
        """Has this kernel's cells answered by the practice model, which no session keeps.

        Raises:
            SettingsError: It has no such form.
        """
        self.practice = spec(llm_config(name))

    def choose_model(self, name: str) -> tuple[Session, list[str]]:
        """Has the current session answered by a model from now on; the session, and what to say.

        Args:
            name: As ``"provider:model"``; ``""`` to go by the configuration again.

        Raises:
            SettingsError: The model cannot be used.
        """
        settled, lines = self.settled_session()
        session = self.agent.update_session(settled.id, model=name)
        self.practice = None
        return session, lines

    def model_of(self, session: Session | None) -> str:
        """Which model answers in a session, as ``"provider:model"``."""
        own = session.model if session is not None else None
        return self.practice or own or self.agent.model
