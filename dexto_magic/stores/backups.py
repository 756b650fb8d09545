"""A store's content as one file, whole, while others use the store.

It is copied by SQLite out of one snapshot: a database that is in use must not be copied as a file,
as what was written last is in its log. The copy is written anew, so that nothing that was deleted
before is in it, and read back before it gets its name.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from dexto_magic.conversation.transfer import BackedUp
from dexto_magic.errors import FormatError, StoreCorruptedError, StoreError
from dexto_magic.stores import rows
from dexto_magic.stores.codec import decode
from dexto_magic.stores.errands import Errand
from dexto_magic.stores.faults import DATABASE, is_fault, translation
from dexto_magic.stores.inspection import connected, inspect
from dexto_magic.stores.premises import size_of
from dexto_magic.stores.protocol import Tell

_PAGES = 2000
"""Pages that are copied between two pauses: 8 MB."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems say that have no hard links."""


def back_up(home: Path, path: Path, *, replace_file: bool, errand: Errand, tell: Tell) -> BackedUp:
    """Writes the content of the store in a folder to a file; none of it is there before all of it is.

    Args:
        home: The store's folder.
        path: The file, on any file system.
        replace_file: Whether a file that is there is replaced.
        errand: For whom.
        tell: Is told how far it is, in pages.

    Raises:
        FormatError: The file is there already, or cannot be written.
        StoreError: There is no store, or it cannot be read.
        GivenUpError: Nobody waits for it any more.
    """
    folder = home / "sessions"
    check_target(home, path, replace_file=replace_file)
    with errand.at_work():
        inspect(folder)
        if not size_of(folder / DATABASE):
            raise StoreError(
                f"There is no store in {home}, so there is nothing to back up. If there should be "
                "one, see whether DEXTO_HOME names the right folder.",
                path=str(home),
            )
        return written(folder, path, replace_file=replace_file, errand=errand, tell=tell)


def check_target(home: Path, path: Path, *, replace_file: bool) -> None:
    """Lets pass a file that a backup may be written to.

    Raises:
        FormatError: It is there already, is a link, or is inside the store.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise _unfit(path, "is a link, or no file: a backup goes into none of those. Name a file.")
    if path.exists() and not replace_file:
        raise _unfit(
            path,
            "is there already, and was left as it is. Choose another name, or add --force to "
            "replace it.",
        )
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(home)):
        raise _unfit(
            path,
            "is inside the store's own folder, where what is deleted must be gone. Choose a place "
            "outside of it.",
        )


def written(
    folder: Path, path: Path, *, replace_file: bool, errand: Errand, tell: Tell
) -> BackedUp:
    """The same as ``back_up`` of a database that may be read, inside ``errand.at_work()``."""
    part = path.with_name(f".dexto-{secrets.token_hex(8)}.part")
    try:
        with _told(path, folder), closing(_scratch(errand)) as copy:
            with closing(errand.accompany(connected(folder))) as source:
                _copied(source, copy, errand, tell)
            with _writing(path):
                descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    copy.execute("VACUUM INTO ?", (str(part),))
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        sessions, messages = _read_back(part, path, errand)
        with _writing(path):
            size = part.stat().st_size
            _put_in_place(part, path, replace_file=replace_file)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return BackedUp(path=str(path), sessions=sessions, messages=messages, size=size)


def _scratch(errand: Errand) -> sqlite3.Connection:
    """A database without a name, for a moment: SQLite's own, of which a kill leaves nothing."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=True)
    return errand.accompany(connection)


def _copied(
    source: sqlite3.Connection, copy: sqlite3.Connection, errand: Errand, tell: Tell
) -> None:
    def step(_: int, remaining: int, total: int) -> None:
        tell(total - remaining, total)
        errand.pause()

    # Held by a snapshot, or each write of others would have it begin anew.
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_master").fetchall()
    source.backup(copy, pages=_PAGES, progress=step)
    source.execute("ROLLBACK")
    ((verdict,),) = copy.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise StoreCorruptedError(
            f"The store is damaged, so no backup of it was written ({verdict}). See "
            "`dexto-magic doctor`."
        )


def _read_back(part: Path, path: Path, errand: Errand) -> tuple[int, int]:
    """How many sessions and messages there are in a backup that was just written."""
    uri = f"{part.absolute().as_uri()}?mode=ro&immutable=1"
    sessions = messages = 0
    try:
        with closing(errand.accompany(sqlite3.connect(uri, uri=True))) as written_one:
            ((verdict,),) = written_one.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise _unfit(path, f"could not be read back ({verdict}); nothing was kept of it.")
            select = "SELECT mode, value FROM Cache WHERE key >= 's:' AND key < 's;' AND raw = 1"
            for mode, data in written_one.execute(select):
                sessions += 1
                with suppress(StoreCorruptedError):  # it is as it was
                    messages += rows.record_from_json(decode(mode, data)).messages
    except sqlite3.DatabaseError as error:
        if errand.is_given_up():
            raise
        raise _unfit(path, f"could not be read back ({error}); nothing was kept of it.") from error
    return sessions, messages


def _put_in_place(part: Path, path: Path, *, replace_file: bool) -> None:
    if replace_file:
        part.replace(path)
    else:
        try:
            os.link(part, path, follow_symlinks=False)  # fails where something came meanwhile
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            part.replace(path)
    synchronise(path.parent)


def synchronise(folder: Path) -> None:
    """Has the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unfit(path: Path, why: str) -> FormatError:
    return FormatError(f"{path} {why}", path=str(path))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong while the file is written into errors of ours."""
    try:
        yield
    except FileExistsError as error:
        raise _unfit(path, "came to be meanwhile, and was left as it is.") from error
    except OSError as error:
        raise _unfit(path, f"cannot be written: {error.strerror or error}.") from error
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            raise _unfit(path, f"cannot be written: {error}.") from error
        raise


@contextmanager
def _told(path: Path, folder: Path) -> Iterator[None]:
    """Turns what goes wrong while the store is read into errors of ours."""
    try:
        yield
    except StoreCorruptedError as error:
        error.path = error.path or str(folder / DATABASE)
        raise
    except sqlite3.Error as error:
        code = error.sqlite_errorcode & 0xFF if hasattr(error, "sqlite_errorcode") else 0
        if code == sqlite3.SQLITE_INTERRUPT or not is_fault(error):
            raise
        if code == sqlite3.SQLITE_FULL:
            raise _unfit(
                path,
                "cannot be written: there is no room for a copy in the folder for temporary files "
                "(TMPDIR names it).",
            ) from error
        raise translation(error, folder) from error
