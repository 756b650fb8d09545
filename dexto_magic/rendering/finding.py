"""What a search found: each place with the words around it, and the line that shows it in place."""

from __future__ import annotations

import shlex
from dataclasses import replace

from wcwidth import wcswidth

from dexto_magic.conversation.finding import SearchHit, SearchPage
from dexto_magic.rendering import markup, plain

MAGIC = "%dexto"
"""What a line to be typed begins with, in a cell."""


def search_text(
    page: SearchPage, *, width: int = 80, color: bool = False, command: str = MAGIC
) -> str:
    """Hits for a terminal.

    Args:
        page: The hits.
        width: Columns of the terminal.
        color: Whether hits are set off by bold type, rather than by «».
        command: What a line to be typed begins with.
    """
    bold, dim = ("\x1b[1m{}\x1b[0m", "\x1b[2m{}\x1b[0m") if color else ("«{}»", "{}")
    lines = [_heading(page)]
    for hit in page:
        snippet = "".join(
            bold.format(plain.printable(text)) if is_hit else plain.printable(text)
            for text, is_hit in hit.snippet
        )
        lines += ["", *map(dim.format, _head(hit, width)), f"  {snippet}"]
        lines += [dim.format(f"  {_shown_by(hit, command)}")]
    return "\n".join([*lines, *_remarks(page, spaced=True)]) + "\n"


def search_html(page: SearchPage) -> str:
    """Hits for a page."""
    parts = [markup.sentence(_heading(page))]
    for hit in page:
        snippet = "".join(
            f"<mark>{markup.inline(text)}</mark>" if is_hit else markup.inline(text)
            for text, is_hit in hit.snippet
        )
        typed = f"<code>{markup.inline(_shown_by(hit, MAGIC))}</code>"
        parts += [
            '<div class="dexto-turn">',
            markup.head(_place(hit)),
            f"<div>{snippet}</div>",
            markup.dim(typed),
            "</div>",
        ]
    return markup.root([*parts, *map(markup.sentence, _remarks(page, spaced=False))])


def _heading(page: SearchPage) -> str:
    if not page.hits:
        if page.number > 1:
            return f"There is no page {page.number} of hits for {page.query!r}."
        return f"Nothing found for {page.query!r}."
    more = ", and there are more" if page.cursor else ""
    return f"{plain.count(len(page), 'hit')} for {page.query!r}{more}"


def _head(hit: SearchHit, width: int) -> list[str]:
    """Where a hit is; on two lines where a notebook's path would be cut off, as its name is last."""
    place = _place(hit)
    if hit.notebook is None or wcswidth(place) <= width:
        return [plain.clipped(place, width)]
    rest = plain.clipped(_place(replace(hit, notebook=None)), width)
    return [rest, f"  {plain.one_line(hit.notebook)}"]


def _place(hit: SearchHit) -> str:
    speaker = {"user": "you", "assistant": "reply", "tool": "tool", None: "name or title"}
    return plain.joined(
        plain.one_line(hit.session_id),
        None if hit.turn is None else f"turn {hit.turn}",
        speaker[hit.role],
        plain.moment(hit.created_at),
        plain.one_line(hit.notebook or ""),
    )


def _shown_by(hit: SearchHit, command: str) -> str:
    """The line that shows it in place; the name stands in it to the letter, spaces and all."""
    name = shlex.quote(" ".join(plain.printable(hit.session_id).splitlines()))
    at = [] if hit.turn is None else ["--at", str(hit.turn)]
    words = [*at, "--", name] if name.startswith("-") else [name, *at]
    return " ".join([command, "history", *words])


def _remarks(page: SearchPage, *, spaced: bool) -> list[str]:
    remarks = [f"The next ones: add `--page {page.number + 1}`."]
    lines = remarks if page.cursor else []
    if page.unread:
        names = ", ".join(map(repr, page.unread))
        lines = [*lines, f"Not searched, as the store cannot read them: {names}."]
    return ["", *lines] if lines and spaced else lines
