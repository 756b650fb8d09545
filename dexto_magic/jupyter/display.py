"""What a cell shows while it is answered, and how values of ours show themselves.

A kernel publishes one output that is updated by its display id; a terminal prints what arrives.
Everything here is called on the thread that runs the cell: output of any other thread lands in
another cell, or nowhere.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from IPython.core.interactiveshell import InteractiveShell

from dexto_magic.conversation.messages import Message, Reply, new_id
from dexto_magic.jupyter.interrupts import put_off
from dexto_magic.llm.protocol import Notice, ReasoningDelta, TextDelta
from dexto_magic.rendering import plain
from dexto_magic.rendering.html import reply_html, text_html
from dexto_magic.rendering.markdown import StreamRenderer, encodable, to_html
from dexto_magic.rendering.views import as_html, as_text
from dexto_magic.settings import wants_color
from dexto_magic.turns.running import TurnEvent

FASTEST = 0.066
"""Seconds between two updates of an output, at least: more often than that no eye can tell."""

SLOWEST = 1.0
"""Seconds after which what has come is shown, however little."""

GROWTH_CHARACTERS = 40
GROWTH = 0.02
"""What must have come for an update in between: the more there is, the more each one costs.

Sending every token floods the page: 4,001 updates and 39 MB for 4,000 tokens, shown 68 s late, and
at full speed the end was lost ("IOPub message rate exceeded").
"""

COST = 4
"""How many times as long as an update took is waited for the next one, whatever has come.

What is open at the end of a reply is rendered anew each time, and a list, a quotation or a table is
open until it ends: 20 KB of list took 3.7 s of the main thread in 160 updates.
"""

_ANSWERING = "answering… if this is all there is, look into"
"""Below a reply on its way, and so in the saved file where the kernel was killed amid it."""


class UpdatePolicy:
    """When a reply that grows is shown again. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._ended = float("-inf")
        self._took = 0.0
        self._shown = 0

    def due(self, now: float, length: int) -> bool:
        """Whether ``length`` characters are worth showing now."""
        grown, waited = length - self._shown, now - self._ended
        if grown <= 0 or waited < COST * self._took:
            return False
        enough = max(GROWTH_CHARACTERS, GROWTH * self._shown)
        return waited >= SLOWEST or (waited >= FASTEST and grown >= enough)

    def shown(self, began: float, ended: float, length: int) -> None:
        """Takes note of an update: how long it took, and how many characters it showed."""
        self._ended, self._took, self._shown = ended, ended - began, length


class ReplyView(Protocol):
    """The output of a cell that is being answered."""

    def notice(self, text: str) -> None:
        """Shows a line of ours above the reply."""
        ...

    def feed(self, event: TurnEvent) -> None:
        """Takes in what happened, and shows it when it is time."""
        ...

    def tick(self) -> None:
        """Shows what is not shown yet, when it is time; called when nothing happens."""
        ...

    def end(self, reply: Reply | None, *, line: bool) -> None:
        """Shows the end: the reply as it is stored, its mark, and the line below it.

        May be called again where an interrupt or an error broke it off; the last call decides.
        """
        ...


def reply_view(shell: InteractiveShell, session_id: str, *, streams: bool) -> ReplyView:
    """The view for this shell.

    Args:
        shell: Where the cell runs.
        session_id: The session that is asked.
        streams: Whether a notebook's front end follows updates of an output, be it the reply that
            grows or a line on why it does not come. Those that send no cell id, such as consoles
            and nbclient, are not known to, and get the end only. A terminal always does.
    """
    if is_kernel(shell):
        return KernelView(shell, session_id, streams=streams)
    return TerminalView(color=_colored(shell))


def is_kernel(shell: InteractiveShell) -> bool:
    """Whether the shell publishes to a front end, rather than print to a terminal."""
    return hasattr(shell, "kernel")


class QuietView:
    """Shows nothing."""

    def notice(self, text: str) -> None:
        """Drops it."""

    def feed(self, event: TurnEvent) -> None:
        """Drops it."""

    def tick(self) -> None:
        """Does nothing."""

    def end(self, reply: Reply | None, *, line: bool) -> None:
        """Does nothing."""


class KernelView:
    """One output in a notebook, updated while the reply arrives, whole in the saved file."""

    def __init__(
        self,
        shell: InteractiveShell,
        session_id: str,
        *,
        streams: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shell = shell
        self._session_id = session_id
        self._streams = streams
        self._clock = clock
        self._display_id = new_id("dexto")
        self._displayed = False
        self._notices: list[str] = []
        self._passing: list[str] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._renderer = StreamRenderer()
        self._policy = UpdatePolicy()
        self._length = 0
        self._broken_off = False

    def notice(self, text: str) -> None:
        """Shows a line of ours above the reply."""
        self._notices.append(text)
        self._passing = []
        if self._streams:
            self._update()

    def feed(self, event: TurnEvent) -> None:
        """Takes in what happened, and shows it when it is time."""
        if isinstance(event, Notice):
            if event.passing:
                self._passing = [event.text]
                if self._streams:
                    self._update()
            else:
                self.notice(event.text)
            return
        (self._reasoning if isinstance(event, ReasoningDelta) else self._text).append(event.text)
        self._length += len(event.text)
        self.tick()

    def tick(self) -> None:
        """Shows what is not shown yet, when it is time."""
        if self._streams and self._policy.due(self._clock(), self._length):
            self._update()

    def end(self, reply: Reply | None, *, line: bool) -> None:
        """Shows the end, in every form: the file keeps the original, as Markdown.

        Consoles get it as text without what would drive a terminal: they print it as it is.
        """
        # What broke off the first rendering would break off the next: then text as it is will do.
        rendered = text_html if self._broken_off else to_html
        self._broken_off = True
        self._passing = []
        if reply is None or reply.status == "failed":
            # The error below says the rest.
            if self._notices or self._displayed:
                self._publish_html(rendered("".join(self._text)))
        else:
            content = encodable(reply.content)
            self._publish(
                {
                    "text/html": reply_html(
                        rendered(content),
                        notices=self._notices,
                        reasoning=reply.reasoning,
                        mark=plain.mark(reply.message),
                        line=plain.reply_line(reply) if line else None,
                    ),
                    "text/markdown": content,
                    "text/plain": plain.printable(content),
                },
                {"dexto": _metadata(reply)},
            )
        self._broken_off = False

    def _update(self) -> None:
        began = self._clock()
        self._publish_html(
            self._renderer.render("".join(self._text)),
            line=_ANSWERING,
            to_type=f"%dexto history {shlex.quote(self._session_id)}",
        )
        self._policy.shown(began, self._clock(), self._length)

    def _publish_html(
        self, body: str, *, line: str | None = None, to_type: str | None = None
    ) -> None:
        """Publishes HTML alone: it is what a page shows, and the rest would double the bytes."""
        html = reply_html(
            body,
            notices=[*self._notices, *self._passing],
            reasoning="".join(self._reasoning),
            line=line,
            to_type=to_type,
        )
        self._publish({"text/html": html}, {"dexto": {"session": self._session_id}})

    def _publish(self, data: dict[str, str], metadata: dict[str, Any]) -> None:
        # Interrupted between these two, the end would be a second output, and the first stay open.
        with put_off():
            self._shell.display_pub.publish(
                data=data,
                metadata=metadata,
                transient={"display_id": self._display_id},
                update=self._displayed,
            )
            self._displayed = True


class TerminalView:
    """Lines in a terminal, printed as they come."""

    def __init__(self, *, color: bool) -> None:
        self._dim = "\x1b[2m{}\x1b[0m" if color else "{}"
        self._inside: type | None = None
        self._text = ""
        self._ended = False

    def notice(self, text: str) -> None:
        """Prints a line of ours."""
        self._begin(None)
        print(self._dim.format(plain.printable(text)))  # noqa: T201  # this is the terminal's view

    def feed(self, event: TurnEvent) -> None:
        """Prints what happened."""
        if isinstance(event, Notice):
            self.notice(event.text)
        elif isinstance(event, ReasoningDelta):
            self._begin(ReasoningDelta)
            self._write(self._dim.format(plain.printable(event.text)))
        else:
            self._print(event.text)

    def tick(self) -> None:
        """Does nothing: all that came is printed."""

    def end(self, reply: Reply | None, *, line: bool) -> None:
        """Prints what is missing, and the end; what a call before has ended stays as it is."""
        if self._ended:
            return
        if reply is not None and reply.status != "failed":
            # An interrupt may have come between a piece's arrival and its being printed.
            if reply.content.startswith(self._text):
                self._print(reply.content[len(self._text) :])
            ending = plain.mark(reply.message)
            if ending:
                self.notice(f"[{ending}]")
            if line:
                self.notice(plain.reply_line(reply))
        self._begin(None)
        self._ended = True

    def _print(self, text: str) -> None:
        if text:
            self._begin(TextDelta)
            self._text += text
            self._write(plain.printable(text))

    def _begin(self, kind: type | None) -> None:
        """Starts a new line between reasoning, reply and lines of ours."""
        if self._inside is not None and self._inside is not kind:
            self._write("\n")
        self._inside = kind

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def show(shell: InteractiveShell, value: object) -> None:
    """Displays a value of ours, in every form."""
    if is_kernel(shell):
        shell.display_pub.publish(data=bundle(shell, value))
    else:
        sys.stdout.write(bundle(shell, value)["text/plain"] + "\n")


def show_again(shell: InteractiveShell, reply: Reply) -> None:
    """Displays a reply that the cell has shown already, being its value as well.

    In a notebook there is nothing to add. A terminal has printed its prompt for a value, which
    takes the line that would otherwise stand below the reply.
    """
    if not is_kernel(shell):
        sys.stdout.write(plain.reply_line(reply) + "\n")


def bundle(shell: InteractiveShell, value: object) -> dict[str, str]:
    """A value of ours as MIME types and their content."""
    if is_kernel(shell):
        bundle = {"text/html": as_html(value), "text/plain": as_text(value).rstrip("\n")}
        if isinstance(value, Reply):
            bundle["text/markdown"] = encodable(value.content)
        return bundle
    width = shutil.get_terminal_size().columns
    return {"text/plain": as_text(value, width=width, color=_colored(shell)).rstrip("\n")}


def _colored(shell: InteractiveShell) -> bool:
    return sys.stdout.isatty() and wants_color() and shell.colors.lower() != "nocolor"


def _metadata(reply: Reply) -> dict[str, Any]:
    """What a program may want to know of an output, and what tells whose notebook this is."""
    message: Message = reply.message
    usage = message.usage
    return {
        "session": reply.session_id,
        "turn": message.turn,
        "model": message.model,
        "usage": None
        if usage is None
        else {name: value for name, value in vars(usage).items() if value is not None},
    }
