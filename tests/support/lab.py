"""JupyterLab and Notebook 7 in a headless Chromium, for tests and for screenshots.

One ``Lab`` is a server with folders of its own, one ``Notebook`` a file that is open in one page::

    with Lab(tmp_path) as lab, browser() as chromium, chromium.new_page() as page:
        lab.write("chat.ipynb", "%load_ext dexto_magic", "%%dexto eda\nMy name is Sarah.")
        notebook = Notebook(page, lab, "chat.ipynb")
        notebook.run(0, 1)
        expect(notebook.output(1)).to_contain_text("Nice to meet you, Sarah.")

Wait for text, not for the kernel: it is told to be idle while a cell is still busy.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import sync_playwright

from tests.conftest import is_foreign

SECONDS = 60.0
"""How long a server, a kernel or a page may take before a test fails."""

KERNEL = "this-python"
"""The kernel of every notebook written here: the interpreter that runs the tests."""

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}

RESULTS = Path(__file__).parents[2] / "test-results"
"""Where pictures of failures go."""

_FLAGS = (
    "--no-sandbox",  # which the root user of a container cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_CHROMIUMS_OF_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def chromium_path(own):
    """A Chromium that is installed; ``own`` is where Playwright would have put one."""
    found = (shutil.which(name) for name in _CHROMIUMS)
    for path in (*found, *_CHROMIUMS_OF_MACOS, own):
        if path and Path(path).exists():
            return path
    raise RuntimeError(
        "The browser tests need Chromium or Google Chrome, and there is none. To install it: "
        "`apt install chromium`, `brew install --cask chromium`, or `playwright install chromium`."
    )


@contextmanager
def browser():
    """A headless Chromium.

    Not the fixture of pytest-playwright: that one lives until the last test, and as long as it
    does, this thread has a running event loop, in which no test of asynchronous code can run.
    """
    with sync_playwright() as playwright:
        path = chromium_path(playwright.chromium.executable_path)
        running = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        try:
            yield running
        finally:
            running.close()


class Lab:
    """A Jupyter server that serves JupyterLab and Notebook 7; a context manager.

    Attributes:
        url: Where it is.
        root: The folder that it shows.
        home: The folder of the store of every kernel that it starts.
    """

    def __init__(self, folder, **environment):
        self.root = folder / "root"
        self.home = folder / "home"
        self._own = folder / "jupyter"
        self._settings = self._own / "settings"
        self._environment = environment
        self.root.mkdir(parents=True)

    def __enter__(self):
        self._set("notification", fetchNews="false", checkForUpdates=False, doNotDisturbMode=True)
        self.theme("light")
        self._add_kernel()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = (self._own / "server.log").open("wb")
        self._process = subprocess.Popen(
            self._command(port),
            env=self._clean_environment(),
            cwd=self.root,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc):
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def write(self, name, *cells, markdown=()):
        """Writes a notebook of code cells, those whose index is in ``markdown`` excepted."""
        nodes = [
            (new_markdown_cell if index in markdown else new_code_cell)(source)
            for index, source in enumerate(cells)
        ]
        spec = {"name": KERNEL, "display_name": "Python 3 (ipykernel)", "language": "python"}
        nbformat.write(new_notebook(cells=nodes, metadata={"kernelspec": spec}), self.root / name)
        return name

    def read(self, name):
        """A notebook's file as it is."""
        return json.loads((self.root / name).read_bytes())

    def theme(self, theme):
        """Has pages that are loaded from now on be ``"light"`` or ``"dark"``."""
        self._set("themes", theme=THEMES[theme], **{"adaptive-theme": False})

    def end_kernels(self):
        """Shuts down every session and its kernel."""
        with urllib.request.urlopen(f"{self.url}/api/sessions") as answer:
            sessions = json.load(answer)
        for session in sessions:
            gone = urllib.request.Request(
                f"{self.url}/api/sessions/{session['id']}", method="DELETE"
            )
            urllib.request.urlopen(gone).close()

    def _set(self, plugin, **values):
        folder = self._settings / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{plugin}.jupyterlab-settings").write_text(json.dumps(values))

    def _add_kernel(self):
        folder = self._own / "data" / "kernels" / KERNEL
        folder.mkdir(parents=True)
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        }
        (folder / "kernel.json").write_text(json.dumps(spec))

    def _clean_environment(self):
        """This process's, without what Jupyter or this package would read of it."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not (is_foreign(name) or name.startswith(("JUPYTER", "IPYTHON")))
        }
        return {
            **inherited,
            "IPYTHONDIR": str(self._own / "ipython"),
            "JUPYTER_CONFIG_DIR": str(self._own / "config"),
            "JUPYTER_DATA_DIR": str(self._own / "data"),
            "JUPYTER_RUNTIME_DIR": str(self._own / "run"),
            "JUPYTERLAB_SETTINGS_DIR": str(self._settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._own / "workspaces"),
            "DEXTO_HOME": str(self.home),
            "DEXTO_MODEL": "practice",
            **self._environment,
        }

    def _command(self, port):
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser"),
            *(["--allow-root"] if os.geteuid() == 0 else []),
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            "--ServerApp.terminals_enabled=False",
            "--IdentityProvider.token=",
            "--ServerApp.disable_check_xsrf=True",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]

    def _wait_until_up(self):
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/api/status").close()
            except urllib.error.URLError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = Path(self._log.name).read_text()
                    raise RuntimeError(f"JupyterLab did not start:\n{log}") from None
                time.sleep(0.05)  # nothing announces it: looked at again
            else:
                return


class Notebook:
    """A notebook's file, open in a page.

    Attributes:
        page: The page.
        lab: The server.
        name: The file's name.
    """

    def __init__(self, page, lab, name, *, app="lab"):
        self.page, self.lab, self.name = page, lab, name
        page.goto(f"{lab.url}/{'doc/tree' if app == 'lab' else 'notebooks'}/{name}")
        self.wait_until_ready()

    @classmethod
    def new(cls, page, lab):
        """A new notebook without a name, as the launcher makes one, saved by nobody yet."""
        page.goto(f"{lab.url}/lab")
        page.locator(".jp-Launcher").wait_for()
        notebook = cls.__new__(cls)
        notebook.page, notebook.lab = page, lab
        notebook.command("notebook:create-new", kernelName=KERNEL)
        notebook.wait_until_ready()
        notebook.name = page.evaluate(f"() => {_CURRENT}.context.path")
        return notebook

    # -- what the page does ----------------------------------------------------------------------

    def wait_until_ready(self):
        """Returns when the notebook is shown and its kernel answers."""
        self.page.locator(".jp-NotebookPanel").first.wait_for()
        self.page.wait_for_function(
            f"""() => {{
                const context = {_CURRENT}?.context?.sessionContext;
                return context?.isReady && context.session?.kernel?.status === "idle";
            }}"""
        )

    def command(self, name, **arguments):
        """Runs a command of JupyterLab's to its end."""
        self.page.evaluate(
            "([name, given]) => window.jupyterapp.commands.execute(name, given).then(() => null)",
            [name, arguments],
        )

    def begin(self, name, **arguments):
        """Has a command of JupyterLab's run, without waiting."""
        self.page.evaluate(
            "([name, given]) => { window.jupyterapp.commands.execute(name, given); }",
            [name, arguments],
        )

    def begin_all(self):
        """Has all cells run, without waiting."""
        self.begin("notebook:run-all-cells")

    def select(self, index):
        """Makes a cell the active one."""
        self.page.evaluate(f"index => {{ {_CURRENT}.content.activeCellIndex = index; }}", index)

    def begin_cell(self, index):
        """Has one cell run, without waiting; it has no number until it has been run."""
        self.select(index)
        self.page.evaluate(
            f"() => {{ {_CURRENT}.content.activeCell.model.executionCount = null; }}"
        )
        self.begin("notebook:run-cell")

    def run(self, *indices):
        """Runs cells to their end, one after the other."""
        for index in indices:
            self.begin_cell(index)
            self.wait_until_run(index)

    def wait_until_run(self, index):
        """Returns when a cell has been run: its prompt has a number again."""
        self.page.wait_for_function(
            f"""index => {{
                const cell = {_CURRENT}.content.widgets[index];
                return cell.model.executionState === "idle" && cell.model.executionCount !== null;
            }}""",
            arg=index,
        )

    def add(self, source):
        """Adds a code cell at the end."""
        self.page.evaluate(
            f"""source => {{
                {_CURRENT}.content.model.sharedModel.addCell({{cell_type: "code", source}});
            }}""",
            source,
        )

    def scroll_to(self, index):
        """Brings a cell into view."""
        self.page.evaluate(
            f"index => {_CURRENT}.content.scrollToItem(index, 'start').then(() => null)", index
        )

    def interrupt(self):
        """Interrupts the kernel, as the stop button does."""
        self.begin("notebook:interrupt-kernel")

    def restart(self):
        """Restarts the kernel, as the menu does when its question is answered."""
        self.page.evaluate(
            f"() => {_CURRENT}.context.sessionContext.session.kernel.restart().then(() => null)"
        )
        self.wait_until_ready()

    def await_restart(self):
        """Reads the page's word that the kernel has died, and returns when there is a new one."""
        dialog = self.page.locator(".jp-Dialog", has_text="appears to have died")
        dialog.get_by_role("button", name="Ok").click()
        self.wait_until_ready()

    def close_kernel(self):
        """Shuts the kernel down; the page stays."""
        self.page.evaluate(f"() => {_CURRENT}.context.sessionContext.shutdown().then(() => null)")

    def save(self):
        """Saves, and returns the file's content."""
        self.command("docmanager:save")
        return self.lab.read(self.name)

    def reload(self):
        """Loads the page again."""
        self.page.reload()
        self.wait_until_ready()

    # -- what it shows ---------------------------------------------------------------------------

    def cell(self, index):
        """A cell."""
        return self.page.locator(f'.jp-Cell[data-windowed-list-index="{index}"]')

    def output(self, index):
        """All that is shown below a cell's source."""
        return self.cell(index).locator(".jp-OutputArea").first

    def prompt(self, index):
        """What stands beside a cell: its number, or a star while it is run."""
        return self.cell(index).locator(".jp-InputPrompt")

    def bottom(self):
        """Where the last cell ends, in pixels from the top of the page."""
        box = self.page.locator(".jp-Cell").last.bounding_box()
        return box["y"] + box["height"]

    @property
    def trusted(self):
        """Whether JupyterLab shows the outputs as they are."""
        return self.page.evaluate(
            f"() => [...{_CURRENT}.content.model.cells].every(cell => cell.trusted !== false)"
        )

    def settle(self):
        """Returns when what the page was told so far has been laid out."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        )


_CURRENT = "window.jupyterapp.shell.currentWidget"


def save_picture(page, name):
    """Keeps a picture of a page, for whoever looks into a failure."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.png"
    page.screenshot(path=path)
    return path


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
