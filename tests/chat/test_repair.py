"""A broken file: put aside, said, and what can be read of it kept."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from lmtui.chat.conversation import Conversation
from lmtui.chat.repair import open_store, replaced
from lmtui.chat.store import Store
from tests.chat.making import exchange

COUNT = 60


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of many conversations, all of it in the database itself."""
    path = tmp_path / "chats.db"
    store = Store(path)
    for number in range(COUNT):
        chat = Conversation()
        exchange(chat, f"question {number} {os.urandom(400).hex()}")
        store.save({str(number): chat.take_changes()})
    store.close()
    return path


def test_undamaged_file_opens_without_salvage(file: Path) -> None:
    store, salvaged = open_store(file)
    assert salvaged is None and store.count() == COUNT
    store.close()


def test_file_that_is_no_database_is_kept_as_damaged_copy(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    file.write_bytes(b"not a database at all" * 100)
    store, salvaged = open_store(file)
    assert salvaged is not None and salvaged.conversations == 0
    assert salvaged.damaged_copy.read_bytes().startswith(b"not a database")
    assert store.count() == 0 and str(salvaged.damaged_copy) in salvaged.words
    store.close()


def test_rows_beside_the_damage_are_salvaged(file: Path) -> None:
    data = bytearray(file.read_bytes())
    page = 4096
    middle = len(data) // page // 2 * page
    for at in range(middle, middle + 6 * page, page):
        data[at : at + 200] = os.urandom(200)
    file.write_bytes(data)
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)
    store = broken(file)
    assert 0 < store.count() <= COUNT
    kept = [store.load(c.id).conversation for c in store.listed()]
    whole = [c for c in kept if [n.role for n in c.path[1:]] == ["user", "assistant"]]
    assert len(whole) > COUNT // 3
    assert all(c.leaf.ids for c in whole)
    with store.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert len(list(file.parent.glob("chats.db.broken-1"))) == 1
    store.close()


def broken(file: Path) -> Store:
    """The store that takes the place of a damaged one, which must be noticed."""
    store, salvaged = replaced(file)
    assert salvaged is not None and salvaged.messages
    return store


def test_messages_without_a_conversation_row_get_a_new_one(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM conversations WHERE id = 3")
        connection.execute("DELETE FROM words_data WHERE id > 10")
    connection.close()
    store = broken(file)
    titles = [found.title for found in store.listed()]
    assert (
        len(titles) == COUNT and sum(t.startswith("question 2 ") for t in titles) == 1
    )
    store.close()


def test_open_store_follows_a_replaced_file(file: Path) -> None:
    other = Store(file)
    file.rename(file.with_suffix(".away"))
    first = Store(file)
    chat = Conversation()
    exchange(chat, "after")
    other.save({"after": chat.take_changes()})
    assert first.count() == 1
    first.close()
    other.close()
