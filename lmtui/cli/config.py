"""`lmtui config`: list all settings and keys with value, origin and meaning; take
presets of other programs over."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import paths
from lmtui.cli import options
from lmtui.cli.errors import note
from lmtui.cli.output import Output, table
from lmtui.config.servers import ADDRESS, KEY
from lmtui.config.settings import (
    PRESETS,
    SERVERS,
    SYSTEM,
    SettingItem,
    Settings,
    items,
)
from lmtui.models import catalogue
from lmtui.models.recommended import recommended_for
from lmtui.setting_field import SettingValue, value_text
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.tui.keys import Bound

Keys = Annotated[
    bool, typer.Option("--keys", help="Show the keys of the screens instead.")
]


def config(keys: Keys = False, json: options.Json = False) -> None:
    """Show each setting, its value and where it came from.

    A flag overrides the environment (LMTUI_TEMPERATURE=0.5), which overrides the
    settings file (temperature = 0.5 under [sampling]), which overrides the default. The
    default of the sampler is what the makers of the model recommend, where its card or
    its files say so.

    Keys are set only in the file, by the names that --keys shows: under [keys],
    "chat.regenerate" = "f12,ctrl+r" gives Regenerate these two keys instead of its own.
    A preset is a table, too: under [presets.pirate], system = "You are a pirate." and
    temperature = 1.2. F10 on any screen shows and changes all of this.

    A server that has models can have a name, in the file only: under [servers.gpu],
    address = "https://gpu.example:8000/v1" and key = "GPU_KEY", the variable that holds
    its key; the key itself is never in the file. dialect and tokenizer may stand
    there, too. --model gpu then means this server, even if a model has that name.

    \b
    Examples:
      lmtui config
      lmtui config --keys
      LMTUI_SEED=7 lmtui config --json
    """
    settings = options.loaded()
    output = Output()
    if keys:
        _show_keys(settings, output, json=json)
    elif json:
        _write_json(_with_model(settings), output)
    else:
        _write_manual(_with_model(settings), output)


def _with_model(settings: Settings) -> Settings:
    """Return the settings with the sampler of the model that would be loaded."""
    spec, _ = settings.server_of(settings.model_ref.model)
    name = visible_line(spec or catalogue.DEFAULT)
    return settings.with_recommended(recommended_for(spec), f"recommended for {name}")


def _write_json(settings: Settings, output: Output) -> None:
    file = paths.config_file()
    output.event({"event": "file", "path": str(file), "exists": file.exists()})
    for item in items():
        origin = settings.origin(item.name)
        output.event(
            {
                "event": "setting",
                "key": item.key,
                "value": settings.value(item.name),
                "source": origin.source,
                "place": origin.where,
                "flag": item.flag,
                "variable": item.variable,
                "meaning": item.declaration.meaning,
            }
        )
    for preset in settings.presets.values():
        output.event({"event": "preset", **asdict(preset)})
    for server in settings.servers.values():
        output.event({"event": "server", **asdict(server)})
    for name, keys in settings.keys.items():
        output.event({"event": "own_key", "id": name, "keys": keys})


def _show_keys(settings: Settings, output: Output, *, json: bool) -> None:
    from lmtui.tui import keys

    bound = keys.all_bound()
    user = keys.user_keys(settings.keys, bound=bound)
    for notice in user.notices:
        note(f"note: [keys] {notice}\n")
    if json:
        for item in bound:
            output.event(
                {
                    "event": "key",
                    "id": item.id,
                    "keys": user.keymap.get(item.id, ",".join(item.keys)).split(","),
                    "default": list(item.keys),
                    "source": "file" if item.id in user.keymap else "default",
                    "name": item.name,
                    "meaning": item.what,
                }
            )
        return
    rows = [_key_row(item, user.keymap.get(item.id)) for item in bound]
    headings = ("ID", "KEYS", "WHAT IT DOES")
    output.text(table(headings, rows, terminal=output.is_terminal))


def _key_row(item: Bound, users: str | None) -> tuple[str, str, str]:
    shown = users or ",".join(item.keys)
    mark = " (yours)" if users else ""
    return item.id, shown.replace(",", ", ") + mark, item.what.rstrip(".")


def _write_manual(settings: Settings, output: Output) -> None:
    file = paths.config_file()
    state = "" if file.exists() else " (not there)"
    path = visible_line(str(file))
    output.text(f"settings file: {path}{state}\n")
    for item in items():
        output.text(f"\n{_headline(settings, item)}\n")
        output.text(_indented(item.declaration.meaning))
    for name, values in _tables(settings):
        output.text(f"\n[{visible_line(name)}]\n")
        for key, value in values.items():
            if value is not None:
                output.text(_indented(f"{key} = {value_text(value)}"))
    for name, keys in settings.keys.items():
        output.text(f"\n{visible_line(f'keys.{name} = {keys}')}    ({path})\n")


def _tables(settings: Settings) -> Iterator[tuple[str, Mapping[str, SettingValue]]]:
    """Yield the tables that the user names, with their values."""
    for preset in settings.presets.values():
        yield f"{PRESETS}.{preset.name}", {SYSTEM: preset.system, **preset.sampling}
    for server in settings.servers.values():
        own = {ADDRESS: server.address, KEY: server.key_variable}
        yield f"{SERVERS}.{server.name}", {**own, **server.values}


def _indented(text: str) -> str:
    return textwrap.indent(textwrap.fill(visible_line(text), 76), "    ") + "\n"


def _headline(settings: Settings, item: SettingItem) -> str:
    value = settings.value(item.name)
    origin = settings.origin(item.name)
    shown = visible_line(value_text(value))
    line = f"{item.key} = {shown}    ({visible_line(origin.where)})"
    if not isinstance(value, tuple):
        return line
    return textwrap.fill(line, 79, subsequent_indent="    ", break_long_words=False)
