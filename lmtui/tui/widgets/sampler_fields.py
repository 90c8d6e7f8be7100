"""Settings of the sampler as fields that are stepped through and typed.

Knows no widget.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lmtui.config.values import written
from lmtui.engine.grammar.text import grammar_of
from lmtui.engine.sampling.stages import BY_NAME, Control
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.setting_field import Texts, value_text

FLATTEST = 5.0
SHARPEST = 0.05
STEPS = 40
"""Steps between the two ends, equal in log T; each changes T by about a ninth."""
GREEDY = STEPS + 1
"""The step at the sharp end: greedy decoding (T = 0)."""

_TYPEABLE = 24  # longest number that is parsed, in characters


def temperature_at(step: int) -> float:
    """Return the temperature of a step from 0 (flattest) to GREEDY, in hundredths."""
    if step >= GREEDY:
        return 0.0
    share = max(0, step) / STEPS
    return round(FLATTEST * math.pow(SHARPEST / FLATTEST, share), 2)


def position_of(temperature: float) -> float:
    """Return the step of a temperature, fractional where it lies between two steps."""
    if temperature <= 0:
        return float(GREEDY)
    bounded = min(FLATTEST, max(SHARPEST, temperature))
    return STEPS * math.log(FLATTEST / bounded) / math.log(FLATTEST / SHARPEST)


def moved(temperature: float, by: int) -> float:
    """Return the temperature one step up or down from any temperature."""
    scale = tuple(map(temperature_at, range(GREEDY + 1)))
    return next_rung(scale, min(FLATTEST, temperature), -by)


def cell_of(temperature: float, width: int) -> int:
    """Return the cell of the knob on a track; the last cell is for greedy alone."""
    if temperature <= 0:
        return width - 1
    return round(position_of(temperature) / STEPS * (width - 2))


def temperature_in(cell: int, width: int) -> float:
    if cell >= width - 1:
        return 0.0
    return temperature_at(round(max(0, cell) / max(1, width - 2) * STEPS))


Value = float | int | str | Texts | None


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: its name, the rungs it steps through, and how a value is
    written and read."""

    name: str
    """The attribute of `SamplingSettings`."""
    label: str
    meaning: str
    """A few words for the help line, which has 27 cells at 80 columns."""
    rungs: tuple[float, ...]
    whole: bool = False
    off: tuple[Value, str] | None = None
    """The value that switches the setting off, and its name."""
    is_text: bool = False
    """Whether it is a text or a list of texts."""
    long_label: str = ""
    """A label that says more, for where it fits."""

    @property
    def full_label(self) -> str:
        return self.long_label or self.label

    def value(self, settings: SamplingSettings) -> Value:
        value: Value = getattr(settings, self.name)
        return value

    def shown(self, settings: SamplingSettings) -> str:
        value = self.value(settings)
        if self.off is not None and value == self.off[0]:
            return self.off[1]
        if isinstance(value, tuple):
            return f"{len(value):,}"
        if isinstance(value, str):
            return grammar_of(value).kind
        return f"{value:,}" if self.whole else f"{value:g}"

    def editable(self, settings: SamplingSettings) -> str:
        """Return the text with which typing begins: a list or a text is edited, a
        number is typed anew."""
        value = self.value(settings)
        return value_text(value) if self.is_text and value else ""

    def stepped(self, settings: SamplingSettings, by: int) -> SamplingSettings:
        value = self.value(settings)
        if self.name == "temperature":
            return self.set(settings, moved(settings.temperature, by))
        if self.name == "seed":
            return self.set(settings, _next_seed(value, by))
        if not isinstance(value, float | int):
            return settings
        rung = next_rung(self.rungs, value, by)
        return self.set(settings, int(rung) if self.whole else rung)

    def typed(self, settings: SamplingSettings, text: str) -> SamplingSettings:
        """Return the settings with the typed value; raises LmtuiError where it is no
        number, or out of range."""
        if self.off is not None and text.strip().lower() in ("", self.off[1]):
            return self.set(settings, self.off[0])
        if self.is_text:
            return self.set(settings, written(self.name, text))
        text = text.strip().lower()
        parse: Callable[[str], Value] = int if self.whole else float
        try:
            value = parse(text.replace(",", "")[:_TYPEABLE])
        except ValueError:
            kind = "a whole number" if self.whole else "a number"
            raise LmtuiError(
                f"{self.label} is not a number", text, f"Type {kind}."
            ) from None
        return self.set(settings, value)

    def reset(
        self, settings: SamplingSettings, defaults: SamplingSettings
    ) -> SamplingSettings:
        return self.set(settings, self.value(defaults))

    def set(self, settings: SamplingSettings, value: Value) -> SamplingSettings:
        changes: dict[str, Value] = {self.name: value}
        return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]


def next_rung(rungs: tuple[float, ...], value: float, by: int) -> float:
    """Return the next rung above or below a value; beyond the ends, the value
    itself."""
    if by > 0:
        return min((rung for rung in rungs if rung > value), default=value)
    return max((rung for rung in rungs if rung < value), default=value)


def _next_seed(seed: Value, by: int) -> int | None:
    if not isinstance(seed, int):
        return 0 if by > 0 else None
    next_seed = seed + by
    return min(next_seed, 2**63 - 1) if next_seed >= 0 else None


def field_of(setting: Control) -> Field:
    rungs = setting.rungs
    return Field(
        setting.name,
        setting.label,
        setting.meaning,
        rungs,
        whole=bool(rungs) and all(isinstance(rung, int) for rung in rungs),
        off=(setting.neutral, setting.neutral_name) if setting.neutral_name else None,
        is_text=not rungs and setting.name != "temperature",
        long_label=setting.long_label,
    )


STAGE_FIELDS: Mapping[str, tuple[Field, ...]] = {
    name: tuple(field_of(setting) for setting in stage.settings if setting.label)
    for name, stage in BY_NAME.items()
}
"""The settings of each stage; the first one switches it."""
TEMPERATURE, TOP_K, TOP_P, MIN_P, PENALTY = (
    STAGE_FIELDS[stage][0]
    for stage in ("temperature", "top_k", "top_p", "min_p", "penalties")
)
SEED = Field("seed", "seed", "Same seed, same tokens.", (), whole=True,
             off=(None, "random"))  # fmt: skip
MAX_TOKENS = Field(
    "max_tokens", "max tokens", "Stop after this many.",
    (1, *(2**power for power in range(4, 16))), whole=True,
)  # fmt: skip

FIELDS = (TOP_K, TOP_P, MIN_P, PENALTY, SEED, MAX_TOKENS)
"""The settings that are always shown, below the slider."""
