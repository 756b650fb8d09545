"""Runs the project's notebooks, and compares outputs by what does not change from run to run.

``python -m tests.support.notebooks`` runs them all and writes their outputs into them.
"""

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"

VOLATILE = {
    r"\b(sess|msg)_[a-z0-9]{12}\b": r"\1_ID",
    r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?": "DATE TIME",
    r"\d{4}-\d\d-\d\d": "DATE",
    r"[\d,]+\.\d s\b": "SECONDS s",
    # IPython's own words, in a kernel that has run the notebook before.
    r"The dexto_magic extension is already loaded\. To reload it, use:\n  %reload_ext dexto_magic\n": "",
}
"""What a run has of its own: made-up ids, times and durations; nothing else is left out."""


def names():
    """The notebooks, in their order."""
    return sorted(path.name for path in FOLDER.glob("*.ipynb"))


def run(name, *, times=1):
    """The notebook after a run in a fresh kernel, in a folder of its own, on the practice model.

    Args:
        name: Its file's name.
        times: How often its cells are run, one run after the other in the same kernel.
    """
    notebook = nbformat.read(FOLDER / name, as_version=4)
    cells = [cell.copy() for _ in range(times) for cell in notebook.cells]
    for number, cell in enumerate(cells):
        cell.id = f"{cell.id}-{number}" if times > 1 else cell.id
    notebook.cells = cells
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("DEXTO_", "JPY_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}})
        asyncio.run(client.async_execute(env=environment))
    return notebook


def outputs(notebook):
    """What the notebook shows, cell by cell, without what a run has of its own."""
    return [_shown(cell) for cell in notebook.cells if cell.cell_type == "code"]


def _shown(cell):
    shown = []
    for output in cell.outputs:
        kept = {name: item for name, item in output.items() if name != "execution_count"}
        # What is printed comes in as many pieces as the kernel happens to send it.
        if shown and kept["output_type"] == shown[-1]["output_type"] == "stream":
            shown[-1]["text"] += kept["text"]
        else:
            shown.append(kept)
    return [output for output in map(_without_volatile, shown) if output.get("text") != ""]


def _without_volatile(value):
    if isinstance(value, str):
        for pattern, word in VOLATILE.items():
            value = re.sub(pattern, word, value)
        return value
    if isinstance(value, dict):
        return {name: _without_volatile(item) for name, item in value.items()}
    return [_without_volatile(item) for item in value] if isinstance(value, list) else value


def main():
    for name in names():
        notebook = run(name)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # when it ran: a change in every commit
        nbformat.write(notebook, FOLDER / name)
        print(name)  # noqa: T201  # a command line prints
    return 0


if __name__ == "__main__":
    sys.exit(main())
