"""Makes the picture in the README: the tutorial's conversation, through two kernels, in JupyterLab.

``python -m tests.support.screenshot`` writes ``notebooks/images/quickstart.png`` anew. Nothing in
it is drawn: the notebook runs, its kernel is killed, and the page is photographed.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.support.lab import SECONDS, Lab, Notebook, browser

PICTURE = Path(__file__).parents[2] / "notebooks" / "images" / "quickstart.png"
WIDTH, HEIGHT, MARGIN = 1200, 1200, 12

CELLS = (
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


def main():
    """Runs the notebook and writes the picture."""
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab, browser() as chromium:
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(SECONDS * 1000)
        notebook = Notebook(page, lab, lab.write("quickstart.ipynb", *CELLS, markdown=NOTES))
        notebook.run(0, 1)
        notebook.begin_cell(KILL)
        notebook.await_restart()
        notebook.run(5, 6, 7)
        expect(notebook.output(6)).to_contain_text("Your name is Sarah.")
        notebook.save()
        notebook.select(0)
        notebook.scroll_to(0)
        page.mouse.move(0, 0)
        notebook.settle()
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(
            path=PICTURE,
            clip={"x": 0, "y": 0, "width": WIDTH, "height": notebook.bottom() + MARGIN},
        )


if __name__ == "__main__":
    main()
