"""Recovery of a damaged file of conversations: set it aside, salvage what is readable.

The damaged file is never changed or removed. Of two programs that find the damage, one
repairs it and the other waits. Knows no screen.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lmtui import paths
from lmtui.chat.database import Damaged
from lmtui.chat.message_codec import node_of
from lmtui.chat.sqlite_pages import SqliteValue, leaf_rows
from lmtui.chat.store import Store, describe, is_sound
from lmtui.errors import LmtuiError
from lmtui.notation import counted

_BESIDE = ("", "-wal", "-shm")
_KEYS = {"conversations": "id", "messages": "key"}
_ADDED = {"conversations": 1, "messages": 1}
"""Number of columns that rows of older versions lack."""

_UNREADABLE = (sqlite3.Error, OverflowError, UnicodeDecodeError, MemoryError)
"""Exceptions that SQLite raises on damage.

Examples are a row whose false length would need all memory, and a message that is not
UTF-8.
"""

T = TypeVar("T")
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Salvaged:
    damaged_copy: Path
    """The path of the damaged file now."""
    conversations: int
    messages: int
    """The numbers of conversations and messages in the new file."""

    @property
    def words(self) -> str:
        return (
            "The file of your conversations was damaged."
            f" {counted(self.messages, 'message')} in"
            f" {counted(self.conversations, 'conversation')} could be read and are"
            f" kept; the damaged file is {self.damaged_copy}."
        )


def open_store(file: Path) -> tuple[Store, Salvaged | None]:
    """Open the store of a file; a damaged one is replaced by what could be read of it.

    Raises:
        LmtuiError: the store can't be opened or replaced.
    """
    try:
        return Store(file), None
    except Damaged:
        return replaced(file)


def with_repair(
    file: Path,
    work: Callable[[Store], T],
    tell: Callable[[Salvaged], None],
    *,
    readonly: bool = False,
) -> T:
    """Call `work` with the store of a file and return its result.

    A damaged store is replaced, which is reported to `tell`, and `work` is called
    again.

    Raises:
        LmtuiError: the store can't be used, or is damaged and can't be replaced.
    """
    try:
        with closing(Store(file, readonly=readonly)) as store:
            return work(store)
    except Damaged as error:
        damaged = LmtuiError(
            "the conversation file is damaged",
            f"{file} ({error})",
            "Make its folder writable: the file is then replaced, and what can be read"
            " of it is saved.",
        )
    try:
        store, salvaged = replaced(file)
    except LmtuiError as error:
        raise damaged from error
    if salvaged is not None:
        tell(salvaged)
    with closing(store):
        try:
            return work(store)
        except Damaged as error:
            raise damaged from error


def replaced(file: Path) -> tuple[Store, Salvaged | None]:
    """Replace a damaged store, unless another program has done that.

    Raises:
        LmtuiError: the store can't be opened or replaced.
    """
    with _alone(file):
        if _is_whole(file):
            return Store(file), None
        # The new file is complete before the damaged one is moved, so that a killed
        # program leaves everything as it was.
        new = file.with_name(f"{file.name}.new")
        _remove(new)
        try:
            with closing(Store(new)) as store:
                with _copied(file) as damaged:
                    _copy(damaged, store, when=file.stat().st_mtime)
                sql = "SELECT messages FROM conversations WHERE deleted = 0"
                lengths = [row["messages"] for row in store.rows(sql)]
            aside = _put_aside(file)
            os.replace(new, file)
        except OSError as error:
            raise paths.unwritable(file.parent, error) from error
        finally:
            _remove(new)
        return Store(file), Salvaged(aside, len(lengths), sum(lengths))


def _remove(file: Path) -> None:
    for end in _BESIDE:
        Path(f"{file}{end}").unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    """Return whether all of a file is readable and its indexes agree with its
    tables."""
    try:
        with closing(Store(file)) as store:
            with store.reading() as connection:
                (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
                connection.execute(
                    "INSERT INTO words (words, rank) VALUES ('integrity-check', 1)"
                )
                for table in _KEYS:  # raises where a text is not UTF-8
                    for _ in connection.execute(f"SELECT * FROM {table}"):
                        pass
            store.listed()
            return bool(said == "ok")
    except Damaged:
        return False


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the lock that keeps other programs from repairing at the same time."""
    lock = file.with_name(f"{file.name}.lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise paths.unwritable(file.parent, error) from error
    try:
        with suppress(OSError):  # the file system has no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _put_aside(file: Path) -> Path:
    """Rename a file with its `-wal` and `-shm` files.

    These go first: beside another file SQLite would take them for that file's.
    """
    number = 1
    while (aside := file.with_name(f"{file.name}.broken-{number}")).exists():
        number += 1
    for end in reversed(_BESIDE):
        with suppress(FileNotFoundError):
            os.rename(f"{file}{end}", f"{aside}{end}")
    return aside


@contextmanager
def _copied(damaged: Path) -> Iterator[Path]:
    """Yield a copy of a damaged file, with its write-ahead log applied."""
    with paths.scratch_folder(damaged.parent) as scratch:
        copy = scratch / damaged.name
        for end in _BESIDE[:2]:
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{damaged}{end}", f"{copy}{end}")
        with suppress(*_UNREADABLE), closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield copy


def _copy(damaged: Path, store: Store, *, when: float) -> None:
    """Copy every readable row into a store.

    `when` is the time for conversations that have lost their own.
    """
    with store.writing() as connection:
        adopted = set[int]()
        for row in _rows(damaged, connection, "conversations"):
            if row.get("deleted") not in (0, 1):
                row["deleted"] = 0
            if is_sound({"model": None, **row}):
                _put(connection, "conversations", row)
        for row in _rows(damaged, connection, "messages"):
            if not _is_message(row):
                continue
            del row["key"]  # a damaged tree may repeat a key; SQLite makes a new one
            id_ = row["conversation"]
            about = {"id": id_, "uid": f"salvaged-{id_}", "touched": id_,
                     "created": when, "updated": when}  # fmt: skip
            if not _put(connection, "messages", row) and _put(
                connection, "conversations", about
            ):
                adopted.add(id_)
                _put(connection, "messages", row)
        for id_ in adopted:
            _describe(connection, id_, when)
        connection.execute(
            "UPDATE conversations SET messages = (SELECT COUNT(*) FROM messages"
            " WHERE conversation = conversations.id AND id > 0 AND gone = 0)"
        )
        connection.execute(
            "DELETE FROM conversations WHERE NOT EXISTS"
            " (SELECT 1 FROM messages WHERE conversation = conversations.id"
            " AND id > 0)"
        )


def _rows(damaged: Path, new: sqlite3.Connection, table: str) -> Iterator[Values]:
    """Yield the rows of a table that SQLite can read, then those of its pages.

    Some rows may come twice. `new` has a table of the same columns.
    """
    key = _KEYS[table]
    names = [row["name"] for row in new.execute(f"PRAGMA table_info({table})")]
    least = len(names) - _ADDED[table]
    with suppress(*_UNREADABLE), closing(_connected(damaged)) as connection:
        cursor = connection.execute(f"SELECT * FROM {table} ORDER BY {key}")
        shown = {column[0] for column in cursor.description}
        if set(names[:least]) <= shown <= set(names):
            yield from map(dict, cursor)
            return
    for id_, values in sorted(leaf_rows(damaged.read_bytes()), key=_by_key):
        if least <= len(values) <= len(names):
            yield dict(zip(names, values, strict=False)) | {key: id_}


def _by_key(row: tuple[int, list[SqliteValue]]) -> int:
    return row[0]


def _connected(file: Path) -> sqlite3.Connection:
    """Open a file so that any bytes are accepted as text."""
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def _is_message(row: Values) -> bool:
    try:
        node_of(row)
    except (ValueError, TypeError):
        return False
    first = row["id"] == 0 and row["role"] == "system"
    follows = row["id"] > 0 and row["role"] != "system"
    known = isinstance(row["conversation"], int) and row["conversation"] > 0
    return known and (first or follows)


def _put(connection: sqlite3.Connection, table: str, row: Values) -> bool:
    """Insert a row; return whether that is possible."""
    values = ", ".join(f":{name}" for name in row)
    try:
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})",
                           row)  # fmt: skip
    except sqlite3.IntegrityError:
        return False
    return True


def _describe(connection: sqlite3.Connection, id_: int, when: float) -> None:
    """Fill in what a list shows of a conversation that has lost its row."""
    sql = "SELECT * FROM messages WHERE conversation = ? AND gone = 0 ORDER BY id"
    messages = [node_of(dict(row)) for row in connection.execute(sql, (id_,))]
    describe(connection, id_, messages)
    connection.execute(
        "UPDATE conversations SET updated = ?, touched = id,"
        " title = IIF(title = '', 'Salvaged conversation ' || id, title) WHERE id = ?",
        (when, id_),
    )
