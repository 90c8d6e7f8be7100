"""Compile the kernels of a model in a process of its own:
`python -m lmtui.engine.backends.llama_cpu.compile_worker PLAN COMPILER`.

Owns the compiler's run, which never gets in the way, and the end of this process: it
ends with the one that began it, and takes the processes of the compiler along. Needs no
model: a plan is all that the machine code depends on. Knows nothing of when it is
wanted. Torch is imported late, once this process gives way.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmtui.engine.backends.llama_cpu.fused_block import BlockShape

_TOKENS = 4  # of the examples; that many or others will do


def main(said: str, compiler: str) -> None:
    """Compile and keep what a plan says; a failure is noted."""
    from lmtui.engine.backends.llama_cpu import compile
    from lmtui.engine.backends.llama_cpu.fused_block import BlockShape
    from lmtui.kernels import build

    plan = BlockShape.read(json.loads(said))
    folder = compile.folder_of(plan)
    try:
        _keep(plan)
    except Exception as error:  # of whatever kind a compiler likes
        if not build.is_kept(folder):  # by another process, in the meantime
            words = str(error).strip() or type(error).__name__
            build.note_failure(folder, compiler, words.partition("\n")[0])


def _keep(plan: BlockShape) -> None:
    from lmtui import paths
    from lmtui.engine.backends.llama_cpu import compile
    from lmtui.kernels import build

    root = paths.ensure_folder(build.root())
    with paths.scratch_folder(root) as scratch, paths.scratch_folder(root) as waste:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["TMPDIR"] = str(waste)
        if build.attends(plan.head):
            build.build_attention(plan.head, plan.heads // plan.kv_heads, scratch)
        if build.crosses():
            build.build_crossing(scratch, **plan.sizes())
        else:
            export(plan, scratch / compile.PACKAGE)
        compile.keep(plan, scratch)


def export(plan: BlockShape, package: Path) -> None:
    """Compile a crossing for 1 … FEW tokens from what `FusedBlock` computes."""
    import torch

    from lmtui.engine.backends.llama_cpu.fused_block import FusedBlock, examples
    from lmtui.models.llama.int4 import FEW

    torch.set_num_threads(1)
    inputs = tuple(examples(plan, _TOKENS))
    tokens = torch.export.Dim("tokens", min=1, max=FEW)
    dynamic = tuple({0: tokens} if place < 3 else None for place in range(len(inputs)))
    with torch.no_grad():
        exported = torch.export.export(
            FusedBlock(plan), inputs, dynamic_shapes={"inputs": dynamic}, strict=False
        )
        torch._inductor.aoti_compile_and_package(exported, package_path=str(package))


def _give_way() -> None:
    """Compute only where nothing else does. Being nice is not enough where there is
    more: an answer then waits a tenth of a second again and again."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def _end_with_parent() -> None:
    """Wait until whoever holds the other end of stdin has let go of it."""
    with suppress(OSError):
        while os.read(0, 1024):
            pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    _give_way()
    Thread(target=_end_with_parent, daemon=True).start()
    main(sys.argv[1], sys.argv[2])
