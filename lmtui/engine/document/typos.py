"""Plausible slips of the pen: English words that a written one may be meant to be.

Rules over the words around, groups of words that writers take for each other, and the
words of a dictionary one or two edits away. Knows no model and no probabilities.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from itertools import chain

from lmtui.engine.document.dictionary import (
    Spelling,
    common_words,
    dictionary,
    normalised,
)
from lmtui.engine.document.types import Correction
from lmtui.engine.document.words import letter_case


class EditKind(StrEnum):
    """Kind of slip that a correction undoes."""

    UNKNOWN = "unknown word"
    """No word of the dictionary, but almost one."""
    UNGRAMMATICAL = "ungrammatical"
    """A word between others beside which it is hardly ever right."""
    CONFUSED = "confused word"
    """A word that is often written for this one."""
    INFLECTED = "other form"
    """Another form of the same word, by number or tense."""
    SIMILAR = "similar word"
    """One word in place of another that is spelt almost the same."""
    PREPOSITION = "preposition"
    """One preposition in place of another."""
    SWAPPED = "swapped words"
    DOUBLED = "doubled word"


_PREPOSITIONS = """
in on at of to for from with by about into onto over under after before between through
during against upon within without as
"""
PREPOSITIONS = frozenset(_PREPOSITIONS.split())

_GROUPS = """
its, it's; their, there, they're; your, you're; whose, who's; then, than; to, too, two;
see, sea; witch, which; were, where, we're; weather, whether; lose, loose; affect,
effect; affects, effects; affected, effected; loses, looses; losing, loosing; accept,
except, expect; accepted, excepted; quiet, quite; passed, past; no, know; now, know;
new, knew; hear, here; write, right; threw, through; through, though; break, brake;
piece, peace; pieces, peaces; breath, breathe; advice, advise; practice, practise;
principal, principle; lead, led; week, weak; wait, weight; waist, waste; whole, hole;
bare, bear; meet, meat; steel, steal; plane, plain; peak, peek; sell, cell; scene, seen;
road, rode; bought, brought; cloths, clothes; desert, dessert; aloud, allowed; board,
bored; course, coarse; die, dye; fair, fare; flour, flower; great, grate; hour, our;
mail, male; mist, missed; pair, pear; pore, pour; rain, reign; roll, role; sail, sale;
sight, site; son, sun; stair, stare; stationary, stationery; tail, tale; tide, tied;
vain, vein; wood, would; compliment, complement; council, counsel; pole, poll; personal,
personnel; moral, morale; dairy, diary; choose, chose; use, used; suppose, supposed;
bath, bathe; cloth, clothe; angel, angle; though, thought; thing, think; buy, by; form,
from; them, then; you, your; ensure, insure; access, excess; device, devise; precede,
proceed

cant, can't; wont, won't; lets, let's; hes, he's; shes, she's; well, we'll; im, I'm;
ill, I'll; id, I'd; ive, I've; hell, he'll; shell, she'll; apart, a part; everyday,
every day; maybe, may be

was, were; is, are; am, is, are; has, have; do, does; don't, doesn't; dont, doesn't;
wasn't, weren't; isn't, aren't; hasn't, haven't; lay, laid, lie; sit, sat, set; rise,
raise; rose, raised; who, whom
"""
CONFUSED_WORDS = [
    re.split(r",\s*", group.strip()) for group in re.split(r";|\n\n", _GROUPS)
]
"""Groups of words that are written for each other: by sound, without an apostrophe or
a space, and by number."""

_VERBS = """
see saw seen, do did done, go went gone, come came come, run ran run, give gave given,
take took taken, begin began begun, drink drank drunk, write wrote written, break broke
broken, grow grew grown, know knew known, ring rang rung, sing sang sung, eat ate eaten,
swim swam swum, speak spoke spoken, steal stole stolen, choose chose chosen, drive drove
driven, fall fell fallen, fly flew flown, forget forgot forgotten, ride rode ridden,
shake shook shaken, sink sank sunk, throw threw thrown, wear wore worn, become became
become, blow blew blown, draw drew drawn, hide hid hidden, tear tore torn, wake
woke woken, freeze froze frozen, forgive forgave forgiven, rise rose risen, undergo
underwent undergone
"""
"""Irregular verbs: present, past, participle."""

_PRONOUN = "i|you|he|she|it|we|they"
_SINGULAR = "he|she|it|who|everyone|everybody|someone|somebody|nobody|each|this"
_MODAL = "will|can|would|should|may|must|might|could|did|had"
_ING = (
    "(coming|going|doing|trying|using|looking|planning|getting|having|being|making|"
    "thinking|asking|interested|able|late|ready|sure)"
)
_SMALL = (
    "of|that|is|was|and|or|in|to|for|behind|which|has|as|on|at|by|from|you|we|i|they|"
    "he|she|it|can|should|must|may|will|also|here|then"
)
_OWNED = "my|your|his|her|its|our|their"
_OBJECT = f"(a|an|the|more|less|no|any|it|them|us|me|you|hardly|only|{_OWNED})"
_COMPARED = (
    "more|less|fewer|rather|better|worse|larger|smaller|greater|higher|lower|faster|"
    "slower|older|newer|longer|shorter|earlier|easier|cheaper|harder"
)
_TABLE = rf"""
! (could|should|would|might|must)(n't)? <of> (?!course)\w+ = have
! (will|may|can) <of> (to|been) = have
! ({_COMPARED}) <then> \w+ = than
! <its> (been|not|a|an|the|going|getting) = it's
! <it's> own = its
! <your> (going|not|a|an|the) = you're
! (if|when|that|because|think|know|whether|where) <your> {_ING} = you're
! <(?:their|they're)> (is|was|are|were|will be|has been|have been|would) = there
! <there> own = their
! <who's> (own|name) = whose
! <whose> (been|going) = who's
! (you|we|they|these|those) <was> = were
! (we|they|these|those) <is> = are
! (we|they|these|those) <has> = have
! (he|she|it) <(?:don't|dont)> = doesn't
(he|she|it) <(?:have|are)> = has, is
! (the|a|our|your|his|its|their) <principle> (?!(?:{_SMALL})\b)\w+ = principal
! <loose> (the|a|an|all|data|track|sight|time|weight|{_OWNED}) = lose
! ({_MODAL}|to|not|never|don't|won't|you|we|they|i) <loose> = lose
! (he|she|it) <effects> = affects
! ({_MODAL}|not|won't|doesn't|can't) <effect> = affect
! (the|an|no|any|side|little) <affect> = effect
! <(?:alot|alots)> = a lot
! <eachother> = each other
! \w+ <suppose> to = supposed
(turn|turned|take|took|switch|switched|cut|put|log|set|shut|get|far) <of> = off
<i> = I
! <i'(m|ve|ll|d)> = I'\1
<less> (\w+s|people|men|women|children) = fewer
({_SINGULAR}) <(?!(?:{_MODAL})\b)(\w+[^\Ws])> = \1s, \1es
({_SINGULAR}) <(\w+)y> = \1ies
({_PRONOUN}|to|people) <(\w\w+)s> = \1
({_PRONOUN}|to|people) <(\w+)es> = \1
? (?!(?:this|his|its|is|was|has|as|us)\b)\w+s <(?!others)(\w\w+)s> = \1
? (the|a|an|each|every|{_OWNED}) \w+[^\Ws] <(\w\w+[^\Ws])> {_OBJECT} = \1s
<this> (?!(?:is|was|has|does|as)\b)\w+[^\Ws]s = these
<(\w\w+)'s> (are|were|have|and|or|of|in|for|that|which) = \1s
? <a> [aeio]\w+ = an
? <an> [bcdfgjklmnpqrstvwxyz]\w*[aeiouy]\w* = a
"""
"""Rules over neighbours: a word in angle brackets among others (regular expressions),
and what may be meant; `!` where the word can hardly be right, `?` where it often is."""
_KINDS = {"!": EditKind.UNGRAMMATICAL, "?": EditKind.INFLECTED}

_LETTERS = "abcdefghijklmnopqrstuvwxyz'"
_DOUBLED = ("that", "had", "is", "very", "so", "no")  # that may be right twice
_FAR = 7  # letters from which a word is looked for two edits away
_AROUND = 40  # code points on each side that a rule looks at

Span = tuple[int, int]
"""Start and end in a text, in code points."""


def _rule(line: str) -> tuple[re.Pattern[str], tuple[str, ...], EditKind]:
    """Read a rule; groups of its context capture nothing."""
    pattern, meant = line.lstrip("?! ").rsplit(" = ", 1)
    before, word, after = re.split("[<>]", pattern)
    before, after = (re.sub(r"\((?!\?)", "(?:", part) for part in (before, after))
    compiled = re.compile(rf"(?<![\w'-]){before}<{word}>{after}(?![\w'])")
    kind = _KINDS.get(line[0], EditKind.CONFUSED)
    return compiled, tuple(meant.split(", ")), kind


def _verb_rules(verb: str) -> Iterator[str]:
    present, past, participle = verb.split()
    adverb = "(not |never |already |just |also |ever |always )?"
    if past != participle:
        yield f"! (has|have|had)(n't)? {adverb}<{past}> = {participle}"
        yield f"? (is|are|was|were|be|been|being) {adverb}<{past}> = {participle}"
        yield f"({_PRONOUN}|who) <{participle}> = {past}"
    yield f"? <{present}> = {past}"
    yield f"<{present.removesuffix('e')}ed> = {past}, {participle}"


_IRREGULAR = chain.from_iterable(map(_verb_rules, _VERBS.split(",")))
_RULES = tuple(map(_rule, [*_TABLE.strip().splitlines(), *_IRREGULAR]))


def confused_with(text: str, start: int, end: int) -> dict[str, EditKind]:
    """Return what may be meant in place of a word by the rules and the groups."""
    word = normalised(text[start:end])
    before = " ".join(normalised(f"{text[max(0, start - _AROUND) : start]}|").split())
    after = " ".join(normalised(f"|{text[end : end + _AROUND]}").split())
    around = f"{before[:-1]}<{word}>{after[1:]}"
    others: dict[str, EditKind] = {}
    for rule, meant, kind in _RULES:
        if match := rule.search(around):
            for other in map(match.expand, meant):
                if other != word and (other.lower() in dictionary() or " " in other):
                    others.setdefault(other, kind)
    for group in CONFUSED_WORDS:
        if word in group:
            for other in group:
                others.setdefault(other, EditKind.CONFUSED)
    return others


def spelled_like(plain: str) -> dict[str, EditKind]:
    """Return the words of the dictionary near one that is not in it, and the pairs of
    common words that it joins. Few slips change the first letter; names do."""
    known, common = dictionary(), common_words()
    stem, apostrophe, ending = plain.partition("'")
    starts = plain[0], plain[1::-1]
    near = {other for other in known & _edits(plain) if other.startswith(starts)}
    if apostrophe:
        near |= {f"{other}'{ending}" for other in known & _edits(stem)}
    pairs = ((plain[:at], plain[at:]) for at in range(2, len(plain) - 1))
    near |= {" ".join(pair) for pair in pairs if common.issuperset(pair)}
    if near or len(plain) < _FAR:
        return dict.fromkeys(sorted(near), EditKind.UNKNOWN)
    far = known & {far for edit in _edits(plain) for far in _edits(edit)}
    same = (other for other in sorted(far) if other[0] == plain[0])
    return dict.fromkeys(same, EditKind.SIMILAR)


def similar_words(plain: str, vocabulary: Collection[str]) -> dict[str, EditKind]:
    """Return the words of a vocabulary that are one edit away, and other prepositions
    in place of one."""
    near = sorted(_edits(plain).intersection(vocabulary))
    others = dict.fromkeys(near, EditKind.SIMILAR)
    if plain in PREPOSITIONS:
        others |= dict.fromkeys(sorted(PREPOSITIONS), EditKind.PREPOSITION)
    return others


def slips(
    text: str,
    word: Span,
    after: Span | None,
    vocabulary: Collection[str],
    spelling: Spelling,
) -> Iterator[Correction]:
    """Yield what a word, or its order with the one after it, may be meant to be; each
    as the likeliest kind of slip, and without its gain."""
    (start, end), written = word, text[slice(*word)]
    if spelling is Spelling.UNKNOWN:
        others = spelled_like(normalised(written))
    else:
        common = vocabulary if spelling is Spelling.KNOWN else ()
        others = similar_words(normalised(written), common)
    for other, kind in (others | confused_with(text, start, end)).items():
        if (typed := _typed(other, written)) != written:
            yield Correction(start, end, typed, kind, 0.0)
    between, second = (text[end : after[0]], text[slice(*after)]) if after else ("", "")
    if not after or not between.isspace() or between.count("\n") > 1:
        return
    if (first := written.lower()) == second.lower():
        if first not in _DOUBLED:
            yield Correction(end, after[1], "", EditKind.DOUBLED, 0.0)
    elif spelling is not Spelling.UNKNOWN:
        first = written
        if letter_case(first) == "title" and letter_case(second) == "lower":
            first, second = first.lower(), second.capitalize()
        both = second + between + first
        yield Correction(start, after[1], both, EditKind.SWAPPED, 0.0)


def _edits(word: str) -> set[str]:
    """Return everything one edit away from a word."""
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    deleted = {a + b[1:] for a, b in cuts if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    inserted = {a + c + b for a, b in cuts for c in _LETTERS}
    replaced = {a + c + b[1:] for a, b in cuts if b for c in _LETTERS}
    return deleted | swapped | inserted | replaced


def _typed(other: str, word: str) -> str:
    """Return a word with the letter case and the apostrophe of the one it replaces."""
    mark = "’" if "’" in word else "'"
    if letter_case(word.replace(mark, "")) == "title":  # that of "It's" is mixed
        other = other[:1].upper() + other[1:]
    return other.replace("'", mark)
