"""Halves of characters: how they are joined, and what becomes of one that stays alone.

A Python string can hold half of a surrogate pair, as JSON can spell one; nothing that is encoded
as UTF-8 can, neither a request nor a row of the store.
"""

from __future__ import annotations

import codecs


class SurrogateJoiner:
    r"""Makes whole characters of text that comes in pieces.

    In JSON, ``"\ud83d"`` may end one piece and ``"\ude00"`` begin the next. Half a character
    that stays alone becomes U+FFFD: it could be neither stored nor sent.
    """

    def __init__(self) -> None:
        # UTF-16 is where halves are joined; its decoder keeps an open half for the next piece.
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def feed(self, text: str) -> str:
        """``text``, after a half kept from before and without a half at its end."""
        return self._decoder.decode(text.encode("utf-16-le", "surrogatepass"))

    def flush(self) -> str:
        """What is left at the end."""
        return self._decoder.decode(b"", final=True)


def whole_characters(text: str) -> str:
    """``text`` as it can be encoded: lone surrogates are replaced, all else stays."""
    try:  # most text can be as it is, which is a hundred times faster to find out than to mend
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    joiner = SurrogateJoiner()
    return joiner.feed(text) + joiner.flush()
