"""The life of a ghost: along with what is typed, away, and back."""

from __future__ import annotations

import pytest
from hypothesis import given

from lmtui.tui.editor.text_area import Ghosts, first_line, first_word
from tests.tui.texts import texts

HERE = (1, 5)


def ghosts_with(text: str, before: str = "Hello") -> Ghosts:
    ghosts = Ghosts()
    assert ghosts.show(text, request=HERE, here=HERE, around=(before, ""))
    return ghosts


def test_typing_along_keeps_the_rest_of_the_ghost() -> None:
    ghosts = ghosts_with(" world")
    ghosts.edit(" ", ("Hello ", ""))
    ghosts.edit("wo", ("Hello wo", ""))
    assert ghosts.text == "rld"
    ghosts.edit("rld", ("Hello world", ""))
    assert ghosts.text == ""


def test_typo_drops_the_ghost_and_deleting_it_restores_it() -> None:
    ghosts = ghosts_with(" world")
    ghosts.edit(" ", ("Hello ", ""))
    ghosts.edit("x", ("Hello x", ""))
    assert ghosts.text == ""
    ghosts.edit("", ("Hello ", ""))
    assert ghosts.text == "world"
    ghosts.edit("", ("Hello", ""))
    assert ghosts.text == " world"


def test_ghost_does_not_come_back_in_different_surroundings() -> None:
    ghosts = ghosts_with(" world")
    ghosts.edit("x", ("Hellox", ""))
    ghosts.edit("", ("Hello", "?"))
    assert ghosts.text == ""


def test_ghost_grows_while_it_is_typed_along() -> None:
    ghosts = ghosts_with(" wo")
    ghosts.edit(" wo", ("Hello wo", ""))
    late = (2, 8)
    assert ghosts.show(" world", request=HERE, here=late, around=("Hello wo", ""))
    assert ghosts.text == "rld"
    assert not ghosts.show(" we", request=HERE, here=late, around=("Hello wo", ""))
    assert ghosts.text == "rld"


@pytest.mark.parametrize("typed", ["x", ""])
def test_late_ghost_is_not_shown_after_the_text_changed(typed: str) -> None:
    ghosts = ghosts_with(" wo")
    ghosts.edit(typed, ("Hello" + typed, "more"))
    late = (2, 6)
    assert not ghosts.show(" world", request=HERE, here=late, around=("Hello", ""))
    assert ghosts.text == ""


def test_dropped_ghost_is_not_continued_after_a_move() -> None:
    ghosts = ghosts_with(" wo")
    ghosts.drop()
    assert not ghosts.show(" world", request=HERE, here=(1, 4), around=("Hell", "o"))


def test_dismissed_ghost_does_not_come_back() -> None:
    ghosts = ghosts_with(" world")
    ghosts.dismiss(("Hello", ""))
    ghosts.edit("x", ("Hellox", ""))
    ghosts.edit("", ("Hello", ""))
    assert ghosts.text == ""


def test_forgotten_ghost_does_not_come_back() -> None:
    ghosts = ghosts_with(" world")
    ghosts.forget()
    ghosts.edit("", ("Hello", ""))
    assert ghosts.text == ""


def test_ghosts_forget_the_least_recently_used() -> None:
    ghosts = Ghosts()
    for n in range(64):
        ghosts.show(f"ghost {n}", request=(n, 0), here=(n, 0), around=(str(n), ""))
    ghosts.edit("", ("0", ""))
    ghosts.show("another", request=(99, 0), here=(99, 0), around=("99", ""))
    ghosts.edit("", ("1", ""))
    assert ghosts.text == ""
    ghosts.edit("", ("0", ""))
    assert ghosts.text == "ghost 0"


@given(texts(8).filter(bool))
def test_first_word_and_first_line_cut_a_text_without_loss(text: str) -> None:
    for first in (first_word, first_line):
        left, taken = text, ""
        while left:
            piece = first(left)
            assert piece and left.startswith(piece)
            taken, left = taken + piece, left[len(piece) :]
        assert taken == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one two", ["one", " two"]),
        (" don't stop", [" don't", " stop"]),
        ("a == b", ["a", " ==", " b"]),
        ("x, y", ["x", ",", " y"]),
        ("1.5 is", ["1.5", " is"]),
        ("\n    return x", ["\n    return", " x"]),
        ("漢字", ["漢", "字"]),
        ("  ", ["  "]),
    ],
)
def test_first_word_cuts_a_ghost_into_words(text: str, words: list[str]) -> None:
    found = []
    while text:
        found.append(first_word(text))
        text = text[len(found[-1]) :]
    assert found == words
