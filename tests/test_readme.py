"""The README is true: its tables, its code and its commands are held against the thing itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dexto_magic import settings
from dexto_magic.cli.line import _parser
from dexto_magic.cli.verbs import VERBS as _VERBS
from dexto_magic.conversation.prices import prices_of
from dexto_magic.jupyter.magics import DextoMagics
from dexto_magic.jupyter.verbs import VERBS
from dexto_magic.llm.provider_table import PROVIDERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def table(heading):
    """The rows of the table whose first row begins with ``heading``, as pairs."""
    rows = README[README.index(f"| {heading}") :].split("\n\n")[0].splitlines()[2:]
    return [
        tuple(cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        for row in rows
    ]


def test_every_verb_is_in_the_table_as_it_is():
    listed = [(usage.strip("`"), text) for usage, text in table("line | what")]
    assert listed[0][0] == "%dexto"
    assert listed[1:] == [(f"%dexto {verb.usage}", verb.help) for verb in VERBS.values()]


def test_every_option_of_a_cell_is_in_the_table_as_it_is():
    listed = {
        tuple(re.findall(r"-{1,2}[a-zA-Z-]+", names)): text.replace("`", "")
        for names, text in table("option |")
    }
    parser = DextoMagics.dexto.parser
    options = {
        tuple(action.option_strings): action.help
        for action in parser._actions
        if action.option_strings
    }
    assert listed == options


def alternatives(usage):
    """The lines that a line of usage stands for."""
    choice = re.search(r"\[([^]|]+) \| ([^]|]+)\]", usage)
    if choice is None:
        return [usage]
    return [usage.replace(choice[0], one) for one in choice.groups()]


def typed(usage):
    """A line of usage as one would type it, all of it."""
    line = re.sub(r"\b(N|TURN)\b", "5", usage.replace("[", "").replace("]", ""))
    return line.split()[1:]


def test_every_command_is_in_the_table_and_parses():
    listed = [usage.strip("`") for usage, _ in table("command | what")]
    (verbs,) = [a.choices for a in _parser()._actions if isinstance(a.choices, dict)]
    assert {usage.split()[1] for usage in listed} == set(verbs)
    for usage in listed:
        for line in alternatives(usage):
            assert _parser().parse_args(typed(line)).run


def test_every_option_of_a_command_is_in_its_row_or_below_the_table():
    listed = [usage.strip("`") for usage, _ in table("command | what")]
    below = README[README.index("All but `demo` take") :].split("\n\n")[0]
    for run, arguments in _VERBS:
        verb = run.__name__.strip("_")
        shown = {
            word.strip("[]")
            for usage in listed
            if usage.split()[1] == verb
            for word in usage.split()[2:]
        }
        for argument in arguments:
            words = {*argument.names, argument.how.get("metavar")}
            assert shown & words or any(f"`{name} " in below for name in argument.names), argument


def test_providers_variables_and_settings_are_those_there_are():
    section = README[README.index("Providers: ") :].split("\n\n")[0]
    assert re.findall(r"`([a-z]+)`", section.split(", and")[0]) == [
        name for name in PROVIDERS if name != "practice"
    ]
    variables = set(re.findall(r"`([A-Z_]+)`", " ".join(name for name, _ in table("variable |"))))
    assert {
        settings.HOME_VARIABLE,
        settings.MODEL_VARIABLE,
        settings.NOTEBOOK_VARIABLE,
        settings.NO_COLOR_VARIABLE,
    } <= variables
    known = {row.key_variable for row in PROVIDERS.values()}
    known |= {row.base_url_variable for row in PROVIDERS.values()}
    known |= {getattr(settings, name) for name in vars(settings) if name.endswith("_VARIABLE")}
    assert variables <= known
    traits = {
        name for cell, _ in table("`%config DextoMagics") for name in re.findall(r"`(\w+)`", cell)
    }
    assert traits == set(DextoMagics.class_own_traits(config=True))


def test_the_prices_that_are_shown_are_prices():
    (cell,) = [text for name, text in table("variable |") if name == "`DEXTO_PRICES`"]
    assert prices_of(re.search(r"`(\{.*\})`", cell)[1]).currency == "USD"


def test_the_python_code_runs_and_prints_what_it_says(capsys):
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("Your name is Sarah.\n| planet |")
    assert "[user]: What is my name?" in printed


def test_the_commands_of_the_shell_run(tmp_path):
    (commands,) = [block for block in blocks("bash") if block.startswith("dexto-magic")]
    folder = Path(sys.executable).parent
    for line in commands.splitlines():
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


def test_the_gate_runs_the_test_line_and_nothing_else():
    line = README.split("<!-- the test line: .ci/run runs exactly this -->\n```bash\n")[1].split(
        "\n"
    )[0]
    assert line.endswith("python -m pytest")
    # Its own way of finding the line, without running it.
    script = (ROOT / ".ci" / "run").read_text().replace('eval "$line"', "")
    ran = subprocess.run(
        ["bash", "-c", script, str(ROOT / ".ci" / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"+ {line}\n"


def test_what_is_linked_is_there_and_the_top_level_is_as_agreed():
    for path in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:notebooks|tests|dexto_magic)/[\w./]+)`", README):
        assert (ROOT / path).exists(), path
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("this is no clone, but an unpacked archive")
    assert {path.split("/")[0] for path in tracked} == {
        ".ci",
        ".gitignore",
        "README.md",
        "dexto_magic",
        "notebooks",
        "pyproject.toml",
        "tests",
    }


def test_the_layers_are_those_of_the_contract():
    listed, described = README[README.index("`__main__` →") :].split("\n\n")[:2]
    shown = [layer.strip(" `\n") for layer in listed.split("→")]
    contract = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]
    assert shown == re.findall(r'"(.+?)"', contract)
    names = {name for layer in shown for name in layer.split(" | ")}
    rows = re.findall(r"`(\w+)(?:\.py|/)`", described)
    assert {*rows, "__main__", "errors", "settings"} == names, "each has its line"
