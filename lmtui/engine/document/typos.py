"""Plausible slips of the pen: words that a written word may have been meant to be.

The words come from a dictionary, the model's vocabulary and the text itself; the lists
here are of English words that writers take for each other. Knows no model and no
probabilities.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import torch
from torch import Tensor

from lmtui.engine.document.words import letter_case


class EditKind(StrEnum):
    """Kind of slip that a correction undoes."""

    UNKNOWN = "unknown word"
    """No word of the dictionary, but almost one."""
    CONFUSED = "confused word"
    """A word that is often written for this one."""
    UNGRAMMATICAL = "ungrammatical"
    """A word between others beside which it is hardly ever right."""
    MISSPELT = "misspelt"
    """No word of the vocabulary, but almost one; where no dictionary is asked."""
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

# Commas are between the words of a group, semicolons between the groups.
_SAME_SOUND = """
its, it's; their, there, they're; your, you're; whose, who's; then, than; to, too, two;
see, sea; witch, which; were, where, we're; weather, whether; lose, loose; affect,
effect; accept, except; quiet, quite; passed, past; no, know; now, know; new, knew;
hear, here; write, right; threw, through; through, though; break, brake; piece, peace;
breath, breathe; advice, advise; practice, practise; principal, principle; lead, led;
week, weak; wait, weight; waist, waste; whole, hole; bare, bear; meet, meat; steel,
steal; plane, plain; peak, peek; sell, cell; scene, seen; road, rode; bought, brought;
cloths, clothes; desert, dessert; aloud, allowed; board, bored; course, coarse; die,
dye; fair, fare; flour, flower; great, grate; hour, our; mail, male; mist, missed; pair,
pear; pore, pour; rain, reign; roll, role; sail, sale; sight, site; son, sun; stair,
stare; stationary, stationery; tail, tale; tide, tied; vain, vein; wood, would;
compliment, complement; council, counsel; pole, poll; personal, personnel; moral,
morale; dairy, diary; choose, chose; use, used; suppose, supposed; bath, bathe; cloth,
clothe; angel, angle; though, thought; thing, think
"""
_APOSTROPHES_AND_SPACES = """
cant, can't; wont, won't; lets, let's; hes, he's; shes, she's; well, we'll; im, I'm;
ill, I'll; id, I'd; ive, I've; hell, he'll; shell, she'll; apart, a part; everyday,
every day; maybe, may be
"""
_VERB_FORMS = """
was, were; is, are; am, is, are; has, have; don't, doesn't; dont, doesn't; wasn't,
weren't; isn't, aren't; hasn't, haven't; do, does; seen, saw; done, did; gone, went;
came, come; ran, run; gave, given; took, taken; began, begun; drank, drunk; wrote,
written; broke, broken; grew, grown; knew, known; rang, rung; sang, sung; ate, eaten;
swam, swum; spoke, spoken; stole, stolen; chose, chosen; drove, driven; fell, fallen;
flew, flown; forgot, forgotten; rode, ridden; shook, shaken; sank, sunk; threw, thrown;
wore, worn; lay, laid; lie, lay; layed, laid, lay; sat, sit, set; rise, raise; rose,
raised; who, whom
"""
CONFUSED_WORDS = tuple(
    tuple(word.strip() for word in group.split(","))
    for groups in (_SAME_SOUND, _APOSTROPHES_AND_SPACES, _VERB_FORMS)
    for group in groups.split(";")
)
"""Groups of words that are written for each other."""
_PRONOUN = "i|you|he|she|it|we|they|who"
_PAST = (
    "saw|did|went|came|ran|gave|took|began|drank|wrote|broke|grew|knew|ate|spoke|fell"
)
UNGRAMMATICAL = tuple(
    (re.compile(f"(?:{pattern})", re.IGNORECASE), tuple(others.split()))
    for pattern, others in (
        (r"(?:could|should|would|might|must)(?:n't)? of \w+", "have"),
        (r"(?:\w+er|more|less|worse|rather|other) then \w+", "than"),
        (r"\w* its (?:been|not|a|an|the|too|so|very|going|getting|time)", "it's"),
        (r"\w* it's (?:own|\w+ness)", "its"),
        (
            r"\w* your (?:going|not|a|an|the|welcome|never|always|too|so|wrong)",
            "you're",
        ),
        (r"\w* (?:their|they're) (?:is|was|are|were|will|has|had|would|been)", "there"),
        (r"\w* there (?:own|going|not)", "their they're"),
        (
            r"\w* (?:to|two) (?:much|many|late|early|long|often|big|small|far|soon)",
            "too",
        ),
        (r"\w* who's (?:own|name)", "whose"),
        (r"\w* whose (?:been|going|the|a|not)", "who's"),
        (r"(?:you|we|they|these|those) was \w*", "were"),
        (r"(?:you|we|they|these|those) is \w*", "are"),
        (r"(?:you|we|they|i) has \w*", "have"),
        (r"(?:he|she|it) (?:don't|dont) \w*", "doesn't"),
        (r"(?:he|she|it) have \w*", "has"),
        (r"(?:he|she|it) are \w*", "is"),
        (rf"(?:{_PRONOUN}) seen \w*", "saw"),
        (rf"(?:{_PRONOUN}) done \w*", "did"),
        (rf"(?:has|have|had|having) (?:{_PAST}) \w*", ""),
        (r"\w+ use to", "used"),
        (r"\w* alot \w*", "a_lot"),
        (r"\w* aswell \w*", "as_well"),
        (r"\w* infact \w*", "in_fact"),
        (r"\w* noone \w*", "no_one"),
        (r"\w* eachother \w*", "each_other"),
        (r"\w+ suppose to", "supposed"),
    )
)
"""Patterns of a word between its neighbours, and what may be meant; where nothing is
named, it is what the groups say."""

_SHORT = 4  # letters up to which a word differs by one edit, not two
_LETTERS = 26
_LONGEST = 24  # letters of a word that is looked up


def ungrammatical(before: str, word: str, after: str) -> list[str]:
    """Return the words that are meant where `word` hardly ever is right between its
    neighbours, in lower case."""
    written = f"{before} {word} {after}".replace("’", "'")
    for pattern, others in UNGRAMMATICAL:
        if pattern.fullmatch(written):
            return [other.replace("_", " ") for other in others] or confused_with(word)
    return []


def confused_with(word: str) -> list[str]:
    """Return the words that are often meant where `word` is written, in lower case but
    for *I*."""
    lower = word.lower().replace("’", "'")
    words = dict.fromkeys(
        other
        for group in CONFUSED_WORDS
        if lower in group
        for other in group
        if other != lower
    )
    stem, apostrophe, ending = lower.rpartition("'")
    if apostrophe and ending == "s" and len(stem) > 2:
        words |= dict.fromkeys((stem + "s", stem))
    return list(words)


def is_function_word(word: str) -> bool:
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
        self._bags = _bags(self._words)  # [words, 27]

    def __contains__(self, word: str) -> bool:
        return word in self._known

    def near(self, word: str) -> list[str]:
        """Return the words one or two edits from `word`, a short one from one; without
        the word itself, in alphabetic order."""
        if not 1 < len(word) <= _LONGEST:
            return []
        most = 1 if len(word) <= _SHORT else 2
        # An edit changes the counts of two letters by one at most.
        apart = (self._bags - _bags([word])).abs().sum(1)
        likely = (apart <= 2 * most).nonzero().flatten().tolist()
        near = (self._words[index] for index in likely)
        return [
            other
            for other in near
            if other != word and edit_distance(word, other, most=most) <= most
        ]


def _bags(words: Sequence[str]) -> Tensor:
    """Return [words, 27]: how often each letter of the alphabet is in each word, and
    any other."""
    cut = [word[:_LONGEST] for word in words]
    codes = array("I", map(ord, "".join(cut)))
    letters = torch.tensor(codes, dtype=torch.int64) - ord("a")
    letters[(letters < 0) | (letters >= _LETTERS)] = _LETTERS
    lengths = torch.tensor([len(word) for word in cut], dtype=torch.int64)
    rows = torch.arange(len(cut)).repeat_interleave(lengths)
    cells = rows * (_LETTERS + 1) + letters
    counts = torch.bincount(cells, minlength=len(cut) * (_LETTERS + 1))
    return counts.to(torch.int8).view(-1, _LETTERS + 1)


def written_like(word: str, model: str) -> str:
    """Return a lower-case word with the letter case of another one."""
    match letter_case(model):
        case "title":
            return word[:1].upper() + word[1:]
        case "upper":
            return word.upper() if len(model) > 1 else word.capitalize()
    return word


def other_words(
    word: str,
    vocabulary: WordIndex,
    own: WordIndex,
    *,
    between: tuple[str, str] = ("", ""),
    spelling: WordIndex | None = None,
) -> Iterator[tuple[str, EditKind]]:
    """Yield what `word`, between two others, may have been meant to be: words of the
    vocabulary, and the text's own; where it is misspelt, those of `spelling`."""
    lower, case = word.lower(), letter_case(word)
    if case == "none":
        return
    for other in ungrammatical(between[0], word, between[1]):
        yield _typed(other, word), EditKind.UNGRAMMATICAL
    for other in confused_with(word):
        yield _typed(other, word), EditKind.CONFUSED
    if spelling is not None:
        for other in spelled_like(lower.replace("’", "'"), spelling, vocabulary):
            yield _typed(other, word), EditKind.UNKNOWN
        return
    near_kind = EditKind.SIMILAR if lower in vocabulary else EditKind.MISSPELT
    for group in FUNCTION_WORDS:
        if lower in group:
            for other in sorted(group - {lower}):
                yield written_like(other, word), EditKind.FUNCTION_WORD
    if case == "upper" and len(word) > 1:
        return  # letters of an abbreviation say nothing of its spelling
    for index in (vocabulary, own):
        for other in index.near(lower):
            yield written_like(other, word), near_kind
    if case in ("lower", "title"):
        other = lower if case == "title" else lower.capitalize()
        yield other, EditKind.LETTER_CASE


def spelled_like(
    word: str, spelling: WordIndex, vocabulary: WordIndex
) -> Iterator[str]:
    """Yield the words of a dictionary near one that is not in it, and the pairs of
    common words that it joins."""
    stem, apostrophe, ending = word.partition("'")
    yield from (*spelling.near(word), *vocabulary.near(word))
    if apostrophe:
        yield from (near + apostrophe + ending for near in spelling.near(stem))
    for at in range(1, len(word)):
        parts = word[:at], word[at:]
        if all(
            part == "a" or (part in vocabulary and part in spelling) for part in parts
        ):
            yield " ".join(parts)


def _typed(other: str, word: str) -> str:
    """Return a word with the letter case and the apostrophe of the one it replaces."""
    mark = "’" if "’" in word else "'"
    letters = word.replace(mark, "")  # the case of "It's" is mixed, that of "Its" title
    return written_like(other, letters).replace("'", mark)


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
