"""Products with matrices of 16 bits: right, and the same however many are made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lmtui.kernels import build
from lmtui.kernels.half_matmul import FORMATS, HalfMatmulKernel
from lmtui.models.llama.half import FEW, HalfLinear, MappedHalfHead
from lmtui.models.llama.linear import LoraWeights

pytestmark = pytest.mark.skipif(
    build.compiler_id() is None, reason="there is no C++ compiler"
)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> HalfMatmulKernel:
    folder = tmp_path_factory.mktemp("products")
    build.build_half_matmul(folder)
    made = HalfMatmulKernel(folder / build.HALF_MATMUL)
    made.require_right()
    return made


@pytest.mark.parametrize("dtype", FORMATS.values())
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_half_product_equals_torch_whatever_the_batch(
    data: st.DataObject, dtype: torch.dtype, products: HalfMatmulKernel
) -> None:
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    columns = data.draw(st.sampled_from([1, 7, 16, 31, 33, 64, 100, 576]))
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    # An odd place in memory is one that a file may have, too.
    parts = [torch.randn(n * columns + 1)[1:].to(dtype).view(n, columns) for n in sizes]
    places = torch.randperm(sum(sizes)) if data.draw(st.booleans()) else None
    stored = HalfLinear(tuple(parts), products, rounds=False, places=places)
    whole = torch.cat(parts).float()
    whole = whole if places is None else whole[places]
    inputs = torch.randn(data.draw(st.integers(1, FEW)), columns)
    found = stored.times(inputs)
    torch.testing.assert_close(found, F.linear(inputs, whole), rtol=1e-4, atol=1e-4)
    single = torch.cat([stored.times(row[None]) for row in inputs])
    assert torch.equal(single, found)
    many = stored.times(inputs.repeat(FEW + 1, 1))
    torch.testing.assert_close(many[: len(inputs)], found, rtol=1e-4, atol=1e-4)
    assert (stored.rows, stored.columns) == tuple(whole.shape)
    assert stored.number_format == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("dtype", FORMATS.values())
def test_half_product_is_the_same_for_any_thread_count(
    dtype: torch.dtype, products: HalfMatmulKernel
) -> None:
    matrix, inputs = torch.randn(333, 65).to(dtype), torch.randn(9, 65)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(products.of([matrix], None)(inputs))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_many_inputs_are_rounded_if_rounds_is_set(products: HalfMatmulKernel) -> None:
    matrix, inputs = torch.randn(64, 96).bfloat16(), torch.randn(FEW + 1, 96)
    wanted = F.linear(inputs, matrix.float())
    exact = HalfLinear((matrix,), products, rounds=False).times(inputs)
    rounded = HalfLinear((matrix,), products, rounds=True).times(inputs)
    torch.testing.assert_close(exact, wanted, rtol=1e-4, atol=1e-4)
    far = (rounded - wanted).abs().max()
    assert 1e-3 < far < 0.3
    assert rounded.dtype is torch.float32
    torch.testing.assert_close(
        MappedHalfHead(matrix, products).times(inputs), wanted, rtol=1e-4, atol=1e-4
    )


def test_lora_beside_a_half_matrix_is_added(products: HalfMatmulKernel) -> None:
    matrix = torch.randn(48, 40).bfloat16()
    beside = LoraWeights(torch.randn(4, 40) / 6, torch.randn(48, 4) / 2)
    stored = HalfLinear((matrix,), products, rounds=False).with_lora(beside)
    whole = matrix.float() + beside.second @ beside.first
    for count in (1, 5, FEW + 1):
        inputs = torch.randn(count, 40)
        wanted = F.linear(inputs, whole)
        torch.testing.assert_close(stored.times(inputs), wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_and_infinity_in_a_matrix_reach_the_product(
    bad: float, products: HalfMatmulKernel
) -> None:
    matrix = torch.randn(8, 40).bfloat16()
    matrix[3, 39] = bad
    found = products.of([matrix], None)(torch.ones(2, 40))
    assert not found[:, 3].isfinite().any()
    assert found[:, :3].isfinite().all()


def test_half_matmul_with_wrong_arithmetic_fails_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = (build._SOURCES / "half_matmul.cpp").read_text()
    wrong = right.replace("to_f32(row + k)", "to_f32(row)")
    assert wrong != right
    (tmp_path / "half_matmul.cpp").write_text(wrong)
    for name in ("simd.h", "thread_pool.h", "thread_pool.cpp"):
        (tmp_path / name).write_text((build._SOURCES / name).read_text())
    monkeypatch.setattr(build, "_SOURCES", tmp_path)
    build.build_half_matmul(tmp_path)
    with pytest.raises(ValueError, match="differs from the reference"):
        HalfMatmulKernel(tmp_path / build.HALF_MATMUL).require_right()
