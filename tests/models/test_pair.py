"""A model and the same with an adapter beside it share their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.models.load import load, load_pair
from lmtui.models.loaded_model import LoadedModel, LoadOptions
from lmtui.models.progress import ignore
from lmtui.models.source import Quantize
from tests.models import learned, tiny

IDS = [5, 9, 200, 14, 9, 77, 30, 31, 8]


@pytest.fixture
def notes(llama_folder: Path, tmp_path: Path) -> Path:
    """A random LoRA for the tiny Llama, kept as `notes`."""
    weights = learned.save_lora(tmp_path / "lora", llama_folder)
    return learned.keep_lora("notes", weights, llama_folder)


def how(quantize: Quantize = "none") -> LoadOptions:
    """The CPU, whatever else."""
    return LoadOptions("cpu", "auto", quantize, None, ignore)


def logprobs(loaded: LoadedModel) -> torch.Tensor:
    """What a model says to a fixed text."""
    return tiny.logits(loaded.model, tiny.tokenizer()).double().log_softmax(-1)


def pair(folder: Path, adapter: str | None = None, other: str = "notes") -> Any:
    """The two models in float32."""
    return load_pair(str(folder), adapter=adapter, other=other, how=how())


def test_pair_gives_the_logprobs_of_each_alone(notes: Path, llama_folder: Path) -> None:
    plain, beside = pair(llama_folder)
    assert (plain.adapter, beside.adapter) == (None, "notes")
    alone = load(str(llama_folder), device="cpu")
    merged = load(str(llama_folder), adapter="notes", device="cpu")
    assert torch.equal(logprobs(plain), logprobs(alone))
    assert torch.allclose(logprobs(beside), logprobs(merged), atol=1e-4)
    assert (logprobs(plain) - logprobs(beside)).abs().max() > 0.01
    assert torch.equal(logprobs(plain), logprobs(alone))


def test_pair_has_the_shared_weights_in_memory_once(
    notes: Path, llama_folder: Path
) -> None:
    plain, beside = pair(llama_folder)
    own = {weights.data_ptr() for weights in plain.model.parameters()}
    named = dict(beside.model.named_parameters())
    added = {n for n, weights in named.items() if weights.data_ptr() not in own}
    assert added == {name for name in named if ".lora_" in name} != set()


def test_pair_of_two_adapters_shares_one_model(
    notes: Path, llama_folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    weights = learned.save_lora(tmp_path / "more", llama_folder, r=2)
    learned.keep_lora("more", weights, llama_folder)
    one, other = pair(llama_folder, "more", "notes")
    assert (one.adapter, other.adapter) == ("more", "notes")
    for half in (one, other):
        alone = load(str(llama_folder), adapter=half.adapter, device="cpu")
        assert torch.allclose(logprobs(half), logprobs(alone), atol=1e-4)
    first = one.model.get_input_embeddings().weight
    assert first.data_ptr() == other.model.get_input_embeddings().weight.data_ptr()


def test_pair_takes_only_the_base_model_of_the_adapter(
    notes: Path, llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(llama_folder.parent)
    plain, _ = load_pair(None, adapter=None, other="notes", how=how())
    assert torch.equal(logprobs(plain), logprobs(load(str(llama_folder), device="cpu")))
    other = tiny.save_llama(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({n: w * 1.5 for n, w in weights.items()}, other / "model.safetensors")
    with pytest.raises(LmtuiError, match="made for another model"):
        pair(other)


def test_pair_with_a_whole_model_adapter_loads_both(llama_folder: Path) -> None:
    learned.keep_whole("whole", llama_folder)
    plain, whole = pair(llama_folder, other="whole")
    assert whole.adapter == "whole"
    assert (logprobs(plain) - logprobs(whole)).abs().max() > 1e-4


def test_pair_shares_quantised_weights(
    notes: Path, llama_folder: Path, tmp_path: Path
) -> None:
    spec = str(tiny.write_gguf(llama_folder, tmp_path / "q8.gguf", "Q8_0"))
    lora = learned.save_lora(tmp_path / "plain", llama_folder)
    plain, beside = load_pair(spec, adapter=None, other=str(lora), how=how("auto"))
    assert plain.is_llama and beside.is_llama
    layers = zip(plain.model.weights.layers, beside.model.weights.layers, strict=True)
    assert all(a.qkv.matrix.parts is b.qkv.matrix.parts for a, b in layers)


def test_pair_with_an_unusual_adapter_runs_exactly(
    llama_folder: Path, tmp_path: Path
) -> None:
    spec = str(tiny.write_gguf(llama_folder, tmp_path / "q8.gguf", "Q8_0"))
    lora = learned.save_lora(tmp_path / "l", llama_folder, rank_pattern={"q_proj": 2})
    plain, beside = load_pair(spec, adapter=None, other=str(lora), how=how("auto"))
    assert (plain.precision, beside.precision) == ("exact", "exact")
    assert plain.why


def test_pair_refuses_an_adapter_with_non_finite_weights(
    notes: Path, llama_folder: Path
) -> None:
    file = notes / "adapter_model.safetensors"
    weights = load_file(file)
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, file)
    with pytest.raises(LmtuiError, match="not finite"):
        pair(llama_folder)


def test_pair_of_engines_can_be_asked_in_turns(notes: Path, llama_folder: Path) -> None:
    loaded = load_pair(str(llama_folder), adapter=None, other="notes", how=how())
    plain, beside = (LocalEngine(each, context=64) for each in loaded)
    assert (plain.info.adapter, beside.info.adapter) == (None, "notes")
    assert beside.info.label == f"{plain.info.label} + notes"
    assert plain.info.context == beside.info.context == 64
    apart = [[token.logprob for token in each.score(IDS)] for each in (plain, beside)]
    turns = zip(plain.score(IDS), beside.score(IDS), strict=True)
    together = [(one.logprob, other.logprob) for one, other in turns]
    assert together == list(zip(*apart, strict=True))
