"""Few bits: what is kept of a matrix, and what a product with it is worth."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.models.gguf.header import read_gguf_header
from lmtui.models.gguf.tensors import UNROUNDED_TYPES, GgufTensors
from lmtui.models.llama import int4
from lmtui.models.llama.int4 import FEW, HalfWeight, Int4Linear, quantise, stacked

ROWS, COLUMNS = 48, 512
OTHERS = ("Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q3_K", "IQ4_NL", "F16", "BF16", "F32")


def written(folder: Path, kind: str, seed: int = 0) -> GgufTensors:
    """A file with one matrix, `m`, of blocks of random bytes."""
    numbers = np.random.default_rng(seed)
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    shape = (ROWS, COLUMNS // block, size)
    data = numbers.integers(0, 256, shape, dtype=np.uint8)
    _tame(data, kind)
    writer = gguf.GGUFWriter(folder / f"{kind}.gguf", "llama")
    raw = data.reshape(ROWS, -1)
    writer.add_tensor("m", raw, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GgufTensors(read_gguf_header(folder / f"{kind}.gguf"))


def _tame(data: np.ndarray, kind: str) -> None:
    """Let the scales be halves from 0.03 to 2, of either sign: no random bytes."""
    places = {"Q6_K": [209], "Q3_K": [109], "F16": [1], "F32": [3], "BF16": [1]}
    at = places.get(kind, [1, 3] if kind in ("Q4_1", "Q4_K", "Q5_1", "Q5_K") else [1])
    for place in at:
        data[..., place] = (data[..., place] & 0x83) | 0x28


@pytest.mark.parametrize("kind", UNROUNDED_TYPES)
@pytest.mark.parametrize("seed", range(3))
def test_unrounded_gguf_types_keep_their_values(
    kind: str, seed: int, tmp_path: Path
) -> None:
    tensors = written(tmp_path, kind, seed)
    groups, floats = tensors.groups("m"), tensors.floats("m")
    assert groups.bits == (8 if kind == "Q8_0" else 4)
    assert tensors.shape("m") == tuple(floats.shape) == (ROWS, COLUMNS)
    assert floats.abs().max() > 0
    torch.testing.assert_close(groups.floats(), floats, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", OTHERS)
def test_rounded_gguf_types_have_256_steps(kind: str, tmp_path: Path) -> None:
    tensors = written(tmp_path, kind)
    groups, floats = tensors.groups("m"), tensors.floats("m")
    assert groups.bits == 8
    reach = floats.view(ROWS, -1, 32)
    half = (reach.amax(-1) - reach.amin(-1)) / 255 / 2
    error = (groups.floats() - floats).abs().view(ROWS, -1, 32).amax(-1)
    assert bool((error <= 1.001 * half + 1e-6).all())


@pytest.mark.parametrize("kind", (*UNROUNDED_TYPES, *OTHERS))
@pytest.mark.parametrize("seed", range(3))
def test_floats_equal_gguf_dequantize_to_the_bit(
    kind: str, seed: int, tmp_path: Path
) -> None:
    floats = written(tmp_path, kind, seed).floats("m")
    (tensor,) = gguf.GGUFReader(tmp_path / f"{kind}.gguf").tensors
    wanted = gguf.dequantize(tensor.data, tensor.tensor_type)
    assert floats.numpy().tobytes() == np.float32(wanted).tobytes()


@given(
    bits=st.sampled_from([4, 8]),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-6, 1.0, 1e4]),
)
@settings(deadline=None, max_examples=30)
def test_quantise_rounds_to_the_nearest_step(
    bits: int, seed: int, scale: float
) -> None:
    torch.manual_seed(seed)
    weights = scale * torch.randn(16, 96)
    weights[3] = 0
    weights[4] = scale
    groups = quantise(weights, bits)
    reach = weights.view(16, 3, 32)
    half = (reach.amax(-1) - reach.amin(-1)) / (2**bits - 1) / 2
    error = (groups.floats() - weights).abs().view(16, 3, 32).amax(-1)
    assert bool((error <= 1.001 * half + 1e-5 * scale).all())
    again = groups.rounded(bits)
    assert again is groups
    torch.testing.assert_close(
        quantise(groups.floats(), bits).floats(),
        groups.floats(),
        rtol=0,
        atol=1e-5 * scale,
    )


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5, FEW, FEW + 1, 100])
def test_packed_product_is_as_exact_as_bfloat16(
    bits: int, dense: bool, count: int
) -> None:
    torch.manual_seed(count)
    groups = quantise(torch.randn(64, 96), bits)
    packed = Int4Linear.of(groups, dense=dense)
    assert packed.bits == bits
    inputs = torch.randn(count, 96).bfloat16()
    found = packed.times(inputs)
    assert (found.dtype, found.shape) == (torch.bfloat16, (count, 64))
    wanted = inputs.float() @ groups.floats().t()
    # Scales and results have 8 bits: each number is off by 2^-9 of what is added up.
    bound = (inputs.float().abs() @ groups.floats().abs().t()) * 2**-7
    assert bool(((found.float() - wanted).abs() <= bound).all())


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_matrices_can_be_stacked_and_reordered(bits: int) -> None:
    torch.manual_seed(0)
    one, two = quantise(torch.randn(16, 64), 4), quantise(torch.randn(32, 64), bits)
    both = stacked([one, two])
    assert both.bits == bits
    torch.testing.assert_close(both.floats(), torch.cat([one.floats(), two.floats()]))
    order = torch.randperm(48)
    torch.testing.assert_close(both.rows(order).floats(), both.floats()[order])
    inputs = torch.randn(3, 64).bfloat16()
    found = Int4Linear.of(both, dense=False).times(inputs).float()
    torch.testing.assert_close(
        found, inputs.float() @ both.floats().t(), atol=0.2, rtol=0
    )


def test_half_weight_gives_float32_products(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weights = torch.randn(300, 64).half()
    inputs = torch.randn(5, 64)
    wanted = inputs @ weights.float().t()
    packed = HalfWeight(weights).times(inputs)
    assert packed.dtype == torch.float32
    torch.testing.assert_close(packed, wanted, atol=1e-4, rtol=0)
    monkeypatch.setattr(int4, "_PART", 1000)  # so that there are several
    assert torch.equal(HalfWeight(weights).times(inputs), packed)
    monkeypatch.setattr(int4, "has_fast_half", lambda: False)
    torch.testing.assert_close(
        HalfWeight(weights).times(inputs), wanted, atol=1e-5, rtol=0
    )
