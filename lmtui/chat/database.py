"""The SQLite connection to the conversations' file, and the meaning of its errors.

Uses a write-ahead log, syncs every commit, and waits for other programs. Knows no
messages.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from lmtui import paths
from lmtui.chat import schema
from lmtui.chat.cjk import spaced
from lmtui.errors import LmtuiError

WAIT = 5.0
"""Seconds to wait for another program's transaction."""


class Damaged(Exception):
    """The file is damaged: it is not a whole database."""


class Database:
    """A connection to the file; used by one thread at a time.

    Opening and using it raises `LmtuiError` where the file can't be used, and `Damaged`
    where it is damaged. A file that can't be written to is opened for reading.
    """

    def __init__(self, file: Path) -> None:
        """Open the file, which is created where there is none."""
        self.file = file
        self._open()

    def _open(self) -> None:
        file = self.file
        if file.exists() and not file.is_file():
            # SQLite reports a folder as a disk error, and blocks on a pipe.
            raise LmtuiError(
                "conversations can't be saved here",
                f"{file} is {'a folder' if file.is_dir() else 'not an ordinary file'}",
                "Move it away, or set LMTUI_HOME to another folder.",
            )
        with _explained(file):
            self._connection = _opened(file)
        self._inode = _inode(file)

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        if _inode(self.file) != self._inode:
            # Another program has replaced a damaged file, or the user removed it.
            self.close()
            self._open()
        with _explained(self.file):
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction: all of the block is written, or
        nothing."""
        with self.reading() as connection, schema.transaction(connection):
            yield connection

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows that a statement reads."""
        with self.reading() as connection:
            return connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Return the first row that a statement reads; None without one."""
        return next(iter(self.rows(f"{sql} LIMIT 1", *values)), None)


def connected(file: Path, how: str = "mode=rw") -> sqlite3.Connection:
    """Connect to a file that is there, with SQLite's parameters of a URI."""
    connection = sqlite3.connect(
        f"file:{quote(str(file))}?{how}",
        uri=True,
        timeout=WAIT,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    # The SQL function that the triggers and the view use.
    connection.create_function("spaced", 1, spaced, deterministic=True)
    return connection


def _opened(file: Path) -> sqlite3.Connection:
    folder = paths.ensure_folder(file.parent)
    for each in folder.glob(f"{file.name}*"):  # also its log and damaged copies
        paths.make_private(each)
    try:
        # Only where it is missing: closing a file releases the locks of all of this
        # process's connections (https://www.sqlite.org/howtocorrupt.html, section 2.2).
        if not file.exists():
            os.close(paths.open_private(file, os.O_RDWR | os.O_CREAT))
    except OSError as error:
        raise paths.unwritable(folder, error) from error
    if not os.access(file, os.W_OK) or not os.access(folder, os.W_OK):
        return _read_only(file)
    connection = connected(file)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        schema.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_only(file: Path) -> sqlite3.Connection:
    for how in ("mode=ro", "immutable=1"):  # the second needs no files beside it
        connection = connected(file, how)
        try:
            if schema.version(connection) == schema.VERSION:
                return connection
        except sqlite3.OperationalError:
            pass
        connection.close()
    raise paths.unwritable(file.parent)


def _inode(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error, file) from error
    except (UnicodeDecodeError, MemoryError) as error:
        # Damaged text, or SQLite's message about it; a row with a false, huge length.
        raise Damaged(str(error) or "the length of a row") from error


def _meaning(error: sqlite3.Error, file: Path) -> Exception:
    """Return the exception that stands for an error of SQLite.

    All statements are this program's own, so an error that is not the disk's or another
    program's fault means a damaged file. A damaged full-text index, for example, is
    reported as SQLITE_ERROR.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    # A damaged header can say that the file must not be written to.
    forbidden = code == sqlite3.SQLITE_READONLY and os.access(file, os.W_OK)
    if code not in _WORDS or forbidden:
        return Damaged(str(error))
    title, hint = _WORDS[code]
    return LmtuiError(title, f"{file} ({error})", hint)


_MOVE = "Make the folder writable, or set LMTUI_HOME to another one."
_HELD = (
    "another program holds the conversations",
    "Wait until it is done; it is tried again.",
)
_WORDS = {
    sqlite3.SQLITE_FULL: (
        "the disk is full",
        "Free some space; what is on the screen is kept as soon as there is room.",
    ),
    sqlite3.SQLITE_READONLY: ("the conversations can't be written to", _MOVE),
    sqlite3.SQLITE_CANTOPEN: ("the conversations can't be opened", _MOVE),
    sqlite3.SQLITE_PERM: ("the conversations can't be opened", _MOVE),
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_NOMEM: (
        "there is not enough memory to keep the conversations",
        "Close other programs; it is tried again.",
    ),
    sqlite3.SQLITE_INTERRUPT: ("the conversations were not read", "Try it again."),
    sqlite3.SQLITE_IOERR: (
        "the disk can't be read or written",
        "Look at its free space and its health; it is tried again.",
    ),
}
