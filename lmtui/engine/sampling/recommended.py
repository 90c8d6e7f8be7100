"""The sampler that a model's makers recommend, as the default of its settings.

Knows no file: `EngineInfo` has the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError

SamplingFor = Callable[[EngineInfo], SamplingSettings]
"""Returns the sampling settings for a model."""
NAMES = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""The settings that a model may recommend."""


def recommended(
    settings: SamplingSettings,
    defaults: Iterable[tuple[str, float]],
    *,
    given: Collection[str] = (),
) -> SamplingSettings:
    """Return the settings with a model's own numbers, but for those that the user has
    `given`. A number that is out of range is left out."""
    for name, value in defaults:
        if name in given or name not in NAMES:
            continue
        number: Any = int(value) if name == "top_k" else value
        try:
            settings = replace(settings, **{name: number})
        except LmtuiError:
            continue
    return settings
