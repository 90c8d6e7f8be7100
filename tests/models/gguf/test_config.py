"""Windows and RoPE scaling of a GGUF file reach the model that is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    StableLmConfig,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.models.gguf.config import amend_config, require_scaled
from lmtui.models.gguf.config_check import read_gguf_model
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.load import load
from lmtui.models.progress import Progress
from tests.models import tiny

LINEAR = {"rope_type": "linear", "factor": 4.0}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 16.0,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def linear(writer: Any) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(4.0)


def old_linear(writer: Any) -> None:
    writer.add_float32("llama.rope.scale_linear", 4.0)


def yarn(writer: Any) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(32)
    writer.add_rope_scaling_attn_factors(1.0)
    writer.add_float32("llama.rope.scaling.yarn_beta_fast", 16.0)


def llama3(writer: Any) -> None:
    config = tiny.llama_config()
    plain = 10000.0 ** -(np.arange(0, 16, 2) / 16)
    config.rope_parameters = {**config.rope_parameters, **LLAMA_3}
    turned, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    factors = (plain / turned.numpy()).astype(np.float32)
    writer.add_tensor("rope_freqs.weight", factors)


IDS = [(7 * i) % 300 for i in range(100)]


@torch.inference_mode()
def itself(folder: Path) -> list[float]:
    """The logprobs of some tokens far from the beginning, by transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = model(torch.tensor([IDS])).logits[0, :-1].double().log_softmax(-1)
    picked: list[float] = rows.gather(1, torch.tensor(IDS[1:])[:, None])[:, 0].tolist()
    return picked[50:]


def read(file: Path, quantize: Any) -> list[float]:
    """The same by the engine, of a GGUF file."""
    made = load(str(file), device="cpu", quantize=quantize)
    tokens = LocalEngine(made).score(IDS)
    return [token.logprob for token in tokens if token.logprob is not None][50:]


@pytest.fixture(scope="module")
def unscaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model whose RoPE is not scaled."""
    folder = tmp_path_factory.mktemp("unscaled")
    return tiny.write_gguf(tiny.save_llama(folder), folder / "b.gguf")


def distance(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize(
    ("rope", "change"),
    [(LINEAR, linear), (LINEAR, old_linear), (YARN, yarn), (LLAMA_3, llama3)],
    ids=["linear", "old linear", "yarn", "llama3"],
)
def test_scaled_rope_gives_the_logits_of_the_model_itself(
    rope: dict[str, Any],
    change: Callable[[Any], None],
    quantize: Any,
    unscaled: Path,
    tmp_path: Path,
) -> None:
    folder = tiny.save_llama(tmp_path / "model", rope=rope)
    file = tiny.write_gguf(folder, tmp_path / "it.gguf", change=change)
    wanted = itself(folder)
    error = distance(read(file, quantize), wanted)
    most = distance(read(unscaled, quantize), wanted)
    assert most > 1e-2
    assert error < (1e-4 if quantize == "none" else 0.9 * most)


def test_unknown_factors_and_kinds_of_scaling_are_refused(tmp_path: Path) -> None:
    def odd(writer: Any) -> None:
        factors = np.array([1, 5, 2, 9, 1, 3, 1, 1], np.float32)
        writer.add_tensor("rope_freqs.weight", factors)

    def unknown(writer: Any) -> None:
        writer.add_string("llama.rope.scaling.type", "dreamt-up")

    folder = tiny.save_llama(tmp_path / "model")
    for name, change in (("a", odd), ("b", unknown)):
        file = tiny.write_gguf(folder, tmp_path / f"{name}.gguf", change=change)
        with pytest.raises(LmtuiError) as caught:
            load(str(file), device="cpu", quantize="none")
        title = "this GGUF file scales its positions in an unknown way"
        assert (caught.value.title, bool(caught.value.hint)) == (title, True)


def test_part_of_a_head_that_the_model_can_not_turn_alone_is_refused(
    tmp_path: Path,
) -> None:
    config = Qwen2Config(**SIZE)
    read = header(tmp_path, "qwen2", lambda w: w.add_rope_dimension_count(8))
    with pytest.raises(LmtuiError, match="unknown way") as caught:
        amend_config(config, read)
    assert "8 of 16 dimensions" in caught.value.detail


@pytest.mark.parametrize("items", [["x", "x"], [math.nan], [2.5, 2.5], [True]])
def test_counts_that_are_no_whole_numbers_are_refused(
    items: list[Any], tmp_path: Path
) -> None:
    key = "llama.attention.head_count_kv"
    with pytest.raises(LmtuiError, match="contradicts itself"):
        header(tmp_path, "llama", lambda writer: writer.add_array(key, items))


def test_sampling_settings_of_a_file_are_recommended(
    tmp_path: Path,
) -> None:
    def change(writer: Any) -> None:
        writer.add_float32("general.sampling.temp", 0.5)
        writer.add_int32("general.sampling.top_k", -5)
        writer.add_float32("general.sampling.top_p", 0.9)

    folder = tiny.save_llama(tmp_path / "model")
    file = tiny.write_gguf(folder, tmp_path / "it.gguf", change=change)
    told: list[Progress] = []
    made = load(str(file), device="cpu", quantize="none", on_progress=told.append)
    assert not any(each.warning for each in told)
    assert dict(made.facts.generation_defaults) == pytest.approx(
        {"temperature": 0.5, "top_p": 0.9}
    )


def header(
    folder: Path, architecture: str, change: Callable[[gguf.GGUFWriter], None]
) -> GgufHeader:
    """The header of a file without a model."""
    writer = gguf.GGUFWriter(folder / "it.gguf", architecture)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_tensor("token_embd.weight", np.zeros((80, 64), np.float32))
    change(writer)
    tiny.finish(writer)
    return read_gguf_model(folder / "it.gguf")


SIZE = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 4}


def test_longrope_of_phi_3_comes_from_its_tensors(tmp_path: Path) -> None:
    long, short = [2.0] * 8, [1.0] * 8

    def change(writer: Any) -> None:
        writer.add_tensor("rope_factors_long.weight", np.array(long, np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array(short, np.float32))
        writer.add_rope_scaling_orig_ctx_len(16)
        writer.add_rope_scaling_attn_factors(1.5)
        writer.add_rope_dimension_count(16)

    config = Phi3Config(**SIZE, max_position_embeddings=64)
    amend_config(config, header(tmp_path, "phi3", change))
    rope = config.rope_parameters
    assert (rope["long_factor"], rope["short_factor"]) == (long, short)
    assert rope["rope_type"] == "longrope"
    assert rope["attention_factor"] == 1.5
    assert config.original_max_position_embeddings == 16
    frequencies, factor = ROPE_INIT_FUNCTIONS["longrope"](config, torch.device("cpu"))
    assert (len(frequencies), factor) == (8, 1.5)


def test_only_layers_that_see_all_are_scaled_in_gemma_3(tmp_path: Path) -> None:
    config = Gemma3TextConfig(**SIZE)
    before = dict(config.rope_parameters["sliding_attention"])
    amend_config(config, header(tmp_path, "gemma3", lambda w: linear_of(w, "gemma3")))
    assert config.rope_parameters["full_attention"]["rope_type"] == "linear"
    assert config.rope_parameters["full_attention"]["factor"] == 8.0
    assert config.rope_parameters["sliding_attention"] == before
    assert config.sliding_window == 4096


def linear_of(writer: Any, architecture: str) -> None:
    writer.add_string(f"{architecture}.rope.scaling.type", "linear")
    writer.add_float32(f"{architecture}.rope.scaling.factor", 8.0)


@pytest.mark.parametrize(
    ("kind", "architecture"), [(MistralConfig, "llama"), (Qwen2Config, "qwen2")]
)
@pytest.mark.parametrize("window", [None, 32])
def test_window_is_that_of_the_file(
    kind: Any, architecture: str, window: int | None, tmp_path: Path
) -> None:
    def change(writer: Any) -> None:
        if window:
            writer.add_sliding_window(window)

    config = kind(**SIZE)
    amend_config(config, header(tmp_path, architecture, change))
    assert config.sliding_window == window
    layers = getattr(config, "layer_types", None)
    if layers:
        assert set(layers) == {"sliding_attention" if window else "full_attention"}


def test_layers_of_a_pattern_look_back_as_it_says(tmp_path: Path) -> None:
    pattern = [True, True, False, True]
    config = Gemma3TextConfig(**SIZE)
    key = "gemma3.attention.sliding_window_pattern"
    read = header(tmp_path, "gemma3", lambda w: w.add_array(key, pattern))
    amend_config(config, read)
    slides = [kind == "sliding_attention" for kind in config.layer_types]
    assert slides == pattern


def test_part_of_each_head_that_rope_turns_is_that_of_the_file(tmp_path: Path) -> None:
    config = StableLmConfig(**SIZE)
    read = header(tmp_path, "stablelm", lambda w: w.add_rope_dimension_count(8))
    amend_config(config, read)
    assert config.rope_parameters["partial_rotary_factor"] == 0.5
    require_scaled(config, read)


@pytest.mark.parametrize("counts", [[2, 2], [2, 4]])
def test_list_of_equal_head_counts_is_a_number(
    counts: list[int], tmp_path: Path
) -> None:
    folder = tiny.save_llama(tmp_path / "model")
    file = tiny.write_gguf(folder, tmp_path / "it.gguf", head_counts=counts)
    if len({*counts}) == 1:
        assert distance(read(file, "none"), itself(folder)) < 1e-4
        return
    with pytest.raises(LmtuiError, match="supported") as caught:
        load(str(file), device="cpu", quantize="none")
    assert "head_count_kv" in caught.value.detail
