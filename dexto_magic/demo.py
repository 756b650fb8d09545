"""``dexto-magic demo``: the quickstart in JupyterLab, or its conversation through two kernels.

Needs what the extra ``lab`` installs; everything else of the package does not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dexto_magic.errors import DextoError
from dexto_magic.llm.provider_table import PRACTICE
from dexto_magic.llm.providers import llm_config, spec
from dexto_magic.settings import HOME_VARIABLE, MODEL_VARIABLE

NOTEBOOK = "01_quickstart.ipynb"

_NEW_STORE = re.compile(rf"{HOME_VARIABLE}|^import tempfile$", re.MULTILINE)
"""The lines of a notebook that give each run a store of its own."""

_SECONDS = 120.0
"""How long a kernel may take to start or to answer."""


def lab(model: str | None, *, say: Callable[[str], None]) -> int:
    """Opens JupyterLab on a copy of the quickstart notebook; its exit code.

    Returns when JupyterLab has ended; the copy and its sessions stay, and it is said where.

    Args:
        model: The model that answers, as ``"provider:model"``; ``None`` for the practice model.
        say: What to tell the user with.

    Raises:
        SettingsError: The model cannot be used.
        DextoError: JupyterLab is not installed.
    """
    chosen = spec(llm_config(model or PRACTICE))
    _require("jupyterlab")
    folder = Path(tempfile.mkdtemp(prefix="dexto-magic-demo-"))
    for original in _notebooks():
        (folder / original.name).write_text(_fresh(original.read_text()))
    notebook = folder / NOTEBOOK
    say(f"Opening a copy of the quickstart, {notebook}, answered by {chosen}.")
    store = folder / "store"
    root = ["--allow-root"] if os.geteuid() == 0 else []
    code = _ended(
        subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", str(notebook), *root],
            env={**os.environ, MODEL_VARIABLE: chosen, HOME_VARIABLE: str(store)},
        )
    )
    say(
        f"\nThe notebook is still in {folder}, and its sessions with it: "
        f"dexto-magic sessions --store {shlex.quote(str(store))}"
    )
    return code


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process to which Ctrl-C is left, and that ends when this one is ended.

    The terminal sends Ctrl-C to both of us. JupyterLab asks whether to shut down, and may go on;
    ``subprocess.run`` would kill it a quarter of a second later.
    """
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        with suppress(KeyboardInterrupt):
            return process.wait()


def headless(model: str | None, *, say: Callable[[str], None]) -> int:
    """The quickstart's conversation through two real kernels, the first of them killed.

    Args:
        model: The model that answers, as ``"provider:model"``; ``None`` for the practice model.
        say: What to tell the user with.

    Returns:
        0 if the second kernel's history holds what was said in the first, else 1.

    Raises:
        SettingsError: The model cannot be used.
        DextoError: ipykernel is not installed, or a kernel does not answer.
    """
    chosen = spec(llm_config(model or PRACTICE))
    _require("ipykernel")
    with tempfile.TemporaryDirectory(prefix="dexto-magic-demo-") as home:
        environment = {**os.environ, MODEL_VARIABLE: chosen, HOME_VARIABLE: home}
        with _kernel(environment) as (manager, client):
            pid = manager.provisioner.process.pid
            say(f"Kernel 1 (process {pid}), answered by {chosen}:")
            _run(client, "%load_ext dexto_magic", say)
            _run(client, "%%dexto quickstart\nMy name is Sarah.", say)
            os.kill(pid, signal.SIGKILL)
            say(f"\nKilled process {pid} with SIGKILL.\n")
        with _kernel(environment) as (manager, client):
            say(f"Kernel 2 (process {manager.provisioner.process.pid}):")
            _run(client, "%load_ext dexto_magic", say)
            _run(client, "%%dexto quickstart\nWhat is my name?", say)
            say("\nThe history that kernel 2 sees:\n")
            history = _run(client, "%dexto history quickstart", say)
    return 0 if "My name is Sarah." in history else 1


@contextmanager
def _kernel(environment: dict[str, str]) -> Iterator[tuple[Any, Any]]:
    """A kernel's manager and client; it is ended, if it lives, when the context is left."""
    from jupyter_client.manager import start_new_kernel

    # ipykernel 7.4 warns on stderr that loopback is not encrypted; errors come as messages.
    manager, client = start_new_kernel(
        startup_timeout=_SECONDS, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run(client: Any, code: str, say: Callable[[str], None]) -> str:
    """Runs a cell, says what was typed and what came, and returns what came."""
    shown: list[str] = []

    def take(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] in ("display_data", "execute_result"):
            shown.append(content["data"].get("text/plain", ""))
        elif message["msg_type"] == "stream":
            shown.append(content["text"])

    say("\n".join(f"  > {line}" for line in code.splitlines()))
    reply = client.execute_interactive(code, allow_stdin=False, timeout=_SECONDS, output_hook=take)[
        "content"
    ]
    if reply["status"] != "ok":
        raise DextoError(f"The kernel could not run {code!r}: {reply['ename']}: {reply['evalue']}")
    text = "\n".join(shown)
    if text:
        say("\n".join(f"  {line}" for line in text.splitlines()))
    return text


def _fresh(notebook: str) -> str:
    """The notebook without its outputs, and without the line that gives each run a new store.

    The demo has one store for as long as it is open, so that one can restart the kernel oneself.
    """
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            lines = "".join(cell["source"]).splitlines(keepends=True)
            cell["source"] = "".join(line for line in lines if not _NEW_STORE.search(line))
    return json.dumps(content, indent=1)


def _notebooks() -> list[Path]:
    """The notebooks: in the package when it is installed, beside it in a clone."""
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / NOTEBOOK).exists():
            return sorted(folder.glob("*.ipynb"))
    raise DextoError(f"{NOTEBOOK} is not among the package's files: install it again.")


def _require(module: str) -> None:
    if find_spec(module) is None:
        raise DextoError(
            f"The demo needs {module}, which is not installed: pip install 'dexto-magic[lab]'."
        )
