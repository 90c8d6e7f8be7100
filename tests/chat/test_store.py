"""Conversations on the disk: what is kept, found and refused."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lmtui.chat import migration, schema
from lmtui.chat.attachments import quoted
from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.database import Damaged
from lmtui.chat.excerpts import preview_of, title_of
from lmtui.chat.records import from_json, to_json
from lmtui.chat.search import search
from lmtui.chat.store import UNDO, Store
from lmtui.errors import LmtuiError
from tests.chat.making import PLAIN, exchange, full, same
from tests.chat.test_message import answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "chats.db")
    yield opened
    opened.close()


def keep(store: Store, text: str, uid: str = "") -> int:
    """A conversation of one turn; its id."""
    chat = Conversation()
    exchange(chat, text)
    store.save({uid or text: chat.take_changes()})
    (found,) = [c for c in store.listed() if c.uid == (uid or text)]
    return found.id


def titles(store: Store) -> list[str]:
    return [found.title for found in store.listed()]


def test_loaded_conversation_equals_the_saved_one(store: Store) -> None:
    chat = full()
    store.save({"one": chat.take_changes()})
    (about,) = store.listed()
    again = store.load(about.id).conversation
    assert same(chat, again)
    for node in chat.nodes:
        found = again.node(node.id)
        assert found.ids == node.ids and found.prompt == node.prompt
        assert [t.rank for t in found.tokens] == [t.rank for t in node.tokens]
    assert not again.take_changes()
    assert about.title == "What is the capital of France?"


def test_saving_only_changed_messages_keeps_the_others(store: Store) -> None:
    chat = Conversation()
    reply = exchange(chat, "one")
    store.save({"a": chat.take_changes()})
    again = store.load(1).conversation
    exchange(again, "two")
    again.delete(4)
    changes = again.take_changes()
    assert [node.content for node in changes.nodes] == ["two", "a b"]
    store.save({"a": changes})
    again = store.load(1).conversation
    assert [n.content for n in again.path] == ["", "one", "a b", "two"]
    again.delete(reply.id)  # whose tokens are packed
    store.save({"a": again.take_changes()})
    assert store.load(1).conversation.node(reply.id).ids == reply.ids


def test_listing_orders_by_last_use_not_by_the_clock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    for text in ("one", "two", "three"):
        keep(store, text)
    assert titles(store) == ["three", "two", "one"]
    assert store.last() == 3
    again = store.load(1).conversation
    exchange(again, "more")
    store.save({"one": again.take_changes()})
    assert titles(store) == ["one", "three", "two"]


def test_listing_follows_pins_names_and_deletion(store: Store) -> None:
    ids = {text: keep(store, text) for text in ("one", "two", "three")}
    store.mark(ids["one"], "pinned", True)
    assert titles(store) == ["one", "three", "two"]
    store.rename(ids["two"], "  a \n name ")
    assert titles(store) == ["one", "three", "a name"]
    store.rename(ids["two"], "")
    store.mark(ids["one"], "deleted", True)
    assert titles(store) == ["three", "two"]
    with pytest.raises(LmtuiError, match="no such conversation"):
        store.load(ids["one"])
    store.purge()
    store.mark(ids["one"], "deleted", False)
    assert titles(store) == ["one", "three", "two"]


def test_purge_removes_deleted_conversations_after_the_undo_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, "one")
    store.mark(1, "deleted", True)
    later = time.time() + UNDO + 1
    monkeypatch.setattr(time, "time", lambda: later)
    store.purge()
    with pytest.raises(LmtuiError):
        store.mark(1, "deleted", False)
    keep(store, "two")
    store.remove(2)
    assert store.count() == 0
    with store.reading() as connection:
        (left,) = connection.execute("SELECT COUNT(*) FROM message").fetchone()
    assert left == 0


def test_reply_whose_writer_is_gone_loads_as_stopped(store: Store) -> None:
    chat = Conversation()
    asked = chat.say("one")
    reply = chat.reply(asked.id, model="fake", settings=PLAIN)
    prompt, steps, _ = answer("a", " b")
    chat.lay_out(reply.id, prompt)
    chat.grow(reply.id, steps[:2])
    store.save({"a": chat.take_changes()})
    found = store.load(1).conversation.leaf
    assert (found.state, found.content) == ("stopped", "a b")
    onward, before = found.continuation, chat.leaf.continuation
    assert onward is not None and onward == before
    with store.writing() as connection:
        parent = f"{os.getppid()}:"
        connection.execute("UPDATE message SET writer = ? || 0", (parent,))
    assert store.load(1).conversation.leaf.state == "stopped"


def test_two_stores_write_to_one_file(store: Store) -> None:
    other = Store(store.file)
    for number in range(5):
        keep(store, f"mine {number}")
        keep(other, f"yours {number}")
    assert store.count() == other.count() == 10
    other.close()


def test_save_refuses_to_overwrite_changes_of_another_program(store: Store) -> None:
    keep(store, "one", "a")
    mine, yours = store.load(1), store.load(1)
    known = {"a": mine.about.touched}
    exchange(mine.conversation, "mine")
    touched, refused = store.save({"a": mine.conversation.take_changes()}, known)
    assert not refused and touched["a"] > known["a"]
    exchange(yours.conversation, "yours")
    touched, refused = store.save({"a": yours.conversation.take_changes()}, known)
    assert refused == {"a"} and not touched
    assert store.load(1).conversation.path[3].content == "mine"
    store.save({"b": yours.conversation.whole()})
    assert store.load(2).conversation.path[3].content == "yours"


def test_store_files_are_private_to_the_user(store: Store) -> None:
    keep(store, "one")
    for file in store.file.parent.glob("chats.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


OLD = Path(__file__).parent / "version_0_1_0"


def test_file_of_version_0_1_0_is_converted_without_a_loss(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    file.write_bytes(gzip.decompress((OLD / "chats.db.gz").read_bytes()))
    store = Store(file)
    before = (OLD / "export.jsonl").read_text().splitlines()
    for id_, line in zip((1, 2, 4), before, strict=True):
        loaded = store.load(id_)
        found = json.loads(to_json(loaded.conversation, loaded.about))
        assert found == json.loads(to_json(*from_json(line)))
        for old, new in zip(
            json.loads(line)["messages"], found["messages"], strict=True
        ):
            assert new == new | {**old, "finish": new["finish"]}
            if old["finish"]:
                assert new["finish"] == old["finish"] | {"notice": ""}
    assert [about.id for about in store.listed()] == [1, 4, 2]
    assert store.load(2).about.thinking == "off"
    assert [hit.conversation for hit in search(store, "paris")] == [1]
    store.mark(3, "deleted", False)
    assert search(store, "東京")[0].conversation == 3
    assert keep(store, "new") == 5
    with store.reading() as connection:
        (whole,) = connection.execute("PRAGMA integrity_check").fetchone()
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    assert whole == "ok"
    store.close()


def test_conversion_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "chats.db"
    file.write_bytes(gzip.decompress((OLD / "chats.db.gz").read_bytes()))
    with monkeypatch.context() as patch:
        patch.setattr(migration, "_RECORD", ("no such column",))
        with pytest.raises(IndexError):
            Store(file)
    store = Store(file)
    assert len(store.listed()) == 3
    store.close()


def test_a_newer_file_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    store = Store(file)
    keep(store, "one")
    with store.writing() as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    store.close()
    before = file.read_bytes()
    with pytest.raises(LmtuiError, match="newer") as raised:
        Store(file)
    assert "Update lmtui" in raised.value.hint
    assert file.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(LmtuiError, match="another program"):
        Store(file)


def test_failed_schema_creation_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = schema._TABLES + "CREATE TABLE conversation (twice);"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_TABLES", broken)
        with pytest.raises(Damaged):
            Store(tmp_path / "chats.db")
    store = Store(tmp_path / "chats.db")
    assert keep(store, "one") == 1
    store.close()


def test_full_disk_is_an_error_and_saves_nothing(store: Store) -> None:
    keep(store, "one")
    with store.reading() as connection:
        connection.execute("PRAGMA max_page_count = 30")
    chat = Conversation()
    chat.say("x" * 300_000)
    changes = chat.take_changes()
    with pytest.raises(LmtuiError, match="disk is full"):
        store.save({"big": changes})
    assert titles(store) == ["one"]
    with store.reading() as connection:
        connection.execute("PRAGMA max_page_count = 100000")
    store.save({"big": changes})
    assert store.count() == 2


def test_store_in_a_read_only_folder_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    store = Store(folder / "chats.db")
    keep(store, "one")
    store.close()
    folder.chmod(0o500)
    try:
        found = Store(folder / "chats.db")
        assert titles(found) == ["one"]
        found.close()
        if os.geteuid():
            with pytest.raises(LmtuiError, match="written") as raised:
                Store(folder / "other.db")
            assert "LMTUI_HOME" in raised.value.hint
    finally:
        folder.chmod(0o700)


def test_thinking_setting_is_kept_until_it_changes(
    store: Store,
) -> None:
    id_ = keep(store, "one", "a")
    before = store.load(id_).about
    for told in ("off", "on", "auto"):
        store.save({"a": ConversationDelta(thinking=told)})
        store.save({"a": ConversationDelta()})
        assert store.load(id_).about == replace(before, thinking=told)


def test_hostile_text_is_kept(store: Store) -> None:
    text = "\x1b]0;owned\x07 [bold] \x00 \ud800 \u202e 'q\" --"
    keep(store, text, "h")
    assert store.load(1).conversation.path[1].content == text.replace("\ud800", "?")


def test_load_bridges_missing_messages_of_a_tree(store: Store) -> None:
    chat = Conversation()
    exchange(chat, "one")
    exchange(chat, "two")
    store.save({"a": chat.take_changes()})
    with store.writing() as connection:
        connection.execute("DELETE FROM message WHERE id IN (0, 2)")
        connection.execute(
            "UPDATE message SET json = json_set(json, '$.role', 'alien') WHERE id = 4"
        )
    nodes = store.load(1).conversation.nodes
    assert [(n.id, n.parent, n.content) for n in nodes] == [
        (0, None, ""), (1, 0, "one"), (3, 1, "two"),
    ]  # fmt: skip


def test_joined_deltas_keep_the_last_of_each_change() -> None:
    chat = Conversation()
    asked = chat.say("one")
    first = chat.take_changes()
    chat.reword(asked.id, "two")
    exchange(chat, "three")
    both = first.then(chat.take_changes())
    assert [n.content for n in both.nodes] == ["", "two", "three", "a b"]
    assert not ConversationDelta() and both
    told = (
        ConversationDelta(thinking="on")
        .then(ConversationDelta(thinking="off"))
        .then(first)
    )
    assert told.thinking == "off" and told.nodes == first.nodes


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("# A heading\n\nand more", "A heading and more"),
        ("> - *x*", "x*"),
        ("word " * 30, "word word word word word word word word word word word…"),
        ("x" * 100, "x" * 59 + "…"),
        ("   \n ", ""),
        ("###", "###"),
    ],
)
def test_titles_are_the_first_words(text: str, title: str) -> None:
    assert title_of(text) == title
    assert len(title_of(text)) <= 60


def test_a_huge_message_has_a_short_preview() -> None:
    assert len(preview_of("a " * 5_000_000)) == 120
    assert replace(full().root, content="x").content == "x"


def test_title_of_a_message_beginning_with_a_file_is_its_name() -> None:
    file = quoted("notes.md", "# All my notes\n")
    assert title_of(file) == "@notes.md"
    assert title_of(f"What is this?\n\n{file}").startswith("What is this?")
