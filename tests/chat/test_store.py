"""Conversations on the disk: what is kept, found and refused."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lmtui.chat import schema
from lmtui.chat.attachments import quoted
from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.database import Damaged
from lmtui.chat.excerpts import preview_of, title_of
from lmtui.chat.store import UNDO, Store
from lmtui.engine.types import FinishReason, Prompt, SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.partial import RankAbove
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
    assert [c.title for c in store.listed(title="TW")] == ["two"]
    assert store.listed(title="%") == []


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
        (left,) = connection.execute("SELECT COUNT(*) FROM messages").fetchone()
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
        connection.execute("UPDATE messages SET writer = ? || 0", (parent,))
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


@pytest.mark.parametrize("readonly", [False, True])
def test_file_of_an_older_schema_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readonly: bool
) -> None:
    file = tmp_path / "chats.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", schema.STEPS[:1])
        patch.setattr(schema, "VERSION", 1)
        Store(file).close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.execute(
            "INSERT INTO conversations (uid, title, touched, created, updated)"
            " VALUES ('old', 'Old', 1, 0, 0)"
        )
        connection.execute(
            "INSERT INTO messages (conversation, id, parent, role, content, state,"
            " gone, given, rest, steps, scored, prompt)"
            " VALUES (1, 1, 0, 'user', 'from before', 'whole', 0, 0, '', x'', x'', x'')"
        )
    connection.close()
    store = Store(file, readonly=readonly)
    node = store.load(1).conversation.node(1)
    assert (node.content, node.left_out) == ("from before", 0)
    assert store.load(1).about.thinking is None
    store.close()
    store = Store(file)
    keep(store, "new")
    assert titles(store) == ["new", "Old"]
    store.close()


SETTINGS = '{"temperature": 0.5, "top_k": 40, "dry_breakers": [":"], "seed": 7}'
FINISH = (
    '{"reason": "length", "tokens": 3, "logprob": NaN, "prompt_tokens": 2, '
    '"reused_tokens": 1, "prompt_seconds": NaN, "seconds": 1.5, "seed": 9, '
    '"piece": "", "first_token_seconds": null, "guessed_tokens": null}'
)
SCORED = (
    "78016362606060066256206607621860043298601c307da09e8161c17e0606108dc01e8757826421"
    "5a41c20cf610e9867a0074c10d26"
)
STEPS = (
    "780163666060e000e2442066620412400ca5e0341350981522c500628340c551a6fd30bce68b9c83"
    "aab4a2c38c4639070686067b184e5448b249cd4bb103a98799090064b90f62"
)
PROMPT = "780163626060600262662066846210dfe3f0ca0a00061f0238"


def test_stored_rows_are_read_as_they_always_were(store: Store) -> None:
    rows = (
        (0, None, 1, "system", "brief", "whole", None, None, None, "", "", ""),
        (1, 0, 2, "user", "Hé", "whole", "o", None, None, "", SCORED, ""),
        (2, 1, None, "assistant", "a b", "stopped", None, SETTINGS, FINISH, STEPS, "",
         PROMPT),
    )  # fmt: skip
    with store.writing() as connection:
        connection.execute(
            "INSERT INTO conversations (id, uid, touched, created, updated)"
            " VALUES (1, 'u', 1, 0, 0)"
        )
        for *texts, steps, scored, prompt in rows:
            blobs = map(bytes.fromhex, (steps, scored, prompt))
            connection.execute(
                "INSERT INTO messages (conversation, gone, given, rest, id, parent,"
                " chosen, role, content, state, scored_by, settings, finish, steps,"
                " scored, prompt) VALUES (1, 0, 0, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                " ?)",
                (*texts, *blobs),
            )
    chat = store.load(1).conversation
    assert [node.content for node in chat.path] == ["brief", "Hé", "a b"]
    unknown, known = chat.node(1).scored
    assert (unknown.id, unknown.bytes, unknown.logprob) == (5, b"H", None)
    assert (known.logprob, known.rank) == (-1.25, RankAbove(7))
    assert known.entropy == (0.5, math.inf)
    leaf = chat.leaf
    assert leaf.prompt == Prompt((1, 2), "Hé", ("x",))
    assert [step.piece for step in leaf.steps] == ["a", " b", ""]
    assert [step.forced for step in leaf.steps] == [False, True, True]
    assert leaf.settings == SamplingSettings(
        temperature=0.5, dry_breakers=(":",), seed=7
    )
    assert leaf.finish is not None and leaf.finish.reason is FinishReason.LENGTH
    assert math.isnan(leaf.finish.prompt_seconds) and leaf.finish.notice == ""
    assert leaf.finish.logprob is not None and math.isnan(leaf.finish.logprob)


def test_a_newer_file_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    store = Store(file)
    keep(store, "one")
    with store.writing() as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    store.close()
    before = file.read_bytes()
    for readonly in (False, True):
        with pytest.raises(LmtuiError, match="newer") as raised:
            Store(file, readonly=readonly)
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
    broken = schema.STEPS[0] + "CREATE TABLE conversations (twice);"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (broken,))
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
        found = Store(folder / "chats.db", readonly=True)
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
    with store.writing() as connection:
        connection.execute("UPDATE conversations SET thinking = 'odd'")
    assert store.load(id_).about.thinking is None


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
        connection.execute("DELETE FROM messages WHERE id IN (0, 2)")
        connection.execute("UPDATE messages SET role = 'alien' WHERE id = 4")
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
