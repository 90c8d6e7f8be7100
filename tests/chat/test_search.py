"""Finding words in all conversations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.chat.search import Hit, places, question, search
from lmtui.chat.store import Store
from lmtui.chat.tree import Conversation
from tests.chat.making import PLAIN, exchange


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(tmp_path_factory.mktemp("search") / "chats.db")
    for uid, text in {
        "a": "Where is the café in Tōkyō?",
        "b": "A long walk " + "and on " * 200 + "to the lighthouse at last",
        "c": "lighthouse keepers, and the CAFE",
    }.items():
        chat = Conversation("a system message about lighthouses")
        exchange(chat, text, "an answer")
        opened.save({uid: chat.take_changes()})
    yield opened
    opened.close()


def found(store: Store, text: str) -> list[int]:
    return [hit.conversation for hit in search(store, text)]


def marked(hit: Hit) -> list[str]:
    return [hit.passage.text[start:end] for start, end in hit.passage.places]


def test_words_are_found_whatever_their_case_and_accents(store: Store) -> None:
    assert found(store, "cafe ") == [3, 1]
    assert found(store, "TOKYO") == [1]
    assert found(store, "lighthouse ") == [3, 2]


def test_all_words_have_to_be_there_and_the_last_may_be_begun(store: Store) -> None:
    assert found(store, "lighthouse cafe") == [3]
    assert found(store, "light") == [3, 2]
    assert found(store, "light ") == []
    assert found(store, "light cafe") == []


def test_quotes_keep_words_together(store: Store) -> None:
    assert found(store, '"the lighthouse"') == [2]
    assert found(store, '"lighthouse the"') == []
    assert found(store, '"the light') == []


def test_hits_are_located(store: Store) -> None:
    first, second = search(store, "lighthouse ")
    assert marked(first) == ["lighthouse"] == marked(second)
    assert len(second.passage.text) < 300
    assert (first.message, first.role) == (1, "user")
    whole = places(store, "lighth", conversation=2, message=1)
    assert whole.text.startswith("A long walk")
    ((start, end),) = whole.places
    assert whole.text[start:end] == "lighthouse"
    assert places(store, "nothing", conversation=2, message=1).places == ()


def test_system_messages_are_not_searched(store: Store) -> None:
    assert found(store, "lighthouses") == []


def test_what_is_deleted_or_said_otherwise_is_not_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.db")
    chat = Conversation()
    exchange(chat, "apple", "banana")
    store.save({"a": chat.take_changes()})
    chat.reword(1, "cherry")
    store.save({"a": chat.take_changes()})
    assert (found(store, "apple"), found(store, "cherry")) == ([], [1])
    chat.delete(2)
    store.save({"a": chat.take_changes()})
    assert found(store, "banana") == []
    store.mark(1, "deleted", True)
    assert found(store, "cherry") == []
    store.remove(1)
    with store.database.writing() as connection:
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    store.close()


def test_a_reply_that_grows_is_found_once_it_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.db")
    chat = Conversation()
    asked = chat.say("one")
    reply = chat.reply(asked.id, model="m", settings=PLAIN, prefill="elephant")
    store.save({"a": chat.take_changes()})
    assert found(store, "elephant") == []
    chat.stop(reply.id)
    store.save({"a": chat.take_changes()})
    assert found(store, "elephant") == [1]
    store.close()


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_nothing_that_is_typed_is_an_error(store: Store, text: str) -> None:
    for hit in search(store, text):
        assert hit.passage.text
    places(store, text, conversation=1, message=1)


@pytest.mark.parametrize("text", ["", "  ", "?!", '"', '""', "*", "( )"])
def test_without_a_word_nothing_is_asked(text: str) -> None:
    assert question(text) == ""
