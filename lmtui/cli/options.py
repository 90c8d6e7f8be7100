"""Options that several commands share, and the settings that they make.

Each option is declared once, as a type for a command's signature; its help text is the
setting's meaning in `lmtui.config`. Ranges are checked where the settings are built,
alike for flags, environment variables and the settings file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from lmtui import paths
from lmtui.cli import completion
from lmtui.config import load
from lmtui.config.settings import Settings, SettingValue, choices, flag, meaning, names


def option(
    name: str,
    metavar: str,
    panel: str,
    names: Callable[[str], object] | None = None,
) -> Any:
    """Return the option for a setting, in the help's panel `panel`.

    `names` completes a word; the default offers the setting's choices.
    """
    return typer.Option(
        flag(name) or "",
        metavar=metavar,
        help=meaning(name),
        show_default=False,
        rich_help_panel=panel,
        autocompletion=names or completion.values(choices(name)),
    )


def _model(
    name: str, metavar: str, names: Callable[[str], object] | None = None
) -> Any:
    return option(name, metavar, "Model", names)


def _drawing(name: str, metavar: str) -> Any:
    return option(name, metavar, "Sampling")


Model = Annotated[str | None, _model("model", "MODEL", completion.models)]
Adapter = Annotated[str | None, _model("adapter", "NAME", completion.adapters)]
Device = Annotated[str | None, _model("device", "DEVICE")]
Dtype = Annotated[str | None, _model("dtype", "DTYPE")]
Quantize = Annotated[str | None, _model("quantize", "BITS")]
Threads = Annotated[int | None, _model("threads", "N")]
Context = Annotated[int | None, _model("context", "N")]

Theme = Annotated[str | None, option("theme", "NAME", "Screen", completion.themes)]

Temperature = Annotated[float | None, _drawing("temperature", "T")]
TopK = Annotated[int | None, _drawing("top_k", "K")]
TopP = Annotated[float | None, _drawing("top_p", "P")]
MinP = Annotated[float | None, _drawing("min_p", "P")]
RepetitionPenalty = Annotated[float | None, _drawing("repetition_penalty", "X")]
Seed = Annotated[int | None, _drawing("seed", "N")]
MaxTokens = Annotated[int | None, _drawing("max_tokens", "N")]

Json = Annotated[
    bool, typer.Option("--json", help="Write one JSON object a line, for programs.")
]
NoColor = Annotated[
    bool,
    typer.Option("--no-color", help="Use no colours, as with NO_COLOR."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def group(help: str, *examples: str) -> typer.Typer:
    """Return a group of commands, with its help text."""
    shown = "".join(f"\n  {example}" for example in examples)
    return typer.Typer(
        help=f"{help}\n\n\b\nExamples:{shown}",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def settings(context: typer.Context, **more: SettingValue) -> Settings:
    """Return the settings from flags, environment variables and the settings file.

    `more` are settings that several flags make.

    Raises:
        LmtuiError: one of them can't be used, or `--theme` names no theme.
    """
    given = {**context.params, **more}
    found = load.load({name: given.get(name) for name in names()})
    if found.origin("theme").source == "flag":
        _require_theme(found.theme)
    return found


def _require_theme(name: str) -> None:
    """Check that the theme exists, also where no screen opens.

    Raises:
        LmtuiError: there is no such theme.
    """
    from lmtui.tui.themes import load_themes

    found = load_themes(paths.themes_folder())
    if found.get(name) is None:
        raise found.unknown(name)
