"""What every test stands on: no key, no store and no notebook of the person who runs them."""

import os

import pytest

from tests.support import figures
from tests.support.agents import KINDS, Either, at
from tests.support.openai_server import OpenAIServer

FOREIGN_VARIABLES = (
    *("DEXTO_", "OPENAI_", "OLLAMA_", "JPY_"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("NO_COLOR", "COLUMNS", "LINES", "PYTHONUNBUFFERED"),
)
"""How the names of variables begin that this package, or what it stands on, goes by."""


def is_foreign(name):
    """Whether a variable would have tests depend on who runs them; proxies count in small letters."""
    return name.upper().startswith(FOREIGN_VARIABLES) or name.endswith("_API_KEY")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """An environment in which nothing is set that this package reads, and a store of its own."""
    for name in list(os.environ):
        if is_foreign(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DEXTO_HOME", str(tmp_path / "home"))


@pytest.fixture
def anyio_backend():
    """The event loop that the agent runs on."""
    return "asyncio"


@pytest.fixture
def server():
    """A server that answers as the practice model does, unless it is told otherwise."""
    with OpenAIServer() as running:
        yield running


@pytest.fixture(params=KINDS)
async def agent(request, server, tmp_path, anyio_backend):
    """Each agent in turn, started, asking the test's server."""
    either = Either(KINDS[request.param](at(server), store=tmp_path / "store"))
    await either.start()
    yield either
    await either.stop()


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run what takes minutes")
    parser.addoption(
        "--soak",
        action="store_true",
        help="do what tests of faults do ten times as often, and keep the figures",
    )


def pytest_terminal_summary(terminalreporter, config):
    """Says what tests did and counted; after a soak, keeps it for the README."""
    counted = figures.figures_of(config)
    if counted:
        terminalreporter.section("done and counted")
        for done, counts in counted.items():
            terminalreporter.line(figures.line(done, counts))
        if config.getoption("--soak"):
            for path in figures.keep(counted, config.rootpath / "test-results"):
                terminalreporter.line(f"kept in {path.relative_to(config.rootpath)}")


@pytest.fixture
def counted(request):
    """Takes what a test did and counted: what it did, and numbers by what they are of."""
    return figures.figures_of(request.config).__setitem__


@pytest.fixture
def times(request):
    """Chooses how often something is done: in a plain run, and in a soak."""
    return lambda plain, soak: soak if request.config.getoption("--soak") else plain


@pytest.fixture
def slow(request):
    """Keeps a test for runs that asked for the slow ones."""
    if not request.config.getoption("--slow"):
        pytest.skip("takes minutes and gigabytes; run with --slow")
