"""Sampler presets of SillyTavern's text completion, as presets of this program.

Such a file is a JSON object with a field for each setting of many programs. Whatever is
not taken over is named, unless it asks for nothing. Knows no file and no screen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lmtui.config.settings import item
from lmtui.engine import token_bias
from lmtui.engine.sampling.stages import STAGES, stages_of
from lmtui.errors import LmtuiError
from lmtui.setting_field import KINDS

_NUMBERS: Mapping[str, str] = {
    "temp": "temperature",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "typical": "typical_p",
    "nsigma": "top_n_sigma",
    "top_n_sigma": "top_n_sigma",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "rep_pen": "repetition_penalty",
    "rep_pen_range": "penalty_window",
    "freq_pen": "frequency_penalty",
    "presence_pen": "presence_penalty",
    "dry_multiplier": "dry_multiplier",
    "dry_base": "dry_base",
    "dry_allowed_length": "dry_allowed_length",
    "dry_penalty_last_n": "dry_window",
    "genamt": "max_tokens",
}
"""Fields that are one of our settings, by its name."""
_OFF: Mapping[str, tuple[Any, ...]] = {
    "top_a": (0,),
    "tfs": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "rep_pen_decay": (0,),
    "rep_pen_slope": (0, 1),
    "rep_pen_size": (0,),
    "no_repeat_ngram_size": (0,),
    "encoder_rep_pen": (1,),
    "penalty_alpha": (0,),
    "num_beams": (1,),
    "min_length": (0,),
    "min_keep": (0,),
    "skew": (0,),
    "dynatemp": (False,),
    "smoothing_factor": (0,),
    "mirostat_mode": (0,),
    "mirostat": (0,),
    "guidance_scale": (1,),
    "negative_prompt": ("",),
    "grammar_string": ("",),
    "json_schema": (None, {}),
    "ban_eos_token": (False,),
    "ignore_eos_token": (False,),
    "add_bos_token": (True,),
    "early_stopping": (False,),
    "speculative_ngram": (False,),
    "max_tokens_second": (0,),
    "max_length": (),
}
"""Fields that can't be done here, with the values that ask for nothing."""
_IDLE = frozenset(
    {
        # Details of what `_OFF` has switched off, or else named.
        "mirostat_tau", "mirostat_eta", "min_temp", "max_temp", "dynatemp_exponent",
        "smoothing_curve", "length_penalty", "adaptive_decay",
        "json_schema_allow_empty",
        # About sending and showing, not about sampling.
        "skip_special_tokens", "spaces_between_special_tokens", "include_reasoning",
        "streaming", "n", "send_banned_tokens", "preset", "name", "extensions",
    }
)  # fmt: skip
_ORDERS = "samplers", "sampler_priority", "sampler_order"
"""Fields with an order of stages; the first that has one is taken: llama.cpp's, whose
stages are ours, text-generation-webui's, KoboldAI's."""
_OTHER_ORDERS = "samplers_priorities", "temperature_last"
_KOBOLD = "top_k", "", "top_p", "", "typical_p", "temperature", "penalties"
"""Stages by KoboldAI's numbers; top-a and tail-free sampling are none of ours."""
_PENALTIES = "repetition_penalty", "presence_penalty", "frequency_penalty"
_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Field of a file that is not taken over, or not as it stands."""

    name: str
    value: str
    why: str


@dataclass(slots=True)
class ImportedSampling:
    """Settings that a file gives, and its fields that it does not."""

    sampling: dict[str, Any] = field(default_factory=dict)
    """By the names of `SamplingSettings`."""
    left_out: list[LeftOut] = field(default_factory=list)

    def leave(self, name: str, value: object, why: str) -> None:
        """Note that a field is not taken over, or not all of it."""
        shown = json.dumps(value, ensure_ascii=False)
        if len(shown) > _SHOWN:
            shown = shown[:_SHOWN] + "…"
        self.left_out.append(LeftOut(name, shown, why))


def imported(text: str) -> ImportedSampling:
    """Return the settings that a preset of SillyTavern gives.

    Raises:
        LmtuiError: it is no such preset.
    """
    given = _parsed(text)
    found = ImportedSampling()
    for name, value in given.items():
        if name in _NUMBERS:
            _take_number(found, name, value)
        elif name in _OFF:
            if not any(type(value) is type(off) and value == off for off in _OFF[name]):
                _leave_unless_number_off(found, name, value)
        elif name in _TAKEN:
            _TAKEN[name](found, name, value)
        elif name == "adaptive_target":
            if not _is_number(value) or value > 0:
                found.leave(name, value, "not a stage of the sampler here")
        elif name not in (*_IDLE, *_ORDERS, *_OTHER_ORDERS):
            found.leave(name, value, "unknown")
    if given.get("do_sample") is False:
        found.sampling["temperature"] = 0.0
    _take_order(found, given)
    if not found.sampling:
        hint = "Give a preset of SillyTavern's text completion, exported as JSON."
        raise LmtuiError("there are no sampler settings in this file", "", hint)
    return found


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        given = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(given, ensure_ascii=False).encode()  # has it halves of characters?
    except (ValueError, RecursionError) as error:
        raise LmtuiError("the preset is not JSON", str(error)) from None
    if not isinstance(given, dict):
        raise LmtuiError("the preset is not a JSON object")
    inner = given.get("preset")
    return inner if isinstance(inner, dict) else given  # of several kinds in one file


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _leave_unless_number_off(found: ImportedSampling, name: str, value: Any) -> None:
    """Note a field that can't be done; 1.0 is as good as 1."""
    if not (_is_number(value) and value in filter(_is_number, _OFF[name])):
        found.leave(name, value, "can't be done here")


def _take_number(found: ImportedSampling, name: str, value: Any) -> None:
    setting = item(_NUMBERS[name])
    if not _is_number(value):
        found.leave(name, value, f"not {KINDS[setting.kind]}")
        return
    number = float(value) if abs(value) < 1e300 else math.inf
    if name in ("top_k", "rep_pen_range", "dry_penalty_last_n", "nsigma"):
        number = max(0.0, number)  # -1 is all of them, or off; a range of 0 is all, too
    if setting.kind is int and not number.is_integer():
        found.leave(name, value, f"not {KINDS[int]}")
        return
    try:
        checked = int(number) if setting.kind is int else number
        setting.check(checked)
    except LmtuiError as error:
        found.leave(name, value, f"{error.title}. {error.hint}")
    else:
        found.sampling[setting.name] = checked


def _take_breakers(found: ImportedSampling, name: str, value: Any) -> None:
    given = value
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    if not isinstance(given, list) or not all(isinstance(t, str) for t in given):
        found.leave(name, value, "not a list of texts")
        return
    found.sampling["dry_breakers"] = tuple(dict.fromkeys(filter(None, given)))


def _take_bias(found: ImportedSampling, name: str, value: Any) -> None:
    """Take the bias of tokens by their text: in braces as it stands, otherwise with a
    space before it."""
    if not isinstance(value, list):
        found.leave(name, value, "not a list")
        return
    for each in value:
        text = each.get("text") if isinstance(each, dict) else None
        bias: Any = each.get("value") if isinstance(each, dict) else None
        if not isinstance(text, str) or not text or not _is_number(bias):
            found.leave(name, each, "not a text with a number")
        elif text.startswith("[") and text.endswith("]"):
            found.leave(name, each, _IDS)
        else:
            exact = text.startswith("{") and text.endswith("}")
            token = text[1:-1] if exact else f" {text}"
            _add_bias(found, name, each, token_bias.entry(token.encode(), bias))


def _take_bans(found: ImportedSampling, name: str, value: Any) -> None:
    """Take lines: a text in quotes is a phrase, any other one a token."""
    if not isinstance(value, str):
        found.leave(name, value, "not a text")
        return
    phrases = list(found.sampling.get("banned_phrases", ()))
    for line in filter(None, value.split("\n")):
        if line.startswith("[") and line.endswith("]"):
            found.leave(name, line, _IDS)
        elif len(line) > 2 and line.startswith('"') and line.endswith('"'):
            phrases.append(line[1:-1])
        else:
            _add_bias(found, name, line, token_bias.entry(line.encode(), -math.inf))
    if phrases:
        found.sampling["banned_phrases"] = tuple(dict.fromkeys(phrases))


def _add_bias(found: ImportedSampling, name: str, value: Any, entry: str) -> None:
    entries = (*found.sampling.get("logit_bias", ()), entry)
    try:
        token_bias.parse(entries)
    except LmtuiError as error:
        found.leave(name, value, f"{error.title}. {error.hint}")
        return
    found.sampling["logit_bias"] = entries
    found.leave(name, value, "counts only where its text is one token of the model")


_IDS = "ids are those of one model; a text is kept for all"
_TAKEN = {
    "dry_sequence_breakers": _take_breakers,
    "logit_bias": _take_bias,
    "banned_tokens": _take_bans,
    "global_banned_tokens": _take_bans,
    "do_sample": lambda *_: None,
}


def _take_order(found: ImportedSampling, given: Mapping[str, Any]) -> None:
    """Take the order of the stages from the first field that has one."""
    orders = {name: tuple(_stages(name, given.get(name))) for name in _ORDERS}
    name = next((each for each in _ORDERS if orders[each]), None)
    if name is None:
        if given.get("temperature_last") is True:
            others = [stage for stage in STAGES if stage != "temperature"]
            found.sampling["sampler_order"] = (*others, "temperature")
        return
    found.sampling["sampler_order"] = orders[name]
    for other in (*_ORDERS, *_OTHER_ORDERS):
        if other in given and other != name:
            found.leave(other, given[other], f"{name} says the order")


def _stages(name: str, value: Any) -> Iterator[str]:
    """Yield the stages of an order; only llama.cpp's leaves out those it does not
    name."""
    if not isinstance(value, list):
        return
    if name == "sampler_order":
        known = [n for n in value if type(n) is int and 0 <= n < len(_KOBOLD)]
        named = [_KOBOLD[number] for number in known]
    else:
        named = ["penalties" if n in _PENALTIES else str(n) for n in value]
    stages, _ = stages_of(list(filter(None, named)))
    if name != "samplers" and stages:
        first = [each for each in ("penalties", "dry") if each not in stages]
        rest = [each for each in STAGES if each not in (*first, *stages)]
        stages = (*first, *stages, *rest)
    yield from stages
