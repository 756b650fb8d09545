"""What was typed to search for, as terms: never as a program of SQLite's.

Words, ``"phrases"`` and beginnings of words (``regress*``); a message is found that holds all of
them, in any order. A word of one or two letters is a word like any other: ``R``, ``C`` and ``pi``
are names, and who wants what begins with them types ``pi*``. There are no operators, so that
``AND``, ``-x`` and ``col:`` are found as they stand in a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dexto_magic.errors import SettingsError
from dexto_magic.search.folding import folded

MOST_TERMS = 100
"""Terms of one query: more than anybody types, few enough for any index."""

_SIGNS = str.maketrans({**dict.fromkeys("“”„«»＂", '"'), "＊": "*"})
"""Quotes and stars as other keyboards have them."""

_PART = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')


@dataclass(frozen=True, kw_only=True)
class Term:
    """Tokens that follow one another.

    Attributes:
        tokens: The tokens, one at least.
        prefix: Whether the last is only how a token begins.
    """

    tokens: tuple[str, ...]
    prefix: bool = False

    def starts(self, tokens: Sequence[str]) -> Iterator[int]:
        """Where among the tokens of a text these are."""
        *words, last = self.tokens
        for first, token in enumerate(tokens[len(words) :]):
            is_last = token.startswith(last) if self.prefix else token == last
            if is_last and (not words or tokens[first : first + len(words)] == words):
                yield first


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a query. A quote that is not closed is passed over.

    Raises:
        SettingsError: There is nothing in it to search for, or too much.
    """
    terms = []
    for phrase, star, word in _PART.findall(text.translate(_SIGNS)):
        part = (phrase or word) + star
        # A word that goes on has no space after it, so a star there stands for what follows.
        body = folded(part.removesuffix("*"))
        tokens = tuple(body.split())
        if tokens:
            prefix = part.endswith("*") and not body.endswith(" ")
            terms.append(Term(tokens=tokens, prefix=prefix))
    if not terms:
        raise SettingsError(
            f'There is nothing to search for in {text!r}: type words, a "phrase" in quotes, or '
            "the beginning of a word and a star, such as regress*.",
            option="query",
        )
    if len(terms) > MOST_TERMS:
        raise SettingsError(
            f"A search takes at most {MOST_TERMS} words, not {len(terms)}: type a few, or some of "
            'them as a "phrase" in quotes.',
            option="query",
        )
    return tuple(dict.fromkeys(terms))


def expression(terms: Sequence[Term]) -> str:
    """The terms for FTS5, each a quoted string, in which nothing but its end is special.

    https://sqlite.org/fts5.html#full_text_query_syntax
    """
    return " AND ".join(f'"{" ".join(term.tokens)}"{" *" if term.prefix else ""}' for term in terms)
