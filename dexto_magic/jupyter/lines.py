"""What is typed after ``%dexto ask`` arrives as it was typed.

IPython takes a line that ends in ``word?`` for a question about ``word``, ``%dexto ask What is my
name?`` too, and an open quote or bracket in a line for the beginning of something longer. So these
lines are turned into calls before IPython looks at them.
"""

from __future__ import annotations

import re
import tokenize

from IPython.core.inputtransformer2 import make_tokens_by_line

_TEXT_LINE = re.compile(
    r"(?P<before>\s*(?:[^\W\d]\w*\s*=\s*)?)%dexto\s+(?P<text>(?:ask|system)\s+\S.*|\S+\s.*\?\s*)"
)
"""A line with text in it: after a verb that takes any, or a question without its verb."""


def keep_typed_text(lines: list[str]) -> list[str]:
    """An input transformer of IPython's: a cell's lines, those that hold text made into calls."""
    if not any("%dexto" in line for line in lines) or lines[0].startswith("%%"):
        return lines
    lines, start = list(lines), 0
    while (row := _next_text_line(lines, start)) is not None:
        match = _TEXT_LINE.fullmatch(lines[row].rstrip("\n"))
        assert match is not None
        lines[row] = f"{match['before']}get_ipython().run_line_magic('dexto', {match['text']!r})\n"
        start = row + 1
    return lines


def _next_text_line(lines: list[str], start: int) -> int | None:
    """The first such line from ``start`` on that begins a statement, and is no part of a string."""
    for tokens in make_tokens_by_line(lines):
        first = next(
            (token for token in tokens if token.type not in (tokenize.INDENT, tokenize.DEDENT)),
            None,
        )
        if first is None:
            continue
        row: int = first.start[0] - 1
        if start <= row < len(lines) and _TEXT_LINE.fullmatch(lines[row].rstrip("\n")):
            return row
    return None
