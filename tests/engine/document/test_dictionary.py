"""The dictionary: it knows what is spelt right, and leaves names and code alone."""

from __future__ import annotations

import pytest

from lmtui.engine.document.dictionary import (
    Spelling,
    is_english,
    is_known,
    prose_words,
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


def misspelt(text: str) -> list[str]:
    words = prose_words(text)
    assert words is not None
    unknown = (at for at, spelling in words.items() if spelling is Spelling.UNKNOWN)
    return [text[at:].split()[0].strip('.,:!?"') for at in unknown]


@pytest.mark.parametrize(
    "text",
    [
        "We met Wilhelmina Okonkwo in Aberystwyth.",
        "Okonkwo came, and then Okonkwo went.",
        "Then the command `mispelt wich` calls untill() in src/mispelt.py at once.",
        "You see it at https://exmaple.org/wich, with the flag --reseults, as teh_x.",
        "A gribble is a small crustacean. The gribble eats wood; gribble are pests.",
        "Run rdepends(8), or nalyze (1), with apt-rdepnds and a well-behavd shell.",
        "She said \"Wich one?\" and he said ‘tommorow’, or 'nevr', and left.",
        "The inn was called\nDas alte Wirtshaus steht am Ende der langen Gasse dort.\n"
        "and it was warm, and we stayed there for a week until the rain had stopped.",
    ],
)
def test_names_code_and_other_languages_are_left_alone(text: str) -> None:
    assert misspelt(text) == []


def test_misspelt_word_at_the_start_of_a_sentence_is_found() -> None:
    assert misspelt("Teh cat sat there. Wich one?") == ["Teh", "Wich"]
    assert misspelt("He said: Wich one? Tommorow, then.") == ["Wich", "Tommorow"]


def test_text_in_another_language_is_not_looked_up() -> None:
    german = "Der alte Turm steht am Hafen, und sein Licht wurde gelöscht."
    assert prose_words(german) is None
    assert not is_english(german.split())
    assert is_english([])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["a", "a.", "'", '"', "`", "‘a", "“a", "(", "a-"])
def test_long_line_without_spaces_is_read_at_once(part: str) -> None:
    words = prose_words(f"It is here, where we read more.\n{part * 100_000}")
    assert words is not None and set(words) >= {0, 3, 6}


def test_clean_page_is_spelt_right() -> None:
    assert len(misspelt(CLEAN)) <= 1


def test_word_that_is_written_again_and_again_is_the_writers_own() -> None:
    text = (
        "A gribble is small. The gribble eats wood; a gribble is no pest, and it swims."
    )
    words = prose_words(text)
    assert words is not None
    assert words[text.index("gribble")] is Spelling.OWN
    assert words[text.index("swims")] is Spelling.KNOWN
