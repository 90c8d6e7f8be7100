"""Options that several commands share, and the settings that flags make.

The flags of settings are made from the settings' declarations. Ranges are checked where
the settings are built, alike for flags, environment variables and the settings file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer

from lmtui import paths
from lmtui.cli import completion
from lmtui.cli.errors import note
from lmtui.config import load
from lmtui.config.settings import SAMPLING as SAMPLING_SECTION
from lmtui.config.settings import Settings, item, names
from lmtui.setting_field import Kind, SettingValue
from lmtui.text import visible_line

Command = TypeVar("Command", bound=Callable[..., object])

SERVER = ("remote_dialect", "remote_tokenizer")
"""The settings of a server that has the model."""
MODEL = (
    *("model", "adapter", "device", "dtype", "quantize", "threads", "context"),
    *SERVER,
)
"""The settings of the model and how it is computed."""
SAMPLING = tuple(name for name in names(SAMPLING_SECTION) if name != "grammar")
"""The settings of the sampler. The grammar has flags of its own: see `cli.grammar`."""

_COMPLETIONS = {
    "model": completion.models,
    "adapter": completion.adapters,
    "theme": completion.themes,
}


def with_settings(*wanted: str) -> Callable[[Command], Command]:
    """Give a command the flags of these settings, after its own options.

    The command itself does not get their values: `settings` reads them from its
    context.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(**given: Any) -> object:
            own = {name: v for name, v in given.items() if name not in wanted}
            return command(**own)

        signature = inspect.signature(command, eval_str=True)
        more = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[_typed(name) | None, _option(name)],
            )
            for name in wanted
        ]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*signature.parameters.values(), *more]
        )
        return run  # type: ignore[return-value]

    return decorate


def _typed(name: str) -> Kind:
    """Return the type of a flag's value; a list is parsed where settings are loaded."""
    kind = item(name).kind
    return str if kind is tuple else kind


def _option(name: str) -> Any:
    setting = item(name)
    declared = setting.declaration
    choices = completion.values(declared.choices)
    return typer.Option(
        setting.flag or "",
        metavar=declared.metavar or None,
        help=declared.meaning,
        autocompletion=_COMPLETIONS.get(name, choices),
    )


Json = Annotated[
    bool, typer.Option("--json", help="Write one JSON object a line, for programs.")
]
NoColor = Annotated[
    bool,
    typer.Option("--no-color", help="Use no colours, as with NO_COLOR."),
]
Top = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Alternatives shown with each JSON token."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def group(help: str, *examples: str) -> typer.Typer:
    shown = "".join(f"\n  {example}" for example in examples)
    return typer.Typer(
        help=f"{help}\n\n\b\nExamples:{shown}",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def loaded(flags: Mapping[str, SettingValue] | None = None) -> Settings:
    """Load the settings; what is unknown in the file or the environment is warned of.

    Raises:
        LmtuiError: a value can't be used, or the file is broken.
    """
    settings_in_force = load.load(flags)
    for warning in settings_in_force.warnings:
        note(f"warning: {visible_line(warning)}\n")
    return settings_in_force


def settings(context: typer.Context, **more: SettingValue) -> Settings:
    """Return the settings from flags, environment variables and the settings file.

    `more` are settings that several flags make.
    """
    given = {**context.params, **more}
    settings_in_force = loaded({name: given.get(name) for name in names()})
    if settings_in_force.origin("theme").source == "flag":
        from lmtui.tui.themes import load_themes

        # Also where no screen opens.
        themes, name = load_themes(paths.themes_folder()), settings_in_force.theme
        if themes.get(name) is None:
            raise themes.unknown(name)
    return settings_in_force
