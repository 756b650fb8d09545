"""The package as a whole: what it exports, how its modules stand to each other, how it is kept."""

import ast
import dataclasses
import importlib
import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import dexto_magic
from dexto_magic import DextoError, errors

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dexto_magic"
MODULES = sorted(PACKAGE.rglob("*.py"))
HOOKS = {"load_ipython_extension", "unload_ipython_extension"}


def name_of(path):
    """The dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(path):
    return ast.parse(path.read_text())


def said_by(*command):
    """What a program of this environment says, run in the root; it must succeed."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- what is exported ------------------------------------------------------------------------------


def test_all_is_sorted_and_names_nothing_twice():
    assert dexto_magic.__all__ == sorted(set(dexto_magic.__all__))


@pytest.mark.parametrize("name", dexto_magic.__all__)
def test_every_name_can_be_imported(name):
    value = getattr(dexto_magic, name)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(dexto_magic)


def test_the_names_are_written_down_alike_in_all_three_places():
    """For type checkers, for importing when first used, and for ``import *``."""
    tree = parsed(PACKAGE / "__init__.py")
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    for_checkers = {
        alias.name: node.module.removeprefix("dexto_magic.")
        for node in block.body
        if node.module.startswith("dexto_magic.")
        for alias in node.names
    }
    (homes,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    ]
    when_used = {name: module for module, names in homes.items() for name in names}
    assert for_checkers == when_used
    assert {*when_used, *HOOKS} == set(dexto_magic.__all__)
    assert sum(map(len, homes.values())) == len(when_used), "a name has one home"


@pytest.mark.parametrize("name", sorted(set(dexto_magic.__all__) - HOOKS))
def test_every_name_is_taken_from_the_module_that_defines_it(name):
    (home,) = [module for module, names in dexto_magic._HOMES.items() if name in names]
    assert getattr(dexto_magic, name).__module__ == f"dexto_magic.{home}"


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(dexto_magic, "Nonsense")
    with pytest.raises(AttributeError, match="'dexto_magic' has no attribute 'Nonsense'"):
        _ = dexto_magic.Nonsense
    with pytest.raises(ImportError):
        from dexto_magic import Nonsense  # noqa: F401  # that is the point


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_error_is_exported_and_stands_in_the_tree():
    for module in MODULES:
        if module.name != "__main__.py":
            importlib.import_module(name_of(module))
    ours = {
        kind.__name__
        for kind in subclasses(DextoError)
        if kind.__module__.startswith("dexto_magic.") and not kind.__name__.startswith("_")
    }
    assert ours <= set(dexto_magic.__all__)
    assert sorted(ours) == errors.__all__
    drawn = set(re.findall(r"\b[A-Z]\w*Error\b", errors.__doc__))
    assert ours == drawn - {"ValueError", "LookupError", "TimeoutError"}


def test_the_errors_tree_is_drawn_as_it_grows():
    lines = errors.__doc__.partition("::")[2].splitlines()
    above, seen = [], 0
    for line in lines:
        drawn = re.fullmatch(r"    ([│├└─ ]*)([A-Z]\w+Error)(?:\((\w+)\))?(?: .*)?", line)
        if drawn:
            depth = len(drawn[1]) // 4
            kind = getattr(errors, drawn[2])
            above[depth:] = [kind]
            bases = [base.__name__ for base in kind.__bases__]
            parent = above[depth - 1].__name__ if depth else "Exception"
            assert bases == [parent, *([drawn[3]] if drawn[3] else [])]
            seen += 1
    assert seen == len(errors.__all__)


def named_in(hint):
    """The classes that an annotation names."""
    if isinstance(hint, type):
        yield hint
    for argument in typing.get_args(hint):
        for inner in argument if isinstance(argument, list | tuple) else [argument]:
            yield from named_in(inner)


def signatures(kind):
    """The annotations of a class's public fields and methods, those of the parts it is made of too."""
    hints = typing.get_type_hints(kind)
    if not isinstance(kind, type):
        yield from hints.values()
        return
    yield from (hint for name, hint in hints.items() if not name.startswith("_"))
    members = {
        name: member for part in reversed(kind.__mro__) for name, member in vars(part).items()
    }
    for name, member in members.items():
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and not name.startswith("_"):
            yield from typing.get_type_hints(function).values()


def test_the_signatures_of_an_agent_are_those_of_all_its_parts():
    named = {
        kind.__name__ for hint in signatures(dexto_magic.AsyncDextoAgent) for kind in named_in(hint)
    }
    assert {
        "Session",
        "Reply",
        "ReplyStream",
        "TurnChange",
        "PromptPreview",
        "ContextReport",
    } <= named


@pytest.mark.parametrize("name", sorted(set(dexto_magic.__all__) - HOOKS))
def test_every_value_that_a_public_signature_names_is_public(name):
    """Who is given one, or has to make one, can name its type."""
    values = {
        kind.__name__
        for hint in signatures(getattr(dexto_magic, name))
        for kind in named_in(hint)
        if kind.__module__.startswith("dexto_magic.") and dataclasses.is_dataclass(kind)
    }
    assert values <= set(dexto_magic.__all__)


# -- importing -------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_else():
    code = """
    import json, sys
    before = set(sys.modules)
    import dexto_magic
    dir(dexto_magic), dexto_magic.__all__, hasattr(dexto_magic, "Nonsense")
    print(json.dumps(sorted(set(sys.modules) - before)))
    """
    loaded = json.loads(said_by("-c", "\n".join(line.strip() for line in code.splitlines())))
    allowed = {*sys.stdlib_module_names, "dexto_magic"}
    assert [name for name in loaded if name.partition(".")[0] not in allowed] == []
    assert [name for name in loaded if name.startswith("dexto_magic.")] == []


def test_a_star_gives_what_is_exported():
    said = said_by("-c", "from dexto_magic import *; print(sorted(dir()))")
    names = {name for name in ast.literal_eval(said) if not name.startswith("__")}
    assert names == set(dexto_magic.__all__)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_can_be_imported(path):
    importlib.import_module(name_of(path))


# -- how it is kept --------------------------------------------------------------------------------


def test_the_import_contracts_hold():
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    said = said_by("-c", lint)
    assert " 0 broken." in said
    assert "Layers point down KEPT" in said


def test_the_linter_has_nothing_to_say():
    said_by("-m", "ruff", "check", ".")


def test_everything_is_formatted():
    said_by("-m", "ruff", "format", "--check", ".")


def test_the_types_are_right():
    assert "Success" in said_by("-m", "mypy")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_was_left_to_be_done(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_owns(path):
    text = ast.get_docstring(parsed(path))
    assert text, "no docstring"
    first = text.split("\n\n")[0]
    assert first.endswith((".", "::")), "a sentence"
    own = {*re.findall(r"[a-z]+", name_of(path)), "the", "a", "module", "package", "for", "of"}
    said = set(re.findall(r"[a-z]{2,}", first.lower())) - own
    assert len(said) >= 5 or path.name == "__main__.py", "more than its name"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_thing_says_what_it_is(path):
    for node in ast.walk(parsed(path)):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and not node.name.startswith("_"):
            text = ast.get_docstring(node)
            words = re.sub(r"\W", " ", text or "").lower().split()
            own = set(re.sub(r"(?<!^)(?=[A-Z])|_", " ", node.name).lower().split())
            assert text is None or set(words) - own - {"the", "a", "an"}, f"{node.name}: a stub"
