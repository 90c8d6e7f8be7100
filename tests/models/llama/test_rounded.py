"""Weights rounded into blocks, once: as the `gguf` package does it, and kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants

from lmtui import cache_dir
from lmtui.engine.engine import LocalEngine
from lmtui.errors import LmtuiError
from lmtui.kernels import compiler
from lmtui.models import hardware, memory
from lmtui.models.config_check import read_model
from lmtui.models.gguf.header import read_gguf_header
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama.linear import BlockLinear
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import Progress
from tests.models import tiny

pytestmark = [
    pytest.mark.skipif(
        compiler.compiler_id() is None, reason="there is no C++ compiler"
    ),
    pytest.mark.usefixtures("shared_home"),
]
TYPES = {"int8": "Q8_0", "int4": "Q4_1"}
IDS = [(7 * i) % 300 for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("rounded"))


def loaded(place: Path, quantize: Any, **more: Any) -> LoadedModel:
    return load(str(place), device="cpu", quantize=quantize, **more)


def logprobs(model: LoadedModel) -> torch.Tensor:
    """[n, V]"""
    blocks = LocalEngine(model).backend.all_logits(IDS)
    return torch.cat([*blocks]).double().log_softmax(-1)


def apart(wanted: LoadedModel, found: LoadedModel) -> float:
    """Mean KL divergence in nats."""
    one, other = logprobs(wanted), logprobs(found)
    return float((one.exp() * (one - other)).sum(-1).mean())


def kept(model: LoadedModel) -> GgufTensors:
    return GgufTensors(read_gguf_header(model.folder / "rounded.gguf"))


@pytest.mark.parametrize(("quantize", "most"), [("int8", 4e-3), ("int4", 0.2)])
@pytest.mark.parametrize("gguf_file", [False, True])
def test_weights_are_rounded_as_the_gguf_package_rounds_them(
    quantize: str, most: float, gguf_file: bool, folder: Path, tmp_path: Path
) -> None:
    place = tiny.write_gguf(folder, tmp_path / "it.gguf") if gguf_file else folder
    found = loaded(place, quantize)
    layers = found.model.weights.layers
    assert all(isinstance(m, BlockLinear) for layer in layers for m in layer.matrices)
    assert (found.precision, found.number_format) == ("fast", TYPES[quantize])
    exact = loaded(folder, "none")
    assert 0 < apart(exact, found) < most
    tensors, own = kept(found), exact.model.state_dict()
    names = [n for n in own if n in tensors]  # a GGUF file has other names
    assert bool(names) != gguf_file
    for name in names:
        weights = own[name].numpy()
        if weights.ndim == 1:
            assert np.array_equal(tensors.floats(name).numpy(), weights)
            continue
        blocks, kind = tensors.blocks(name)
        head = name in ("model.embed_tokens.weight", "lm_head.weight")
        assert kind == ("Q8_0" if head else TYPES[quantize])
        wanted = quants.quantize(weights, GGMLQuantizationType[kind])
        assert np.array_equal(blocks.numpy(), wanted.ravel())


def test_second_opening_rounds_nothing(folder: Path, home: Path) -> None:
    told: list[Progress] = []
    first = loaded(folder, "int8", on_progress=told.append)
    assert any(each.unit == "tensors" and each.total for each in told)
    told.clear()
    second = loaded(folder, "int8", on_progress=told.append)
    assert not any("rounding" in each.what for each in told)
    assert first.folder == second.folder
    assert torch.equal(logprobs(first), logprobs(second))


@pytest.mark.parametrize("damage", ["cut", "header", "tensor"])
def test_damaged_file_is_made_again(damage: str, folder: Path) -> None:
    before = loaded(folder, "int4")
    wanted = logprobs(before)
    file = before.folder / "rounded.gguf"
    content = file.read_bytes()
    changed = {
        "cut": content[:-100],
        "header": b"\xff" * len(content),
        "tensor": content.replace(b"layers.1.mlp", b"layers.1.nlp"),
    }[damage]
    file.unlink()  # it is mapped
    file.write_bytes(changed)
    again = loaded(folder, "int4")
    assert again.number_format == "Q4_1"
    assert torch.equal(logprobs(again), wanted)


def test_weights_of_few_bits_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    four = tiny.write_gguf(folder, tmp_path / "four.gguf", "Q4_0")
    eight = tiny.write_gguf(folder, tmp_path / "eight.gguf", "Q8_0")
    assert loaded(eight, "int8").folder == loaded(eight, "auto").folder
    assert loaded(eight, "int4").number_format == "Q4_1"
    same = loaded(four, "int4")
    assert same.number_format == "Q4_0"
    assert torch.equal(logprobs(same), logprobs(loaded(four, "auto")))


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_types_without_a_kernel_are_rounded_to_8_bits(
    kind: str, tmp_path: Path
) -> None:
    wide = tiny.save_llama(tmp_path / "wide", width=256)
    file = tiny.write_gguf(wide, tmp_path / "it.gguf", kind)
    found = loaded(file, "auto")
    assert found.number_format == "Q8_0"
    assert apart(loaded(file, "none"), found) < 0.02


@pytest.mark.parametrize("quantize", ["auto", "int4"])
def test_rope_factors_of_a_file_divide_the_frequencies(
    quantize: str, folder: Path, tmp_path: Path
) -> None:
    factors = np.array([1, 5, 2, 9, 1, 3, 1, 1], np.float32)

    def odd(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("rope_freqs.weight", factors)

    plain = tiny.write_gguf(folder, tmp_path / "plain.gguf", "Q8_0")
    scaled = tiny.write_gguf(folder, tmp_path / "it.gguf", "Q8_0", change=odd)
    found = loaded(scaled, quantize).model.weights.frequencies
    wanted = loaded(plain, quantize).model.weights.frequencies / torch.tensor(factors)
    torch.testing.assert_close(found, wanted)


def test_model_too_large_in_int8_is_told_of_int4(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_FIXED", 0)
    parameters = read_model(folder).parameters
    monkeypatch.setattr(hardware, "available_ram", lambda: int(parameters * 0.8))
    with pytest.raises(LmtuiError) as refused:
        loaded(folder, "int8")
    assert "Use --quantize int4" in str(refused.value.hint)
    assert loaded(folder, "int4").number_format == "Q4_1"


@pytest.mark.parametrize("trouble", ["no folder", "full"])
def test_rounding_is_refused_where_the_cache_cannot_be_written(
    trouble: str,
    folder: Path,
    home: Path,
    small_disk: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if trouble == "full":  # the kernels fit, the weights don't
        loaded(folder, "int8")
        compiled = home / "cache" / "compiled"
        size = sum(file.stat().st_size for file in compiled.rglob("*"))
        place = small_disk(size + 4096 * 25)
        shutil.copytree(compiled, place / "cache" / "compiled")
    else:
        (place := home.with_name("elsewhere")).write_text("")
    monkeypatch.setenv("LMTUI_HOME", str(place))
    with pytest.raises(LmtuiError, match="can't be used in int8") as caught:
        loaded(folder, "int8")
    assert ("the disk is full" in caught.value.detail) == (trouble == "full")
    assert not list(cache_dir.root("packed").glob("*"))
