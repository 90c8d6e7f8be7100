"""Weights of 4 bits on a GPU: their layout, and that only what is proven is used."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lmtui.models import hardware, quantized_cuda
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.int4 import GROUP, quantise
from lmtui.models.llama.load import load_quantized
from lmtui.models.loaded_model import LoadOptions
from lmtui.models.progress import ignore
from lmtui.models.quantized_cuda import CudaPacked, layout, pack_layers, tiles_of
from lmtui.models.quantized_layers import PackedLinear
from tests.engine import tiny


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    """A random one."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator)


def unpacked(packed: Tensor, scales: Tensor) -> Tensor:
    """The matrix that the kernel is given, by its documented layout."""
    q = torch.stack([packed >> 4, packed & 15], -1).flatten(1)  # [N, K]
    scale, zero = scales.float().transpose(0, 1).unbind(-1)  # [N, K/32] each
    grouped = q.view(*scale.shape, GROUP).float() - 8
    return (grouped * scale[..., None] + zero[..., None]).flatten(1)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands for the one of CUDA; its products are off by `kernel.off`."""

    class Kernel:
        off = 0.0

    def product(inputs: Tensor, packed: Tensor, group: int, scales: Tensor) -> Tensor:
        assert (group, inputs.dtype) == (GROUP, torch.bfloat16)
        plain = inputs.float() @ unpacked(packed, scales).t()
        return (plain + Kernel.off).bfloat16()

    def convert(packed: Tensor, tiles: int) -> Tensor:
        assert packed.dtype == torch.uint8
        assert packed.is_contiguous()
        return packed

    monkeypatch.setattr(torch, "_convert_weight_to_int4pack", convert)
    monkeypatch.setattr(torch, "_weight_int4pack_mm", product)
    return Kernel


@pytest.mark.parametrize("columns", [32, 64, 96, 128, 576, 2048])
def test_int4_layout_is_that_of_the_cuda_kernel(columns: int) -> None:
    groups = quantise(matrix(24, columns), 4)
    packed, scales = layout(groups)
    found, wanted = unpacked(packed, scales), groups.floats()
    # bfloat16 keeps 8 bits of a scale and of what 8 stands for.
    assert (found - wanted).abs().max() < wanted.abs().max() * 2**-6
    tiles = tiles_of(columns)
    shape = torch._convert_weight_to_int4pack(packed.to("meta"), tiles).shape
    assert shape == (3, columns // (16 * tiles), 32, tiles // 2)


def test_tiles_of_gives_the_tiles_that_fit_a_size() -> None:
    assert [tiles_of(n) for n in (128, 192, 96, 48, 576, 1536)] == [8, 4, 2, 0, 4, 8]


def logits(model: Any) -> Tensor:
    """Of a few tokens, [n, V]."""
    with torch.inference_mode():
        return model(torch.tensor([[5, 6, 7, 8]])).logits[0].float()


def test_packed_layers_agree_with_plain_quantised_ones(kernel: Any) -> None:
    model = copy.deepcopy(tiny.model("qwen3")).bfloat16()
    plain = copy.deepcopy(model)
    for part in plain.model.layers.modules():
        if isinstance(part, torch.nn.Linear):
            part.weight.data = quantise(part.weight, 4).floats().bfloat16()
    assert pack_layers(model, dense=False) == ""
    packed = [m for m in model.modules() if isinstance(m, PackedLinear)]
    assert len(packed) == 7 * 4
    assert type(model.lm_head) is torch.nn.Linear
    near = logits(model).double().log_softmax(-1) - logits(plain).double().log_softmax(
        -1
    )
    assert near.abs().mean() < 0.1


def test_kernel_with_wrong_products_is_not_used(kernel: Any) -> None:
    kernel.off = 1.0
    model = copy.deepcopy(tiny.model("llama")).bfloat16()
    before = logits(model)
    assert "off by" in pack_layers(model, dense=False)
    assert torch.equal(logits(model), before)


def test_missing_kernel_is_reported() -> None:
    model = copy.deepcopy(tiny.model("llama")).bfloat16()
    assert "does not work here" in pack_layers(model, dense=False)


def test_load_quantized_on_a_gpu_chooses_layers_and_dtype(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(hardware, "choose_device", lambda name: cuda)
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda device: True)

    def asked(quantize: Any, *, layers: bool = True) -> Any:
        how = LoadOptions("auto", "auto", quantize, None, ignore, layers)
        return load_quantized("m", tmp_path, how)

    assert (asked("int4").layers, asked("int4").dtype) == (True, "bfloat16")
    beside = asked("int4", layers=False)
    assert (beside.layers, beside.dtype) == (False, "bfloat16")
    assert "adapter" in beside.words
    assert (asked("auto").dtype, asked("auto").words) == ("auto", "it runs on cuda")
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda device: False)
    with pytest.raises(NotSupported):
        quantized_cuda.cuda_quantization(
            cuda, tmp_path, LoadOptions("auto", "auto", "int4", None, ignore)
        )


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("columns", [96, 192, 1024])
@pytest.mark.parametrize("inputs", [1, 3, 40])
def test_cuda_kernel_agrees_with_the_reference_product(
    columns: int, inputs: int
) -> None:
    groups = quantise(matrix(264, columns).cuda(), 4)
    given = matrix(inputs, columns, 1).cuda()
    wanted = given.bfloat16().float() @ groups.floats().t()
    for dense in (False, True):
        found = CudaPacked(groups, dense=dense).times(given.bfloat16()).float()
        assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
