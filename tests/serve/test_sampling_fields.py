"""Sampling settings of a request, by the names of other programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from lmtui.engine.sampling.stages import STAGES
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.serve.bodies import CompletionBody, InfillBody, read_body
from tests.fake_writing import FakeWriter
from tests.serve.serving import serving
from tests.serve.test_infill import REQUEST, FakeCoder

PLAIN = SamplingSettings()
PENALIZED = SamplingSettings(
    repetition_penalty=1.3, presence_penalty=1, frequency_penalty=1, dry_multiplier=0.8
)


def body(**fields: Any) -> CompletionBody:
    return read_body(CompletionBody, json.dumps({"prompt": "a"} | fields).encode())


def settings(default: SamplingSettings = PLAIN, **fields: Any) -> SamplingSettings:
    return body(max_tokens=default.max_tokens, **fields).settings(default)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"presence_penalty": 0.5, "frequency_penalty": -1},
         {"presence_penalty": 0.5, "frequency_penalty": -1.0}),
        ({"repeat_penalty": 1.2, "repetition_penalty": 1.2},
         {"repetition_penalty": 1.2}),
        ({"typical_p": 0.9, "top_n_sigma": 1}, {"typical_p": 0.9, "top_n_sigma": 1.0}),
        ({"typ_p": 0.9, "top_n_sigma": -1, "top_k": -1},
         {"typical_p": 0.9, "top_n_sigma": 0.0, "top_k": 0}),
        ({"xtc_probability": 0.5, "xtc_threshold": 0.2},
         {"xtc_probability": 0.5, "xtc_threshold": 0.2}),
        ({"dry_multiplier": 0.8, "dry_base": 2, "dry_allowed_length": 3},
         {"dry_multiplier": 0.8, "dry_base": 2.0, "dry_allowed_length": 3}),
        ({"repeat_last_n": 64, "dry_penalty_last_n": 99},
         {"penalty_window": 64, "dry_window": 99}),
        ({"repeat_last_n": -1, "dry_penalty_last_n": -1}, {}),
        ({"penalty_window": 64, "dry_window": 0}, {"penalty_window": 64}),
        ({"dry_sequence_breakers": ["\n", "ab", "ab"]}, {"dry_breakers": ("\n", "ab")}),
        ({"dry_sequence_breakers": '["\\n", "x"]'}, {"dry_breakers": ("\n", "x")}),
        ({"seed": -1}, {}),
        ({"mirostat": 0, "mirostat_tau": 5, "tfs": 1, "min_keep": 0}, {}),
    ],
)  # fmt: skip
def test_names_of_other_programs_are_understood(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert settings(**fields) == replace(PLAIN, **expected)


@pytest.mark.parametrize(
    "samplers",
    [
        ["top_k", "temperature", "typ_p"],
        ["Top-K", "temp", "typical"],
        ["topk", "temperature", "typical_p"],
        "kty",
    ],
)
def test_order_has_the_spellings_of_llama_cpp(samplers: object) -> None:
    expected = ("top_k", "temperature", "typical_p")
    assert settings(samplers=samplers).sampler_order == expected
    assert settings(sampler_order=samplers).sampler_order == expected
    assert settings(samplers=list(STAGES)) == PLAIN


def test_window_of_nothing_switches_off_what_looks_at_it() -> None:
    found = settings(PENALIZED, repeat_last_n=0, dry_penalty_last_n=0)
    assert found == PLAIN
    assert settings(PENALIZED, repeat_last_n=-1) == PENALIZED
    with_seed = replace(PLAIN, seed=7)
    assert settings(with_seed) == with_seed
    assert settings(with_seed, seed=-1).seed is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"samplers": ["top_k", "mirostat"]}, "samplers has an unknown one: mirostat"),
        ({"samplers": ["top_k", "top-k"]}, "the same one twice"),
        ({"samplers": 5}, "samplers can't be used"),
        ({"samplers": "kq"}, "an unknown one: q"),
        ({"dry_sequence_breakers": "x"}, "not a list of texts"),
        ({"dry_sequence_breakers": "[1]"}, "not a list of texts"),
        ({"dry_base": 0.5}, "dry-base is out of range"),
        ({"repeat_last_n": -2}, "repeat_last_n can't be used"),
        ({"repeat_penalty": 1.2, "repetition_penalty": 1.3}, "are the same field"),
        ({"mirostat": 2}, "mirostat is not supported"),
        ({"dynatemp_range": 0.5}, "dynatemp_range is not supported"),
        ({"tfs_z": 0.9}, "tfs_z is not supported"),
        ({"adaptive_target": 0.5}, "not a field of this request"),
    ],
)
def test_what_can_not_be_done_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(LmtuiError) as caught:
        settings(**fields)
    assert words in f"{caught.value.title}: {caught.value.detail}"


def test_bias_has_both_forms_and_bans() -> None:
    for given in ({"98": 1, "3": False}, [[98, 1], [3, False]]):
        assert body(logit_bias=given).biases == {98: 1.0, 3: -math.inf}
    for wrong in ({"3": True}, [["text", 1]], [[3]], [[3, 1e9]], "x"):
        with pytest.raises(LmtuiError, match="logit_bias can't be used"):
            body(logit_bias=wrong)


def test_answer_is_drawn_with_all_of_them() -> None:
    asked = SamplingSettings(
        temperature=1.2,
        top_k=0,
        top_p=0.98,
        min_p=0,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=0.3,
        penalty_window=20,
        dry_multiplier=0.8,
        dry_base=2.0,
        dry_allowed_length=1,
        dry_window=30,
        dry_breakers=("z",),
        top_n_sigma=3.0,
        typical_p=0.97,
        xtc_probability=0.5,
        xtc_threshold=0.05,
        sampler_order=("dry", "penalties", "top_n_sigma", "typical_p", "xtc",
                       "top_p", "temperature"),
        seed=11,
        max_tokens=30,
    )  # fmt: skip
    names = {
        "penalty_window": "repeat_last_n",
        "dry_window": "dry_penalty_last_n",
        "dry_breakers": "dry_sequence_breakers",
        "sampler_order": "samplers",
    }
    fields = {
        names.get(name, name): getattr(asked, name)
        for name in asked.__slots__
        if name not in ("logit_bias", "banned_phrases")
    }
    engine = FakeWriter(["a"])
    with serving(engine) as served:
        biases = [[98, 1], [3, False], [98, 2]]
        served.complete(prompt="x", logit_bias=biases, **fields)
    (settings,) = [values[1] for verb, values in engine.calls if verb == "generate"]
    assert settings == asked
    assert engine.biases == [{98: 3.0, 3: -math.inf}]


def test_gap_is_filled_with_the_settings_of_the_request() -> None:
    given = REQUEST | {"presence_penalty": 1, "samplers": ["top_k", "top_p"]}
    found = read_body(InfillBody, json.dumps(given).encode()).settings(PLAIN)
    assert (found.presence_penalty, found.sampler_order) == (1, ("top_k", "top_p"))
    # With llama.cpp's own stage for gaps, the order is one for its sampler.
    found = read_body(InfillBody, json.dumps(REQUEST).encode()).settings(PLAIN)
    assert found.sampler_order == STAGES
    with serving(FakeCoder([" x"])) as served:
        for wrong in ({"mirostat": 2}, {"logit_bias": [[3, 1]]}, {"top_p": 2}):
            assert served.ask("/infill", REQUEST | wrong).status == 400
