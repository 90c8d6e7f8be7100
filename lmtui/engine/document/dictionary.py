"""English dictionary: the words that are spelt right, British and American.

The list is that of the package symspellpy (SCOWL and counts of Google's n-grams); it is
read at the first use. Knows no model.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from functools import cache
from importlib.resources import files
from itertools import chain

from lmtui.engine.document.words import spans_of_words

_LIST = "frequency_dictionary_en_82_765.txt"
_BRITISH = (
    ("or", "our"),
    ("er(s?)$", r"re\1"),
    ("z", "s"),
    ("l(ed|ing|ers?|or)$", r"ll\1"),
    ("og(s?)$", r"ogue\1"),
    ("ense", "ence"),
    ("s$", ""),
    (r"^(?:re|un|pre|sub|non|mis|multi|auto|meta|micro|web|key)(?=\w{5})", ""),
)
"""American spellings, of which the list has not all, and the British ones; and plurals
and prefixes."""
_CONTRACTIONS = ("shan't", "mightn't", "oughtn't", "daren't", "ain't", "y'all")
_AMERICAN = 5  # letters of a word with such a spelling
_ENDINGS = ("", "s", "d", "ll", "re", "ve")
_COMMON = 10_000_000  # count of a word that others are joined from
_VERY_COMMON = 50_000_000
_PART = 4  # letters of such a word
_LEAST_WORDS = 8  # of a line that is judged alone
_FOREIGN = 0.4  # share of unknown words from which a text is not English
_SHORTEST = 3  # letters of a word that is looked up
_OFTEN = 3  # times that a writer does not slip in the same way
_NOT_PROSE = re.compile(
    r"""
    ```.*?(?:```|\Z) | `(?:[^`\n]|\n(?!\s*\n))+?[`']  # code
    | "(?:[^"\n]|\n(?!\s*\n))*" | “(?:[^“”\n]|\n(?!\s*\n))*”  # quotations
    | ‘(?:[^‘’\n]|\n(?!\s*\n)|(?<=\w)’(?=\w))*’(?!\w)
    | (?<!\w)'(?=\S)(?:[^'\n]|\n(?!\s*\n)|(?<=\w)'(?=\w))*'(?!\w)
    | \w{40,}  # longer than words are
    | \b\w+[ ]?\(\d\w?\)  # a manual page
    | \b\w+[-‐‑]\n\s*\w+  # a word that a line break divides
    | (?<!\S)\S*?(?:[`/\\@\#$=_<>{}\[\]~|&]|\w[-.:‐‑]\w|\w\()\S*  # names, addresses
    | (?<!\S)-+\w\S*
    """,
    re.VERBOSE | re.DOTALL,
)
_SENTENCE_STARTS = re.compile(
    r"(?:^|[.!?:…]['\"”’)\]]*\s+|\n)\s*[#*>\-–—'\"“‘(\[]*\s*$"
)


class Spelling(Enum):
    """What the dictionary says of a word."""

    KNOWN = "spelt right"
    UNKNOWN = "misspelt"
    OWN = "written in the same way again and again, which is no slip"


@cache
def dictionary() -> frozenset[str]:
    """Return the words of the dictionary, in lower case."""
    return frozenset(chain(_counts(), _CONTRACTIONS))


@cache
def common_words() -> frozenset[str]:
    """Return the words that are written together by mistake."""
    return frozenset(word for word, count in _counts().items() if count >= _VERY_COMMON)


@cache
def _counts() -> dict[str, int]:
    """Return how often each word is in Google's n-grams."""
    lines = files("symspellpy").joinpath(_LIST).read_text("utf-8-sig").splitlines()
    return {word: int(count) for word, count in map(str.split, lines)}


def is_known(word: str) -> bool:
    """Return whether a word is spelt right: in the dictionary, in its British spelling,
    with an ending after an apostrophe, or joined from two common words."""
    plain, words = normalised(word), dictionary()
    stem, apostrophe, ending = plain.partition("'")
    if plain in words or (ending in _ENDINGS and apostrophe and stem in words):
        return True
    british = (re.sub(ours, theirs, stem) for ours, theirs in _BRITISH)
    longer = len(stem) >= _AMERICAN and ending in ("", "s")
    if longer and any(spelling in words for spelling in british):
        return True
    counts = _counts()
    return not plain.endswith("full") and any(
        min(counts.get(plain[:at], 0), counts.get(plain[at:], 0)) >= _COMMON
        for at in range(_PART, len(plain) - _PART + 1)
    )


def normalised(word: str) -> str:
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


def prose_words(text: str) -> dict[int, Spelling] | None:
    """Return where each word of a text begins that may be corrected: no name, no code,
    nothing quoted, and not in a line of another language. None where the text is not
    English."""
    prose = _NOT_PROSE.sub(lambda match: "\0" * len(match[0]), text)
    spans = list(spans_of_words(prose))
    if not is_english(prose[a:b] for a, b in spans):
        return None
    counts = Counter(prose[a:b] for a, b in spans)
    lines: dict[int, bool] = {}
    words = {}
    for start, end in spans:
        word = prose[start:end]
        is_name = word[0].isupper() and not starts_sentence(text, start)
        if not _is_ordinary(word) or (is_name and len(word) > 1):
            continue
        line = text.rfind("\n", 0, start) + 1
        if line not in lines:
            lines[line] = _is_english_line(prose[line:].partition("\n")[0])
        if not lines[line]:
            continue
        often = 2 if word[0].isupper() else _OFTEN
        is_known_word = len(word) < _SHORTEST or is_known(word)
        words[start] = Spelling.KNOWN if is_known_word else Spelling.UNKNOWN
        if counts[word] >= often:
            words[start] = Spelling.OWN
    return words


def _is_english_line(line: str) -> bool:
    words = [line[a:b] for a, b in spans_of_words(line)]
    return len(words) < _LEAST_WORDS or is_english(words)


def _is_ordinary(word: str) -> bool:
    """Return whether a word is of letters, at most the first of them a capital."""
    letters = word.replace("'", "").replace("’", "")
    return letters.isalpha() and (letters[1:].islower() or len(letters) == 1)


def starts_sentence(text: str, start: int) -> bool:
    """Return whether a sentence, a quotation or a line begins at a place."""
    return _SENTENCE_STARTS.search(text[max(0, start - 40) : start]) is not None or (
        text[max(0, start - 1) : start] in ('"', "“", "‘")
    )
