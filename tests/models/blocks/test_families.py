"""Models of any family in GGUF files are those of transformers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Prompt
from lmtui.errors import LmtuiError
from lmtui.kernels import compiler
from lmtui.models import memory
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.run_plan import plan_for
from tests.models import learned, tiny
from tests.models.gguf import written
from tests.models.gguf.families import (
    FAMILIES,
    IDS,
    made,
    rope,
    wanted,
)

pytestmark = [
    pytest.mark.skipif(
        compiler.compiler_id() is None, reason="there is no C++ compiler"
    ),
    pytest.mark.usefixtures("shared_home"),
]


def found(file: Path, quantize: Any, ids: list[int] = IDS) -> torch.Tensor:
    """The same by the engine, of a file."""
    return logprobs(load(str(file), device="cpu", quantize=quantize), ids)


def logprobs(model: LoadedModel, ids: list[int]) -> torch.Tensor:
    backend = LocalEngine(model).backend
    return torch.cat([*backend.all_logits(ids)]).log_softmax(-1)


@pytest.mark.parametrize("name", FAMILIES)
def test_file_of_floats_is_the_model_itself(name: str, tmp_path: Path) -> None:
    model, file = made(name, tmp_path, "F32")
    far = (found(file, "none") - wanted(model)).abs().max()
    assert far < 2e-5


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_are_multiplied_as_the_unpacked_weights_are(
    name: str, kind: str, tmp_path: Path
) -> None:
    _, file = made(name, tmp_path, kind)
    fast = load(str(file), device="cpu", quantize="auto")
    assert (fast.precision, fast.number_format) == ("fast", kind)
    few = IDS[:8]  # no product is rounded to bfloat16
    divergence = distance(found(file, "none", few), logprobs(fast, few))
    assert divergence < 3e-4
    # Of many tokens some are, as all are in a model of that format.
    held, brief = (
        logprobs(load(str(file), device="cpu", quantize="none", dtype=dtype), IDS)
        for dtype in ("float32", "bfloat16")
    )
    assert distance(held, logprobs(fast, IDS)) < max(3e-4, distance(held, brief))


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean KL divergence between rows of logprobs [n, V]."""
    return float((one.exp() * (one - other)).sum(-1).mean())


@pytest.mark.parametrize("name", ["gemma3", "gemma4", "qwen3.5, 4 value heads"])
def test_weights_that_are_not_held_give_the_same_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file = made(name, tmp_path, "Q8_0")
    held = found(file, "none")
    monkeypatch.setattr(memory, "fits_unpacked", lambda *given: False)
    assert (found(file, "none") - held).abs().max() < 5e-5
    engine = LocalEngine(load(str(file), device="cpu", quantize="none"))
    prompt = Prompt(tuple(IDS[:4]), "")
    with pytest.raises(LmtuiError, match="too large to write exactly") as refused:
        list(engine.generate(prompt, SamplingSettings()))
    assert "--dtype float32" in refused.value.hint
    there = load(str(file), device="cpu", quantize="none", dtype="float32")
    assert list(LocalEngine(there).generate(prompt, SamplingSettings(max_tokens=2)))
    plan = partial(plan_for, file, device="cpu", quantize="none")
    assert "unpacked each time" in plan(dtype="auto")[0]
    assert "all weights loaded" in plan(dtype="float32")[0]


@pytest.mark.parametrize(
    "name", ["gemma3", "gemma4", "qwen3.5, 4 value heads", "qwen3, mixture"]
)
def test_adapter_beside_the_blocks_is_the_merged_one(name: str, tmp_path: Path) -> None:
    model, file = made(name, tmp_path, "Q8_0")
    folder = tmp_path / "base"
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    wide = [
        "q_proj",
        "o_proj" if "mixture" in name else "down_proj",
        *(["out_proj", "in_proj_z"] if "qwen3.5" in name else []),
    ]
    lora = learned.save_lora(tmp_path / "lora", folder, size=0.1, target_modules=wide)
    exact, fast = (
        load(str(file), adapter=str(lora), device="cpu", quantize=quantize)
        for quantize in ("none", "auto")
    )
    assert (fast.precision, fast.adapter) == ("fast", "lora")
    few = IDS[:12]
    merged, beside = (logprobs(each, few) for each in (exact, fast))
    alone = found(file, "none", few)
    assert distance(merged, beside) < 1e-3
    assert distance(merged, alone) > 0.02


def with_more(
    fields: Callable[[gguf.GGUFWriter, Any], None], tensors: list[str], blocks: int = 0
) -> Callable[[gguf.GGUFWriter, Any], None]:
    """What writes a family's fields, further tensors, and counts further blocks."""

    def write(writer: gguf.GGUFWriter, config: Any) -> None:
        fields(writer, config)
        for name in tensors:
            writer.add_tensor(name, torch.ones(128).numpy())
        if blocks:
            del writer.kv_data[0][f"{writer.arch}.block_count"]
            writer.add_block_count(config.num_hidden_layers + blocks)
            writer.add_nextn_predict_layers(blocks)

    return write


@pytest.mark.parametrize(("kind", "native"), [("F32", False), ("Q8_0", True)])
def test_block_that_guesses_further_tokens_is_left_out(
    kind: str, native: bool, tmp_path: Path
) -> None:
    family = FAMILIES["qwen3.5, 4 value heads"]
    model = written.random_model(family.kind, **family.options)
    names = [
        "blk.4.attn_norm.weight",
        "blk.4.attn_q.weight",
        "blk.4.nextn.enorm.weight",
    ]
    file = written.write(
        *(model, family.architecture, tmp_path / "it.gguf", kind),
        with_more(family.fields, names, blocks=1),
        offset=family.offset,
    )
    fast = load(str(file), device="cpu", quantize="auto")
    assert fast.is_llama == native
    few = IDS[:12]
    assert distance(found(file, "none", few), logprobs(fast, few)) < 1e-3
    if not native:
        assert (found(file, "none") - wanted(model)).abs().max() < 2e-5


@pytest.mark.parametrize(("kind", "quantize"), [("F32", "none"), ("Q8_0", "auto")])
def test_tensor_without_a_place_is_refused_by_its_name(
    kind: str, quantize: Any, tmp_path: Path
) -> None:
    model = written.random_model("qwen3", head_dim=32)
    fields = with_more(rope, ["blk.1.attn_sinks.weight"])
    file = written.write(model, "qwen3", tmp_path / "it.gguf", kind, fields)
    with pytest.raises(LmtuiError, match=r"no place for the tensor blk\.1\.attn_sinks"):
        load(str(file), device="cpu", quantize=quantize)


@torch.inference_mode()
@pytest.mark.parametrize(
    "name",
    [
        "llama",
        "qwen2",
        "qwen3",
        "qwen3.5, 4 value heads",
        "gemma2",
        "gemma3",
        "phi3",
        "lfm2",
    ],
)
def test_transformers_reads_the_same_weights(name: str, tmp_path: Path) -> None:
    """Its own configuration of a file lacks sizes that random models change."""
    model, file = made(name, tmp_path, "Q8_0")
    theirs = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, config=model.config, dtype=torch.float32
    )
    assert (found(file, "none") - wanted(theirs.eval())).abs().max() < 2e-5


def test_type_that_would_only_run_unpacked_is_refused(tmp_path: Path) -> None:
    model = written.random_model("qwen3", head_dim=64, hidden_size=256)
    file = written.write(model, "qwen3", tmp_path / "it.gguf", "MXFP4", rope)
    with pytest.raises(LmtuiError, match="of the type MXFP4 are not supported"):
        load(str(file), device="cpu", quantize="none")
