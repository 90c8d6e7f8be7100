"""Load, check and keep the compiled kernels of a decoder layer.

A kernel is used only if it computes what the uncompiled code computes. Runs no compiler
(see `compile_worker`) and knows no model but its `BlockShape`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lmtui import cache_dir
from lmtui.engine.backends.llama_cpu.attention import Attention
from lmtui.engine.backends.llama_cpu.fused_block import (
    BlockShape,
    CompiledBlock,
    FusedBlock,
    FusedBlockKernel,
    examples,
)
from lmtui.kernels import build
from lmtui.models.llama.weights import LlamaConfig

PACKAGE = "crossing.pt2"
_NEAR = 1e-3  # error over the largest number: sums are rounded in another order
_NEAR_UNROUNDED = 0.015  # the same, where products are not rounded to bfloat16


@dataclass(frozen=True, slots=True)
class CompiledKernels:
    """Compiled kernels that replace single operations of the layers."""

    crossing: CompiledBlock | None = None
    """The fused block; None where its matrices are not packed."""
    attention: Attention | None = None
    """None for a head width that has no kernel."""


def folder_of(plan: BlockShape) -> Path:
    """Return the folder that keeps the kernels compiled for `plan`."""
    return build.folder_of(asdict(plan))


def store(plan: BlockShape, scratch: Path) -> None:
    """Keep `scratch`, the folder in which the kernels of `plan` were compiled.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    width, feed = plan.o_proj.rows, plan.down.columns
    build.store(scratch, folder_of(plan), source=f"{width} × {feed}")


def is_stored(plan: BlockShape) -> bool:
    """Return whether the kernels of `plan` were compiled on this machine."""
    return build.is_usable(folder_of(plan))


@torch.inference_mode()
def opened(plan: BlockShape) -> CompiledKernels:
    """Load the kernels that were compiled for `plan`.

    Raises:
        ValueError: the folder was damaged, and has been removed.
    """
    folder = folder_of(plan)
    seen = cache_dir.identity(folder)
    try:
        run = _crossing_in(folder, plan)
        attending = _attention_in(folder, plan.heads, plan.kv_heads, plan.head_dim)
    except (RuntimeError, OSError, ValueError) as error:
        cache_dir.discard(folder, seen)
        raise ValueError(str(error).partition("\n")[0]) from error
    return CompiledKernels(run, attending)


@torch.inference_mode()
def opened_for(shape: LlamaConfig, folder: Path) -> CompiledKernels:
    """Load the kernels that were compiled before the model was opened: attention only.

    Raises:
        ValueError: the folder was damaged, and has been removed.
    """
    seen = cache_dir.identity(folder)
    try:
        attending = _attention_in(folder, shape.heads, shape.kv_heads, shape.head_dim)
    except (OSError, ValueError) as error:
        cache_dir.discard(folder, seen)
        raise ValueError(str(error)) from error
    return CompiledKernels(attention=attending)


def _crossing_in(folder: Path, plan: BlockShape) -> CompiledBlock:
    """Load the fused block from a folder and check it.

    Raises:
        OSError, RuntimeError, ValueError: the file is damaged.
    """
    if (folder / build.FUSED_BLOCK).is_file():
        native = FusedBlockKernel(folder / build.FUSED_BLOCK, plan)
        _require_right(native, plan, _NEAR_UNROUNDED)
        return native
    # torch's public loader imports a compiler first, which takes seconds.
    loader = torch._C._aoti.AOTIModelPackageLoader(
        str(folder / PACKAGE), "model", False, 1, -1
    )
    run: CompiledBlock = loader.run
    _require_right(run, plan, _NEAR)
    return run


def _attention_in(
    folder: Path, heads: int, kv_heads: int, head_dim: int
) -> Attention | None:
    """Load attention from a folder and check it; None for a head width without a
    kernel.

    Raises:
        OSError, ValueError: the file is damaged.
    """
    if not build.supports_attention(head_dim):
        return None
    attention = Attention(folder / build.ATTENTION, heads, kv_heads)
    attention.require_right(head_dim)
    return attention


def _require_right(run: CompiledBlock, plan: BlockShape, near: float) -> None:
    """Compare a compiled block with `FusedBlock` on random inputs.

    Raises:
        ValueError: the results differ.
    """
    for tokens in (1, 3):
        inputs = examples(plan, tokens)
        wanted = FusedBlock(plan)(*inputs)
        for ours, theirs in zip(run(list(inputs)), wanted, strict=True):
            far = (ours - theirs).abs().max() / theirs.abs().max()
            if not bool(far < near):
                raise ValueError("its result differs from the reference")
