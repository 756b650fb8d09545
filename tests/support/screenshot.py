"""Makes the pictures in the README, in JupyterLab.

``python -m tests.support.screenshot`` writes ``notebooks/images/*.png`` anew. Nothing in them is
drawn: notebooks run, a kernel is killed, and the pages are photographed.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.support.lab import SECONDS, Lab, Notebook, browser

IMAGES = Path(__file__).parents[2] / "notebooks" / "images"
WIDTH, HEIGHT, MARGIN = 1200, 1600, 12

REMEMBERED = (
    "%load_ext dexto_magic",
    "%%dexto quickstart\nMy name is Sarah.",
    "The kernel dies, and with it every variable:",
    "import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)",
    "JupyterLab starts a new one. The conversation is still there:",
    "%load_ext dexto_magic",
    "%%dexto quickstart\nWhat is my name?",
    "%dexto history quickstart",
)
NOTES = (2, 4)
KILL = 3

WORKED_WITH = (
    "%load_ext dexto_magic",
    "%%dexto icebergs -q\nMy ridge is 12 m high.",
    "%dexto use icebergs",
    "%dexto retry My ridge is 21 m high.",
    "%dexto history --all",
    "%dexto usage",
)


def main():
    """Runs the notebooks and writes the pictures."""
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab, browser() as chromium:
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(SECONDS * 1000)
        remembered = Notebook(page, lab, lab.write("quickstart.ipynb", *REMEMBERED, markdown=NOTES))
        remembered.run(0, 1)
        remembered.begin_cell(KILL)
        remembered.await_restart()
        remembered.run(5, 6, 7)
        expect(remembered.output(6)).to_contain_text("Your name is Sarah.")
        photograph(remembered, "quickstart.png")
        worked_with = Notebook(page, lab, lab.write("icebergs.ipynb", *WORKED_WITH))
        worked_with.run(*range(len(WORKED_WITH)))
        expect(worked_with.output(5)).to_contain_text("version 2")
        photograph(worked_with, "history.png")


def photograph(notebook, name):
    """Writes the picture of a notebook, from its first cell to its last."""
    page = notebook.page
    notebook.save()
    notebook.select(0)
    notebook.scroll_to(0)
    page.mouse.move(0, 0)
    notebook.settle()
    IMAGES.mkdir(exist_ok=True)
    height = min(notebook.bottom() + MARGIN, HEIGHT)
    page.screenshot(path=IMAGES / name, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})


if __name__ == "__main__":
    main()
