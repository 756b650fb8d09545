"""Conversations without loss, one JSON object on a line: what this package writes and reads again.

The first line names the format and its version. Each conversation is a line that tells of the
session, and how many lines follow for it: its messages, those that are not in view, summaries and
titles, and the bytes of attachments. They are the forms of ``conversation.wire``.

Every file is UTF-8, and every line JSON that any program reads. Where JSON cannot say what there
is (NaN, an infinity, half a surrogate pair), the line says it as well as it can be said, and in
``exact`` the same in Python's JSON, as base64 of UTF-8 with surrogates.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from dexto_magic.conversation import wire
from dexto_magic.conversation.line import Line
from dexto_magic.conversation.messages import Aside, Message
from dexto_magic.conversation.session import Session, Transcript, valid_session_id
from dexto_magic.errors import FormatError, InvalidSessionIdError
from dexto_magic.formats.checked import checked
from dexto_magic.formats.records import MAX_TURN, Broken, Loaded, opened, session_name

NAME = "jsonl"

FORMAT = "dexto-magic"
"""What the first line says that the file is."""

VERSION = 1
"""The version that is written; a later one may mean what this package does not know."""

_SURROGATE = re.compile("[\ud800-\udfff]")


# -- writing ---------------------------------------------------------------------------------------


def dump(transcripts: Iterable[Transcript], file: BinaryIO) -> int:
    """Writes conversations whole, and says how many; no more than one is held at a time."""
    header: dict[str, Any] = {"kind": "header", "format": FORMAT, "version": VERSION}
    if isinstance(transcripts, Sized):
        header["sessions"] = len(transcripts)
    file.write(_line(header))
    written = 0
    for transcript in transcripts:
        file.writelines(map(_line, _rows(transcript)))
        written += 1
    return written


def _rows(transcript: Transcript) -> Iterator[dict[str, Any]]:
    shown, others, asides = transcript.messages, transcript.others, transcript.asides
    head = {"kind": "session", **wire.session_to_json(transcript.session)}
    if transcript.line is not None:
        head["line"] = wire.line_to_json(transcript.line)
    yield {**head, "rows": len(shown) + len(others) + len(asides) + len(transcript.files)}
    yield from map(wire.message_to_json, shown)
    for message in others:
        yield {**wire.message_to_json(message), "in_view": False}
    yield from map(wire.aside_to_json, asides)
    for digest, data in transcript.files.items():
        yield {"kind": "file", "digest": digest, "data": base64.b64encode(data).decode("ascii")}


def _line(row: dict[str, Any]) -> bytes:
    try:
        # Half a surrogate pair is an encoding error, which is a ValueError, too.
        return f"{_json(row, allow_nan=False)}\n".encode()
    except ValueError:
        exact = base64.b64encode(_json(row).encode("utf-8", "surrogatepass")).decode("ascii")
        return f"{_json({**_sayable(row), 'exact': exact})}\n".encode()


def _json(row: dict[str, Any], *, allow_nan: bool = True) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=allow_nan, separators=(",", ":"))


def _sayable(value: Any) -> Any:
    """The value as well as JSON can say it."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_sayable(name): _sayable(item) for name, item in value.items()}
    return [_sayable(item) for item in value] if isinstance(value, list | tuple) else value


# -- reading ---------------------------------------------------------------------------------------


def load(path: Path, *, now: datetime | None = None) -> Iterator[Loaded | Broken]:  # noqa: ARG001  # every reader takes it
    """The conversations of a file that ``dump`` wrote; what is broken is told by its line.

    A message that cannot be read is missing in its conversation, a session's own line costs all of
    it. Where a turn has lost all of its messages, it counts as forgotten.

    Raises:
        FormatError: It is no such file, or of a later version.
    """
    with opened(path) as file:
        _header(file.readline(), path)
        draft: _Draft | None = None
        number, lost = 1, False
        for number, line in enumerate(file, start=2):
            if not line.strip():
                continue
            row, error = _row(line)
            if row.get("kind") == "session":
                if draft is not None:
                    yield from draft.ended(number, "there are {} lines fewer than it says")
                draft, error = _Draft.begun(row, line)
            elif draft is not None:
                error = draft.skip(line, error) if error else draft.add(row, line)
            elif lost:
                continue  # told already
            else:
                why = error or "it belongs to no session"
                error = f"{why}; what follows is left out up to the next session"
            lost = draft is None
            if error is not None:
                yield Broken(number=number, reason=f"line {number}: {error}")
            if draft is not None and not draft.missing:
                yield from draft.ended(number, "")
                draft = None
        if draft is not None:
            yield from draft.ended(number + 1, "the file ends {} lines before it does")


def total(path: Path) -> int | None:
    """How many conversations a file says that it has, if it says so.

    Raises:
        FormatError: It is no such file, or of a later version.
    """
    with opened(path) as file:
        sessions = _header(file.readline(), path).get("sessions")
    return sessions if type(sessions) is int else None


def is_header(line: bytes) -> bool:
    """Whether a line is the first of such a file, of whatever version."""
    row, _ = _row(line)
    return row.get("kind") == "header" and row.get("format") == FORMAT


def _header(line: bytes, path: Path) -> dict[str, Any]:
    if not is_header(line):
        raise FormatError(
            f"{path} was not written by this package: its first line does not say so.",
            path=str(path),
            line=1,
        )
    row, _ = _row(line)
    version = row.get("version")
    if type(version) is not int or version > VERSION:
        raise FormatError(
            f"{path} is of version {version} of its format, and this package reads {VERSION}. "
            "Update dexto-magic, or export it anew with the version that is installed.",
            path=str(path),
            line=1,
        )
    return row


def _row(line: bytes) -> tuple[dict[str, Any], str | None]:
    """The object of a line, or why there is none."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
        if isinstance(row, dict) and "exact" in row:
            exact = base64.b64decode(row["exact"], validate=True)
            row = json.loads(exact.decode("utf-8", "surrogatepass"))
    except RecursionError:
        return {}, "it is nested too deeply"
    except (ValueError, TypeError) as error:
        return {}, f"it is not valid JSON ({error})"
    return (row, None) if isinstance(row, dict) else ({}, "it is no JSON object")


class _Draft:
    """A conversation that is being read."""

    def __init__(self, session: Session, line: Line | None, rows: int) -> None:
        self.missing = rows
        self._session = session
        self._line = line
        self._shown: list[Message] = []
        self._others: list[Message] = []
        self._asides: list[Aside] = []
        self._files: dict[str, bytes] = {}
        self._hash = hashlib.sha256()
        self._damaged = False

    @classmethod
    def begun(cls, row: dict[str, Any], line: bytes) -> tuple[_Draft | None, str | None]:
        """The conversation of a session's line, or why there is none."""
        try:
            session = checked(_session(row))
            turns = row.get("line")
            view = None if turns is None else checked(wire.line_from_json(turns))
            rows = row["rows"]
            if type(rows) is not int or rows < 0:
                raise TypeError("'rows' is not what it must be")
            if view is not None and max(view.end, view.made) > MAX_TURN:
                raise ValueError(f"it has more than {MAX_TURN:,} turns")
        except wire.MISREAD as error:
            return None, f"the session cannot be read, nor can what follows of it: {_why(error)}"
        draft = cls(session, view, rows)
        draft._hash.update(line.strip())
        return draft, None

    def add(self, row: dict[str, Any], line: bytes) -> str | None:
        """Takes in a line, or says why it cannot."""
        try:
            self._take(row)
        except wire.MISREAD as error:
            return self.skip(line, _why(error))
        self.missing -= 1
        self._hash.update(line.strip())
        return None

    def skip(self, line: bytes, error: str) -> str:
        """Goes on without a line."""
        self.missing -= 1
        self._hash.update(line.strip())
        self._damaged = True
        return f"{error}; session {self._session.id!r} lacks it"

    def ended(self, number: int, shortage: str) -> Iterator[Loaded | Broken]:
        """The conversation as far as it could be read, and what is missing of it at its end."""
        if self.missing:
            self._damaged = True
            why = shortage.format(self.missing)
            yield Broken(number=number, reason=f"session {self._session.id!r}: {why}")
        transcript = Transcript(
            session=self._session,
            messages=tuple(self._shown),
            others=tuple(self._others),
            asides=tuple(self._asides),
            line=self._line,
            files=self._files,
        )
        if self._damaged:
            transcript = _mended(transcript)
        yield Loaded(transcript=transcript, identity=f"{NAME}:{self._hash.hexdigest()}")

    def _take(self, row: dict[str, Any]) -> None:
        kind = row.get("kind")
        if kind in wire.MESSAGES:
            message = checked(wire.message_from_json(row))
            if not 0 <= message.turn <= MAX_TURN:
                raise ValueError(f"turn {message.turn} is none that a conversation can have")
            (self._shown if row.get("in_view", True) else self._others).append(message)
        elif kind in wire.ASIDES:
            self._asides.append(checked(wire.aside_from_json(row)))
        elif kind == "file":
            data = base64.b64decode(row["data"], validate=True)
            digest = hashlib.sha256(data).hexdigest()
            # Kept under another's digest, it would be taken for that attachment ever after.
            if row["digest"] != digest:
                raise ValueError("the file is not what its digest says")
            self._files[digest] = data
        else:
            raise ValueError(f"there is no such kind of line as {kind!r}")


def _session(row: dict[str, Any]) -> Session:
    session = wire.session_from_json(row)
    try:
        return replace(session, id=valid_session_id(session.id))
    except InvalidSessionIdError:
        return replace(session, id=session_name(session.id, "imported"))


def _mended(transcript: Transcript) -> Transcript:
    """The conversation with counts and a line that know only of messages that are there."""
    held = {message.turn for message in transcript.messages}
    line = transcript.line
    if line is not None:
        lost = set(range(1, line.end + 1)) - held
        line = replace(
            line,
            versions={turn: v for turn, v in line.versions.items() if turn not in lost},
            replaced=tuple(step for step in line.replaced if step.turn not in lost),
            undone=tuple(step for step in line.undone if step.turn not in lost),
            gone=tuple(sorted(lost.union(line.gone))),
        )
    session = replace(
        transcript.session, message_count=len(transcript.messages), turn_count=len(held)
    )
    return replace(transcript, session=session, line=line)


def _why(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
