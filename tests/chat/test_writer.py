"""Keeping on a thread of its own: what is written when, and what failures do."""

from __future__ import annotations

import queue
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.store import Store
from lmtui.chat.writer import (
    ConversationWriter,
    FileReplaced,
    WriteFailed,
    WriteRecovered,
    WriterEvent,
)
from lmtui.errors import LmtuiError
from tests.chat.making import PLAIN, exchange, no_file_grows
from tests.chat.test_message import answer

STARVED = "no thread or process can be started"


def no_thread(thread: threading.Thread) -> None:
    """What Python does where the system starts no more threads."""
    raise RuntimeError("can't start new thread")


class Keeping:
    """A keeper and what it tells."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.told: queue.Queue[WriterEvent] = queue.Queue()
        self.now = 100.0
        self.keeper = ConversationWriter(file, self.told.put, lambda: self.now)

    def kept(self, uid: str, changes: ConversationDelta) -> None:
        """Keep, and wait until that is done."""
        done = threading.Event()
        self.keeper.write(uid, changes, then=done.set)
        assert done.wait(20)

    def answer(self, work: Any) -> Any:
        """What the store says, after everything before."""
        answers: queue.Queue[Any] = queue.Queue()
        self.keeper.ask(work, answers.put, answers.put)
        return answers.get(timeout=20)

    def contents(self) -> list[str]:
        loaded = self.answer(lambda store: store.load(1))
        return [node.content for node in loaded.conversation.path[1:]]


@pytest.fixture
def keeping(tmp_path: Path) -> Any:
    made = Keeping(tmp_path / "chats.db")
    yield made
    made.keeper.close()


def test_writer_creates_no_file_before_the_first_write(tmp_path: Path) -> None:
    keeper = ConversationWriter(tmp_path / "chats.db", lambda fact: None)
    assert keeper.close()
    assert not (tmp_path / "chats.db").exists()


def test_growing_reply_is_written_at_intervals_and_at_its_end(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: queue.Queue[str] = queue.Queue()
    save = Store.save

    def noted(store: Store, changes: Any, known: Any) -> Any:
        saved = save(store, changes, known)
        written.put(changes["a"].nodes[-1].content)
        return saved

    monkeypatch.setattr(Store, "save", noted)
    chat = Conversation()
    asked = chat.say("hello")
    reply = chat.reply(asked.id, model="m", settings=PLAIN)
    keeping.kept("a", chat.take_changes())
    prompt, steps, finish = answer("a", " b", " c", " d")
    chat.lay_out(reply.id, prompt)
    for step in steps[:3]:
        chat.grow(reply.id, [step])
        keeping.keeper.write("a", chat.take_changes())
    assert keeping.contents() == ["hello", "a b c"]  # a question is asked of it all
    assert [written.get(), written.get()] == ["", "a b c"] and written.empty()
    keeping.now += 0.6
    chat.grow(reply.id, steps[3:])
    keeping.keeper.write("a", chat.take_changes())
    assert written.get(timeout=20) == "a b c d"
    chat.finish(reply.id, finish)
    keeping.keeper.write("a", chat.take_changes())
    assert written.get(timeout=20) == "a b c d"  # at once: it is whole


def test_close_writes_held_changes(keeping: Keeping) -> None:
    chat = Conversation()
    asked = chat.say("hello")
    keeping.kept("a", chat.take_changes())
    chat.reply(asked.id, model="m", settings=PLAIN, prefill="begun")
    keeping.keeper.write("a", chat.take_changes())
    assert keeping.keeper.close()
    store = Store(keeping.file)
    assert store.load(1).conversation.leaf.content == "begun"
    store.close()


def test_changes_wait_until_a_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a thread a message is reported as not saved; the next one saves both."""
    keeping = Keeping(tmp_path / "chats.db")
    chat = Conversation()
    asked = chat.say("hello")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        keeping.kept("a", chat.take_changes())
        told = keeping.told.get(timeout=20)
        assert isinstance(told, WriteFailed) and str(told.error).startswith(STARVED)
        assert str(keeping.answer(lambda store: store.load(1))).startswith(STARVED)
    reply = chat.reply(asked.id, model="m", settings=PLAIN)
    prompt, steps, finish = answer("a", " b")
    chat.lay_out(reply.id, prompt)
    chat.grow(reply.id, steps)
    chat.finish(reply.id, finish)
    keeping.kept("a", chat.take_changes())
    assert keeping.told.get(timeout=20) == WriteRecovered()
    assert keeping.contents() == ["hello", "a b"]
    assert keeping.keeper.close()


def test_close_writes_changes_that_no_thread_could_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = Keeping(tmp_path / "chats.db")
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    chat = Conversation()
    chat.say("hello")
    keeping.kept("a", chat.take_changes())
    assert keeping.keeper.close()
    store = Store(keeping.file)
    assert store.load(1).conversation.leaf.content == "hello"
    store.close()


def test_full_disk_is_reported_once_and_retried(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = LmtuiError("the disk is full", "", "Free some space.")
    save, room = Store.save, threading.Event()

    def refuse(store: Store, changes: Any, known: Any) -> Any:
        if not room.is_set():
            raise full
        return save(store, changes, known)

    monkeypatch.setattr(Store, "save", refuse)
    chat = Conversation()
    exchange(chat, "hello")
    keeping.kept("a", chat.take_changes())
    exchange(chat, "more")
    keeping.kept("a", chat.take_changes())
    fact = keeping.told.get(timeout=20)
    assert isinstance(fact, WriteFailed) and fact.error is full
    assert keeping.told.empty()
    room.set()
    keeping.now += 3
    keeping.kept("a", ConversationDelta())
    assert isinstance(keeping.told.get(timeout=20), WriteRecovered)
    assert keeping.contents() == ["hello", "a b", "more", "a b"]


def test_reply_grown_on_a_full_disk_is_written_after_recovery(keeping: Keeping) -> None:
    chat = Conversation()
    reply = chat.reply(chat.say("go").id, model="m", settings=PLAIN)
    keeping.kept("a", chat.take_changes())
    prompt, steps, finish = answer(*[" word"] * 300)
    chat.lay_out(reply.id, prompt)
    with no_file_grows():
        chat.grow(reply.id, steps)
        keeping.kept("a", chat.take_changes())
        fact = keeping.told.get(timeout=20)
        assert isinstance(fact, WriteFailed) and "free space" in fact.error.hint
        chat.finish(reply.id, finish)
        keeping.keeper.write("a", chat.take_changes())
    keeping.now += 3
    keeping.kept("a", ConversationDelta())
    assert isinstance(keeping.told.get(timeout=20), WriteRecovered)
    loaded = keeping.answer(lambda store: store.load(1)).conversation
    assert loaded.leaf.content == chat.leaf.content
    assert loaded.leaf.ids == chat.leaf.ids and loaded.leaf.state == "whole"


def test_file_damaged_while_in_use_is_replaced(keeping: Keeping) -> None:
    chat = Conversation()
    exchange(chat, "hello")
    keeping.kept("a", chat.take_changes())
    with sqlite3.connect(keeping.file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    other = keeping.file.with_suffix(".other")
    other.write_bytes(b"no database" * 1000)
    other.replace(keeping.file)
    exchange(chat, "more")
    keeping.kept("a", chat.whole())
    fact = keeping.told.get(timeout=20)
    assert isinstance(fact, FileReplaced)
    assert keeping.contents() == ["hello", "a b", "more", "a b"]


def test_impossible_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    keeping = Keeping(tmp_path / "file" / "chats.db")
    chat = Conversation()
    exchange(chat, "hello")
    keeping.kept("a", chat.take_changes())
    assert isinstance(keeping.told.get(timeout=20), WriteFailed)
    failed = keeping.answer(lambda store: store.count())
    assert isinstance(failed, LmtuiError) and "LMTUI_HOME" in failed.hint
    assert not keeping.keeper.close()
