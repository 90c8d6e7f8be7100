"""`lmtui config`: every setting, its value, where it came from, what it means."""

from __future__ import annotations

import textwrap

from lmtui import config as settings_of
from lmtui import paths
from lmtui.cli import options
from lmtui.cli.output import Output
from lmtui.config import Settings
from lmtui.text import visible_line


def config(json: options.Json = False) -> None:
    """Show each setting, its value and where it came from.

    A flag wins over the environment (LMTUI_TEMPERATURE=0.5), that over the settings
    file (temperature = 0.5 under [sampling]), and that over the default.

    \b
    Examples:
      lmtui config
      LMTUI_SEED=7 lmtui config --json
    """
    settings = settings_of.load()
    output = Output()
    if json:
        _write_json(settings, output)
    else:
        _write_manual(settings, output)


def _write_json(settings: Settings, output: Output) -> None:
    file = paths.config_file()
    output.event({"event": "file", "path": str(file), "exists": file.exists()})
    for name in settings_of.names():
        origin = settings.origin(name)
        output.event(
            {
                "event": "setting",
                "key": settings_of.key(name),
                "value": getattr(settings, name),
                "source": origin.source,
                "place": origin.place,
                "flag": settings_of.flag(name),
                "variable": settings_of.variable(name),
                "meaning": settings_of.meaning(name),
            }
        )


def _write_manual(settings: Settings, output: Output) -> None:
    file = paths.config_file()
    state = "" if file.exists() else " (not there)"
    output.text(f"settings file: {visible_line(str(file))}{state}\n")
    for name in settings_of.names():
        output.text(f"\n{_headline(settings, name)}\n")
        meaning = textwrap.fill(settings_of.meaning(name), 76)
        output.text(textwrap.indent(meaning, "    ") + "\n")


def _headline(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    shown = "unset" if value is None else visible_line(str(value))
    origin = settings.origin(name)
    return f"{settings_of.key(name)} = {shown}    ({visible_line(origin.place)})"
