"""The pretraining itself: what is held out, and the steps with their evaluations.

Optimiser steps on random stretches of the training part, evaluations at equal shares of
the budget, snapshots at round steps. Knows no process and no file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from lmtui.engine.ngram_model import NgramModel
from lmtui.learn.pretrain.model import VOCABULARY, ByteModel
from lmtui.learn.pretrain.request import PretrainRequest, require_enough
from lmtui.train.events import (
    End,
    PretrainStart,
    PretrainStep,
    ReferenceLines,
    Snapshot,
)
from lmtui.train.trainer import update

SNAPSHOTS = frozenset(n * 10**k for k in range(1, 7) for n in (1, 3)) | {0}
"""The steps after which there is a snapshot; one more follows the last step."""
EVALUATIONS = 30
"""Evaluations at equal shares of the budget, besides those of the snapshots."""
SCORED_BYTES = 8_192
"""Most bytes of the held-out part that an evaluation scores."""

_HELD_OUT = 10  # the last tenth is held out
_SEARCHED = 50  # a 50th of the text is searched for the start of a line
_PROMPT_BYTES = 60
_TOP = 6  # bytes of a distribution that are shown
_WARMUP = 0.05  # share of the budget
_DECAYED = 0.05  # of the peak learning rate, at the end
_CLIP = 1.0
_BETAS = (0.9, 0.99)  # a batch is small, so the mean square is taken over many
_WEIGHT_DECAY = 0.1
_SENT_EVERY = 0.1  # seconds
_STEPS_TO_EVALUATION = 6  # time for steps between two evaluations, to that for one

Emit = Callable[[PretrainStart | PretrainStep], None]


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return the part of a text that is trained on, and what is scored of the rest.

    The held-out part begins with a line where one is near, else with a character.
    """
    require_enough(data)
    cut = len(data) - len(data) // _HELD_OUT
    end = cut + len(data) // _SEARCHED
    line = data.find(b"\n", cut, end)
    cut = cut if line < 0 else line + 1
    # The empty line behind a paragraph belongs to it; a character stays whole.
    while cut < end and (data[cut] == 0x0A or 0x80 <= data[cut] < 0xC0):
        cut += 1
    return data[:cut], data[cut : cut + SCORED_BYTES]


def first_words(held_out: bytes) -> bytes:
    """Return the first words of the held-out part, without the space behind them."""
    start = held_out[: _PROMPT_BYTES + 1]
    words, _, _ = start.rpartition(b" ")
    return words.rstrip() or start[:_PROMPT_BYTES]


def reference_lines(training: bytes, held_out: bytes) -> ReferenceLines:
    """Count the training part and score the held-out part, all but its first byte."""

    def loss(order: int) -> float:
        # Lists, since numpy takes bytes for text.
        model = NgramModel.count([list(training)], order=order, vocabulary=VOCABULARY)
        return -float(model.score(list(held_out))[1:].mean())

    return ReferenceLines(math.log(VOCABULARY), loss(1), loss(2), loss(3))


def rate_share(share: float) -> float:
    """Return the learning rate at a share of the budget, as a share of its peak: linear
    warm-up, then cosine decay."""
    if share < _WARMUP:
        return max(0.01, share / _WARMUP)
    done = min(1.0, (share - _WARMUP) / (1 - _WARMUP))
    return _DECAYED + (1 - _DECAYED) * (1 + math.cos(math.pi * done)) / 2


class Pretraining:
    def __init__(self, request: PretrainRequest, emit: Emit) -> None:
        self._request, self._emit = request, emit
        self._training, self._held_out = split(request.data)
        self._ids = torch.tensor(list(self._training))  # [training bytes]
        self._model = ByteModel(request)
        self._generator = torch.Generator().manual_seed(request.seed)
        self._optimizer = torch.optim.AdamW(
            self._model.model.parameters(),
            lr=request.lr,
            betas=_BETAS,
            weight_decay=_WEIGHT_DECAY,
            fused=True,
        )
        self._began: float | None = None
        self._step = 0
        self._losses: list[float] = []
        self._sent = 0.0
        self._part = 0  # of the budget, the last that was evaluated
        self._cost = self._evaluation_over = 0.0  # seconds

    def run(self) -> End:
        """Make all steps; there is a snapshot before the first and after the last."""
        lines = reference_lines(self._training, self._held_out)
        start = PretrainStart(self._model.parameters, len(self._training), lines)
        self._emit(start)
        self._evaluate(snapshot=True)
        self._began = time.perf_counter()
        while (share := self._share()) < 1:
            self._step += 1
            self._losses.append(self._make_step(share))
            is_due, is_round = self._is_evaluation_due(), self._step in SNAPSHOTS
            if is_due or is_round:
                self._evaluate(snapshot=is_round)
            elif (seconds := self._seconds()) - self._sent >= _SENT_EVERY:
                self._send(seconds)
        self._evaluate(snapshot=True)
        return End("done", self._step)

    def _seconds(self) -> float:
        return 0.0 if self._began is None else time.perf_counter() - self._began

    def _share(self) -> float:
        if self._request.steps is not None:
            return self._step / self._request.steps
        return self._seconds() / self._request.seconds

    def _is_evaluation_due(self) -> bool:
        """Return whether the next part of the budget has begun, and where the time
        counts, whether most of it went to steps since the last evaluation."""
        part = int(self._share() * EVALUATIONS)
        rested = self._request.steps is not None or (
            self._seconds() > self._evaluation_over + _STEPS_TO_EVALUATION * self._cost
        )
        if part <= self._part or not rested:
            return False
        self._part = part
        return True

    def _make_step(self, share: float) -> float:
        loss = self._model.losses(self._batch()).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        rate = self._request.lr * rate_share(share)
        update(self._optimizer, self._step, loss=loss.item(), rate=rate, clip=_CLIP)
        return loss.item()

    def _batch(self) -> Tensor:
        """Return random stretches of the training part: [batch, context + 1]."""
        length = self._request.context + 1
        starts = torch.randint(
            len(self._ids) - length + 1,
            (self._request.batch, 1),
            generator=self._generator,
        )
        return self._ids[starts + torch.arange(length)]

    def _evaluate(self, *, snapshot: bool) -> None:
        began = self._seconds()
        loss = self._model.held_out_loss(self._held_out)
        self._evaluation_over = seconds = self._seconds()
        self._cost = seconds - began
        self._send(seconds, loss, self._snapshot() if snapshot else None)

    def _send(
        self,
        seconds: float,
        held_out: float | None = None,
        snapshot: Snapshot | None = None,
    ) -> None:
        losses, self._losses, self._sent = tuple(self._losses), [], seconds
        tokens = self._step * self._request.batch * self._request.context
        self._emit(
            PretrainStep(self._step, seconds, tokens, losses, held_out, snapshot)
        )

    def _snapshot(self) -> Snapshot:
        request, model = self._request, self._model
        prompt = context = request.prompt.encode("utf-8", "surrogatepass")
        if not prompt:
            prompt = first_words(self._held_out)
            context = self._held_out[: len(prompt) + 1]  # a word begins behind it
        probs = model.logprobs(context).double().exp()
        top = probs.argsort(descending=True, stable=True)[:_TOP]
        return Snapshot(
            prompt=prompt.hex(),
            sample=model.sample(
                prompt, size=request.sample_bytes, seed=request.seed
            ).hex(),
            context=context.hex(),
            top_bytes=bytes(top.tolist()).hex(),
            top_probs=tuple(probs[top].tolist()),
        )
