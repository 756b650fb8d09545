"""The pieces of HTML that every view is made of.

A view stands under one ``<div class="dexto">`` with one static ``<style>``, so that a page without
JupyterLab's theme looks right too; where even that is stripped, as on GitHub, the elements alone
still read well. No script, no id, nothing fetched. Every text is escaped here; the one thing taken
as HTML is a body that ``markdown`` made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from dexto_magic.rendering.latex import untypeset
from dexto_magic.rendering.markdown import CODE_STYLE, encodable

_TO_TYPE = re.compile("`(%%?dexto[^`]*)`")

# JupyterLab's own rules name two classes and an element: ours repeat the root's class to outrank
# them, and come later in the page.
STYLE = """\
.dexto{overflow-wrap:anywhere;--dexto-dim:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,color-mix(in srgb,currentColor 72%,transparent)))}
.dexto .dexto-dim,.dexto summary{color:var(--dexto-dim);font-size:.85em;margin:.3em 0}
.dexto summary{cursor:pointer}
.dexto>div>:last-child,.dexto .dexto-turn>div>:last-child{margin-bottom:.3em}
.dexto a[href]{color:var(--jp-content-link-color,var(--vscode-textLink-foreground,inherit));text-decoration:underline}
.dexto hr{border:0;border-top:1px solid var(--jp-border-color2,#8888);margin:1em 0}
.dexto mjx-container[display="true"]{overflow-x:auto;overflow-y:hidden;padding:.3em 0}
.dexto .dexto-mark{border-left:3px solid var(--jp-warn-color1,#c77700);padding:.1em .6em;margin:.4em 0}
.dexto .dexto-turn{border-top:1px solid var(--jp-border-color2,#8888);margin-top:.8em}
.dexto .dexto-past{color:var(--dexto-dim);border-left:1px dashed var(--dexto-dim);padding-left:.8em}
.dexto.dexto .dexto-past :is(.dexto-dim,summary,.dexto-typed){color:inherit}
.dexto .dexto-you{border-left:3px solid var(--jp-brand-color1,#1976d2);padding-left:.6em;margin:.3em 0 .8em}
.dexto.dexto .dexto-typed{background:none;font:inherit;white-space:pre-wrap;word-break:normal;margin:0}
.dexto.dexto details .dexto-typed{border-left:2px solid var(--jp-border-color2,#8888);padding-left:.6em;margin:.2em 0 .9em;color:var(--dexto-dim)}
.dexto .highlight{background:var(--jp-cell-editor-background,#8881);padding:.4em .6em;margin:.5em 0}
.dexto.dexto .highlight pre,.dexto.dexto .highlight code{background:none;margin:0;white-space:pre}
.dexto .highlight pre{overflow-x:auto}
.dexto table{display:block;max-width:100%;overflow-x:auto;margin-left:0}
.dexto.dexto td,.dexto.dexto th{text-align:left;vertical-align:top;padding:.3em .6em;overflow-wrap:break-word}
.dexto .dexto-sessions td:first-child{min-width:10em}
.dexto .dexto-sessions td:nth-child(n+3){white-space:nowrap}
.dexto.dexto .dexto-sessions :is(th,td):nth-child(3){text-align:right}
"""
"""The looks of every output, colours from JupyterLab's theme where there is one."""


def root(parts: Sequence[str], *, style: str = "") -> str:
    """A view, whole.

    Args:
        parts: Its pieces, each on a line of its own, so that git shows changes by the line.
        style: The looks of what only a few views have.
    """
    html = "\n".join(parts)
    code = CODE_STYLE if '<div class="highlight">' in html else ""
    return f'<div class="dexto">\n<style>\n{STYLE}{code}{style}</style>\n{html}\n</div>\n'


def dim(html: str) -> str:
    """A line that stands back."""
    return f'<div class="dexto-dim">{html}</div>'


def head(line: str) -> str:
    """A label, its first part in bold: that is left where a page drops classes and styles."""
    first, *others = line.split(" · ")
    return dim(" · ".join([f"<b>{inline(first)}</b>", *map(inline, others)]))


def sentence(line: str) -> str:
    """A line of ours, see ``ours``."""
    return f"<div>{ours(line)}</div>"


def ours(line: str) -> str:
    """A line of ours, each magic between backticks as something to be typed.

    Anything else between backticks is of a name, a path or an error that stands in the line, and is
    shown as it was written. What people write at length has no place in such a line: see ``Facts``.
    """
    return _TO_TYPE.sub(r"<code>\1</code>", inline(line))


def collapsed(summary: str, text: str) -> str:
    """Text as it is, folded away under a label."""
    return f"<details><summary>{inline(summary)}</summary>\n{typed(text)}\n</details>"


def typed(text: str) -> str:
    """Text as it is. MathJax leaves ``pre`` alone; the new line keeps one that the text begins with."""
    return f'<pre class="dexto-typed">\n{_escaped(text)}</pre>'


def inline(text: str) -> str:
    """Text within a line."""
    return untypeset(_escaped(text))


def attribute(text: str) -> str:
    """Text as the value of an attribute, between double quotes."""
    return _escaped(text)


def _escaped(text: str) -> str:
    return escape(encodable(text).replace("\0", "\ufffd"))
