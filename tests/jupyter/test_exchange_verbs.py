"""``%dexto search``, ``export`` and ``import`` in real kernels."""

import json
import shlex

import pytest


@pytest.fixture
def kernel(start, tmp_path):
    kernel = start()
    kernel.run(f"import os; os.chdir({str(tmp_path)!r})")
    return told(kernel)


@pytest.fixture(scope="module")
def searched(shared):
    return told(shared)


def told(kernel):
    kernel.ask("My name is Sarah, and I study sea ice.", "thesis")
    kernel.ask("海冰是什么？", "thesis", cell_id="c2")
    kernel.ask("Où est l'été à Zürich?", "travel", cell_id="c3")
    return kernel


def said(kernel, line):
    ran = kernel.run(f"%dexto {line}")
    assert ran.ok, ran.error
    return ran.output


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ("sarah", ["thesis --at 1"]),
        ('"sea ice" --role user', ["thesis --at 1"]),
        ('"ice sea"', []),
        ("stud*", ["thesis --at 1"]),
        ("冰 --role user", ["thesis --at 2"]),
        ("海冰 --session thesis", ["thesis --at 2"]),
        ("zurich ete", ["travel --at 1"]),
        ("--session travel --role user été", ["travel --at 1"]),
        ("sarah --since 1h --until 2999-01-01", ["thesis --at 1"]),
        ("sarah --until 2020-01-01", []),
    ],
)
def test_words_are_found_with_the_line_that_shows_them(searched, words, places):
    output = said(searched, f"search {words}")
    for place in places:
        assert f"%dexto history {place}" in output.text
        shown = said(searched, f"history {place}")
        assert f"turn {place[-1]}" in shown.text
        assert "<mark>" in output.html
    assert ("%dexto history" in output.text) == bool(places)


def test_hits_come_in_pages(searched):
    kernel = searched
    for n in range(5):
        kernel.ask(f"Needle {n}.", "many", cell_id=f"n{n}")
    pages = [said(kernel, f"search needle --role user -n 2 --page {n}").text for n in (1, 2, 3, 4)]
    assert [page.count("%dexto history many") for page in pages] == [2, 2, 1, 0]


@pytest.mark.parametrize("line", ["search", "search '...'", "search x --since soon"])
def test_a_search_for_nothing_says_what_to_type(searched, line):
    ran = searched.run(f"%dexto {line}")
    assert not ran.ok
    assert "SettingsError" in ran.error
    assert "such as" in ran.error


def test_what_was_forgotten_reset_or_deleted_is_not_found(kernel):
    kernel.run("%dexto use thesis")
    assert "thesis" in said(kernel, "search sarah").text
    said(kernel, "forget 1")
    assert "%dexto history" not in said(kernel, "search sarah").text
    said(kernel, "reset thesis")
    assert "%dexto history" not in said(kernel, "search 海冰").text
    said(kernel, "delete travel")
    assert "%dexto history" not in said(kernel, "search zürich").text


@pytest.mark.parametrize("suffix", ["md", "jsonl", "json", "ipynb"])
def test_a_session_is_exported_by_what_its_files_name_ends_in(kernel, tmp_path, suffix):
    name = f"my thesis.{suffix}"
    shown = said(kernel, f"export thesis {shlex.quote(name)}")
    assert f"1 session written to {name}, with 4 messages." in shown.text
    assert "Sarah" in (tmp_path / name).read_text()
    refused = kernel.run(f"%dexto export thesis {shlex.quote(name)}")
    assert "FormatError" in refused.error
    assert "--force" in refused.error
    said(kernel, f"export thesis {shlex.quote(name)} --force")


def test_the_current_session_is_exported_as_a_document_of_its_name(kernel, tmp_path):
    kernel.run("%dexto use travel")
    assert "travel.md" in said(kernel, "export").text
    assert "Zürich" in (tmp_path / "travel.md").read_text()


def test_everything_is_exported_and_taken_in_by_another_store(kernel, start, tmp_path):
    said(kernel, "export --all all.jsonl")
    history = said(kernel, "history thesis --all").text
    other = start(DEXTO_HOME=str(tmp_path / "another"))
    path = tmp_path / "all.jsonl"
    shown = said(other, f"import {path}").text
    assert "2 sessions read from" in shown
    assert "New: 'thesis', 'travel'" in shown or "New: 'travel', 'thesis'" in shown
    assert said(other, "history thesis --all").text == history
    again = said(other, f"import {path}").text
    assert "There already, and left as they are: 2." in again
    assert (
        other.ask("What is my name?", "thesis").output.text
        == "Your name is Sarah, and I study sea ice."
    )


@pytest.mark.parametrize("line", ["export --all all.jsonl --force", "import all.jsonl"])
def test_how_far_it_is_is_shown_in_the_cell_that_runs(kernel, line):
    said(kernel, "export --all all.jsonl")
    kernel.run("from dexto_magic.commands import progress; progress._DELAY_SECONDS = 0")
    ran = kernel.run(f"%dexto {line}")
    assert ran.ok
    *bars, _ = ran.outputs
    assert [bar.data["application/vnd.jupyter.widget-view+json"]["model_id"] for bar in bars]
    assert "sessions" in bars[0].text


SLOW = """
import asyncio
from dexto_magic.agent.roll import Roll

quick = Roll.transcript

async def slow(self, sid):
    Roll.transcript = quick
    print("one", flush=True)
    await asyncio.sleep(3600)

Roll.transcript = slow
"""


def test_an_interrupted_export_leaves_what_was_there(kernel, tmp_path):
    said(kernel, "export --all all.jsonl")
    before = (tmp_path / "all.jsonl").read_bytes()
    kernel.run(SLOW)
    running = kernel.begin("%dexto export --all all.jsonl --force")
    ran = kernel.end(running, until=lambda ran: "one" in ran.stream)
    kernel.interrupt()
    kernel.end(running, ran)
    assert "KeyboardInterrupt" in ran.error
    assert (tmp_path / "all.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".dexto")] == []
    assert "2 sessions written" in said(kernel, "export --all other.jsonl").text


def test_an_exported_notebook_goes_on_in_a_kernel(kernel, start, tmp_path):
    said(kernel, "export thesis thesis.ipynb")
    cells = json.loads((tmp_path / "thesis.ipynb").read_text())["cells"]
    other = start(DEXTO_HOME=str(tmp_path / "another"))
    assert "New: 'thesis'" in said(other, f"import {tmp_path / 'thesis.ipynb'}").text
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sources[1].startswith("%%dexto thesis\nMy name is Sarah")
    assert other.run(sources[1]).ok


def test_a_home_of_nobody_is_part_of_a_files_name(kernel):
    ran = kernel.run("%dexto import ~nobody-of-that-name/x.jsonl")
    assert not ran.ok
    assert "FormatError" in ran.error
    assert "~nobody-of-that-name/x.jsonl" in ran.error


def test_what_cannot_be_read_says_so_and_takes_nothing_in(kernel, tmp_path):
    (tmp_path / "odd.json").write_text('{"some": "thing"}')
    for file in ("odd.json", "nowhere.jsonl"):
        ran = kernel.run(f"%dexto import {file}")
        assert "FormatError" in ran.error
        assert file in ran.error
    assert "thesis" in said(kernel, "sessions").text


def test_a_broken_record_is_told_by_its_number_and_the_rest_is_taken_in(kernel, tmp_path):
    good = {"messages": [{"role": "user", "content": "Hello."}]}
    lines = [
        json.dumps(good),
        '{"messages": 5}',
        json.dumps(good | {"messages": good["messages"] * 2}),
    ]
    (tmp_path / "some.jsonl").write_text("\n".join(lines))
    shown = said(kernel, "import some.jsonl").text
    assert "2 sessions read" in shown
    assert "Number 2 could not be read: " in shown
