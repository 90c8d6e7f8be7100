"""`lmtui adapters`: list, show, merge, import and remove adapters.

Formats the output; the work is done in `lmtui.models.adapters`. Only merging imports
torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmtui import cache_dir, notation, paths
from lmtui.cli import completion, options
from lmtui.cli.errors import note
from lmtui.cli.output import JsonEvent, Output, confirm_removal, table
from lmtui.errors import LmtuiError
from lmtui.models.adapters import folders
from lmtui.models.adapters.card import inspect_command
from lmtui.notation import counted
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.models.adapters.card import Card, Data
    from lmtui.models.adapters.folders import Adapter

app = options.group(
    "List, show, merge, import and remove adapters.",
    "lmtui adapters list",
    "lmtui adapters show notes",
    "lmtui chat --adapter notes",
)


def _name(words: str) -> Any:
    return typer.Argument(
        metavar="NAME", help=words, autocompletion=completion.adapters
    )


Name = Annotated[
    str, _name("A name from `lmtui adapters list`, or an adapter's folder.")
]
AdapterName = Annotated[str, _name("A name from `lmtui adapters list`.")]
Out = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="A path that does not exist yet."),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="The model it was made for, if that is not found automatically.",
        autocompletion=completion.models,
    ),
]
_HEADINGS = ("NAME", "KIND", "SIZE", "MADE", "HELD-OUT LOSS", "MODEL")
_PRIVACY = (
    "note: A merged model, too, can repeat your notes word for word: give it only to "
    "those to whom you would give the notes.\n"
)
_KINDS = {"lora": "LoRA", "full": "all weights", "scratch": "from scratch"}


@app.command("list")
def show_list(json: options.Json = False) -> None:
    """List the adapters.

    The loss is that of the held-out documents, before → after the training.

    \b
    Examples:
      lmtui adapters list
      lmtui adapters list --json
    """
    output, adapters = Output(), list(folders.listed())
    if json:
        for adapter in adapters:
            output.event(_event(adapter))
    elif adapters:
        rows = [_row(adapter) for adapter in adapters]
        output.text(table(_HEADINGS, rows, right=(2,), terminal=output.is_terminal))
    else:
        output.text("no adapters yet; `lmtui finetune NOTES` makes one\n")


@app.command("show")
def show_one(name: Name, json: options.Json = False) -> None:
    """Show an adapter: what it was trained on, how, and what changed.

    \b
    Examples:
      lmtui adapters show notes
      lmtui adapters show ./notes --json
    """
    adapter = folders.find(name)
    output = Output()
    if json:
        output.event(_event(adapter, whole=True))
        return
    terminal = output.is_terminal
    output.text(table(("", ""), list(_facts(adapter)), terminal=terminal).lstrip("\n"))
    if adapter.card and (rows := list(_figures(adapter.card))):
        headings = ("", "BEFORE", "AFTER")
        output.text("\n" + table(headings, rows, right=(1, 2), terminal=terminal))
        if window := adapter.card.metrics.window:
            again = inspect_command(adapter.name, adapter.kind, window)
            output.text(f"\nthe figures of one held-out document:\n  {again}\n")


@app.command("merge")
def merge(name: Name, out: Out, model: Model = None) -> None:
    """Merge an adapter into its model: one model, for any program.

    OUT is a new folder in Hugging Face format, in float32.

    \b
    Examples:
      lmtui adapters merge notes ./my-model
      lmtui chat --model ./my-model
    """
    from lmtui.cli.progress import loading_progress
    from lmtui.models import load

    adapter = folders.find(name)
    if adapter.is_whole:
        raise LmtuiError(
            "this is a whole model already",
            str(adapter.path),
            f"Any program can use its folder; here it is --model {adapter.path}",
        )
    folder = paths.new_path(out)
    with loading_progress() as show:
        base = load.load_base(adapter, model, on_progress=show)
        from lmtui.models.adapters.merge import write_merged

        write_merged(base, adapter, folder, show)
    note(_PRIVACY)
    Output().text(f"{folder}\n")


@app.command("import")
def import_one(
    folder: Annotated[Path, typer.Argument(help="An adapter's folder.")],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The name of the adapter here; by default that of the folder.",
        ),
    ] = None,
) -> None:
    """Check an adapter's folder, and copy it to the adapters here.

    An adapter may come from anybody: only safetensors weights and plain text files are
    taken, and they are checked before the adapter gets its place.

    \b
    Examples:
      lmtui adapters import ./from-a-friend --name friend
    """
    from lmtui.models.adapters.import_adapter import import_adapter
    from lmtui.train.request import require_safe_name, safe_name

    name = name or safe_name(folder.absolute().name)
    require_safe_name(name)
    adapter = import_adapter(folder, name)
    note(f"note: use it with `lmtui chat --adapter {name}`\n")
    Output().text(f"{adapter.path}\n")


@app.command("remove")
def remove(name: AdapterName, yes: options.Yes = False) -> None:
    """Remove an adapter from this machine.

    Only adapters in lmtui's own folder are removed.

    \b
    Examples:
      lmtui adapters remove notes
      lmtui adapters remove notes --yes
    """
    adapter = folders.stored(name)
    freed = cache_dir.size(adapter.bytes)
    if not yes:
        confirm_removal(f"{visible_line(str(adapter.path))}  {freed}\n")
    folders.remove(adapter)
    Output().text(f"removed {adapter.name}, {freed} freed\n")


def _row(adapter: Adapter) -> tuple[str, ...]:
    name, size, card = adapter.name, cache_dir.size(adapter.bytes), adapter.card
    if adapter.problem:
        return (name, "damaged", size, "", "", adapter.problem)
    if card is None:
        return (name, _KINDS[adapter.kind], size, "", "", "made by another program")
    kind = _KINDS[card.kind]
    return (name, kind, size, card.day, card.held_out, card.base.name)


def _event(adapter: Adapter, *, whole: bool = False) -> JsonEvent:
    """Return an adapter as JSON; `whole` includes its card and report."""
    card = adapter.card
    event: dict[str, object] = {
        "event": "adapter",
        "name": adapter.name,
        "path": str(adapter.path),
        "kind": adapter.kind,
        "bytes": adapter.bytes,
        "problem": adapter.problem or None,
        "created": card.created if card else None,
        "model": card.base.name if card else None,
        "before": card.metrics.before if card else None,
        "after": card.metrics.after if card else None,
    }
    if whole:
        event["report"] = _report(adapter)
        event["card"] = asdict(card) if card else None
    return event


def _report(adapter: Adapter) -> str | None:
    file = adapter.path / "report.md"
    return str(file) if file.is_file() else None


def _facts(adapter: Adapter) -> Iterator[tuple[str, str]]:
    """Yield the rows (name, value) above the table of metrics."""
    yield "name", adapter.name
    yield "path", f"{adapter.path} ({cache_dir.size(adapter.bytes)})"
    yield "kind", _KINDS[adapter.kind]
    if (card := adapter.card) is None:
        yield "made by", "another program; nothing says on which model"
        return
    yield "made", card.created.replace("T", " ")
    yield "model", _named(card)
    data = card.data
    yield "notes", f"{counted(len(data.files), 'file')}, {_documents(data)}"
    yield "tokens", f"{data.tokens:,} an epoch"
    steps = card.metrics
    yield "steps", f"{steps.steps:,}, the best after {steps.best_step:,}"
    for name, values in (("settings", card.settings), ("made by", card.versions)):
        known = [f"{key} {value}" for key, value in values.items() if value is not None]
        if known:
            yield name, ", ".join(known)
    if report := _report(adapter):
        yield "report", report


def _documents(data: Data) -> str:
    parts = f"{data.documents:,} to train on, {data.held_out:,} held out"
    if not data.held_out:
        return f"{counted(data.documents, 'document')}; nothing is held out"
    if len(data.files) == data.documents == data.held_out == 1:
        return "in two parts, one of them held out"
    return f"{counted(data.documents + data.held_out, 'document')}: {parts}"


def _named(card: Card) -> str:
    base = card.base
    named = base.name if base.name == base.spec else f"{base.name} ({base.spec})"
    first = base.sha256[0][:12] if base.sha256 else "unknown"
    return f"{named}, SHA-256 {first}…"


def _figures(card: Card) -> Iterator[tuple[str, ...]]:
    """Yield (metric, before, after) for the held-out notes and a neutral text."""
    metrics = card.metrics
    for what, before, after in (
        ("notes", metrics.before, metrics.after),
        ("neutral text", metrics.neutral_before, metrics.neutral_after),
    ):
        for key, (label, written) in notation.MEASURES.items():
            values = [(figures or {}).get(key) for figures in (before, after)]
            if any(value is not None for value in values):
                cells = ("" if value is None else written(value) for value in values)
                yield (f"{what}: {label.full}", *cells)
