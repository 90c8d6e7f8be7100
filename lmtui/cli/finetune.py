"""`lmtui finetune`: teach the model your notes.

Owns what the command line asks for, and what is asked back before anything is done.
What happens then is `training`'s.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer

from lmtui.cli import finetune_options as training
from lmtui.cli import options
from lmtui.cli.edge import note
from lmtui.cli.screen import is_interactive
from lmtui.cli.sharing import tell_of_others
from lmtui.errors import LmtuiError
from lmtui.settings import Settings
from lmtui.text import visible_line
from lmtui.train import run_folder, sources
from lmtui.train.client import (
    NameTaken,
    Unfinished,
    nothing_to_resume,
    prepare,
    resume_command,
)
from lmtui.train.request import (
    Request,
    absolute_place,
    default_name,
    require_safe_name,
)
from lmtui.train.run_folder import RunFolder

Json = Annotated[
    bool,
    typer.Option("--json", help="Like --headless, one JSON object a line on stdout."),
]


def finetune(  # size: a line for each of its flags
    ctx: typer.Context,
    *,
    notes: training.Places = None,
    name: training.Name = None,
    headless: training.Headless = False,
    json: Json = False,
    dry_run: training.DryRun = False,
    resume: training.Resume = False,
    force: training.Force = False,
    overwrite: training.Overwrite = False,
    full: training.Full = False,
    from_scratch: training.FromScratch = False,
    finetune_layers: training.Layers = None,
    finetune_width: training.Width = None,
    finetune_epochs: training.Epochs = None,
    finetune_lr: training.Lr = None,
    finetune_rank: training.Rank = None,
    finetune_alpha: training.Alpha = None,
    finetune_block: training.Block = None,
    finetune_batch: training.Batch = None,
    finetune_warmup: training.Warmup = None,
    finetune_clip: training.Clip = None,
    finetune_evaluations: training.Evaluations = None,
    finetune_patience: training.Patience = None,
    finetune_held_out: training.HeldOut = None,
    finetune_max_file_mb: training.MaxFileMb = None,
    finetune_front_matter: training.FrontMatter = None,
    finetune_strict: training.Strict = None,
    finetune_dtype: training.Dtype = None,
    finetune_seed: training.Seed = None,
    model: options.Model = None,
    device: options.Device = None,
    threads: options.Threads = None,
    theme: options.Theme = None,
    no_color: options.NoColor = False,
) -> None:
    """Fine-tune the model on your notes, and measure what changed.

    A text file is a document; in a .jsonl file each row is one: `messages`, or `prompt`
    and `completion`, or `text`. Part of the documents is held out: the model is never
    trained on it, but evaluated on it, before and after. The result is an adapter, a
    small folder that changes the model; everything stays on this machine.

    On a terminal this opens a screen, which shows the plan and waits for Enter (F1
    there shows the keys). With --headless, or without a terminal, the training starts
    at once and every event is written: as JSON to stdout unless that is a terminal, as
    plain lines to stderr if that is one. Ctrl-C finishes the step, saves, and prints
    how to resume; a second Ctrl-C exits at once, and earlier checkpoints stay.

    \b
    Examples:
      lmtui finetune notes/
      lmtui finetune notes/ --dry-run
      lmtui finetune diary.md "letters/*.txt" --name me --epochs 2 --headless
      lmtui finetune chats.jsonl --full --headless --json > events.jsonl
      lmtui finetune --resume
    """
    method = training.method_of(full=full, from_scratch=from_scratch)
    from lmtui.cli.training import show_plan, train, train_on_screen

    settings = options.settings(ctx, finetune_method=method)
    training.require_fitting(settings)
    asked = read_request(notes or [], settings, name=name, resume=resume, force=force)
    if dry_run and resume:
        hint = "Leave --dry-run out: on a terminal, --resume shows the plan first."
        raise LmtuiError("--dry-run and --resume exclude each other", "", hint)
    if dry_run:
        raise typer.Exit(show_plan(asked, as_json=json or headless))
    on_screen = is_interactive() and not (headless or json)
    if on_screen and not (resume or overwrite):
        resume, overwrite = ask_if_taken(asked)
    if resume:
        require_same(asked, settings)
    request = prepare(asked, overwrite=overwrite, resume=resume)
    if on_screen:
        code = train_on_screen(
            request, settings, resume=resume, no_color=no_color, open_engine=ctx.obj
        )
        raise typer.Exit(code)
    tell_of_others()
    raise typer.Exit(train(request, resume=resume, as_json=json))


def read_request(
    places: list[str],
    settings: Settings,
    *,
    name: str | None,
    resume: bool,
    force: bool,
) -> Request:
    """What the command line asks for.

    Raises:
        LmtuiError: it asks for nothing, or for what is not there; its name can't be
            one; or it is not clear what is to be resumed.
    """
    if not (places or resume):
        raise LmtuiError(
            "no notes were given", "", "Name files or folders: lmtui finetune NOTES."
        )
    if not name:
        name = default_name(places) if places else _only_unfinished()
    require_safe_name(name)
    if not resume:
        sources.find(places)  # for what it refuses; the worker reads them
    return Request(
        name=name,
        places=tuple(map(absolute_place, places)),
        base=None if resume else _base(settings.model),
        settings=settings.training,
        device=settings.device,
        threads=settings.threads,
        force=force,
    )


def _only_unfinished() -> str:
    """The name of the one training that can be resumed."""
    names = [run.name for run in run_folder.unfinished()]
    if not names:
        raise nothing_to_resume()
    if len(names) > 1:
        several = ", ".join(names)
        hint = f"Resume one of them, for example: {resume_command(names[0])}"
        raise LmtuiError("more than one training can be resumed", several, hint)
    return names[0]


def require_same(asked: Request, settings: Settings) -> None:
    """Refuse to go on with something else than what was begun.

    Raises:
        LmtuiError: the notes or a flag say otherwise.
    """
    run = RunFolder.named(asked.name)
    if run.last_checkpoint is None:
        return  # said when it is prepared
    begun = run.read_request()
    if asked.places and asked.places != begun.places:
        hint = "Leave the notes out, or start again with --overwrite."
        raise LmtuiError(
            "this training was started with other notes", " ".join(begun.places), hint
        )
    for each, value in asdict(begun.settings).items():
        setting = f"finetune_{each}"
        given = settings.origin(setting).source == "flag"
        if given and getattr(settings, setting) != value:
            raise LmtuiError(
                "a resumed training keeps its settings",
                f"{each} is {value}",
                "Leave the flag out, or start again with --overwrite.",
            )


def ask_if_taken(asked: Request) -> tuple[bool, bool]:
    """Whether to resume, and whether to overwrite, where the name is taken."""
    try:
        prepare(asked, overwrite=False, resume=False)
    except Unfinished as taken:
        note(f"{taken.title}: {visible_line(taken.detail)}\n")
        if typer.confirm("Resume it?", default=True, err=True):
            return True, False
        typer.confirm(
            "Start again, and lose what it has learned?", abort=True, err=True
        )
        return False, True
    except NameTaken as taken:
        note(f"{taken.title}: {visible_line(taken.detail)}\n")
        typer.confirm("Replace it when the training is done?", abort=True, err=True)
        return False, True
    return False, False


def _base(model: str | None) -> str | None:
    """What `--model` names, whatever folder one is in later.

    Raises:
        LmtuiError: it names nothing that could be a model.
    """
    from lmtui.models.source import DefaultModel, FolderModel, GgufModel, resolve

    match resolve(model):
        case DefaultModel():
            return None
        case FolderModel(path=path) | GgufModel(path=path):
            return os.path.abspath(path)
        case found:
            return found.name
