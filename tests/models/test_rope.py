"""RoPE frequencies are those of transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from lmtui.models.rope import SCALINGS, attention_factor, frequencies

SIZES = {"hidden_size": 64, "num_attention_heads": 2, "max_position_embeddings": 256}


@given(
    kind=st.sampled_from(SCALINGS),
    theta=st.floats(100, 1e6),
    factor=st.floats(1, 64),
    low=st.floats(0.5, 2),
    high=st.floats(2.5, 8),
    before=st.integers(16, 8192),
    scales=st.booleans(),
)
def test_frequencies_are_those_of_transformers(
    kind: str,
    theta: float,
    factor: float,
    low: float,
    high: float,
    before: int,
    scales: bool,
) -> None:
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": theta}
    if kind != "default":
        rope["factor"] = factor
    if kind == "llama3":
        rope |= {"low_freq_factor": low, "high_freq_factor": high}
    if kind in ("llama3", "yarn"):
        rope["original_max_position_embeddings"] = before
    if kind == "yarn" and scales:
        rope |= {"mscale": low, "mscale_all_dim": high}
    found = frequencies(rope, 32)
    if kind == "default":
        wanted = 1.0 / theta ** (torch.arange(0, 32, 2).float() / 32)
    else:
        config = LlamaConfig(**SIZES, rope_parameters=rope)
        wanted, scale = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
        assert attention_factor(rope) == pytest.approx(scale)
    near = 1e-5 if kind == "yarn" else 0.0  # whose parts are mixed in another order
    torch.testing.assert_close(found, wanted, rtol=near, atol=0.0)


def test_missing_parameter_is_an_error() -> None:
    with pytest.raises(KeyError):
        frequencies({"rope_type": "linear", "rope_theta": 1e4}, 32)
