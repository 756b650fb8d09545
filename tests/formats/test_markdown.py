"""The readable export: all that a citation needs, and a structure that nobody's words can fake."""

import io
import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dexto_magic.conversation.messages import ToolCall
from dexto_magic.formats import markdown
from dexto_magic.formats.quoting import code, plain_line, quoted, subordinate
from tests.support.hostile import HOSTILE
from tests.support.transcripts import NASTY, conversations, transcripts
from tests.support.views import USAGE, attachment, message, transcript, transcript_of

STRICT = MarkdownIt("commonmark").enable("table")
"""What any other program may see: HTML, too."""


def dumped(*values):
    file = io.BytesIO()
    assert markdown.dump(values, file) == len(values)
    return file.getvalue().decode("utf-8")


def headings(text, levels=3):
    """The headings of the document's own levels, with how deep they stand in quotations or lists."""
    tokens = STRICT.parse(text)
    return [
        (int(token.tag[1]), inline.content, token.level)
        for token, inline in itertools.pairwise(tokens)
        if token.type == "heading_open" and int(token.tag[1]) <= levels
    ]


def kinds(text):
    tokens = STRICT.parse(text)
    return {item.type for token in tokens for item in (token, *(token.children or ())) if item.type}


def test_a_document_says_what_a_citation_of_a_reply_needs():
    text = dumped(
        transcript(
            message("user", "How do I load it?", attachments=(attachment(),)),
            message(
                "assistant",
                "With *pandas*.",
                model="gpt-4o-mini-2024-07-18",
                provider="openai",
                options={"temperature": 0.5, "seed": 7},
                usage=USAGE,
                duration=2.1,
                finish_reason="stop",
            ),
            name="my eda",
            title="Load a file",
            model="openai:gpt-4o-mini",
            system="Be brief.",
            forked_from="first try",
            forked_at=3,
            notebooks=("/home/sarah/a.ipynb",),
        )
    )
    assert headings(text) == [
        (1, "Load a file", 0),
        (2, "System prompt", 0),
        (2, "Turn 1", 0),
        (3, "You", 0),
        (3, "Reply", 0),
    ]
    for said in (
        "- Session: `my eda`",
        "- Begun: 2026-11-20 14:03:00 UTC",
        "- Last used: 2026-11-20 14:03:00 UTC",
        "- Turns: the last 1 of 40",
        "- Model of the session: `openai:gpt-4o-mini`",
        "- Forked from: `first try`, after its turn 3",
        "- Notebooks: `a.ipynb`",
        "> Be brief.",
        "2026-11-20 14:04:00 UTC · `msg_user_1`",
        "> How do I load it?",
        f"Attached: `data.csv` (`text/csv`, 12,345 bytes, SHA-256 `{'0' * 64}`)",
        (
            '`gpt-4o-mini-2024-07-18` · provider `openai` · options `{"temperature": 0.5, "seed": 7}`'
            " · 2026-11-20 14:04:00 UTC · `msg_assistant_1` · 1,234 in (1,000 cached) / 56 out"
            " · 2.1 s · complete · finish reason `stop`"
        ),
        "With *pandas*.",
    ):
        assert said in text.splitlines(), said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "stopped", "reason": "interrupted"}, "cut short: interrupted"),
        ({"status": "stopped", "reason": "crashed"}, "cut short by a crash: the last saved part"),
        ({"status": "failed", "reason": "ModelError"}, "failed: ModelError, nothing arrived"),
        ({"finish_reason": "length"}, "cut short: the reply reached its limit of tokens"),
        ({"version": 3}, "version 3"),
        ({"model": None}, "model unknown"),
    ],
)
def test_how_a_reply_ended_is_said(fields, said):
    text = dumped(transcript(message("user", "Hi."), message("assistant", "Yes.", **fields)))
    assert f" · {said}" in text or f"\n{said} · " in text


def test_tools_reasoning_and_an_open_turn_are_shown():
    text = dumped(
        transcript(
            message("user", "Add."),
            message(
                "assistant",
                "",
                reasoning="I need\n\n# a tool",
                tool_calls=(ToolCall(id="call_1", name="add", arguments='{"a": 1}'),),
            ),
            message("tool", "# 2", tool_call_id="call_1"),
            message("user", "More.", turn=2),
        )
    )
    assert [heading for _, heading, _ in headings(text)][1:] == [
        *("Turn 1", "You", "Reasoning", "Reply", "Call", "Tool"),
        *("Turn 2", "You"),
    ]
    for said in ("`call_1` of `add`", '> {"a": 1}', "> # a tool", "> # 2", "no reply yet"):
        assert said in text.splitlines()
    assert "answers the call `call_1`" in text


def test_messages_that_are_not_in_view_are_counted():
    value = transcript(message("user", "Hi."))
    text = dumped(replace(value, others=value.messages * 2))
    assert "- Not shown: 2 messages of earlier versions" in text


def test_several_conversations_follow_one_another():
    one, two = transcript(message("user", "1")), transcript(message("user", "2"), name="other")
    assert dumped(one, two) == dumped(one) + "\n" + dumped(two)
    assert dumped() == ""


def test_prompts_stand_as_they_were_typed():
    prompt = "# no heading\n\n```py\nx = '`'\n```\n  - indented\n\ttab\n\n````"
    lines = dumped(transcript(message("user", prompt))).splitlines()
    start = lines.index("> `````text")
    end = lines.index("> `````")
    assert [line[2:] for line in lines[start + 1 : end]] == prompt.split("\n")


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *("# a", "## Turn 2", "### Reply", "x\n===", "x\n---", "a\nb\n==", "#", "######"),
            *("```", "````", "~~~", "`", "``", "\\", "$$", "$", "\\[", "\\]"),
            *("- ", "1. ", "> ", "  ", "    ", "\t", "\n", "\n\n", "\r", "\u2028", "\0"),
            *("<div>", "</blockquote>", "<!--", "-->", "<script>", "<b", "&lt;", "<https://x.y>"),
            *("| a | b |\n|---|---|", "[x]: y", "[a](<b c>)", "![i](http://u)", "[^1]: z", "***"),
            *HOSTILE,
        ]
    ),
    max_size=8,
).map("".join)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(FRAGMENTS | st.sampled_from(NASTY))
def test_no_reply_can_pass_for_a_part_of_the_document(reply):
    value = transcript(
        message("user", "Hi.", turn=1), message("assistant", reply), message("user", "On.", turn=2)
    )
    text = dumped(value)
    replies = [(3, "Reply", 0)]
    assert headings(text)[1:] == [
        *((2, "Turn 1", 0), (3, "You", 0), *replies),
        *((2, "Turn 2", 0), (3, "You", 0)),
    ]
    assert not kinds(text) & {"html_block", "html_inline", "image"}


@settings(derandomize=True, deadline=None, max_examples=100)
@given(FRAGMENTS.filter(bool))
def test_nothing_that_anybody_wrote_can_pass_for_a_part_of_the_document(text):
    plain = [level for level, _, _ in headings(dumped(transcript_of("x")))]
    whole = dumped(transcript_of(text))
    assert [(level, deep) for level, _, deep in headings(whole)] == [(level, 0) for level in plain]
    assert not kinds(whole) & {"html_block", "html_inline", "image"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", whole)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(transcripts | conversations())
def test_any_conversation_can_be_written(value):
    assert headings(dumped(value))[0][0] == 1


# -- replies stay Markdown -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        ("# One\n## Two ##\n#### Four", ["#### One", "##### Two ##", "###### Four"]),
        ("One\n===\n\nTwo\nmore\n---", ["#### One", "", "##### Two more"]),
        ("> # One\n\n- Two\n  ---", ["> #### One", "", "- ##### Two"]),
        ("```py\n# comment\n```", ["```py", "# comment", "```"]),
        ("    # code <b>", ["    # code <b>"]),
        ("~~~\nx", ["~~~", "x", "~~~"]),
        ("- ```\n  x", ["- ```", "  x"]),
        ("a < b, x<y, `List<int>`", ["a < b, x&lt;y, `List<int>`"]),
        ("<details>\n\n# One\n</details>", ["&lt;details>", "", "#### One", "&lt;/details>"]),
        ("see <https://a.b/c>", ["see <https://a.b/c>"]),
        ("![x](http://a/b.png)", [r"\![x](http://a/b.png)"]),
        ("| a |\n|---|\n| `<` |", ["| a |", "|---|", "| `<` |"]),
        (r"\<b> and \\<b>", [r"\<b> and \\&lt;b>"]),
        ("$$\na\n= b\n$$", ["$$", "a", "= b", "$$"]),
        ("\n\nx\n\n", ["x"]),
    ],
)
def test_a_reply_stays_markdown_below_the_headings_of_the_document(reply, lines):
    assert subordinate(reply) == lines


def test_a_reply_that_different_programs_read_differently_is_quoted():
    """A formula to one is a heading to the other."""
    reply = "$$\na\n=\nb\n$$"
    assert subordinate(reply) == quoted(reply)


@pytest.mark.parametrize("text", ["a `b` c", "`", "``", "`a", "a```b``", "", "a\nb"])
def test_code_shows_any_text(text):
    (paragraph,) = [token for token in STRICT.parse(f"x {code(text)} y") if token.children]
    (span,) = [child for child in paragraph.children if child.type == "code_inline"]
    assert span.content.strip() == " ".join(text.split())


@pytest.mark.parametrize("text", [*HOSTILE, "*a* _b_ `c` [d](e) <f> &amp; # g"])
def test_a_line_shows_any_text_as_it_is(text):
    tokens = STRICT.parse(f"# {plain_line(text)} .")
    assert [token.type for token in tokens] == ["heading_open", "inline", "heading_close"]
    assert {child.type for child in tokens[1].children} <= {"text", "text_special"}


@pytest.mark.parametrize(
    "reply",
    [
        *("[" * 20_000, "`" * 20_000, "` `` ``` " * 4_000, "<a " * 10_000, "*a " * 10_000),
        *(
            "> " * 10_000 + "# x",
            "# x\n" * 5_000,
            "a\n---\n" * 3_000,
            "|a" * 2_000 + "\n|-" * 2_000,
        ),
    ],
    ids=lambda reply: reply[:8],
)
def test_no_reply_takes_longer_than_its_length_warrants(reply):
    assert subordinate(reply)
