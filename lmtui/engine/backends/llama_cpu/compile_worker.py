"""Compile a model's kernels in a separate, low-priority process:
`python -m lmtui.engine.backends.llama_cpu.compile_worker PLAN COMPILER`.

Ends with its parent and kills its compiler processes. Needs no weights: machine code
depends on the `BlockShape` PLAN alone.
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

# The functions import torch themselves: the process first lowers its priority.
if TYPE_CHECKING:
    from lmtui.engine.backends.llama_cpu.fused_block import BlockShape

_TOKENS = 4  # tokens of the example inputs; the number is arbitrary


def main(said: str, compiler: str) -> None:
    """Compile and keep the kernels of a plan, given as JSON; note a failure."""
    from lmtui.engine.backends.llama_cpu import compile
    from lmtui.engine.backends.llama_cpu.fused_block import BlockShape
    from lmtui.kernels import build

    plan = BlockShape.read(json.loads(said))
    folder = compile.folder_of(plan)
    try:
        _keep(plan)
    except build.NotCompiled:
        pass  # stopped, not failed: tried again the next time
    except Exception as error:  # compilers raise errors of any type
        if not build.is_usable(
            folder
        ):  # another process may have compiled it meanwhile
            words = str(error).strip() or type(error).__name__
            build.note_failure(folder, compiler, words.partition("\n")[0])


def _keep(plan: BlockShape) -> None:
    from lmtui import paths
    from lmtui.engine.backends.llama_cpu import compile
    from lmtui.kernels import build

    root = paths.ensure_folder(build.root())
    with paths.scratch_folder(root) as scratch, paths.scratch_folder(root) as waste:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["TMPDIR"] = str(waste)
        if build.supports_attention(plan.head_dim):
            build.build_attention(plan.head_dim, plan.heads // plan.kv_heads, scratch)
        if build.supports_fused_block():
            build.build_fused_block(scratch, **plan.sizes())
        else:
            export(plan, scratch / compile.PACKAGE)
        compile.store(plan, scratch)


def export(plan: BlockShape, package: Path) -> None:
    """Compile `FusedBlock` with torch's exporter for 1 to FEW tokens."""
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
    """Run only when the processor is idle. On Linux, niceness is not enough: an answer
    would still wait a tenth of a second again and again."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def _end_with_parent() -> None:
    """Wait until the parent closes the other end of stdin, then kill this process
    group."""
    with suppress(OSError):
        while os.read(0, 1024):
            pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    _give_way()
    Thread(target=_end_with_parent, daemon=True).start()
    main(sys.argv[1], sys.argv[2])
