"""Ignored words: remembered, the user's to edit, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.editing.surprises import ignore, ignored_words


@pytest.fixture
def stored(home: Path) -> Path:
    """The file they are in, which is not there yet."""
    return home / "data" / "ignored-words.txt"


def test_ignored_words_are_stored_once_in_order(stored: Path) -> None:
    assert ignored_words() == frozenset()
    assert ignore("Łukasz") and ignore(" Ada ") and ignore("Ada")
    assert ignored_words() == {"Łukasz", "Ada"}  # and not "ada"
    assert stored.read_text(encoding="utf-8") == "Łukasz\nAda\n"


@pytest.mark.parametrize("word", ["", "  ", "two\nlines", "half\ud800"])
def test_ignore_refuses_blank_multiline_and_invalid_words(
    stored: Path, word: str
) -> None:
    assert not ignore(word)
    assert not stored.exists()


def test_hand_written_word_list_is_read_and_kept(stored: Path) -> None:
    stored.parent.mkdir()
    stored.write_bytes(b"Ada\r\n\n  \xff \nBob")
    assert ignored_words() == {"Ada", "\udcff", "Bob"}
    assert ignore("Eve")
    assert stored.read_bytes() == b"Ada\n\xff\nBob\nEve\n"


def test_unreadable_word_list_is_not_overwritten(stored: Path) -> None:
    stored.mkdir(parents=True)
    assert ignored_words() == frozenset()
    assert not ignore("Ada")
    assert stored.is_dir()


def test_ignore_fails_quietly_where_no_file_can_be_written(
    home: Path, stored: Path
) -> None:
    stored.parent.write_bytes(b"no folder")
    assert ignored_words() == frozenset()
    assert not ignore("Ada")
