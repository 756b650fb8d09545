"""What SQLite and the system raise, and what becomes of it."""

import errno
import sqlite3

import pytest

from dexto_magic.errors import (
    StoreBusyError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from dexto_magic.stores.faults import is_fault, translation
from dexto_magic.stores.table import Table


def sqlites(kind, code, text="as SQLite says it"):
    error = kind(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlites(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT), StoreCorruptedError),
        (sqlites(sqlite3.DatabaseError, sqlite3.SQLITE_NOTADB), StoreCorruptedError),
        (sqlites(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT_INDEX), StoreCorruptedError),
        (sqlites(sqlite3.OperationalError, sqlite3.SQLITE_FULL), StoreFullError),
        (sqlites(sqlite3.OperationalError, sqlite3.SQLITE_READONLY_DBMOVED), StoreReadOnlyError),
        (sqlites(sqlite3.OperationalError, sqlite3.SQLITE_BUSY_SNAPSHOT), StoreBusyError),
        (sqlites(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_READ), StoreError),
        (sqlites(sqlite3.DatabaseError, sqlite3.SQLITE_AUTH), StoreError),
        (sqlites(sqlite3.DataError, sqlite3.SQLITE_TOOBIG), StoreError),
        (sqlite3.OperationalError("Python's own, without a code"), StoreError),
        (OSError(errno.ENOSPC, "no space"), StoreFullError),
        (OSError(errno.EDQUOT, "no quota"), StoreFullError),
        (OSError(errno.EROFS, "read-only"), StoreReadOnlyError),
        (PermissionError(errno.EACCES, "no"), StoreError),
    ],
    ids=str,
)
def test_a_fault_of_the_place_becomes_an_error_that_names_it(tmp_path, error, kind):
    assert is_fault(error)
    told = translation(error, tmp_path)
    assert type(told) is kind
    assert str(tmp_path) in str(told)


def test_the_first_of_a_chain_counts_as_a_failed_roll_back_hides_it(tmp_path):
    first = sqlites(sqlite3.OperationalError, sqlite3.SQLITE_FULL)
    second = sqlites(sqlite3.OperationalError, sqlite3.SQLITE_ERROR)
    second.__context__ = first
    assert type(translation(second, tmp_path)) is StoreFullError
    mistake = sqlites(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT)
    second.__context__ = mistake
    assert not is_fault(second)


def test_a_mistake_in_this_package_is_not_taken_for_a_damaged_database(tmp_path):
    table = Table(tmp_path / "sessions", timeout=5)
    with pytest.raises(sqlite3.ProgrammingError), table.translated():
        table._cache._sql("SELECT ?", (1, 2))
    with pytest.raises(sqlite3.IntegrityError), table.translated():
        table._cache._sql("INSERT INTO Settings VALUES ('count', 1)")
    table.close()
