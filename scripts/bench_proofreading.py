"""How many planted slips the proofreading pass finds, and how many others it reports.

The text is the prose of the Python Language Reference as the standard library ships it
(`pydoc_data.topics`, PSF-2.0); the seed is fixed. The costs of a slip were set on other
prose: 600 words of the docstrings of torch (BSD-3-Clause), and the pages of the tests.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pydoc_data import topics

from lmtui.engine.document.types import Correction
from lmtui.engine.document.typos import PREPOSITIONS, EditKind
from lmtui.engine.document.words import spans_of_words
from lmtui.engine.engine import LocalEngine

PLANTED = 50
"""Slips of each kind."""
WORDS = 4_000
"""Length of the text: one word in twenty is a slip."""
KINDS = ("swapped neighbours", "doubled word", "misspelt word", "wrong preposition")

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PREPOSITIONS = sorted(PREPOSITIONS)
_CODE = re.compile(r"[`_={}\[\]<>|*\\]|\(\)|::|>>>|http")


@dataclass(frozen=True, slots=True)
class Slip:
    """A planted slip: its span in the text, and what belongs there."""

    start: int
    end: int
    right: str
    kind: str


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text that are whole English sentences, without line
    breaks."""
    for block in re.split(r"\n\s*\n", text):
        line = " ".join(block.split()).replace("“", '"').replace("”", '"')
        words = len(line.split())
        whole = words >= 25 and line[0].isupper() and line.endswith(".")
        if whole and len(_CODE.findall(line)) * 40 < words:
            yield line


def prose() -> str:
    """The prose of the Language Reference, each paragraph once."""
    whole = (topics.topics[name] for name in sorted(topics.topics))
    lines = dict.fromkeys(line for text in whole for line in paragraphs(text))
    return shortened(list(lines), WORDS)


def shortened(lines: list[str], words: int) -> str:
    """As many whole paragraphs as have so many words."""
    taken: list[str] = []
    for line in lines:
        taken.append(line)
        if sum(len(each.split()) for each in taken) >= words:
            break
    return "\n\n".join(taken)


def _swap(text: str, spans: list[tuple[int, int]], _: random.Random) -> str | None:
    (a, b), (c, d) = spans
    one, two = text[a:b], text[c:d]
    plain = text[b:c] == " " and one.lower() != two.lower() and one.islower()
    return f"{two} {one}" if plain and two.islower() else None


def _double(text: str, spans: list[tuple[int, int]], _: random.Random) -> str | None:
    (a, b), (c, d) = spans
    word = text[a:b]
    apart = text[b:c] == " " and text[c:d].lower() != word.lower()
    return f"{word} {word} {text[c:d]}" if apart and word.islower() else None


def _misspell(
    text: str, spans: list[tuple[int, int]], random_: random.Random
) -> str | None:
    (a, b), (_, d) = spans
    word = text[a:b]
    if len(word) < 5 or not (word.isascii() and word.isalpha() and word.islower()):
        return None
    at = random_.randrange(1, len(word) - 1)
    letter = random_.choice(_LETTERS)
    wrong = random_.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )
    return None if wrong == word else wrong + text[b:d]


def _misplace(
    text: str, spans: list[tuple[int, int]], random_: random.Random
) -> str | None:
    (a, b), (_, d) = spans
    if text[a:b] not in _PREPOSITIONS:
        return None
    common = ["in", "on", "at", "of", "to", "for", "from", "with", "by", "about"]
    return random_.choice([w for w in common if w != text[a:b]]) + text[b:d]


Make = Callable[[str, list[tuple[int, int]], random.Random], str | None]
_MAKERS: tuple[Make, ...] = (_swap, _double, _misspell, _misplace)


def planted(text: str, each: int, seed: int = 0) -> tuple[str, list[Slip]]:
    """The text with so many slips of each kind, none next to another, and what they
    are."""
    random_ = random.Random(seed)
    words = list(spans_of_words(text))
    places = list(range(1, len(words) - 2))
    random_.shuffle(places)
    taken: set[int] = set()
    chosen: list[tuple[int, int, str, str]] = []
    for kind, make in zip(KINDS, _MAKERS, strict=True):
        count = 0
        for place in places:
            near = set(range(place - 3, place + 5))
            if count == each or near & taken:
                continue
            spans = words[place : place + 2]
            if "\n" in text[spans[0][0] : spans[1][1]]:
                continue
            if wrong := make(text, spans, random_):
                chosen.append((spans[0][0], spans[1][1], wrong, kind))
                taken.add(place)
                count += 1
    return _written(text, sorted(chosen))


def _written(
    text: str, chosen: list[tuple[int, int, str, str]]
) -> tuple[str, list[Slip]]:
    parts: list[str] = []
    slips: list[Slip] = []
    at = size = 0
    for start, end, wrong, kind in chosen:
        size += start - at
        slips.append(Slip(size, size + len(wrong), text[start:end], kind))
        parts += [text[at:start], wrong]
        size += len(wrong)
        at = end
    return "".join([*parts, text[at:]]), slips


def undoes(text: str, slip: Slip, correction: Correction) -> bool:
    """Whether a correction lies within a slip and restores what belongs there."""
    if not (slip.start <= correction.start and correction.end <= slip.end):
        return False
    fixed = (
        text[slip.start : correction.start]
        + correction.text
        + text[correction.end : slip.end]
    )
    return fixed.split() == slip.right.split()


def print_proofreading(engine: LocalEngine) -> None:
    """The table of what the pass finds."""
    text, slips = planted(prose(), PLANTED)
    words = len(text.split())
    start = time.perf_counter()
    found = [
        correction
        for part in engine.document.proofread(text, 0, len(text))
        for correction in part.corrections
    ]
    taken = time.perf_counter() - start
    right = {
        slip: [each for each in found if undoes(text, slip, each)] for slip in slips
    }
    good = sum(map(bool, right.values()))
    print(f"\n| proofreading, {words:,} words | planted | corrected |\n|---|---|---|")
    for kind in KINDS:
        undone = [bool(each) for slip, each in right.items() if slip.kind == kind]
        print(f"| {kind} | {len(undone)} | {sum(undone)} |")
    marked = sum(
        any(each.start < slip.end and each.end > slip.start for slip in slips)
        for each in found
    )
    print(
        f"\n{len(found)} corrections, {good} of them right: precision "
        f"{good / max(1, len(found)):.2f}, recall {good / len(slips):.2f}; "
        f"{marked} are within a slip. {words / taken:.0f} words/s."
    )
    for reported in EditKind:
        ours = [each for each in found if each.kind == reported]
        hits = sum(any(each in some for some in right.values()) for each in ours)
        print(f"Reported as {reported}: {len(ours)}, right: {hits}.")
