"""One training on notes, from the request to the adapter: the order of its parts.

At a step's end come, in this order, step event, evaluation, sample, checkpoint. A stop
skips a due evaluation; a resumed training makes it up first, so the results are the
same. Prints nothing: all that happens is an event.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lmtui import cache_dir
from lmtui.cancellation import cancelled_when
from lmtui.engine.types import Prompt
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.adapters import card
from lmtui.models.progress import Progress
from lmtui.train import checkpoints, save
from lmtui.train.checkpoints import TrainState
from lmtui.train.dataset import prepare
from lmtui.train.evaluate import Baseline, Evaluator
from lmtui.train.events import (
    Continuation,
    Doing,
    End,
    Eval,
    Failed,
    Paused,
    Plan,
    Sample,
    Saved,
    Start,
    Step,
    Warned,
)
from lmtui.train.metrics import Answers, DocumentScore, together
from lmtui.train.model import fit_memory, open_model
from lmtui.train.plan import evaluation_seconds, pieces, timed_step, used_memory
from lmtui.train.process import Channel
from lmtui.train.report import compare
from lmtui.train.request import TrainRequest, versions
from lmtui.train.run_folder import RunFolder
from lmtui.train.split import SplitNotes
from lmtui.train.trainer import (
    NonFiniteLoss,
    Schedule,
    Sequences,
    StepResult,
    adam,
    steps,
)

_RECENT = 20  # steps over which the speed is averaged
_FULL_EVALUATIONS = 2  # before and after the training


class Training:
    """A training, from its notes to its end; `resume` continues from the last complete
    checkpoint."""

    _baseline: Baseline
    """The evaluation of the model before the first step."""

    def __init__(
        self,
        folder: RunFolder,
        request: TrainRequest,
        notes: SplitNotes,
        channel: Channel,
        *,
        resume: bool,
    ) -> None:
        self._folder, self._request, self._settings = folder, request, request.settings
        self._channel, self._emit = channel, channel.emit
        model = self._model = open_model(request, channel.report)
        self._emit(Doing("preparing the notes"))
        block, tokenizer = self._settings.block, model.loaded.tokenizer
        _require_context(model.engine().info.context, block, model.loaded.name)
        data = prepare(notes, tokenizer, length=block, skip=channel.emit)
        self._evaluator = Evaluator(tokenizer, block)
        self._optimizer = adam(model, self._settings.peak_rate)
        self._schedule = Schedule(len(data.blocks), self._settings)
        self._sequences = Sequences(data.blocks, self._schedule)
        self._state = TrainState()
        step = folder.last_checkpoint if resume else None
        self._is_new = step is None
        if step is not None:
            self._baseline = self._read_baseline()
            data = replace(data, held_out=self._baseline.known(data.held_out))
            state = checkpoints.load(folder, step, model.weights, self._optimizer)
            self._state = replace(state, step=min(state.step, self._schedule.steps))
        self._resumed_from = self._state.step if resume else None
        self._data = data
        self._saved: TrainState | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._evaluation_seconds = 0.0
        self._tokens = sum(map(self._sequences.tokens, range(1, self._state.step + 1)))

    def run(self, *, plan_only: bool, go: bool) -> End:
        """Plan, train, evaluate and write the adapter; return how it ended. With
        `plan_only` it ends after the plan, and with `go` it does not wait there."""
        try:
            self._emit(self._plan())
            if plan_only:
                return End("declined", self._state.step)
            if not go:
                self._channel.wait_for_go()
            self._channel.save_first()
            self._emit(
                Start(self._request.name, self._schedule.steps, self._resumed_from)
            )
            if self._is_new:
                self._evaluate_first()
            if self._catch_up():
                self._make_steps()
            if self._is_over and not self._channel.stopping():
                return self._finish()
        except Cancelled:
            pass
        except NonFiniteLoss as error:
            return self._end_after(error)
        return End("stopped", self._folder.last_checkpoint or 0)

    # Before the first step.

    def _read_baseline(self) -> Baseline:
        baseline = self._folder.read(self._folder.baseline_file, Baseline)
        if baseline.sha256 != self._model.base.sha256:
            raise LmtuiError(
                "the model has changed since the training began",
                self._model.base.name,
                "Restore its weights, or start again with --overwrite.",
            )
        before, now = self._request.versions, versions()
        changed = [
            f"{name} {version} → {now.get(name)}"
            for name, version in before.items()
            if version != now.get(name)
        ]
        if changed:
            words = f"resumed with other package versions: {', '.join(changed)}"
            self._emit(Warned(words))
        return baseline

    def _plan(self) -> Plan:
        model, data, settings = self._model, self._data, self._settings
        schedule, step = self._schedule, self._state.step
        need = checkpoints.space_for(model.weights, resumed=step > 0)
        cache_dir.require_space(self._folder.path, need)
        self._emit(Doing("timing one block"))
        memory, missing = fit_memory(model, settings.block)
        next_step = min(step + 1, schedule.steps)
        step_seconds = timed_step(model, self._sequences, next_step, clip=settings.clip)
        self._emit(Doing("timing an evaluation"))
        evaluation = evaluation_seconds(
            model, self._evaluator, data.held_out, data.blocks[0]
        )
        remarks = data.remarks
        if missing:
            short = f"{cache_dir.size(missing)} more memory may be needed than is free"
            remarks = (*remarks, short)
        evaluations = schedule.evaluations_after(step) + _FULL_EVALUATIONS
        is_lora = settings.method == "lora"
        return Plan(
            run=self._request.name,
            base=model.base.name,
            method=settings.method,
            device=str(model.loaded.device),
            dtype=model.dtype,
            files=len(data.notes.files),
            skipped=data.skipped,
            documents=len(data.training),
            held_out_documents=len(data.held_out),
            tokens=self._sequences.counted,
            held_out_tokens=sum(sum(self._evaluator.counted(x)) for x in data.held_out),
            blocks=len(data.blocks),
            steps=schedule.steps,
            epochs=settings.epochs,
            trainable=model.trainable,
            parameters=model.parameters,
            memory=used_memory(model.loaded.device) + memory,
            seconds=(schedule.steps - step) * step_seconds + evaluations * evaluation,
            sample=pieces(data.blocks, model),
            notes=remarks,
            lr=settings.peak_rate,
            rank=settings.rank if is_lora else None,
            alpha=settings.alpha if is_lora else None,
            batch=schedule.batch,
            block=settings.block,
            seed=settings.seed,
            held_out_end=settings.held_out if data.is_cut else None,
        )

    def _evaluate_first(self) -> None:
        data = self._data
        prompts = self._evaluator.prompts(data.held_out, data.training)
        answers = self._ask("evaluating before training", prompts)
        self._baseline = Baseline(self._model.base.sha256, prompts, answers)
        self._folder.write(self._folder.baseline_file, self._baseline)
        self._record(answers.held_out, answers.continued)
        self._save()

    def _ask(self, what: str, prompts: Sequence[Prompt]) -> Answers:
        self._emit(Doing(what))
        with cancelled_when(self._channel.stopping):
            return self._evaluator.ask(
                self._model.engine(),
                held_out=self._data.held_out,
                training=self._data.training,
                prompts=prompts,
                on_share=lambda done, total: self._channel.report(
                    Progress(what, done, total)
                ),
            )

    # The steps.

    def _make_steps(self) -> None:
        for result in steps(
            self._model,
            self._optimizer,
            self._sequences,
            first=self._state.step + 1,
            clip=self._settings.clip,
        ):
            self._report_step(result)
            if not self._catch_up():
                break

    @property
    def _is_over(self) -> bool:
        return self._state.early or self._state.step >= self._schedule.steps

    def _report_step(self, result: StepResult) -> None:
        tokens = self._sequences.tokens(result.step)
        self._state = replace(self._state, step=result.step)
        self._tokens += tokens
        self._recent.append((result.seconds, tokens))
        seconds = sum(seconds for seconds, _ in self._recent)
        left = self._schedule.steps - result.step
        evaluations = self._schedule.evaluations_after(result.step - 1)
        self._emit(
            Step(
                step=result.step,
                epoch=self._schedule.epoch(result.step),
                loss=result.loss,
                lr=result.lr,
                grad_norm=result.grad_norm,
                tokens=self._tokens,
                tokens_per_second=sum(count for _, count in self._recent) / seconds,
                eta_seconds=left * seconds / len(self._recent)
                + evaluations * self._evaluation_seconds,
                memory=used_memory(self._model.loaded.device),
            )
        )

    def _catch_up(self) -> bool:
        """Make the evaluation that is due, also one that a stop has skipped before;
        return whether a step follows."""
        stopping, step = self._channel.stopping, self._state.step
        is_due = self._schedule.evaluated(step) and self._state.evaluated != step
        if is_due and not stopping():
            with suppress(Cancelled):
                self._evaluate()
        if self._channel.pausing and not self._is_over:
            self._emit(Paused(True))
            self._channel.wait_for_resume()
            self._emit(Paused(False))
        if is_stopped := stopping():
            self._save()
        return not (self._is_over or is_stopped)

    def _evaluate(self) -> None:
        began = time.perf_counter()
        engine = self._model.engine()
        with cancelled_when(self._channel.stopping):
            scores = self._evaluator.score(engine, self._data.held_out)
            texts = self._evaluator.continued(engine, self._baseline.prompts)
        self._record(scores, texts)
        self._evaluation_seconds = time.perf_counter() - began
        self._save()

    def _record(self, scores: Sequence[DocumentScore], texts: Sequence[str]) -> None:
        """Update best loss and patience from held-out scores, and report them with the
        continuations.

        Without any score no best weights are saved, so the last weights are used.
        """
        step, totals = self._state.step, together(scores)
        self._state = state = replace(self._state, evaluated=step)
        if totals is not None:
            loss = totals.loss
            is_lowest = state.lowest is None or loss < state.lowest
            changes: dict[str, Any] = {"lowest": loss} if is_lowest else {}
            if step and (state.best_loss is None or loss < state.best_loss):
                checkpoints.save_best(self._folder, self._model.weights, step)
                changes |= {"best_step": step, "best_loss": loss, "fruitless": 0}
            elif step:
                fruitless = state.fruitless + 1
                early = fruitless >= self._settings.patience
                changes |= {
                    "fruitless": fruitless,
                    "early": early and step < self._schedule.steps,
                }
            self._state = replace(state, **changes)
            figures = totals.perplexity, totals.bits_per_byte
            self._emit(Eval(step, loss, *figures, best=is_lowest))
        before = self._baseline.answers.continued
        items = zip(self._baseline.prompts, before, texts, strict=True)
        self._emit(Sample(step, tuple(Continuation(p.text, a, b) for p, a, b in items)))

    def _save(self) -> None:
        if self._state == self._saved:
            return
        checkpoints.save(
            self._folder, self._model.weights, self._optimizer, self._state
        )
        self._saved = self._state
        self._emit(Saved(self._state.step))

    # The end.

    def _finish(self) -> End:
        data, model, state = self._data, self._model, self._state
        before = self._baseline.about(data.held_out)
        best_step = state.step
        if state.best_step is not None:
            best_step = checkpoints.load_best(self._folder, model.weights)
        after = self._ask("evaluating the result", before.prompts)
        name, method = self._request.name, self._settings.method
        engine = model.engine()
        windows = (self._evaluator.window(engine, x) for x in data.held_out)
        window = min(windows, default=0)
        report = compare(
            before.answers,
            after,
            name=name,
            base=model.base.name,
            method=method,
            steps=state.step,
            best_step=best_step,
            inspect=card.inspect_command(name, method, window) if window else "",
            prompts=before.prompts,
            quote=lambda n, index: self._evaluator.quote(data.held_out[n], index),
        )
        adapter_card = save.card_of(
            self._request,
            model,
            data,
            report,
            tokens=self._sequences.counted,
            window=window,
        )
        save.save_adapter(self._folder, self._request, model, report, adapter_card)
        return End(
            "early" if state.early else "done",
            state.step,
            adapter=name,
            best_step=best_step,
            verdict=report.verdict.sentence,
        )

    def _end_after(self, error: NonFiniteLoss) -> End:
        end = End("failed", self._folder.last_checkpoint or 0)
        detail = error.detail
        if self._state.best_step is not None:
            with suppress(Cancelled, LmtuiError):
                end = replace(self._finish(), finish="failed")
                best = end.best_step
                detail += f"; the adapter has the weights of step {best}"
        other = ", or with --dtype float32" if self._model.half else ""
        hint = f"Train with a lower rate than --lr {self._settings.peak_rate:g}{other}."
        self._emit(Failed(error.title, detail, hint))
        return end


def _require_context(context: int, block: int, name: str) -> None:
    if block > context:
        raise LmtuiError(
            "a block is longer than the model's context",
            f"{block} tokens; the context of {name} is {context}",
            f"Give --block {context} or less.",
        )
