"""First loads of models by several processes at once: `first_loads.py FOLDER MODEL…`.

Waves of processes, each wave on a home of its own in FOLDER. The processes of a
wave load the models in turn, with mapped weights or as they are, and wait for each
other before what they have made gets its place. Prints a line for each that got an
answer.

They are forked from a process that has imported everything and computed nothing, so
that each costs little.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import gguf  # noqa: F401 (this and others: what each process would import again)
import torch
import transformers.modeling_gguf_pytorch_utils  # noqa: F401
from transformers import (  # noqa: F401
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaForCausalLM,
)

from lmtui import cache_dir
from lmtui.engine.backends import transformers as transformers_module  # noqa: F401
from lmtui.engine.backends.llama_cpu import backend  # noqa: F401
from lmtui.engine.engine import LocalEngine
from lmtui.kernels import build
from lmtui.models.llama import load  # noqa: F401
from lmtui.models.source import Quantize

WAVES, AT_ONCE = 2, 6


def answer(model: str, quantize: Quantize, meeting: Barrier) -> None:
    """Load a model, and print what it says."""
    put_in_place = cache_dir.commit_dir

    def seal_together(scratch: Path, folder: Path, **options: Any) -> None:
        if folder.parent != build.root():  # not all of them need to compile
            meeting.wait(60)
        put_in_place(scratch, folder, **options)

    cache_dir.commit_dir = seal_together
    engine = LocalEngine.open(model, device="cpu", quantize=quantize, threads=1)
    *_, last = engine.score(engine.encode("the quick fox").ids)
    said = f"{Path(model).name} {engine.info.precision} {last.logprob:.3f}\n"
    os.write(1, said.encode())  # at once: others write there, too


def wave(home: Path, models: list[str], quantize: Quantize) -> None:
    """Let processes load on a home that is not there yet."""
    os.environ["LMTUI_HOME"] = str(home)
    forking = multiprocessing.get_context("fork")
    meeting = forking.Barrier(AT_ONCE)
    processes = [
        forking.Process(
            target=answer, args=(models[n % len(models)], quantize, meeting)
        )
        for n in range(AT_ONCE)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a collection in a process would copy all that was imported
    for number in range(WAVES):
        place = Path(sys.argv[1]) / f"home{number}"
        wave(place, sys.argv[2:], "none" if number % 2 else "auto")
