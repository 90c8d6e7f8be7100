"""The plan shown before a training: counts, estimates and a sample of the text.

The estimates come from one timed block and one timed evaluation.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import psutil
import torch

from lmtui import cancellation
from lmtui.engine.types import Prompt
from lmtui.train.dataset import Block, Dataset, Example
from lmtui.train.evaluate import PROMPTS, Evaluator
from lmtui.train.events import Piece, Plan
from lmtui.train.likely_secrets import masked
from lmtui.train.model import TrainableModel, restored
from lmtui.train.request import TrainRequest
from lmtui.train.trainer import NonFiniteLoss, Sequences, adam, share_of_loss

_LOOKS = 0.01  # seconds between two measurements of the memory in use

_SHOWN = 400  # tokens of the sample
_ASKED = 2  # full evaluations: before and after the training


def calibrate(
    trainee: TrainableModel, sequences: Sequences, *, clip: float
) -> tuple[float, int]:
    """Measure one block of the next step, or of the last step where none is left.

    Returns the seconds of a step and the peak of the memory in use, in bytes, with
    model and optimiser. The time is that of a block times the number of blocks, plus
    one optimiser update. The weights don't change: the learning rate is 0.

    Raises:
        NonFiniteLoss: the gradient is NaN or infinite.
    """
    step = min(sequences.made + 1, sequences.schedule.steps)
    blocks = sequences.step(step)
    optimizer = adam(trainee, 0.0)
    cancellation.check()
    with restored(trainee.model), _peak(trainee.loaded.device) as peak:
        trainee.model.train()
        began = time.perf_counter()
        batch = {
            name: value.unsqueeze(0).to(trainee.loaded.device)
            for name, value in blocks[0].items()
        }
        share_of_loss(trainee, batch).backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(trainee.weights.values(), clip)
        if not bool(norm.isfinite()):  # rate 0 times infinity is NaN
            raise NonFiniteLoss(step)
        a_block = time.perf_counter() - began
        optimizer.step()
        optimizer.zero_grad()
        optimising = time.perf_counter() - began - a_block
    return len(blocks) * a_block + optimising, max(peak)


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """Yield a list that at the end holds measured bytes; its maximum is the peak."""
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
    """Return the bytes that this process uses: on the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def plan_of(
    request: TrainRequest,
    trainee: TrainableModel,
    material: Dataset,
    sequences: Sequences,
    *,
    step: float,
    memory: int,
    evaluation: float,
) -> Plan:
    """Return the plan of the remaining steps.

    `step` and `evaluation` are the times of one each in seconds, `memory` is in bytes.
    """
    settings = request.settings
    schedule, made = sequences.schedule, sequences.made
    evaluations = schedule.evaluations_after(made) + _ASKED
    return Plan(
        run=request.name,
        base=trainee.base.name,
        method=settings.method,
        device=str(trainee.loaded.device),
        dtype=trainee.dtype,
        files=len(material.notes.files),
        skipped=material.skipped,
        documents=len(material.training),
        held_out_documents=len(material.held_out),
        tokens=sequences.counted,
        held_out_tokens=sum(sum(x.trained) for x in material.held_out),
        blocks=len(material.blocks),
        steps=schedule.steps,
        epochs=settings.epochs,
        trainable=trainee.trainable,
        parameters=trainee.parameters,
        memory=memory,
        seconds=(schedule.steps - made) * step + evaluations * evaluation,
        sample=pieces(material.blocks, trainee),
        notes=material.remarks,
        lr=settings.peak_rate,
        rank=settings.rank if settings.method == "lora" else None,
        alpha=settings.alpha if settings.method == "lora" else None,
        batch=schedule.batch,
        block=settings.block,
        seed=settings.seed,
        held_out_end=settings.held_out if _is_cut(material) else None,
    )


def _is_cut(material: Dataset) -> bool:
    """Return whether the end of the only document is held out."""
    parts = (material.training, material.held_out)
    return len({example.path for part in parts for example in part}) == 1 and all(parts)


def pieces(blocks: Sequence[Block], trainee: TrainableModel) -> tuple[Piece, ...]:
    """Return the beginning of the first blocks as text, cut where `trained` changes."""
    pairs = [
        pair
        for block in blocks[:_SHOWN]
        for pair in zip(
            block.ids[: block.real], block.trained[: block.real], strict=True
        )
    ]
    return tuple(
        Piece(_text([token for token, _ in run], trainee), trained)
        for trained, run in groupby(pairs[:_SHOWN], key=lambda pair: pair[1])
    )


def _text(ids: list[int], trainee: TrainableModel) -> str:
    return masked(trainee.loaded.tokenizer.decode(ids, skip_special_tokens=False))


def evaluation_seconds(
    trainee: TrainableModel,
    evaluating: Evaluator,
    held_out: Sequence[Example],
    block: Block,
) -> float:
    """Estimate the seconds of an evaluation from a scored block and a continuation."""
    ids = block.ids[: max(2, block.real)]
    trial = Example("", ids, tuple(True for _ in ids))
    engine = trainee.engine()
    began = time.perf_counter()
    evaluating.score(engine, [trial])
    scored = time.perf_counter()
    cue = Prompt(ids[: max(1, len(ids) // 8)], "")
    evaluating.continued(engine, [cue])
    said = time.perf_counter() - scored
    read = sum(_read(len(x.ids), evaluating.block) for x in held_out)
    return (scored - began) * read / len(ids) + said * PROMPTS


def _read(tokens: int, window: int) -> int:
    """Return the tokens that are read to score a document of this many tokens.

    With a stride of half a window, each token is read twice except one window's worth.
    """
    return tokens if tokens <= window else 2 * tokens - window
