"""Damage of the file of conversations: copies that help against it, and its repair.

The file is copied once a day. A damaged one is never changed or removed: it is set
aside, and a new one gets what can still be read, and the rest from the copies. Of two
programs that find the damage, one repairs it and the other waits. Knows no screen.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lmtui import paths
from lmtui.chat.database import Damaged, connected
from lmtui.chat.records import node_of
from lmtui.chat.store import Store, copies, describe, summary_of
from lmtui.errors import LmtuiError
from lmtui.notation import counted

_BESIDE = ("", "-wal", "-shm")
_KEYS = {"conversation": "id", "message": "key"}
_DAY = 24 * 3600.0
_MOST = 10_000_000  # rows that are looked for in a damaged file

_UNREADABLE = (sqlite3.Error, OverflowError, UnicodeDecodeError, MemoryError)
"""Exceptions that SQLite raises on damage; a row may claim a length that would need all
memory."""

T = TypeVar("T")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Salvaged:
    damaged_copy: Path
    """The path of the damaged file now."""
    conversations: int
    messages: int
    """The numbers of conversations and messages in the new file."""
    copied: int
    """How many of the messages are those of a copy."""

    @property
    def words(self) -> str:
        from_copy = f", {self.copied:,} of them from a copy" if self.copied else ""
        return (
            "The file of your conversations was damaged."
            f" {counted(self.messages, 'message')} in"
            f" {counted(self.conversations, 'conversation')} could be read and are"
            f" kept{from_copy}; the damaged file is {self.damaged_copy}."
        )


class RepairedStore:
    """The store of a file, opened when it is first used, and replaced where it is
    damaged, which is told to `tell`."""

    def __init__(self, file: Path, tell: Callable[[Salvaged], None]) -> None:
        self._file, self._tell = file, tell
        self._store: Store | None = None

    def use(self, work: Callable[[Store], T]) -> T:
        """Call `work` with the store and return its result; it is called again after a
        repair.

        Raises:
            LmtuiError: the store can't be used, or is damaged and can't be replaced.
        """
        try:
            return work(self._opened())
        except Damaged as error:
            damaged = LmtuiError(
                "the conversation file is damaged",
                f"{self._file} ({error})",
                "Make its folder writable: the file is then replaced, and what can be"
                " read of it is saved.",
            )
        self.close()
        try:
            if (salvaged := replaced(self._file)) is not None:
                self._tell(salvaged)
            return work(self._opened())
        except (LmtuiError, Damaged) as error:
            raise damaged from error

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._file)
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None


def back_up(store: Store) -> None:
    """Copy the file of a store, where the last copy is a day old; what fails costs
    nothing but the copy. A file that is not whole becomes no copy."""
    last, before = copies(store.file)
    if last.exists() and abs(time.time() - last.stat().st_mtime) < _DAY:
        return
    new = store.file.with_name(f"{store.file.name}.copy-new")
    try:
        os.close(paths.open_private(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        with closing(sqlite3.connect(new)) as copy, store.reading() as connection:
            connection.backup(copy)
            (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if said == "ok":
            with suppress(FileNotFoundError):
                os.replace(last, before)
            os.replace(new, last)
    except (OSError, sqlite3.Error, LmtuiError, Damaged):
        pass
    finally:
        _remove(new)


def replaced(file: Path) -> Salvaged | None:
    """Replace a damaged store; None where another program has done that.

    Raises:
        LmtuiError: the store can't be opened or replaced.
    """
    new = file.with_name(f"{file.name}.new")
    try:
        with paths.locked_folder(file.parent), ExitStack() as stack:
            if _is_whole(file):
                return None
            # The new file is complete before the damaged one is moved, so that a killed
            # program leaves everything as it was.
            _remove(new)
            stack.callback(_remove, new)
            with closing(Store(new)) as store:
                copied = _salvage(file, store)
                sql = "SELECT messages FROM conversation WHERE deleted = 0"
                lengths = [row["messages"] for row in store.rows(sql)]
            aside = _put_aside(file)
            os.replace(new, file)
    except OSError as error:
        raise paths.unwritable(file.parent, error) from error
    return Salvaged(aside, len(lengths), sum(lengths), copied)


def _remove(file: Path) -> None:
    for end in _BESIDE:
        Path(f"{file}{end}").unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    """Return whether all of a file is readable and its indexes agree with its
    tables."""
    try:
        with closing(Store(file)) as store, store.reading() as connection:
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


def _salvage(damaged: Path, store: Store) -> int:
    """Fill a new store with what can be read of a damaged file, row by row, and the
    rest from its copies; return how many messages are from these."""
    copied, adopted = 0, set[int]()
    when = damaged.stat().st_mtime
    with ExitStack() as stack, store.writing() as new:
        files = [file for file in (damaged, *copies(damaged)) if file.exists()]
        sources = [stack.enter_context(closing(_source(file))) for file in files]
        for number in _numbers(sources, "conversation"):
            # One that the damaged file does not have was removed.
            if (row := _row(sources[0], "conversation", number)) is _LOST:
                row = _first(sources[1:], "conversation", number)
            _put(new, "conversation", row)
        for number in _numbers(sources, "message"):
            # Messages are removed with their conversation only.
            own = row = _row(sources[0], "message", number)
            if not own:
                row = _first(sources[1:], "message", number)
            if not row:
                continue
            id_ = row["conversation"]
            if not (is_put := _put(new, "message", row)) and own:
                about = _first(sources[1:], "conversation", id_)
                if not about:
                    adopted.add(id_)
                    about = {"id": id_, "uid": f"salvaged-{id_}", "touched": id_,
                             "created": when, "updated": when}  # fmt: skip
                is_put = _put(new, "conversation", about) and _put(new, "message", row)
            copied += is_put and not own
        for id_ in adopted:
            _describe(new, id_, when)
        new.execute(
            "UPDATE conversation SET messages = (SELECT COUNT(*) FROM message"
            " WHERE conversation = conversation.id AND id > 0 AND gone = 0)"
        )
        new.execute(
            "DELETE FROM conversation WHERE NOT EXISTS (SELECT 1 FROM message"
            " WHERE conversation = conversation.id AND id > 0)"
        )
    return copied


_LOST: Row = {}
"""A row that can't be read."""


def _source(file: Path) -> sqlite3.Connection:
    """Open a file so that any bytes are accepted as text."""
    connection = connected(file, "mode=ro")
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def _numbers(sources: list[sqlite3.Connection], table: str) -> range:
    """Return the range of a table's keys."""
    last = 0
    for source in sources:
        for sql in (
            f"SELECT MAX({_KEYS[table]}) FROM {table}",
            f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",
        ):
            with suppress(*_UNREADABLE):
                found = source.execute(f"SELECT CAST(({sql}) AS INTEGER)").fetchone()[0]
                last = max(last, found or 0)
    return range(1, min(last, _MOST) + 1)


def _row(source: sqlite3.Connection, table: str, number: int) -> Row | None:
    """Return the row with a key; None without one, `_LOST` where it can't be read."""
    try:
        sql = f"SELECT * FROM {table} WHERE {_KEYS[table]} = ?"
        found = source.execute(sql, (number,)).fetchone()
        if found is None:
            return None
        row = dict(found)
        if table == "conversation":
            summary_of(row)
            return row
        # Generated columns can't be written.
        role = row.pop("role")
        del row["content"], row["indexed"]
        is_root = row["id"] == 0
        return row if node_of(row) and is_root == (role == "system") else _LOST
    except (*_UNREADABLE, ValueError, Damaged):
        return _LOST


def _first(sources: list[sqlite3.Connection], table: str, number: int) -> Row | None:
    """Return the row with a key of the first source that has it."""
    rows = (_row(source, table, number) for source in sources)
    return next(filter(None, rows), None)


def _put(connection: sqlite3.Connection, table: str, row: Row | None) -> bool:
    """Insert a row; return whether that is possible."""
    if not row:
        return False
    values = ", ".join(f":{name}" for name in row)
    try:
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})",
                           row)  # fmt: skip
    except sqlite3.IntegrityError:
        return False
    return True


def _describe(connection: sqlite3.Connection, id_: int, when: float) -> None:
    """Fill in what a list shows of a conversation that has lost its row."""
    sql = "SELECT * FROM message WHERE conversation = ? AND gone = 0 ORDER BY id"
    messages = [node_of(row) for row in connection.execute(sql, (id_,))]
    describe(connection, id_, messages)
    connection.execute(
        "UPDATE conversation SET updated = ?, touched = id,"
        " title = IIF(title = '', 'Salvaged conversation ' || id, title) WHERE id = ?",
        (when, id_),
    )
