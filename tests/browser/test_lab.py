"""What a user sees in JupyterLab, and in Notebook 7: real servers, kernels, files and pages."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.support.hostile import HOSTILE
from tests.support.lab import Notebook
from tests.support.looks import faint_texts, overflowing
from tests.support.openai_answers import WAIT, cut, text
from tests.support.trap import Trap

LOAD = "%load_ext dexto_magic"
PID = "import os; print(os.getpid())"

LAST_WORD = "word3999"


def asking(server):
    """A first cell that has the kernel ask the test's own server."""
    there = {"DEXTO_MODEL": "openai:gpt-4o-mini", "OPENAI_BASE_URL": server.base_url}
    return f"import os; os.environ.update({there})\n{LOAD}"


def ask(session, prompt):
    return f"%%dexto {session}\n{prompt}"


def saved_output(notebook, index):
    """The only output of a cell in the saved file."""
    (output,) = notebook.save()["cells"][index]["outputs"]
    return output


def joined(lines):
    return lines if isinstance(lines, str) else "".join(lines)


# -- the main job ----------------------------------------------------------------------------------


def test_a_reply_is_in_the_page_and_whole_in_the_saved_file(show):
    notebook = show(LOAD, ask("saved", "Show me a table."))
    notebook.run(0, 1)
    expect(notebook.output(1).locator("table")).to_contain_text("Saturn")
    expect(notebook.output(1)).to_contain_text("saved · turn 1 · practice · ")
    expect(notebook.output(0)).to_be_empty()
    output = saved_output(notebook, 1)
    assert set(output["data"]) == {"text/html", "text/markdown", "text/plain"}
    assert joined(output["data"]["text/markdown"]).startswith("| planet | moons |")
    assert output["data"]["text/plain"] == output["data"]["text/markdown"]
    assert "<table>" in joined(output["data"]["text/html"])
    told = output["metadata"]["dexto"]
    assert (told["session"], told["turn"], told["model"]) == ("saved", 1, "practice")


def test_a_killed_kernels_conversation_goes_on_in_the_next(show):
    notebook = show(
        LOAD, ask("killed", "My name is Sarah."), PID, ask("killed", "What is my name?")
    )
    notebook.run(0, 1, 2)
    os.kill(int(notebook.output(2).text_content()), signal.SIGKILL)
    notebook.await_restart()
    notebook.run(0, 3)
    expect(notebook.output(3)).to_contain_text("resumed 1 turn, last on 20")
    expect(notebook.output(3)).to_contain_text("Your name is Sarah.")


def test_a_notebooks_own_session_goes_on_after_a_restart_though_it_has_no_name(show):
    notebook = show(LOAD, ask("", "My name is Sarah."), ask("", "What is my name?"))
    notebook.run(0, 1)
    expect(notebook.output(1)).to_contain_text("this notebook's own")
    notebook.restart()
    notebook.run(0, 2)
    expect(notebook.output(2)).to_contain_text("resumed 1 turn, last on 20")
    expect(notebook.output(2)).to_contain_text("Your name is Sarah.")


def test_a_new_notebooks_own_session_goes_on_though_it_was_never_saved(lab, tab):
    """The first thing that many do: a new notebook, a question, a crash, a question below."""
    notebook = Notebook.new(tab, lab)
    notebook.add(LOAD)
    notebook.add(ask("", "My name is Sarah."))
    notebook.run(1, 2)
    expect(notebook.output(2)).to_contain_text("this notebook's own")
    notebook.restart()
    notebook.add(ask("", "What is my name?"))
    notebook.run(1, 3)
    expect(notebook.output(3)).to_contain_text("Your name is Sarah.")


@pytest.fixture
def own(show):
    """A saved notebook with a session of its own, and that session's name."""
    notebook = show(LOAD, ask("", "My name is Sarah."), ask("", "What is my name?"))
    notebook.run(0, 1)
    return notebook, saved_output(notebook, 1)["metadata"]["dexto"]["session"]


def test_a_copy_of_a_notebook_has_a_session_of_its_own_and_names_the_original(own, lab, tab):
    original, session = own
    copy = f"copy-of-{original.name}"
    shutil.copy(lab.root / original.name, lab.root / copy)
    notebook = Notebook(tab, lab, copy)
    notebook.run(0, 2)
    expect(notebook.output(2)).to_contain_text(f"this is a copy of {lab.root / original.name}")
    expect(notebook.output(2)).to_contain_text(f"%dexto use {session}")
    expect(notebook.output(2)).to_contain_text("I don't have that information.")


def test_a_renamed_notebook_keeps_its_session(own, lab, tab):
    original, _ = own
    lab.end_kernels()
    renamed = f"renamed-{original.name}"
    (lab.root / original.name).rename(lab.root / renamed)
    notebook = Notebook(tab, lab, renamed)
    notebook.run(0, 2)
    expect(notebook.output(2)).to_contain_text(f"this notebook was {lab.root / original.name}")
    expect(notebook.output(2)).to_contain_text("Your name is Sarah.")


def test_a_new_notebook_at_an_old_path_gets_a_session_of_its_own_and_names_the_old(own, lab, tab):
    original, session = own
    lab.end_kernels()
    lab.write(original.name, LOAD, ask("", "What is my name?"))
    notebook = Notebook(tab, lab, original.name)
    notebook.run(0, 1)
    expect(notebook.output(1)).to_contain_text(f"known to '{session}'")
    expect(notebook.output(1)).to_contain_text("I don't have that information.")


# -- streaming, interrupts, errors -----------------------------------------------------------------


def test_the_first_half_of_a_reply_is_read_before_the_second_arrives(show, server):
    server.script(text("The first half", WAIT, ", and the second."))
    notebook = show(asking(server), ask("halves", "Go."))
    notebook.run(0)
    notebook.begin_cell(1)
    expect(notebook.output(1)).to_contain_text("The first half")
    expect(notebook.prompt(1)).to_have_text("[*]:")
    server.release()
    expect(notebook.output(1)).to_contain_text("The first half, and the second.")
    expect(notebook.output(1)).to_contain_text("halves · turn 1 · ")


def test_the_end_of_a_long_reply_at_full_speed_reaches_the_page_and_the_file(show, server):
    server.script(text(*(f"word{n} " for n in range(3999)), LAST_WORD))
    notebook = show(asking(server), ask("fast", "Go."))
    notebook.run(0, 1)
    expect(notebook.output(1)).to_contain_text(LAST_WORD)
    expect(notebook.output(1)).to_contain_text("fast · turn 1 · ")
    data = saved_output(notebook, 1)["data"]
    assert joined(data["text/plain"]).endswith(LAST_WORD)
    assert LAST_WORD in joined(data["text/html"])


def test_an_interrupt_keeps_what_came_in_view_and_in_the_file_and_ends_run_all(show, server):
    server.script(text("The beginning of it", WAIT, "never sent"))
    notebook = show(asking(server), ask("stopped", "Go."), "print('ran')", ask("stopped", "On."))
    notebook.begin_all()
    expect(notebook.output(1)).to_contain_text("The beginning of it")
    notebook.interrupt()
    server.wait_for_disconnect()
    expect(notebook.output(1)).to_contain_text("KeyboardInterrupt")
    expect(notebook.output(1).locator(".dexto-mark")).to_contain_text("cut short: interrupted")
    expect(notebook.output(1)).to_contain_text("The beginning of it")
    notebook.wait_until_run(1)
    reply, error = notebook.save()["cells"][1]["outputs"]
    assert joined(reply["data"]["text/plain"]) == "The beginning of it"
    assert "cut short: interrupted" in joined(reply["data"]["text/html"])
    assert error["ename"] == "KeyboardInterrupt"
    assert len(error["traceback"]) == 1
    for index in (2, 3):
        expect(notebook.prompt(index)).to_have_text("[ ]:")
        expect(notebook.output(index)).to_be_empty()
    assert len(server.chats) == 1


def test_an_error_is_short_and_ends_run_all(show):
    notebook = show(LOAD, "%%dexto failing -m practice:bad-key\nHello.", "print('ran')")
    notebook.begin_all()
    expect(notebook.output(1)).to_contain_text("ModelAuthenticationError: ")
    shown = notebook.output(1).inner_text()
    assert "Traceback" not in shown
    assert len(shown.strip().splitlines()) <= 4, shown
    expect(notebook.prompt(2)).to_have_text("[ ]:")
    expect(notebook.output(2)).to_be_empty()


# -- hostile replies -------------------------------------------------------------------------------

MARK_PAGE = "top.dextoWasHere=1"
"""What a payload runs, where it can run anything: no dialog that a page could suppress."""

WHAT_COULD_ACT = (
    "script, iframe, frame, object, embed, form, input:not([type=checkbox]), button, textarea, base, "
    "meta, link, img, video, audio, source, svg, math, template, dialog"
)


def aimed(payload, trap):
    """A payload that, where that makes a difference, is aimed at this very page."""
    payload = payload.replace("alert(1)", MARK_PAGE)
    return re.sub(r"(https:)?//evil\.example", trap.url, payload)


@contextmanager
def watched(tab, lab):
    """The page's dialogs, and its requests to anywhere but where JupyterLab's own parts are."""
    seen = []
    own = re.compile(
        rf"(data:|blob:|{re.escape(lab.url)}/(api|lab|lsp|static|doc/tree/[\w-]+\.ipynb)\b)"
    )

    def on_dialog(dialog):
        seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def on_request(request):
        if not own.match(request.url):
            seen.append(f"request: {request.url}")

    tab.on("dialog", on_dialog)
    tab.on("request", on_request)
    yield seen
    tab.remove_listener("dialog", on_dialog)
    tab.remove_listener("request", on_request)


def assert_inert(notebook):
    """Nothing in any output of ours runs, fetches, asks for input, or leaves its place."""
    notebook.settle()
    assert notebook.page.evaluate("() => top.dextoWasHere") is None
    ours = notebook.page.locator(".jp-OutputArea .dexto")
    assert ours.evaluate_all(ACTIVE_PARTS, WHAT_COULD_ACT) == []


ACTIVE_PARTS = r"""
(roots, acting) => roots.flatMap(root => [...root.querySelectorAll("*")]).filter(element => {
    const names = element.getAttributeNames();
    const formula = element.closest("mjx-container");
    const heading = /^h[1-6]$/i.test(element.tagName);  // JupyterLab gives it an id, and a link
    return !formula && element.matches(acting)
        || names.some(name => name.startsWith("on"))
        || names.includes("id") && !heading
        || names.some(name => name.startsWith("data-command"))
        || /(^|\s)(jp|lm)-(?!Internal)/.test(element.getAttribute("class"))
        || /url|expression|fixed/i.test(element.getAttribute("style"))
        || names.includes("href") && formula
        || !/^(https?:|mailto:|#)/.test(element.getAttribute("href") ?? "#")
        || getComputedStyle(element).position === "fixed";
}).map(element => element.outerHTML.slice(0, 300))
"""


SHOWN = 50
"""How many outputs of a cell JupyterLab shows."""


def test_hostile_replies_do_nothing_in_cells_and_histories_now_or_after_a_reload(show, lab, tab):
    with Trap() as trap:
        payloads = [aimed(payload, trap) for payload in HOSTILE]
        parts = [payloads[at : at + SHOWN] for at in range(0, len(payloads), SHOWN)]
        (lab.root / "payloads.json").write_text(json.dumps(parts))
        repeat = "get_ipython().run_cell_magic('dexto', 'hostile', 'Repeat after me: ' + payload)"
        history = len(parts) + 1
        notebook = show(
            f"{LOAD}\nimport json\nparts = json.load(open('payloads.json'))",
            *(f"for payload in parts[{index}]: {repeat}" for index in range(len(parts))),
            f"%dexto history hostile -n {len(payloads)}",
            "%dexto sessions hostile",
            f"from IPython.display import HTML\nHTML('<img src={trap.url}/control>')",
        )
        with watched(tab, lab) as seen:
            notebook.run(*range(history + 2))
            for opened_again in (False, True):
                if opened_again:
                    notebook.save()
                    notebook.reload()
                for index, part in enumerate(parts, start=1):
                    notebook.scroll_to(index)
                    expect(notebook.output(index).locator(".dexto")).to_have_count(len(part))
                    assert_inert(notebook)
                notebook.scroll_to(history)
                turns = notebook.output(history).locator(".dexto-turn")
                expect(turns).to_have_count(len(payloads))
                assert_inert(notebook)
            assert (seen, trap.hits) == ([], [])
            # What is not made safe is noticed.
            with tab.expect_request(f"{trap.url}/**"):
                notebook.run(history + 2)
            assert seen == [f"request: {trap.url}/control"]


# -- looks -----------------------------------------------------------------------------------------

CODE = """Some code, `inline` and [a link](https://example.org):

```python
# A comment, and a line that is far too long for the width of any window that one would have open at all
@decorated
class Greeting(Base):
    def greet(self, name: str = "world", times: int = 3) -> str:
        return f"Hello, {name}!" * times if name is not None else print(len("x") + 1.5)
```

> A quotation.

| a table | with many columns | that all hold | more than fits | into a window | of any width | that there is |
|---|---|---|---|---|---|---|
| averylongwordwithoutanyplacetobreakit | averylongwordwithoutanyplacetobreakit | averylongwordwithoutanyplacetobreakit | averylongwordwithoutanyplacetobreakit | averylongwordwithoutanyplacetobreakit | averylongwordwithoutanyplacetobreakit | x |

"""
LONG = "averyverylongwordthatgoeson" * 20
ALL_CELLS_IN_VIEW = 9000
LONG_NAME = "a-name-as-long-as-names-may-be-" * 3


@pytest.fixture(params=["light", "dark"])
def theme(lab, request):
    lab.theme(request.param)
    yield request.param
    lab.theme("light")


def test_all_that_we_show_is_readable_and_fits_the_window(show, tab, server, theme):
    looks = f"looks-{theme}"
    server.script(
        text(CODE, LONG, reasoning=f"Let me think. {LONG}"),
        cut("Half of it"),
    )
    notebook = show(
        asking(server),
        ask(looks, f"{LONG}\n\n{CODE}"),
        ask(looks, "Break off."),
        ask(LONG_NAME + theme, LONG),
        f"%dexto use {looks}\n%dexto model practice",
        "%dexto ask Hello",
        f"%dexto history {looks}",
        "%dexto sessions",
        "%dexto",
        "%dexto help",
        "%dexto system " + LONG,
        "%dexto delete nobody",
    )
    everything = range(1, 12)
    tab.set_viewport_size({"width": 1200, "height": ALL_CELLS_IN_VIEW})
    notebook.run(0, *everything)
    for index in (1, 6):
        notebook.output(index).locator("summary").click()
    code = notebook.output(1).locator(".highlight")
    colours = {kind: code.locator(f".{kind}").first.evaluate(COLOUR) for kind in "cksm"}
    assert len({*colours.values(), code.evaluate(COLOUR)}) >= 4, colours
    for index in everything:
        expect(notebook.output(index).locator(".dexto").first).to_be_visible()
    assert faint_texts(notebook.page) == []
    for width in (1200, 700):
        tab.set_viewport_size({"width": width, "height": ALL_CELLS_IN_VIEW})
        notebook.settle()
        assert overflowing(notebook.page) == []


COLOUR = "element => getComputedStyle(element).color"


def test_formulas_are_typeset_and_money_is_not(show):
    notebook = show(
        LOAD,
        ask("maths", r"Repeat after me: Let $x_1$ be \(\frac{1}{2}\), and \[y = x^2\] so"),
        ask("maths", "Repeat after me: It costs $5 and $10, or \\$3."),
        "%dexto history maths",
    )
    notebook.run(0, 1, 2, 3)
    expect(notebook.output(1).locator("mjx-container")).to_have_count(3)
    expect(notebook.output(1).locator("mjx-container[display=true]")).to_have_count(1)
    expect(notebook.output(3).locator("mjx-container")).to_have_count(3)
    expect(notebook.output(2)).to_contain_text("It costs $5 and $10, or $3.")
    expect(notebook.output(2).locator("mjx-container")).to_have_count(0)


def test_no_reply_changes_what_the_users_own_formulas_mean(show, server):
    server.script(
        text("\\begin{equation}\\label{newton}F", WAIT, " = ma\\end{equation}"),
        text("$\\def\\sum{EVIL}x$ $\\renewcommand{\\alpha}{EVIL}$ $\\let\\beta\\gamma$ \\(x_1\\)"),
    )
    notebook = show(
        asking(server),
        ask("macros", "An equation?"),
        ask("macros", "Some macros?"),
        "%dexto history macros",
        "from IPython.display import Markdown\nMarkdown(r'$\\sum \\alpha \\beta$')",
    )
    notebook.run(0)
    notebook.begin_cell(1)
    expect(notebook.output(1)).to_contain_text("F")
    server.release()
    expect(notebook.output(1)).to_contain_text("macros · turn 1 · ")
    notebook.run(2, 3, 4)
    expect(notebook.output(2)).to_contain_text("\\renewcommand")
    for index in (1, 3):
        expect(notebook.output(index).locator("mjx-container[display=true]")).to_have_count(1)
        expect(notebook.output(index).locator("mjx-merror")).to_have_count(0)
    glyphs = (
        notebook.output(4)
        .locator("mjx-container mjx-c")
        .evaluate_all("all => all.map(one => one.className)")
    )
    assert glyphs == ["mjx-c2211 TEX-S1", "mjx-c1D6FC TEX-I", "mjx-c1D6FD TEX-I"]


def test_a_wide_formula_is_scrolled_in_its_place_and_not_with_all_of_the_output(show):
    terms = " + ".join(f"x_{{{n}}}" for n in range(100))
    notebook = show(LOAD, ask("wide", f"Repeat after me: It is\n\n$$ {terms} $$"))
    notebook.run(0, 1)
    expect(notebook.output(1).locator("mjx-container")).to_have_count(1)
    notebook.settle()
    assert overflowing(notebook.page) == []


# -- the saved file --------------------------------------------------------------------------------


@pytest.fixture
def kept(show):
    """A saved notebook with a reply, a history and a table of sessions, its kernel gone."""
    notebook = show(
        LOAD,
        ask("kept", "My name is Sarah."),
        ask("kept", "Show me some code."),
        "%dexto history kept",
        "%dexto sessions kept",
    )
    notebook.run(0, 1, 2, 3, 4)
    notebook.save()
    notebook.close_kernel()
    return notebook


def assert_readable(outputs):
    """The outputs of ``kept`` can be read; ``outputs`` gives a cell's."""
    expect(outputs(1)).to_contain_text("Nice to meet you, Sarah.")
    expect(outputs(2).locator("pre")).to_contain_text("def greet(name):")
    expect(outputs(3)).to_contain_text("My name is Sarah.")
    expect(outputs(3)).to_contain_text("Nice to meet you, Sarah.")
    expect(outputs(4).locator("table")).to_contain_text("kept")


def test_a_saved_notebook_is_readable_without_a_kernel_trusted_or_not(kept, lab, tab):
    from_elsewhere = f"from-elsewhere-{kept.name}"
    content = lab.read(kept.name)
    content["cells"][0]["source"] += "\n# changed by another program"
    (lab.root / from_elsewhere).write_text(json.dumps(content))
    for name, trusted in ((kept.name, True), (from_elsewhere, False)):
        notebook = Notebook(tab, lab, name)
        notebook.close_kernel()
        assert notebook.trusted is trusted
        assert_readable(notebook.output)
        assert faint_texts(notebook.page) == []
        assert overflowing(notebook.page) == []


def test_a_saved_notebook_is_readable_as_a_web_page(kept, lab, tab):
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", kept.name],
        cwd=lab.root,
        check=True,
        capture_output=True,
    )
    tab.route(re.compile("^http"), lambda route: route.abort())
    tab.goto((lab.root / kept.name).with_suffix(".html").as_uri())
    assert_readable(lambda index: tab.locator(".jp-Cell").nth(index).locator(".jp-OutputArea"))


# -- Notebook 7 ------------------------------------------------------------------------------------


def test_notebook_7_shows_a_reply_while_it_streams_and_saves_it(show, server):
    server.script(text("The first half", WAIT, ", and the second."))
    notebook = show(asking(server), ask("seven", "Go."), "%dexto history seven", app="notebook")
    notebook.run(0)
    notebook.begin_cell(1)
    expect(notebook.output(1)).to_contain_text("The first half")
    server.release()
    expect(notebook.output(1)).to_contain_text("The first half, and the second.")
    expect(notebook.output(1)).to_contain_text("seven · turn 1 · ")
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("The first half, and the second.")
    assert faint_texts(notebook.page) == []
    assert joined(saved_output(notebook, 1)["data"]["text/plain"]).endswith("the second.")


# -- a history to work with --------------------------------------------------------------------------


def test_what_is_done_to_a_history_is_seen_in_the_page(show):
    notebook = show(
        LOAD,
        ask("worked", "My name is Sarah."),
        ask("worked", "Show me a table."),
        "%dexto use worked\n%dexto retry What is my name?",
        "%dexto history worked --all",
        "%dexto undo",
        "%dexto search sarah",
        "%dexto usage worked",
        "%dexto context worked",
        ask("worked --show-prompt", "And my <b>name</b>?"),
    )
    notebook.run(*range(10))
    expect(notebook.output(3)).to_contain_text("Your name is Sarah.")
    everything = notebook.output(4)
    expect(everything).to_contain_text("version 1 of 2, replaced")
    expect(everything).to_contain_text("Saturn")
    expect(everything).to_contain_text("version 2 of 2, current")
    expect(notebook.output(5)).to_contain_text("Turn 2 (“Show me a table.”) is back at version 1")
    expect(notebook.output(6).locator("mark").first).to_have_text("Sarah")
    expect(notebook.output(6)).to_contain_text("%dexto history worked --at 1")
    expect(notebook.output(7).locator("svg.dexto-chart")).to_be_visible()
    expect(notebook.output(7)).to_contain_text("3 replies")
    expect(notebook.output(8)).to_contain_text("2 turns")
    expect(notebook.output(9)).to_contain_text("And my <b>name</b>?")
    expect(notebook.output(9)).to_contain_text("nothing was sent")
