"""What is typed after ``%dexto ask`` arrives as it was typed.

IPython takes a line that ends in ``word?`` for a question about ``word``, ``%dexto ask What is my
name?`` too, and an open quote or bracket in a line for the beginning of something longer. So these
lines are turned into calls before IPython looks at them.
"""

from __future__ import annotations

import re

from IPython.core.getipython import get_ipython
from IPython.core.inputtransformer2 import (
    EscapedCommand,
    MagicAssign,
    assemble_continued_line,
    find_end_of_continued_line,
    make_tokens_by_line,
)
from IPython.core.prefilter import is_shadowed

_WITH_TEXT = re.compile(r"%dexto\s+(?P<text>(?:ask|system|retry|title|search)\s+\S.*|\S+\s.*\?)")
"""A line with text in it: after a verb that takes any, or a question without its verb."""

_BARE_WITH_TEXT = re.compile(r"\s*dexto\s+(?P<text>(?:ask|system|retry|title|search)\s+\S.*)")
"""The same as automagic has it. No guess at a verb: without ``%`` it may be a line of Python."""


def keep_typed_text(lines: list[str]) -> list[str]:
    """An input transformer of IPython's: a cell's lines, those that hold text made into calls."""
    if not any("dexto" in line for line in lines) or lines[0].startswith("%%"):
        return lines
    bare = _BARE_WITH_TEXT.fullmatch(lines[0].rstrip())
    if bare is not None and len(lines) == 1 and _is_automagic():
        return [_call(bare["text"])]
    lines = list(lines)
    while (found := _first_with_text(lines)) is not None:
        row, column, end, text = found
        lines[row : end + 1] = [lines[row][:column] + _call(text)]
    return lines


def _first_with_text(lines: list[str]) -> tuple[int, int, int, str] | None:
    """The first such line: where its magic begins, its last row, and its text.

    Where a magic may stand is IPython's to say: at the beginning of a statement, or as all that is
    assigned to something. A line that ends in a backslash goes on in the next, as for any magic.
    """
    for tokens in make_tokens_by_line(lines):
        if not any(token.string == "dexto" for token in tokens):
            continue
        place = EscapedCommand.find([tokens]) or MagicAssign.find([tokens])
        if place is None:
            continue
        row, column = place.start_line, place.start_col
        end = find_end_of_continued_line(lines, row)
        match = _WITH_TEXT.fullmatch(assemble_continued_line(lines, (row, column), end))
        if match is not None:
            return row, column, end, match["text"]
    return None


def _call(text: str) -> str:
    return f"get_ipython().run_line_magic('dexto', {text!r})\n"


def _is_automagic() -> bool:
    """Whether ``dexto`` alone is the magic here, and no name of the user's: IPython's own rule."""
    shell = get_ipython()
    return shell is not None and shell.automagic and not is_shadowed("dexto", shell)
