"""The result of a training: the adapter's folder, with card, report and events.

The folder is built inside the run folder and moved to its place by one rename; the run
folder is removed after that. Knows no steps.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from safetensors import SafetensorError

from lmtui import cache_dir, paths, records
from lmtui.errors import LmtuiError
from lmtui.models.adapters import card, lora_config
from lmtui.models.errors import offline, quiet
from lmtui.train import events
from lmtui.train.dataset import Dataset
from lmtui.train.model import TrainableModel
from lmtui.train.report import Report, to_markdown
from lmtui.train.request import TrainRequest, versions
from lmtui.train.run_folder import RunFolder

_TEXTS = 32 * 2**20  # bytes of an adapter's files besides the weights, at most
_LASTING = (
    events.Plan | events.Skip | events.Start | events.Step | events.Eval
    | events.Sample | events.Saved
)  # fmt: skip
"""Events kept with the adapter; the others describe a moment and may hold paths."""

_FIGURES = ("before", "after", "neutral_before", "neutral_after")
"""The fields of a report that are in the card as well."""


def save_adapter(
    run: RunFolder,
    request: TrainRequest,
    model: TrainableModel,
    report: Report,
    adapter_card: card.Card,
) -> None:
    """Write the adapter, move it to its place, and remove the run folder.

    Raises:
        LmtuiError: the adapter can't be written, or its name is taken. The run folder
            stays as it was, and the training can be finished later.
    """
    folder = run.adapter_folder
    shutil.rmtree(folder, ignore_errors=True)
    weights = sum(w.numel() * w.element_size() for w in model.weights.values())
    try:
        cache_dir.require_space(run.path, weights + _TEXTS)
        paths.make_folder(folder)
        with quiet(), offline():
            if request.settings.method == "lora":
                _write_lora(model, folder)
            else:
                model.module.save_pretrained(folder)
            model.loaded.tokenizer.save_pretrained(folder)
        (folder / "report.md").write_text(to_markdown(report), encoding="utf-8")
        records.write(folder / "report.json", report)
        lasting = (event for event in run.history() if isinstance(event, _LASTING))
        lines = "".join(events.to_json(event) + "\n" for event in lasting)
        (folder / "events.jsonl").write_text(lines, encoding="utf-8")
        records.write(folder / card.FILE, adapter_card)
        paths.seal(folder)
        _move_into_place(folder, request)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise cache_dir.unwritten(folder, error) from error
    run.remove()


def _write_lora(model: TrainableModel, folder: Path) -> None:
    for config in model.module.peft_config.values():
        config.base_model_name_or_path = model.base.spec
    model.module.save_pretrained(folder, save_embedding_layers=False)
    for file in folder.iterdir():
        # peft adds a model card, which is only a template.
        if file.name not in (lora_config.FILE, lora_config.WEIGHTS):
            file.unlink()


def _move_into_place(folder: Path, request: TrainRequest) -> None:
    """Move the adapter to its place.

    An existing one of the same name is replaced only with `overwrite`. It is moved
    aside by a rename just before, and removed after the new one is in place.
    """
    target = paths.ensure_folder(paths.adapters_folder()) / request.name
    if os.path.lexists(target) and not request.overwrite:
        raise LmtuiError(
            "an adapter of this name already exists",
            request.name,
            f"Remove it (lmtui adapters remove {request.name}), then go on: "
            f"lmtui finetune --resume --name {request.name}",
        )
    with paths.scratch_folder(target.parent) as aside:
        if os.path.lexists(target):
            os.rename(target, aside / request.name)
        os.rename(folder, target)
    paths.sync_folder(target.parent)


def card_of(
    request: TrainRequest,
    model: TrainableModel,
    data: Dataset,
    report: Report,
    *,
    tokens: int,
    window: int,
) -> card.Card:
    """Return the card of an adapter: what it was made of, and what it came to.

    `tokens` are those of an epoch whose loss counts; `window` is the smallest in which
    held-out documents were scored.
    """
    files = (
        card.DataFile(file.path, file.sha256, file.bytes) for file in data.notes.files
    )
    figures = records.plain(report)
    return card.Card(
        name=request.name,
        kind=request.settings.method,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        base=model.base,
        data=card.Data(
            files=tuple(files),
            documents=len(data.training),
            held_out=len(data.held_out),
            tokens=tokens,
        ),
        settings=asdict(request.settings),
        versions=versions(),
        metrics=card.Metrics(
            **{name: figures[name] for name in _FIGURES},
            best_step=report.best_step,
            steps=report.steps,
            window=window,
        ),
    )
