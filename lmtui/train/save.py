"""The end of a training: the report, and the adapter's folder.

The folder is built inside the run folder and moved to its place by one rename; the run
folder is removed after that. Knows no steps.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from lmtui import cache_dir, paths
from lmtui.engine.types import Prompt
from lmtui.errors import LmtuiError
from lmtui.models.adapters import card, lora_config
from lmtui.models.errors import offline, quiet
from lmtui.train import events, report
from lmtui.train import request as requests
from lmtui.train.dataset import Example
from lmtui.train.evaluate import Evaluator
from lmtui.train.metrics import LossTotals
from lmtui.train.model import TrainableModel
from lmtui.train.notes import Notes
from lmtui.train.report import Answers, Report, compare
from lmtui.train.request import TrainRequest
from lmtui.train.run_folder import RunFolder

_TOLD = (
    events.Plan | events.Skip | events.Start | events.Step | events.Eval
    | events.Sample | events.Saved
)  # fmt: skip
"""Events kept with the adapter; the others describe a moment and may hold paths."""


@dataclass(frozen=True)
class TrainResult:
    """A finished training, with the best weights in the model."""

    request: TrainRequest
    trainee: TrainableModel
    notes: Notes
    training: Sequence[Example]
    held_out: Sequence[Example]
    tokens: int
    """Tokens of an epoch whose loss counts."""
    steps: int
    best_step: int
    prompts: Sequence[Prompt]
    before: Answers
    after: Answers


def report_of(learned: TrainResult, evaluating: Evaluator) -> Report:
    name, method = learned.request.name, learned.request.settings.method
    window = window_of(learned, evaluating)
    return compare(
        learned.before,
        learned.after,
        name=name,
        base=learned.trainee.base.name,
        method=method,
        steps=learned.steps,
        best_step=learned.best_step,
        inspect=card.inspect_command(name, method, window) if window else "",
        prompts=learned.prompts,
        quote=lambda number, place: evaluating.quote(learned.held_out[number], place),
    )


def window_of(learned: TrainResult, evaluating: Evaluator) -> int:
    """Return the smallest window in which held-out documents were scored; 0 without
    any."""
    engine = learned.trainee.engine()
    windows = (evaluating.window(engine, each) for each in learned.held_out)
    return min(windows, default=0)


def save_adapter(
    run: RunFolder, learned: TrainResult, judged: Report, *, window: int
) -> None:
    """Write the adapter, move it to its place, and remove the run folder.

    Raises:
        LmtuiError: the adapter can't be written, or its name is taken. The run folder
            stays as it was, and the training can be finished later.
    """
    folder = run.adapter_folder
    shutil.rmtree(folder, ignore_errors=True)
    try:
        cache_dir.require_space(run.path, _bytes(learned.trainee))
        paths.make_folder(folder)
        _write(folder, run, learned, judged, window)
        _settle(folder, learned.request)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if cache_dir.is_disk_full(error):
            raise cache_dir.disk_full(
                folder, free=cache_dir.free_bytes(run.path)
            ) from error
        raise paths.unwritable(folder) from error
    run.remove()


def _write(
    folder: Path, run: RunFolder, learned: TrainResult, judged: Report, window: int
) -> None:
    trainee = learned.trainee
    with quiet(), offline():
        if learned.request.settings.method == "lora":
            _write_adapter(trainee, folder)
        else:
            trainee.model.save_pretrained(folder)
        trainee.loaded.tokenizer.save_pretrained(folder)
    (folder / "report.md").write_text(report.to_markdown(judged), encoding="utf-8")
    (folder / "report.json").write_text(report.to_json(judged), encoding="utf-8")
    told = (event for event in run.history() if isinstance(event, _TOLD))
    lines = "".join(events.to_json(event) + "\n" for event in told)
    (folder / "events.jsonl").write_text(lines, encoding="utf-8")
    card.write_card(folder, _card(learned, judged, window))
    paths.make_all_private(folder)
    for file in folder.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())


def _write_adapter(trainee: TrainableModel, folder: Path) -> None:
    for config in trainee.model.peft_config.values():
        config.base_model_name_or_path = trainee.base.spec
    trainee.model.save_pretrained(folder, save_embedding_layers=False)
    for file in folder.iterdir():
        # peft adds a model card, which is only a template.
        if file.name not in (lora_config.FILE, lora_config.WEIGHTS):
            file.unlink()


def _settle(folder: Path, request: TrainRequest) -> None:
    """Move the adapter to its place.

    An existing one of the same name is replaced only with `overwrite`. It is moved
    aside by a rename just before, and removed after the new one is in place.
    """
    place = paths.ensure_folder(paths.adapters_folder()) / request.name
    if os.path.lexists(place) and not request.overwrite:
        raise LmtuiError(
            "an adapter of this name already exists",
            request.name,
            f"Remove it (lmtui adapters remove {request.name}), then go on: "
            f"lmtui finetune --resume --name {request.name}",
        )
    with paths.scratch_folder(place.parent) as aside:
        if os.path.lexists(place):
            os.rename(place, aside / request.name)
        os.rename(folder, place)
    paths.sync_folder(place.parent)


def _card(learned: TrainResult, judged: Report, window: int) -> card.Card:
    files = (
        card.DataFile(file.path, file.sha256, file.bytes)
        for file in learned.notes.files
    )
    return card.Card(
        name=learned.request.name,
        kind=learned.request.settings.method,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        base=learned.trainee.base,
        data=card.Data(
            files=tuple(files),
            documents=len(learned.training),
            held_out=len(learned.held_out),
            tokens=learned.tokens,
        ),
        settings=asdict(learned.request.settings),
        versions=requests.versions(),
        metrics=card.Metrics(
            before=_figures(judged.before),
            after=_figures(judged.after),
            neutral_before=_figures(judged.neutral_before),
            neutral_after=_figures(judged.neutral_after),
            best_step=learned.best_step,
            steps=learned.steps,
            window=window,
        ),
    )


def _figures(figures: LossTotals | None) -> dict[str, Any] | None:
    return None if figures is None else asdict(figures)


def _bytes(trainee: TrainableModel) -> int:
    """Return the bytes of disk that the adapter's folder needs, text files included."""
    weights = sum(w.numel() * w.element_size() for w in trainee.weights.values())
    return weights + 32 * 2**20
