"""The kernels compiled for ARM and run under `qemu-aarch64`, against torch here.

Opt-in (`--full`), where both are installed (Debian: qemu-user, g++-aarch64-linux-gnu).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.kernels import build
from lmtui.kernels.gguf_formats import FORMATS
from tests.kernels.test_gguf_matmul import drawn, floats

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
SOURCES = (
    "gguf_matmul.cpp",
    "gguf_prefill.cpp",
    "gguf_formats.cpp",
    "attention_decode.cpp",
    "thread_pool.cpp",
)
HEAD, SHARE = 64, 3  # width of a head, and query heads of a key head


@pytest.fixture(
    scope="module", params=["armv8.2-a+fp16", "armv8.2-a+dotprod+i8mm+bf16"]
)
def driver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if not request.config.getoption("--full"):
        pytest.skip("ARM is emulated with --full")
    if not shutil.which(COMPILER) or not shutil.which(EMULATOR):
        pytest.skip(f"there is no {COMPILER}, or no {EMULATOR}")
    file = tmp_path_factory.mktemp("arm") / "driver"
    folder = Path(build.__file__).parent
    subprocess.run(
        [
            *(COMPILER, "-std=c++17", "-O2", f"-march={request.param}", "-static"),
            f"-DHEAD_WIDTHS={HEAD}",
            *(f"-I{folder}", str(Path(__file__).with_name("arm_driver.cpp"))),
            *(str(folder / source) for source in SOURCES),
            *("-pthread", "-o", str(file)),
        ],
        check=True,
    )
    return file


def run(driver: Path, step: tuple[int, ...], *given: Tensor) -> Tensor:
    """Run one step of the driver on some numbers; return all that it answers."""
    asked, answer = driver.with_name("in"), driver.with_name("out")
    content = np.array(step, np.int64).tobytes()
    content += b"".join(
        t.contiguous().view(torch.uint8).numpy().tobytes() for t in given
    )
    asked.write_bytes(content)
    command = [EMULATOR, str(driver), str(asked), str(answer)]
    subprocess.run(command, check=True, env=os.environ | {"QEMU_CPU": "max"})
    return torch.from_numpy(np.fromfile(answer, np.float32))


@pytest.mark.parametrize("name", FORMATS)
def test_products_with_blocks_are_those_of_the_dequantised_matrix(
    name: str, driver: Path
) -> None:
    matrix = drawn(name, 13, 3)
    plain, count = floats(matrix), 5
    inputs = torch.randn(count, matrix.columns)
    step = 0, FORMATS[name].number, matrix.rows, matrix.columns, count
    sizes = matrix.rows * matrix.columns, count * matrix.rows, count * matrix.rows
    rows, found, alone = run(driver, step, matrix.data, inputs).split(sizes)
    assert torch.equal(rows, plain.flatten())
    assert torch.equal(found, alone)
    wanted = F.linear(inputs.double(), plain.double()).flatten()
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-4


@pytest.mark.parametrize(("tokens", "held"), [(1, 0), (1, 300), (5, 40)])
def test_attention_is_torchs(tokens: int, held: int, driver: Path) -> None:
    kv_heads = 2
    heads = torch.randn(tokens, kv_heads * (SHARE + 2), HEAD)
    cache = torch.randn(2 * kv_heads, held + tokens, HEAD).half()
    found = run(driver, (1, kv_heads, tokens, held, SHARE), heads, cache)
    queries, new = heads.split([kv_heads * SHARE, 2 * kv_heads], 1)
    cache[:, held:] = new.transpose(0, 1).half()
    mask = torch.ones(tokens, held + tokens, dtype=torch.bool).tril(held)
    wanted = F.scaled_dot_product_attention(
        queries.transpose(0, 1)[None],
        *(each[None].float() for each in cache.chunk(2)),
        attn_mask=mask,
        enable_gqa=True,
    )
    torch.testing.assert_close(
        found, wanted[0].transpose(0, 1).flatten(), atol=1e-4, rtol=0
    )
