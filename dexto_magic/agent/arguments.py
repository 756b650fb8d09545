"""What a caller's arguments must be, checked before anything is stored or sent.

The types of Python are hints; what goes into a store or to a server has to be what it says it is.
"""

from __future__ import annotations

import math
import os
import re
from datetime import UTC, datetime
from typing import get_args

from dexto_magic.conversation.messages import Origin
from dexto_magic.conversation.record import SessionChanges
from dexto_magic.conversation.session import Overflow
from dexto_magic.errors import ModelRequestError, SettingsError
from dexto_magic.llm.outgoing import sendable_options
from dexto_magic.turns.prompts import TurnOptions

_ALL = 2**62
"""More than any store holds, and less than SQLite's largest number."""

_CURSOR = re.compile("(?:[0-9a-f]{2})+")
"""What a cursor of any store looks like; what it means is the store's own."""


def worth_sending(text: str, session_id: str) -> str:
    """The message, if there is something in it.

    Raises:
        ModelRequestError: It is empty, or no text.
    """
    if not isinstance(text, str):
        raise ModelRequestError(
            f"A message must be a string, not {type(text).__name__}; nothing was sent to "
            f"{session_id!r}."
        )
    if not text.strip():
        raise ModelRequestError(f"The message to {session_id!r} is empty; nothing was sent.")
    return text


def turn_options(options: TurnOptions) -> TurnOptions:
    """The options of a turn, once they are known to make sense.

    Raises:
        SettingsError: One of them makes none.
    """
    for name in options:
        if name not in TurnOptions.__annotations__:
            known = ", ".join(TurnOptions.__annotations__)
            raise SettingsError(f"A turn has no option {name!r}; it has {known}.", option=name)
    if not isinstance(options.get("stream", True), bool):
        raise SettingsError("stream must be True or False.", option="stream")
    wait: object = options.get("wait", 0.0)
    if not isinstance(wait, int | float) or not 0 <= wait < math.inf:
        raise SettingsError(f"wait is {wait!r}: it must be seconds, 0 or more.", option="wait")
    for text in ("model", "system", "note"):
        text_or_none(text, options.get(text))
    if not isinstance(options.get("origin"), Origin | None):
        raise SettingsError("origin must be an Origin or None.", option="origin")
    return {**options, "options": sendable_options(options.get("options") or {})}


def session_changes(changes: SessionChanges) -> SessionChanges:
    """What is to be changed of a session, once it is known to make sense.

    Raises:
        SettingsError: It makes none.
    """
    for name in changes:
        if name not in SessionChanges.__annotations__:
            known = ", ".join(SessionChanges.__annotations__)
            raise SettingsError(
                f"A session has no {name!r} of its own; it has {known}.", option=name
            )
    for text in ("model", "system", "title"):
        text_or_none(text, changes.get(text))
    if changes.get("overflow") not in (None, "", *get_args(Overflow)):
        raise SettingsError(
            f"overflow is {changes.get('overflow')!r}: it is one of "
            f"{', '.join(map(repr, get_args(Overflow)))}.",
            option="overflow",
        )
    budget: object = changes.get("context_budget")
    if budget is not None and (
        not isinstance(budget, int) or isinstance(budget, bool) or budget < 0
    ):
        raise SettingsError(
            f"context_budget is {budget!r}: it must be a number of tokens, or 0 for none.",
            option="context_budget",
        )
    return changes.copy()


def turn_number(turn: object) -> int:
    """The number of a turn.

    Raises:
        SettingsError: No turn has such a number.
    """
    if not isinstance(turn, int) or isinstance(turn, bool) or turn < 1:
        raise SettingsError(f"{turn!r} is no turn's number: they count from 1.", option="turn")
    return turn


def text_or_none(option: str, text: object) -> str | None:
    """The text that was given as ``option``, or ``None``.

    Raises:
        SettingsError: It is neither.
    """
    if not isinstance(text, str | None):
        raise SettingsError(
            f"{option} must be a string or None, not {type(text).__name__}.", option=option
        )
    return text


def time_or_none(option: str, time: object) -> datetime | None:
    """The time that was given as ``option``, or ``None``; in UTC unless it says otherwise.

    Raises:
        SettingsError: It is neither.
    """
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise SettingsError(
            f"{option} must be a datetime or None, not {type(time).__name__}.", option=option
        )
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def natural_limit(limit: object) -> int:
    """A ``limit``, as a number that every store can count to.

    Raises:
        SettingsError: It is no whole number of 0 or more.
    """
    if not isinstance(limit, int) or limit < 0:
        raise SettingsError(
            f"limit is {limit!r}: it must be a whole number of 0 or more.", option="limit"
        )
    return min(limit, _ALL)


def cursor_or_none(cursor: str | None) -> str | None:
    """The cursor of a page, or ``None`` for the beginning.

    Raises:
        SettingsError: No page has such a cursor.
    """
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise SettingsError(
            f"{cursor!r} is no cursor: pass on the cursor of a page as it is.", option="cursor"
        )
    return cursor


def named_folder(folder: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The folder that was given for a store.

    Raises:
        SettingsError: It has no name, which would be the working folder.
    """
    if not os.fspath(folder):
        raise SettingsError("store is empty: name a folder, or leave it out.", option="store")
    return folder
