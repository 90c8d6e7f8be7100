"""What is on this machine, and taking it away again.

Owns the one list of everything this program keeps of models: the default model,
models of the Hub, copies that were made for a faster start. Nothing else can be removed
through it; a user's own folders and files never are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import (
    adapters,
    catalogue,
    digests,
    disk,
    fetch,
    hardware,
    listing,
    local_hub,
    sealed,
    source,
)

Kind = Literal["default", "hub", "copy", "packed"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is kept of a model."""

    name: str
    """What `--model` takes; for a copy the name of the GGUF file."""
    kind: Kind
    path: Path
    bytes: int
    complete: bool = True
    """Whether it can be used as it is."""


def inventory() -> Iterator[Item]:
    """Everything that is here."""
    if fetch.is_fetched():
        file = fetch.default_file()
        yield Item(catalogue.DEFAULT, "default", file, fetch.FILE_BYTES)
    for model in local_hub.local_models():
        complete = model.snapshot is not None
        yield Item(model.hub_id, "hub", model.folder, model.bytes, complete)
    made: tuple[tuple[str, Kind], ...] = (("gguf", "copy"), ("packed", "packed"))
    for place, kind in made:
        for folder, name, size in sealed.folders(sealed.root(place)):
            yield Item(name, kind, folder, size)


def rows() -> list[listing.Row]:
    """The catalogue, the other models that are here, and the adapters; all that can be
    used."""
    items = [item for item in inventory() if item.complete]
    here = {item.name.lower() for item in items}
    others = [
        listing.Row(
            name=item.name,
            weights="",
            download="",
            fits="",
            here="yes",
            note=f"on this machine, {disk.size(item.bytes)}",
        )
        for item in items
        if item.kind == "hub" and catalogue.find(item.name) is None
    ]
    learned = [
        listing.adapter_row(adapter)
        for adapter in adapters.listed()
        if not adapter.problem
    ]
    return [*listing.catalogue_rows(here, hardware.available_ram()), *others, *learned]


def items_of(found: source.Source) -> list[Item]:
    """What can be removed of the model `found`.

    Raises:
        LmtuiError: nothing of it is here, or it is the user's own.
    """
    items = [item for item in inventory() if _belongs(item, found)]
    if isinstance(found, source.FolderModel) and not items:
        raise LmtuiError(
            "your own folders are not removed",
            str(found.path),
            "Remove it yourself if you are sure.",
        )
    if not items:
        raise LmtuiError(
            "this model is not on this machine",
            found.name,
            "See `lmtui models list` for what is here.",
        )
    return items


def remove(item: Item) -> None:
    """Take `item` off the disk.

    Raises:
        LmtuiError: it can't be removed, or is not in a folder of ours.
    """
    roots = (
        paths.models_folder(),
        *map(sealed.root, sealed.KINDS),
        *local_hub.caches(),
    )
    local_hub.remove_folder(item.path, roots)


def _belongs(item: Item, found: source.Source) -> bool:
    if isinstance(found, source.HubModel):
        return item.kind != "default" and item.name.lower() == found.hub_id.lower()
    if isinstance(found, source.DefaultModel):
        return item.kind == "default" or _is_copy_of(item, fetch.FILE_SHA256)
    if isinstance(found, source.FolderModel):
        return item.kind == "packed" and item.name == found.name
    if isinstance(found, source.GgufModel):
        return _is_copy_of(item, digests.file_digest(found.path))
    return False


def _is_copy_of(item: Item, digest: str) -> bool:
    made = item.kind in ("copy", "packed")
    return made and item.path.name.startswith(digest)
