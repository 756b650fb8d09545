"""The keys of the table, and so the layout of a store.

======================= ========================================================================
``n:<id>``              the session's sid; adding it is what makes a name unique
``s:<sid>``             the session's record; its row count commits its messages
``m:<sid>:<epoch>:<n>`` a message, written once; epoch and n in hexadecimal, of fixed width
``p:<sid>``             the running reply so far; gone when the turn ends
``b:<sid>:<digest>``    the bytes of an attachment, once in a session
``R`` + use + sid       bytes: the most recently used session last; ``use`` is ever growing
``C`` + change + sid    bytes: a session's latest change, numbered throughout the store
``f:<hash>``            a notebook's path and the sid of its own session
``k:<hash>``            a mark of a notebook, and the sids of the sessions that know it
``d:<family>:<sid>``    a fork: the family is the sid and epoch of where its first turns were said
``i:<hash>``            what sessions were restored from, and their sids, the latest last
``x:<sid>:<epoch>``     rows to collect after a reset or delete, or of a session that is still being
                        built, and is no more if who builds it dies; replayed at opening
``x:<sid>:<epoch>:<n>`` something was forgotten: the log is still to be emptied
``v:schema``            the store's version, its codecs, its generation, and the oldest version that
                        may open it
======================= ========================================================================

sid is opaque and of fixed width, so that no session's range holds another's rows, and no text of
a user's is in a key that is scanned by range.
"""

from __future__ import annotations

import hashlib

VERSION = 2
"""The layout as it is written here; a change that an older version could not read raises it.

2: turns have versions and can be undone (``Line``), rows can be forgotten, sessions be forked.
"""

SCHEMA_KEY = "v:schema"

TOMBSTONES = ("x:", "x;")
USES = (b"R", b"S")
CHANGES = (b"C", b"D")
"""First key, and end, of all rows of a kind."""

NUMBER_ENDS = 9
"""Bytes of a key of recency or change that stand before the sid: a letter and the number."""


def name_key(session_id: str) -> str:
    """Where a session's name leads to its sid."""
    return f"n:{session_id}"


def session_key(sid: str) -> str:
    """Where a session's record is."""
    return f"s:{sid}"


def message_key(sid: str, epoch: int, number: int) -> str:
    """Where a message is; counted from 0 within its epoch."""
    return f"m:{sid}:{epoch:08x}:{number:012x}"


def partial_key(sid: str) -> str:
    """Where the running reply is."""
    return f"p:{sid}"


def file_key(sid: str, digest: str) -> str:
    """Where the bytes of an attachment are."""
    return f"b:{sid}:{digest}"


def file_range(sid: str) -> tuple[str, str]:
    """First key, and end, of a session's attachments."""
    return f"b:{sid}:", f"b:{sid};"


def member_key(family: str, sid: str) -> str:
    """Where a fork is one of its family."""
    return f"d:{family}:{sid}"


def family_range(family: str) -> tuple[str, str]:
    """First key, and end, of the forks of a family."""
    return f"d:{family}:", f"d:{family};"


def source_key(source: str) -> str:
    """Where a source leads to the sessions that were restored from it."""
    return f"i:{_digest(source)}"


def use_key(use: int, sid: str) -> bytes:
    """Where a session stands among all by use; sid empty for the first of a number."""
    return b"R" + use.to_bytes(8) + sid.encode()


def change_key(change: int, sid: str) -> bytes:
    """Where a session stands among all by change; sid empty for the first of a number."""
    return b"C" + change.to_bytes(8) + sid.encode()


def home_key(notebook: str) -> str:
    """Where a notebook leads to its own session."""
    return f"f:{_digest(notebook)}"


def mark_key(mark: str) -> str:
    """Where a mark leads to the sessions that know it."""
    return f"k:{_digest(mark)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def tombstone_key(sid: str, epoch: int) -> str:
    """Where a removed epoch of a session waits for its rows to be collected."""
    return f"x:{sid}:{epoch:08x}"


def forgotten_key(sid: str, epoch: int, revision: int) -> str:
    """Where it is marked that rows were forgotten by the step that made a revision."""
    return f"{tombstone_key(sid, epoch)}:{revision:x}"


def sid_of_tombstone(key: str) -> str:
    """The sid in the key of a tombstone, or of a mark that something was forgotten."""
    return key.split(":")[1]


def removed_range(tombstone: str) -> tuple[str, str]:
    """First key, and end, of the messages that a tombstone stands for."""
    rows = "m" + tombstone.removeprefix("x")
    return f"{rows}:", f"{rows};"


def number_of(key: bytes) -> int:
    """The number in a key of recency or change."""
    return int.from_bytes(key[1:NUMBER_ENDS])


def member_of(key: str) -> str:
    """The sid in the key of a fork."""
    return key.rpartition(":")[2]


def sid_of(key: bytes) -> str:
    """The sid in a key of recency or change."""
    return key[NUMBER_ENDS:].decode()
