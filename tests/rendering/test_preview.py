"""A request that was not sent, as people see it."""

import re

import pytest

from dexto_magic.conversation.context import PromptPreview
from dexto_magic.conversation.window import Material
from dexto_magic.llm.outgoing import request_body
from dexto_magic.rendering.views import as_html, as_text
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.views import USAGE, message


def preview(prompt="next", *, lines=(), options=None, history=(), **more):
    """What would be sent for a prompt, after a turn."""
    history = history or (message("user", "q1"), message("assistant", "a1"))
    composition = Material(history=history, prompt=prompt, **more).composed()
    body = request_body(
        "gpt-4o", composition.messages, options or {}, stream=True, with_usage=False
    )
    return PromptPreview(
        session_id="eda",
        model="openai:gpt-4o",
        body=body,
        composition=composition,
        lines=lines,
    )


def test_it_is_told_in_a_terminal():
    shown = as_text(
        preview("two\nlines", system="Be brief.", lines=("sending the last 1 of 2 turns",)),
        width=40,
    )
    assert shown == (
        "eda · openai:gpt-4o · 4 messages · about 20 tokens · nothing was sent\n"
        "sending the last 1 of 2 turns\n"
        'with {"model": "gpt-4o", "stream": true}\n'
        "\n"
        f"── 1 · system {'─' * 26}\n"
        "  Be brief.\n"
        "\n"
        f"── 2 · user {'─' * 28}\n"
        "  q1\n"
        "\n"
        f"── 3 · assistant {'─' * 23}\n"
        "  a1\n"
        "\n"
        f"── 4 · user {'─' * 28}\n"
        "  two\n"
        "  lines\n"
    )


def test_a_page_says_the_same():
    shown = preview(
        system="Be brief.", options={"temperature": 0}, lines=("`%dexto compact` helps",)
    )
    html = as_html(shown)
    assert re.findall(r"<b>(\d) *</b> · (\w+)", html) == [
        ("1", "system"),
        ("2", "user"),
        ("3", "assistant"),
        ("4", "user"),
    ]
    assert re.findall(r'<pre class="dexto-typed">\n(.*?)</pre>', html) == [
        "Be brief.",
        "q1",
        "a1",
        "next",
    ]
    assert "<code>%dexto compact</code> helps" in html
    assert "&quot;temperature&quot;: 0" in html
    assert "nothing was sent" in html


def test_tokens_that_were_counted_are_not_called_about():
    counted = (message("user", "q1"), message("assistant", "a1", usage=USAGE))
    assert " · 1,295 tokens · " in as_text(preview(history=counted))


def test_labels_are_set_off_at_a_terminal_and_messages_are_not():
    shown = as_text(preview("mine"), color=True)
    assert shown.startswith("\x1b[1meda · ")
    assert "\n  mine\n" in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_what_anybody_wrote_is_shown_and_does_nothing(text):
    shown = preview(text, system=text, note=text, options={"stop": [text.replace("\ud800", "")]})
    assert_inert(as_html(shown))
    left = re.sub("\x1b\\[[012]m", "", as_text(shown, color=True)).replace("\n", "")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", left)
