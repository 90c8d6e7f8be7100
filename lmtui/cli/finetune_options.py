"""The options of `lmtui finetune`, with the sentences of the settings.

Each is declared once, as a type for the verb's signature. Which of them belong to which
kind of training is known here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lmtui.cli.options import option
from lmtui.errors import LmtuiError
from lmtui.settings import Settings, flag
from lmtui.train.settings import Method


def _training(name: str, metavar: str) -> Any:
    return option(f"finetune_{name}", metavar, "Training")


Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NOTES",
        help="Files, folders and patterns such as 'notes/**/*.md'.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the adapter; unset is the name of the notes' folder.",
        show_default=False,
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

Epochs = Annotated[float | None, _training("epochs", "N")]
Lr = Annotated[float | None, _training("lr", "X")]
Rank = Annotated[int | None, _training("rank", "N")]
Alpha = Annotated[int | None, _training("alpha", "N")]
Block = Annotated[int | None, _training("block", "N")]
Batch = Annotated[int | None, _training("batch", "N")]
Warmup = Annotated[float | None, _training("warmup", "SHARE")]
Clip = Annotated[float | None, _training("clip", "X")]
Evaluations = Annotated[int | None, _training("evaluations", "N")]
Patience = Annotated[int | None, _training("patience", "N")]
HeldOut = Annotated[float | None, _training("held_out", "SHARE")]
MaxFileMb = Annotated[float | None, _training("max_file_mb", "MB")]
FrontMatter = Annotated[str | None, _training("front_matter", "keep|drop")]
Dtype = Annotated[str | None, _training("dtype", "DTYPE")]
Seed = Annotated[int | None, _training("seed", "N")]
Strict = Annotated[
    bool | None,
    typer.Option(
        "--strict",
        help="Refuse files with broken rows; otherwise such rows are skipped.",
        show_default=False,
        rich_help_panel="Training",
    ),
]
Layers = Annotated[int | None, _training("layers", "N")]
Width = Annotated[int | None, _training("width", "N")]

_METHODS: Mapping[str, tuple[Method, str]] = {
    "finetune_rank": ("lora", "Leave it out when all weights are trained."),
    "finetune_alpha": ("lora", "Leave it out when all weights are trained."),
    "finetune_layers": ("scratch", "Add --from-scratch."),
    "finetune_width": ("scratch", "Add --from-scratch."),
}


def method_of(*, full: bool, from_scratch: bool) -> Method | None:
    """The method that the flags ask for; None where they leave it to the settings.

    Raises:
        LmtuiError: they ask for two.
    """
    if full and from_scratch:
        raise LmtuiError(
            "--full and --from-scratch exclude each other", "", "Give one."
        )
    if full:
        return "full"
    return "scratch" if from_scratch else None


def require_fitting(settings: Settings) -> None:
    """Refuse a flag that means nothing to the method.

    Raises:
        LmtuiError: there is one.
    """
    for name, (method, hint) in _METHODS.items():
        given = settings.origin(name).source == "flag"
        if given and settings.finetune_method != method:
            title = f"{flag(name)} has no effect on this kind of training"
            raise LmtuiError(title, settings.finetune_method, hint)
