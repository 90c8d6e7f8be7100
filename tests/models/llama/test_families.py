"""Families that differ from Llama by constants, from folders and GGUF files: each gives
what transformers does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

from lmtui.engine.engine import LocalEngine
from lmtui.kernels import compiler
from lmtui.models import hardware
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from tests.engine.backends.llama_cpu import lean
from tests.models import learned, tiny
from tests.models.gguf import families, written

pytestmark = [
    pytest.mark.skipif(
        compiler.compiler_id() is None, reason="there is no C++ compiler"
    ),
    pytest.mark.usefixtures("shared_home"),
]


@dataclass(frozen=True)
class Kind:
    """A family's random model, and how llama.cpp's converter writes it."""

    options: dict[str, Any]
    architecture: str
    fields: written.Fields = families.rope
    has_offset: bool = False
    interleaved: bool = False


KINDS = {
    **{
        f"qwen3_5_text, {values} value heads": Kind(
            {
                **{"head_dim": 32, "linear_num_key_heads": 2},
                **{"linear_num_value_heads": values, "linear_key_head_dim": 32},
                **{"linear_value_head_dim": 32, "num_hidden_layers": 5},
                "initializer_range": 0.1,
            },
            "qwen35",
            families.qwen35,
            has_offset=True,
        )
        for values in (2, 4)
    },
    "lfm2": Kind(
        {
            **{"layer_types": ["conv", "full_attention"] * 2, "num_hidden_layers": 4},
            "block_auto_adjust_ff_dim": False,
        },
        "lfm2",
        families.lfm2,
    ),
    "gemma3_text": Kind(
        {
            **{"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 24},
            **{"num_hidden_layers": 7, "initializer_range": 0.1},
        },
        "gemma3",
        families.gemma3,
        has_offset=True,
    ),
    "gemma4_text": Kind(
        {
            **families.GEMMA4,
            **{"sliding_window": 24, "initializer_range": 0.1},
            "vocab_size_per_layer_input": tiny.llama_config().vocab_size,
            "rope_parameters": None,  # the family's own
        },
        "gemma4",
        families.gemma4,
    ),
    "ministral3": Kind(
        lean.KINDS["ministral3"],
        "mistral3",
        families.mistral3,
        interleaved=True,
    ),
    "olmo2": Kind({}, "olmo2"),
    "olmo3": Kind(
        {
            **{"num_hidden_layers": 5, "sliding_window": 24, "initializer_range": 0.1},
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
                "full_attention": lean.YARN,
            },
        },
        "olmo2",
        families.olmo3,
    ),
    "smollm3": Kind(
        {"num_hidden_layers": 4, "tie_word_embeddings": True},
        "smollm3",
        interleaved=True,
    ),
    "granite": Kind(
        {
            **{"embedding_multiplier": 3.0, "residual_multiplier": 0.7},
            **{"attention_multiplier": 0.4, "logits_scaling": 0.5},
        },
        "granite",
        families.granite,
        interleaved=True,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(name) / "it"
    kind, *_ = name.split(",")
    tiny.save_brief(place, kind, torch.float32, **KINDS[name].options)
    model = AutoModelForCausalLM.from_pretrained(place)
    with torch.no_grad():
        for key, weights in model.named_parameters():
            if "norm" in key:
                weights += torch.randn(weights.shape) / 5
        for key, scale in model.named_buffers():
            if key.endswith("layer_scalar"):
                scale *= 1.25
    model.bfloat16().save_pretrained(place)
    return place


@torch.no_grad()
def write_gguf(model: Any, name: str, target: Path) -> Path:
    """Write a model as GGUF in Q8_0; its weights become what the file holds."""
    kind, q8 = KINDS[name], gguf.GGMLQuantizationType.Q8_0
    for weights in model.parameters():
        if weights.ndim == 2:
            blocks = gguf.quantize(weights.numpy(), q8)
            weights.copy_(torch.from_numpy(gguf.dequantize(blocks, q8)))
    return written.write(
        *(model, kind.architecture, target, "Q8_0", kind.fields),
        offset=lambda key: kind.has_offset and families.is_norm(key),
        interleaved=kind.interleaved,
    )


def loaded(place: Path, **more: Any) -> LoadedModel:
    return load(str(place), device="cpu", **({"quantize": "auto"} | more))


def logprobs(found: LoadedModel) -> torch.Tensor:
    """After each token of a text longer than a window, then after some of its tokens
    behind a prompt, one by one. [n, V]"""
    engine = LocalEngine(found)
    ids = engine.encode(tiny.TEXT * 3).ids
    read = list(engine.backend.all_logits(ids))
    cache = engine.backend.new_cache()
    steps = [engine.backend.logits(ids[:40], cache)]
    steps += [engine.backend.next_logits([token], cache) for token in ids[40:]]
    return torch.cat([*read, *steps]).double().log_softmax(-1)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean KL divergence in nats."""
    return float((one.exp() * (one - other)).sum(-1).mean())


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processor rounds inputs to bfloat16, which hides what else differs."""
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda device: False)


def test_folder_runs_with_its_own_weights_and_rounded_ones(
    name: str, folder: Path
) -> None:
    found, exact = loaded(folder), logprobs(loaded(folder, quantize="none"))
    assert found.is_llama and (found.why, found.number_format) == ("", "bfloat16")
    assert apart(exact, logprobs(found)) < 1e-5  # attention rounds to float16
    rounded = loaded(folder, quantize="int8")
    assert rounded.is_llama and rounded.number_format == "Q8_0"
    assert apart(exact, logprobs(rounded)) < 5e-3


@torch.inference_mode()
def test_gguf_file_runs_with_its_blocks(
    name: str, folder: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = loaded(write_gguf(model, name, tmp_path / "it.gguf"))
    assert found.is_llama and (found.why, found.number_format) == ("", "Q8_0")
    ids = LocalEngine(found).encode(tiny.TEXT * 3).ids
    wanted = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    assert apart(torch.cat([wanted, wanted[39:]]), logprobs(found)) < 1e-5


def test_adapter_beside_the_weights_gives_what_transformers_does(
    name: str, folder: Path, tmp_path: Path
) -> None:
    lora = learned.save_lora(tmp_path / "lora", folder, size=0.1)
    found = loaded(folder, adapter=str(lora))
    assert found.is_llama and found.adapter == "lora"
    exact = logprobs(loaded(folder, adapter=str(lora), quantize="none"))
    assert apart(exact, logprobs(found)) < 1e-4
    assert apart(exact, logprobs(loaded(folder))) > 1e-2
