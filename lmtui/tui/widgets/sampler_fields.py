"""The sampler's settings as rows: how each is shown, stepped and typed.

Owns the rungs that a key press goes through and the words for a refused value. Knows
no widget; the limits themselves are those of `SamplingSettings`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.widgets import confidence

Value = float | int | None
_TYPED = 24  # characters; no setting needs more


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: its name, its rungs, and how its value is written and read."""

    name: str
    """The attribute of `SamplingSettings`."""
    label: str
    meaning: str
    """A few words for the help line, which has 27 cells at 80 columns."""
    rungs: tuple[float, ...]
    whole: bool = False
    off: tuple[Value, str] | None = None
    """The value that switches it off, and the word for it."""

    def value(self, settings: SamplingSettings) -> Value:
        """Its value now."""
        value: Value = getattr(settings, self.name)
        return value

    def shown(self, settings: SamplingSettings) -> str:
        """Its value as text."""
        value = self.value(settings)
        if self.off is not None and value == self.off[0]:
            return self.off[1]
        return f"{value:,}" if self.whole else f"{value:g}"

    def stepped(self, settings: SamplingSettings, by: int) -> SamplingSettings:
        """The settings with this one a rung further."""
        value = self.value(settings)
        if self.name == "temperature":
            return self.set(settings, confidence.moved(settings.temperature, by))
        if self.name == "seed":
            return self.set(settings, _next_seed(value, by))
        rung = next_rung(self.rungs, value or 0, by)
        return self.set(settings, int(rung) if self.whole else rung)

    def typed(self, settings: SamplingSettings, text: str) -> SamplingSettings:
        """The settings with the value that was typed; LmtuiError where it is none."""
        text = text.strip().lower()
        if self.off is not None and text in ("", self.off[1]):
            return self.set(settings, self.off[0])
        parse: Callable[[str], Value] = int if self.whole else float
        try:
            value = parse(text.replace(",", "")[:_TYPED])
        except ValueError:
            kind = "a whole number" if self.whole else "a number"
            raise LmtuiError(
                f"{self.label} is not a number", text, f"Type {kind}."
            ) from None
        return self.set(settings, value)

    def reset(self, settings: SamplingSettings) -> SamplingSettings:
        """The settings with this one's default."""
        return self.set(settings, self.value(SamplingSettings()))

    def set(self, settings: SamplingSettings, value: Value) -> SamplingSettings:
        """The settings with this value; LmtuiError where it is out of range."""
        changes: dict[str, Value] = {self.name: value}
        return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]


def next_rung(rungs: tuple[float, ...], value: float, by: int) -> float:
    """The next rung above or below a value; the value itself beyond the ends."""
    if by > 0:
        return min((rung for rung in rungs if rung > value), default=value)
    return max((rung for rung in rungs if rung < value), default=value)


def _next_seed(seed: Value, by: int) -> int | None:
    if seed is None:
        return 0 if by > 0 else None
    following = int(seed) + by
    return min(following, 2**63 - 1) if following >= 0 else None


TEMPERATURE = Field("temperature", "temperature", "0: greedy; higher: flatter.", ())

FIELDS = (
    Field(
        "top_k",
        "top-k",
        "Keep the k most probable.",
        (0, 1, 2, 3, 5, 10, 20, 40, 60, 100, 200, 500, 1000),
        whole=True,
        off=(0, "off"),
    ),
    Field(
        "top_p",
        "top-p",
        "Keep the set of this mass.",
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0),
        off=(1.0, "off"),
    ),
    Field(
        "min_p",
        "min-p",
        "Drop p under this × top p.",
        (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0),
        off=(0.0, "off"),
    ),
    Field(
        "repetition_penalty",
        "penalty",
        "Weakens tokens used before.",
        (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0),
        off=(1.0, "off"),
    ),
    Field("seed", "seed", "Same seed, same tokens.", (), whole=True,
          off=(None, "random")),
    Field(
        "max_tokens",
        "max tokens",
        "Stop after this many.",
        (1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
        whole=True,
    ),
)  # fmt: skip
"""The rows below the slider, in the order the sampler applies them."""
