"""The pretraining loop: a generator of events.

Optimiser steps on random stretches of the training part, evaluations at equal shares of
the budget, snapshots at round steps. Knows no process and no file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from lmtui.engine.backends.ngram_model import NgramModel
from lmtui.errors import LmtuiError
from lmtui.learn.pretrain.events import (
    Evaluated,
    Event,
    Finished,
    Passed,
    ReferenceLines,
    Snapshot,
    Started,
    Stepped,
)
from lmtui.learn.pretrain.model import VOCABULARY, ByteModel
from lmtui.learn.pretrain.options import PretrainOptions, small_text_remark
from lmtui.learn.pretrain.text_split import TextSplit

SNAPSHOTS = frozenset(n * 10**k for k in range(1, 7) for n in (1, 3)) | {0}
"""The steps after which there is a snapshot; one more follows the last step."""
EVALUATIONS = 30
"""Evaluations at equal shares of the budget, besides those of the snapshots."""

_WARMUP = 0.05  # share of the budget
_DECAYED = 0.05  # of the peak learning rate, at the end
_CLIP = 1.0
_BETAS = (0.9, 0.99)  # a batch is small, so the mean square is taken over many
_WEIGHT_DECAY = 0.1
_SENT_EVERY = 0.1  # seconds
_STEPS_TO_EVALUATION = 6  # time for steps between two evaluations, to that for one


def rate_share(share: float) -> float:
    """Return the learning rate at a share of the budget, as a share of its peak: linear
    warm-up, then cosine decay."""
    if share < _WARMUP:
        return max(0.01, share / _WARMUP)
    done = min(1.0, (share - _WARMUP) / (1 - _WARMUP))
    return _DECAYED + (1 - _DECAYED) * (1 + math.cos(math.pi * done)) / 2


def events(data: bytes, options: PretrainOptions) -> Iterator[Event]:
    """Pretrain a model on a text.

    Raises:
        LmtuiError: the text is too small, or the loss is no longer a number.
    """
    split = TextSplit.of(data)
    lines = reference_lines(split)
    model = ByteModel(options)
    timed = options.steps is None
    yield Started(
        parameters=model.parameters,
        vocabulary=VOCABULARY,
        training_bytes=len(split.training),
        held_out_bytes=len(split.held_out) - 1,
        lines=lines,
        seconds=options.seconds if timed else None,
        steps=options.steps,
        remark=small_text_remark(len(data)),
    )
    loop = PretrainLoop(model, split, options)
    passed: set[str] = set()
    for event in loop.run():
        yield event
        # Before the first step, random weights are below ln V by chance or not at all.
        if isinstance(event, Evaluated) and event.step > 0:
            for line in lines.passed_by(event.loss):
                if line not in passed:
                    passed.add(line)
                    yield Passed(line, event.step, event.seconds)


def reference_lines(split: TextSplit) -> ReferenceLines:
    """Count the training part and score the held-out part, all but its first byte."""
    unigram, bigram, trigram = (_loss(split, order) for order in (1, 2, 3))
    return ReferenceLines(math.log(256), unigram, bigram, trigram)


def _loss(split: TextSplit, order: int) -> float:
    # Lists, since numpy takes bytes for text.
    training, held_out = list(split.training), list(split.held_out)
    model = NgramModel.count([training], order=order, vocabulary=256)
    return -float(model.score(held_out)[1:].mean())


class PretrainLoop:
    """The steps of one pretraining, with its evaluations and snapshots."""

    def __init__(
        self, model: ByteModel, split: TextSplit, options: PretrainOptions
    ) -> None:
        self._model = model
        self._split = split
        self._options = options
        self._ids = torch.tensor(list(split.training))  # [training bytes]
        self._chance = torch.Generator().manual_seed(options.seed)
        self._optimizer = torch.optim.AdamW(
            model.model.parameters(),
            lr=options.lr,
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
        self._evaluation: Evaluated | None = None
        self._best = Evaluated(0, 0.0, math.inf)

    def run(self) -> Iterator[Event]:
        """Make all steps; a snapshot follows an evaluation of the same step."""
        yield from self._snapshot()
        self._began = time.perf_counter()
        while (share := self._share()) < 1:
            self._losses.append(self._make_step(share))
            self._step += 1
            if self._seconds() - self._sent >= _SENT_EVERY:
                yield self._stepped()
            if self._step in SNAPSHOTS:
                yield from self._snapshot()
            if self._is_evaluation_due():
                yield from self._evaluate()
        yield from self._snapshot()
        assert self._evaluation is not None
        seen = self._tokens / len(self._split.training)
        last, best = self._evaluation, self._best
        yield Finished(
            step=self._step,
            seconds=self._seconds(),
            loss=last.loss,
            best_loss=best.loss,
            best_step=best.step,
            epochs=seen,
        )

    def _seconds(self) -> float:
        return 0.0 if self._began is None else time.perf_counter() - self._began

    def _share(self) -> float:
        """Return the share of the budget that is used."""
        if self._options.steps is not None:
            return self._step / self._options.steps
        return self._seconds() / self._options.seconds

    def _is_evaluation_due(self) -> bool:
        """Return whether the next part of the budget has begun, and where the time
        counts, whether most of it went to steps since the last evaluation."""
        part = int(self._share() * EVALUATIONS)
        rested = self._options.steps is not None or (
            self._seconds() > self._evaluation_over + _STEPS_TO_EVALUATION * self._cost
        )
        if part <= self._part or not rested:
            return False
        self._part = part
        return True

    @property
    def _tokens(self) -> int:
        return self._step * self._options.batch * self._options.context

    def _make_step(self, share: float) -> float:
        """Make one optimiser step and return its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._options.lr * rate_share(share)
        self._optimizer.zero_grad()
        loss = self._model.losses(self._batch()).mean()
        self._require_number(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.model.parameters(), _CLIP)
        self._optimizer.step()
        return loss.item()

    def _require_number(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise LmtuiError(
                "the loss is no longer a number",
                f"after step {self._step}",
                f"Train with a lower rate than {self._options.lr:g}.",
            )

    def _batch(self) -> Tensor:
        """Return random stretches of the training part: [batch, context + 1]."""
        length = self._options.context + 1
        starts = torch.randint(
            len(self._ids) - length + 1,
            (self._options.batch, 1),
            generator=self._chance,
        )
        return self._ids[starts + torch.arange(length)]

    def _stepped(self) -> Stepped:
        losses, self._losses = tuple(self._losses), []
        self._sent = self._seconds()
        return Stepped(self._step, self._sent, losses, self._tokens)

    def _evaluate(self) -> Iterator[Event]:
        """Score the held-out part, unless that was done after the same step."""
        if self._losses:
            yield self._stepped()
        if self._evaluation is not None and self._evaluation.step == self._step:
            return
        start = time.perf_counter()
        loss = self._model.held_out_loss(self._split.held_out)
        self._require_number(loss)
        self._cost = time.perf_counter() - start
        event = self._evaluation = Evaluated(self._step, self._seconds(), loss)
        self._evaluation_over = event.seconds
        if loss < self._best.loss:
            self._best = event
        yield event

    def _snapshot(self) -> Iterator[Event]:
        yield from self._evaluate()
        assert self._evaluation is not None
        options, model = self._options, self._model
        prompts = [text.encode("utf-8", "surrogatepass") for text in options.prompts]
        given = options.sample_prompt.encode("utf-8", "surrogatepass")
        prompt = given or self._split.first_words
        sample = model.sample(prompt, size=options.sample_bytes, seed=options.seed)
        yield Snapshot(
            step=self._step,
            seconds=self._evaluation.seconds,
            loss=self._evaluation.loss,
            prompt=prompt.hex(),
            sample=sample.hex(),
            rows=tuple(map(model.next_bytes, prompts or self._split.prompts())),
        )
