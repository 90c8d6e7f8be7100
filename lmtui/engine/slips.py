"""Plausible slips of the pen: words that a written word may have been meant to be.

The words come from the model's vocabulary and from the text itself; the only lists are
small classes of English function words. Knows no model and no probabilities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum

import torch

from lmtui.engine.words import letter_case


class SlipKind(StrEnum):
    """Kind of slip that a correction undoes."""

    MISSPELT = "misspelt"
    """No word of the vocabulary, but almost one."""
    SIMILAR = "similar word"
    """One word in place of another that is spelt almost the same."""
    FUNCTION_WORD = "function word"
    """Another word of the same small class, such as a preposition."""
    LETTER_CASE = "letter case"
    """A capital letter, or none."""
    SWAPPED = "swapped words"
    DOUBLED = "doubled word"


FUNCTION_WORDS = tuple(
    frozenset(line.split())
    for line in (
        "in on at of to for from with by about into onto over under after before "
        "between through during against upon within without as",
        "a an the",
        "is are was were be been",
        "has have had having",
        "this that these those",
        "than then",
        "its it's",
        "their there they're",
        "your you're",
        "who whom whose which that",
    )
)
"""Classes of words that are often confused with each other."""

_SHORT = 4  # letters up to which a word differs by one edit, not two
_LETTERS = 26
_LONGEST = 24  # letters of a word that is looked up


def is_function_word(word: str) -> bool:
    """Return whether a word is in one of the classes."""
    return any(word.lower() in group for group in FUNCTION_WORDS)


def edit_distance(a: str, b: str, *, most: int) -> int:
    """Return the number of letters to insert, delete, replace or swap with a neighbour
    between two words (optimal string alignment); more than `most` where it is more."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]


class WordIndex:
    """Words that are looked up by how they are spelt."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted({word for word in words if len(word) > 1})
        self._known = frozenset(self._words)
        self._bags = torch.tensor(
            [_bag(word) for word in self._words], dtype=torch.int8
        ).view(-1, _LETTERS + 1)  # [words, 27]

    def __contains__(self, word: str) -> bool:
        return word in self._known

    def near(self, word: str) -> list[str]:
        """Return the words one or two edits from `word`, a short one from one; without
        the word itself, in alphabetic order."""
        if not 1 < len(word) <= _LONGEST:
            return []
        most = 1 if len(word) <= _SHORT else 2
        # An edit changes the counts of two letters by one at most.
        apart = (self._bags - torch.tensor(_bag(word), dtype=torch.int8)).abs().sum(1)
        likely = (apart <= 2 * most).nonzero().flatten().tolist()
        near = (self._words[index] for index in likely)
        return [
            other
            for other in near
            if other != word and edit_distance(word, other, most=most) <= most
        ]


def _bag(word: str) -> list[int]:
    """Return how often each letter of the alphabet is in a word, and any other."""
    counts = Counter(word[:_LONGEST])
    letters = [counts.pop(chr(ord("a") + index), 0) for index in range(_LETTERS)]
    return [*letters, sum(counts.values())]


def written_like(word: str, model: str) -> str:
    """Return a lower-case word with the letter case of another one."""
    match letter_case(model):
        case "title":
            return word[:1].upper() + word[1:]
        case "upper":
            return word.upper() if len(model) > 1 else word.capitalize()
    return word


def other_words(
    word: str, vocabulary: WordIndex, own: WordIndex
) -> Iterator[tuple[str, SlipKind]]:
    """Yield the single words that `word` may have been meant to be: those of the
    vocabulary, and the text's own."""
    lower, case = word.lower(), letter_case(word)
    if case == "none":
        return
    similar = SlipKind.SIMILAR if lower in vocabulary else SlipKind.MISSPELT
    for group in FUNCTION_WORDS:
        if lower in group:
            for other in sorted(group - {lower}):
                yield written_like(other, word), SlipKind.FUNCTION_WORD
    if case == "upper" and len(word) > 1:
        return  # letters of an abbreviation say nothing of its spelling
    for index in (vocabulary, own):
        for other in index.near(lower):
            yield written_like(other, word), similar
    if case in ("lower", "title"):
        other = lower if case == "title" else lower.capitalize()
        yield other, SlipKind.LETTER_CASE


def doubled(first: str, between: str, second: str) -> bool:
    """Return whether a word is written twice, with white space between."""
    return _are_neighbours(between) and first.lower() == second.lower()


def swapped(first: str, between: str, second: str) -> str | None:
    """Return two neighbouring words in the other order, with the capital letter of the
    first where it was; None where more than white space is between them."""
    if not _are_neighbours(between):
        return None
    if letter_case(first) == "title" and letter_case(second) == "lower":
        first, second = first.lower(), written_like(second, first)
    return second + between + first


def _are_neighbours(between: str) -> bool:
    return between.isspace() and between.count("\n") <= 1
