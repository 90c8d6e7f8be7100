"""A broken file of conversations: put aside, and what can be read of it kept.

Owns the way from a broken file to a whole one. The broken one is never changed and
never removed. Where two programs find it at once, one of them does this and the other
one waits. Knows no screen.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lmtui import paths
from lmtui.chat.database import Damaged
from lmtui.chat.store import Store

_BESIDE = ("", "-wal", "-shm")
_GAP = 1000  # rows without an answer after which a broken table has no more


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of a broken file."""

    aside: Path
    """Where it is now."""
    conversations: int
    messages: int
    """How much of it is kept again."""

    @property
    def words(self) -> str:
        """It in a sentence."""
        return (
            f"The file of your conversations was damaged. {self.messages:,} messages in"
            f" {self.conversations:,} conversations were saved; the damaged file is"
            f" kept as {self.aside}."
        )


def open_store(file: Path) -> tuple[Store, Salvaged | None]:
    """The store of a file; of a broken one a new store with what could be read.

    Raises:
        LmtuiError: there can be none here.
    """
    try:
        return Store(file), None
    except Damaged:
        return replaced(file)


def replaced(file: Path) -> tuple[Store, Salvaged | None]:
    """A new store in place of a broken one; the same where another program was faster.

    Raises:
        LmtuiError: there can be none here.
    """
    with _alone(file):
        if _is_whole(file):
            return Store(file), None
        aside = _put_aside(file)
        store = Store(file)
        with suppress(sqlite3.Error, Damaged):
            return store, Salvaged(aside, *_copy(aside, store))
        return store, Salvaged(aside, 0, 0)


def _is_whole(file: Path) -> bool:
    try:
        store = Store(file)
    except Damaged:
        return False
    try:
        with store.database.reading() as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute(
                "INSERT INTO words (words, rank) VALUES ('integrity-check', 1)"
            )
            return bool(said == "ok")
    except Damaged:
        return False
    finally:
        store.close()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep other programs from doing the same."""
    lock = file.with_name(f"{file.name}.lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise paths.unwritable(file.parent, error) from error
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _put_aside(file: Path) -> Path:
    """Rename a file with what belongs to it."""
    number = 1
    while (aside := file.with_name(f"{file.name}.broken-{number}")).exists():
        number += 1
    try:
        for end in _BESIDE:
            with suppress(FileNotFoundError):
                os.rename(f"{file}{end}", f"{aside}{end}")
    except OSError as error:
        raise paths.unwritable(file.parent, error) from error
    return aside


def _copy(aside: Path, store: Store) -> tuple[int, int]:
    """Put every row that can be read into a store; how many of each kind."""
    broken = sqlite3.connect(f"file:{aside}?mode=ro", uri=True)
    broken.row_factory = sqlite3.Row
    try:
        with store.database.writing() as connection:
            kept = [0, 0]
            for place, (table, key) in enumerate(
                (("conversations", "id"), ("messages", "key"))
            ):
                names = _columns(connection, table)
                for row in _rows(broken, table, key):
                    kept[place] += _put(connection, table, names, row)
            connection.execute(
                "DELETE FROM conversations WHERE NOT EXISTS"
                " (SELECT 1 FROM messages WHERE conversation = conversations.id)"
            )
            return kept[0], kept[1]
    finally:
        broken.close()


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")]


def _rows(broken: sqlite3.Connection, table: str, key: str) -> Iterator[sqlite3.Row]:
    """The rows of a table as long as they can be read, then one by one."""
    last = 0
    try:
        for row in broken.execute(f"SELECT * FROM {table} ORDER BY {key}"):
            last = row[key]
            yield row
        return
    except (sqlite3.Error, OverflowError):
        pass
    missed, at = 0, last
    while missed < _GAP:
        at += 1
        row = None
        with suppress(sqlite3.Error, OverflowError):
            found = broken.execute(f"SELECT * FROM {table} WHERE {key} = ?", (at,))
            row = found.fetchone()
        missed = 0 if row else missed + 1
        if row:
            yield row


def _put(
    connection: sqlite3.Connection, table: str, names: list[str], row: sqlite3.Row
) -> bool:
    """Keep a row again; whether it can be."""
    found = {name: row[name] for name in names if name in row.keys()}  # noqa: SIM118
    columns = ", ".join(found)
    places = ", ".join(f":{name}" for name in found)
    try:
        connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", found)
    except sqlite3.IntegrityError:
        # Of a conversation that is lost itself only its messages are left.
        if table != "messages" or not _adopt(connection, row["conversation"]):
            return False
        with suppress(sqlite3.IntegrityError):
            connection.execute(
                f"INSERT INTO {table} ({columns}) VALUES ({places})", found
            )
            return True
        return False
    return True


def _adopt(connection: sqlite3.Connection, id_: object) -> bool:
    """Make a conversation for messages whose own is lost."""
    if not isinstance(id_, int):
        return False
    made = connection.execute(
        "INSERT OR IGNORE INTO conversations"
        " (id, uid, title, touched, created, updated) VALUES (?, ?, ?, ?, 0, 0)",
        (id_, f"salvaged-{id_}", f"Salvaged conversation {id_}", id_),
    )
    return made.rowcount == 1
