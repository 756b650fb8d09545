"""Whose session a cell without a name uses: decided by evidence, in real kernels."""

import json
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output


@pytest.fixture
def notebook(tmp_path):
    """Writes a notebook's file, as a front end saves it."""

    def write(name, *cell_ids, session=None):
        outputs = []
        if session:
            outputs = [
                new_output(
                    "display_data", {"text/plain": "Hi."}, metadata={"dexto": {"session": session}}
                )
            ]
        cells = [new_code_cell("", id=cell_id, outputs=outputs) for cell_id in cell_ids]
        nbformat.write(new_notebook(cells=cells), tmp_path / name)
        return str(tmp_path / name)

    return write


def opened(start, path):
    """A kernel as Jupyter Server starts it for a notebook."""
    return start(JPY_SESSION_NAME=path)


def session_of(ran):
    return ran.output.metadata["dexto"]["session"]


def test_a_notebooks_own_session_goes_on_after_a_restart(start, notebook):
    path = notebook("a.ipynb", "c1", "c2")
    first = opened(start, path)
    ran = first.ask("My name is Sarah.", cell_id="c1")
    assert "this notebook&#x27;s own" in ran.output.html
    first.kill()
    ran = opened(start, path).ask("What is my name?", cell_id="new-cell-not-saved-yet")
    assert ran.output.text == "Your name is Sarah."
    assert "resumed 1 turn, last on 20" in ran.output.html


def test_the_cell_that_is_run_again_is_evidence_enough(start, notebook):
    """The file was never saved with the cell in it."""
    path = notebook("a.ipynb")
    opened(start, path).ask("My name is Sarah.", cell_id="c1")
    assert (
        opened(start, path).ask("What is my name?", cell_id="c1").output.text
        == "Your name is Sarah."
    )


def test_a_notebook_that_was_never_saved_goes_on_when_its_kernel_is_restarted(start, notebook):
    """The most natural crash: a new notebook, before its first save, and a new cell after it."""
    kernel = opened(start, notebook("Untitled.ipynb"))
    kernel.ask("My name is Sarah.", cell_id="c1")
    kernel.restart()
    ran = kernel.ask("What is my name?", cell_id="c2")
    assert ran.output.text == "Your name is Sarah."
    assert "resumed 1 turn" in ran.output.html


def test_a_renamed_notebook_is_not_taken_for_the_new_file_at_its_old_path(start, notebook):
    """A kernel goes on telling the path it was started for, after a restart too."""
    path = notebook("Untitled.ipynb")
    sarahs = opened(start, path)
    sarah = session_of(sarahs.ask("My name is Sarah.", cell_id="c1"))
    notebook("analysis.ipynb", "c1")  # it is renamed, and a new one is made
    bobs = opened(start, notebook("Untitled.ipynb", "d1"))
    bob = session_of(bobs.ask("My name is Bob.", cell_id="d1"))
    sarahs.restart()
    ran = sarahs.ask("What is my name?", cell_id="c2")
    assert (session_of(ran), ran.output.text) == (sarah, "Your name is Sarah.")
    bobs.restart()
    ran = bobs.ask("What is my name?", cell_id="d2")
    assert (session_of(ran), ran.output.text) == (bob, "Your name is Bob.")
    # After both were closed, and opened again where they are now.
    ran = opened(start, path).ask("What is my name?", cell_id="d1")
    assert (session_of(ran), ran.output.text) == (bob, "Your name is Bob.")
    moved = path.replace("Untitled", "analysis")
    ran = opened(start, moved).ask("What is my name?", cell_id="c1")
    assert (session_of(ran), ran.output.text) == (sarah, "Your name is Sarah.")


def test_a_new_file_never_asked_in_teaches_nothing_to_the_session_that_had_its_path(
    start, notebook
):
    path = notebook("Untitled.ipynb")
    kernel = opened(start, path)
    kernel.ask("My name is Sarah.", cell_id="c1")
    notebook("Untitled.ipynb", "d1")  # the first was renamed, and this is a new one
    kernel.restart()
    assert kernel.ask("What is my name?", cell_id="c2").output.text == "Your name is Sarah."
    ran = opened(start, path).ask("What is my name?", cell_id="d1")
    assert ran.output.text == "I don't have that information."


def test_a_kernel_whose_connection_file_has_a_name_of_somebodys_choice_is_no_evidence(
    start, notebook, tmp_path
):
    ask = "get_ipython().run_cell_magic('dexto', '', {!r})"
    chosen = (
        "import ipykernel.connect as c; c.get_connection_file = lambda *_: '/run/connection.json'"
    )
    first = opened(start, notebook("a.ipynb"))
    first.run(chosen)
    first.run(ask.format("My name is Sarah."))
    second = opened(start, notebook("a.ipynb"))
    second.run(chosen)
    assert "Sarah" not in second.run(ask.format("What is my name?")).output.text


def test_a_guest_in_a_session_of_another_notebook_is_no_copy_of_it(start, notebook, tmp_path):
    path = notebook("a.ipynb", "c1")
    own = session_of(opened(start, path).ask("My name is Sarah.", cell_id="c1"))
    guest = notebook("b.ipynb", "d1")
    opened(start, guest).ask("What is my name?", own, cell_id="d1")
    notebook("b.ipynb", "d1", session=own)
    (tmp_path / "a.ipynb").unlink()
    ran = opened(start, guest).ask("What is my name?", cell_id="d2")
    assert "this notebook&#x27;s own" in ran.output.html
    assert ran.output.text == "I don't have that information."


def test_a_new_file_where_another_one_was_gets_a_session_of_its_own(start, notebook):
    path = notebook("Untitled.ipynb", "c1")
    old = session_of(opened(start, path).ask("My name is Sarah.", cell_id="c1"))
    notebook("Untitled.ipynb", "d1")
    ran = opened(start, path).ask("What is my name?", cell_id="d1")
    assert ran.output.text == "I don't have that information."
    assert f"<code>%dexto use {old}</code> goes on in that one" in ran.output.html
    again = opened(start, path).ask("Who am I?", cell_id="d1")
    assert session_of(again) == session_of(ran), "the new one is the notebook's own now"


def test_a_renamed_notebook_keeps_its_session(start, notebook, tmp_path):
    path = notebook("a.ipynb", "c1")
    own = session_of(opened(start, path).ask("My name is Sarah.", cell_id="c1"))
    (tmp_path / "a.ipynb").rename(tmp_path / "b.ipynb")
    renamed = str(tmp_path / "b.ipynb")
    ran = opened(start, renamed).ask("What is my name?", cell_id="c9")
    assert (session_of(ran), ran.output.text) == (own, "Your name is Sarah.")
    assert f"this notebook was {path}" in ran.output.html
    ran = opened(start, renamed).ask("What is my name?", cell_id="c1")
    assert session_of(ran) == own
    assert "this notebook was" not in ran.output.html


def test_a_renamed_notebook_is_known_by_an_output_that_names_its_session(start, notebook, tmp_path):
    path = notebook("a.ipynb", "c1")
    own = session_of(opened(start, path).ask("My name is Sarah.", cell_id="c1"))
    (tmp_path / "a.ipynb").unlink()
    moved = notebook("b.ipynb", "other-ids", session=own)
    assert session_of(opened(start, moved).ask("What is my name?", cell_id="x")) == own


def test_a_copy_gets_a_session_of_its_own_and_the_original_keeps_its(start, notebook, tmp_path):
    path = notebook("a.ipynb", "c1")
    own = session_of(opened(start, path).ask("My name is Sarah.", cell_id="c1"))
    copy = str(shutil.copy(path, tmp_path / "copy.ipynb"))
    ran = opened(start, copy).ask("What is my name?", cell_id="c1")
    assert ran.output.text == "I don't have that information."
    assert f"this is a copy of {path}; <code>%dexto use {own}</code>" in ran.output.html
    assert session_of(opened(start, path).ask("What is my name?", cell_id="c1")) == own
    assert session_of(opened(start, copy).ask("Who am I?", cell_id="c1")) == session_of(ran)


def test_the_path_that_vs_code_tells_counts(start, notebook):
    path = notebook("a.ipynb", "c1")
    opened(start, path).ask("My name is Sarah.", cell_id="c1")
    kernel = start()
    kernel.run(f"__vsc_ipynb_file__ = {path!r}")
    assert kernel.ask("What is my name?", cell_id="c1").output.text == "Your name is Sarah."


def test_a_console_is_no_notebook(start, tmp_path):
    ran = start(JPY_SESSION_NAME=str(tmp_path / "Console 1")).ask("Hello.", cell_id=None)
    assert ran.output.metadata["dexto"]["session"].startswith("sess_")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'{"cells": 1}',
        b'{"cells": [1, {"id": 2, "outputs": {}}, {"outputs": [1, {"metadata": []}]}]}',
        json.dumps(
            {"cells": [{"outputs": [{"metadata": {"dexto": {"session": "a\u202eb"}}}]}]}
        ).encode(),
    ],
)
def test_a_file_that_is_no_notebook_gives_no_evidence_and_no_error(start, tmp_path, content):
    (tmp_path / "a.ipynb").write_bytes(content)
    assert opened(start, str(tmp_path / "a.ipynb")).ask("Hello.").ok


def test_a_named_session_is_one_conversation_in_every_notebook(start, notebook):
    one, two = notebook("a.ipynb", "c1"), notebook("b.ipynb", "d1")
    first = opened(start, one)
    first.ask("My name is Sarah.", "eda")
    second = opened(start, two)
    ran = second.ask("What is my name?", "eda")
    assert ran.output.text == "Your name is Sarah."
    assert f"joined &#x27;eda&#x27;: 1 turn, last used in {one} on 20" in ran.output.html
    assert "joined" not in second.ask("And again?", "eda").output.html
    assert "resumed 3 turns" in opened(start, one).ask("Hello.", "eda").output.html


def test_a_fresh_start_is_the_notebooks_own_from_then_on(start, notebook):
    path = notebook("a.ipynb", "c1")
    kernel = opened(start, path)
    kernel.ask("My name is Sarah.", cell_id="c1")
    kernel.run("%dexto new")
    assert (
        kernel.ask("What is my name?", cell_id="c1").output.text == "I don't have that information."
    )
    ran = opened(start, path).ask("What did I ask?", cell_id="c1")
    assert "resumed 1 turn" in ran.output.html


def test_the_model_is_told_that_the_earlier_turns_are_a_memory(start):
    from tests.support.openai_server import OpenAIServer

    with OpenAIServer() as server:
        environment = {"DEXTO_MODEL": "openai:gpt-4o-mini", "OPENAI_BASE_URL": server.base_url}
        start(**environment).ask("x = 5", "eda")
        kernel = start(**environment)
        kernel.ask("What is x?", "eda")
        kernel.ask("And now?", "eda")
        resumed, next_one = (chat.body["messages"] for chat in server.chats[1:])
    assert resumed[-2]["role"] == "system"
    assert "memory of the conversation, not of live state" in resumed[-2]["content"]
    assert "memory of the conversation" not in str(next_one)
