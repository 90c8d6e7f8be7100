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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from lmtui import notation
from lmtui.engine.scoring.totals import bits_per
from lmtui.engine.types import ScoredToken
from lmtui.learn.figure import Figure, Row, Words, numbers, table
from lmtui.learn.instrument import Instrument, Measurement, Options
from lmtui.learn.instruments.texts import (
    ScoredExcerpt,
    prob,
    score,
    sentences_of,
    total_logprob,
    word_tokens,
)

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LONGEST = 240
"""Most bytes of the learner's own text that are guessed at once."""
_SHORTEST = 60
"""Fewest characters of a sentence that is guessed, as far as there are such."""
_SHOWN = 140
"""Most characters of the uncovered text that are shown."""
_TOP = 20
"""Tokens of each position among which the model's own guesses are looked for."""
_ROWS = 2
"""Most rows of the last word, so that the score fits below on a small screen."""
_BLANK = "____"


@dataclass(slots=True)
class GuessRound:
    """A word of the text, with the guesses at it."""

    word: str
    tokens: Sequence[ScoredToken]
    spelling: float
    """Bits of its spelling."""
    model_guesses: int | None
    """At which guess the model finds it; None for not within the limit."""
    guesses: dict[str, Sequence[ScoredToken]] = field(default_factory=dict)
    """The tokens of each guess; none until they are scored."""
    is_over: bool = False
    is_right: bool = False

    @property
    def bits(self) -> float:
        """Cost to the learner."""
        return len(self.guesses) + (0.0 if self.is_right else self.spelling)

    def model_bits(self, limit: int) -> float:
        """Cost to the model under the same rule."""
        return self.model_guesses or limit + self.spelling


class GuessInstrument(Instrument):
    """Shannon's game with words: the learner guesses what comes next; beside it, what
    the model expected, and the bits of both."""

    NAME = "guess"
    OPTIONS: ClassVar[Options] = {
        "text": "",  # the text that is guessed
        "given": 3,  # number of words that are given
        "guesses": 3,  # most guesses at a word
    }
    ASKS = "Next word"
    EMPTIES = True

    _text_number = 0
    """Number of the text, from 0."""
    _scored: ScoredExcerpt | None = None
    _words: Sequence[tuple[int, int]] = ()
    """Start and end of each word of the text, in code points."""
    _word_index = 0

    def begin(self) -> Measurement | None:
        self.entered = ""
        self._rounds: list[GuessRound] = []
        return self._open()

    def _open(self) -> Measurement | None:
        text = self._passage()
        words = [match.span() for match in _WORD.finditer(text)]
        given = self.options["given"]
        if len(words) <= given:
            self.message = (
                "There are too few words to guess here: the game needs a text with "
                "spaces between its words."
            )
            return None

        def then(scored: ScoredExcerpt) -> None:
            self.message = ""
            if self.material.is_own and text == self.options["text"]:
                self.message = (
                    "Your text has no sentence that is long enough to be guessed: "
                    "this is the page's."
                )
            self._scored, self._words, self._word_index = scored, words, given
            self._rounds.append(self._round(scored))

        return Measurement(
            lambda engine, _: score(engine, text, top_n=_TOP),
            then,
            words="reading the text",
        )

    def _passage(self) -> str:
        """Return the text of the page, then sentences of the course's; of the learner's
        own text, its sentences."""
        text: str = self.options["text"]
        number = self._text_number if self.material.is_own else self._text_number - 1
        sentences = [
            sentence
            for sentence in sentences_of(self.material.text)
            if len(_WORD.findall(sentence)) > self.options["given"]
        ]
        if number < 0 or not sentences:
            return text
        long = [s for s in sentences if len(s) >= _SHORTEST] or sentences
        text = long[number % len(long)]
        if len(text.encode()) > _LONGEST:
            cut = text.encode()[:_LONGEST].decode(errors="ignore")
            text = cut.rpartition(" ")[0] or cut
        return text

    @property
    def _alphabet(self) -> set[str]:
        text = self._scored.text if self._scored else ""
        words = (_plain(text[start:end]) for start, end in self._words)
        return {*string.ascii_lowercase}.union(*words)

    @property
    def _letter_bits(self) -> float:
        """Bits of a letter, or of the end of a word."""
        return math.log2(len(self._alphabet) + 1)

    def _round(self, scored: ScoredExcerpt) -> GuessRound:
        start, end = self._words[self._word_index]
        numbers = word_tokens(scored, start, end)
        return GuessRound(
            word=scored.text[start:end],
            tokens=[scored.tokens[number] for number in numbers],
            spelling=(end - start + 1) * self._letter_bits,
            model_guesses=model_guesses(scored, numbers, self.options["guesses"]),
        )

    @property
    def current(self) -> GuessRound:
        """The word that is guessed now, or the last one of a text that is over."""
        return self._rounds[-1]

    @property
    def covered_from(self) -> int:
        """Where the text is still covered, in code points."""
        return self._words[self._word_index][0]

    def enter(self, text: str) -> Measurement | None:
        if self._scored is None:
            return self._open()
        if self.current.is_over:
            self._text_number += 1
            return self._open()
        if not text.strip():
            self._uncover(self._scored, f"It was “{self.current.word}”.")
            return None
        words = _WORD.findall(text)
        if len(words) != 1:
            self.message = "Write one word; an empty field uncovers it."
            return None
        return self._guess(self._scored, words[0], self.current)

    def _guess(
        self, scored: ScoredExcerpt, word: str, current: GuessRound
    ) -> Measurement | None:
        if _plain(word) in map(_plain, current.guesses):
            self.message = f"You have tried “{word}” before."
            return None
        current.guesses[word] = ()
        self.done.add("guessed")
        if _plain(word) == _plain(current.word):
            self.done.add("right")
            current.is_right = True
            self._uncover(scored, f"“{current.word}” is right.")
            return None
        before = scored.text[: self.covered_from]
        left = self.options["guesses"] - len(current.guesses)
        if left:
            self.message = f"Not “{word}”. Guesses left: {left}."
        else:
            self._uncover(scored, f"Not “{word}”. It was “{current.word}”.")

        def then(scored: ScoredExcerpt) -> None:
            numbers = word_tokens(scored, len(before), len(scored.text))
            current.guesses[word] = [scored.tokens[number] for number in numbers]

        return Measurement(lambda engine, _: score(engine, before + word), then)

    def _uncover(self, scored: ScoredExcerpt, words: str) -> None:
        self.current.is_over = True
        if sum(part.is_over and bool(part.guesses) for part in self._rounds) >= 5:
            self.done.add("five")
        if self._word_index + 1 < len(self._words):
            self._word_index += 1
            self._rounds.append(self._round(scored))
        else:
            words += " The text is over; the next line you enter begins another one."
        self.message = words

    @property
    def figure(self) -> Figure:
        if self._scored is None:
            return ()
        return (Words(self._uncovered(self._scored.text), "strong"), *self._last_word())

    def _uncovered(self, text: str) -> str:
        shown = text if self.current.is_over else text[: self.covered_from]
        if len(shown) > _SHOWN:
            shown = f"… {shown[-_SHOWN:].partition(' ')[2]}"
        return shown if self.current.is_over else shown + _BLANK

    def _last_word(self) -> Figure:
        played = [part for part in self._rounds if part.guesses or part.is_over]
        if not played:
            return ()
        last = played[-1]
        wrong = [*last.guesses.items()][: len(last.guesses) - last.is_right]
        rows = [_word_row("guess", *guess) for guess in wrong]
        if last.is_over:
            name = "right" if last.is_right else "it was"
            rows.append(_word_row(name, last.word, last.tokens))
        heads = numbers("the model's p", "rank", "bits")
        note = self._score_note()
        return (table(("", "word", *heads), rows[-_ROWS:], note=note),)

    def _score_note(self) -> str:
        rounds = [part for part in self._rounds if part.is_over]
        if not rounds:
            return ""
        limit = self.options["guesses"]
        words = notation.counted(len(rounds), "word")
        # Letters, and the space that ends each word.
        characters = sum(len(part.word) + 1 for part in rounds)
        total = total_logprob(token for part in rounds for token in part.tokens)
        ours = sum(part.bits for part in rounds) / characters
        theirs = sum(part.model_bits(limit) for part in rounds) / characters
        right = sum(part.is_right for part in rounds)
        model = sum(part.model_guesses is not None for part in rounds)
        price = (
            f" A letter costs {notation.number(self._letter_bits)} bits in this text, "
            "since it has others than a to z."
            if len(self._alphabet) > len(string.ascii_lowercase)
            else ""
        )
        return (
            f"You: {right} of {words}, {notation.rate(ours)} "
            f"{notation.PER_CHARACTER.full}. The model, by your rule: {model} of "
            f"{words}, {notation.rate(theirs)}; by its probabilities: "
            f"{notation.rate(bits_per(total, characters))}.{price}"
        )


def _plain(word: str) -> str:
    """Return a word as it is compared."""
    return word.lower().replace("’", "'")


def _word_row(name: str, word: str, tokens: Sequence[ScoredToken]) -> Row:
    logprob = total_logprob(tokens)
    ranks = [notation.rank(token.rank) for token in tokens]
    return (
        name,
        word,
        notation.chance(prob(logprob)),
        ", then ".join(ranks) or notation.NONE,
        notation.surprisal(logprob),
    )


def model_guesses(
    scored: ScoredExcerpt, numbers: Sequence[int], limit: int
) -> int | None:
    """Return at which guess the model finds a word, given its tokens; None for not
    within `limit`.

    Its guesses are the most probable tokens that begin a word, each continued with the
    most probable token until the word ends.
    """
    tokens = [scored.tokens[number] for number in numbers]
    while tokens and not tokens[0].text.strip():
        tokens = tokens[1:]
    if not tokens:
        return None
    first, *others = tokens
    spaced = first.text[:1].isspace()
    words = [
        candidate.id
        for candidate in first.top
        if candidate.text[:1].isspace() == spaced
        and candidate.text.strip()[:1].isalnum()
    ][:limit]
    if first.id not in words or any(token.rank != 1 for token in others):
        return None
    after = scored.tokens[numbers[-1] + 1 : numbers[-1] + 2]
    if after and (not after[0].top or after[0].top[0].text[:1].isalnum()):
        return None  # it goes on with a longer word
    return words.index(first.id) + 1
