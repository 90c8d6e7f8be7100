"""A file of conversations with damage of every kind goes on being used."""

from __future__ import annotations

import os
import queue
import random
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.repair import open_store, replaced
from lmtui.chat.search import search
from lmtui.chat.store import Store
from lmtui.chat.writer import (
    ConversationWriter,
    FileReplaced,
    WriteFailed,
    WriteRecovered,
    WriterEvent,
)
from lmtui.errors import LmtuiError
from tests.chat.making import exchange

COUNT = 22
PAGE = 4096
NEW = ["something newly said", "and heard"]


def said(chat: Conversation) -> list[str]:
    """The words of a conversation, all branches together: what lost its place in the
    tree may be one of its own."""
    return [node.content for node in chat.nodes if node.id and not node.gone]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of some conversations, one of them long, all in the database itself."""
    file = tmp_path_factory.mktemp("whole") / "chats.db"
    dice, changes = random.Random(5), {}
    for number in range(COUNT):
        chat = Conversation()
        words = [f"w{dice.randrange(10_000)}" for _ in range(60 + 900 * (number == 7))]
        exchange(chat, f"question {number} {' '.join(words)}", "a longer reply")
        exchange(chat, f"again {number}")
        changes[f"uid-{number}"] = chat.take_changes()
    with closing(Store(file)) as store:
        store.save(changes)
    return file


class Used:
    """A keeper on a file, driven as the program drives it."""

    def __init__(self, file: Path) -> None:
        self.facts: list[WriterEvent] = []
        self.now = 100.0
        self.keeper = ConversationWriter(file, self.facts.append, lambda: self.now)

    def keep(self, uid: str, changes: ConversationDelta) -> None:
        done = threading.Event()
        self.keeper.write(uid, changes, then=done.set)
        assert done.wait(30)

    def ask(self, work: Any) -> Any:
        answers: queue.Queue[Any] = queue.Queue()
        self.keeper.ask(work, answers.put, answers.put)
        return answers.get(timeout=30)

    def everything(self) -> dict[int, list[str]]:
        """The words of each conversation that is listed."""
        listed = self.ask(lambda store: store.listed())
        assert not isinstance(listed, LmtuiError), listed
        found, told = {}, len(self.facts)
        for about in listed:
            loaded = self.ask(lambda store, id_=about.id: store.load(id_))
            if len(self.facts) > told:  # damage was found only now
                return self.everything()
            assert not isinstance(loaded, LmtuiError), loaded
            for node in loaded.conversation.nodes:
                node.opened()
            found[about.id] = said(loaded.conversation)
        return found


def goes_on(file: Path) -> tuple[dict[int, list[str]], list[WriterEvent]]:
    """Keep something new in a damaged file, find it again, and look at all the rest;
    what is there then, and what was told. What is told has the right numbers."""
    used = Used(file)
    chat = Conversation()
    exchange(chat, *NEW)
    used.keep("new", chat.take_changes())
    hits = used.ask(lambda store: search(store, "newly said"))
    assert not isinstance(hits, LmtuiError), str(hits)
    assert len(hits) == 1, hits
    used.ask(lambda store: search(store, "question again"))
    found = used.everything()
    assert NEW in found.values()
    assert used.keeper.close()
    for fact in used.facts:
        assert isinstance(fact, FileReplaced), fact
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        saved = fact.salvaged
        assert saved.damaged_copy.is_file()
        there = [words for words in found.values() if words != NEW]
        assert saved.conversations - len(there) in (0, 1)  # the new one may be in it
        assert saved.messages - sum(map(len, there)) in (0, 2)
    return found, used.facts


def damaged(folder: Path, data: bytes) -> Path:
    """A file of these bytes in a folder of its own."""
    file = folder / "chats.db"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    file.write_bytes(data)
    return file


def test_store_survives_the_loss_of_any_page(whole: Path, tmp_path: Path) -> None:
    data, dice, lost = whole.read_bytes(), random.Random(1), []
    for page in range(len(data) // PAGE):
        smashed = bytearray(data)
        smashed[page * PAGE : (page + 1) * PAGE] = dice.randbytes(PAGE)
        found, facts = goes_on(damaged(tmp_path / "one", bytes(smashed)))
        assert len(facts) <= 1, page
        lost.append(4 * COUNT + len(NEW) - sum(map(len, found.values())))
    # A page has less than twenty messages on it; what leads to them has none.
    assert max(lost) < 20 and lost.count(0) > len(lost) // 2, lost


def test_damaged_interior_pages_lose_no_message(tmp_path: Path) -> None:
    """They hide rows from SQL, which are still on their leaf pages."""
    file = tmp_path / "whole" / "chats.db"
    changes = {}
    for number in range(60):
        chat = Conversation()
        for part in range(4):
            exchange(chat, f"{number} {part} {'x' * 3000}")
        changes[f"uid-{number}"] = chat.take_changes()
    with closing(Store(file)) as store:
        store.save(changes)
    with closing(sqlite3.connect(file)) as connection:
        wanted = read_messages(connection)
    data, dice, damaged_pages = file.read_bytes(), random.Random(2), 0
    for start in range(0, len(data), PAGE):
        if data[start + 100 * (start == 0)] in (2, 5):  # of an index, of a table
            smashed = data[:start] + dice.randbytes(PAGE) + data[start + PAGE :]
            store, salvaged = replaced(damaged(tmp_path / "one", smashed))
            with closing(store), store.reading() as connection:
                assert read_messages(connection) == wanted, start // PAGE
            assert salvaged is not None and salvaged.messages == len(wanted) - 60
            damaged_pages += 1
    assert damaged_pages == 5


def read_messages(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """All rows of messages but for their keys, which may be new."""
    names = [row[1] for row in connection.execute("PRAGMA table_info(messages)")]
    found = connection.execute(
        f"SELECT {', '.join(names[1:])} FROM messages ORDER BY conversation, id"
    )
    return list(map(tuple, found))


@pytest.mark.parametrize("distance", [3001, 977])
def test_store_survives_bytes_lost_at_regular_distances(
    whole: Path, tmp_path: Path, distance: int
) -> None:
    for start in (0, 1234, 8192):
        smashed = bytearray(whole.read_bytes())
        for at in range(start, len(smashed) - 8, distance):
            smashed[at : at + 8] = b"\xff" * 8
        found, facts = goes_on(damaged(tmp_path / "one", bytes(smashed)))
        assert len(facts) == 1 and len(found) > COUNT // 2


def test_lost_conversation_row_is_rebuilt_from_its_messages(
    whole: Path, tmp_path: Path
) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM conversations WHERE id = 3")
        connection.execute("DELETE FROM words_data WHERE id > 10")
    used = Used(file)
    used.ask(lambda store: search(store, "again"))
    about = {each.id: each for each in used.ask(lambda store: store.listed())}[3]
    assert about.title.startswith("question 2 w") and about.preview == "a b"
    assert about.messages == 4 and about.model == "fake"
    assert about.updated == pytest.approx(file.stat().st_mtime, abs=60)
    used.keeper.close()


def test_file_is_replaced_only_if_it_is_damaged(whole: Path, tmp_path: Path) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    store, salvaged = open_store(file)
    assert salvaged is None and store.count() == COUNT
    store.close()
    file.write_bytes(b"not a database at all" * 100)
    store, salvaged = open_store(file)
    assert salvaged is not None and salvaged.conversations == 0
    assert salvaged.damaged_copy.read_bytes().startswith(b"not a database")
    assert store.count() == 0 and str(salvaged.damaged_copy) in salvaged.words
    store.close()


def test_open_store_follows_a_replaced_file(whole: Path, tmp_path: Path) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    other = Store(file)
    file.rename(file.with_suffix(".away"))
    first = Store(file)
    chat = Conversation()
    exchange(chat, "after")
    other.save({"after": chat.take_changes()})
    assert first.count() == 1
    first.close()
    other.close()


def test_salvage_does_not_bring_back_removed_conversations(
    whole: Path, tmp_path: Path
) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    with closing(Store(file)) as store:
        for id_ in range(1, COUNT):
            store.remove(id_)
    with closing(sqlite3.connect(file)) as connection:
        find = "SELECT rootpage FROM sqlite_master WHERE name = 'messages'"
        (page,) = connection.execute(find).fetchone()
    data = bytearray(file.read_bytes())
    data[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    found, _ = goes_on(damaged(tmp_path / "two", bytes(data)))
    assert len(found) <= 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if (
        os.geteuid()
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("only root can make a small disk, and not everywhere")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_write_recovers_from_a_full_and_a_read_only_disk(
    disk: Path,
) -> None:
    used, chat = Used(disk / "chats.db"), Conversation()
    exchange(chat, "before")
    used.keep("a", chat.take_changes())
    exchange(chat, "too long " * 50_000)
    used.keep("a", chat.take_changes())
    assert isinstance(used.facts.pop(), WriteFailed)
    _remount(disk, "size=64m")
    used.now += 10
    used.keep("a", ConversationDelta())
    assert isinstance(used.facts.pop(), WriteRecovered)
    used.keeper.close()
    _remount(disk, "ro")
    used = Used(disk / "chats.db")
    exchange(chat, "after")
    used.keep("a", chat.take_changes())
    assert isinstance(used.facts.pop(), WriteFailed)
    _remount(disk, "rw")
    used.now += 10
    used.keep("a", ConversationDelta())
    assert isinstance(used.facts.pop(), WriteRecovered)
    assert used.everything()[1][-2:] == ["after", "a b"]
    used.keeper.close()


def _remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)
