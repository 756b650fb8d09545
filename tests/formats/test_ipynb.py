"""Notebooks: prompts are cells, replies their outputs, and both come back."""

import io
import json
import shlex
from dataclasses import replace

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dexto_magic.conversation.messages import ToolCall, Usage
from dexto_magic.errors import FormatError
from dexto_magic.formats import ipynb
from dexto_magic.formats.cells import asked_in, source_of
from dexto_magic.jupyter.display import _metadata
from dexto_magic.jupyter.magics import DextoMagics
from dexto_magic.jupyter.parsing import parse
from dexto_magic.rendering.markdown import encodable
from tests.support.hostile import HOSTILE
from tests.support.html_safety import assert_inert
from tests.support.notebooks import FOLDER
from tests.support.transcripts import NASTY, NOW, conversations, names, texts
from tests.support.views import USAGE, attachment, message, reply, transcript, transcript_of


def dumped(*values):
    file = io.BytesIO()
    assert ipynb.dump(values, file) == len(values)
    return file.getvalue().decode("utf-8")


def notebook(*values):
    book = nbformat.reads(dumped(*values), as_version=4)
    nbformat.validate(book)
    return book


def outputs(book):
    return [output for cell in book.cells for output in cell.get("outputs", [])]


def example():
    return transcript(
        message("user", "How do I load it?", attachments=(attachment(),)),
        message(
            "assistant",
            "With *pandas*.\n\n```python\npd.read_csv('a.csv')\n```",
            model="gpt-4o-mini-2024-07-18",
            provider="openai",
            options={"temperature": 0.5},
            usage=USAGE,
            duration=2.1,
            finish_reason="stop",
            reasoning="Easy.",
        ),
        message("user", "And then?\n", turn=2),
        name="my eda",
        title="Loading",
        own_title=True,
        system="Be brief.",
    )


# -- writing ---------------------------------------------------------------------------------------


def test_a_notebook_is_what_jupyter_opens_and_runs():
    book = notebook(example())
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert book.metadata.kernelspec.name == "python3"
    intro, load, first, second = book.cells
    assert intro.cell_type == "markdown"
    assert intro.source.startswith("# Loading\n\n- Session: `my eda`\n")
    assert "> Be brief." in intro.source
    assert "asks again" in intro.source
    assert load.source == "%load_ext dexto_magic"
    assert first.source == "%%dexto 'my eda'\nHow do I load it?"
    assert second.source == "%%dexto 'my eda'\nAnd then?\n\n"
    assert all(cell.execution_count is None for cell in (load, first, second))
    assert not any("trusted" in cell.metadata for cell in book.cells)
    assert second.outputs == []


def test_an_output_is_that_of_a_live_cell_and_all_that_a_citation_needs():
    (output,) = outputs(notebook(example()))
    assert output.output_type == "display_data"
    assert output.data["text/markdown"] == example().messages[1].content
    assert output.data["text/plain"] == example().messages[1].content
    assert_inert(output.data["text/html"])
    for shown in ("<em>pandas</em>", "Easy.", "gpt-4o-mini-2024-07-18", "turn 1", "2.1 s"):
        assert shown in output.data["text/html"]
    said = output.metadata.dexto
    live = reply(
        model=said.model, usage=USAGE, turn=1, provider="openai", options={"temperature": 0.5}
    )
    expected = _metadata(live) | {"session": "my eda"}
    assert {name: said[name] for name in expected} == expected
    assert (said.provider, said.options, said.duration) == ("openai", {"temperature": 0.5}, 2.1)
    assert (said.created_at, said.status) == ("2026-11-20T14:04:00+00:00", "complete")
    assert (said.id, said.finish_reason) == ("msg_assistant_1", "stop")


def test_cells_have_the_same_ids_in_each_export():
    one, two = notebook(example()), notebook(example())
    ids = [cell.id for cell in one.cells]
    assert ids == [cell.id for cell in two.cells]
    assert len(set(ids)) == len(ids)
    twice = notebook(example(), example())
    assert [cell.id for cell in twice.cells][: len(ids)] == ids


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_a_reply_that_did_not_end_well_says_so(read, status):
    text = "" if status == "failed" else "Half of"
    said = message("assistant", text, status=status, reason="interrupted")
    value = transcript(message("user", "Hi."), said)
    (output,) = outputs(notebook(value))
    assert "interrupted" in output.data["text/html"]
    ((record,), _) = read(dumped(value), name="a.ipynb")
    back = record.transcript.messages[1]
    assert (back.content, back.status, back.reason) == (text, status, "interrupted")


@pytest.mark.parametrize("text", [*HOSTILE, *NASTY], ids=lambda text: ascii(text[:30]))
def test_nothing_that_anybody_wrote_can_do_anything_in_a_page(text):
    book = notebook(transcript_of(text))
    for output in outputs(book):
        assert_inert(output.data["text/html"])
    for cell in book.cells:
        if cell.cell_type == "code" and cell.source != "%load_ext dexto_magic":
            assert cell.source.startswith("%%dexto ")
    tokens = MarkdownIt("commonmark").parse(book.cells[0].source)
    shown = {item.type for token in tokens for item in (token, *(token.children or ()))}
    assert not shown & {"image", "html_block", "html_inline", "link_open"}


@settings(derandomize=True, deadline=None, max_examples=40)
@given(conversations())
def test_every_front_end_can_read_the_file(value):
    """Browsers know no NaN, and Jupyter's server no half of a surrogate pair."""
    content = dumped(value)
    json.loads(content, parse_constant=pytest.fail)
    content.encode("utf-8")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(names, texts)
def test_the_magic_understands_the_first_line(name, prompt):
    first, _, body = source_of(name, prompt).partition("\n")
    assert first.startswith("%%dexto ")
    arguments = parse(DextoMagics.dexto.parser, first.removeprefix("%%dexto "))
    assert arguments.session == name
    assert vars(arguments) == vars(parse(DextoMagics.dexto.parser, shlex.quote("x"))) | {
        "session": name
    }
    # IPython ends each cell with a new line, and the magic takes one off.
    run = body if body.endswith("\n") else body + "\n"
    assert run.removesuffix("\n") == encodable(prompt)
    assert asked_in(f"{first}\n{body}") == (name, encodable(prompt))


# -- coming back -----------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(conversations(), min_size=1, max_size=2, unique_by=lambda v: v.session.id))
def test_what_was_said_comes_back_exactly(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("any") / "file.ipynb"
    path.write_text(dumped(*values), encoding="utf-8", newline="")
    records = list(ipynb.load(path, now=NOW))
    assert [record.transcript.session.id for record in records] == [v.session.id for v in values]
    for record, value in zip(records, values, strict=True):
        back = record.transcript.messages
        assert [(m.role, m.content) for m in back] == [(m.role, m.content) for m in value.messages]
        assert [m.turn for m in back] == [m.turn for m in value.messages]
        assert [len(m.attachments) for m in back] == [len(m.attachments) for m in value.messages]
        assert [len(m.tool_calls) for m in back] == [len(m.tool_calls) for m in value.messages]


def test_all_that_a_notebook_tells_comes_back(read):
    value = example()
    ((record,), broken) = read(dumped(value), name="a.ipynb")
    assert not broken
    back = record.transcript
    assert (back.session.title, back.session.own_title) == ("Loading", True)
    assert back.session.system == "Be brief."
    asked, said, _ = back.messages
    assert replace(asked, id="") == replace(
        value.messages[0], id="", attachments=(replace(attachment(), digest=""),)
    )
    assert replace(said, id="") == replace(value.messages[1], id="")


def test_tools_come_back(read):
    call = ToolCall(id="call_1", name="add", arguments='{"a": 1}')
    value = transcript(
        message("user", "Add."),
        message("assistant", "", tool_calls=(call,)),
        message("tool", "\x1b[31m2", tool_call_id="call_1"),
        message("assistant", "Two."),
    )
    ((record,), _) = read(dumped(value), name="a.ipynb")
    back = record.transcript.messages
    assert [(m.role, m.content, m.tool_calls, m.tool_call_id) for m in back] == [
        (m.role, m.content, m.tool_calls, m.tool_call_id) for m in value.messages
    ]


def test_the_newest_messages_alone_come_back(read):
    value = transcript(message("assistant", "…so yes."), message("user", "Ah.", turn=2))
    ((record,), _) = read(dumped(value), name="a.ipynb")
    assert [(m.role, m.content) for m in record.transcript.messages] == [
        ("assistant", "…so yes."),
        ("user", "Ah."),
    ]


def test_an_edited_prompt_counts_as_it_was_edited(read):
    book = notebook(transcript(message("user", "Two  \r\nlines \n"), message("assistant", "Yes.")))
    ((record,), _) = read(nbformat.writes(book), name="a.ipynb")
    assert record.transcript.messages[0].content == "Two  \r\nlines \n"
    # What an editor does by itself:
    book.cells[2].source = book.cells[2].source.replace("\r\n", "\n").rstrip()
    ((record,), _) = read(nbformat.writes(book), name="a.ipynb")
    assert record.transcript.messages[0].content == "Two  \r\nlines \n"
    # And what a person does:
    book.cells[2].source = "%%dexto eda\nThree lines"
    ((record,), _) = read(nbformat.writes(book), name="a.ipynb")
    assert record.transcript.messages[0].content == "Three lines"


# -- notebooks that people worked in ---------------------------------------------------------------


def live(said, session_id="eda", **fields):
    """The output of a cell, as the kernel publishes it."""
    metadata = _metadata(reply(**fields)) | {"session": session_id}
    return {
        "output_type": "display_data",
        "data": {"text/html": "<p>…</p>", "text/markdown": said, "text/plain": said},
        "metadata": {"dexto": metadata},
    }


def cell(source, *outputs, **fields):
    return {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "execution_count": 1,
        "source": source,
        "outputs": list(outputs),
    } | fields


def book(*cells):
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_cells_of_a_notebook_are_conversations(read, now):
    stream = {"output_type": "stream", "name": "stdout", "text": ["x"]}
    killed = {
        "output_type": "display_data",
        "data": {"text/html": "answering…"},
        "metadata": {"dexto": {"session": "eda"}},
    }
    loaded, broken = read(
        book(
            {"cell_type": "markdown", "id": "m", "metadata": {}, "source": ["# Work"]},
            cell("%load_ext dexto_magic"),
            cell(["%%dexto eda -m openai:gpt-4o -O a=1\n", "First?\n", "More."], live("1", turn=1)),
            cell("%%dexto\nOwn?", live("own", session_id="Untitled", turn=1)),
            cell("\n%%dexto -s 'Be brief.' --quiet other\nOther?", stream),
            cell("x = '%%dexto eda'"),
            cell("%dexto history eda", live("no cell of ours")),
            cell("%%dexto eda\nSecond?", stream, live("2", turn=2), killed),
            cell("%%dexto eda\nKilled?", killed),
            cell("%%dexto\nNever run?"),
            cell("%%dexto eda\n"),
            cell("%%dexto eda"),
            cell('%%dexto "open quote\nNot closed?'),
        ),
        name="Work.ipynb",
    )
    assert not broken
    assert {
        record.transcript.session.id: [
            (m.turn, m.role, m.content) for m in record.transcript.messages
        ]
        for record in loaded
    } == {
        "eda": [
            (1, "user", "First?\nMore."),
            (1, "assistant", "1"),
            (2, "user", "Second?"),
            (2, "assistant", "2"),
            (3, "user", "Killed?"),
        ],
        "Untitled": [
            (1, "user", "Own?"),
            (1, "assistant", "own"),
            (2, "user", "Never run?"),
            (3, "user", "Not closed?"),
        ],
        "other": [(1, "user", "Other?")],
    }
    said = loaded[0].transcript.messages[1]
    assert (said.model, said.usage, said.created_at) == ("gpt-4o-mini", USAGE, now)
    assert loaded[0].transcript.session.usage == USAGE + USAGE


def test_cells_without_a_name_that_nothing_is_known_of_are_of_the_notebook(read):
    ((record,), _) = read(book(cell("%%dexto\nHi.")), name="Work.ipynb")
    assert record.transcript.session.id == "Work"


def test_turns_are_where_their_numbers_say(read):
    ((record,), _) = read(
        book(
            cell("%%dexto eda\nAsked last?", live("3", turn=7)),
            cell("%%dexto eda\nNot run?"),
            cell("%%dexto eda\nAsked first?", live("1", turn=2)),
        ),
        name="a.ipynb",
    )
    assert [said.content for said in record.transcript.messages] == [
        *("Asked first?", "1"),
        *("Asked last?", "3"),
        "Not run?",
    ]


def test_the_output_says_which_session_it_was(read):
    """The first line may have been changed since."""
    loaded, _ = read(book(cell("%%dexto new\nHi.", live("Yes.", session_id="old"))), name="a.ipynb")
    assert [record.transcript.session.id for record in loaded] == ["old"]


def test_a_notebook_without_conversations_has_none(read):
    assert read(book(cell("1 + 1")), name="a.ipynb") == ([], [])
    assert read(book(), name="a.ipynb") == ([], [])
    assert read(dumped(transcript()), name="a.ipynb") == ([], [])


def test_the_quickstart_of_this_project_can_be_imported(read):
    loaded, broken = read(FOLDER / "01_quickstart.ipynb")
    assert not broken
    assert loaded
    for record in loaded:
        assert {said.role for said in record.transcript.messages} == {"user", "assistant"}


def test_a_cell_that_is_none_is_told_by_its_number(read):
    loaded, broken = read(
        book(cell("%%dexto eda\n1?"), None, 7, cell(None), cell([1]), {}, cell("%%dexto eda\n2?")),
        name="a.ipynb",
    )
    assert [record.number for record in broken] == [2, 3, 4, 5, 6]
    assert [said.content for said in loaded[0].transcript.messages] == ["1?", "2?"]


def test_what_is_no_notebook_is_refused(read):
    with pytest.raises(FormatError, match="is no notebook"):
        read('{"nbformat": 4}', format="ipynb")
    with pytest.raises(FormatError, match="is not valid JSON") as caught:
        read('{\n"cells": [\n', format="ipynb")
    assert caught.value.line == 3


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
known = (
    *("session", "turn", "model", "usage", "id", "role", "provider", "options", "created_at"),
    *("duration", "status", "reason", "reasoning", "tool_calls", "attachments", "content"),
    *("content_base64", "prompt", "prompt_base64", "title", "system", "own_title"),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.dictionaries(st.sampled_from(known), junk),
    st.dictionaries(st.sampled_from(known), junk),
    junk,
    junk,
)
def test_no_type_is_taken_for_granted(tmp_path_factory, ours, theirs, data, source):
    path = tmp_path_factory.mktemp("any") / "file.ipynb"
    output = live("x") | {"metadata": {"dexto": {"session": "eda"} | theirs}}
    cells = [
        cell("%%dexto eda\nHi.", output, data, metadata={"dexto": ours}),
        cell("%%dexto eda\nHi.", output | {"data": data}, metadata=data),
        cell(source, metadata={"dexto": data}),
        {"cell_type": "markdown", "metadata": {"dexto": ours}},
        source,
    ]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4}))
    for record in ipynb.load(path, now=NOW):
        if hasattr(record, "transcript"):
            dumped(record.transcript)


def test_usage_of_a_live_output_is_read(read):
    usage = Usage(input_tokens=3, output_tokens=2, reasoning_tokens=1)
    ((record,), _) = read(book(cell("%%dexto eda\nHi.", live("Yes.", usage=usage))), name="a.ipynb")
    assert record.transcript.messages[1].usage == usage
