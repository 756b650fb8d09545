"""The database of the ``llm`` command line tool: opened without a trace, read as it is.

Its schema has grown with each version, so what is asked for is what the tables have. Nothing is
ever written: a database in the middle of a write is copied first.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from dexto_magic.conversation.messages import Attachment, Usage
from dexto_magic.errors import FormatError
from dexto_magic.formats.foreign import (
    attached,
    attachment,
    count_in,
    fields_of,
    name_of_type,
    name_of_url,
    parsed,
    text_in,
    text_or_none,
)
from dexto_magic.formats.records import opened

MAGIC = b"SQLite format 3\0"
"""How every SQLite database begins. https://www.sqlite.org/fileformat2.html"""

Row: TypeAlias = Mapping[str, Any]

_WAL = b"\x02"
_VERSIONS = slice(18, 20)
_BEGINNING = 100
_PATIENCE = 5.0
"""Seconds to wait for somebody who is writing."""


class Database:
    """The tables that there are.

    Attributes:
        path: The file.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._columns: dict[str, set[str]] = {}
        # No views and no virtual tables: those run what they were made of.
        found = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE TABLE%'"
        )
        for (name,) in found.fetchall():
            info = self._connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
            self._columns[name] = {column for (column,) in info.fetchall()}

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is such a table, with these columns."""
        return table in self._columns and self._columns[table].issuperset(columns)

    def rows(self, table: str, *columns: str) -> list[Row]:
        """All rows of a table, in the order in which they were made, with a few short columns.

        The column ``rowid`` leads to the rest.
        """
        if table not in self._columns:
            return []
        known = [column for column in columns if column in self._columns[table]]
        names = ", ".join(f'"{column}"' for column in ["rowid", *known])
        # The names are our own.
        found = self._connection.execute(f'SELECT {names} FROM "{table}" ORDER BY rowid')  # noqa: S608  # names of ours
        return [dict(zip(("rowid", *known), row, strict=True)) for row in found]

    def row(self, table: str, rowid: int) -> Row:
        """A row with all its columns."""
        return next(iter(self.where(table, "rowid", rowid)), {})

    def where(self, table: str, column: str, value: object, *, order: str = "rowid") -> list[Row]:
        """The rows where a column has a value; none if there is no such table or column."""
        if table not in self._columns or not {column, order} <= {"rowid", *self._columns[table]}:
            return []
        found = self._connection.execute(
            f'SELECT * FROM "{table}" WHERE "{column}" = ? ORDER BY "{order}"',  # noqa: S608  # ours
            (value,),
        )
        names = [column for column, *_ in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def index(self, table: str, column: str) -> dict[Any, list[int]]:
        """The rowids of a table by a column that has no index of its own."""
        found: dict[Any, list[int]] = {}
        for row in self.rows(table, column):
            found.setdefault(row.get(column), []).append(row["rowid"])
        return found


@contextmanager
def database(path: Path) -> Iterator[Database]:
    """The database of a file.

    A journal or a write-ahead log beside it has what is not in the file yet, and to read it is to
    write: then all of it is copied. One in WAL mode without a log is read as immutable, since
    SQLite would make a log to look at it. https://www.sqlite.org/wal.html#read_only_databases

    Raises:
        FormatError: It cannot be read, or is none.
    """
    with opened(path) as file:
        head = file.read(_BEGINNING)
    if not head.startswith(MAGIC):
        raise FormatError(f"{path} is no SQLite database.", path=str(path))
    beside = [Path(f"{path}{end}") for end in ("-wal", "-journal")]
    busy = [side for side in beside if side.is_file() and side.stat().st_size]
    try:
        with tempfile.TemporaryDirectory() as folder:
            options = "mode=ro"
            if busy:
                for side in [path, *busy]:
                    shutil.copyfile(side, Path(folder, side.name))
                place, options = Path(folder, path.name), "mode=rw"
            else:
                place = path.absolute()
                options += "&immutable=1" if _WAL in head[_VERSIONS] else ""
            uri = f"{place.as_uri()}?{options}"
            with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
                connection.text_factory = lambda data: data.decode("utf-8", "replace")
                connection.execute("PRAGMA query_only = ON")
                connection.execute("PRAGMA trusted_schema = OFF")
                yield Database(connection, path)
    except (sqlite3.Error, OSError) as error:
        raise FormatError(
            f"{path} cannot be read: {error}. If it is in use, try again later; if it is damaged, "
            "`sqlite3 FILE .recover` may save some of it.",
            path=str(path),
        ) from error


def attachment_in(row: Row) -> tuple[Attachment, dict[str, bytes]]:
    """The attachment of a row, and its bytes if they are there; nothing is looked up elsewhere."""
    media_type, content = text_or_none(row.get("type")), row.get("content")
    url, place = text_in(row.get("url")), text_in(row.get("path"))
    name = name_of_url(url) if url else place.replace("\\", "/").rpartition("/")[2]
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    if not isinstance(content, bytes) or not content:
        return attachment(name or "attachment", media_type=media_type), {}
    return attached(content, name or name_of_type(media_type), media_type=media_type)


def usage_in(row: Row) -> Usage | None:
    """The tokens of a row, if there are any; details are the provider's own, those of OpenAI known."""
    spent, made = count_in(row.get("input_tokens")), count_in(row.get("output_tokens"))
    if spent is None and made is None:
        return None
    details = fields_of(json_in(row.get("token_details")))
    read = fields_of(details.get("prompt_tokens_details")).get("cached_tokens")
    thought = fields_of(details.get("completion_tokens_details")).get("reasoning_tokens")
    return Usage(
        input_tokens=spent or 0,
        output_tokens=made or 0,
        cached_tokens=count_in(read),
        reasoning_tokens=count_in(thought),
    )


def json_in(text: object) -> Any:
    """The JSON value of a column; ``None`` if it has none."""
    try:
        return parsed(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def seconds_of(row: Row) -> float | None:
    """How long the reply of a row took."""
    took = count_in(row.get("duration_ms"))
    return None if took is None else took / 1000


def ordered(rows: Iterable[Row]) -> Sequence[Row]:
    """The rows in the order that they tell themselves."""
    return sorted(rows, key=lambda row: count_in(row.get("order")) or 0)
