"""`lmtui finetune`: the command's flags, their checks, and its questions.

The training itself is started in `lmtui.cli.finetune.run`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import paths
from lmtui.cli import options
from lmtui.cli.engine import resolved
from lmtui.cli.errors import note
from lmtui.cli.screen import is_interactive
from lmtui.config.settings import Settings, item, names
from lmtui.errors import LmtuiError
from lmtui.setting_field import SettingValue
from lmtui.text import visible_line
from lmtui.train.notes import find
from lmtui.train.request import (
    TrainRequest,
    default_name,
    require_safe_name,
)
from lmtui.train.resolve import Decision, only_unfinished, resolve
from lmtui.train.settings import Method

if TYPE_CHECKING:
    from lmtui.tui.finetune.run import Finetuning

_METHODS: Mapping[str, tuple[Method, str]] = {
    "finetune_rank": ("lora", "Leave it out when all weights are trained."),
    "finetune_alpha": ("lora", "Leave it out when all weights are trained."),
    "finetune_layers": ("scratch", "Add --from-scratch."),
    "finetune_width": ("scratch", "Add --from-scratch."),
}


Notes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NOTES",
        help="Files, folders and patterns such as 'notes/**/*.md'.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the adapter; unset is the name of the notes' folder.",
    ),
]
Headless = Annotated[
    bool,
    typer.Option("--headless", help="Open no screen, and start without asking."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume an unfinished training.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and exit.")]
Full = Annotated[
    bool, typer.Option("--full", help="Train all weights instead of an adapter.")
]
FromScratch = Annotated[
    bool,
    typer.Option(
        "--from-scratch",
        help="Train all weights from random ones: only the tokenizer is the model's.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an adapter or an unfinished training of the same name.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Resume although the notes have changed.")
]

_TRAINING = tuple(
    name for name in names("finetune") if item(name).flag and name != "finetune_method"
)


def method_of(*, full: bool, from_scratch: bool) -> Method | None:
    """Return the training method of the flags; None leaves it to the settings."""
    if full and from_scratch:
        raise LmtuiError(
            "--full and --from-scratch exclude each other", "", "Give one."
        )
    if full:
        return "full"
    return "scratch" if from_scratch else None


def require_fitting(settings: Settings) -> None:
    """Check that each flag given applies to the training method."""
    for name, (method, hint) in _METHODS.items():
        given = settings.origin(name).source == "flag"
        if given and settings.training.method != method:
            title = f"{item(name).flag} has no effect on this kind of training"
            raise LmtuiError(title, settings.training.method, hint)


Json = Annotated[
    bool,
    typer.Option("--json", help="Like --headless, one JSON object a line on stdout."),
]


Plain = Annotated[
    bool,
    typer.Option(
        "--plain", help="Like --headless, readable lines on stdout, for logs."
    ),
]


@options.with_settings(*_TRAINING, "model", "device", "threads", "theme")
def finetune(
    ctx: typer.Context,
    *,
    notes: Notes = None,
    name: Name = None,
    headless: Headless = False,
    plain: Plain = False,
    json: Json = False,
    dry_run: DryRun = False,
    resume: Resume = False,
    force: Force = False,
    overwrite: Overwrite = False,
    full: Full = False,
    from_scratch: FromScratch = False,
    no_color: options.NoColor = False,
) -> None:
    """Fine-tune the model on your notes, and measure what changed.

    A text file is a document; in a .jsonl file each row is one: `messages`, `prompt`
    and `completion`, `text`, or the fields of ShareGPT or Alpaca. Part of the documents
    is held out: the model is never trained on it, but evaluated on it, before and
    after. The result is an adapter, a small folder that changes the model.

    On a terminal this opens a screen, which shows the plan and waits for Enter (F1
    there shows the keys). With --headless, or without a terminal, the training starts
    at once and every event is written: as JSON to stdout unless that is a terminal, as
    lines to stderr if that is one. --plain writes lines to stdout alone. Ctrl-C
    finishes the step, saves, and prints how to resume; a second Ctrl-C exits at once,
    and earlier checkpoints stay.

    \b
    Examples:
      lmtui finetune notes/
      lmtui finetune notes/ --dry-run
      lmtui finetune diary.md "letters/*.txt" --name me --epochs 2 --headless
      lmtui finetune chats.jsonl --full --headless --json > events.jsonl
      nohup lmtui finetune notes/ --plain > training.log &
      lmtui finetune --resume
    """
    method = method_of(full=full, from_scratch=from_scratch)
    _require_one_way(plain=plain, json=json, dry_run=dry_run, resume=resume)
    from lmtui.cli.finetune.run import show_plan, train, train_on_screen

    settings = options.settings(ctx, finetune_method=method)
    require_fitting(settings)
    request = read_request(notes or [], settings, name=name, resume=resume, force=force)
    if dry_run:
        raise typer.Exit(show_plan(request, as_json=(json or headless) and not plain))
    on_screen = is_interactive() and not (headless or json or plain)
    given = given_settings(settings)
    decision = resolve(request, resume=resume, overwrite=overwrite, given=given)
    if decision.conflict and on_screen and not resume:
        resume = confirmed_resumption(decision, decision.conflict)
        decision = resolve(request, resume=resume, overwrite=not resume, given=given)
    if decision.conflict:
        raise decision.conflict
    if not on_screen:
        raise typer.Exit(train(decision, as_json=json, plain=plain))
    train_on_screen(decision, settings, no_color=no_color, open_engine=ctx.obj)


def _require_one_way(*, plain: bool, json: bool, dry_run: bool, resume: bool) -> None:
    if plain and json:
        raise LmtuiError("--plain and --json exclude each other", "", "Give one.")
    if dry_run and resume:
        hint = "Leave --dry-run out: on a terminal, --resume shows the plan first."
        raise LmtuiError("--dry-run and --resume exclude each other", "", hint)


def read_request(
    places: list[str],
    settings: Settings,
    *,
    name: str | None,
    resume: bool,
    force: bool,
) -> TrainRequest:
    """Return the training request of the command line."""
    if not (places or resume):
        raise LmtuiError(
            "no notes were given", "", "Name files or folders: lmtui finetune NOTES."
        )
    if not name:
        name = default_name(places) if places else only_unfinished()
    require_safe_name(name)
    if not resume:
        find(places)  # raises for missing notes; the worker reads them
    return TrainRequest(
        name=name,
        places=tuple(str(paths.expanded(place)) for place in places),
        base=None if resume else _base(resolved(settings, settings.model)[0]),
        settings=settings.training,
        device=settings.device,
        threads=settings.threads,
        force=force,
    )


def begin_on(notes: Path, settings: Settings) -> Finetuning:
    """Begin a training on notes that are named on the start screen.

    Raises:
        LmtuiError: the notes can't be read, or an adapter or a training has its name.
    """
    from lmtui.cli.finetune.run import begin

    request = read_request([str(notes)], settings, name=None, resume=False, force=False)
    decision = resolve(request, given=given_settings(settings))
    if decision.conflict:
        raise decision.conflict
    return begin(decision)


def given_settings(settings: Settings) -> dict[str, SettingValue]:
    """Return the training settings that flags have set, by their names in
    `TrainSettings`."""
    return {
        item(name).field.name: settings.value(name)
        for name in names("finetune")
        if settings.origin(name).source == "flag"
    }


def confirmed_resumption(decision: Decision, conflict: LmtuiError) -> bool:
    """Ask the user about a name that is taken: return whether to resume the training of
    that name; otherwise what has it may be replaced.

    Raises:
        typer.Abort: the user keeps what is there.
    """
    note(f"{conflict.title}: {visible_line(conflict.detail)}\n")
    replacing = "Replace it when the training is done?"
    if decision.can_resume:
        if typer.confirm("Resume it?", default=True, err=True):
            return True
        replacing = "Start again, and lose what it has learned?"
    typer.confirm(replacing, abort=True, err=True)
    return False


def _base(model: str | None) -> str | None:
    from lmtui.models.source import DefaultModel, FolderModel, GgufModel
    from lmtui.models.source import resolve as model_source

    match model_source(model):
        case DefaultModel():
            return None
        case FolderModel(path=path) | GgufModel(path=path):
            return os.path.abspath(path)  # it may be resumed from another folder
        case named:
            return named.name
