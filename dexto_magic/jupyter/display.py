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
from typing import Any, Protocol

from IPython.core.interactiveshell import InteractiveShell

from dexto_magic.conversation.messages import Message, Reply, new_id
from dexto_magic.llm.protocol import Notice, ReasoningDelta
from dexto_magic.rendering import plain
from dexto_magic.rendering.html import reply_html
from dexto_magic.rendering.markdown import StreamRenderer, encodable, to_html
from dexto_magic.rendering.views import as_html, as_text
from dexto_magic.running import TurnEvent
from dexto_magic.settings import wants_color

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


_ANSWERING = "answering… what has come is kept: `%dexto history {}`"
"""Below a reply on its way, and so in the saved file where the kernel was killed amid it."""


class UpdatePolicy:
    """When a reply that grows is shown again. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._shown_at = float("-inf")
        self._shown = 0

    def due(self, now: float, length: int) -> bool:
        """Whether ``length`` characters are worth showing now."""
        grown, waited = length - self._shown, now - self._shown_at
        enough = max(GROWTH_CHARACTERS, GROWTH * self._shown)
        return grown > 0 and (waited >= SLOWEST or (waited >= FASTEST and grown >= enough))

    def shown(self, now: float, length: int) -> None:
        """Takes note of an update."""
        self._shown_at, self._shown = now, length


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
        """Shows the end: the reply as it is stored, its mark, and the line below it."""
        ...


def reply_view(shell: InteractiveShell, session_id: str, *, streams: bool) -> ReplyView:
    """The view for this shell.

    Args:
        shell: Where the cell runs.
        session_id: The session that is asked.
        streams: Whether to show the reply while it arrives. Front ends that send no cell id, such
            as consoles and nbclient, are not known to follow updates, and get the end only.
    """
    if is_kernel(shell):
        return KernelView(shell, session_id, streams=streams)
    return TerminalView(streams=streams, color=_colored(shell))


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

    def __init__(self, shell: InteractiveShell, session_id: str, *, streams: bool) -> None:
        self._shell = shell
        self._session_id = session_id
        self._streams = streams
        self._display_id = new_id("dexto")
        self._displayed = False
        self._notices: list[str] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._renderer = StreamRenderer()
        self._policy = UpdatePolicy()
        self._length = 0

    def notice(self, text: str) -> None:
        """Shows a line of ours above the reply."""
        self._notices.append(text)
        if self._streams:
            self._update(_ANSWERING.format(shlex.quote(self._session_id)))

    def feed(self, event: TurnEvent) -> None:
        """Takes in what happened, and shows it when it is time."""
        if isinstance(event, Notice):
            self.notice(event.text)
            return
        (self._reasoning if isinstance(event, ReasoningDelta) else self._text).append(event.text)
        self._length += len(event.text)
        self.tick()

    def tick(self) -> None:
        """Shows what is not shown yet, when it is time."""
        if self._streams and self._policy.due(time.monotonic(), self._length):
            self._update(_ANSWERING.format(shlex.quote(self._session_id)))

    def end(self, reply: Reply | None, *, line: bool) -> None:
        """Shows the end, in every form: the file keeps the original, as Markdown.

        Consoles get it as text without what would drive a terminal: they print it as it is.
        """
        if reply is None or reply.status == "failed":
            # The error below says the rest.
            if self._notices or self._displayed:
                self._update(None)
            return
        content = encodable(reply.content)
        self._publish(
            {
                "text/html": reply_html(
                    to_html(content),
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

    def _update(self, line: str | None) -> None:
        body = self._renderer.render("".join(self._text))
        reasoning = "".join(self._reasoning)
        html = reply_html(body, notices=self._notices, reasoning=reasoning, line=line)
        # On the way HTML alone: it is what a page shows, and the rest would double the bytes.
        self._publish({"text/html": html}, {"dexto": {"session": self._session_id}})
        self._policy.shown(time.monotonic(), self._length)

    def _publish(self, data: dict[str, str], metadata: dict[str, Any]) -> None:
        self._shell.display_pub.publish(
            data=data,
            metadata=metadata,
            transient={"display_id": self._display_id},
            update=self._displayed,
        )
        self._displayed = True


class TerminalView:
    """Lines in a terminal, printed as they come."""

    def __init__(self, *, streams: bool, color: bool) -> None:
        self._streams = streams
        self._dim = "\x1b[2m{}\x1b[0m" if color else "{}"
        self._inside: type | None = None

    def notice(self, text: str) -> None:
        """Prints a line of ours."""
        self._begin(None)
        print(self._dim.format(plain.printable(text)))  # noqa: T201  # this is the terminal's view

    def feed(self, event: TurnEvent) -> None:
        """Prints what happened."""
        if isinstance(event, Notice):
            self.notice(event.text)
        elif self._streams:
            self._begin(type(event))
            style = self._dim if isinstance(event, ReasoningDelta) else "{}"
            self._write(style.format(plain.printable(event.text)))

    def tick(self) -> None:
        """Does nothing: all that came is printed."""

    def end(self, reply: Reply | None, *, line: bool) -> None:
        """Prints the end."""
        if reply is None or reply.status == "failed":
            self._begin(None)
            return
        if not self._streams:
            self._write(plain.printable(reply.content))
            self._inside = str
        ending = plain.mark(reply.message)
        if ending:
            self.notice(f"[{ending}]")
        if line:
            self.notice(plain.reply_line(reply))
        self._begin(None)

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
