"""How the numbers of a text look on a terminal.

Owns the colour of each step of surprise, and of the difference between two models, and
for those without colours its attributes; a difference that stands out shows its sign as
well. The bounds of the steps are `surprisal_scale`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.text import Text

from lmtui import surprisal_scale as scale
from lmtui.inspect.difference import Piece
from lmtui.notation import bits

SURPRISE = (
    "dim",
    "none",
    "cyan underline",
    "magenta bold underline",
    "red reverse",
    "red bold reverse underline",
)
"""The style of each step of surprise."""

DIFFERENCE = (
    "red bold reverse",
    "red reverse",
    "red italic",
    "dim",
    "cyan underline",
    "cyan bold underline",
    "cyan bold italic underline",
)
"""The style of each step of difference: how much more another model expected a text."""

_PLAIN = {"dim", "none"}


def surprise_style(value: float | None) -> str:
    """The style of a text with this surprisal in bits."""
    return "none" if value is None else SURPRISE[scale.step(value, "surprisal")]


def difference_style(value: float | None) -> str:
    """The style of a text with this difference in bits."""
    middle = len(DIFFERENCE) // 2
    return (
        "none" if value is None else DIFFERENCE[scale.difference_step(value) + middle]
    )


class Scale(Protocol):
    """What is shown of each part of a text."""

    def value(self, piece: Piece) -> float | None:
        """In bits; None where there is none. Of parts drawn together it is the sum."""

    def style(self, value: float | None) -> str:
        """How a part with this value is drawn."""

    def sign(self, value: float | None) -> str:
        """What is drawn behind it."""

    def legend(self) -> Text:
        """What the styles mean."""


class Surprise:
    """How surprising each part was."""

    def value(self, piece: Piece) -> float | None:
        """The surprisal of the first model."""
        return None if piece.logprob is None else bits(piece.logprob)

    def style(self, value: float | None) -> str:
        """The step of the scale."""
        return surprise_style(value)

    def sign(self, value: float | None) -> str:
        """Nothing: there is one direction."""
        return ""

    def legend(self) -> Text:
        """Meaning of each step."""
        return _legend("surprisal", SURPRISE)


class Gain:
    """How much more the other model expected each part."""

    def value(self, piece: Piece) -> float | None:
        """The difference of the two."""
        return piece.bits

    def style(self, value: float | None) -> str:
        """The step of the scale."""
        return difference_style(value)

    def sign(self, value: float | None) -> str:
        """Its sign, where it stands out."""
        if value is None or abs(value) < scale.SIGNED:
            return ""
        return "⁺" if value > 0 else "⁻"

    def legend(self) -> Text:
        """Meaning of each step."""
        return _legend("difference", DIFFERENCE)


def stands_out(style: str) -> bool:
    """Whether a part is drawn so that a newline in it should be seen."""
    return style not in _PLAIN


def _legend(measure: scale.Shade, styles: Sequence[str]) -> Text:
    legend = Text(f"{measure}  ")
    for words, style in zip(scale.explained(measure), styles, strict=True):
        legend.append(words, style)
        legend.append("  ")
    return legend.append(scale.unit(measure))
