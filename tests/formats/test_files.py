"""The table of formats: which one a file is written in, and which one it turns out to have."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexto_magic.errors import FormatError
from dexto_magic.formats import files
from dexto_magic.formats.files import FORMATS
from dexto_magic.formats.records import Broken, Loaded
from tests.support.chatgpt import conversation, said
from tests.support.llm_databases import RESPONSES, make, response
from tests.support.processes import heard, kill, python
from tests.support.transcripts import NOW
from tests.support.views import message, transcript

VALUE = transcript(message("user", "Hi."), message("assistant", "Hello."))
WRITABLE = [name for name, form in FORMATS.items() if form.dump]
BOTH = [name for name in WRITABLE if FORMATS[name].load]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.md", "markdown"),
        ("A.MARKDOWN", "markdown"),
        ("a.jsonl", "jsonl"),
        ("a.b.ipynb", "ipynb"),
        ("a.json", "openai"),
    ],
)
def test_the_name_of_a_file_says_what_is_written(tmp_path, name, form):
    assert files.format_of(name).name == form
    path = tmp_path / name
    assert files.write([VALUE], path) == 1
    expected = io.BytesIO()
    files.dump([VALUE], expected, format=form)
    assert path.read_bytes() == expected.getvalue()
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_a_name_that_says_nothing_needs_a_format(tmp_path):
    for name in ("a", "a.txt", ".md", "a.db"):
        with pytest.raises(FormatError, match=r"Let it end in one of \.md, \.markdown, \.jsonl"):
            files.write([VALUE], tmp_path / name)
    assert not list(tmp_path.iterdir())
    files.write([VALUE], tmp_path / "a.txt", format="markdown")
    assert (tmp_path / "a.txt").read_text().startswith("# Load a file\n")


@pytest.mark.parametrize(
    ("name", "said"), [("chatgpt", "'chatgpt' is for reading only"), ("pdf", "'pdf' is no format")]
)
def test_a_format_that_nothing_is_written_in_is_refused(tmp_path, name, said):
    with pytest.raises(FormatError, match=said) as caught:
        files.write([VALUE], tmp_path / "a.json", format=name)
    assert all(name in str(caught.value) for name in WRITABLE)


@pytest.mark.parametrize(
    ("name", "said"), [("markdown", "'markdown' is for writing only"), ("pdf", "is no format")]
)
def test_a_format_that_nothing_is_read_in_is_refused(tmp_path, name, said):
    with pytest.raises(FormatError, match=said):
        files.read(tmp_path / "a.json", now=NOW, format=name)


@pytest.mark.parametrize("name", BOTH)
def test_what_was_written_is_known_again_whatever_it_is_called(tmp_path, name):
    path = tmp_path / "file"
    many = [VALUE, VALUE] if name == "openai-jsonl" else [VALUE]
    files.write(many, path, format=name)
    incoming = files.read(path, now=NOW)
    assert incoming.format is FORMATS[name]
    records = list(incoming.records)
    assert len(records) == len(many)
    for record in records:
        assert isinstance(record, Loaded)
        assert [m.content for m in record.transcript.messages] == ["Hi.", "Hello."]


CHATGPT = conversation(said("user", "Hi."))
OPENAI = [{"role": "user", "content": "Hi."}]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ([CHATGPT], "chatgpt"),
        (CHATGPT, "chatgpt"),
        ([None, 7, "x", {}, CHATGPT], "chatgpt"),
        (OPENAI, "openai"),
        ([7, *OPENAI], "openai"),
        ([OPENAI], "openai"),
        ({"messages": OPENAI}, "openai"),
        ([{"messages": OPENAI}], "openai"),
        ([], "openai"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_json_is_known_by_what_is_in_it(tmp_path, content, form):
    path = tmp_path / "file.json"
    for text in (json.dumps(content), "\ufeff\n" + json.dumps(content, indent=1)):
        path.write_text(text, encoding="utf-8")
        assert files.kind_of(path).name == form


def test_a_database_is_known_and_says_how_many_it_holds(tmp_path):
    path = make(tmp_path / "file.json", RESPONSES, responses=response(1, "Hi.", "Hello."))
    incoming = files.read(path, now=NOW)
    assert (incoming.format.name, incoming.total) == ("llm", 1)


def test_how_many_there_are_is_told_where_it_is_known(tmp_path):
    path = tmp_path / "file.jsonl"
    files.write([VALUE, VALUE, VALUE], path)
    assert files.read(path, now=NOW).total == 3
    path.write_text(json.dumps(OPENAI))
    assert files.read(path, now=NOW).total is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "It is empty"),
        (b" \n", "It is empty"),
        (b"PK\x03\x04rest", "It is an archive: unpack it, and take conversations.json"),
        ("[1]".encode("utf-16"), "It is UTF-16 text: save it as UTF-8"),
        (b"Hello.", "What can be read: everything, to be read again by this package; "),
        (b"[1, 2]", "is of no kind that is known"),
        (b"{}", "is of no kind that is known"),
        (b'{"cells": 7, "nbformat": 4}', "is of no kind that is known"),
        (b'{"messages": []}', "is of no kind that is known"),
        (b"\xff\x00\xfe", "is of no kind that is known"),
        (b"{bad", "is not valid JSON"),
        (b'{"a": ' + b"[" * 100_000, "is not valid JSON"),
        (b"[" * 100_000, "is of no kind that is known"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_a_file_of_no_kind_that_is_known_is_refused_with_what_to_do(tmp_path, content, said):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(said)) as caught:
        files.read(path, now=NOW)
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_is_none_is_refused(tmp_path):
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        files.read(tmp_path / "gone.json", now=NOW)
    with pytest.raises(FormatError, match="is no file"):
        files.read(tmp_path, now=NOW)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="is no file"):
        files.read(tmp_path / "pipe", now=NOW)


# -- writing ---------------------------------------------------------------------------------------


def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text("before")

    def interrupted():
        yield VALUE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write(interrupted(), path)
    with pytest.raises(FormatError, match="holds one conversation"):
        files.write([VALUE, VALUE], path, format="openai")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    path, link = tmp_path / "file.jsonl", tmp_path / "link.jsonl"
    path.write_text("before")
    link.symlink_to(path)
    files.write([VALUE], link)
    assert link.is_symlink()
    assert next(files.read(path, now=NOW).records).transcript == VALUE


def test_a_file_that_is_replaced_stays_as_private_as_it_was(tmp_path):
    path = tmp_path / "file.jsonl"
    path.touch(mode=0o600)
    files.write([VALUE], path)
    assert path.stat().st_mode & 0o777 == 0o600


def modes(folder):
    """The permissions of each file in a folder."""
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.parametrize("before", [0o600, 0o640, None])
def test_what_is_amid_being_written_is_for_nobody_elses_eyes(tmp_path, before):
    path = tmp_path / "file.jsonl"
    usual = tmp_path / "usual.jsonl"
    usual.touch()
    if before is not None:
        path.touch()
        path.chmod(before)
    seen = []

    def watched():
        seen.append(modes(tmp_path))
        yield VALUE

    files.write(watched(), path)
    (during,) = seen
    assert [mode for name, mode in during.items() if name not in (path.name, usual.name)] == [0o600]
    after = modes(tmp_path)
    assert after == {path.name: before or after[usual.name], usual.name: after[usual.name]}


WRITING = """
from dexto_magic.formats import files
from tests.formats.test_files import VALUE

def forever():
    yield VALUE
    say("amid it")
    sys.stdin.read()

files.write(forever(), sys.argv[1])
"""


def test_what_a_killed_export_left_goes_with_the_next_one_to_the_same_name(tmp_path):
    path, other = tmp_path / "file.jsonl", tmp_path / "other.jsonl"
    with python(WRITING, path) as child:
        assert heard(child) == "amid it"
        (part,) = tmp_path.iterdir()
        files.write([VALUE], path)
        assert part.exists(), "it is still being written"
        kill(child)
    files.write([VALUE], other)
    assert part.exists(), "it is none of this one's"
    files.write([VALUE], path)
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_what_is_no_file_can_be_written_to():
    code = (
        "from dexto_magic.formats import files; from tests.formats.test_files import VALUE;"
        "files.write([VALUE], '/dev/stdout', format='markdown')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("# Load a file\n")


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path):
    with pytest.raises(FormatError, match="cannot be written: No such file or directory"):
        files.write([VALUE], tmp_path / "nowhere" / "a.md")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(FormatError, match="cannot be written: Is a directory"):
        files.write([VALUE], tmp_path / "folder.md")


def test_conversations_are_taken_one_by_one(tmp_path):
    taken = []

    def some():
        for number in range(3):
            taken.append(number)
            yield VALUE

    form = FORMATS["jsonl"]

    class Slow(io.BytesIO):
        def writelines(self, lines):
            seen.append(len(taken))
            super().writelines(lines)

    seen = []
    form.dump(some(), Slow())
    assert seen == [1, 2, 3]


def test_reading_can_be_given_up(tmp_path):
    path = tmp_path / "file.jsonl"
    files.write([VALUE] * 5, path)
    records = files.read(path, now=NOW).records
    assert len(list(islice(records, 2))) == 2
    records.close()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A good file of each format that can be read."""
    folder = tmp_path_factory.mktemp("examples")
    for name in BOTH:
        files.write(
            [VALUE, VALUE] if name == "openai-jsonl" else [VALUE], folder / name, format=name
        )
    (folder / "chatgpt").write_text(json.dumps([CHATGPT, CHATGPT]))
    make(folder / "llm", RESPONSES, responses=response(1, "Hi.", "Hello."))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.load])
@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_no_damage_is_more_than_a_format_error_or_a_broken_record(
    tmp_path_factory, examples, name, data
):
    content = bytearray(examples[name])
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        at = data.draw(st.integers(min_value=0, max_value=len(content)))
        long = data.draw(st.sampled_from([0, 1, 9, len(content)]))
        some = st.sampled_from(
            [b"", b"null", b"[", b"}", b'"', b",", b"7", b"\\ud800", b"\xff\x00"]
        )
        content[at : at + long] = data.draw(some)
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(bytes(content))
    for format_name in (None, name):
        try:
            records = list(files.read(path, now=NOW, format=format_name).records)
        except FormatError:
            continue
        assert all(isinstance(record, Loaded | Broken) for record in records)


def test_every_format_is_described_in_the_table():
    for name, form in FORMATS.items():
        assert form.name == name
        assert form.description
        assert form.dump or form.load
    suffixes = [suffix for form in FORMATS.values() for suffix in form.suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_nothing_of_a_notebook_is_imported_before_it_is_written():
    code = (
        "import sys, dexto_magic.formats.files;"
        "print([name for name in ('nbformat', 'IPython', 'jsonschema') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# -- keys ------------------------------------------------------------------------------------------

KEY = "sk-proj-" + "A1b2C3d4" * 5
HONEST = {"temperature": 0.5, "stop": ["\n", "é"], "metadata": {"seed": 7}}
TELLING = {
    "api_key": "short",
    "Extra-Headers": {"Authorization": f"Bearer {KEY}"},
    "base_url": "https://me:secret@example.org",
    "metadata2": {"note": [f"mine is {KEY}"]},
    KEY: True,
}


@pytest.mark.parametrize("form", BOTH)
def test_options_that_hold_keys_are_left_out_and_others_stay(read, form):
    told = message("assistant", "Hello.", options={**TELLING, **HONEST})
    undone = message("assistant", "Hi?", turn=2, options=TELLING)
    value = replace(
        transcript(message("user", "Hi."), told, message_count=2, turn_count=1), others=(undone,)
    )
    file = io.BytesIO()
    files.dump([value], file, format=form)
    ((record,), broken) = read(file.getvalue())
    assert not broken
    _, reply = record.transcript.messages
    assert reply.options == (HONEST if form in ("jsonl", "ipynb") else {})
    assert not any(other.options for other in record.transcript.others)
    assert KEY not in repr(record)


def test_options_of_another_tool_that_hold_keys_are_left_out(read, tmp_path):
    path = tmp_path / "logs.db"
    make(
        path,
        RESPONSES,
        responses=[response(1, "Hi.", "Hello.", options_json=json.dumps(TELLING | HONEST))],
    )
    ((record,), broken) = read(path)
    assert not broken
    assert record.transcript.messages[-1].options == HONEST
