"""The dictionary: it knows what is spelt right, and leaves names and code alone."""

from __future__ import annotations

import pytest

from lmtui.engine.document.dictionary import (
    dictionary,
    is_english,
    is_known,
    misspelt_words,
)
from tests.engine.pages import CLEAN

KNOWN = """
colour color theatre theater harbor traveled realise realize organised naïve don't
shan’t ship's it'd lighthouse livestream wherever
"""
UNKNOWN = "recieved definately tommorow layed dont alot untill wich seperate"


@pytest.mark.parametrize("word", KNOWN.split())
def test_british_and_american_words_are_known(word: str) -> None:
    assert is_known(word)


@pytest.mark.parametrize("word", UNKNOWN.split())
def test_misspelt_words_are_unknown(word: str) -> None:
    assert not is_known(word)


@pytest.mark.parametrize(
    ("word", "right"),
    [("recieved", "received"), ("dont", "don't"), ("themselfs", "themselves")],
)
def test_dictionary_has_the_right_word_near(word: str, right: str) -> None:
    assert right in dictionary().near(word)


@pytest.mark.parametrize(
    "text",
    [
        "We met Wilhelmina Okonkwo in Aberystwyth.",
        "Okonkwo came, and then Okonkwo went.",
        "Then the command `mispelt wich` calls untill() in src/mispelt.py at once.",
        "You see it at https://exmaple.org/wich, with the flag --reseults, as teh_x.",
        "A gribble is a small crustacean. The gribble eats wood; gribble are pests.",
        "The inn was called\nDas alte Wirtshaus steht am Ende der langen Gasse dort.\n"
        "and it was warm, and we stayed there for a week until the rain had stopped.",
    ],
)
def test_names_code_and_other_languages_are_left_alone(text: str) -> None:
    assert misspelt_words(text) == []


def test_misspelt_word_at_the_start_of_a_sentence_is_found() -> None:
    assert misspelt_words('Teh cat sat there. "Wich one?" she asked.') == [0, 20]
    assert misspelt_words("He said: Wich one? Tommorow, then.") == [9, 19]


def test_text_in_another_language_is_not_looked_up() -> None:
    german = "Der alte Turm steht am Hafen, und sein Licht wurde gelöscht."
    assert misspelt_words(german) is None
    assert not is_english(german.split())
    assert is_english([])


def test_clean_page_is_spelt_right() -> None:
    text = CLEAN
    unknown = [text[at:].split()[0] for at in misspelt_words(text) or ()]
    assert len(unknown) <= 1
