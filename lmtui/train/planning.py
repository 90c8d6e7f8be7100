"""What would be done, said before anything is.

Owns the counts, the estimates and the piece of training text that is shown. Knows no
step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

from lmtui.engine.port import Stop
from lmtui.engine.types import Prompt
from lmtui.train.base import Trainee
from lmtui.train.blocks import Block, Example
from lmtui.train.calibrating import Calibration
from lmtui.train.evaluating import PROMPTS, Evaluating
from lmtui.train.events import Piece, Plan
from lmtui.train.material import Material
from lmtui.train.request import Request
from lmtui.train.trainer import Sequences

_SHOWN = 400  # tokens of the sample
_ASKED = 2  # times that all is asked, before and after


def plan_of(
    request: Request,
    trainee: Trainee,
    material: Material,
    sequences: Sequences,
    *,
    calibration: Calibration,
    evaluation: float,
) -> Plan:
    """The plan of what is left to do; `evaluation` in seconds."""
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
        memory=calibration.memory,
        seconds=(schedule.steps - made) * calibration.seconds
        + evaluations * evaluation,
        sample=pieces(material.blocks[0], trainee),
        notes=material.remarks,
        lr=settings.peak_rate,
        rank=settings.rank if settings.method == "lora" else None,
        alpha=settings.alpha if settings.method == "lora" else None,
        batch=schedule.batch,
        block=settings.block,
        seed=settings.seed,
    )


def pieces(block: Block, trainee: Trainee) -> tuple[Piece, ...]:
    """The beginning of a block as text, cut where its loss begins or ends to count."""
    shown = min(_SHOWN, block.real)
    pairs = zip(block.ids[:shown], block.trained[:shown], strict=True)
    return tuple(
        Piece(_text([token for token, _ in run], trainee), trained)
        for trained, run in groupby(pairs, key=lambda pair: pair[1])
    )


def _text(ids: list[int], trainee: Trainee) -> str:
    return str(trainee.loaded.tokenizer.decode(ids, skip_special_tokens=False))


def evaluation_seconds(
    trainee: Trainee,
    evaluating: Evaluating,
    held_out: Sequence[Example],
    block: Block,
    *,
    stop: Stop,
) -> float:
    """About how long an evaluation takes, from a block and a continuation.

    Raises:
        Cancelled: `stop` answered True.
    """
    ids = block.ids[: max(2, block.real)]
    trial = Example("", ids, tuple(True for _ in ids))
    engine = trainee.engine()
    began = time.perf_counter()
    evaluating.score(engine, [trial], stop=stop)
    scored = time.perf_counter()
    cue = Prompt(ids[: max(1, len(ids) // 8)], "")
    evaluating.continued(engine, [cue], stop=stop)
    said = time.perf_counter() - scored
    read = sum(_read(len(x.ids), evaluating.block) for x in held_out)
    return (scored - began) * read / len(ids) + said * PROMPTS


def _read(tokens: int, window: int) -> int:
    """Tokens that are read to score a document: each twice but those of a window."""
    return tokens if tokens <= window else 2 * tokens - window
