"""Markdown becomes HTML that reads as it was meant, and that can do nothing."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it.parser_inline import ParserInline

from dexto_magic.rendering import markdown
from dexto_magic.rendering.markdown import StreamRenderer, to_html
from tests.support.hostile import ELEMENTS, HANDLERS, HOSTILE
from tests.support.html_safety import assert_inert

REPLIES = {
    "prose": 'One *two*\nthree.\n\n> quoted\nlazily\n\n---\n\nSee [docs](https://a.example "t").',
    "headings": "# One\n\nTwo\n===\n\nthree\n\n## Four\nfive",
    "lists": "1. a\n2. b\n\n   still b\n\n   - c\n10. d\n\nend\n\n* x\n* y\n\n- z\n\n      code\n",
    "code": "Run:\n\n```python\nx = 1\n\n\ny = '<b>'\n```\n\n1. a\n\n   ```sh\n   ls\n   ```\n2. b\n",
    "code without a blank line": "Run:\n```python\nx = 1\n```\nand\n~~~\n$y\n~~~\n",
    "table": "| a | b |\n|:--|--:|\n| 1 | `x|y` |\n\nafter\n\n| c |\n|---|\n| $5 |\n",
    "formulas": "Let\n\n$$\nx\n= y\n- z\n$$\n\nand\n\\[\na_1 * b * c\n\\]\nso \\(a_b\\) and $c_d$.\n",
    "environment": "Let\n\n\\begin{align}\na &= b\\\\\n- c\n\\end{align}\n\nand so on",
    "windows": "a\r\n\r\n- b\r\n- c\r\n\r\n```\r\nd\r\n```\r\n",
    "links": "[a]: https://a.example\n\nSee [a].\n\n[b]: https://b.example 't'\n\nSee [b].",
}

PIECES = (
    "a |b |\n|\n\n|\r\n|- |* |1. |2. |> |  |    |\t|# |```|```\n|~~~\n|---|===|$$|$|\\[|\\]|\\(|\\)|`"
    "|**|_|[a]|(x)|[b](http://c)|[a]: |<b>|&amp;|x_1|\\|!|&#124; a &#124;\n|\ud800|\0|javascript:"
)
DOCUMENTS = st.lists(st.sampled_from(PIECES.split("|")), max_size=40).map("".join)

FORMULA = re.compile(
    r"\$\$.+?\$\$|\$(?:[^$\\]|\\.)+\$|\\\(.+?\\\)|\\\[.+?\\\]|\\begin.+|\\ref.+", re.DOTALL
)


def text_of(html):
    """The text between the tags, as a browser shows it."""
    parts = []
    reader = HTMLParser()
    reader.handle_data = parts.append
    reader.feed(html)
    reader.close()
    return "".join(parts)


def formulas(text):
    """What MathJax would typeset of a reply: it looks at each stretch of text between two tags."""
    html = re.sub(r"<(pre|code)>.*?</\1>", "<x>", to_html(text), flags=re.DOTALL)
    stretches = [text_of(stretch) for stretch in re.split(r"<[^>]*>", html)]
    return [formula for stretch in stretches for formula in FORMULA.findall(stretch)]


def streamed(text, step):
    """The HTML of every update of a reply that arrives ``step`` characters at a time."""
    renderer = StreamRenderer()
    html = [renderer.render(text[:end]) for end in range(0, len(text), step)]
    return [*html, renderer.render(text)]


INFLATED = {
    "references": "[a]: http://a.example/" + "y" * 1_900 + "\n\n" + "[a] " * 1_200,
    "titles": "[a]: http://a.example '" + "y" * 9_000 + "'\n\n" + "[a] " * 1_000,
    "cells": "|a" * 300 + "\n" + "|-" * 300 + "\n" + "|\n" * 100,
}


def fail(*args, **options):
    raise RuntimeError("A bug in a parser.")


class TestBlocks:
    def test_each_stands_on_a_line_of_its_own(self):
        html = to_html("# One\n\ntwo *three*\n\n- a\n- b\n\n---\n\n> c")

        assert html.splitlines() == [
            "<h1>One</h1>",
            "<p>two <em>three</em></p>",
            "<ul>",
            "<li>a</li>",
            "<li>b</li>",
            "</ul>",
            "<hr>",
            "<blockquote>",
            "<p>c</p>",
            "</blockquote>",
        ]

    def test_tables_and_struck_text_are_known(self):
        html = to_html("| a | b |\n|---|--:|\n| ~~1~~ | 2 |")

        assert "<td><s>1</s></td>" in html
        assert '<td style="text-align:right">2</td>' in html

    def test_nothing_makes_nothing(self):
        assert to_html("") == to_html(" \n\t\n ") == ""


class TestLinks:
    @pytest.mark.parametrize(
        "url", ["https://a.example/?b=c&d", "http://a.example", "mailto:a@b.c"]
    )
    def test_lead_out_of_the_notebook(self, url):
        html = to_html(f"[x]({url})")

        assert 'target="_blank" rel="noopener noreferrer">x</a>' in html
        assert "<a href=" in html

    @pytest.mark.parametrize(
        "url",
        [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///x",
            "tel:1",
            "//a",
            "/a",
            "a.md",
            "#a",
        ],
    )
    def test_lead_nowhere_else(self, url):
        assert "href" not in to_html(f"[x]({url})")

    @pytest.mark.parametrize("form", ["[x]({})", "<{}>", "![x]({})", "[x]: {}\n\n[x]"])
    def test_are_text_if_they_are_longer_than_any_real_one(self, form):
        url = "https://a.example/" + "y" * 1_982

        assert f'href="{url}"' in to_html(form.format(url))
        assert "href" not in to_html(form.format(url + "y"))
        assert url + "y" in text_of(to_html(form.format(url + "y")))

    def test_are_found_behind_many_brackets_that_stay_open(self):
        html = to_html("in [0, 1) " * 300 + "[see [1]](https://a.example) " + "[[[[[deep]]]]]")

        assert 'noreferrer">see [1]</a>' in html

    def test_are_what_images_become(self):
        html = to_html("![a *chart*](https://a.example/x.png)")

        assert "<img" not in html
        assert 'href="https://a.example/x.png"' in html
        assert text_of(html).strip() == "image: a *chart*"
        assert text_of(to_html("![](https://a.example/x.png)")).strip() == "image"

    def test_keep_their_own_address_around_an_image(self):
        html = to_html("[![build](https://a.example/badge.png)](https://b.example)")

        assert re.findall(r'href="([^"]*)"', html) == ["https://b.example"]


class TestCode:
    def test_is_coloured_by_the_classes_that_jupyterlab_colours(self):
        html = to_html("```Python title\ndef f():\n    return 1.5 # why\n```")

        assert html.startswith('<div class="highlight"><pre><code><span class="k">def</span> ')
        for span in (">f</span>", '"m">1.5</span>', '"c"># why</span>'):
            assert span in html

    @pytest.mark.parametrize("info", ["", "nosuchlanguage", "text", '"><script>'])
    def test_of_no_known_language_is_plain(self, info):
        html = to_html(f"```{info}\nx < 1\n```")

        assert html == '<div class="highlight"><pre><code>x &lt; 1\n</code></pre></div>\n'

    @pytest.mark.parametrize("code", ["", "\n\nx = 1\n\n", "\tif x:\n\t\ty\n", "'<b>&amp;\n"])
    def test_is_shown_to_the_character(self, code):
        assert text_of(to_html(f"```python\n{code}```")) == code + "\n"

    def test_that_is_huge_is_not_coloured(self):
        assert "<span" not in to_html("```python\n" + "x = 1\n" * 20_000 + "```")

    def test_survives_a_lexer_that_fails(self, monkeypatch):
        monkeypatch.setattr(markdown.pygments.lexers, "get_lexer_by_name", fail)

        assert text_of(to_html("```python\nx\n```")).strip() == "x"


class TestFormulas:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("so $x_1$ and $y_2$ hold", ["$x_1$", "$y_2$"]),
            (r"so \(x_1 \* y\) holds", [r"$x_1 \* y$"]),
            (r"so \[ x_1 \] holds", ["$$x_1$$"]),
            ("$$x_1 * y * z$$", ["$$x_1 * y * z$$"]),
            ("so $$x$$ holds", ["$$x$$"]),
            ("$a<b$ & \\(c&d\\)", ["$a<b$", "$c&d$"]),
            (r"$\{a \\ b\}$", [r"$\{a \\ b\}$"]),
            (r"the price \(\text{\$5}\)", [r"$\text{\$5}$"]),
            ("the $n$th of all $x$s, 3$\\times$4", ["$n$", "$x$", "$\\times$"]),
            ("设$x$为 **$y$**, ($z$)", ["$x$", "$y$", "$z$"]),
            ("[$x$](http://a.example) and | $y$", ["$x$", "$y$"]),
            ("costs $5, so $x=5$.", ["$x=5$"]),
            ("$a$$b$", ["$a$", "$b$"]),
        ],
    )
    def test_are_found_and_kept(self, text, found):
        assert formulas(text) == found

    @pytest.mark.parametrize(
        ("opener", "closer"), [("$$", "$$"), (r"\[", r"\]"), (r"\begin{align*}", r"\end{align*}")]
    )
    @pytest.mark.parametrize("around", ["{}", "Text:\n{}\nmore", "- item\n\n  {}\n", "> {}"])
    def test_of_several_lines_are_no_headings_and_no_lists(self, opener, closer, around):
        prefix = {"- item": "  ", "> {}": "> "}.get(around[:6].rstrip("\n"), "")
        lines = [opener, "a_1", "= b", "- c", "# d", closer]

        html = to_html(around.format(("\n" + prefix).join(lines)))

        assert len(re.findall(r"a_1\s= b\s- c\s# d", text_of(html))) == 1
        assert "<h1>" not in html

    @pytest.mark.parametrize(
        "text",
        [
            "It costs $5 and $10.",
            "It costs $5, US$ 3, or CA$4-US$5.",
            "**$5** or **$10**, ($5) or (6$), 5$ or 6$",
            "Apple ($AAPL) and Google ($GOOG)",
            "| a | b |\n|---|---|\n| $5 | $6 |",
            r"\$x\$ and &#36;y&#36; and \\(z\\) and \\[z\\]",
            "$HOME/$USER, a $ b $ c, $$, $ $",
            r"Use \begin{x} and \ref{y}; C:\Users\(x",
            "`$x$`, ``\\(y\\)``\n\n```\n$$z$$\n```\n\n    $w$\n",
            "costs $5 `or $6`",
            "\\[\nnever closed\n\n\\]",
            "# It costs $5 \n- or $6",
        ],
    )
    def test_are_not_seen_in_prose_or_code(self, text):
        assert formulas(text) == []

    def test_leave_prose_as_it_was(self):
        text = "It costs $5 and $10; a US$ is \\a C:\\dir"

        assert text_of(to_html(text)).strip() == text

    def test_lose_their_labels_which_count_for_the_whole_page(self):
        html = to_html(r"\begin{equation}\label{eq:newton} F = ma\end{equation}")

        assert r"<span>\begin{equation} F = ma\end{equation}</span>" in html

    @pytest.mark.parametrize(
        "command",
        [
            r"\href{javascript:alert(1)}{x}",
            r"\style{color:red}{x}",
            r"\bbox[background:url(x)]{x}",
            r"\def\sum{x}",
            r"\renewcommand{\alpha}{x}",
            r"\let\beta\gamma",
            r"\DeclareMathOperator{\sin}{x}",
            r"\eqref{x}",
            r"\label x",
        ],
    )
    def test_that_make_more_than_formulas_are_shown_as_source(self, command):
        assert to_html(f"${command}$") == f"<p><code>${command}$</code></p>\n"


class TestStreaming:
    @pytest.mark.parametrize("text", REPLIES.values(), ids=REPLIES)
    @pytest.mark.parametrize("step", [1, 2, 7, 1000])
    def test_ends_as_the_whole(self, text, step):
        assert streamed(text, step)[-1] == to_html(text)

    @given(text=DOCUMENTS, ends=st.lists(st.integers(0, 200), max_size=10))
    def test_never_fails_and_is_always_safe(self, text, ends):
        renderer = StreamRenderer()

        for end in ends:
            assert_inert(renderer.render(text[:end]))

    @given(text=DOCUMENTS.filter(lambda text: "]: " not in text), step=st.integers(1, 9))
    def test_of_anything_ends_as_the_whole(self, text, step):
        assert streamed(text, step)[-1] == to_html(text)

    def test_colours_code_when_it_is_closed(self):
        renderer = StreamRenderer()

        opened = renderer.render("Run:\n\n```python\nx = 1\n")
        closed = renderer.render("Run:\n\n```python\nx = 1\n```")

        assert "<pre><code>x = 1\n</code></pre>" in opened
        assert '<span class="m">1</span>' in closed

    def test_parses_a_finished_block_no_more(self, monkeypatch):
        parsed = []
        parse = markdown.MarkdownIt.parse
        monkeypatch.setattr(
            markdown.MarkdownIt, "parse", lambda *args: parsed.append(len(args[1])) or parse(*args)
        )

        streamed("A paragraph of some length.\n\n" * 100, 10)

        assert max(parsed) < 100

    def test_knows_the_links_defined_above(self):
        text = (
            "[a]: https://a.example\n\nSee [a].\n\nSee [a] again.\n\n[a]: https://b.example\n\n[a]"
        )

        assert streamed(text, 3)[-1].count("https://a.example") == 3

    def test_takes_a_definition_only_when_it_is_whole(self):
        text = "See:\n\n[a]: https://a.example/long/path\n\nSee [a].\n\nThat is all.\n"

        assert 'href="https://a.example/long/path"' in streamed(text, 1)[-1]

    def test_starts_over_with_a_shorter_text(self):
        renderer = StreamRenderer()
        renderer.render("one\n\ntwo\n\nthree\n")

        assert renderer.render("four") == "<p>four</p>\n"


class TestHostileText:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_is_inert(self, text):
        assert_inert(to_html(text))
        assert_inert(to_html(f"- > {text}\n\n  | {text} |\n  |---|\n"))

    @pytest.mark.parametrize("text", HOSTILE)
    def test_is_inert_at_every_moment_of_a_stream(self, text):
        for html in streamed(f"Look:\n\n{text}\n\nand\n\n{text}", 3):
            assert_inert(html)

    @given(text=st.text())
    def test_of_any_kind_is_inert(self, text):
        assert_inert(to_html(text))

    @pytest.mark.parametrize("text", [*ELEMENTS, *HANDLERS[:12]])
    def test_would_not_pass_for_inert_as_it_is(self, text):
        with pytest.raises(AssertionError):
            assert_inert(text)


class TestAnyText:
    @pytest.mark.parametrize(
        "text",
        [
            ">" * 10_000,
            "[" * 10_000,
            "> 1. " * 1_000 + "x",
            "".join("  " * depth + "- a\n" for depth in range(300)),
            "*" * 10_000,
            "\\[\n" * 10_000,
            "\\(" * 10_000,
            "$" * 10_000,
            "$$\n" * 10_000,
            "`" * 10_000,
            "|a" * 1_000 + "\n" + "|-" * 1_000 + "\n",
            "\0" * 10_000,
            "\n" * 100_000,
            "word " * 200_000,
            "```python\n" + "x = 1\n" * 100_000,
        ],
        ids=lambda text: repr(text[:8]),
    )
    def test_is_rendered_however_large_or_deep(self, text):
        assert_inert(to_html(text))

    @pytest.mark.parametrize("text", INFLATED.values(), ids=INFLATED)
    def test_that_would_become_a_multiple_of_itself_is_shown_as_it_is(self, text):
        html = to_html(text)

        assert html.startswith("<pre><code>")
        assert text_of(html) == text + "\n"
        assert len(html) < 2 * len(text)
        assert streamed(text, 1_000)[-1] == html
        assert max(map(len, streamed(text, 1_000))) <= 100_000

    @pytest.mark.parametrize("text", [">" * 90 + "x\n\n", "$", "- " * 20 + "x\n", "|a" * 9])
    def test_that_is_all_punctuation_is_still_rendered(self, text):
        many = text * (10_000 // len(text))

        assert not to_html(many).startswith("<pre>")

    @pytest.mark.parametrize("closed", ["", "]"])
    @pytest.mark.parametrize("opener", ["![", "[", "[!", "**[", "[[1, 2], "])
    def test_of_brackets_never_closed_is_not_searched_again_and_again(
        self, opener, closed, monkeypatch
    ):
        steps = []
        skip = ParserInline.skipToken
        monkeypatch.setattr(ParserInline, "skipToken", lambda *args: steps.append(1) or skip(*args))

        to_html(opener * 1_000 + closed)

        assert len(steps) < 5 * markdown.MAX_OPEN_BRACKETS * 1_000

    def test_that_cannot_be_encoded_is_made_so(self):
        assert text_of(to_html("a\ud800b\0c `\udfff`")).strip() == "a\ufffdb\ufffdc \ufffd"

    def test_is_shown_as_it_is_if_the_parser_fails(self, monkeypatch):
        monkeypatch.setattr(markdown.MarkdownIt, "parse", fail)

        for html in (to_html("**a** <b>"), StreamRenderer().render("**a** <b>")):
            assert html == "<pre><code>**a** &lt;b&gt;</code></pre>\n"
