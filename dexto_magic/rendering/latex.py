r"""LaTeX in Markdown: carried through unharmed, and typeset only where it is meant.

JupyterLab runs MathJax over every piece of HTML that a cell displays. It finds formulas by string
search, with ``$…$``, ``$$…$$``, ``\(…\)``, ``\[…\]``, ``\begin…\end`` and ``\ref`` as delimiters,
in text between two tags, except in ``code`` and ``pre`` (its ``HTMLDomStrings``, MathJax 3.2). So a
formula gets an element of its own, and in all other text each character that could begin one does,
which ends the search there.

Written here rather than taken from mdit-py-plugins: its rules know either dollars or brackets,
leave alone the brackets that follow other text, take "($AAPL) and Google ($GOOG)" for a formula,
and search to the end of the text for each bracket that is never closed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

MAX_LENGTH = 10_000
"""Characters of the longest formula: what bounds the search for the end of one never closed."""

MAX_LINES = 200
"""Lines of the longest display, for the same reason."""

# Each alternative begins with another character, so giving characters back costs little. Possessive
# quantifiers would forbid it, but Python before 3.11.5 gets them wrong (cpython#106052).
_DISPLAY_DOLLARS = re.compile(r"\$\$((?:[^$\\]|\\.|\$(?!\$))+)\$\$", re.DOTALL)
_INLINE_DOLLARS = re.compile(r"\$(?![\s$])((?:[^$\\`]|\\.)+)(?<!\s)\$", re.DOTALL)
_ENVIRONMENT = re.compile(r"\\begin\{(\w{1,32}\*?)\}")
_COMMAND = re.compile(r"\\[A-Za-z]")

# "$5 and $10" is money, and so are "US$5-CA$10", "$5, US$ 3" and "($5) or (6$)"; "$HOME/$USER" are
# names. But "3$\times$4" is a formula, and so are "the $n$th" and "all $x$s".
_WORD_BEFORE = re.compile(r"[0-9A-Za-z_]")
_WORD_AFTER = re.compile(r"(?!(?:th|st|nd|rd|s)\b)[0-9A-Za-z_]")
_PROSE = re.compile(r"[^(\[]*\)|[0-9].*\s[A-Za-z]{2}", re.DOTALL)

# MathJax can make links, styles and attributes, and can load more of itself. JupyterLab 4.6 has its
# "safe" extension on; other places that show a saved notebook do not. It also has one set of macros
# for the whole page: a reply must not change what the user's own formulas mean.
_UNSAFE = re.compile(
    r"\\(?:href|style|class|cssId|data|unicode|require|mmlToken|setOptions|bbox|csname|global"
    r"|label|(?:eq)?ref|[gex]?def|let|(?:re)?new\w+|provide\w+|Declare\w+|usetagform|mathtoolsset"
    r"|definecolor)(?![A-Za-z])"
)

# A label counts for the whole page and for one typesetting: the next update of the same output, or
# the same formula in a history, would be an error.
_LABEL = re.compile(r"\\label\s*\{[^{}\\]*\}")
_TRIGGERS = re.compile(r"[$\\]")


def latex_plugin(md: MarkdownIt) -> None:
    """Teaches a parser LaTeX, and its renderer to keep MathJax off everything else."""
    md.inline.ruler.before("escape", "latex", _inline)
    interrupts = ["paragraph", "reference", "blockquote", "list"]
    md.block.ruler.before("fence", "latex", _block, {"alt": interrupts})
    md.add_render_rule("latex", _render_latex)
    md.add_render_rule("text", _render_text)


def untypeset(html: str) -> str:
    """Escaped text with every character that MathJax looks for in an element of its own."""
    return _TRIGGERS.sub(r"<span>\g<0></span>", html)


def _inline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it's signature
    found = _formula(state.src, state.pos)
    if found is None:
        return False
    markup, content, end = found
    if not silent:
        token = state.push("latex", "", 0)
        token.markup, token.content = markup, content
    state.pos = end
    return True


def _formula(text: str, start: int) -> tuple[str, str, int] | None:
    """The formula that begins at ``start``: its delimiter for MathJax, its source, its end."""
    if text.startswith("$$", start):
        match = _DISPLAY_DOLLARS.match(text, start, start + MAX_LENGTH)
        return _found("$$", match[1], match.end()) if match else None
    if text.startswith("$", start):
        match = _INLINE_DOLLARS.match(text, start, start + MAX_LENGTH)
        return ("$", match[1], match.end()) if match and _is_math(match) else None
    opener, closer = _delimiters(text, start)
    if not opener:
        return None
    inside = start + len(opener)
    end = text.find(closer, inside, inside + MAX_LENGTH)
    if end < 0:
        return None
    past = end + len(closer)
    if opener.startswith(r"\begin"):
        return "", text[start:past], past
    return _found("$" if opener == r"\(" else "$$", text[inside:end], past)


def _found(markup: str, content: str, end: int) -> tuple[str, str, int] | None:
    content = content.strip()
    return (markup, content, end) if content else None


def _is_math(match: re.Match[str]) -> bool:
    text, start, end = match.string, match.start(), match.end()
    if _COMMAND.search(match[1]):
        return True
    if (start and _WORD_BEFORE.match(text, start - 1)) or _WORD_AFTER.match(text, end):
        return False
    return not _PROSE.match(match[1])


def _delimiters(text: str, start: int) -> tuple[str, str]:
    r"""What opens a display or a ``\(…\)`` at ``start``, and what closes it; else empty strings."""
    for opener, closer in (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)")):
        if text.startswith(opener, start):
            return opener, closer
    match = _ENVIRONMENT.match(text, start)
    return (match[0], rf"\end{{{match[1]}}}") if match else ("", "")


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001
    r"""A paragraph of a display that begins a line and ends on a later one.

    Without it, a line ``= b`` or ``- b`` of the formula would begin a heading or a list. As in TeX
    a blank line ends the attempt, so a formula never closed costs no more than its paragraph.
    """
    begin = state.bMarks[start] + state.tShift[start]
    if state.src[begin : begin + 1] not in ("$", "\\") or state.is_code_block(start):
        return False
    opener, closer = _delimiters(state.src, begin)
    if opener in ("", r"\("):
        return False
    inside = begin + len(opener)
    found = state.src.find(closer, inside, inside + MAX_LENGTH)
    if found < state.eMarks[start] or state.src.find("\n\n", inside, found) >= 0:
        return False
    line = start
    while state.eMarks[line] < found:
        line += 1
        if line >= min(end, start + MAX_LINES) or state.isEmpty(line):
            return False
        if state.sCount[line] < state.blkIndent:
            return False
    if not silent:
        _push_paragraph(state, start, line + 1)
    return True


def _push_paragraph(state: StateBlock, start: int, end: int) -> None:
    state.push("paragraph_open", "p", 1).map = [start, end]
    token = state.push("inline", "", 0)
    token.content = state.getLines(start, end, state.blkIndent, keepLastLF=False).strip()
    token.map = [start, end]
    token.children = []
    state.push("paragraph_close", "p", -1)
    state.line = end


def _render_latex(
    _self: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    token = tokens[index]
    if _UNSAFE.search(_LABEL.sub("", token.content)):
        return f"<code>{token.markup}{escape(token.content, quote=False)}{token.markup}</code>"
    formula = escape(_LABEL.sub("", token.content), quote=False)
    return f"<span>{token.markup}{formula}{token.markup}</span>"


def _render_text(
    _self: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    return untypeset(escape(tokens[index].content, quote=False))
