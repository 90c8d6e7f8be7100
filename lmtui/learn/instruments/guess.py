"""Instrument: Shannon's game. A text is guessed word by word, by the learner and by the
model, and the guesses become bits.

The learner's bits are those of a code that can be used, as in C. E. Shannon,
"Prediction and Entropy of Printed English", Bell System Technical Journal 30 (1951): a
twin who guesses the same words in the same order could write the text down again from
the answers alone. Each guess is answered yes or no, 1 bit. A word that is not guessed
is spelled, with all letters equally probable; its end is a letter too. Letter case and
punctuation are given, to the learner and to the model.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from lmtui import notation
from lmtui.engine.scoring.totals import bits_per
from lmtui.engine.types import ScoredToken
from lmtui.learn.figure import Cell, Column, Figure, Table, Words, row
from lmtui.learn.instrument import Instrument, Measurement, Option
from lmtui.learn.instruments.texts import Reading, score, sentences_of

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LONGEST = 240
"""Most bytes of the learner's own text that are played at once."""
_SHORTEST = 60
"""Fewest characters of a sentence that is played, as far as there are such."""
_SHOWN = 140
"""Most characters of the uncovered text that are shown."""
_ALPHABET = len(string.ascii_lowercase) + 1
"""Letters and the end of a word, as the text of the page counts them."""
_TOP = 20
"""Tokens of each position among which the model's own guesses are looked for."""
_ROWS = 2
"""Most rows of the last word, so that the score fits below on a small screen."""
_BLANK = "____"


@dataclass(slots=True)
class Attempt:
    word: str
    tokens: Sequence[ScoredToken] = ()
    """Empty until they are scored."""


@dataclass(slots=True)
class Play:
    word: str
    tokens: Sequence[ScoredToken]
    spelling: float
    """Bits of its spelling."""
    model_guesses: int | None
    """At which guess the model finds it; None for not within the limit."""
    attempts: list[Attempt] = field(default_factory=list)
    is_over: bool = False
    is_right: bool = False

    @property
    def characters(self) -> int:
        """Letters, and the space that ends them."""
        return len(self.word) + 1

    @property
    def bits(self) -> float:
        """Cost to the learner."""
        return len(self.attempts) + (0.0 if self.is_right else self.spelling)

    def model_bits(self, limit: int) -> float:
        """Cost to the model under the same rule."""
        return self.model_guesses or limit + self.spelling


class GuessInstrument(Instrument):
    """Shannon's game with words: the learner guesses what comes next; beside it, what
    the model expected, and the bits of both."""

    NAME = "guess"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The text that is guessed."),
        "given": Option("Number of words that are given.", int, 3, low=1, high=20),
        "guesses": Option("Most guesses at a word.", int, 3, low=1, high=9),
        "try": Option("The guess that is shown in a handout."),
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "guessed": "a word was guessed, right or wrong",
        "right": "a word was guessed right",
        "five": "at five words a guess was made, and they are uncovered",
    }
    ASKS = "Next word"
    EMPTIES = True
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (("enter", "{try}"),)

    _number = 0
    _reading: Reading | None = None
    _words: Sequence[tuple[int, int]] = ()
    _at = 0

    def begin(self) -> Measurement | None:
        self.entered = ""
        self._plays: list[Play] = []
        return self._open()

    def _open(self) -> Measurement | None:
        """Begin with the text of this number."""
        text = self._passage()
        words = [match.span() for match in _WORD.finditer(text)]
        given = self.options["given"]
        if len(words) <= given:
            self.message = (
                "There are too few words to guess here: the game needs a text with "
                "spaces between its words."
            )
            return None

        def take(reading: Reading) -> None:
            self.message = ""
            if self.material.is_own and text == self.options["text"]:
                self.message = (
                    "Your text has no sentence that is long enough to be guessed: "
                    "this is the page's."
                )
            self._reading, self._words, self._at = reading, words, given
            self._plays.append(self._next_play())

        return Measurement(
            lambda engine, _: score(engine, text, top_n=_TOP),
            take,
            words="reading the text",
        )

    def _passage(self) -> str:
        """Return the text of the page, then sentences of the course's; of the learner's
        own text, its sentences."""
        text: str = self.options["text"]
        number = self._number if self.material.is_own else self._number - 1
        sentences = [
            each
            for each in sentences_of(self.material.text)
            if len(_WORD.findall(each)) > self.options["given"]
        ]
        if number < 0 or not sentences:
            return text
        long = [each for each in sentences if len(each) >= _SHORTEST] or sentences
        text = long[number % len(long)]
        if len(text.encode()) > _LONGEST:
            cut = text.encode()[:_LONGEST].decode(errors="ignore")
            text = cut.rpartition(" ")[0] or cut
        return text

    @property
    def _letter(self) -> float:
        """Bits of a letter: a to z, what else is in the words of this text, and the end
        of a word."""
        assert self._reading is not None
        words = (self._reading.text[start:end] for start, end in self._words)
        letters = {*string.ascii_lowercase}.union(*map(_plain, words))
        return math.log2(len(letters) + 1)

    def _next_play(self) -> Play:
        assert self._reading is not None
        start, end = self._words[self._at]
        text = self._reading.text
        found = word_tokens(self._reading, start, end)
        return Play(
            word=text[start:end],
            tokens=[self._reading.tokens[i] for i in found],
            spelling=(end - start + 1) * self._letter,
            model_guesses=model_guesses(self._reading, found, self.options["guesses"]),
        )

    @property
    def current(self) -> Play:
        """The word that is guessed now, or the last one of a text that is over."""
        return self._plays[-1]

    @property
    def covered_from(self) -> int:
        """Where the text is still covered, in code points."""
        return self._words[self._at][0]

    def enter(self, text: str) -> Measurement | None:
        if self._reading is None:
            return self._open()
        if self.current.is_over:
            self._number += 1
            return self._open()
        play = self.current
        if not text.strip():
            self._uncover(f"It was “{play.word}”.")
            return None
        words = _WORD.findall(text)
        if len(words) != 1:
            self.message = "Write one word; an empty field uncovers it."
            return None
        return self._attempt(words[0], play)

    def _attempt(self, word: str, play: Play) -> Measurement | None:
        """Answer to a guess."""
        if any(_plain(word) == _plain(other.word) for other in play.attempts):
            self.message = f"You have tried “{word}” before."
            return None
        attempt = Attempt(word)
        play.attempts.append(attempt)
        self.done.add("guessed")
        if _plain(word) == _plain(play.word):
            self.done.add("right")
            attempt.tokens, play.is_right = play.tokens, True
            self._uncover(f"“{play.word}” is right.")
            return None
        left = self.options["guesses"] - len(play.attempts)
        start = self.covered_from
        if left:
            self.message = f"Not “{word}”. Guesses left: {left}."
        else:
            self._uncover(f"Not “{word}”. It was “{play.word}”.")
        return self._score_attempts(play, start)

    def _score_attempts(self, play: Play, start: int) -> Measurement:
        """Score the guesses that have no numbers yet: the last one, and those that it
        was too quick for."""
        assert self._reading is not None
        before = self._reading.text[:start]
        new = [attempt for attempt in play.attempts if not attempt.tokens]

        def take(readings: Sequence[Reading]) -> None:
            for attempt, reading in zip(new, readings, strict=True):
                numbers = word_tokens(reading, start, len(reading.text))
                attempt.tokens = [reading.tokens[number] for number in numbers]

        return Measurement(
            lambda engine, _: [score(engine, before + each.word) for each in new], take
        )

    def _uncover(self, words: str) -> None:
        """End the play of a word, and begin that of the next one."""
        self.current.is_over = True
        tried = sum(play.is_over and bool(play.attempts) for play in self._plays)
        if tried >= 5:
            self.done.add("five")
        if self._at + 1 < len(self._words):
            self._at += 1
            self._plays.append(self._next_play())
        else:
            words += " The text is over; the next line you enter begins another one."
        self.message = words

    @property
    def figure(self) -> Figure:
        """The text so far, the last word, and what all words cost."""
        if self._reading is None:
            return ()
        return (Words(self._uncovered(), "strong"), *self._last())

    def _uncovered(self) -> str:
        assert self._reading is not None
        text = self._reading.text
        if not self.current.is_over:
            text = text[: self.covered_from]
        if len(text) > _SHOWN:
            text = f"… {text[-_SHOWN:].partition(' ')[2]}"
        return text if self.current.is_over else text + _BLANK

    def _last(self) -> Figure:
        """The last guess and the word as far as it is uncovered, with the score."""
        shown = [play for play in self._plays if play.attempts or play.is_over]
        if not shown:
            return ()
        play = shown[-1]
        rows = [_word_row("guess", each.word, each.tokens) for each in play.attempts]
        if play.is_right:
            rows.pop()
        if play.is_over:
            name = "right" if play.is_right else "it was"
            rows.append(_word_row(name, play.word, play.tokens))
        columns = (
            Column(""), Column("word"), Column("the model's p", right=True),
            Column("rank", right=True), Column("bits", right=True),
        )  # fmt: skip
        return (Table("", columns, tuple(rows[-_ROWS:]), self._score()),)

    def _score(self) -> str:
        """Return what all uncovered words cost, by the rule and by the
        probabilities."""
        plays = [play for play in self._plays if play.is_over]
        if not plays:
            return ""
        limit, characters = self.options["guesses"], sum(p.characters for p in plays)
        logprobs = [token.logprob for play in plays for token in play.tokens]
        known = [each for each in logprobs if each is not None]
        total = sum(known) if len(known) == len(logprobs) else None
        ours = sum(play.bits for play in plays) / characters
        theirs = sum(play.model_bits(limit) for play in plays) / characters
        found = sum(play.is_right for play in plays)
        model = sum(play.model_guesses is not None for play in plays)
        price = (
            f" A letter costs {notation.number(self._letter)} bits in this text, since "
            "it has others than a to z."
            if self._letter > math.log2(_ALPHABET)
            else ""
        )
        return (
            f"You: {found} of {notation.counted(len(plays), 'word')}, "
            f"{notation.rate(ours)} {notation.PER_CHARACTER.full}. The model, by your "
            f"rule: {model} of {notation.counted(len(plays), 'word')}, "
            f"{notation.rate(theirs)}; by its probabilities: "
            f"{notation.rate(bits_per(total, characters))}.{price}"
        )


def _plain(word: str) -> str:
    """Return a word as it is compared."""
    return word.lower().replace("’", "'")


def _word_row(name: str, word: str, tokens: Sequence[ScoredToken]) -> tuple[Cell, ...]:
    known = [token.logprob for token in tokens if token.logprob is not None]
    whole = known and len(known) == len(tokens)
    logprob = sum(known) if whole else None
    prob = None if logprob is None else math.exp(logprob)
    ranks = [notation.rank(token.rank) for token in tokens]
    return row(
        name,
        word,
        notation.chance(prob),
        ", then ".join(ranks) or notation.NONE,
        notation.surprisal(logprob),
    )


def word_tokens(reading: Reading, start: int, end: int) -> Sequence[int]:
    """Return the numbers of the tokens of the word from `start` to `end`, with the
    space before it."""
    space = len(reading.text[:start].rstrip())
    return [
        number
        for number, (first, last) in enumerate(reading.spans)
        if first < end and (last > start or (first >= space and last > space))
    ]


def model_guesses(reading: Reading, numbers: Sequence[int], limit: int) -> int | None:
    """Return at which guess the model finds a word, given its tokens; None for not
    within `limit`.

    Its guesses are the most probable tokens that begin a word, each continued with the
    most probable token until the word ends.
    """
    tokens = [reading.tokens[number] for number in numbers]
    while tokens and not tokens[0].text.strip():
        tokens = tokens[1:]
    if not tokens:
        return None
    first, *others = tokens
    spaced = first.text[:1].isspace()
    words = [
        each.id
        for each in first.top
        if each.text[:1].isspace() == spaced and each.text.strip()[:1].isalnum()
    ][:limit]
    if first.id not in words or any(token.rank != 1 for token in others):
        return None
    after = reading.tokens[numbers[-1] + 1 : numbers[-1] + 2]
    if after and (not after[0].top or after[0].top[0].text[:1].isalnum()):
        return None  # it goes on with a longer word
    return words.index(first.id) + 1
