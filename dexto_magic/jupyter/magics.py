"""``%dexto`` and ``%%dexto``: the magics themselves, their options, and what is configured of them.

Thin: what a verb does is in ``verbs``, what a cell does in ``asking``, what is shown in
``display``. Those are imported when they are first needed, as loading must cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import Bool, Dict, Float, Unicode

from dexto_magic.errors import DextoError
from dexto_magic.jupyter.lines import keep_typed_text

if TYPE_CHECKING:
    from dexto_magic.conversation.messages import Reply
    from dexto_magic.jupyter.workbench import Workbench

REPLY_VARIABLE = "_dexto"
"""The variable of the user's that holds the last reply."""

_SHOWN = {
    "dexto_magic.conversation.context": ("ContextReport", "PromptPreview"),
    "dexto_magic.conversation.session": (
        "Removal",
        "Session",
        "SessionPage",
        "Transcript",
        "TurnChange",
    ),
    "dexto_magic.conversation.finding": ("SearchPage",),
    "dexto_magic.conversation.health": ("StoreReport",),
    "dexto_magic.conversation.transfer": ("BackedUp", "Exported", "Imported", "Restored"),
    "dexto_magic.conversation.usage": ("UsageReport",),
    "dexto_magic.rendering.results": ("Facts", "Forked", "Renamed", "Said", "SessionTable"),
}
"""Values of ours that show themselves well as the value of a cell."""


@magics_class
class DextoMagics(Magics):
    """``%dexto`` and ``%%dexto``: named conversations with language models."""

    model = Unicode(
        "", help="The model of sessions that have none of their own, as 'provider:model'."
    ).tag(config=True)
    base_url = Unicode(
        "", help="Where the provider of `model` is, if not where it usually is."
    ).tag(config=True)
    system = Unicode("", help="The system prompt of sessions that have none of their own.").tag(
        config=True
    )
    wait = Float(60.0, help="Seconds that a cell waits for another turn of its session.").tag(
        config=True
    )
    timeout = Float(
        120.0, help="Seconds that a model may be silent, before its reply and amid it."
    ).tag(config=True)
    prices = Dict(
        help="What a million tokens cost: {'currency': 'USD', MODEL: {'input': 0.15, 'output': 0.6}}."
    ).tag(config=True)
    footer = Bool(
        True, help="Whether a line below each reply tells its session, model and tokens."
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell  # the base class has it, too, as one that may be missing
        self._loaded_at = datetime.now(UTC)
        self._bench: Workbench | None = None
        self._just_shown: tuple[Reply, int] | None = None

    @property
    def bench(self) -> Workbench:
        """What this kernel knows of conversations, with its configuration as it is now."""
        from dexto_magic.jupyter.workbench import Defaults, Workbench

        if self._bench is None:
            self._bench = Workbench(self._shell, self._loaded_at)
        self._bench.defaults = Defaults(
            model=self.model,
            base_url=self.base_url,
            system=self.system,
            wait=self.wait,
            timeout=self.timeout,
            footer=self.footer,
            prices=self.prices,
        )
        return self._bench

    @magic_arguments("%dexto")
    @argument("session", nargs="?", help="the session's name; without it the notebook's own")
    @argument("-m", "--model", metavar="PROVIDER:NAME", help="a model for this turn only")
    @argument("-s", "--system", metavar="TEXT", help="a system prompt for this turn only")
    @argument("-o", "--output", metavar="VAR", help="a variable that takes the reply")
    @argument(
        "-O",
        "--option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a request option for this turn, such as temperature=0; may be repeated",
    )
    @argument("--no-stream", action="store_true", help="ask for the reply in one piece")
    @argument(
        "--show-prompt", action="store_true", help="show what would be sent, and send nothing"
    )
    @argument("-q", "--quiet", action="store_true", help="show nothing; take the reply with -o")
    @no_var_expand
    @line_cell_magic
    def dexto(self, line: str, cell: str | None = None) -> Any:
        """Talk with a language model in a named session that outlives this kernel.

        The word after ``%%dexto`` is the session, the rest of the cell is the prompt. The reply is
        in ``_dexto``, too.

        ::

            %%dexto eda -m openai:gpt-4o-mini
            What is the difference between a mean and a median?

            %dexto history eda

        ``%dexto`` alone says where you are; ``%dexto help`` lists its verbs.
        """
        with _short_errors(self._shell):
            from dexto_magic.jupyter import asking, verbs
            from dexto_magic.jupyter.parsing import cell_options

            if cell is None:
                value = verbs.run(self.bench, line)
                if verbs.replies(line):
                    self._take(value, None)
                return value
            name, variable, asked = cell_options(self.dexto.parser, line)
            if not cell.strip():
                raise UsageError("the cell has no prompt: write it below the first line")
            prompt = cell.removesuffix("\n")
            if asked.only_shown:
                return asking.preview(self.bench, prompt, name, asked)
            self._take(asking.ask(self.bench, prompt, name, asked), variable)
            return None

    def close(self) -> None:
        """Lets go of the kernel's agent."""
        if self._bench is not None:
            self._bench.close()

    def _take(self, reply: Reply, variable: str | None) -> None:
        self._just_shown = reply, self._shell.execution_count
        self._shell.user_ns[REPLY_VARIABLE] = reply
        if variable is not None:
            self._shell.user_ns[variable] = reply

    def display_reply(self, reply: Reply) -> None:
        """Shows a reply as the value of a cell, but not twice in the cell that asked for it."""
        from dexto_magic.jupyter.display import show, show_again

        if self._just_shown == (reply, self._shell.execution_count):
            show_again(self._shell, reply)
        else:
            show(self._shell, reply)

    def display_bundle(self, value: object) -> dict[str, str]:
        """A value of ours as MIME types and their content."""
        from dexto_magic.jupyter.display import bundle

        return bundle(self._shell, value)


def load(shell: InteractiveShell) -> None:
    """Adds the magics to a shell, and how values of ours show; does nothing if they are there."""
    if DextoMagics.__name__ in shell.magics_manager.registry:
        return
    magics = DextoMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.append(keep_typed_text)
    displays, bundles = _formatters(shell)
    displays.for_type_by_name("dexto_magic.conversation.messages", "Reply", magics.display_reply)
    for module, names in _SHOWN.items():
        for name in names:
            bundles.for_type_by_name(module, name, magics.display_bundle)


def unload(shell: InteractiveShell) -> None:
    """Takes away all that ``load`` added, and lets go of the kernel's agent."""
    magics = shell.magics_manager.registry.pop(DextoMagics.__name__, None)
    if magics is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("dexto", None)
    shell.configurables[:] = [other for other in shell.configurables if other is not magics]
    shell.input_transformers_cleanup.remove(keep_typed_text)
    displays, bundles = _formatters(shell)
    displays.pop("dexto_magic.conversation.messages.Reply", None)
    for module, names in _SHOWN.items():
        for name in names:
            bundles.pop(f"{module}.{name}", None)
    magics.close()


def _formatters(shell: InteractiveShell) -> tuple[Any, Any]:
    formatter: Any = shell.display_formatter
    return formatter.ipython_display_formatter, formatter.mimebundle_formatter


@contextmanager
def _short_errors(shell: InteractiveShell) -> Iterator[None]:
    """Lets errors of ours fail the cell with a line instead of a traceback.

    IPython asks an exception for ``_render_traceback_``; its class, and so what a program may
    catch, stays what it is.
    """
    try:
        yield
    except (DextoError, KeyboardInterrupt) as error:
        from dexto_magic.rendering.plain import printable
        from dexto_magic.settings import wants_color

        said = printable(str(error)) or "interrupted"
        colored = wants_color() and shell.colors.lower() != "nocolor"
        kind = type(error).__name__
        lines = [f"\x1b[31m{kind}\x1b[0m: {said}" if colored else f"{kind}: {said}"]
        vars(error)["_render_traceback_"] = lambda: lines
        raise
