"""How text is compared: cut into tokens that are the same however their letters were typed.

Done here and not by SQLite, whose tokenizers take Chinese for one long word, know no emoji of the
last decade and change with its version. What is left to SQLite is to split at spaces.

A token is a word in small letters without accents, or one character alone: of a script that is
written without spaces (so that any part of such a text is found), a mathematical sign, an emoji, or
one of ``_ # % & @``, without which ``x_train`` and ``C#`` could not be told from other words.
Other punctuation only separates.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

LONGEST = 64
"""Characters of a token; a longer word is several in a row, so that nobody's base64 is a word."""

_ALONE = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul, its letters
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x31FF),  # radicals, kana, bopomofo
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0xA4CF),  # Han, Yi
    (0xA960, 0xA97F),  # Hangul, its letters
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xAC00, 0xD7FF),  # Hangul, its syllables and letters
    (0xF900, 0xFAFF),  # Han
    (0x1AFF0, 0x1B16F),  # kana
    (0x20000, 0x3FFFF),  # Han
)
"""Where scripts are whose words are not separated, or, in Korean, end in particles."""

_SIGNS = "_#%&@"
"""Punctuation that tells names in programs apart."""

_APOSTROPHES = "\u02bb\u02bc\u02bd"
"""Letters by their category, typed where others type an apostrophe."""

_TATWEEL, _ZERO_WIDTH_SPACE = "\u0640", "\u200b"

_POINTS, _ACCENTS = range(10, 37), 200
"""Classes of marks: the points of Hebrew, Arabic and Syriac; from there on, accents of any script.

https://www.unicode.org/reports/tr44/#Canonical_Combining_Class_Values
"""

_LETTERS = str.maketrans("ıđðħłøŧ", "iddhlot") | str.maketrans({"æ": "ae", "œ": "oe", "þ": "th"})
"""Letters that Unicode does not take apart, and that few can type who look for them."""

_ARABIC = str.maketrans("\u0671\u0649\u06cc\u06a9\u0629", "\u0627\u064a\u064a\u0643\u0647")
"""Letters of Arabic and Persian keyboards that stand for one another, as Lucene has it."""

_LONG = re.compile(f"[^ ]{{{LONGEST}}}")
_SPACED = re.compile(r"\S+")


class Place(NamedTuple):
    """A token, and where it stands in the text that it comes from.

    Attributes:
        token: The token.
        start: Where its first character is.
        end: Where the one after its last is.
    """

    token: str
    start: int
    end: int


def folded(text: str) -> str:
    """The tokens of a text with spaces around them; a word that goes on has none at its end."""
    pieces = unicodedata.normalize("NFKC", text).translate(_PIECES)
    return _LONG.sub(r"\g<0> ", pieces)


def tokens(text: str) -> list[str]:
    """The tokens of a text."""
    return folded(text).split()


def words(text: str) -> Iterator[tuple[int, int, list[str]]]:
    """What stands between white space: its start, its end and its tokens.

    No token reaches over white space, so each can be folded, or ``placed``, alone.
    """
    for match in _SPACED.finditer(text):
        yield match.start(), match.end(), tokens(match[0])


def placed(text: str) -> list[Place]:
    """The tokens of a text, and where each of them stands. Much slower than ``tokens``."""
    places: list[Place] = []
    open_word = False
    for start, end in _clusters(text):
        for piece in unicodedata.normalize("NFKC", text[start:end]).translate(_PIECES):
            if piece == " ":
                open_word = False
            elif open_word and len(places[-1].token) < LONGEST:
                last = places[-1]
                places[-1] = Place(last.token + piece, last.start, end)
            else:
                places.append(Place(piece, start, end))
                open_word = True
    return places


def extends(character: str) -> bool:
    """Whether it belongs to the character before it: a mark, or a part of a Korean syllable."""
    first = unicodedata.normalize("NFKD", character)[0]
    return (
        unicodedata.category(first).startswith("M")
        or unicodedata.combining(first) != 0
        or "\u1160" <= first <= "\u11ff"
    )


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Where characters begin and end that are folded together."""
    start = 0
    for position in range(1, len(text)):
        if not extends(text[position]):
            yield start, position
            start = position
    if text:
        yield start, len(text)


class _Pieces(dict[int, str]):
    """What a character becomes: filled as characters are met, since few of them ever are."""

    def __missing__(self, code: int) -> str:
        plain = "".join(filter(_is_kept, unicodedata.normalize("NFKD", chr(code))))
        plain = unicodedata.normalize(
            "NFC", plain.casefold().translate(_LETTERS).translate(_ARABIC)
        )
        piece = "".join(map(_piece, plain))
        self[code] = piece
        return piece


_PIECES = _Pieces()


def _is_kept(character: str) -> bool:
    """Whether it makes a difference: accents, vowel points and what is invisible do not.

    Vowel signs of Indic scripts do, and the marks that make another kana: they are of other classes.
    """
    category = unicodedata.category(character)
    if category == "Cf":
        return character == _ZERO_WIDTH_SPACE
    if category == "Mn":
        mark = unicodedata.combining(character)
        return not (mark in _POINTS or mark >= _ACCENTS or _is_selector(character))
    return category != "Me" and character != _TATWEEL


def _is_selector(character: str) -> bool:
    """Whether it only chooses among looks, or joins: variation selectors, the grapheme joiner."""
    return unicodedata.name(character, "").startswith(("VARIATION SELECTOR", "COMBINING GRAPHEME"))


def _piece(character: str) -> str:
    """A character that is folded: part of a word, a token alone, or a gap."""
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    if character in _SIGNS or category in ("Sm", "Sc", "So", "Co", "Cn"):
        return f" {character} "
    if category[0] not in "LMN" or character in _APOSTROPHES:
        return " "
    code = ord(character)
    return f" {character} " if any(low <= code <= high for low, high in _ALONE) else character
