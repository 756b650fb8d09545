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
                    return Element(number=number, value=value)
            self._more()

    def _passed_over(self) -> str | None:
        """Goes on behind what cannot be read; says so if that is the end of the file."""
        while (end := _end(self._text, self._at)) is None:
            if not self._more():
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
