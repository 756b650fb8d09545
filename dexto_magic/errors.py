"""Every error that this package raises on purpose, and nothing else.

They stand together because callers choose what to catch from the tree as a whole::

    DextoError
    ├── SettingsError(ValueError)              a setting that cannot be used, or is missing
    ├── SessionError                           about one session
    │   ├── SessionNotFoundError(LookupError)
    │   ├── SessionExistsError
    │   ├── SessionBusyError                   another turn of it is running
    │   └── InvalidSessionIdError(ValueError)
    ├── StoreError                             about the place where sessions are kept
    │   ├── StoreBusyError(TimeoutError)
    │   ├── StoreCorruptedError
    │   ├── StoreVersionError
    │   ├── StoreFullError
    │   └── StoreReadOnlyError
    ├── ModelError                             about asking a model
    │   ├── ModelAuthenticationError
    │   ├── ModelRateLimitError
    │   ├── ModelUnavailableError
    │   ├── ModelRequestError
    │   └── ContextOverflowError
    └── FormatError(ValueError)                a file of conversations that cannot be read or written

A message says what happened, to which thing, and what to do next. Data that a program may
want is in attributes. A foreign exception is the ``__cause__`` of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "ContextOverflowError",
    "DextoError",
    "FormatError",
    "InvalidSessionIdError",
    "ModelAuthenticationError",
    "ModelError",
    "ModelRateLimitError",
    "ModelRequestError",
    "ModelUnavailableError",
    "SessionBusyError",
    "SessionError",
    "SessionExistsError",
    "SessionNotFoundError",
    "SettingsError",
    "StoreBusyError",
    "StoreCorruptedError",
    "StoreError",
    "StoreFullError",
    "StoreReadOnlyError",
    "StoreVersionError",
]


class DextoError(Exception):
    """Anything that this package raises on purpose; also raised itself for misuse of an agent."""


class SettingsError(DextoError, ValueError):
    """A setting is missing or cannot be used.

    Attributes:
        option: The setting as it is named in Python, or ``None``.
        variable: The environment variable that sets it, or ``None``.
    """

    def __init__(
        self, message: str, *, option: str | None = None, variable: str | None = None
    ) -> None:
        super().__init__(message)
        self.option = option
        self.variable = variable


class SessionError(DextoError):
    """Something is wrong with one session.

    Attributes:
        session_id: The session's name.
    """

    def __init__(self, message: str, *, session_id: str = "") -> None:
        super().__init__(message)
        self.session_id = session_id


class SessionNotFoundError(SessionError, LookupError):
    """No session has that name.

    Attributes:
        close_matches: Existing names that look like it, best first.
    """

    def __init__(
        self, message: str, *, session_id: str = "", close_matches: Sequence[str] = ()
    ) -> None:
        super().__init__(message, session_id=session_id)
        self.close_matches = tuple(close_matches)


class SessionExistsError(SessionError):
    """A session with that name is there already."""


class SessionBusyError(SessionError):
    """Another turn of the session is running: turns of one session never interleave.

    Attributes:
        holder: Who runs it, in words.
        since: When that turn began, UTC.
    """

    def __init__(
        self,
        message: str,
        *,
        session_id: str = "",
        holder: str = "",
        since: datetime | None = None,
    ) -> None:
        super().__init__(message, session_id=session_id)
        self.holder = holder
        self.since = since


class InvalidSessionIdError(SessionError, ValueError):
    """A name that no session can have."""


class StoreError(DextoError):
    """The store cannot do what was asked.

    Attributes:
        path: The folder or file concerned, or ``None`` for a store in memory.
        unsaved: The text of a reply that could not be saved, if this happened at the end of a turn.
            The agent tries again from time to time, and when it stops.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.unsaved = ""


class StoreBusyError(StoreError, TimeoutError):
    """Another process kept the store to itself for longer than the time-out.

    Attributes:
        holder: Who holds it, in words.
    """

    def __init__(self, message: str, *, path: str | None = None, holder: str = "") -> None:
        super().__init__(message, path=path)
        self.holder = holder


class StoreCorruptedError(StoreError):
    """Something in the store is not what was written there; nothing was changed."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of this package; nothing was touched."""


class StoreFullError(StoreError):
    """There is no room left on the disk; what was acknowledged is safe."""


class StoreReadOnlyError(StoreError):
    """The store can be read but not written."""


class ModelError(DextoError):
    """A model was asked and did not answer as it should.

    Attributes:
        provider: Who was asked, as named in the provider table.
        model: The model that was asked for.
        partial: The part of the reply that arrived before the error. It is in the history, too.
    """

    def __init__(
        self, message: str, *, provider: str = "", model: str = "", partial: str = ""
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.partial = partial


class ModelAuthenticationError(ModelError):
    """The provider refused the key, or there is none."""


class ModelRateLimitError(ModelError):
    """The provider asks for patience, or a quota is used up.

    Attributes:
        retry_after: Seconds after which the provider is willing to be asked again, if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str = "",
        partial: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, provider=provider, model=model, partial=partial)
        self.retry_after = retry_after


class ModelUnavailableError(ModelError):
    """The provider could not be reached, broke off, or failed on its side; trying again may help."""


class ModelRequestError(ModelError):
    """The provider cannot answer this request as it is; trying again will not help."""


class ContextOverflowError(ModelError):
    """The conversation is longer than the model's context window, or its session's budget.

    Attributes:
        window: The tokens that a request may have, if that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str = "",
        partial: str = "",
        window: int | None = None,
    ) -> None:
        super().__init__(message, provider=provider, model=model, partial=partial)
        self.window = window


class FormatError(DextoError, ValueError):
    """A file of conversations cannot be read, or not be written as asked.

    Attributes:
        path: The file, or ``None`` if there is none.
        line: The number of the offending line, counted from 1, or ``None`` if it is unknown.
        cell: The number of the offending cell of a notebook, likewise.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        line: int | None = None,
        cell: int | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
        self.cell = cell
