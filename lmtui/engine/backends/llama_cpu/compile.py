"""What was compiled for the layers of a model, kept for the next start.

Owns how it is opened, and whether it can be trusted: it has to compute what it should.
Compiles nothing. Knows no model but its plan.
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
_NEAR = 1e-3  # of the largest number: sums are rounded in another order
_NEAR_UNROUNDED = 0.015  # the same, where products are not rounded to bfloat16


@dataclass(frozen=True, slots=True)
class CompiledKernels:
    """What runs in place of the layers' single operations."""

    crossing: CompiledBlock | None = None
    """None where its matrices are not packed."""
    attention: Attention | None = None
    """None where heads have a width that it can't be compiled for."""


def folder_of(plan: BlockShape) -> Path:
    """Where what a plan says is kept, once it is compiled."""
    return build.folder_of(asdict(plan))


def keep(plan: BlockShape, scratch: Path) -> None:
    """Keep the folder in which a plan was compiled.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    width, feed = plan.out.rows, plan.down.columns
    build.keep(scratch, folder_of(plan), source=f"{width} × {feed}")


def is_kept(plan: BlockShape) -> bool:
    """Whether what a plan says was compiled here."""
    return build.is_kept(folder_of(plan))


@torch.inference_mode()
def opened(plan: BlockShape) -> CompiledKernels:
    """What was compiled, ready to run.

    Raises:
        ValueError: it is damaged, and was taken away.
    """
    folder = folder_of(plan)
    seen = cache_dir.identity(folder)
    try:
        run = _crossing_in(folder, plan)
        attending = _attention_in(folder, plan.heads, plan.kv_heads, plan.head)
    except (RuntimeError, OSError, ValueError) as error:
        cache_dir.discard(folder, seen)
        raise ValueError(str(error).partition("\n")[0]) from error
    return CompiledKernels(run, attending)


@torch.inference_mode()
def opened_for(shape: LlamaConfig, folder: Path) -> CompiledKernels:
    """What was compiled for a model before it was opened.

    Raises:
        ValueError: it is damaged, and was taken away.
    """
    seen = cache_dir.identity(folder)
    try:
        attending = _attention_in(folder, shape.heads, shape.kv_heads, shape.head)
    except (OSError, ValueError) as error:
        cache_dir.discard(folder, seen)
        raise ValueError(str(error)) from error
    return CompiledKernels(attention=attending)


def _crossing_in(folder: Path, plan: BlockShape) -> CompiledBlock:
    """The crossing that was compiled into a folder.

    Raises:
        OSError, RuntimeError, ValueError: it is damaged.
    """
    if (folder / build.CROSSING).is_file():
        native = FusedBlockKernel(folder / build.CROSSING, plan)
        _require_right(native, plan, _NEAR_UNROUNDED)
        return native
    # The public way to open it imports a compiler first, which takes seconds.
    loader = torch._C._aoti.AOTIModelPackageLoader(
        str(folder / PACKAGE), "model", False, 1, -1
    )
    run: CompiledBlock = loader.run
    _require_right(run, plan, _NEAR)
    return run


def _attention_in(
    folder: Path, heads: int, kv_heads: int, head: int
) -> Attention | None:
    """The attention that was compiled into a folder; None where heads of that width
    have none.

    Raises:
        OSError, ValueError: it is damaged.
    """
    if not build.attends(head):
        return None
    attention = Attention(folder / build.ATTENTION, heads, kv_heads)
    attention.require_right(head)
    return attention


def _require_right(run: CompiledBlock, plan: BlockShape, near: float) -> None:
    """Compare what was compiled with what it was compiled from.

    Raises:
        ValueError: they differ.
    """
    for tokens in (1, 3):
        inputs = examples(plan, tokens)
        wanted = FusedBlock(plan)(*inputs)
        for ours, theirs in zip(run(list(inputs)), wanted, strict=True):
            far = (ours - theirs).abs().max() / theirs.abs().max()
            if not bool(far < near):
                raise ValueError("it computes something else")
