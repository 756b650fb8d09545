"""Lines of text after ``%dexto ask`` arrive as they were typed."""

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
        "ask {x} $y \\alpha \\",
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


def test_other_magics_and_help_are_ipythons():
    assert transformed("%dexto?") == "get_ipython().run_line_magic('pinfo', '%dexto')\n"
    assert "'history eda'" in transformed("%dexto history eda\n%time x\n")
    cell_magic = transformed("%%dexto eda\n%dexto ask part of the prompt?\n")
    assert cell_magic.startswith("get_ipython().run_cell_magic('dexto', 'eda', ")
    assert "%dexto ask part of the prompt?" in cell_magic
