"""Says whether HTML can do anything: run script, fetch, send, or leave its place.

It is read twice: by the standard library's parser, and by a grammar so strict that no two parsers
could understand differently what it accepts.
"""

import re
from html.parser import HTMLParser

from dexto_magic.rendering import chart, tables
from dexto_magic.rendering.markdown import CODE_STYLE
from dexto_magic.rendering.markup import STYLE

TAGS = re.compile(
    r"a|b|blockquote|br|code|details|div|em|h[1-6]|hr|li|mark|ol|p|path|pre|s|span|strong|style"
    r"|summary|svg|table|tbody|td|th|thead|tr|ul"
)
EMPTY_TAGS = {"br", "hr"}
ATTRIBUTES = {
    "a": {"href", "title", "target", "rel"},
    "div": {"class"},
    "ol": {"start"},
    "path": {"class", "fill", "d"},
    "pre": {"class"},
    "span": {"class"},
    "svg": {"class", "role", "aria-label", "width", "height", "viewbox"},
    "table": {"class"},
    "td": {"style"},
    "th": {"style"},
}
CLASSES = re.compile(
    r"dexto|dexto-(dim|mark|turn|past|you|typed|sessions|numbers)|highlight|[a-z]{1,2}"
    r"|dexto-(chart|keys|input|cached|output|room|over)"
)
SHAPES = {
    "role": re.compile("img"),
    "width": re.compile(r"\d+"),
    "height": re.compile(r"\d+"),
    "viewbox": re.compile(r"0 0 \d+ \d+"),
    "fill": re.compile("#[0-9a-f]{4,6}"),
    "d": re.compile(r"(M[\d.]+ [\d.]+h[\d.]+v[\d.]+h-[\d.]+z)+"),
}
LINK = re.compile(r"(?:https?://[^\s\"<>]+|mailto:[^\s\"<>]+)")
STYLES = {"text-align:left", "text-align:center", "text-align:right"}
STYLE_SHEETS = {
    (STYLE + more).strip()
    for more in ("", CODE_STYLE, chart.STYLE, tables.STYLE, tables.STYLE + chart.STYLE)
}

_TAG = re.compile(r"</[a-z0-9]+>|<[a-z0-9]+(?: [a-zA-Z-]+=\"[^\"<]*\")*>")


def assert_inert(html):
    """Fails unless the HTML is of our elements and attributes only, and well formed."""
    html.encode("utf-8")
    assert "\0" not in html
    assert "<" not in _TAG.sub("", html), html
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open, (reader.open, html)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = []

    def handle_starttag(self, tag, attrs):
        assert TAGS.fullmatch(tag), tag
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), attrs
        assert set(names) <= ATTRIBUTES.get(tag, set()), (tag, attrs)
        for name, value in attrs:
            _assert_harmless(name, value)
        if "href" in names:
            assert dict(attrs)["target"] == "_blank"
            assert "noopener" in dict(attrs)["rel"]
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            assert data.strip() in STYLE_SHEETS

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def _assert_harmless(name, value):
    if name == "href":
        assert LINK.fullmatch(value), value
    elif name == "style":
        assert value.rstrip(";") in STYLES, value
    elif name == "class":
        assert all(CLASSES.fullmatch(word) for word in value.split()), value
    elif name == "start":
        assert value.isdigit(), value
    elif name in SHAPES:
        assert SHAPES[name].fullmatch(value), (name, value)
    elif name in ("target", "rel"):
        assert value in ("_blank", "noopener noreferrer"), value
