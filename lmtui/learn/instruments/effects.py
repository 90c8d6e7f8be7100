"""Instrument: which words of a text made its last one likely, by leaving them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lmtui import notation
from lmtui.analysis.attribution import Attribution, Effect
from lmtui.engine.protocol import Engine
from lmtui.learn.figure import BAR, Cell, Figure, Row, numbers, table
from lmtui.learn.instrument import Measurement, Options
from lmtui.learn.instruments.texts import LONGEST, TextInstrument, encoded, last_word

_MORE = 1.0
"""Bits that two words add together beyond what each adds, from which that counts."""


@dataclass(frozen=True, slots=True)
class _Attributed:
    """A text, log P of its last word, and the effect of each word before it."""

    text: str
    logprob: float | None
    effects: Sequence[Effect]


class EffectsInstrument(TextInstrument):
    """The effect of each word on the last one, hidden until a word was left out, and
    that of all words together that are left out."""

    NAME = "effects"
    OPTIONS: ClassVar[Options] = {"text": ""}
    ACTIONS: ClassVar[Mapping[str, str]] = {"out": "leave out"}
    ASKS = "Text"
    SLIDES = "the word"
    WORDS = "leaving out words"

    _shown: _Attributed | None = None
    _at = 0
    _out: Sequence[int] = ()
    """Words that are left out, by their places."""
    _has_guessed = False

    def look(self, text: str) -> Measurement | None:
        if text.strip() and not last_word(text.strip()):
            self.message = "Write at least two words."
            return None
        return super().look(text.strip())

    def read(self, engine: Engine, text: str) -> _Attributed:
        subject = _attribution(engine, text)
        effects = [*subject.effects("word")][::-1]
        return _Attributed(text, subject.logprob, effects)

    def show(self, result: _Attributed) -> None:
        super().show(result)
        self._at, self._out, self._has_guessed = 0, (), False

    def slide(self, by: int) -> Measurement | None:
        if self._shown is not None:  # the words stand below each other
            self._at = min(len(self._shown.effects) - 1, max(0, self._at - by))
        return None

    def act(self, action: str) -> Measurement | None:
        shown = self._shown
        if shown is None:
            return None
        self._out = sorted({*self._out} ^ {self._at})
        self._has_guessed = True
        self.done.add("guessed")
        left_out = [shown.effects[place] for place in self._out]
        if len(left_out) > 1:
            text = shown.text
            for effect in reversed(left_out):
                text = text[: effect.start] + text[effect.end :]
            if not last_word(text):
                text = f" {text}"  # that before it belongs to the word asked about
            return Measurement(
                lambda engine, _: _attribution(engine, text).logprob,
                lambda logprob: self._show_without(shown, left_out, logprob),
            )
        self.message = ""
        if left_out:
            self._show_without(shown, left_out, left_out[0].logprob_without)
        return None

    def _show_without(
        self, shown: _Attributed, left_out: Sequence[Effect], logprob: float | None
    ) -> None:
        names = ", ".join(f"“{effect.text.strip()}”" for effect in left_out)
        alone = [effect.bits or 0.0 for effect in left_out]
        each = ", ".join(map(notation.difference, alone))
        together = None
        if shown.logprob is not None and logprob is not None:
            together = (shown.logprob - logprob) / notation.LN2
        self.message = (
            f"{notation.surprisal(logprob)} bits without {names}: an effect of "
            f"{notation.difference(together)}"
            f"{f'; one by one {each}' if len(alone) > 1 else ''}."
        )
        if together is None:
            return
        if len(alone) == 1 and together < 0:
            self.done.add("against")
        if len(alone) == 2 and together - sum(alone) >= _MORE:
            self.done.add("both")

    @property
    def figure(self) -> Figure:
        if self._shown is None:
            return ()
        bits = notation.surprisal(self._shown.logprob)
        title = f"“{last_word(self._shown.text).strip()}” surprises by {bits} bits."
        return (
            table(
                ("word", BAR, *numbers("effect"), ""),
                self._rows(self._shown),
                title=title,
                at=self._at,
            ),
        )

    def _rows(self, shown: _Attributed) -> Iterator[Row]:
        """Yield a row a word; the bar of one that argues against is the lower half."""
        bits = [effect.bits or 0.0 for effect in shown.effects]
        most = max(map(abs, bits), default=0.0) or 1.0
        for place, effect in enumerate(shown.effects):
            share = bits[place] / most if self._has_guessed else 0.0
            known = f"{notation.difference(effect.bits)} bits"
            yield (
                effect.text.strip(),
                Cell(bar=(share,) if share >= 0 else (0.0, -share)),
                known if self._has_guessed else "?",
                Cell("left out" if place in self._out else "", "cut"),
            )


def _attribution(engine: Engine, text: str) -> Attribution:
    """Return the attribution of the last word of a text."""
    encoding = encoded(engine, text, LONGEST // 4)
    start = len(text) - len(last_word(text).strip())
    return Attribution(engine, text, encoding, start, len(text))
