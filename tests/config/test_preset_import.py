"""Presets of another program: what is taken over, and what is said of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.config.preset_import import ImportedSampling, imported
from lmtui.engine.sampling.stages import STAGES
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError

IDLE: dict[str, Any] = {
    "top_a": 0, "tfs": 1.0, "mirostat_mode": 0, "mirostat_tau": 5, "dynatemp": False,
    "min_temp": 0.5, "grammar_string": "", "json_schema": None, "guidance_scale": 1,
    "rep_pen_slope": 1, "adaptive_target": -0.01, "adaptive_decay": 0.9,
    "do_sample": True, "streaming": True, "logit_bias": [], "banned_tokens": "",
}  # fmt: skip


def taken(**fields: Any) -> ImportedSampling:
    return imported(json.dumps(fields))


def test_settings_have_other_names_and_fields_that_ask_for_nothing_are_passed() -> None:
    found = taken(
        **IDLE,
        temp=1.25,
        top_k=-1,
        typical_p=0.9,
        nsigma=1,
        rep_pen=1.1,
        rep_pen_range=512,
        freq_pen=0.1,
        presence_pen=0.2,
        dry_multiplier=0.8,
        dry_sequence_breakers='["\\n", ":"]',
        dry_penalty_last_n=-1,
        xtc_probability=0.5,
        genamt=300,
    )
    assert found.left_out == []
    assert found.sampling == {
        "temperature": 1.25,
        "top_k": 0,
        "typical_p": 0.9,
        "top_n_sigma": 1.0,
        "repetition_penalty": 1.1,
        "penalty_window": 512,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "dry_multiplier": 0.8,
        "dry_breakers": ("\n", ":"),
        "dry_window": 0,
        "xtc_probability": 0.5,
        "max_tokens": 300,
    }


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("tfs", 0.95, "can't be done here"),
        ("mirostat_mode", 2, "can't be done here"),
        ("dynatemp", True, "can't be done here"),
        ("grammar_string", "root ::= x", "can't be done here"),
        ("max_length", 8192, "can't be done here"),
        ("adaptive_target", 0.5, "not a stage"),
        ("colour", "red", "unknown"),
        ("top_p", 3, "top-p is out of range. Give a value from 0 to 1."),
        ("top_p", "high", "not a number"),
        ("top_p", True, "not a number"),
        ("top_k", 2.5, "not a whole number"),
        ("dry_base", 10**400, "out of range"),
        ("dry_sequence_breakers", "x", "not a list of texts"),
        ("logit_bias", [{"text": "[1, 2]", "value": 3}], "ids are those of one model"),
        ("logit_bias", [{"text": "a", "value": 1e9}], "out of range"),
        ("logit_bias", [5], "not a text with a number"),
        ("banned_tokens", "[12]", "ids are those of one model"),
    ],
)
def test_rest_is_named_with_its_reason(name: str, value: Any, why: str) -> None:
    found = taken(temp=1, **{name: value})
    (left,) = found.left_out
    assert left.name == name and why in left.why
    assert found.sampling == {"temperature": 1.0}


def test_biases_and_bans_are_kept_by_text() -> None:
    found = taken(
        logit_bias=[{"id": "x", "text": "very", "value": -2.5},
                    {"text": "{Ho}", "value": 4}],
        banned_tokens='"shivers down"\n delve\n"a"',
    )  # fmt: skip
    assert found.sampling == {
        "logit_bias": (" very=-2.5", "Ho=4", " delve=ban"),
        "banned_phrases": ("shivers down", "a"),
    }
    assert [each.name for each in found.left_out] == [*["logit_bias"] * 2,
                                                      "banned_tokens"]  # fmt: skip
    assert all("one token of the model" in each.why for each in found.left_out)


def test_order_is_taken_from_the_program_whose_stages_are_ours() -> None:
    samplers = ["penalties", "top_k", "typ_p", "tfs_z", "typical_p", "temperature"]
    order = ("penalties", "top_k", "typical_p", "temperature")
    priority = ["temperature", "repetition_penalty", "presence_penalty", "min_p"]
    found = taken(samplers=samplers, sampler_priority=priority, temperature_last=False)
    assert found.sampling == {"sampler_order": order}
    assert {each.name for each in found.left_out} == {
        "sampler_priority",
        "temperature_last",
    }
    found = taken(sampler_priority=priority, samplers=[])
    assert found.sampling["sampler_order"][:4] == (
        "dry",
        "temperature",
        "penalties",
        "min_p",
    )
    kobold = taken(sampler_order=[6, 0, 1, 3, 4, 2, 5]).sampling["sampler_order"]
    assert kobold[:6] == (
        "dry",
        "penalties",
        "top_k",
        "typical_p",
        "top_p",
        "temperature",
    )
    last = taken(temperature_last=True).sampling["sampler_order"]
    assert last[-1] == "temperature"
    for whole in (found.sampling["sampler_order"], kobold, last):
        assert sorted(whole) == sorted(STAGES)


def test_preset_without_sampling_is_greedy() -> None:
    assert taken(do_sample=False, temp=0.7).sampling == {"temperature": 0.0}


def test_part_of_a_larger_file_is_found() -> None:
    found = imported('{"instruct": {}, "preset": {"temp": 0.5, "name": "x"}}')
    assert (found.sampling, found.left_out) == ({"temperature": 0.5}, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{",
        '{"temp": NaN}',
        "{}",
        '{"a": 1}',
        "[" * 99_999,
        '{"temp": 1, "banned_tokens": "\\ud800"}',
        '{"preset": {}}',
    ],
)
def test_what_is_no_preset_is_an_error(text: str) -> None:
    with pytest.raises(LmtuiError):
        imported(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
NAMES = st.sampled_from(
    ["temp", "top_k", "rep_pen_range", "samplers", "sampler_order", "logit_bias",
     "sampler_priority", "banned_tokens", "dry_sequence_breakers", "tfs", "do_sample",
     "mirostat_mode", "json_schema", "adaptive_target", "temperature_last", "genamt"]
)  # fmt: skip


@given(st.dictionaries(NAMES, JSON))
def test_whatever_is_taken_can_be_sampled_with(fields: dict[str, Any]) -> None:
    found = taken(top_p=0.5, **fields)
    assert SamplingSettings(**found.sampling).top_p == 0.5
