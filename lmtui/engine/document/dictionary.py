"""English dictionary: the words that are spelt right, British and American.

The list is that of the package symspellpy (SCOWL and counts of Google's n-grams); it is
read at the first use. Knows no model.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import chain

from lmtui.engine.document.typos import WordIndex
from lmtui.engine.document.words import spans_of_words

_LIST = "frequency_dictionary_en_82_765.txt"
_BRITISH = (
    ("or", "our"),
    ("er(s?)$", r"re\1"),
    ("z", "s"),
    ("l(ed|ing|ers?|or)$", r"ll\1"),
    ("og(s?)$", r"ogue\1"),
    ("ense", "ence"),
)
"""American spellings, of which the list has not all, and the British ones."""
_CONTRACTIONS = ("shan't", "mightn't", "oughtn't", "daren't", "ain't", "y'all")
_AMERICAN = 5  # letters of a word with such a spelling
_ENDINGS = ("", "s", "d", "ll", "re", "ve")
_COMMON = 10_000_000  # count of a word that others are joined from
_PART = 4  # letters of such a word
_LEAST_WORDS = 8  # of a line that is judged alone
_FOREIGN = 0.4  # share of unknown words from which a text is not English
_SHORTEST = 3  # letters of a word that is looked up
_OFTEN = 3  # times that a writer does not slip in the same way
_CODE_BEFORE = frozenset("`/\\@#$=_<>{}[]~.-&")
_CODE_AFTER = frozenset("`/\\@=_<>{}[](-&")
_SENTENCE_STARTS = re.compile(
    r"(?:^|[.!?:…]['\"”’)\]]*\s+|\n)\s*[#*>\-–—'\"“‘(\[]*\s*$"
)


@cache
def dictionary() -> WordIndex:
    """Return the words of the dictionary, in lower case."""
    return WordIndex(chain(_counts(), _CONTRACTIONS))


@cache
def _counts() -> dict[str, int]:
    """Return how often each word is in Google's n-grams."""
    lines = files("symspellpy").joinpath(_LIST).read_text("utf-8-sig").splitlines()
    return {word: int(count) for word, count in map(str.split, lines)}


def is_known(word: str) -> bool:
    """Return whether a word is spelt right: in the dictionary, in its British spelling,
    with an ending after an apostrophe, or joined from two common words."""
    plain, words = _normalised(word), dictionary()
    stem, apostrophe, ending = plain.partition("'")
    if plain in words or (ending in _ENDINGS and apostrophe and stem in words):
        return True
    british = (re.sub(ours, theirs, stem) for ours, theirs in _BRITISH)
    longer = len(stem) >= _AMERICAN and ending in ("", "s")
    if longer and any(spelling in words for spelling in british):
        return True
    counts = _counts()
    return any(
        min(counts.get(plain[:at], 0), counts.get(plain[at:], 0)) >= _COMMON
        for at in range(_PART, len(plain) - _PART + 1)
    )


def _normalised(word: str) -> str:
    """Return a word in lower case, without accents, with straight apostrophes."""
    apart = unicodedata.normalize("NFD", word.lower().replace("’", "'"))
    return "".join(
        character for character in apart if not unicodedata.combining(character)
    )


def is_english(words: Iterable[str]) -> bool:
    """Return whether most of the words that are written small are in the dictionary."""
    small = [word for word in words if word.islower() and len(word) >= _SHORTEST]
    unknown = sum(not is_known(word) for word in small)
    return unknown <= _FOREIGN * len(small)


def misspelt_words(text: str) -> list[int] | None:
    """Return where each word of a text begins that is misspelt by the dictionary: no
    name, no code, not written in the same way again and again, and not in a line of
    another language. None where the text is not English."""
    spans = list(spans_of_words(text))
    if not is_english(text[a:b] for a, b in spans if not is_code(text, a, b)):
        return None
    counts = Counter(text[a:b] for a, b in spans)
    lines: dict[int, bool] = {}
    starts = []
    for start, end in spans:
        word = text[start:end]
        if not _is_ordinary(word) or counts[word] >= _OFTEN or is_known(word):
            continue
        is_name = word[0].isupper() and (
            counts[word] > 1 or not starts_sentence(text, start)
        )
        if is_name or is_code(text, start, end):
            continue
        line = text.rfind("\n", 0, start) + 1
        if line not in lines:
            lines[line] = _is_english_line(text[line:].partition("\n")[0])
        if lines[line]:
            starts.append(start)
    return starts


def _is_english_line(line: str) -> bool:
    spans = spans_of_words(line)
    words = [line[a:b] for a, b in spans if not is_code(line, a, b)]
    return len(words) < _LEAST_WORDS or is_english(words)


def _is_ordinary(word: str) -> bool:
    """Return whether a word is of letters, at most the first of them a capital."""
    letters = word.replace("'", "").replace("’", "")
    return len(word) >= _SHORTEST and letters.isalpha() and letters[1:].islower()


def starts_sentence(text: str, start: int) -> bool:
    """Return whether a sentence, a quotation or a line begins at a place."""
    return _SENTENCE_STARTS.search(text[max(0, start - 40) : start]) is not None or (
        text[max(0, start - 1) : start] in ('"', "“", "‘")
    )


def is_code(text: str, start: int, end: int) -> bool:
    """Return whether a word is a part of code, of an address or of a longer name."""
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    is_address = text[end : end + 3] == "://"
    if before in _CODE_BEFORE or after in _CODE_AFTER or is_address:
        return True
    line = text.rfind("\n", 0, start) + 1
    return text.count("`", line, start) % 2 == 1
