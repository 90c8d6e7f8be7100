"""Plausible slips: rules over neighbours, words that are confused, spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.document.dictionary import Spelling, dictionary
from lmtui.engine.document.types import corrected
from lmtui.engine.document.typos import CONFUSED_WORDS, EditKind, slips

VOCABULARY = frozenset(["interested", "farm", "form", "from", "cat"])


def found(
    text: str, word: str, spelling: Spelling = Spelling.KNOWN
) -> dict[str, EditKind]:
    """What may be meant in place of the first such word, with the next one."""
    start = text.index(word)
    end = start + len(word)
    rest = text[end:].lstrip()
    second = rest.split(maxsplit=1)[0].strip(".,") if rest[:1].isalpha() else ""
    at = text.index(second, end) if second else 0
    after = (at, at + len(second)) if second else None
    proposed = slips(text, (start, end), after, VOCABULARY, spelling)
    return {corrected(text, [each]): EditKind(each.kind) for each in proposed}


@pytest.mark.parametrize(
    ("text", "word", "right", "kind"),
    [
        ("the farm of a letter", "farm", "the form of a letter", EditKind.SIMILAR),
        ("The horse of old", "of", "The horse on old", EditKind.PREPOSITION),
        ("Of course", "Of", "On course", EditKind.PREPOSITION),
        ("It's light", "It's", "Its light", EditKind.CONFUSED),
        ("at the see", "see", "at the sea", EditKind.CONFUSED),
        ("It’s light", "It’s", "Its light", EditKind.CONFUSED),
        ("Its a house", "Its", "It's a house", EditKind.UNGRAMMATICAL),
        ("The fox lost it's\nown tail", "it's", "The fox lost its\nown tail",
         EditKind.UNGRAMMATICAL),
        ("You could of gone", "of", "You could have gone", EditKind.UNGRAMMATICAL),
        ("It is more then most", "then", "It is more than most",
         EditKind.UNGRAMMATICAL),
        ("Your going", "Your", "You're going", EditKind.UNGRAMMATICAL),
        ("They was lost", "was", "They were lost", EditKind.UNGRAMMATICAL),
        ("It is alot to ask", "alot", "It is a lot to ask", EditKind.UNGRAMMATICAL),
        ("We had not wrote it", "wrote", "We had not written it",
         EditKind.UNGRAMMATICAL),
        ("I seen it", "seen", "I saw it", EditKind.CONFUSED),
        ("She watch it", "watch", "She watches it", EditKind.CONFUSED),
        ("He carry it", "carry", "He carries it", EditKind.CONFUSED),
        ("with less files", "less", "with fewer files", EditKind.CONFUSED),
        ("the apple's are red", "apple's", "the apples are red", EditKind.CONFUSED),
        ("The drivers needs it", "needs", "The drivers need it", EditKind.INFLECTED),
        ("He choosed it", "choosed", "He chose it", EditKind.CONFUSED),
        ("it is an cat", "an", "it is a cat", EditKind.INFLECTED),
        ("The\nthe cat", "The", "The cat", EditKind.DOUBLED),
        ("It stay at home", "stay", "It at stay home", EditKind.SWAPPED),
        ("Stay at home", "Stay", "At stay home", EditKind.SWAPPED),
    ],
)  # fmt: skip
def test_slips_have_the_kind_that_the_words_around_give_them(
    text: str, word: str, right: str, kind: EditKind
) -> None:
    assert found(text, word)[right] == kind


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("recieved", "received"),
        ("Dont", "Don't"),
        ("lihgt’s", "light’s"),
        ("inthe", "in the"),
    ],
)
def test_unknown_word_is_looked_up(word: str, right: str) -> None:
    assert found(word, word, Spelling.UNKNOWN)[right] == EditKind.UNKNOWN


def test_word_two_edits_away_needs_more_evidence() -> None:
    away = found("tommorow", "tommorow", Spelling.UNKNOWN)
    assert away["tomorrow"] == EditKind.SIMILAR


def test_what_a_writer_always_writes_is_no_misspelling_of_another_word() -> None:
    assert "the form" in found("the farm", "farm")
    assert "the form" not in found("the farm", "farm", Spelling.OWN)


@pytest.mark.parametrize(
    "text", ["stay.\n\nstay there", "stay, stay there", "that that is"]
)
def test_words_are_doubled_or_swapped_within_a_sentence(text: str) -> None:
    kinds = found(text, text[:4]).values()
    assert EditKind.DOUBLED not in kinds and EditKind.SWAPPED not in kinds


@pytest.mark.parametrize("text", ["in principle you can", "Does it have a lock"])
def test_rules_that_are_sure_leave_right_words_alone(text: str) -> None:
    for word in text.split():
        assert EditKind.UNGRAMMATICAL not in found(text, word).values()


@given(st.sampled_from([word for group in CONFUSED_WORDS for word in group]))
def test_confused_words_are_spelt_right_or_nearly(word: str) -> None:
    parts = word.lower().replace("’", "'").split()
    assert all(part in dictionary() or part.isalpha() for part in parts)


@given(st.sampled_from([w for w in sorted(dictionary()) if len(w) > 1]), st.data())
def test_a_letter_wrong_is_undone(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(word) - 1))
    wrong = word[:at] + data.draw(st.sampled_from("aeinst")) + word[at + 1 :]
    near = found(wrong, wrong, Spelling.UNKNOWN)
    assert wrong == word or near[word] in (EditKind.UNKNOWN, EditKind.CONFUSED)
