"""The fused block in C++: what `FusedBlock` computes, and each token by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lmtui.engine.backends.llama_cpu.fused_block import (
    BlockShape,
    FusedBlock,
    FusedBlockKernel,
    PackedShape,
    examples,
)
from lmtui.kernels import build
from lmtui.models.llama.int4 import FEW

pytestmark = [
    pytest.mark.skipif(build.compiler_id() is None, reason="there is no C++ compiler"),
    pytest.mark.skipif(
        not build.supports_fused_block(),
        reason="this processor does not multiply bfloat16",
    ),
]


def plan(
    width: int, ffn: int, heads: int, kv_heads: int, head_dim: int, bits: int, rank: int
) -> BlockShape:
    return BlockShape(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        epsilon=1e-5,
        o_proj=PackedShape(width, heads * head_dim, bits, rank),
        gate_up=PackedShape(2 * ffn, width, bits, 0),
        down=PackedShape(width, ffn, bits, rank),
        qkv=PackedShape((heads + 2 * kv_heads) * head_dim, width, bits, rank),
        has_bias=False,
        has_head_norms=False,
    )


PLANS = {
    "a small model": plan(64, 96, 4, 2, 16, 4, 0),
    "8 bits": plan(128, 192, 4, 2, 32, 8, 0),
    "blocks that are not whole": plan(96, 160, 3, 1, 32, 4, 0),
    "the same with 8 bits": plan(32, 32, 2, 1, 16, 8, 0),
    "something added": plan(64, 96, 4, 4, 16, 4, 5),
    "all of it": replace(
        plan(160, 96, 2, 1, 80, 8, 3), has_bias=True, has_head_norms=True
    ),
    "bits that differ": replace(
        plan(64, 64, 4, 1, 16, 4, 0), gate_up=PackedShape(128, 64, 8, 0), has_bias=True
    ),
}


@pytest.fixture(scope="module", params=PLANS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BlockShape, FusedBlockKernel]:
    made = PLANS[request.param]
    folder: Path = tmp_path_factory.mktemp("native")
    build.build_fused_block(folder, **made.sizes())
    return made, FusedBlockKernel(folder / build.FUSED_BLOCK, made)


@torch.inference_mode()
def test_fused_block_kernel_agrees_with_fused_block(
    built: tuple[BlockShape, FusedBlockKernel],
) -> None:
    made, native = built
    torch.manual_seed(0)
    for tokens in (1, 2, 3, 4, 5, 7, FEW):
        inputs = examples(made, tokens)
        for ours, theirs in zip(native(inputs), FusedBlock(made)(*inputs), strict=True):
            away, size = (ours - theirs).abs(), theirs.abs().max()
            assert ours.shape == theirs.shape
            assert away.max() < 0.015 * size  # which is rounded to 8 bits, twice
            assert away.mean() < 0.003 * size


@torch.inference_mode()
def test_fused_block_kernel_is_the_same_for_any_split(
    built: tuple[BlockShape, FusedBlockKernel],
) -> None:
    made, native = built
    torch.manual_seed(1)
    inputs = examples(made, FEW)
    state, found, turns, *weights = inputs
    threads = torch.get_num_threads()
    try:
        together = native(inputs)
        torch.set_num_threads(1)
        for step in (1, 2, 3, 5, 9):
            parts = [
                native(
                    [
                        *(each[at : at + step] for each in (state, found, turns)),
                        *weights,
                    ]
                )
                for at in range(0, FEW, step)
            ]
            for whole, pieces in zip(together, zip(*parts, strict=True), strict=True):
                assert torch.equal(torch.cat(pieces), whole)
    finally:
        torch.set_num_threads(threads)


def test_library_without_the_fused_block_function_is_refused(tmp_path: Path) -> None:
    build.build_half_matmul(tmp_path)
    with pytest.raises(ValueError, match="fused_block"):
        FusedBlockKernel(tmp_path / build.HALF_MATMUL, PLANS["8 bits"])
