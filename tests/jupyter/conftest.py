import pytest

from tests.support.kernels import kernel


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One kernel for the tests of a module that leave each other alone by the names they use."""
    home = tmp_path_factory.mktemp("shared-home")
    with kernel(DEXTO_HOME=str(home)) as running:
        yield running


@pytest.fixture
def start(tmp_path):
    """Starts kernels on one store, as many as a test wants, and ends them with it."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def started(**environment):
            environment.setdefault("DEXTO_HOME", str(tmp_path / "home"))
            return stack.enter_context(kernel(**environment))

        yield started
