"""`lmtui models`: list, show, fetch and remove models.

Formats the output; the work is done in `lmtui.models`. Never imports torch, which takes
seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import cache_dir, paths
from lmtui.cli import completion, options
from lmtui.cli.output import JsonEvent, Output, confirm_removal, table
from lmtui.models import catalogue, inventory, list_rows, source
from lmtui.notation import percent
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.engine.text.text_facts import TextFact
    from lmtui.models.describe import ModelFact
    from lmtui.models.download.hub import StoredModel

app = options.group(
    "List, show, fetch and remove models.",
    "lmtui models list",
    "lmtui models fetch qwen3.5-2b",
    "lmtui chat --model qwen3.5-2b",
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="`default`, a catalogue name, a Hub id (owner/name, or owner/name:Q4_K_M "
        "for one GGUF file), a folder or a .gguf file.",
        autocompletion=completion.models,
    ),
]


@app.command("list")
def show_list(json: options.Json = False) -> None:
    """List the models of the catalogue, on this machine and on servers.

    The servers are those of config.toml. A .gguf file or a model's folder that you put
    into the folder of models (see `lmtui doctor`) is listed, and known by its name.

    The column FITS says whether the model fits beside other programs: 1.05 times its
    download into the memory less 4 GiB. Of those that fit, the best are marked.

    \b
    Examples:
      lmtui models list
      lmtui models list --json
    """
    from lmtui.models import hardware, memory

    output, items = Output(), list(inventory.inventory())
    servers = options.loaded().servers.values()
    room = memory.room(hardware.total_ram())
    if json:
        for event in _list_events(items, room):
            output.event(event)
        for server in servers:
            fact = {"name": server.name, "address": server.address}
            output.event(
                {"event": "server", **fact, "key_variable": server.key_variable}
            )
        return
    rows = [row.cells for row in list_rows.catalogue_rows(inventory.here(items), room)]
    terminal = output.is_terminal
    output.text(table(list_rows.HEADINGS, rows, right=(1, 2), terminal=terminal))
    output.text("\non this machine:\n")
    if items:
        rows = [(i.name, _what(i), cache_dir.size(i.bytes), str(i.path)) for i in items]
        kept = ("NAME", "WHAT", "SIZE", "WHERE")
        # Not wrapped: a path of two lines can't be copied.
        output.text(table(kept, rows, right=(2,), terminal=False))
    else:
        output.text(
            "no models yet; the default model is fetched at first use, and a .gguf\n"
            f"file or a model's folder can be put into {paths.models_folder()}\n"
        )
    if servers:
        output.text("\non servers:\n")
        named = [(each.name, each.address, each.key_variable) for each in servers]
        headings = ("NAME", "ADDRESS", "VARIABLE OF THE KEY")
        output.text(table(headings, named, terminal=terminal))


@app.command("show")
def show_one(name: Name = "default", json: options.Json = False) -> None:
    """Show what is known about a model, without loading it.

    \b
    Examples:
      lmtui models show
      lmtui models show qwen3.5-2b
      lmtui models show ./model.gguf --json
      lmtui models show unsloth/Qwen3.5-2B-GGUF:Q8_0
    """
    from lmtui.engine.text.text_facts import text_facts
    from lmtui.models import describe, hardware, memory

    wanted = source.resolve(name)
    facts: dict[str, ModelFact | TextFact] = {**describe.facts_of(wanted)}
    if path := describe.path_of(wanted):
        facts |= text_facts(path)
    weights, have = facts.get("parameters"), hardware.available_ram()
    if path and path.is_file():  # mapped, at its own size
        facts["fits"] = "yes" if memory.fits_mapped(path.stat().st_size, have) else "no"
    elif path and isinstance(weights, int):
        facts["fits"] = memory.fits(weights, have)
    elif entry := catalogue.find(name):
        room = memory.room(hardware.total_ram())
        facts["fits"] = "yes" if entry.fits(room) else "no"
    output = Output()
    if json:
        output.event({"event": "model", **facts})
        return
    shown = {k: value for k, value in facts.items() if value not in (None, {}, "")}
    rows = [[key.replace("_", " "), _say(key, shown[key])] for key in shown]
    output.text(table(("", ""), rows, terminal=output.is_terminal).lstrip("\n"))


@app.command("fetch")
def fetch(name: Name = "default") -> None:
    """Fetch a model, to use it without a network later.

    \b
    Examples:
      lmtui models fetch
      lmtui models fetch qwen3.5-2b
    """
    from lmtui.cli.progress import loading_progress
    from lmtui.models import load

    model_source = source.resolve(name)
    with loading_progress() as show:
        path = load.locate(model_source, show)
    Output().text(f"{path}\n")


@app.command("remove")
def remove(name: Name, yes: options.Yes = False) -> None:
    """Remove a fetched model, and the files that were made from it.

    Your own folders and files are never touched.

    \b
    Examples:
      lmtui models remove qwen3.5-2b
      lmtui models remove default --yes
    """
    items = inventory.items_of(source.resolve(name))
    if not yes:
        lines = (
            f"{visible_line(str(i.path))}  {cache_dir.size(i.bytes)}\n" for i in items
        )
        confirm_removal("".join(lines))
    for item in items:
        inventory.remove(item)
    freed = cache_dir.size(sum(item.bytes for item in items))
    Output().text(f"removed {name}, {freed} freed\n")


def _say(key: str, value: ModelFact | TextFact) -> str:
    if isinstance(value, list):
        return "; ".join(map(visible_line, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {percent(share)}" for name, share in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int):
        return visible_line(str(value))
    return cache_dir.size(value) if key in ("bytes", "download") else f"{value:,}"


def _what(item: StoredModel) -> str:
    words = {
        "default": "default model",
        "hub": "Hub",
        "packed": "prepared",
        "own": "yours",
    }
    return words[item.kind] if item.complete else f"{words[item.kind]}, incomplete"


def _list_events(items: Sequence[StoredModel], room: int) -> Iterator[JsonEvent]:
    from lmtui.models import describe

    here = inventory.here(items)
    for entry in catalogue.CATALOGUE:
        yield {
            "event": "entry",
            **describe.entry_facts(entry),
            "fits": "yes" if entry.fits(room) else "no",
            "best_for": list_rows.best_here(entry, room),
            "here": list_rows.is_installed(entry, here),
        }
    for item in items:
        yield {"event": "local", **asdict(item), "path": str(item.path)}
