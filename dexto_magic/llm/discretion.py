"""What must not be shown: keys, and what a URL may hold of an account.

Messages, reprs and verbose tracebacks end up in notebooks, and notebooks are shared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

from dexto_magic.errors import DextoError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SHORTEST_KEY = 8
"""Characters. What is shorter, such as ``ollama`` or ``x``, is a dummy for a server that wants
none: it is no secret, and with it the words of a message would go."""

_SHORTEST_END = 3
"""Characters of a key's beginning or end that show whose they are."""

_LONGEST_END = 256
"""Characters beside the stars of a key that are looked at: a bound for what is no key at all."""

# How keys begin at the providers of the table.
_BEGINNING = r"(?:sk|pk|rk|gsk|xai|hf|tgp)[-_]|AIza|AQ\."
_KEY_BEGINS = re.compile(rf"(?<![A-Za-z0-9])(?:{_BEGINNING})")

_WHOLE_KEY = re.compile(r"(?<![\w-])(?:sk-|gsk_|xai-|hf_|AIza)[\w-]{16,}")

# A long word without any punctuation is a key, too.
_KEY = re.compile(rf"\s*(?:{_BEGINNING}|Bearer\s|[A-Za-z0-9]{{32,}}\s*$)")

# What servers put in place of a key's middle. Dots are prose as well, stars hardly ever.
_MASK = re.compile(r"(?P<stars>[*•]{3,})|\.{3,}|…")
_BEFORE_MASK = re.compile(r"[\w.+/~-]*\Z")
_AFTER_MASK = re.compile(rf"(?:[\w+/=~-]|[*•]{{3,}}){{0,{_LONGEST_END}}}")

_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")


class Secret(str):
    """A key: a string in every way, except that its ``repr`` does not show it.

    Debuggers and verbose tracebacks print the ``repr`` of local variables.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[key]'"


class BaseURL(str):
    """A URL: a string in every way, except that its ``repr`` is that of ``shown_url``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(shown_url(self))


def looks_like_key(text: str) -> bool:
    """Whether ``text``, or what follows a colon in it, is probably a key."""
    return any(_KEY.match(part) for part in (text, *text.split(":")))


def holds_key(text: str) -> bool:
    """Whether a key stands somewhere in ``text``, by how those of the table's providers look."""
    return bool(_WHOLE_KEY.search(text))


def shown(text: str) -> str:
    """``text`` in quotes, unless it looks like a key."""
    return "(not shown: it looks like a key)" if looks_like_key(text) else repr(text)


def shown_url(url: str) -> str:
    """``url`` without what may be secret in it: user, password, query and fragment.

    Of what is no proper URL, only what follows the last ``@``: a ``/``, ``?`` or ``#`` in a
    password ends the host too early.
    """
    try:
        parts = urlsplit(url)
        proper = bool(parts.netloc) and parts.port != -1  # to ask for the port is to check it
    except ValueError:
        proper = False
    if proper:
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl()
    scheme = _SCHEME.match(url)
    start = scheme[0] if scheme else ""
    return start + re.split(r"[?#]", url[len(start) :].rpartition("@")[2])[0]


def redacted(text: str, key: str | None) -> str:
    """``text`` with ``[key]`` in place of the key and of what servers leave of one.

    That is the key as it is or as a URL spells it, and a word with its middle starred or dotted
    out: the ends are nobody's business either. A word with dots is prose unless it begins as keys
    do, or as the key does, or ends as the key does.
    """
    secret = key if key and len(key) >= _SHORTEST_KEY else ""
    for spelling in {secret, quote(secret, safe="")} - {""}:
        text = text.replace(spelling, "[key]")
    pieces, done = [], 0
    for mask in _MASK.finditer(text):
        if mask.start() < done:
            continue
        before = _BEFORE_MASK.search(text[max(done, mask.start() - _LONGEST_END) : mask.start()])
        after = _AFTER_MASK.match(text, mask.end())
        front, back = (before[0] if before else ""), (after[0] if after else "")
        if (front or back) if mask["stars"] else _of_key(front, back, secret):
            pieces += [text[done : mask.start() - len(front)], "[key]"]
            done = mask.end() + len(back)
    return "".join(pieces) + text[done:]


def _of_key(front: str, back: str, secret: str) -> bool:
    if _KEY_BEGINS.search(front):
        return True
    begins = len(front) >= _SHORTEST_END and secret.startswith(front)
    return begins or (len(back) >= _SHORTEST_END and secret.endswith(back))


def discreet(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """``function``, such that its errors show nothing of what it was called with.

    A key may be in it, where it belongs or elsewhere, and a verbose traceback prints the variables
    of every frame. So the traceback of an error of ours, which is about what the caller said, ends
    with the caller.
    """

    @wraps(function)
    def call(*args: _P.args, **options: _P.kwargs) -> _R:
        try:
            return function(*args, **options)
        except BaseException as exc:
            del args, options
            link: BaseException | None = exc if isinstance(exc, DextoError) else None
            while link is not None:  # not its context, which may be an error of the caller's own
                link.__traceback__ = None
                link = link.__cause__
            raise

    return call
