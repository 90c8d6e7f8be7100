"""Instrument: the chain rule. The probabilities of the tokens of a sentence, their
product, and the sum of their logarithms; two sentences compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from lmtui import notation
from lmtui.engine.document.words import spans_of_words
from lmtui.learn.figure import Cell, Column, Figure, Table, Words, row
from lmtui.learn.instrument import Action, Instrument, Measurement, Option
from lmtui.learn.instruments.texts import Reading, excerpt, sample_of, score
from lmtui.text import visible_token


class ChainInstrument(Instrument):
    """The tokens of a sentence as a chain: each with its probability given all before
    it, and the product so far; the sentence before stays, to be compared with."""

    NAME = "chain"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The sentence at the beginning."),
        "other": Option("The sentence that a handout compares it with."),
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "own": "a sentence was entered that is not the one of the page",
        "compare": "a sentence was entered that differs from the one entered before",
        "swap": "two neighbouring words were swapped",
    }
    ACTIONS: ClassVar[Sequence[Action]] = (
        Action("swap", "swap two words", "Swap two neighbouring words; each time two "
               "others."),
    )  # fmt: skip
    ASKS = "Sentence"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (("enter", "{other}"),)

    _shown: Reading | None = None
    _before: Reading | None = None
    _base: Reading | None = None
    """The sentence as it was entered, of which `_shown` may be a variation."""
    _is_own = False
    """Whether the learner entered `_base`."""
    _swaps = 0

    def begin(self) -> Measurement | None:
        self.entered = sample_of(self.material, self.options["text"])

        def take(reading: Reading) -> None:
            self._shown = self._base = reading
            self.message = ""

        return _measure(self.entered, take)

    def enter(self, text: str) -> Measurement | None:
        line = text.strip()
        if not line:
            self.message = "Write a sentence."
            return None

        def take(reading: Reading) -> None:
            self.message = ""
            first = self._base
            if first is not None and first.text != reading.text:
                self.done.add("own")
                if self._is_own:
                    self.done.add("compare")
                self._before, self._is_own = first, True
            self._shown = self._base = reading
            self._swaps = 0

        return _measure(line, take)

    def act(self, action: str) -> Measurement | None:
        base = self._base
        if base is None:
            return None
        swapped = swaps(base.text)
        if not swapped:
            self.message = "Enter a sentence with three different words or more."
            return None

        def take(reading: Reading) -> None:
            self.message = ""
            self._shown, self._before = reading, base
            self._swaps += 1
            self.done.add("swap")

        return _measure(swapped[self._swaps % len(swapped)], take)

    @property
    def figure(self) -> Figure:
        """The probability of the sentence, that of the one before, and the chain."""
        shown, before = self._shown, self._before
        if shown is None:
            return ()
        words = (
            f"“{excerpt(shown.text)}”{_given(shown)}: {notation.one_in(shown.total)}, "
            f"Σ log P {notation.log_prob(shown.total)} nats."
        )
        if before is not None and before.text != shown.text:
            words += f"\n{_compared(shown, before)}"
        return (Words(words), _chain(shown))

    @property
    def measured(self) -> str | None:
        """The sentence, before its words were swapped."""
        return None if self._base is None else self._base.text


def _measure(text: str, take: Callable[[Reading], None]) -> Measurement:
    return Measurement(lambda engine, _: score(engine, text), take)


def _compared(shown: Reading, before: Reading) -> str:
    """Return how many times likelier one of two sentences is than the other."""
    text = (
        f"Before: “{excerpt(before.text)}”, Σ log P "
        f"{notation.log_prob(before.total)} nats."
    )
    if shown.total is None or before.total is None:
        return text
    if _uncounted(shown) != _uncounted(before):
        return (
            f"{text} Which one is likelier is not known: they begin with different "
            "tokens, and neither number counts the first one."
        )
    gap = shown.total - before.total
    which = "new" if gap >= 0 else "old"
    return f"{text} The {which} one is {notation.times(abs(gap))} times likelier."


def _given(reading: Reading) -> str:
    """Return what the probability of a sentence is given, in words: its first token,
    before which this model reads nothing."""
    first = reading.tokens[0]
    known = first.logprob is not None or not reading.scored
    return "" if known else f", given “{visible_token(first.text)}”"


def _uncounted(reading: Reading) -> bytes:
    """Return the first token where it has no probability."""
    first = reading.tokens[0]
    return b"" if first.logprob is not None else first.bytes


def _chain(reading: Reading) -> Table:
    columns = (
        Column("token"), Column("p", right=True),
        Column("product so far", right=True), Column("log p", right=True),
        Column("sum so far", right=True),
    )  # fmt: skip
    first = reading.tokens[0].logprob is None
    note = (
        "The first token has nothing before it here, so it has no number: all "
        "products are given that token."
        if first
        else ""
    )
    return Table("", columns, tuple(_rows(reading)), note)


def _rows(reading: Reading) -> Iterator[tuple[Cell, ...]]:
    so_far: float | None = 0.0
    for number, token in enumerate(reading.tokens):
        logprob = token.logprob
        if logprob is None and number == 0:
            yield row(visible_token(token.text), *[notation.NONE] * 4)
            continue
        # From a token on that a server does not tell, there is no product either.
        so_far = None if so_far is None or logprob is None else so_far + logprob
        prob = None if logprob is None else math.exp(logprob)
        yield row(
            visible_token(token.text),
            notation.chance(prob),
            notation.one_in(so_far),
            notation.log_prob(logprob),
            notation.log_prob(so_far),
        )


def swaps(text: str) -> Sequence[str]:
    """Return a text with two neighbouring words swapped, for each two that differ. The
    first word stays, since there it is not the model that says how probable it is."""
    spans = [*spans_of_words(text)][1:]
    return [
        text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]
        for (a, b), (c, d) in pairwise(spans)
        if text[a:b] != text[c:d]
    ]
