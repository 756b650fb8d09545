"""The elements of a large JSON array, one after the other.

A file with all conversations of somebody's years may have hundreds of megabytes. No more of it is
held than one element, and one that is damaged, or a file that is cut short, costs no other.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dexto_magic.errors import FormatError
from dexto_magic.formats.records import opened

PIECE = 1 << 20
"""Characters that are read at a time, at least."""

_CUT_SHORT = "the file ends before it does"
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_STRUCTURE = re.compile(r'["\[\]{},]')
_ESCAPED_OR_END = re.compile(r'\\.?|"', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Element:
    """An element of an array.

    Attributes:
        number: Its place, counted from 1.
        value: Its value; ``None`` if it cannot be read.
        error: Why it cannot be read; ``None`` if it can.
    """

    number: int
    value: Any = None
    error: str | None = None


def elements(path: Path) -> Iterator[Element]:
    """The elements of the array that a file holds; what is no UTF-8 in it is read as U+FFFD.

    Raises:
        FormatError: The file cannot be read, or holds no array.
    """
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        reader = _Reader(text)
        if not reader.skip("["):
            raise FormatError(
                f"{path} is no list of conversations: it does not begin with `[`.", path=str(path)
            )
        yield from reader.elements()


class _Reader:
    """Some text of the file, and how much of it is done with."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._ended = False
        self._cut_short = False
        self._alike: _Alike | None = None

    def elements(self) -> Iterator[Element]:
        """The elements up to the end of the array that has begun."""
        number = 0
        while (next_one := self._peek()) and next_one != "]":
            number += 1
            yield self._element(number)
            if not self.skip(",") and self._peek() not in ("]", ""):
                # No comma: what is there up to the next one belongs to nothing.
                number += 1
                yield Element(number=number, error=self._passed_over() or "it is no JSON")
                self.skip(",")
        if not next_one and not self._cut_short:
            yield Element(number=number + 1, error=_CUT_SHORT)

    def _peek(self) -> str:
        """The next character that is no space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self, character: str) -> bool:
        """Goes on behind the character, if it is what comes next."""
        found = self._peek() == character
        self._at += found
        return found

    def _element(self, number: int) -> Element:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                # It may only not be there as a whole yet.
                if self._ended or _end(self._text, self._at) is not None:
                    why = "it is nested too deeply" if isinstance(error, RecursionError) else None
                    why = why or f"it is not valid JSON: {getattr(error, 'msg', error)}"
                    return Element(number=number, error=self._passed_over() or why)
            else:
                # The beginning of a number is a number.
                if end < len(self._text) or self._ended:
                    self._at = end
                    self._alike = self._alike or _Alike.of(value)
                    return Element(number=number, value=value)
            self._more()

    def _passed_over(self) -> str | None:
        """Goes on behind what cannot be read; says so if that is the end of the file.

        Where its brackets and quotation marks do not lead to something that can be read, they are
        what is damaged: then it is the next element that looks like the first which was read.
        """
        while True:
            end = _end(self._text, self._at)
            alike = self._alike.next_in(self._text, self._at) if self._alike else None
            goes_on = end is not None and _goes_on(self._text, end)
            if alike is not None and (end is None or not goes_on or alike < end):
                end = alike
                break
            if goes_on or not self._more():
                break
        if end is None:
            self._at = len(self._text)
            self._cut_short = True
            return _CUT_SHORT
        self._at = end
        return None

    def _more(self) -> bool:
        """Reads on: as much again as there is, so that the whole costs no more than the file."""
        rest = self._text[self._at :]
        more = self._file.read(max(PIECE, len(rest)))
        self._text, self._at = rest + more, 0
        self._ended = not more
        return bool(more)


@dataclass(frozen=True)
class _Alike:
    """How the elements of a list look that are objects: the key that comes first, and all of them."""

    begins: re.Pattern[str]
    keys: frozenset[str]

    @classmethod
    def of(cls, value: Any) -> _Alike | None:
        """How a value looks, if it is an object with keys."""
        if not isinstance(value, dict) or not value:
            return None
        first = re.escape(json.dumps(next(iter(value)), ensure_ascii=False))
        return cls(re.compile(rf",\s*(?=\{{\s*{first}\s*:)"), frozenset(value))

    def next_in(self, text: str, start: int) -> int | None:
        """Where the comma before the next such element stands, if that is there as a whole."""
        for comma in self.begins.finditer(text, start):
            try:
                value, _ = _DECODER.raw_decode(text, comma.end())
            except (ValueError, RecursionError):
                continue
            if 2 * len(self.keys & value.keys()) > len(self.keys):
                return comma.start()
        return None


def _goes_on(text: str, end: int) -> bool:
    """Whether the list ends there, or a comma and another element follow that can be read."""
    if text.startswith("]", end):
        return not text[end + 1 :].strip()
    try:
        _, behind = _DECODER.raw_decode(text, _after_space(text, end + 1))
    except (ValueError, RecursionError):
        return False
    return text[_after_space(text, behind) :][:1] in (",", "]")


def _after_space(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return start if space is None else space.end()


def _end(text: str, start: int) -> int | None:
    """Where the element that begins at ``start`` ends, be it valid or not; ``None`` if it does not."""
    depth, at = 0, start
    while (match := _STRUCTURE.search(text, at)) is not None:
        character, at = match[0], match.end()
        if character == '"':
            end = _end_of_string(text, at)
            if end is None:
                return None
            at = end
        elif character in "[{":
            depth += 1
        elif depth == 0 and character in ",]":
            return match.start()
        elif depth and character in "]}":
            depth -= 1
    return None


def _end_of_string(text: str, start: int) -> int | None:
    for match in _ESCAPED_OR_END.finditer(text, start):
        if match[0] == '"':
            return match.end()
    return None
