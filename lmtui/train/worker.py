"""The worker: one training from its notes to the adapter, in its own process.

Defines the order of the whole and handles failures; other modules do the work. It
prints only the traceback of a bug: everything else is an event.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from lmtui import cache_dir
from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled, LmtuiError, panics_as_errors
from lmtui.models.progress import Progress
from lmtui.train import checkpoints, dataset, save
from lmtui.train import request as requests
from lmtui.train.baseline import Baseline, read_beginning, write_beginning
from lmtui.train.checkpoints import TrainState
from lmtui.train.control import EventWriter, WorkerControl
from lmtui.train.evaluate import Evaluator
from lmtui.train.events import Doing, End, Ending, Failed, Start, Warned
from lmtui.train.loop import TrainLoop
from lmtui.train.model import TrainableModel, open_trainee, save_memory_where_needed
from lmtui.train.plan import calibrate, evaluation_seconds, plan_of
from lmtui.train.run_folder import RunFolder
from lmtui.train.save import TrainResult
from lmtui.train.schedule import Schedule
from lmtui.train.split import SplitNotes
from lmtui.train.trainer import NonFiniteLoss, Sequences, adam, train

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def explained(error: Exception, folder: Path) -> LmtuiError:
    """Return the error to report for an exception in a training.

    A bug's traceback is written to stderr as well. `folder` is the run folder.
    """
    if isinstance(error, LmtuiError):
        return error
    if _is_out_of_memory(error):
        return _out_of_memory(error)
    if cache_dir.is_disk_full(error):
        return cache_dir.disk_full(folder)
    traceback.print_exception(error)
    return LmtuiError(
        "unexpected error",
        f"{type(error).__name__}: {error}",
        "Checkpoints are still there; the log of the training says more.",
    )


def no_number(
    error: NonFiniteLoss, *, rate: float, half: bool, saved_step: int | None = None
) -> LmtuiError:
    """Return the error for a loss that is NaN or infinite.

    `saved_step` is the step whose weights were saved nevertheless.
    """
    detail = f"in step {error.step}"
    if saved_step is not None:
        detail += f"; the adapter has the weights of step {saved_step}"
    other = ", or with --dtype float32" if half else ""
    hint = f"Train with a lower rate than --lr {rate:g}{other}."
    return LmtuiError("the loss is no longer a number", detail, hint)


def _is_out_of_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    said = isinstance(error, RuntimeError) and any(x in str(error) for x in _NO_MEMORY)
    return known or said


def _out_of_memory(error: Exception) -> LmtuiError:
    return LmtuiError(
        "out of memory",
        str(error).partition("\n")[0][:300],
        "Lower --block, --batch or --rank, use a smaller model, or close other "
        "programs.",
    )


class Worker:
    """One training, from the request to its end."""

    def __init__(
        self,
        run_folder: RunFolder,
        notes: SplitNotes,
        commands: WorkerControl,
        tell: EventWriter,
        *,
        resume: bool,
        plan_only: bool,
        go: bool,
    ) -> None:
        """With `resume` it continues from the last complete checkpoint, with
        `plan_only` it ends after the plan, and with `go` it does not wait there."""
        self._place = run_folder
        self._notes = notes
        self._resume, self._plan_only, self._go_at_once = resume, plan_only, go
        self._commands = commands
        self._tell = tell
        self._request = run_folder.read_request()
        self._settings = self._request.settings
        self._begun = False
        self._running: TrainLoop | None = None

    def work(self) -> int:
        """Do the whole training and report its end; return the exit code."""
        end = self._tried()
        self._tell(end)
        return 1 if end.finish == "failed" else 0

    def _tried(self) -> End:
        try:
            with panics_as_errors():
                return self._all()
        except Cancelled:
            return self._stopped()
        except NonFiniteLoss as error:
            return self._saved_from(error)
        except Exception as error:  # the top level: every error becomes an event
            return self._failed(explained(error, self._place.path))

    def _all(self) -> End:
        self._prepare()
        self._plan()
        if self._plan_only:
            return End("declined", self._state.step)
        if not self._go_at_once and not self._commands.wait_for_go():
            return self._stopped()
        self._begun = True
        self._commands.save_first()
        steps = self._sequences.schedule.steps
        resumed = self._state.step if self._resume else None
        self._tell(Start(self._request.name, steps, resumed))
        running = self._running = self._start()
        self._make_steps(running)
        if not running.over or self._commands.stopping():
            return self._stopped()
        return self._finish(running)

    # Before the first step.

    def _prepare(self) -> None:
        """Make the inputs of the training."""
        settings = self._settings
        self._go_on()
        trainee = self._trainee = open_trainee(self._request, self._tell.report)
        self._go_on()
        self._tell(Doing("preparing the notes"))
        _require_context(trainee, settings.block)
        tokenizer = trainee.loaded.tokenizer
        made = dataset.prepare(
            self._notes, tokenizer, length=settings.block, skip=self._tell
        )
        self._optimizer = adam(trainee, settings.peak_rate)
        state, self._beginning = self._take_up(trainee, self._optimizer)
        if self._beginning is not None:
            made = replace(made, held_out=self._beginning.known(made.held_out))
        self._material = made
        schedule = Schedule(len(made.blocks), settings)
        self._state = replace(state, step=min(state.step, schedule.steps))
        self._sequences = Sequences(made.blocks, schedule, self._state.step)
        self._evaluating = Evaluator(tokenizer, settings.block)

    def _take_up(
        self, trainee: TrainableModel, optimizer: torch.optim.Optimizer
    ) -> tuple[TrainState, Baseline | None]:
        """Return the state of the training: that of its last checkpoint if it is
        resumed."""
        step = self._place.last_checkpoint if self._resume else None
        if step is None:
            return TrainState(), None
        beginning = read_beginning(self._place)
        if beginning.sha256 != trainee.base.sha256:
            raise LmtuiError(
                "the model has changed since the training began",
                trainee.base.name,
                "Restore its weights, or start again with --overwrite.",
            )
        if changed := _changed(self._request.versions):
            self._tell(Warned(f"resumed with other package versions: {changed}"))
        state = checkpoints.load(self._place, step, trainee.weights, optimizer)
        return state, beginning

    def _plan(self) -> None:
        trainee, material = self._trainee, self._material
        resumed = self._state.step > 0
        need = checkpoints.space_for(trainee.weights, resumed=resumed)
        cache_dir.require_space(self._place.path, need)
        self._tell(Doing("timing one block"))
        missing = save_memory_where_needed(trainee, self._settings.block)
        with cancelled_when(self._commands.stopping):
            step, memory = calibrate(trainee, self._sequences, clip=self._settings.clip)
            self._tell(Doing("timing an evaluation"))
            evaluation = evaluation_seconds(
                trainee, self._evaluating, material.held_out, material.blocks[0]
            )
        if missing is not None:
            short = f"{cache_dir.size(missing)} more memory may be needed than is free"
            material = replace(material, remarks=(*material.remarks, short))
        self._tell(
            plan_of(
                self._request,
                trainee,
                material,
                self._sequences,
                step=step,
                memory=memory,
                evaluation=evaluation,
            )
        )

    def _start(self) -> TrainLoop:
        """Return the training loop, after evaluating the model if that was not done
        before."""
        beginning = self._beginning
        if beginning is None:
            beginning = self._ask_first()
            write_beginning(self._place, beginning)
        running = TrainLoop(
            self._place,
            self._trainee,
            self._optimizer,
            sequences=self._sequences,
            evaluator=self._evaluating,
            held_out=self._material.held_out,
            baseline=beginning,
            patience=self._settings.patience,
            state=self._state,
            commands=self._commands,
            tell=self._tell,
        )
        if self._beginning is None:
            running.first_judged()
        return running

    def _ask_first(self) -> Baseline:
        material, evaluating = self._material, self._evaluating
        prompts = evaluating.prompts(material.held_out, material.training)
        with cancelled_when(self._commands.stopping):
            answers = evaluating.ask(
                self._trainee.engine(),
                held_out=material.held_out,
                training=material.training,
                prompts=prompts,
                on_share=self._share_of("evaluating before training"),
            )
        return Baseline(self._trainee.base.sha256, prompts, answers)

    def _share_of(self, what: str) -> Callable[[int, int], None]:
        """Report the beginning of a longer piece of work; return a function that
        reports how much of it is done."""
        self._tell(Doing(what))
        return lambda done, total: self._tell.report(Progress(what, done, total))

    # The steps and the result.

    def _make_steps(self, running: TrainLoop) -> None:
        if running.catch_up():
            train(
                self._trainee,
                self._optimizer,
                self._sequences,
                clip=self._settings.clip,
                after_step=running.after_step,
                folder=self._place.checkpoints_folder,
            )

    def _finish(self, running: TrainLoop) -> End:
        """Evaluate the best weights and write the adapter."""
        material, trainee = self._material, self._trainee
        state, beginning = running.state, running.baseline.about(material.held_out)
        best_step = state.step
        if state.best_step is not None:
            best_step = checkpoints.load_best(self._place, trainee.weights)
        with cancelled_when(self._commands.stopping):
            after = self._evaluating.ask(
                trainee.engine(),
                held_out=material.held_out,
                training=material.training,
                prompts=beginning.prompts,
                on_share=self._share_of("evaluating the result"),
            )
        learned = TrainResult(
            request=self._request,
            trainee=trainee,
            notes=material.notes,
            training=material.training,
            held_out=material.held_out,
            tokens=self._sequences.counted,
            steps=state.step,
            best_step=best_step,
            prompts=beginning.prompts,
            before=beginning.answers,
            after=after,
        )
        report = save.report_of(learned, self._evaluating)
        window = save.window_of(learned, self._evaluating)
        save.save_adapter(self._place, learned, report, window=window)
        finish: Ending = "early" if state.early else "done"
        return End(
            finish,
            state.step,
            adapter=self._request.name,
            best_step=best_step,
            verdict=report.verdict.sentence,
        )

    # Endings without a result.

    def _go_on(self) -> None:
        if self._commands.stopping():
            raise Cancelled

    def _stopped(self) -> End:
        step = self._place.last_checkpoint or 0
        return End("stopped" if self._begun else "declined", step)

    def _failed(self, error: LmtuiError) -> End:
        self._tell(Failed(error.title, error.detail, error.hint))
        return End("failed", self._place.last_checkpoint or 0)

    def _saved_from(self, error: NonFiniteLoss) -> End:
        """End after a non-finite loss: write the best weights if there are any."""
        running, end = self._running, None
        if running and running.state.best_step is not None:
            with suppress(Cancelled, LmtuiError):
                end = self._finish(running)
        told = no_number(
            error,
            rate=self._settings.peak_rate,
            half=self._trainee.half,
            saved_step=end.best_step if end else None,
        )
        failed = self._failed(told)
        return replace(end, finish="failed") if end else failed


def _require_context(trainee: TrainableModel, block: int) -> None:
    context = trainee.engine().info.context
    if block > context:
        raise LmtuiError(
            "a block is longer than the model's context",
            f"{block} tokens; the context of {trainee.loaded.name} is {context}",
            f"Give --block {context} or less.",
        )


def _changed(versions: object) -> str:
    """Return the packages whose version has changed, in a few words."""
    before = dict(versions) if isinstance(versions, dict) else {}
    now = requests.versions()
    pairs = ((name, before[name], now.get(name)) for name in before)
    return ", ".join(f"{n} {b} → {a}" for n, b, a in pairs if a != b)
