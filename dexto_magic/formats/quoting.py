r"""Texts of others in a Markdown document, such that none can pass for a part of it.

What people typed is no Markdown, though it may look like it: it stands in a quotation, verbatim.
What models wrote is Markdown, and stays readable as such, but it opens nothing that it does not
close, has no heading of the document's levels, no HTML, and no image that would be fetched. Whether
that was achieved is seen by parsing the result; where it was not, it is quoted verbatim, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from dexto_magic.rendering.latex import latex_plugin
from dexto_magic.rendering.plain import printable

LEVELS = 3
"""How many levels of headings the document has; those of a reply begin below."""

_LOWEST = 6
_BACKTICKS = re.compile("`+")
_LINE_ENDS = re.compile("[\u2028\u2029]")
_SPECIAL = re.compile(r"[\\`*_\[\]<>&#|~$!]")
_END = "end of the reply"

# What may begin HTML or an image, and what it is no beginning in: escapes, code, links to pages.
_TO_DEFUSE = re.compile(
    r"\\[!-/:-@\[-`{-~]"
    r"|(?<!`)(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)"
    r"|`+"
    r"|<https?://[^\s<>`\\]*>"
    r"|(?P<html><)(?=[A-Za-z/!?])"
    r"|(?P<image>!)(?=\[)",
    re.DOTALL,
)


def plain_line(text: str) -> str:
    """Text on one line of Markdown, shown as it is."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(_shown(text).split()))


def code(text: str) -> str:
    """Text on one line as code, shown as it is but for runs of space."""
    text = " ".join(_shown(text).split())
    ticks = "`" * (_longest_run(text) + 1)
    space = " " if not text or text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def quoted(text: str) -> list[str]:
    """Lines of a quotation of the text, verbatim.

    A reader of the file sees the bar before each line, a parser the fence: no run of backticks in
    the text is as long.
    """
    text = _shown(text)
    fence = "`" * max(3, _longest_run(text) + 1)
    return [f"> {line}".rstrip(" ") for line in (f"{fence}text", *text.split("\n"), fence)]


def subordinate(text: str) -> list[str]:
    """Lines of the Markdown of a reply, to stand below a heading of level ``LEVELS``."""
    text = _shown(text).strip("\n")
    tokens = _blocks().parse(text)
    lines = _defused(text.split("\n"), tokens)
    lines = _demoted(lines, text.split("\n"), tokens)
    # A reply that was cut short may end amid code.
    last = tokens[-1] if tokens else None
    endings: list[list[str]] = [[], [last.markup] if last and last.type == "fence" else []]
    for ending in endings:
        if _is_subordinate([*lines, *ending]):
            return [*lines, *ending]
    return quoted(text)


def _shown(text: str) -> str:
    return _LINE_ENDS.sub("\n", printable(text)).replace("\0", "\ufffd")


def _longest_run(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)


@cache
def _blocks() -> MarkdownIt:
    """What sees the blocks of a reply, with formulas as JupyterLab finds them.

    So ``= b`` amid a formula underlines nothing.
    """
    return MarkdownIt("js-default").use(latex_plugin).disable("inline")


@cache
def _strict() -> MarkdownIt:
    """What sees all that any other program may: CommonMark with HTML, and tables."""
    parser = MarkdownIt("commonmark").enable("table")
    # Long texts with many brackets would take minutes; none of these makes a block or HTML.
    return parser.disable(["link", "image", "emphasis"])


def _defused(lines: list[str], tokens: Sequence[Token]) -> list[str]:
    """The lines without HTML and images, but for what is code."""
    lines = list(lines)
    # Once each: all cells of a table's row have its line for their place.
    for start, end in {(t.map[0], t.map[1]) for t in tokens if t.type == "inline" and t.map}:
        lines[start:end] = _TO_DEFUSE.sub(_defuse, "\n".join(lines[start:end])).split("\n")
    return lines


def _defuse(match: re.Match[str]) -> str:
    # Not a backslash before the bracket: in a formula that would be something else.
    return "&lt;" if match["html"] else r"\!" if match["image"] else match[0]


def _demoted(lines: list[str], original: Sequence[str], tokens: Sequence[Token]) -> list[str]:
    """The lines with each heading ``LEVELS`` levels lower."""
    lines = list(lines)
    for position in reversed(range(len(tokens))):
        token = tokens[position]
        if token.type != "heading_open" or token.map is None:
            continue
        start, end = token.map
        marks = "#" * min(int(token.tag[1:]) + LEVELS, _LOWEST)
        if token.markup.startswith("#"):
            lines[start] = lines[start].replace(token.markup, marks, 1)
        else:
            inner = tokens[position + 1].content.split("\n")
            begins = [max(original[start + n].find(said), 0) for n, said in enumerate(inner)]
            words = [lines[start + n][begin:].strip() for n, begin in enumerate(begins)]
            lines[start:end] = [f"{lines[start][: begins[0]]}{marks} {' '.join(words)}"]
    return lines


def _is_subordinate(lines: Sequence[str]) -> bool:
    """Whether what follows the lines is what it would be without them."""
    text = "\n".join([*lines, "", f"{'#' * LEVELS} {_END}"])
    return all(_ends_well(parser.parse(text)) for parser in (_strict(), _blocks()))


def _ends_well(tokens: Sequence[Token]) -> bool:
    if any(token.type == "html_block" for token in tokens):
        return False
    inner = (child for token in tokens for child in token.children or ())
    if any(child.type == "html_inline" for child in inner):
        return False
    above = [
        number
        for number, token in enumerate(tokens)
        if token.type == "heading_open" and int(token.tag[1:]) <= LEVELS
    ]
    last = len(tokens) - 3
    return above == [last] and not tokens[last].level and tokens[last + 1].content == _END
