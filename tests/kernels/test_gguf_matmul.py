"""Products with GGUF blocks: right, and the same alone and in a batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType, quants
from torch.nn import functional as F

from lmtui.errors import LmtuiError
from lmtui.kernels import build, compiler, cpu_features
from lmtui.kernels.gguf_formats import FORMATS
from lmtui.kernels.gguf_matmul import BlockMatrix, GgufMatmulKernel, StackedMatrix
from tests.models import tiny

pytestmark = pytest.mark.skipif(
    compiler.compiler_id() is None, reason="there is no C++ compiler"
)

IN_PANELS = ("Q4_0", "Q4_1")
"""The formats whose rows can lie in panels."""
PANEL_MOST = 127 * 256 + 127
"""The number that the largest input of panels is rounded to."""


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gguf") / "kernels.so"
    build.compile_checked(made, [64])
    return made


@pytest.fixture(scope="session")
def kernel(file: Path) -> GgufMatmulKernel:
    made = GgufMatmulKernel(file)
    made.require_right()
    return made


def drawn(name: str, rows: int, blocks: int, seed: int = 0) -> BlockMatrix:
    """A matrix of random blocks with small scales."""
    columns = blocks * max(32, FORMATS[name].weights)
    data = tiny.random_blocks(name, rows, columns, seed)
    return BlockMatrix(torch.from_numpy(data), columns, name)


def floats(matrix: BlockMatrix) -> torch.Tensor:
    kind = GGMLQuantizationType[matrix.format]
    return torch.from_numpy(quants.dequantize(matrix.data.numpy(), kind).copy())


def assert_tiles_are_rounded(kernel: GgufMatmulKernel, matrix: StackedMatrix) -> None:
    """Compare the bits, for -0 equals 0."""
    found, plain = (
        kernel.tile(matrix, 0, matrix.rows, dtype)
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert torch.equal(found.view(torch.int16), plain.bfloat16().view(torch.int16))


@pytest.mark.parametrize("blocks", [1, 2, 5, 8])
@pytest.mark.parametrize("name", FORMATS)
def test_products_and_rows_are_those_of_the_dequantised_matrix(
    name: str, blocks: int, kernel: GgufMatmulKernel
) -> None:
    matrix = drawn(name, 13, blocks)
    plain, index = floats(matrix), torch.tensor([12, 0, 5, 5])
    assert torch.equal(kernel.rows(matrix, index), plain[index])
    stacked = StackedMatrix((matrix, drawn(name, 4, blocks, 1)), torch.tensor([3, 14]))
    wanted = torch.cat([plain[3:4], floats(stacked.parts[1])[1:2]])
    for first in range(2):
        tile = kernel.tile(stacked, first, 1, torch.float32)
        assert torch.equal(tile, wanted[first : first + 1])
    assert_tiles_are_rounded(kernel, stacked)
    assert_tiles_are_rounded(kernel, StackedMatrix((matrix,)))
    for count in (1, 2, 3, 4, 7, 9):
        inputs = torch.randn(count, matrix.columns)
        found = kernel.matmul(StackedMatrix((matrix,)), inputs)
        wanted = F.linear(inputs.double(), plain.double())
        # An input is off by half a step at most.
        most = inputs.abs().amax(1, keepdim=True) * plain.abs().sum(1)
        near = most / kernel.largest_input * 0.51 + 1e-6
        assert bool(((found - wanted).abs() <= near).all())


@pytest.mark.parametrize("name", FORMATS)
def test_weights_that_are_nan_stay_so_in_bfloat16(
    name: str, kernel: GgufMatmulKernel
) -> None:
    matrix = drawn(name, 3, 1)
    matrix.data.fill_(0xFF)
    tile = kernel.tile(StackedMatrix((matrix,)), 0, 3, torch.bfloat16)
    assert bool(tile.isnan().all())


@pytest.mark.parametrize(("rows", "blocks"), [(1, 5), (63, 1), (64, 20), (130, 5)])
@pytest.mark.parametrize("name", FORMATS)
def test_products_of_many_inputs_are_float32_sums(
    name: str, blocks: int, rows: int, kernel: GgufMatmulKernel
) -> None:
    matrix = drawn(name, rows, blocks)
    order = torch.randperm(rows)
    stacked = StackedMatrix((matrix,), order)
    inputs = torch.randn(40, matrix.columns)
    if not kernel.has_gemm:
        pytest.skip("this processor has no AVX2, or has AMX")
    found = kernel.gemm(stacked, inputs)
    plain, rounded = floats(matrix)[order], inputs
    if kernel.gemm_rounds:
        plain, rounded = plain.bfloat16(), rounded.bfloat16()
    plain, rounded = plain.double(), rounded.double()
    near = rounded.abs() @ plain.abs().t()  # the sums are float32
    assert bool(((found - rounded @ plain.t()).abs() <= 1e-6 * near + 1e-9).all())
    for count in (1, 5, 6, 7, 20):
        part = kernel.gemm(stacked, inputs[:count])
        assert torch.equal(part, found[:count])


@pytest.mark.parametrize("blocks", [1, 5])
@pytest.mark.parametrize("name", FORMATS)
def test_inputs_of_16_bits_are_not_rounded(
    name: str, blocks: int, kernel: GgufMatmulKernel
) -> None:
    matrix = drawn(name, 13, blocks)
    most = int(kernel.largest_input)
    inputs = torch.randint(-most, most + 1, (5, matrix.columns)).float()
    inputs[:, ::32] = most
    wanted = F.linear(inputs.double(), floats(matrix).double())
    found = kernel.matmul(StackedMatrix((matrix,)), inputs)
    assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max()


@pytest.mark.parametrize("blocks", [1, 2, 5])
@pytest.mark.parametrize("name", IN_PANELS)
def test_products_with_panels_are_those_of_the_same_matrix(
    name: str, blocks: int, kernel: GgufMatmulKernel
) -> None:
    """Beside rows of another format, which stay as they are."""
    ends = drawn(name, 48, blocks), drawn(name, 80, blocks, 1)
    columns = ends[0].columns
    parts = ends[0], drawn("Q8_0", 16, columns // 32), ends[1]
    # Of the last part, only some rows.
    order = torch.cat(
        [torch.randperm(48), 48 + torch.arange(16), 143 - torch.arange(64)]
    )
    stored = StackedMatrix(parts, order)
    matrix = kernel.in_panels(stored)
    assert [part.in_panels for part in matrix.for_few] == [True, False, True]
    plain = torch.cat([floats(part) for part in parts])[order].double()
    # 1) integers of 16 bits are not rounded, and large ones do not run over
    inputs = torch.randint(-PANEL_MOST, PANEL_MOST + 1, (9, columns)).float()
    inputs[:, ::32] = PANEL_MOST
    inputs[-1] = PANEL_MOST
    wanted = F.linear(inputs.double(), plain)
    off = (kernel.matmul(matrix, inputs) - wanted).abs()
    off[:, 48:64] = 0  # rows of Q8_0 may round to other integers
    assert off.max() < 1e-6 * wanted.abs().max()
    # 2) the same bits alone and in a batch; tiles are those of the file
    inputs = torch.randn(9, columns)
    found = kernel.matmul(matrix, inputs)
    near = F.linear(inputs.abs().double(), plain.abs()) * 2e-4
    assert bool(((found - F.linear(inputs.double(), plain)).abs() <= near).all())
    for count in (1, 2, 3, 7):
        assert torch.equal(kernel.matmul(matrix, inputs[:count]), found[:count])
    assert torch.equal(
        *(kernel.tile(each, 0, each.rows, torch.float32) for each in (matrix, stored))
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", IN_PANELS)
def test_inputs_that_are_not_finite_reach_every_product_with_panels(
    name: str, value: float, kernel: GgufMatmulKernel
) -> None:
    matrix = kernel.in_panels(StackedMatrix((drawn(name, 16, 2),)))
    inputs = torch.randn(2, matrix.columns)
    inputs[1, 7] = value
    found = kernel.matmul(matrix, inputs)
    assert found[0].isfinite().all() and not found[1].isfinite().any()


def test_a_matrix_that_can_have_no_panels_stays_as_it_is(
    kernel: GgufMatmulKernel,
) -> None:
    other = StackedMatrix((drawn("Q8_0", 32, 8),))
    cut = StackedMatrix((drawn("Q4_0", 24, 8),))
    shifted = StackedMatrix((drawn("Q8_0", 8, 8), drawn("Q4_0", 32, 8)))
    mixed = (drawn("Q6_K", 16, 1), drawn("Q4_0", 16, 8))
    turned = StackedMatrix(mixed, torch.arange(32).view(2, 16).flip(1).flatten())
    for matrix in (other, cut, shifted, turned):
        assert kernel.in_panels(matrix) is matrix


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", FORMATS)
def test_inputs_that_are_not_finite_reach_every_product(
    name: str, value: float, kernel: GgufMatmulKernel
) -> None:
    matrix = drawn(name, 3, 2)
    inputs = torch.randn(2, matrix.columns)
    inputs[1, 7] = value
    found = kernel.matmul(StackedMatrix((matrix,)), inputs)
    assert found[0].isfinite().all() and not found[1].isfinite().any()


@pytest.mark.parametrize("row", [-1, 5])
def test_row_that_is_not_there_is_refused(row: int, kernel: GgufMatmulKernel) -> None:
    with pytest.raises(IndexError, match="not among 5"):
        kernel.rows(drawn("Q8_0", 5, 1), torch.tensor([0, row]))


def test_parts_of_several_formats_are_one_matrix(kernel: GgufMatmulKernel) -> None:
    parts = drawn("Q4_K", 3, 1), drawn("Q6_K", 5, 1), drawn("Q8_0", 2, 8)
    whole, places = torch.cat([floats(part) for part in parts]), torch.randperm(10)
    most = int(kernel.largest_input)
    inputs = torch.randint(-most, most + 1, (2, 256)).float()
    inputs[:, ::32] = most  # so that they need no rounding
    found = kernel.matmul(StackedMatrix(parts, places), inputs)
    wanted = F.linear(inputs.double(), whole[places].double())
    assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max()


FORK = """
import os, sys, torch
from concurrent.futures import ThreadPoolExecutor
if hasattr(os, "sched_setaffinity"):  # tests have a core each, this one all of them
    os.sched_setaffinity(0, range(os.cpu_count()))
from tests.kernels.test_gguf_matmul import drawn
from lmtui.kernels.gguf_matmul import GgufMatmulKernel, StackedMatrix
torch.set_num_threads(3)
kernel = GgufMatmulKernel(sys.argv[1])
matrix, inputs = StackedMatrix((drawn("Q4_1", 640, 4),)), torch.ones(1, 128)
wanted = kernel.matmul(matrix, inputs)
same = lambda _=0: torch.equal(kernel.matmul(matrix, inputs), wanted)
with ThreadPoolExecutor(4) as threads:
    together = all(threads.map(same, range(200)))
child = os.fork()
same = same() and together
if not child:
    os._exit(0 if same else 1)
sys.exit(os.waitpid(child, 0)[1] or not same)
"""


def test_threads_and_a_forked_process_may_multiply_at_once(file: Path) -> None:
    """A child has none of the threads of its parent."""
    done = subprocess.run([sys.executable, "-c", FORK, file], timeout=100, check=False)
    assert done.returncode == 0


def test_a_wrong_library_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in compiler._SOURCES.iterdir():
        if file.suffix in {".h", ".cpp"}:
            changed = file.read_text().replace("0x3F3F3F3F", "0x1F1F1F1F")
            (tmp_path / file.name).write_text(changed)
    monkeypatch.setattr(compiler, "_SOURCES", tmp_path)
    with pytest.raises(RuntimeError, match="weights of Q4_K differ"):
        build.compile_checked(tmp_path / "kernels.so", [64])


@pytest.mark.parametrize("name", [each.name for each in cpu_features.CLASSES])
def test_every_class_of_this_processor_gives_the_same_results(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernel: GgufMatmulKernel,
) -> None:
    monkeypatch.setenv("LMTUI_ISA", name)
    try:
        cpu_features.forced()
    except LmtuiError:
        pytest.skip("this processor lacks that class")
    # As wheels have it, so that both tests share what is compiled.
    build.compile_checked(tmp_path / "kernels.so", compiler.HEAD_DIMS)
    other = GgufMatmulKernel(tmp_path / "kernels.so")
    other.require_right()
    for kind in FORMATS:
        matrix = StackedMatrix((drawn(kind, 20, 3),))
        assert_tiles_are_rounded(other, matrix)
        inputs = torch.randn(6, matrix.columns)
        found, wanted = (each.matmul(matrix, inputs) for each in (other, kernel))
        # Sums may have another order; what is summed has not. Large terms cancel.
        assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    for kind in IN_PANELS:
        stored = StackedMatrix((drawn(kind, 32, 3),))
        inputs = torch.randn(6, stored.columns)
        found, wanted = (
            each.matmul(each.in_panels(stored), inputs) for each in (other, kernel)
        )
        assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max()
