"""One block on trial: how long a step takes, and how much memory.

Owns that nothing is left of it: the step is made at rate 0 by an optimiser of its own,
which leaves every weight as it is. Knows neither plan nor notes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from lmtui.engine.port import Stop
from lmtui.errors import Cancelled
from lmtui.train.base import Trainee, unchanged
from lmtui.train.trainer import NotANumber, Sequences, adam, share_of_loss

_LOOKS = 0.01  # seconds between two looks at the memory in use


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a step takes."""

    seconds: float
    memory: int
    """Bytes at the peak, everything in."""


def calibrate(
    trainee: Trainee, sequences: Sequences, *, clip: float, stop: Stop
) -> Calibration:
    """Try a block of the next step; where none is left, of the last one. A step takes
    as many times a block as it has blocks, and the optimiser's part once.

    Raises:
        Cancelled: `stop` answered True.
        NotANumber: its loss is not a number.
    """
    step = min(sequences.made + 1, sequences.schedule.steps)
    blocks = sequences.step(step)
    optimizer = adam(trainee, 0.0)
    if stop():
        raise Cancelled
    with unchanged(trainee.model), _peak(trainee.loaded.device) as peak:
        trainee.model.train()
        began = time.perf_counter()
        batch = {
            name: value.unsqueeze(0).to(trainee.loaded.device)
            for name, value in blocks[0].items()
        }
        share_of_loss(trainee, batch).backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(trainee.weights.values(), clip)
        if not bool(norm.isfinite()):  # 0 times infinity would change a weight
            raise NotANumber(step)
        a_block = time.perf_counter() - began
        optimizer.step()
        optimizer.zero_grad()
        optimising = time.perf_counter() - began - a_block
    return Calibration(len(blocks) * a_block + optimising, max(peak))


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """The most memory that is in use in the block, in bytes; the last entries."""
    found = [used_memory(device)]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found.append(torch.cuda.max_memory_allocated(device))
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOKS):
            found[0] = max(found[0], used_memory(device))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def used_memory(device: torch.device) -> int:
    """Bytes that this process uses: of the device where it is a GPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
