"""A preset on the command line: what a conversation begins with, by its name.

Owns the option, and which of flag, preset and file wins. What may stand in a preset is
`config_presets`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from lmtui.cli import completion
from lmtui.config_presets import preset_named
from lmtui.settings import Origin, Settings

PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Begin with a preset of config.toml: its system prompt and its sampling. "
        "Other flags override it; it overrides all other settings.",
        show_default=False,
        autocompletion=completion.presets,
    ),
]


def under(settings: Settings, name: str | None) -> tuple[Settings, str]:
    """The settings under a preset, and its system prompt, which may be empty.

    Raises:
        LmtuiError: there is no preset of that name.
    """
    if name is None:
        return settings, ""
    preset = preset_named(settings.presets, name)
    values = {
        key: value
        for key, value in preset.sampling.items()
        if settings.origin(key).source != "flag"
    }
    origin = Origin("flag", f"--preset {name}")
    origins = {**settings.origins, **dict.fromkeys(values, origin)}
    return replace(settings, **values, origins=origins), preset.system or ""
