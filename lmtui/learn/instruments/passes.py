"""Instrument: all positions of a text from one forward pass, and what generating as
many tokens takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import ClassVar

from lmtui import notation
from lmtui.engine.document.words import spans_of_words
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    Encoding,
    ScoredToken,
)
from lmtui.errors import LmtuiError
from lmtui.learn.figure import Cell, Column, Figure, Row, Table, Words, numbers, table
from lmtui.learn.instrument import Measurement, Options
from lmtui.learn.instruments.texts import TextInstrument, encoded, excerpt, prob
from lmtui.text import visible_token
from lmtui.worker.requests import Context

_TOP = 3
_SAME = 0.01
"""Greatest difference of two log-probabilities, in nats, that counts as none. It is for
passes over equally many tokens: others round by up to 0.1 nats on quantised weights."""
_TOKEN = 10  # characters of a token's text
_MASKED = 8
"""Positions of which the mask is drawn."""
_GREEDY = SamplingSettings(temperature=0)


_Position = tuple[ScoredToken, ScoredToken]
"""Position of a text: the token that was read last, and the one that came, with what
was expected in its place."""


def _agree(one: _Position, other: _Position) -> bool:
    """Return whether two positions have the same expectation, as far as it is shown.
    Rounding can put another token in the last row."""
    top, others = one[1].top, other[1].top
    if len(top) != len(others):
        return False
    logprobs = {row.id: row.logprob for row in others}
    last = others[-1].logprob if others else 0.0
    return all(abs(row.logprob - logprobs.get(row.id, last)) < _SAME for row in top)


@dataclass(frozen=True, slots=True)
class _Comparison:
    same: tuple[bool, ...]
    """Whether each position has the numbers that it has in the other text."""
    resized: bool
    """Whether the other text was cut or extended to the length of this one first."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """A text, its positions from one forward pass, and how long that took."""

    text: str
    encoding: Encoding
    tokens: tuple[ScoredToken, ...]
    positions: tuple[_Position, ...]
    seconds: float
    comparison: _Comparison | None = None
    """With the text that was entered before; None where there is none to score."""


@dataclass(frozen=True, slots=True)
class _Generated:
    """Tokens that were generated one by one, and how long that took."""

    passes: int
    seconds: float
    text: str
    scored: _Pass
    """The text, scored once more just before."""

    @property
    def done(self) -> bool:
        return self.passes == len(self.scored.positions)


class PassesInstrument(TextInstrument):
    """The grid of positions × most probable tokens from one pass; which rows change
    with a word; passes and time of scoring a text and of generating as much."""

    NAME = "passes"
    OPTIONS: ClassVar[Options] = {"text": ""}
    ACTIONS: ClassVar[Mapping[str, str]] = {"generate": "one by one"}
    ASKS = "Text"
    LIVE = True

    _compared_text = ""
    """The text that was entered last, with which others are compared."""
    _shown: _Pass | None = None
    _generated: _Generated | None = None

    def begin(self) -> Measurement | None:
        self._compared_text = ""
        measurement = super().begin()
        self._compared_text = self.entered
        return measurement

    def measure(self, text: str) -> Measurement:
        base = self._compared_text

        def run(engine: Engine, _: Context) -> _Pass:
            shown = read(engine, text)
            return replace(shown, comparison=_compare(engine, base, shown))

        return Measurement(run, self.show)

    def enter(self, text: str) -> Measurement | None:
        measurement = self.look(text)
        return measurement and replace(measurement, then=self._enter)

    def show(self, result: _Pass) -> None:
        if result.positions:
            super().show(result)
        else:
            self.message = "This is a single token: write more."

    def _enter(self, result: _Pass) -> None:
        """Show what was entered; from now on, others are compared with it."""
        self.show(result)
        if not result.positions:
            return
        self._compared_text = result.text
        same = result.comparison.same if result.comparison else ()
        if any(same) and not all(same):
            self.done.add("mask")

    def act(self, action: str) -> Measurement | None:
        shown = self._shown
        if shown is None:
            return None

        def run(engine: Engine, context: Context) -> _Generated:
            for step in _one_by_one(engine, shown):
                context.gather(step)
            return step

        return Measurement(
            run, self._show_generated, self._show_generated, "generating"
        )

    def _show_generated(self, step: _Generated) -> None:
        self._generated, self._shown, self.message = step, step.scored, ""
        if step.done:
            self.done.add("generated")

    @property
    def figure(self) -> Figure:
        shown = self._shown
        if shown is None:
            return ()
        counter = Words("\n".join(self._counter(shown)), "strong")
        return (counter, self._grid(shown), _mask(shown))

    def _counter(self, shown: _Pass) -> Iterator[str]:
        positions = notation.counted(len(shown.positions), "position")
        took = notation.milliseconds(shown.seconds)
        yield f"All at once: {positions}, 1 pass, {took}."
        made = self._generated
        if made is None or made.scored.text != shown.text:
            return
        ratio = notation.number(made.seconds / shown.seconds, ",.1f")
        yield (
            f"One by one: {made.passes} of "
            f"{notation.counted(len(shown.positions), 'token')}, {made.passes} passes, "
            f"{notation.milliseconds(made.seconds)}"
            f"{f': {ratio} times as long' if made.done else ' so far'}."
        )
        yield f"Generated after the first words: “{excerpt(made.text)}”"

    def _grid(self, shown: _Pass) -> Table:
        comparison = shown.comparison
        marks: Sequence[Row] = [()] * len(shown.positions)
        if comparison:
            words = Cell("new", "warning"), Cell("same", "quiet")
            marks = [(words[same],) for same in comparison.same]
        rows = (
            (
                *mark,
                Cell(f"{number}", "quiet"),
                _token(last),
                _expected(came),
                _token(came),
                notation.percent(prob(came.logprob)),
            )
            for number, (mark, (last, came)) in enumerate(
                zip(marks, shown.positions, strict=True), 1
            )
        )
        return table(
            (
                *([""] if comparison else []),
                *numbers(""),
                "after",
                Column("expected", grows=True),
                "came",
                *numbers("with"),
            ),
            rows,
            title=f"“{excerpt(shown.text)}”",
            note=_summary(comparison) if comparison else "",
        )


def read(engine: Engine, text: str) -> _Pass:
    return _forward(engine, text, encoded(engine, text))


def _forward(engine: Engine, text: str, encoding: Encoding) -> _Pass:
    begun = time.perf_counter()
    scores = engine.score(encoding.ids, prefix=encoding.prefix, top_n=_TOP)
    tokens = tuple(scores)
    seconds = time.perf_counter() - begun
    before = [*engine.describe_tokens(encoding.prefix)[-1:], *tokens]
    return _Pass(text, encoding, tokens, (*pairwise(before),), seconds)


def _one_by_one(engine: Engine, shown: _Pass) -> Iterator[_Generated]:
    """Score a text anew, so that both times are measured in a row; then generate as
    many tokens after its first words, greedily and each with a pass of its own: nothing
    is guessed ahead. Yield the state after each."""
    scored = replace(read(engine, shown.text), comparison=shown.comparison)
    ids = [*scored.encoding.prefix, *scored.encoding.ids[: _begun(scored)]]
    made: list[int] = []
    seconds = 0.0
    for count in range(1, len(scored.positions) + 1):
        begun = time.perf_counter()
        after = engine.next_distribution([*ids, *made], _GREEDY, top_n=1)
        seconds += time.perf_counter() - begun
        made.append(after.candidates[0].id)
        written = "".join(token.text for token in engine.describe_tokens(made))
        yield _Generated(count, seconds, written, scored)


def _begun(scored: _Pass) -> int:
    """Return how many tokens the first two words of a text have: with one alone, hardly
    anything is known of what comes."""
    words = [*islice(spans_of_words(scored.text), 2)]
    end = words[-1][1] if words else 0
    count = sum(stop <= end for _, stop in scored.encoding.spans)
    return min(max(1, count), len(scored.tokens) - 1)


def _compare(engine: Engine, base: str, shown: _Pass) -> _Comparison | None:
    """Compare the positions of a text with those of another one, `base`; None where
    that can't be scored.

    A pass over another number of tokens adds up its sums in another order. `base` is
    therefore scored at the length of `shown`: cut, or extended by the last tokens of
    `shown`, which no earlier position sees.
    """
    if not base.strip():
        return None
    try:
        encoding = encoded(engine, base)
    except LmtuiError:  # the page's text, which is too long
        return None
    ids, count = encoding.ids, len(shown.tokens)
    same_length = replace(encoding, ids=(ids + shown.encoding.ids[len(ids) :])[:count])
    old = _forward(engine, base, same_length).positions
    own = len(shown.positions) + len(ids) - count  # positions of `base` itself
    same = tuple(
        number < own and _agree(position, old[number])
        for number, position in enumerate(shown.positions)
    )
    return _Comparison(same, resized=len(ids) != count)


def _summary(comparison: _Comparison) -> str:
    count = sum(comparison.same)
    summary = (
        f"{notation.counted(count, 'position')} with the same numbers as before, "
        f"{len(comparison.same) - count} with new ones."
    )
    if comparison.resized:
        summary += (
            " The earlier text was scored again at the length of this one, since a "
            "pass over more or fewer tokens rounds a little differently."
        )
    return summary


def _token(token: ScoredToken | Candidate) -> str:
    return visible_token(token.text)[:_TOKEN]


def _expected(came: ScoredToken) -> str:
    return " │ ".join(
        f"{'●' if candidate.id == came.id else ''}{_token(candidate)} "
        f"{notation.percent(candidate.prob)}"
        for candidate in came.top
    )


def _mask(shown: _Pass) -> Table:
    size = min(_MASKED, len(shown.tokens))
    rows = (
        (
            Cell(f"{number}", "quiet"),
            _token(token),
            "1" if number == 1 else f"1 to {number}",
            "■" * number + "·" * (size - number),
        )
        for number, token in enumerate(shown.tokens[:size], 1)
    )
    title = "The mask"
    if size < len(shown.tokens):
        title += f", of the first {size} tokens"
    return table(
        (*numbers(""), "token", "looks at", ""),
        rows,
        title=title,
        note="■ is what a position may look at, · what the mask hides from it.",
    )
