"""Instrument: the chain rule. The probabilities of the tokens of a sentence, their
product, and the sum of their logarithms; two sentences compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import ClassVar

from lmtui import notation
from lmtui.engine.document.words import spans_of_words
from lmtui.engine.protocol import Engine
from lmtui.learn.figure import Figure, Table, Words, numbers, table
from lmtui.learn.instrument import Measurement, Options
from lmtui.learn.instruments.texts import (
    ScoredExcerpt,
    TextInstrument,
    excerpt,
    prob,
    score,
)
from lmtui.text import visible_token


class ChainInstrument(TextInstrument):
    """The tokens of a sentence as a chain: each with its probability given all before
    it, and the product so far; the sentence before stays, to be compared with."""

    NAME = "chain"
    OPTIONS: ClassVar[Options] = {"text": ""}
    ACTIONS: ClassVar[Mapping[str, str]] = {"swap": "swap two words"}
    ASKS = "Sentence"

    _shown: ScoredExcerpt | None = None
    """The sentence as it was entered."""
    _swapped: ScoredExcerpt | None = None
    """The same with two words swapped, shown in its place."""
    _before: ScoredExcerpt | None = None
    """The sentence that it is compared with."""
    _swaps = 0

    def read(self, engine: Engine, text: str) -> ScoredExcerpt:
        return score(engine, text.strip())

    def show(self, result: ScoredExcerpt) -> None:
        first = self._shown
        if first is not None and first.text != result.text:
            if "entered" in self.done:
                self.done.add("compare")
            self._before = first
        self._swapped, self._swaps = None, 0
        super().show(result)

    def act(self, action: str) -> Measurement | None:
        if self._shown is None:
            return None
        variations = swaps(self._shown.text)
        if not variations:
            self.message = "Enter a sentence with three different words or more."
            return None
        text = variations[self._swaps % len(variations)]

        def then(scored: ScoredExcerpt) -> None:
            self.message, self._swapped = "", scored
            self._swaps += 1
            self.done.add("swap")

        return Measurement(lambda engine, _: score(engine, text), then)

    @property
    def figure(self) -> Figure:
        shown = self._swapped or self._shown
        if shown is None:
            return ()
        before = self._shown if self._swapped else self._before
        words = (
            f"“{excerpt(shown.text)}”{_given(shown)}: {notation.one_in(shown.total)}, "
            f"Σ log P {notation.log_prob(shown.total)} nats."
        )
        if before is not None and before.text != shown.text:
            words += f"\n{_compared(shown, before)}"
        return (Words(words), _chain(shown))


def _compared(shown: ScoredExcerpt, before: ScoredExcerpt) -> str:
    text = (
        f"Before: “{excerpt(before.text)}”, Σ log P "
        f"{notation.log_prob(before.total)} nats."
    )
    if shown.total is None or before.total is None:
        return text
    if _given(shown) != _given(before):
        return (
            f"{text} Which one is likelier is not known: they begin with different "
            "tokens, and neither number counts the first one."
        )
    gap = shown.total - before.total
    which = "new" if gap >= 0 else "old"
    return f"{text} The {which} one is {notation.times(abs(gap))} times likelier."


def _given(scored: ScoredExcerpt) -> str:
    """Return what the probability of a sentence is given, in words: its first token,
    before which this model reads nothing."""
    first = scored.tokens[0]
    known = first.logprob is not None or not scored.scored
    return "" if known else f", given “{visible_token(first.text)}”"


def _chain(scored: ScoredExcerpt) -> Table:
    tokens = scored.tokens
    is_given = tokens[0].logprob is None
    # From a token on that a server does not tell, there is no product either.
    sums = accumulate(
        (token.logprob for token in tokens[is_given:]),
        lambda total, one: None if total is None or one is None else total + one,
    )
    rows = (
        (
            visible_token(token.text),
            notation.chance(prob(token.logprob)),
            notation.one_in(so_far),
            notation.log_prob(token.logprob),
            notation.log_prob(so_far),
        )
        for token, so_far in zip(tokens, [*[None] * is_given, *sums], strict=True)
    )
    note = (
        "The first token has nothing before it here, so it has no number: all "
        "products are given that token."
    )
    heads = numbers("p", "product so far", "log p", "sum so far")
    return table(("token", *heads), rows, note=note if is_given else "")


def swaps(text: str) -> Sequence[str]:
    """Return a text with two neighbouring words swapped, for each two that differ. The
    first word stays, since there it is not the model that says how probable it is."""
    spans = [*spans_of_words(text)][1:]
    return [
        text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]
        for (a, b), (c, d) in pairwise(spans)
        if text[a:b] != text[c:d]
    ]
