"""Estimates and sample for the plan that is shown before a training.

The estimates come from one timed block and one timed evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

import psutil
import torch

from lmtui.engine.types import Prompt
from lmtui.models import accelerator
from lmtui.train.dataset import Block, Example
from lmtui.train.evaluate import PROMPTS, Evaluator
from lmtui.train.events import Piece
from lmtui.train.likely_secrets import masked
from lmtui.train.model import TrainableModel, restored
from lmtui.train.trainer import Sequences, adam, add_gradient, update

_SHOWN = 400  # tokens of the sample


def timed_step(
    model: TrainableModel, sequences: Sequences, step: int, *, clip: float
) -> float:
    """Return the seconds of a step, estimated from one of its blocks and an update.

    The weights don't change: the learning rate is 0.
    """
    blocks = sequences.of_step(step)
    optimizer = adam(model, 0.0)
    with restored(model.module):
        model.module.train()
        began = time.perf_counter()
        loss = add_gradient(model, blocks[0])
        block_seconds = time.perf_counter() - began
        update(optimizer, step, loss=loss, rate=0.0, clip=clip)
        return (len(blocks) - 1) * block_seconds + time.perf_counter() - began


def used_memory(device: torch.device) -> int:
    """Return the bytes that this process uses: on the GPU, or resident on the CPU."""
    used = accelerator.used_memory(device)
    return int(psutil.Process().memory_info().rss) if used is None else used


def pieces(blocks: Sequence[Block], model: TrainableModel) -> tuple[Piece, ...]:
    """Return the beginning of the first blocks as text, cut where `trained` changes."""
    pairs = [
        pair
        for block in blocks[:_SHOWN]
        for pair in zip(
            block.ids[: block.real], block.trained[: block.real], strict=True
        )
    ]
    return tuple(
        Piece(_text([token for token, _ in run], model), trained)
        for trained, run in groupby(pairs[:_SHOWN], key=lambda pair: pair[1])
    )


def _text(ids: list[int], model: TrainableModel) -> str:
    return masked(model.loaded.tokenizer.decode(ids, skip_special_tokens=False))


def evaluation_seconds(
    model: TrainableModel,
    evaluator: Evaluator,
    held_out: Sequence[Example],
    block: Block,
) -> float:
    """Estimate the seconds of an evaluation from a scored block and a continuation."""
    ids = block.ids[: max(2, block.real)]
    engine = model.engine()
    began = time.perf_counter()
    evaluator.score(engine, [Example("", ids, (True,) * len(ids))])
    scored = time.perf_counter()
    evaluator.continued(engine, [Prompt(ids[: max(1, len(ids) // 8)], "")])
    continuation = time.perf_counter() - scored
    read = sum(_read(len(x.ids), evaluator.block) for x in held_out)
    return (scored - began) * read / len(ids) + continuation * PROMPTS


def _read(tokens: int, window: int) -> int:
    """Return the tokens that are read to score a document of this many tokens.

    With a stride of half a window, each token is read twice except one window's worth.
    """
    return tokens if tokens <= window else 2 * tokens - window
