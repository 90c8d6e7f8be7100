"""The work after each optimiser step: events, evaluation, checkpoints, early stopping.

Order at a step's end: step event, evaluation, sample, checkpoint. A stop skips a due
evaluation; a resumed training makes it up first, so the results are the same. Knows
neither the notes nor how a step is made.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled
from lmtui.train import checkpoints
from lmtui.train.baseline import Baseline
from lmtui.train.checkpoints import TrainState
from lmtui.train.control import WorkerControl
from lmtui.train.dataset import Example
from lmtui.train.evaluate import Evaluator
from lmtui.train.events import Continuation, Eval, Event, Paused, Sample, Saved, Step
from lmtui.train.metrics import DocumentScore, together
from lmtui.train.model import TrainableModel
from lmtui.train.plan import used_memory
from lmtui.train.run_folder import RunFolder
from lmtui.train.trainer import Sequences, StepResult

_RECENT = 20  # steps over which the speed is averaged


class TrainLoop:
    """The state of a training between its steps."""

    def __init__(
        self,
        run: RunFolder,
        trainee: TrainableModel,
        optimizer: torch.optim.Optimizer,
        *,
        sequences: Sequences,
        evaluator: Evaluator,
        held_out: Sequence[Example],
        baseline: Baseline,
        patience: int,
        state: TrainState,
        commands: WorkerControl,
        tell: Callable[[Event], None],
    ) -> None:
        self.state = state
        self._run = run
        self._trainee = trainee
        self._optimizer = optimizer
        self._sequences = sequences
        self._schedule = sequences.schedule
        self._evaluator, self._held_out = evaluator, held_out
        self.baseline = baseline
        self._patience = patience
        self._commands = commands
        self._tell = tell
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._evaluation_seconds = 0.0
        steps = range(1, state.step + 1)
        self._tokens = sum(sequences.tokens(step) for step in steps)
        self._saved: TrainState | None = None

    @property
    def over(self) -> bool:
        """Whether all steps are done or the training stopped early."""
        return self.state.early or self.state.step >= self._schedule.steps

    def after_step(self, made: StepResult) -> bool:
        """Report a step and do what is due; return whether another one follows."""
        self.state = replace(self.state, step=made.step)
        self._tokens += self._sequences.tokens(made.step)
        self._recent.append((made.seconds, self._sequences.tokens(made.step)))
        self._tell(self._told(made))
        return self.catch_up()

    def first_judged(self) -> None:
        """Report the evaluation from before the first step, and save."""
        self._note(self.baseline.answers.held_out)
        self._tell(self._sample(self.baseline.answers.continued))
        self._save()

    def catch_up(self) -> bool:
        """Make the evaluation that is due, also one that a stop has skipped before;
        return whether a step follows."""
        step = self.state.step
        due = self._schedule.evaluated(step) and self.state.evaluated != step
        if due and not self._commands.stopping():
            try:
                self._judge()
                self._save()
            except Cancelled:
                pass
        if self._commands.stopping():
            self._save()
            return False
        if not self.over and self._commands.pausing:
            self._wait()
        return not self.over and not self._stopped_while_waiting()

    def _stopped_while_waiting(self) -> bool:
        if not self._commands.stopping():
            return False
        self._save()
        return True

    def _wait(self) -> None:
        self._tell(Paused(True))
        self._commands.wait_for_resume()
        self._tell(Paused(False))

    def _judge(self) -> None:
        """Score the held-out documents and continue the prompts."""
        began = time.perf_counter()
        engine = self._trainee.engine()
        with cancelled_when(self._commands.stopping):
            scores = self._evaluator.score(engine, self._held_out)
            said = self._evaluator.continued(engine, self.baseline.prompts)
        self._note(scores)
        self._tell(self._sample(said))
        self._evaluation_seconds = time.perf_counter() - began

    def _note(self, scores: Sequence[DocumentScore]) -> None:
        """Update best loss and patience from held-out scores, and report them.

        Without any score no best weights are saved, so the last weights are used.
        """
        step = self.state.step
        self.state = replace(self.state, evaluated=step)
        figures = together(scores)
        if figures is None:
            return
        lowest, best = self.state.lowest, self.state.best_loss
        is_lowest = lowest is None or figures.loss < lowest
        if is_lowest:
            self.state = replace(self.state, lowest=figures.loss)
        if step and (best is None or figures.loss < best):
            self._keep_best(figures.loss)
        elif step:
            fruitless = self.state.fruitless + 1
            early = fruitless >= self._patience and step < self._schedule.steps
            self.state = replace(self.state, fruitless=fruitless, early=early)
        self._tell(
            Eval(
                step=step,
                loss=figures.loss,
                perplexity=figures.perplexity or float("inf"),
                bits_per_byte=figures.bits_per_byte,
                best=is_lowest,
            )
        )

    def _keep_best(self, loss: float) -> None:
        step = self.state.step
        checkpoints.save_best(self._run, self._trainee.weights, step)
        self.state = replace(
            self.state, best_step=step, best_loss=loss, fruitless=0, early=False
        )

    def _sample(self, said: Sequence[str]) -> Sample:
        items = zip(
            self.baseline.prompts, self.baseline.answers.continued, said, strict=True
        )
        return Sample(
            self.state.step,
            tuple(Continuation(p.text, old, now) for p, old, now in items),
        )

    def _save(self) -> None:
        """Save a checkpoint, unless exactly this state is saved already."""
        if self.state == self._saved:
            return
        checkpoints.save(self._run, self._trainee.weights, self._optimizer, self.state)
        self._saved = self.state
        self._tell(Saved(self.state.step))

    def _told(self, made: StepResult) -> Step:
        seconds = sum(took for took, _ in self._recent)
        tokens = sum(count for _, count in self._recent)
        left = self._schedule.steps - made.step
        evaluations = self._schedule.evaluations_after(made.step - 1)
        return Step(
            step=made.step,
            epoch=self._schedule.epoch(made.step),
            loss=made.loss,
            lr=made.lr,
            grad_norm=made.grad_norm,
            tokens=self._tokens,
            tokens_per_second=tokens / seconds if seconds else 0.0,
            eta_seconds=left * seconds / len(self._recent)
            + evaluations * self._evaluation_seconds,
            memory=used_memory(self._trainee.loaded.device),
        )
