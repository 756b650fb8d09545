"""The Markdown of a model, as HTML that can do nothing.

A running cell displays HTML as it is, and script in the page can drive the kernel: whatever a
model writes must be made safe here. It happens twice: the parser knows no HTML and every rule of
its renderer escapes, and what it made passes an allow-list. The one renderer serves a cell, the
history and every other view.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from html import escape
from itertools import groupby
from typing import Any

import nh3
import pygments.lexers
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_inline import StateInline, image, link
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments.token import Token as CodeToken

from dexto_magic.rendering.latex import latex_plugin, untypeset

MAX_COLOURED = 100_000
"""Characters of the longest code that is coloured, which takes 0.2 s."""

MAX_URL = 2_000
"""Characters of the longest URL that is a link: each mention of a reference repeats it whole."""

MAX_GROWTH = 30
"""How many times longer than its text HTML may be: one ``>`` makes 27 characters, and a reference
or the cells that are missing in a table make any number."""

MIN_CHECKED = 100_000
"""Characters of the shortest HTML that is held against ``MAX_GROWTH``."""

MAX_OPEN_BRACKETS = 20
"""Brackets around a link or image, as in CommonMark's own preset of the parser. The time for text
that opens brackets and never closes them grows with it: 3.2 s for 40 KB at the usual 100."""

_BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "hr", "pre"}
_TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
_INLINES = {"a", "strong", "em", "s", "code", "br", "span", "div"}
_FAMILIES = {
    CodeToken.Comment: "c",
    CodeToken.Keyword: "k",
    CodeToken.Operator: "o",
    CodeToken.Operator.Word: "ow",
    CodeToken.Literal.Number: "m",
    CodeToken.Literal.String: "s",
    CodeToken.Name.Builtin: "nb",
    CodeToken.Name.Class: "nc",
    CodeToken.Name.Decorator: "nd",
    CodeToken.Name.Function: "nf",
    CodeToken.Name.Tag: "nt",
    CodeToken.Generic.Deleted: "gd",
    CodeToken.Generic.Inserted: "gi",
}
"""Pygments' own class for each kind of token that has a colour; finer kinds share it.

JupyterLab colours these classes within ``.highlight``. With a span for each token, as Pygments'
own formatter makes them, the HTML of code is more than twice as long.
"""

CODE_STYLE = """\
.dexto .highlight .c{color:var(--jp-mirror-editor-comment-color,color-mix(in srgb,#6a8f8f 60%,currentColor));font-style:italic}
.dexto .highlight .k,.dexto .highlight .ow,.dexto .highlight .nt{color:var(--jp-mirror-editor-keyword-color,color-mix(in srgb,#2e8b3d 60%,currentColor));font-weight:bold}
.dexto .highlight .o{color:var(--jp-mirror-editor-operator-color,color-mix(in srgb,#a860f0 60%,currentColor))}
.dexto .highlight .m{color:var(--jp-mirror-editor-number-color,color-mix(in srgb,#2e8b3d 60%,currentColor))}
.dexto .highlight .s,.dexto .highlight .gd{color:var(--jp-mirror-editor-string-color,color-mix(in srgb,#d05050 60%,currentColor))}
.dexto .highlight .nb,.dexto .highlight .gi{color:var(--jp-mirror-editor-builtin-color,color-mix(in srgb,#2e8b3d 60%,currentColor))}
.dexto .highlight .nc,.dexto .highlight .nd,.dexto .highlight .nf{color:var(--jp-mirror-editor-def-color,color-mix(in srgb,#4a80e8 60%,currentColor))}
"""
"""Colours of code; without JupyterLab's theme mixed with the text's own, on white or on black."""

_SURROGATES = re.compile("[\ud800-\udfff]")


def to_html(text: str) -> str:
    """Markdown as safe HTML, block by block on lines of their own. Never raises.

    Images become links: nothing is fetched. Formulas come out as text between ``$`` or ``$$``,
    for MathJax, and only they do. What the parser cannot read is shown as it is, and so is what
    would become a multiple of itself.
    """
    text = encodable(text)
    try:
        env: dict[str, Any] = {}
        html = _safe_html(_parser().parse(text, env), env)
    except Exception:  # noqa: BLE001 - a bug in a parser must not cost an answer that was paid for
        return _verbatim(text)
    return _verbatim(text) if _is_inflated(html, text) else html


class StreamRenderer:
    """Renders a reply that grows, at the cost of its last block.

    The HTML of blocks that cannot change any more is kept. A fence that is still open is shown
    without colours, and coloured when it closes. What is returned in the end is ``to_html`` of the
    text, but for links whose definition stands below them, and for a fence that is never closed:
    show ``to_html`` when the reply has ended.
    """

    def __init__(self) -> None:
        self._start_over()

    def _start_over(self) -> None:
        self._done = 0
        self._html = ""
        self._references: dict[str, Any] = {}

    def render(self, text: str) -> str:
        """Safe HTML of all of ``text``, which begins with the text of the call before."""
        if len(text) < self._done:
            self._start_over()
        rest = encodable(text[self._done :])
        try:
            html = self._render(rest)
        except Exception:  # noqa: BLE001 - as in to_html
            html = self._html + _verbatim(rest)
        return _verbatim(encodable(text)) if _is_inflated(html, text) else html

    def _render(self, rest: str) -> str:
        env: dict[str, Any] = {"references": dict(self._references)}
        tokens = _parser().parse(rest, env)
        split, line = _first_open(tokens, rest)
        _mark_open_fence(tokens[split:])
        finished = self._html + _safe_html(tokens[:split], env)
        html = finished + _safe_html(tokens[split:], env)
        self._html = finished
        self._done += sum(len(text) + 1 for text in rest.split("\n")[:line])
        for label, reference in env["references"].items():
            if reference["map"][0] < line:
                self._references.setdefault(label, reference)
        return html


def encodable(text: str) -> str:
    """The text with each lone surrogate, which no file or message can hold, made U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def _first_open(tokens: Sequence[Token], text: str) -> tuple[int, int]:
    """Where the blocks that may still change begin: the index of the token, and the line.

    A block that follows a blank line leaves those before it as they are: nothing reaches over a
    blank line but a list or a fence, and that would have taken the block in. Only its first line
    must be whole, since the beginning of ``2. item`` looks like a paragraph.
    """
    if "\r" in text:  # rare; the parser counts it as a line's end, and "\r\n" as one
        return 0, 0
    lines = text.split("\n")
    for index in range(len(tokens) - 1, 0, -1):
        token = tokens[index]
        if token.level or token.nesting < 0 or token.map is None:
            continue
        line = token.map[0]
        if line < len(lines) - 1 and not lines[line - 1].strip():
            return index, line
    return 0, 0


def _mark_open_fence(tokens: Sequence[Token]) -> None:
    fences = [token for token in tokens if token.type == "fence"]
    if fences:
        last = fences[-1]
        assert last.map is not None
        lines = last.content.removesuffix("\n").count("\n") + bool(last.content)
        last.meta["open"] = last.map[1] - last.map[0] < lines + 2


def _safe_html(tokens: Sequence[Token], env: EnvType) -> str:
    parser = _parser()
    return _cleaner().clean(parser.renderer.render(tokens, parser.options, env))


def _is_inflated(html: str, text: str) -> bool:
    return len(html) > max(MIN_CHECKED, MAX_GROWTH * len(text))


def _verbatim(text: str) -> str:
    return f"<pre><code>{escape(text, quote=False)}</code></pre>\n".replace("\0", "\ufffd")


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the parser's name for it
        return len(url) <= MAX_URL and super().validateLink(url)


def _bounded(rule: Callable[[StateInline, bool], bool], opener: str) -> Any:
    """The parser's rule for what ``opener`` begins, giving up where its effort would not pay."""

    def bounded(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the parser's signature
        if not state.src.startswith(opener, state.pos) or state.src.find("]", state.pos) < 0:
            return False
        if silent and state.level > MAX_OPEN_BRACKETS:
            state.pos = state.posMax  # as the parser does itself at its own bound
            return True
        return rule(state, silent)

    return bounded


@cache
def _parser() -> MarkdownIt:
    parser = _Parser("js-default").use(latex_plugin)
    parser.inline.ruler.at("link", _bounded(link, "["))
    parser.inline.ruler.at("image", _bounded(image, "!["))
    parser.add_render_rule("fence", _render_fence)
    parser.add_render_rule("image", _render_image)
    return parser


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=_BLOCKS | _TABLES | _INLINES,
        attributes={"a": {"href", "title"}, "ol": {"start"}, "th": {"style"}, "td": {"style"}},
        allowed_classes={"div": {"highlight"}, "span": set(_FAMILIES.values())},
        filter_style_properties={"text-align"},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _render_fence(
    _self: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    token = tokens[index]
    words = token.info.split()
    code = None
    if words and not token.meta.get("open"):
        code = _coloured(token.content, words[0].lower())
    if code is None:
        code = escape(token.content, quote=False)
    return f'<div class="highlight"><pre><code>{code}</code></pre></div>\n'


def _render_image(
    _self: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    token = tokens[index]
    label = untypeset(escape(f"image: {token.content}" if token.content else "image", quote=False))
    if index and tokens[index - 1].type == "link_open":
        return label
    return f'<a href="{escape(str(token.attrs["src"]))}">{label}</a>'


def _coloured(code: str, language: str) -> str | None:
    """The code with a span for each run of one colour, or ``None`` if it must do without."""
    if language not in _languages() or len(code) > MAX_COLOURED:
        return None
    try:
        # A lexer may keep state, so each piece of code has its own.
        lexer = pygments.lexers.get_lexer_by_name(language, stripnl=False, ensurenl=False)
        return "".join(_runs(lexer.get_tokens(code)))
    except Exception:  # noqa: BLE001 - hundreds of lexers, each free to stumble; the code stays
        return None


def _runs(tokens: Iterable[tuple[Any, str]]) -> Iterator[str]:
    for family, run in groupby(tokens, key=lambda token: _family(token[0])):
        text = escape("".join(value for _, value in run), quote=False)
        yield f'<span class="{family}">{text}</span>' if family else text


@cache
def _family(kind: Any) -> str:
    while kind.parent is not None and kind not in _FAMILIES:
        kind = kind.parent
    return _FAMILIES.get(kind, "")


@cache
def _languages() -> frozenset[str]:
    """Every name of a language, without the search for plugins that an unknown one would start."""
    lexers = pygments.lexers.get_all_lexers(plugins=False)
    return frozenset(alias for _, aliases, _, _ in lexers for alias in aliases)
