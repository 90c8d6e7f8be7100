"""How the numbers of a text look on a terminal.

Owns the ramps: of surprise, and of the difference between two models. Each step has a
colour and, for those without colours, attributes of its own; a difference that stands
out shows its sign as well.
"""

from __future__ import annotations

from typing import Protocol

from rich.text import Text

from lmtui.engine.sums import bits
from lmtui.inspect.difference import Piece

Ramp = tuple[tuple[float, str, str], ...]
"""Upper bound in bits, name and style of each step."""

RAMP: Ramp = (
    (1, "under 1 bit", "dim"),
    (3, "1–3", "none"),
    (6, "3–6", "cyan underline"),
    (10, "6–10", "magenta bold underline"),
    (15, "10–15", "red reverse"),
    (float("inf"), "15 and more", "red bold reverse underline"),
)
"""Steps of surprise."""

DIVERGING: Ramp = (
    (-5, "−5 and below", "red bold reverse"),
    (-2, "−5 to −2", "red reverse"),
    (-0.5, "−2 to −½", "red italic"),
    (0.5, "−½ to +½", "dim"),
    (2, "+½ to +2", "cyan underline"),
    (5, "+2 to +5", "cyan bold underline"),
    (float("inf"), "+5 and above", "cyan bold italic underline"),
)
"""Steps of difference: how much more another model expected a text."""

_SIGNED = 2  # bits of difference that show their sign
_PLAIN = {"dim", "none"}


def style_of(value: float | None, ramp: Ramp = RAMP) -> str:
    """The style of a text with this value in bits."""
    if value is None:
        return "none"
    return next((style for bound, _, style in ramp if value < bound), ramp[-1][2])


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
        """The step of the ramp."""
        return style_of(value)

    def sign(self, value: float | None) -> str:
        """Nothing: there is one direction."""
        return ""

    def legend(self) -> Text:
        """The ramp."""
        return _legend("surprisal", RAMP)


class Gain:
    """How much more the other model expected each part."""

    def value(self, piece: Piece) -> float | None:
        """The difference of the two."""
        return piece.bits

    def style(self, value: float | None) -> str:
        """The step of the ramp."""
        return style_of(value, DIVERGING)

    def sign(self, value: float | None) -> str:
        """Its sign, where it stands out."""
        if value is None or abs(value) < _SIGNED:
            return ""
        return "⁺" if value > 0 else "⁻"

    def legend(self) -> Text:
        """The ramp."""
        return _legend("bits", DIVERGING)


def stands_out(style: str) -> bool:
    """Whether a part is drawn so that a newline in it should be seen."""
    return style not in _PLAIN


def _legend(name: str, ramp: Ramp) -> Text:
    legend = Text(f"{name}  ")
    for _, step, style in ramp:
        legend.append(step, style)
        legend.append("  ")
    return legend
