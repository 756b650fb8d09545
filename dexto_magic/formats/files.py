"""Which formats there are, and which one a file has.

For an export the name of the file decides, or the format's; for an import what is in the file: a
``.json`` may be anybody's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dexto_magic.conversation.messages import Message
from dexto_magic.conversation.session import Transcript
from dexto_magic.errors import FormatError
from dexto_magic.formats import chatgpt, ipynb, jsonl, llm_logs, markdown, openai_json
from dexto_magic.formats.arrays import elements
from dexto_magic.formats.foreign import fields_of, whole
from dexto_magic.formats.llm_database import MAGIC
from dexto_magic.formats.records import Broken, Loaded, beginning, opened
from dexto_magic.formats.replacing import replacing
from dexto_magic.llm.outgoing import storable_options

LOOKED_AT = 100
"""Elements of a list that are looked at to find out what they are: the first ones may be damaged."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ZIP = b"PK\x03\x04"


class _Loader(Protocol):
    def __call__(self, path: Path, *, now: datetime) -> Iterator[Loaded | Broken]:
        """The conversations of a file."""
        ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """A form that conversations have as a file.

    Attributes:
        name: What to call it by.
        description: What it is, in a few words.
        suffixes: Endings of the names of files that are written in it.
        dump: Writes conversations, and says how many; ``None`` if it is for reading only.
        load: Reads them; ``None`` if it is for writing only.
        total: How many a file holds, as far as that is known without reading it.
        is_lossless: Whether what is written in it can be read again with nothing missing.
    """

    name: str
    description: str
    suffixes: tuple[str, ...] = ()
    dump: Callable[[Iterable[Transcript], BinaryIO], int] | None = None
    load: _Loader | None = None
    total: Callable[[Path], int | None] | None = None
    is_lossless: bool = False


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A file that is being read.

    Attributes:
        format: What it turned out to be.
        total: How many conversations it holds, or ``None`` if only reading it will tell.
        records: The conversations and what is broken of them, read as they are asked for.
    """

    format: Format
    total: int | None
    records: Iterator[Loaded | Broken]


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format(
            name="markdown",
            description="a document to read, print and cite",
            suffixes=(".md", ".markdown"),
            dump=markdown.dump,
        ),
        Format(
            name="jsonl",
            description="everything, to be read again by this package",
            suffixes=(".jsonl",),
            dump=jsonl.dump,
            load=jsonl.load,
            total=jsonl.total,
            is_lossless=True,
        ),
        Format(
            name="ipynb",
            description="a notebook of %%dexto cells with their replies",
            suffixes=(".ipynb",),
            dump=ipynb.dump,
            load=ipynb.load,
        ),
        Format(
            name="openai",
            description="one conversation as messages of the OpenAI API",
            suffixes=(".json",),
            dump=openai_json.dump,
            load=openai_json.load,
        ),
        Format(
            name="openai-jsonl",
            description="messages of the OpenAI API, a conversation on each line",
            dump=openai_json.dump_lines,
            load=openai_json.load,
        ),
        Format(
            name="chatgpt",
            description="conversations.json of a ChatGPT data export",
            load=chatgpt.load,
        ),
        Format(
            name="llm",
            description="logs.db of the llm command line tool",
            load=llm_logs.load,
            total=llm_logs.total,
        ),
    )
}
"""All formats by name."""

SUFFIXES = frozenset(suffix for form in FORMATS.values() for suffix in form.suffixes)
"""Endings of names by which a file to be written is told from a session."""


# -- writing ---------------------------------------------------------------------------------------


def format_of(path: str | os.PathLike[str], name: str | None = None) -> Format:
    """The format to write a file in: the named one, else what the ending of its name says.

    Raises:
        FormatError: There is none, or it is for reading only.
    """
    place = os.fspath(path)
    if name is not None:
        return _writable(name)
    suffix = Path(place).suffix.lower()
    for form in FORMATS.values():
        if suffix in form.suffixes:
            return form
    known = ", ".join(suffix for form in FORMATS.values() for suffix in form.suffixes)
    raise FormatError(
        f"What to write to {place} its name does not say. Let it end in one of {known}, or name a "
        "format.",
        path=place,
    )


def suffix_of(name: str) -> str:
    """What the name of a file of a format ends in.

    Raises:
        FormatError: There is no such format, or it is for reading only.
    """
    form = _writable(name)
    return form.suffixes[0] if form.suffixes else f".{name.rpartition('-')[2]}"


def write(
    transcripts: Iterable[Transcript],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002  # what it is
) -> int:
    """Writes conversations to a file, and says how many; none of it is there before all of it is.

    Args:
        transcripts: The conversations, taken one by one.
        path: The file; one that is there is replaced.
        format: The name of the format, or ``None`` to go by the file's name.

    Raises:
        FormatError: There is no such format, it cannot hold them, or the file cannot be written.
    """
    form = format_of(path, format)
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe, or a terminal
            with Path(path).open("wb") as file:
                return dump(transcripts, file, format=form.name)
        with replacing(Path(os.path.realpath(path))) as file:
            written = dump(transcripts, file, format=form.name)
    except OSError as error:
        raise FormatError(
            f"{path} cannot be written: {error.strerror or error}.", path=os.fspath(path)
        ) from error
    return written


def dump(
    transcripts: Iterable[Transcript],
    file: BinaryIO,
    *,
    format: str,  # noqa: A002  # what it is
) -> int:
    """Writes conversations to an open file, and says how many.

    Raises:
        FormatError: There is no such format, or it cannot hold them.
    """
    writer = _writable(format).dump
    assert writer is not None
    return writer(transcripts, file)


def _writable(name: str) -> Format:
    form = FORMATS.get(name)
    if form is None or form.dump is None:
        known = ", ".join(form.name for form in FORMATS.values() if form.dump)
        what = "is for reading only" if form else "is no format"
        raise FormatError(f"{name!r} {what}. Those for writing are {known}.")
    return form


# -- reading ---------------------------------------------------------------------------------------


def read(
    path: str | os.PathLike[str],
    *,
    now: datetime,
    format: str | None = None,  # noqa: A002  # what it is
) -> Incoming:
    """The conversations of a file.

    Args:
        path: The file.
        now: The time of messages that have none; UTC.
        format: The name of its format, or ``None`` to find out by what is in it.

    Raises:
        FormatError: It cannot be read, or is of no kind that is known. What is broken further on is
            told among the records; where the file as a whole turns out not to be what it seemed,
            they raise this, too.
    """
    place = Path(path)
    if place.exists() and not place.is_file():
        # What is there only once cannot be looked at first.
        raise FormatError(f"{place} is no file. Save what is in it as one.", path=str(place))
    form = kind_of(place) if format is None else FORMATS.get(format)
    if form is None or form.load is None:
        known = ", ".join(form.name for form in FORMATS.values() if form.load)
        what = "is for writing only" if form else "is no format"
        raise FormatError(f"{format!r} {what}. Those for reading are {known}.", path=str(place))
    total = None if form.total is None else form.total(place)
    return Incoming(format=form, total=total, records=_without_keys(form.load(place, now=now)))


def _without_keys(records: Iterable[Loaded | Broken]) -> Iterator[Loaded | Broken]:
    """Records without the keys among the options of their requests: they are stored nowhere."""
    for record in records:
        if isinstance(record, Broken):
            yield record
            continue
        transcript = record.transcript
        kept = replace(
            transcript,
            messages=tuple(map(_keyless, transcript.messages)),
            others=tuple(map(_keyless, transcript.others)),
        )
        yield replace(record, transcript=kept)


def _keyless(message: Message) -> Message:
    options = storable_options(message.options) if message.options else message.options
    return message if len(options) == len(message.options) else replace(message, options=options)


def kind_of(path: Path) -> Format:
    """The format of a file, by what is in it.

    Raises:
        FormatError: It cannot be read, or is of no kind that is known.
    """
    begins = beginning(path)
    if begins.startswith(MAGIC):
        return FORMATS["llm"]
    name = None
    if begins.startswith(b"["):
        name = _kind_of_list(path)
    elif begins.startswith(b"{"):
        name = _kind_of_object(path)
    if name is None:
        raise FormatError(f"{path} is of no kind that is known. {_hint(begins)}", path=str(path))
    return FORMATS[name]


def _kind_of_list(path: Path) -> str | None:
    """Whose list it is, by its first elements; an empty one may be anybody's."""
    found = [element.value for element in islice(elements(path), LOOKED_AT)]
    if any(map(chatgpt.is_conversation, found)):
        return chatgpt.NAME
    ours = any(openai_json.is_message(v) or openai_json.is_conversation(v) for v in found)
    return openai_json.NAME if ours or not found else None


def _kind_of_object(path: Path) -> str | None:
    with opened(path) as file:
        if jsonl.is_header(file.readline()):
            return jsonl.NAME
    if openai_json.is_lines(path):
        return "openai-jsonl"
    value = fields_of(whole(path))
    return next((name for name, is_it in _OBJECTS.items() if is_it(value)), None)


def _is_notebook(value: Any) -> bool:
    return isinstance(value.get("cells"), list) and "nbformat" in value


_OBJECTS: dict[str, Callable[[Any], bool]] = {
    ipynb.NAME: _is_notebook,
    chatgpt.NAME: chatgpt.is_conversation,
    openai_json.NAME: openai_json.is_conversation,
}


def _hint(begins: bytes) -> str:
    if begins.startswith(_ZIP):
        return "It is an archive: unpack it, and take conversations.json from it."
    if begins.startswith(_UTF16):
        return "It is UTF-16 text: save it as UTF-8."
    if not begins:
        return "It is empty."
    known = "; ".join(form.description for form in FORMATS.values() if form.load)
    return f"What can be read: {known}."
