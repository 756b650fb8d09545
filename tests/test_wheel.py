"""The package as it is installed: from a wheel, outside the clone."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with nothing in it but what the wheel holds, first on the path of what is run."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "--wheel-dir",
        folder,
        ROOT,
    ]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("dexto_magic-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def environment(installed, tmp_path):
    names = ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")
    own = {name: str(tmp_path / name) for name in names}
    # jupyter opens a browser: `true` is one that does nothing.
    return {
        **os.environ,
        **own,
        "PYTHONPATH": str(installed),
        "BROWSER": "true",
        "TMPDIR": str(tmp_path),
    }


def test_the_wheel_holds_the_package_its_types_and_the_quickstart(installed):
    files = {path.relative_to(installed).as_posix() for path in installed.rglob("*")}
    assert {
        "dexto_magic/py.typed",
        "dexto_magic/notebooks/01_quickstart.ipynb",
        "dexto_magic/notebooks/02_sessions.ipynb",
        "dexto_magic/stores/disk.py",
    } <= files
    assert {name.split("/")[0].split("-")[0] for name in files} == {"dexto_magic"}


def test_the_headless_demo_runs_from_the_wheel(environment, installed, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", "import dexto_magic; print(dexto_magic.__file__)"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == str(installed / "dexto_magic" / "__init__.py")
    ran = subprocess.run(
        [sys.executable, "-m", "dexto_magic", "demo", "--headless"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Killed process" in ran.stdout
    assert "My name is Sarah." in ran.stdout.split("The history that kernel 2 sees")[1]


def served(folder):
    """The quickstart as the server has it that runs with this runtime folder."""
    (server,) = folder.glob("jpserver-*.json")
    about = json.loads(server.read_text())
    url = f"{about['url']}api/contents/01_quickstart.ipynb?token={about['token']}"
    with urllib.request.urlopen(url) as response:
        return json.load(response)["content"]


def test_the_demo_serves_a_copy_of_the_quickstart_from_the_wheel(environment, tmp_path):
    """JupyterLab is up, and holds the notebook without outputs and with one store for its kernels."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dexto_magic", "demo"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert "answered by practice" in process.stdout.readline()
        notebook = None
        while notebook is None:
            assert process.poll() is None, process.communicate()
            # The server says where it is before it listens there.
            with suppress(OSError, ValueError):
                notebook = served(tmp_path / "JUPYTER_RUNTIME_DIR")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in code)
    assert "%load_ext dexto_magic" in code[0]["source"]
    assert "DEXTO_HOME" not in code[0]["source"]
