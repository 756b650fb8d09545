"""What was found, as text and as HTML: where, by whom, and the line that shows it in place."""

import argparse
import re
import shlex
from dataclasses import replace

import pytest

from dexto_magic.conversation.finding import SearchHit, SearchPage
from dexto_magic.conversation.session import valid_session_id
from dexto_magic.rendering.finding import search_html, search_text
from dexto_magic.rendering.views import as_html, as_text
from tests.rendering.test_html import text_of
from tests.rendering.test_plain import FORBIDDEN, SEQUENCES
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.views import NOON


def hit(**fields):
    fields = {
        "kind": "message",
        "session_id": "eda",
        "title": "Ridges",
        "turn": 3,
        "version": 1,
        "role": "user",
        "message_id": "msg_1",
        "created_at": NOON,
        "notebook": "/home/me/eda.ipynb",
        "snippet": (("How do I fit a ", False), ("ridge", True), ("?", False)),
        **fields,
    }
    return SearchHit(**fields)


def page(*hits, query="ridge", cursor=None, **fields):
    return SearchPage(query=query, hits=hits, cursor=cursor, **fields)


SESSION = {"kind": "session", "turn": None, "version": None, "role": None, "message_id": None}


def test_a_hit_tells_where_and_how_to_get_there():
    found = page(hit(), hit(role="assistant", notebook=None), hit(**SESSION))

    assert as_text(found) == (
        "3 hits for 'ridge'\n"
        "\n"
        "eda · turn 3 · you · 2026-11-20 14:03 UTC · /home/me/eda.ipynb\n"
        "  How do I fit a «ridge»?\n"
        "  %dexto history eda --at 3\n"
        "\n"
        "eda · turn 3 · reply · 2026-11-20 14:03 UTC\n"
        "  How do I fit a «ridge»?\n"
        "  %dexto history eda --at 3\n"
        "\n"
        "eda · name or title · 2026-11-20 14:03 UTC · /home/me/eda.ipynb\n"
        "  How do I fit a «ridge»?\n"
        "  %dexto history eda\n"
    )


def test_a_hit_in_the_shell_is_shown_by_a_line_of_the_shell():
    text = search_text(page(hit()), command="dexto-magic")

    assert "\n  dexto-magic history eda --at 3\n" in text


def test_a_hit_in_colour_is_bold_and_without_guillemets():
    text = search_text(page(hit()), color=True)

    assert "How do I fit a \x1b[1mridge\x1b[0m?" in text
    assert "«" not in text


def test_a_hit_in_a_page_is_marked():
    html = as_html(page(hit()))

    assert_inert(html)
    assert "How do I fit a <mark>ridge</mark>?" in html
    assert "<code>%dexto history eda --at 3</code>" in html
    for words in ("1 hit for", "eda", "turn 3", "you", "2026-11-20 14:03 UTC", "eda.ipynb"):
        assert words in text_of(html)


@pytest.mark.parametrize("view", [as_text, lambda found: text_of(as_html(found))])
def test_a_page_tells_what_it_lacks(view):
    assert "Nothing found for 'ridge'." in view(page())
    assert "1 hit for 'ridge', and there are more" in view(page(hit(), cursor="c"))
    assert "there are more" not in view(page(hit()))
    assert "cannot read them: 'eda', 'thesis'" in view(page(unread=("eda", "thesis")))


@pytest.mark.parametrize(
    "name",
    ["eda", "my thesis", "a  b", "it's", "-n", "--at", "a$HOME`x`", "論文", "a;b", '"', "\\"],
)
def test_the_line_that_shows_a_hit_names_its_session_to_the_letter(name):
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--at", type=int)

    found = page(hit(session_id=valid_session_id(name)))
    line = search_text(found).splitlines()[-1].strip()

    assert line in text_of(search_html(found))
    magic, verb, *words = shlex.split(line)
    assert (magic, verb) == ("%dexto", "history")
    assert vars(parser.parse_args(words)) == {"name": name, "at": 3}


def hostile_page(text):
    """A page in which every text that somebody else wrote is this one."""
    found = hit(
        session_id=text,
        title=text,
        notebook=text,
        snippet=((text, False), (text, True), (text, False)),
    )
    return page(found, replace(found, **SESSION), query=text, cursor="c", unread=(text,))


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_was_found_can_act_in_a_page(text):
    assert_inert(search_html(hostile_page(text)))


@pytest.mark.parametrize("text", [*HOSTILE, *SEQUENCES.values(), "a\nb", "a\rb", "\x85", "\u2028"])
def test_nothing_that_was_found_drives_the_terminal(text):
    shown = search_text(hostile_page(text))

    assert not FORBIDDEN.search(shown)
    colored = search_text(hostile_page(text), color=True)
    assert not FORBIDDEN.search(re.sub(r"\x1b\[[0-2]m", "", colored))


def test_the_notebook_of_a_hit_is_shown_whole_however_narrow_the_terminal_is():
    path = "/home/me/a/folder/of/some/length/my notebook.ipynb"
    wide = search_text(page(hit(notebook=path)), width=200).splitlines()
    narrow = search_text(page(hit(notebook=path)), width=40).splitlines()
    assert (len(wide), len(narrow)) == (5, 6)
    assert wide[2].endswith(f" · {path}")
    assert narrow[3] == f"  {path}"
