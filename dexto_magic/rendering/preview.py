"""A request that was not sent: every message of it as it would go out, and what goes along."""

from __future__ import annotations

import json

from dexto_magic.conversation.context import PromptPreview
from dexto_magic.rendering import markup, plain

_NOT_SENT = "nothing was sent"


def preview_text(preview: PromptPreview, *, width: int = 80, color: bool = False) -> str:
    """A request for a terminal of so many columns."""
    bold, dim = ("\x1b[1m{}\x1b[0m", "\x1b[2m{}\x1b[0m") if color else ("{}", "{}")
    lines = [
        bold.format(_heading(preview)),
        *(dim.format(plain.printable(s)) for s in _lines(preview)),
    ]
    for number, message in enumerate(preview.composition.messages, start=1):
        head = f"── {number} · {message.role} "
        lines += ["", dim.format(head + "─" * max(0, width - len(head)))]
        lines += plain.indented(message.content)
    return "\n".join(lines) + "\n"


def preview_html(preview: PromptPreview) -> str:
    """A request for a page."""
    parts = [markup.head(_heading(preview)), *map(markup.sentence, _lines(preview))]
    for number, message in enumerate(preview.composition.messages, start=1):
        parts += [
            '<div class="dexto-turn">',
            markup.head(f"{number} · {message.role}"),
            markup.typed(message.content),
            "</div>",
        ]
    return markup.root(parts)


def _heading(preview: PromptPreview) -> str:
    composition = preview.composition
    about = "" if composition.measured else "about "
    return plain.joined(
        plain.one_line(preview.session_id),
        plain.one_line(preview.model),
        plain.count(len(composition.messages), "message"),
        f"{about}{plain.number(composition.tokens)} tokens",
        _NOT_SENT,
    )


def _lines(preview: PromptPreview) -> list[str]:
    others = {name: value for name, value in preview.body.items() if name != "messages"}
    return [*preview.lines, f"with {json.dumps(others, ensure_ascii=False)}"]
