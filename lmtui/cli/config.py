"""`lmtui config`: list all settings and keys with value, origin and meaning; take
presets of other programs over."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmtui import paths
from lmtui.cli import options
from lmtui.cli.errors import note
from lmtui.cli.output import Output, read_document, table
from lmtui.config.load import load
from lmtui.config.preset_import import imported
from lmtui.config.servers import ADDRESS, KEY
from lmtui.config.settings import (
    PRESETS,
    SERVERS,
    SYSTEM,
    Preset,
    Server,
    SettingItem,
    Settings,
    items,
)
from lmtui.config.settings_file import SettingsFile
from lmtui.errors import LmtuiError
from lmtui.models import catalogue
from lmtui.models.recommended import recommended_for
from lmtui.setting_field import value_text
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.tui.keys import Bound

Keys = Annotated[
    bool, typer.Option("--keys", help="Show the keys of the screens instead.")
]


PresetFile = Annotated[
    str | None,
    typer.Option(
        "--import-preset",
        metavar="FILE",
        help="Write a sampler preset of SillyTavern (JSON) into config.toml; - is "
        "stdin.",
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="The name of the imported preset; that of its file otherwise.",
    ),
]


def config(
    keys: Keys = False,
    import_preset: PresetFile = None,
    name: PresetName = None,
    json: options.Json = False,
) -> None:
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
    its key; the key itself is never in the file. dialect, tokenizer and exact_drawing
    may stand there, too. --model gpu then means this server, even if a model has that
    name.

    --import-preset takes a preset of SillyTavern's text completion over into a new
    preset, and lists every field that it can't take over.

    \b
    Examples:
      lmtui config
      lmtui config --keys
      lmtui config --import-preset Creative.json --name creative
      LMTUI_SEED=7 lmtui config --json
    """
    settings = load()
    output = Output()
    if name is not None and import_preset is None:
        hint = "Give the file with --import-preset FILE."
        raise LmtuiError("--name is for an imported preset", name, hint)
    if import_preset is not None:
        _import_preset(settings, import_preset, name, output, json=json)
    elif keys:
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


def _import_preset(
    settings: Settings, file: str, name: str | None, output: Output, *, json: bool
) -> None:
    """Write a preset of another program into the settings file, and say of each of its
    fields what became of it.

    Raises:
        LmtuiError: it can't be read or used, its name is taken, or the settings file
            can't be changed.
    """
    found = imported(read_document(file).text)
    preset = Preset(name or Path(file).stem.strip(), None, found.sampling)
    sheet = SettingsFile(settings)
    sheet.put_preset(sheet.read(), preset)
    if json:
        output.event(_preset_event(preset))
        for each in found.left_out:
            output.event({"event": "left_out", **asdict(each)})
        return
    place = visible_line(str(paths.config_file()))
    output.text(f"written into {place}:\n\n")
    output.text("".join(f"{line}\n" for line in _preset(preset)))
    if found.left_out:
        output.text("\nnot taken over as they stand:\n")
    for each in found.left_out:
        line = visible_line(f"{each.name} = {each.value}: {each.why}")
        output.text(f"    {line}\n")
    name, quoted = visible_line(preset.name), visible_line(shlex.quote(preset.name))
    output.text(f"\nUse it with: lmtui chat --preset {quoted}, or /preset {name}\n")


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
        output.event(_preset_event(preset))
    for server in settings.servers.values():
        output.event(
            {
                "event": "server",
                "name": server.name,
                "address": server.address,
                "key_variable": server.key_variable,
                "values": dict(server.values),
            }
        )
    for name, keys in settings.keys.items():
        output.event({"event": "own_key", "id": name, "keys": keys})


def _preset_event(preset: Preset) -> dict[str, Any]:
    return {
        "event": "preset",
        "name": preset.name,
        "system": preset.system,
        "sampling": dict(preset.sampling),
    }


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
    place = visible_line(str(file))
    output.text(f"settings file: {place}{state}\n")
    for item in items():
        output.text(f"\n{_headline(settings, item)}\n")
        meaning = textwrap.fill(item.declaration.meaning, 76)
        output.text(textwrap.indent(meaning, "    ") + "\n")
    for preset in settings.presets.values():
        output.text("\n" + "".join(f"{line}\n" for line in _preset(preset)))
    for server in settings.servers.values():
        output.text("\n" + "".join(f"{line}\n" for line in _server(server)))
    for name, keys in settings.keys.items():
        output.text(f"\n{visible_line(f'keys.{name} = {keys}')}    ({place})\n")


def _preset(preset: Preset) -> Iterator[str]:
    name = visible_line(preset.name)
    yield f"[{PRESETS}.{name}]"
    if preset.system is not None:
        text = visible_line(preset.system)
        yield textwrap.indent(textwrap.fill(f"{SYSTEM} = {text}", 76), "    ")
    for key, value in preset.sampling.items():
        yield f"    {key} = {visible_line(value_text(value))}"


def _server(server: Server) -> Iterator[str]:
    yield f"[{SERVERS}.{server.name}]"
    yield f"    {ADDRESS} = {visible_line(server.address)}"
    yield f"    {KEY} = {server.key_variable}"
    for name, value in server.values.items():
        yield f"    {name} = {visible_line(value_text(value))}"


def _headline(settings: Settings, item: SettingItem) -> str:
    value = settings.value(item.name)
    origin = settings.origin(item.name)
    shown = visible_line(value_text(value))
    line = f"{item.key} = {shown}    ({visible_line(origin.where)})"
    if not isinstance(value, tuple):
        return line
    return textwrap.fill(line, 79, subsequent_indent="    ", break_long_words=False)
