"""Finding words in all conversations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmtui.chat.cjk import closed, spaced
from lmtui.chat.conversation import Conversation
from lmtui.chat.search import MOST, Hit, Marker, places, question, search
from lmtui.chat.store import Store
from tests.chat.making import PLAIN, exchange
from tests.examples import examples


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


def test_search_ignores_case_and_accents(store: Store) -> None:
    assert found(store, "cafe ") == [3, 1]
    assert found(store, "TOKYO") == [1]
    assert found(store, "lighthouse ") == [3, 2]


def test_search_needs_all_words_and_completes_only_the_last(store: Store) -> None:
    assert found(store, "lighthouse cafe") == [3]
    assert found(store, "light") == [3, 2]
    assert found(store, "light ") == []
    assert found(store, "light cafe") == []


def test_quoted_words_match_as_a_phrase(store: Store) -> None:
    assert found(store, '"the lighthouse"') == [2]
    assert found(store, '"lighthouse the"') == []
    assert found(store, '"the light') == []


def test_hits_mark_the_words_in_passage_and_message(store: Store) -> None:
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


def test_search_leaves_out_deleted_and_reworded_text(tmp_path: Path) -> None:
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
    with store.writing() as connection:
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    store.close()


def test_growing_reply_is_found_only_once_it_has_ended(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.db")
    chat = Conversation()
    asked = chat.say("one")
    reply = chat.reply(asked.id, model="m", settings=PLAIN, prefill="elephant")
    store.save({"a": chat.take_changes()})
    assert found(store, "elephant") == []
    chat.break_off(reply.id, "stopped")
    store.save({"a": chat.take_changes()})
    assert found(store, "elephant") == [1]
    store.close()


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_search_accepts_any_typed_text(store: Store, text: str) -> None:
    for hit in search(store, text):
        assert hit.passage.text
    places(store, text, conversation=1, message=1)


@pytest.mark.parametrize("text", ["", "  ", "?!", '"', '""', "*", "( )"])
def test_text_without_words_makes_an_empty_query(text: str) -> None:
    assert question(text) == ""


CJK = st.text("東京タワーの한국어々", min_size=1, max_size=3)
PARTS = st.lists(st.one_of(CJK, st.sampled_from(
    [" ", "。", "Tower", "café ", "\0", "\x1f", "が", "か\u3099", "𠮷", "\n"])),
    min_size=1, max_size=12)  # fmt: skip


def kept(folder: Path, *contents: str) -> Store:
    """A store with a conversation for each of these messages."""
    store = Store(folder / "chats.db")
    for number, content in enumerate(contents):
        chat = Conversation()
        chat.say(content)
        store.save({str(number): chat.take_changes()})
    return store


@settings(max_examples=examples(12, 1000))
@given(PARTS, CJK, PARTS)
@example(["々"], "々京", ["々", " ", "京"])
@example(["京"], "京か", ["京", "か\u3099", "。", "\n", "か"])
def test_cjk_words_are_found_anywhere_in_a_message(
    before: list[str], wanted: str, after: list[str]
) -> None:
    content = "".join([*before, wanted, *after])
    with TemporaryDirectory() as folder:
        store = kept(Path(folder), content, "a message about something else")
        assert found(store, wanted) == found(store, f'"{wanted}"') == [1]
        assert wanted in "".join(marked(search(store, wanted)[0]))
        whole = places(store, wanted, conversation=1, message=1)
        assert len(whole.text) == len(content)
        real = [content[start:end] for start, end in whole.places]
        assert any(wanted in part for part in real)
        assert set("".join(real)) <= set(wanted)
        store.close()


def test_search_matches_japanese_korean_and_mixed_words(tmp_path: Path) -> None:
    store = kept(
        tmp_path,
        "昨日、東京タワーへ行った。",
        "京都のTower",
        "서울에서 만나요",
        "東の京",
    )
    assert found(store, "京タ") == [1]
    assert found(store, "東京") == [1]
    assert found(store, "京") == [4, 2, 1]
    assert found(store, "京都 tow") == [2]
    assert found(store, "울에") == [3]
    assert found(store, "京東") == []
    (hit,) = search(store, "東京タワー")
    assert marked(hit) == ["東京タワー"]
    assert hit.passage.text == "昨日、東京タワーへ行った。"
    store.close()


def test_words_after_a_nul_are_found(tmp_path: Path) -> None:
    store = kept(tmp_path, "a\0b \0 lighthouse")
    (hit,) = search(store, "lighthouse")
    assert marked(hit) == ["lighthouse"]
    ((start, end),) = places(store, "lighth", conversation=1, message=1).places
    assert "a\0b \0 lighthouse"[start:end] == "lighthouse"
    store.close()


def test_search_index_agrees_with_the_messages(tmp_path: Path) -> None:
    store = kept(tmp_path, "東京", "\0 x", "y")
    growing = Conversation("a system message")
    growing.reply(growing.say("z").id, model="m", settings=PLAIN, prefill="東")
    store.save({"g": growing.take_changes()})
    check = "INSERT INTO words (words, rank) VALUES ('integrity-check', 1)"
    with store.writing() as connection:
        connection.execute(check)
        connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
        connection.execute(check)
    assert found(store, "東") == [1]
    store.close()


def test_search_stays_fast_for_a_word_repeated_very_often(tmp_path: Path) -> None:
    text = "word \x1b[31m " * 200_000 + "lighthouse"
    store = kept(tmp_path, text)
    start = time.process_time()
    (hit,) = search(store, "word")
    assert len(hit.passage.text) < 300 and set(marked(hit)) == {"word"}
    whole = places(store, "word", conversation=1, message=1)
    assert whole.text == text and len(whole.places) == MOST
    assert time.process_time() - start < 2
    assert "lighthouse" in marked(search(store, "lighthouse")[0])
    store.close()


@given(st.lists(st.sampled_from(["apple ", "pear", "\n", ". ", "x" * 300, "東"]),
                max_size=80))  # fmt: skip
def test_passage_is_part_of_the_text_and_marks_found_words(
    parts: list[str],
) -> None:
    text = "".join(parts)
    with Marker('"apple" OR "pear"*') as marker:
        whole, shown = marker.marked(text), marker.passage(text)
    assert all(text[a:b] in ("apple", "pear") or text[a:b].startswith("pear")
               for a, b in whole.places)  # fmt: skip
    plain = shown.text.removeprefix("…").removesuffix("…")
    assert plain in text
    said = {shown.text[a:b] for a, b in shown.places}
    assert bool(said) == bool(whole.places)
    found = [text[a:b] for a, b in whole.places]
    assert all(any(word in whole_word for whole_word in found) for word in said)


def test_words_far_from_each_other_are_all_marked(tmp_path: Path) -> None:
    text = "apple " + "x " * 5_000 + "pear and apple " + "y " * 5_000
    store = kept(tmp_path, text)
    (hit,) = search(store, "apple pear ")
    assert marked(hit) == ["pear", "apple"]
    found = places(store, "apple pear ", conversation=1, message=1).places
    assert [text[a:b] for a, b in found] == ["apple", "pear", "apple"]
    store.close()


@given(st.text())
def test_closed_undoes_spaced_text(text: str) -> None:
    again = closed(spaced(text))
    assert len(again) == len(text)
    assert all(
        a == b or a in "\0\x1d\x1e\x1f" for a, b in zip(text, again, strict=True)
    )
