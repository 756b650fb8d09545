import pytest

from tests.support.kernels import kernel


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One kernel for the tests of a module that leave each other alone by the names they use."""
    home = tmp_path_factory.mktemp("shared-home")
    with kernel(DEXTO_HOME=str(home)) as running:
        running.run("import os")
        yield running


@pytest.fixture
def fresh(shared, tmp_path):
    """The shared kernel on a store of the test's own, with an environment of its own if it likes.

    As good as a kernel that was just started, for what looks at neither its age nor its end, and
    sooner there.
    """
    before = {"DEXTO_HOME": shared.value("os.environ['DEXTO_HOME']"), "DEXTO_MODEL": "'practice'"}

    def begun(**environment):
        environment = {"DEXTO_HOME": str(tmp_path / "home"), **environment}
        assert shared.run(f"os.environ.update({environment!r})").ok
        before.update({name: before.get(name, "None") for name in environment})
        return shared

    yield begun
    for name, value in before.items():
        undone = f"os.environ.pop({name!r}, None)" if value == "None" else None
        shared.run(undone or f"os.environ[{name!r}] = {value}")


@pytest.fixture
def start(tmp_path):
    """Starts kernels on one store, as many as a test wants, and ends them with it."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def started(**environment):
            environment.setdefault("DEXTO_HOME", str(tmp_path / "home"))
            return stack.enter_context(kernel(**environment))

        yield started
