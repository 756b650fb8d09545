"""The part of a text that was found, as it was written, with what was searched for set off."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from dexto_magic.search.folding import Place, extends, placed, words
from dexto_magic.search.query import Term

Pieces: TypeAlias = tuple[tuple[str, bool], ...]
"""Parts of a text in order, and of each whether it is a hit."""

LONGEST = 160
"""Characters of a snippet."""

_ROOM = LONGEST - 2
"""Those of them that are the text's: an ellipsis may stand at each end."""

_LEAD = 50
"""Characters that stand before the first hit, if the text has them."""

_GIVE = 20
"""Characters that are given up at an end so that no word is cut there."""

_TOGETHER = _ROOM - _LEAD - _GIVE
"""Characters within which hits are sure to be in one snippet."""

_MOST_HITS = 200
"""Hits of a term that are looked at: enough to choose well, however often it stands in a text."""

_JOINER = "\u200d"
_SKINS = ("\U0001f3fb", "\U0001f3ff")
_FLAGS = ("\U0001f1e6", "\U0001f1ff")


class _Span(NamedTuple):
    """Where a term is found."""

    start: int
    end: int
    term: int


def snippet(text: str, terms: Sequence[Term]) -> Pieces:
    """Where most of the terms stand together, on one line; the beginning if none is found."""
    text = " ".join(text.split())
    spans = _spans(text, terms)
    left, right = _window(text, spans)
    pieces = [("…" if left else "", False)]
    at = left
    for span in spans:
        start, end = max(span.start, at), min(span.end, right)
        if start < end:
            pieces += [(text[at:start], False), (text[start:end], True)]
            at = end
    pieces += [(text[at:right], False), ("…" if right < len(text) else "", False)]
    return tuple(_joined(pieces))


def _spans(text: str, terms: Sequence[Term]) -> list[_Span]:
    """Where the terms are found, in order."""
    runs = list(words(text))
    flat = [token for _, _, tokens in runs for token in tokens]
    home = [
        (run, number) for run, (_, _, tokens) in enumerate(runs) for number in range(len(tokens))
    ]
    known: dict[int, list[Place]] = {}

    def place(index: int) -> Place:
        run, number = home[index]
        start, end, _ = runs[run]
        if run not in known:
            known[run] = placed(text[start:end])
        token, first, last = known[run][number]
        return Place(token, start + first, start + last)

    spans = [
        _whole(text, place(first).start, place(first + len(term.tokens) - 1).end, number)
        for number, term in enumerate(terms)
        for first in islice(term.starts(flat), _MOST_HITS)
    ]
    return sorted(spans)


def _whole(text: str, start: int, end: int, term: int) -> _Span:
    """The span, with what cannot be shown apart from it."""
    while not _may_part(text, start):
        start -= 1
    while not _may_part(text, end):
        end += 1
    return _Span(start, end, term)


def _window(text: str, spans: Sequence[_Span]) -> tuple[int, int]:
    """From where to where a text is shown: whole if it is short."""
    if len(text) <= _ROOM:
        return 0, len(text)
    start, end = _best(spans)
    end = min(end, start + _ROOM)
    right = min(len(text), max(end, start - _LEAD + _ROOM, _ROOM))
    left = max(0, right - _ROOM)
    return _later(text, left, start), _earlier(text, right, end)


def _best(spans: Sequence[_Span]) -> tuple[int, int]:
    """The first span of those hits that have the most different terms near one another."""
    best, most = (0, 0), 0
    for index, first in enumerate(spans):
        together = set()
        for span in spans[index:]:
            if span.end > first.start + _TOGETHER:
                break
            together.add(span.term)
        if max(1, len(together)) > most:
            best, most = (first.start, first.end), max(1, len(together))
    return best


def _later(text: str, left: int, limit: int) -> int:
    """The next beginning of a word, if it is near, else the next place where a text may be cut."""
    if left == 0:
        return 0
    for position in range(left, min(left + _GIVE, limit) + 1):
        if text[position - 1] == " ":
            return position
    return next((at for at in range(left, limit) if _may_part(text, at)), limit)


def _earlier(text: str, right: int, limit: int) -> int:
    """The end of a word before, if it is near, else the last place where a text may be cut."""
    if right == len(text):
        return right
    for position in range(right, max(right - _GIVE, limit) - 1, -1):
        if text[position] == " ":
            return position
    return next((at for at in range(right, limit, -1) if _may_part(text, at)), limit)


def _may_part(text: str, position: int) -> bool:
    """Whether a text may be cut there: not amid what is one character to a reader.

    Near enough to https://www.unicode.org/reports/tr29/ for emoji, flags, marks and Korean.
    """
    if position in (0, len(text)):
        return True
    before, after = text[position - 1], text[position]
    if before == _JOINER or extends(after) or unicodedata.category(after) == "Cf":
        return False
    if _SKINS[0] <= after <= _SKINS[1]:
        return False
    if not _FLAGS[0] <= after <= _FLAGS[1]:
        return True
    flags = 0
    while flags < position and _FLAGS[0] <= text[position - 1 - flags] <= _FLAGS[1]:
        flags += 1
    return flags % 2 == 0


def _joined(pieces: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """The pieces that hold something, neighbours of the same kind as one."""
    joined: list[tuple[str, bool]] = []
    for text, is_hit in pieces:
        if text and joined and joined[-1][1] == is_hit:
            joined[-1] = (joined[-1][0] + text, is_hit)
        elif text:
            joined.append((text, is_hit))
    return joined
