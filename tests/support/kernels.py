"""Real kernels for tests: started, asked, interrupted and killed as a front end would."""

import os
import queue
import re
import signal
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager
from jupyter_core.paths import jupyter_runtime_dir

SECONDS = 60.0
"""How long a kernel may be silent before a test fails."""


@dataclass
class Output:
    """An output of a cell, as the saved notebook would hold it."""

    data: dict[str, str]
    metadata: dict[str, Any]
    kind: str

    @property
    def html(self):
        return self.data.get("text/html", "")

    @property
    def text(self):
        return self.data.get("text/plain", "")


@dataclass
class Ran:
    """What came of running a cell."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self):
        return self.reply["status"] == "ok"

    @property
    def outputs(self):
        """The outputs in order, each as its last update left it."""
        shown, by_id = [], {}
        for message in self.messages:
            content, kind = message["content"], message["msg_type"]
            display_id = content.get("transient", {}).get("display_id")
            if kind == "update_display_data" and display_id in by_id:
                by_id[display_id].data = content["data"]
                by_id[display_id].metadata = content["metadata"]
            elif kind in ("display_data", "execute_result"):
                shown.append(Output(content["data"], content["metadata"], kind))
                if display_id:
                    by_id[display_id] = shown[-1]
        return shown

    @property
    def output(self):
        """The only output."""
        (output,) = self.outputs
        return output

    @property
    def updates(self):
        return [m for m in self.messages if m["msg_type"] == "update_display_data"]

    @property
    def stream(self):
        """What was printed."""
        return "".join(m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")

    @property
    def error(self):
        """Name, message and traceback as they show below the cell, without colours."""
        (error,) = [m["content"] for m in self.messages if m["msg_type"] == "error"]
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))


class Kernel:
    """One kernel, and a client of it that sends cell ids as JupyterLab does."""

    def __init__(self, **environment):
        # Named as a server names it, which keeps the name over a restart.
        folder = Path(jupyter_runtime_dir())
        folder.mkdir(parents=True, exist_ok=True)
        self.manager = KernelManager(connection_file=str(folder / f"kernel-{uuid.uuid4()}.json"))
        self.manager.start_kernel(env={**os.environ, **environment})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    @property
    def pid(self):
        return self.manager.provisioner.process.pid

    def begin(self, code, *, cell_id=None):
        """Has a cell run, without waiting."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        metadata = {} if cell_id is None else {"cellId": cell_id}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def end(self, msg_id, ran=None, *, until=None):
        """What came of a cell: all of it, or as far as ``until`` is true of what came so far."""
        ran = ran or Ran()
        while not (until and until(ran)):
            message = self.client.get_iopub_msg(timeout=SECONDS)
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            if message["msg_type"] == "status":
                if message["content"]["execution_state"] == "idle":
                    ran.reply = self._reply(msg_id)
                    return ran
            elif message["msg_type"] != "execute_input":
                ran.messages.append(message)
        return ran

    def _reply(self, msg_id):
        while True:
            reply = self.client.get_shell_msg(timeout=SECONDS)
            if reply["parent_header"].get("msg_id") == msg_id:
                return reply["content"]

    def run(self, code, *, cell_id=None):
        """Runs a cell to its end."""
        return self.end(self.begin(code, cell_id=cell_id))

    def ask(self, prompt, session="", *, cell_id="c1", options=""):
        """Runs a ``%%dexto`` cell to its end."""
        return self.run(f"%%dexto {session} {options}\n{prompt}", cell_id=cell_id)

    def value(self, expression):
        """The value of an expression in the kernel, as its ``repr``."""
        return self.run(f"print(repr({expression}))").stream.strip()

    def interrupt(self):
        self.manager.interrupt_kernel()

    def kill(self):
        """kill -9, seen through to the end."""
        os.kill(self.pid, signal.SIGKILL)
        self.manager.provisioner.process.wait()

    def restart(self):
        """Restarts it as a front end does, or as a server does after a crash: its id stays."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=SECONDS)
        assert self.run("%load_ext dexto_magic").ok

    def close(self):
        self.client.stop_channels()
        with suppress(queue.Empty, RuntimeError):
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@contextmanager
def kernel(**environment):
    """A kernel with the extension loaded, and the practice model unless told otherwise."""
    environment.setdefault("DEXTO_MODEL", "practice")
    running = Kernel(**environment)
    try:
        assert running.run("%load_ext dexto_magic").ok
        yield running
    finally:
        running.close()
