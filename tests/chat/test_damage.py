"""A file of conversations with damage of every kind goes on being used."""

from __future__ import annotations

import os
import queue
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.repair import RepairedStore, Salvaged, back_up, replaced
from lmtui.chat.search import search
from lmtui.chat.store import UNDO, Store, copies
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


@pytest.mark.parametrize("copied", [False, True])
def test_store_survives_the_loss_of_any_page(
    whole: Path, tmp_path: Path, copied: bool
) -> None:
    data, dice, lost = whole.read_bytes(), random.Random(1), []
    for page in range(len(data) // PAGE):
        smashed = bytearray(data)
        smashed[page * PAGE : (page + 1) * PAGE] = dice.randbytes(PAGE)
        file = damaged(tmp_path / "one", bytes(smashed))
        if copied:
            copies(file)[0].write_bytes(data)
        found, facts = goes_on(file)
        assert len(facts) <= 1, page
        lost.append(4 * COUNT + len(NEW) - sum(map(len, found.values())))
    if copied:
        assert not any(lost)
    else:  # a leaf has less than twenty messages, what leads to them has all
        assert sum(count >= 20 for count in lost) <= 4


def test_copy_gives_back_what_a_damaged_file_lost(whole: Path, tmp_path: Path) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    with closing(Store(file)) as store:
        store.remove(2)
        back_up(store)
        chat = Conversation()
        exchange(chat, *NEW)
        store.save({"new": chat.take_changes()})
    before = b'"content":"question 3 w'
    data = file.read_bytes()
    assert data.count(before) == 1
    file.write_bytes(data.replace(before, b"\0" * 9 + before[9:]))
    salvaged = replaced(file)
    assert salvaged is not None and salvaged.copied == 1
    assert "1 of them from a copy" in salvaged.words
    found, _ = goes_on(file)
    assert 2 not in found and COUNT + 1 in found
    assert found[4][0].startswith("question 3 w")


def test_copy_is_made_once_a_day_of_a_whole_file_only(
    whole: Path, tmp_path: Path
) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    last, before = copies(file)
    with closing(Store(file)) as store:
        back_up(store)
        first = last.read_bytes()
        store.rename(1, "another title")
        back_up(store)
        assert last.read_bytes() == first and not before.exists()
        os.utime(last, (0, 0))
        back_up(store)
        assert before.read_bytes() == first != last.read_bytes()
        os.utime(last, (0, 0))
        with store.reading() as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_master SET rootpage = 3 WHERE name ="
                               " 'message'")  # fmt: skip
        back_up(store)
        assert before.read_bytes() == first
    assert not list(file.parent.glob("*copy-new*"))
    with closing(Store(last)) as copy:
        assert copy.load(1).about.title == "another title"


def test_what_is_removed_permanently_is_in_no_copy(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    last, before = copies(file)
    with closing(Store(file)) as store:
        before.touch()
        back_up(store)
        store.purge()
        assert last.exists() and before.exists()  # nothing was removed
        store.remove(1)
        assert not last.exists() and not before.exists()
        store.mark(2, "deleted", True)
        back_up(store)
        later = time.time() + UNDO + 1
        monkeypatch.setattr(time, "time", lambda: later)
        store.purge()
        assert not last.exists()


def test_program_makes_a_copy(tmp_path: Path) -> None:
    used, chat = Used(tmp_path / "chats.db"), Conversation()
    exchange(chat, *NEW)
    used.keep("a", chat.take_changes())
    assert used.keeper.close()
    with closing(Store(copies(tmp_path / "chats.db")[0])) as copy:
        assert copy.count() == 1


@pytest.mark.parametrize("distance", [3001, 977])
def test_store_survives_bytes_lost_at_regular_distances(
    whole: Path, tmp_path: Path, distance: int
) -> None:
    for start in (0, 1234, 8192):
        smashed = bytearray(whole.read_bytes())
        for at in range(start, len(smashed) - 8, distance):
            smashed[at : at + 8] = b"\xff" * 8
        file = damaged(tmp_path / "one", bytes(smashed))
        copies(file)[0].write_bytes(whole.read_bytes())
        found, facts = goes_on(file)
        assert len(facts) == 1 and len(found) == COUNT + 1


def test_lost_conversation_row_is_rebuilt_from_its_messages(
    whole: Path, tmp_path: Path
) -> None:
    file = damaged(tmp_path / "one", whole.read_bytes())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM conversation WHERE id = 3")
        connection.execute("DELETE FROM words_data WHERE id > 10")
    used = Used(file)
    used.ask(lambda store: search(store, "again"))
    about = {each.id: each for each in used.ask(lambda store: store.listed())}[3]
    assert about.title.startswith("question 2 w") and about.preview == "a b"
    assert about.messages == 4 and about.model == "fake"
    assert about.updated == pytest.approx(file.stat().st_mtime, abs=60)
    used.keeper.close()


def test_file_is_replaced_only_if_it_is_damaged(whole: Path, tmp_path: Path) -> None:
    file, told = damaged(tmp_path / "one", whole.read_bytes()), list[Salvaged]()
    with closing(RepairedStore(file, told.append)) as store:
        assert store.use(Store.count) == COUNT and not told
    file.write_bytes(b"not a database at all" * 100)
    with closing(RepairedStore(file, told.append)) as store:
        assert store.use(Store.count) == 0
    (salvaged,) = told
    assert salvaged.conversations == salvaged.copied == 0
    assert salvaged.damaged_copy.read_bytes().startswith(b"not a database")
    assert str(salvaged.damaged_copy) in salvaged.words


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
        find = "SELECT rootpage FROM sqlite_master WHERE name = 'message'"
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
