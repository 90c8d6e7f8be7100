"""Sampling settings in the body of a request, by the names of OpenAI's API, of vLLM and
of llama.cpp, where several programs have several names for one.

What a field would do and this server can't is refused, not ignored.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lmtui.engine.sampling.stages import BY_NAME, STAGES, TABLE, stages_of
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.serve.shapes import shortened

Id = Annotated[int, Field(ge=0)]
Bias = Annotated[float, Field(ge=-100, le=100)] | Literal[False]
"""What is added to the logit of a token; false for a ban."""
_Pair = Annotated[tuple[Id, Bias], Field(strict=False)]  # strict takes no list

_ID = re.compile(r"[0-9]{1,9}")
_SAME: Mapping[str, str] = {
    "repeat_penalty": "repetition_penalty",
    "typ_p": "typical_p",
    "dry_breakers": "dry_sequence_breakers",
    "sampler_order": "samplers",
    "penalty_window": "repeat_last_n",
    "dry_window": "dry_penalty_last_n",
}
"""Other names of fields."""
_WINDOWS = "penalty_window", "dry_window"
"""Our own names of windows: 0 is all of the context there, not nothing."""
_OTHERWISE = "dry_breakers", *_WINDOWS
_NUMBERS = tuple(
    each.name
    for stage in TABLE
    for each in stage.settings
    if each.name not in _OTHERWISE
)
"""Fields that mean what the setting of their name means."""
_PENALTIES = BY_NAME["penalties"]
_NO_PENALTIES = {
    each.name: each.neutral for each in _PENALTIES.settings[: _PENALTIES.switches]
}


_OffBelowZero = AfterValidator(partial(max, 0))
"""-1 is what vLLM calls all tokens, and llama.cpp a stage that is off."""


class SamplingFields(BaseModel):
    """Fields of the sampler, in the names that they have after `with_own_names`."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    temperature: float | None = None
    top_k: Annotated[int, _OffBelowZero] | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: Annotated[float, _OffBelowZero] | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_last_n: Annotated[int, Field(ge=-1)] | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: Annotated[int, Field(ge=-1)] | None = None
    dry_sequence_breakers: str | list[str] | None = None
    samplers: str | list[str] | None = None
    seed: int | None = None
    logit_bias: dict[str, Bias] | list[_Pair] = Field(default_factory=dict)

    @property
    def biases(self) -> dict[int, float]:
        """The bias by the id of a token; -inf for a ban."""
        given, biases = self.logit_bias, defaultdict[int, float](float)
        for name, bias in given.items() if isinstance(given, dict) else given:
            if not _ID.fullmatch(str(name)):
                name = shortened(str(name))
                raise LmtuiError("logit_bias has a key that is no id", name)
            biases[int(name)] += -math.inf if bias is False else bias
        return biases

    def settings(self, default: SamplingSettings) -> SamplingSettings:
        given = {name: getattr(self, name) for name in _NUMBERS}
        given["sampler_order"] = self._order()
        given["dry_breakers"] = self._breakers()
        given |= self._windows()
        known = {name: value for name, value in given.items() if value is not None}
        if self.seed is not None:  # -1 is llama.cpp's name for a new one each time
            known["seed"] = None if self.seed == -1 else self.seed
        return replace(default, **known)

    def _windows(self) -> dict[str, Any]:
        """Return the settings that say how much of the context counts: -1 is all of it,
        and 0 switches off what would look at it."""
        given: dict[str, Any] = {}
        if self.repeat_last_n is not None:
            given["penalty_window"] = max(0, self.repeat_last_n)
        if self.repeat_last_n == 0:
            given |= _NO_PENALTIES
        if self.dry_penalty_last_n is not None:
            given["dry_window"] = max(0, self.dry_penalty_last_n)
        if self.dry_penalty_last_n == 0:
            given["dry_multiplier"] = 0.0
        return given

    def _order(self) -> tuple[str, ...] | None:
        if self.samplers is None:
            return None
        order, unknown = stages_of(self.samplers)
        if unknown:
            hint = f"Give some of {', '.join(STAGES)}."
            raise LmtuiError("samplers has an unknown one", shortened(unknown[0]), hint)
        if len(order) < len(self.samplers):
            raise LmtuiError("samplers has the same one twice")
        return order

    def _breakers(self) -> tuple[str, ...] | None:
        given = self.dry_sequence_breakers
        if not isinstance(given, str):
            return None if given is None else tuple(dict.fromkeys(given))
        try:  # a text in some programs, with a list of JSON in it
            breakers = json.loads(given)
        except (ValueError, RecursionError):
            breakers = None
        if not isinstance(breakers, list) or not all(
            isinstance(t, str) for t in breakers
        ):
            raise LmtuiError("dry_sequence_breakers is not a list of texts")
        return tuple(dict.fromkeys(breakers))


def with_own_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a body by the names of `SamplingFields`.

    Raises:
        ValueError: a field is given by two names, with different values.
    """
    renamed = dict(given)
    for name, own in _SAME.items():
        if name not in renamed:
            continue
        value = renamed.pop(name)
        if name in _WINDOWS and type(value) is int and value == 0:
            value = -1
        if renamed.setdefault(own, value) != value:
            raise ValueError(f"{name} and {own} are the same field")
    return renamed
