"""What the environment says, and what it may not say."""

from pathlib import Path

import platformdirs
import pytest

from dexto_magic import SettingsError
from dexto_magic.settings import Settings, notebook_path, variable

BLANK = ["", " ", "\t\n "]


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """Every test says itself what is set."""
    for name in ("DEXTO_HOME", "DEXTO_MODEL", "DEXTO_NOTEBOOK", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


# -- where sessions are kept -----------------------------------------------------------------------


def test_the_store_is_where_dexto_home_says(monkeypatch, tmp_path):
    monkeypatch.setenv("DEXTO_HOME", str(tmp_path / "my store"))
    assert Settings.from_environment().home == tmp_path / "my store"
    assert not (tmp_path / "my store").exists(), "asking makes nothing"


@pytest.mark.parametrize(("chosen", "rest"), [("~", ""), ("~/", ""), ("~/a/b", "a/b")])
def test_a_tilde_is_the_users_home(monkeypatch, tmp_path, chosen, rest):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DEXTO_HOME", chosen)
    assert Settings.from_environment().home == tmp_path / rest


def test_white_space_around_the_path_is_no_part_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DEXTO_HOME", f"  {tmp_path}\n")
    assert Settings.from_environment().home == tmp_path


@pytest.mark.parametrize("chosen", ["store", "./store", "../store", ".", "a~", "$HOME/store"])
def test_a_relative_path_is_refused_and_the_variable_named(monkeypatch, chosen):
    monkeypatch.setenv("DEXTO_HOME", chosen)
    with pytest.raises(SettingsError, match=r"^DEXTO_HOME is .*must be an absolute path") as caught:
        Settings.from_environment()
    assert repr(chosen) in str(caught.value)
    assert (caught.value.variable, caught.value.option) == ("DEXTO_HOME", "store")


def test_the_home_of_a_user_who_is_not_there_is_refused_and_the_variable_named(monkeypatch):
    monkeypatch.setenv("DEXTO_HOME", "~no-such-user-here/store")
    with pytest.raises(SettingsError, match="DEXTO_HOME") as caught:
        Settings.from_environment()
    assert caught.value.variable == "DEXTO_HOME"


@pytest.mark.parametrize("blank", [None, *BLANK])
def test_an_unset_or_blank_variable_means_the_platforms_place(monkeypatch, blank):
    if blank is not None:
        monkeypatch.setenv("DEXTO_HOME", blank)
    home = Settings.from_environment().home
    assert home == platformdirs.user_data_path("dexto-magic")
    assert home.is_absolute()


def test_the_environment_is_read_when_asked_not_at_import(monkeypatch, tmp_path):
    for name in ("one", "two"):
        monkeypatch.setenv("DEXTO_HOME", str(tmp_path / name))
        monkeypatch.setenv("DEXTO_MODEL", name)
        assert Settings.from_environment() == Settings(home=tmp_path / name, model=name)


# -- who answers -----------------------------------------------------------------------------------


def test_the_model_is_the_one_that_dexto_model_names(monkeypatch):
    monkeypatch.setenv("DEXTO_MODEL", " ollama:llama3.2:latest ")
    assert Settings.from_environment().model == "ollama:llama3.2:latest"


@pytest.mark.parametrize("blank", [None, *BLANK])
def test_no_model_is_chosen_where_none_is_named(monkeypatch, blank):
    if blank is not None:
        monkeypatch.setenv("DEXTO_MODEL", blank)
    assert Settings.from_environment().model is None


@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_variable_counts_as_unset(monkeypatch, blank):
    monkeypatch.setenv("DEXTO_TEST", blank)
    assert variable("DEXTO_TEST") is None
    monkeypatch.delenv("DEXTO_TEST")
    assert variable("DEXTO_TEST") is None


# -- which notebook this is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "own", "path"),
    [
        ("/srv/a.ipynb", None, "/srv/a.ipynb"),
        (None, "/own/b.ipynb", "/own/b.ipynb"),
        ("/srv/a.ipynb", "/own/b.ipynb", "/srv/a.ipynb"),
        ("  ", "/own/b.ipynb", "/own/b.ipynb"),
        (None, "", None),
        (None, None, None),
    ],
)
def test_what_the_server_says_of_the_notebook_goes_before_dexto_notebook(
    monkeypatch, server, own, path
):
    for name, value in (("JPY_SESSION_NAME", server), ("DEXTO_NOTEBOOK", own)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notebook_path() == path


def test_settings_cannot_be_changed_or_given_by_place():
    settings = Settings(home=Path("/a"))
    with pytest.raises(AttributeError):
        settings.home = Path("/b")
    with pytest.raises(TypeError):
        Settings(Path("/a"))
