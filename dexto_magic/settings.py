"""What the environment says: the only module that reads it.

Values are read when they are asked for, not at import, so that a variable set in a cell counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from dexto_magic.errors import SettingsError

HOME_VARIABLE = "DEXTO_HOME"
MODEL_VARIABLE = "DEXTO_MODEL"
NOTEBOOK_VARIABLE = "DEXTO_NOTEBOOK"
PRICES_VARIABLE = "DEXTO_PRICES"
NO_COLOR_VARIABLE = "NO_COLOR"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a front end or an agent goes by when nothing more specific is said.

    Attributes:
        home: The folder of the store; ``DEXTO_HOME``, else the platform's folder for user data.
        model: ``"provider:model"`` or ``"practice"``; ``DEXTO_MODEL``, else ``None``.
    """

    home: Path
    model: str | None = None

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings as the environment has them now.

        Raises:
            SettingsError: ``DEXTO_HOME`` is not an absolute path or one that begins with ``~``.
        """
        return cls(home=_home(), model=variable(MODEL_VARIABLE))


def variable(name: str) -> str | None:
    """The value of an environment variable, or ``None`` if it is unset or blank."""
    return os.environ.get(name, "").strip() or None


def wants_color() -> bool:
    """Whether colours are welcome in a terminal; any ``NO_COLOR`` says no (https://no-color.org)."""
    return variable(NO_COLOR_VARIABLE) is None


def folder(text: str | os.PathLike[str], *, variable_name: str | None = None) -> Path:
    """The folder that a store is to be in, ``~`` written out.

    Args:
        text: As somebody gave it.
        variable_name: The variable that it comes from, or ``None``.

    Raises:
        SettingsError: It is in the home of a user who is not known here.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SettingsError(
            f"{variable_name or 'store'} is {os.fspath(text)!r}: no user of that name has a home "
            "here. Name another folder.",
            option="store",
            variable=variable_name,
        ) from error


def notebook_path() -> str | None:
    """The notebook that this kernel was started for, as its server or ``DEXTO_NOTEBOOK`` says.

    Jupyter Server sets ``JPY_SESSION_NAME`` to the full path (jupyter_server 2,
    ``SessionManager.get_kernel_env``); a rename under a running kernel does not change it.
    """
    return variable("JPY_SESSION_NAME") or variable(NOTEBOOK_VARIABLE)


def _home() -> Path:
    chosen = variable(HOME_VARIABLE)
    if chosen is None:
        return platformdirs.user_data_path("dexto-magic")
    path = folder(chosen, variable_name=HOME_VARIABLE)
    if not path.is_absolute():
        raise SettingsError(
            f"{HOME_VARIABLE} is {chosen!r}: it must be an absolute path, or one that begins with "
            "'~/', so that every notebook finds the same store.",
            option="store",
            variable=HOME_VARIABLE,
        )
    return path
