"""What a model's makers recommend is the default, and the user's settings win."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.config.load import load
from lmtui.engine.sampling.recommended import NAMES, recommended
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.models import catalogue
from lmtui.models.recommended import recommended_for

PLAIN = SamplingSettings()


@given(
    st.dictionaries(st.sampled_from(NAMES), st.floats(-1, 3)),
    st.sets(st.sampled_from(NAMES)),
)
def test_only_what_is_not_given_and_in_range_is_taken(
    numbers: dict[str, float], own: set[str]
) -> None:
    drawn = recommended(PLAIN, numbers.items(), given=own)
    for name in NAMES:
        value = getattr(drawn, name)
        if name in own or name not in numbers:
            assert value == getattr(PLAIN, name)
        else:
            number = int(numbers[name]) if name == "top_k" else numbers[name]
            assert value in (number, getattr(PLAIN, name))


def test_other_settings_of_a_model_are_left_alone() -> None:
    assert recommended(PLAIN, [("max_tokens", 5.0), ("seed", 3.0)]) == PLAIN


def test_default_model_is_drawn_from_as_its_card_says() -> None:
    numbers = dict(recommended_for(None))
    assert numbers == dict(recommended_for(catalogue.DEFAULT))
    assert numbers == {"temperature": 0.2, "top_p": 0.9}


def test_files_of_a_folder_say_what_is_recommended(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    said = {"temperature": 0.6, "top_k": 20, "do_sample": True, "eos_token_id": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    assert dict(recommended_for(str(tmp_path))) == {"temperature": 0.6, "top_k": 20}
    (tmp_path / "generation_config.json").write_text("{")
    assert recommended_for(str(tmp_path)) == ()


@pytest.mark.parametrize("spec", ["http://127.0.0.1:1/v1", "no/such-model", "./gone"])
def test_nothing_is_recommended_where_nothing_is_known(spec: str) -> None:
    assert recommended_for(spec) == ()


def test_origin_of_each_value_is_told(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[sampling]\ntop_p = 0.5\n")
    settings = load({"top_k": 7}, environment={"LMTUI_MIN_P": "0.1"}, file=file)
    numbers = [(name, 0.3) for name in NAMES]
    shown = settings.with_recommended(numbers, "the makers")
    told = {name: shown.origin(name).source for name in NAMES}
    assert told == {
        "temperature": "model",
        "top_k": "flag",
        "top_p": "file",
        "min_p": "environment",
        "repetition_penalty": "model",
    }
    sampling = shown.sampling
    assert (sampling.temperature, sampling.repetition_penalty) == (0.3, 0.3)
    assert (sampling.top_k, sampling.top_p, sampling.min_p) == (7, 0.5, 0.1)
