"""Lines of text after ``%dexto ask`` arrive as they were typed."""

import builtins
from types import SimpleNamespace

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from dexto_magic.jupyter.lines import keep_typed_text

CALL = "get_ipython().run_line_magic('dexto', {!r})\n"


def transformed(cell):
    manager = TransformerManager()
    manager.cleanup_transforms.append(keep_typed_text)
    return manager.transform_cell(cell)


@pytest.mark.parametrize(
    "text",
    [
        "ask What is my name?",
        "ask What's up?",
        'ask open ( and " and {',
        "ask {x} $y \\alpha",
        "ask   two  spaces ??",
        "system You are a pirate?",
        "What is that?",
    ],
)
def test_a_line_of_text_becomes_a_call_with_that_text(text):
    assert transformed(f"%dexto {text}") == CALL.format(text)
    assert transformed(f"x = 1\nif x:\n    %dexto {text}\n    y = 2\n") == (
        "x = 1\nif x:\n    " + CALL.format(text) + "    y = 2\n"
    )
    assert transformed(f"reply = %dexto {text}") == "reply = " + CALL.format(text)


@pytest.mark.parametrize(
    "target",
    [
        "d['k']",
        "a.b",
        "x, y",
        "*x, y",
        "x: Reply",
        "a[f(x=1)].b",
        "if a: x",
        "d[\n    'k'\n]",
    ],
)
def test_whatever_ipython_lets_a_magic_be_assigned_to_takes_the_reply(target):
    assert transformed(f"{target} = %time it") == (
        f"{target} = get_ipython().run_line_magic('time', 'it')\n"
    ), "IPython does"
    text = "ask What's a name?"
    assert transformed(f"{target} = %dexto {text}") == f"{target} = {CALL.format(text)}"


@pytest.mark.parametrize(
    "cell",
    [
        "x = y = %dexto ask it?",
        "x += %dexto ask it?",
        "%time x = %dexto ask it?",
        "!echo x = %dexto ask it?",
    ],
)
def test_what_ipython_lets_no_magic_be_assigned_to_is_left_to_it(cell):
    assert keep_typed_text([f"{cell}\n"]) == [f"{cell}\n"]


@pytest.mark.parametrize("before", ["", "x = ", "if x:\n    "])
@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("hello \\\nworld", "hello  world"),
        ("what's \\\n  (open\\\nto you?", "what's    (open to you?"),
    ],
)
def test_a_line_that_ends_in_a_backslash_goes_on_in_the_next(before, typed, text):
    cell = f"{before}%dexto ask {typed}\ny = 2\n"
    assert transformed(cell) == f"{before}{CALL.format(f'ask {text}')}y = 2\n"


def test_a_line_is_continued_as_ipython_continues_that_of_another_magic():
    typed = "hello \\\n  big \\ \\\nworld"
    other = transformed(f"%time it {typed}\n")
    assert transformed(f"%dexto ask {typed}\n") == other.replace("'time', 'it", "'dexto', 'ask")


def test_a_backslash_with_nothing_after_it_is_a_part_of_the_text():
    assert transformed("%dexto ask one \\") == CALL.format("ask one \\")


def test_several_lines_of_a_cell_are_each_taken_though_one_opens_a_bracket():
    cell = "%dexto ask one (\n%dexto ask two?\nprint(1)\n"
    assert transformed(cell) == CALL.format("ask one (") + CALL.format("ask two?") + "print(1)\n"


@pytest.mark.parametrize(
    "cell",
    [
        "text = '''\n%dexto ask in a string?\n'''\n",
        "print(1)  # %dexto ask in a comment?\n",
        "call(\n    a %dexto\n)\n",
        "\n",
    ],
)
def test_what_only_looks_like_such_a_line_is_left_alone(cell):
    assert transformed(cell) == cell


@pytest.fixture
def shell(monkeypatch):
    """Stands for the shell that IPython's rule about automagic is asked of."""
    shell = SimpleNamespace(
        automagic=True, user_ns={}, user_global_ns={}, ns_table={"builtin": vars(builtins)}
    )
    monkeypatch.setattr("dexto_magic.jupyter.lines.get_ipython", lambda: shell)
    return shell


def test_a_question_without_the_percent_sign_is_one_where_automagic_is_on(shell):
    text = "ask What is my name?"
    assert transformed(f"dexto {text}") == CALL.format(text)
    assert transformed("dexto ask it's (") == CALL.format("ask it's (")
    assert transformed("dexto?") == "get_ipython().run_line_magic('pinfo', 'dexto')\n"


@pytest.mark.parametrize(
    ("cell", "change"),
    [
        ("dexto ask What is my name?", {"automagic": False}),
        ("dexto ask What is my name?", {"user_ns": {"dexto": 1}}),
        ("dexto ask What is my name?\nx = 1", {}),
        ("dexto askew?", {}),
        ("dexto = ask?", {}),
    ],
    ids=["no automagic", "a name of the user's", "not the only line", "another verb", "Python"],
)
def test_where_ipython_knows_no_automagic_the_line_is_left_to_it(shell, cell, change):
    vars(shell).update(change)
    lines = [f"{line}\n" for line in cell.splitlines()]
    assert keep_typed_text(lines) == lines


def test_other_magics_and_help_are_ipythons():
    assert transformed("%dexto?") == "get_ipython().run_line_magic('pinfo', '%dexto')\n"
    assert "'history eda'" in transformed("%dexto history eda\n%time x\n")
    cell_magic = transformed("%%dexto eda\n%dexto ask part of the prompt?\n")
    assert cell_magic.startswith("get_ipython().run_cell_magic('dexto', 'eda', ")
    assert "%dexto ask part of the prompt?" in cell_magic
