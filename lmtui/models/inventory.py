"""List of the models that lmtui knows on this machine, and their removal.

These are the default model, models of the Hub, converted copies, and what the user has
put into the folder of models, which is never removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models import (
    catalogue,
    describe,
    digests,
    hardware,
    list_rows,
    memory,
    source,
)
from lmtui.models.adapters import folders
from lmtui.models.download import default_model, hub
from lmtui.models.download.hub import StoredModel
from lmtui.models.list_rows import ListedModel
from lmtui.models.source import ModelRef


def is_local(ref: ModelRef) -> bool:
    """Return whether a model and its adapter are on this machine. The default model
    always counts: every command fetches it at its first use."""
    try:
        if ref.adapter is None:
            return _is_here(source.resolve(ref.model))
        adapter = folders.find(ref.adapter)
        if adapter.is_whole:
            return True
        if ref.model is None:
            return _is_here(folders.model_for(adapter))
        return _is_here(source.resolve(ref.model))
    except LmtuiError:
        return False


def _is_here(model_source: source.ModelSource) -> bool:
    default = isinstance(model_source, source.DefaultModel)
    return default or describe.path_of(model_source) is not None


def missing_model(label: str, hint: str) -> LmtuiError:
    title = "the model of this conversation is not on this machine"
    return LmtuiError(title, label, hint)


def inventory() -> Iterator[StoredModel]:
    """Yield everything that lmtui keeps of models, and the user's own in the folder of
    models."""
    if default_model.is_fetched():
        file = default_model.default_file()
        yield StoredModel(catalogue.DEFAULT, "default", file, default_model.FILE_BYTES)
    yield from hub.local_models()
    for own in source.own_models():
        if own != default_model.default_file():
            yield StoredModel(own.name, "own", own, _bytes_of(own))
    for folder, name, taken in cache_dir.folders(cache_dir.packed()):
        yield StoredModel(name, "packed", folder, taken)


def _bytes_of(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def here(items: Iterable[StoredModel]) -> set[str]:
    """Return the names, in lower case, of the items that can be used as they are."""
    return {item.name.lower() for item in items if item.complete}


def others(items: Iterable[StoredModel]) -> Iterator[StoredModel]:
    """Yield the items that can be used and that the catalogue does not list."""
    for item in items:
        unlisted = item.kind == "hub" and catalogue.find(item.name) is None
        if item.complete and (unlisted or item.kind == "own"):
            yield item


def rows(servers: Mapping[str, str]) -> list[ListedModel]:
    """Return rows for the catalogue, the other models on this machine, the usable
    adapters, and the servers (addresses by name)."""
    items = list(inventory())
    room = memory.room(hardware.total_ram(), hardware.gpu_memory())
    return [
        *list_rows.catalogue_rows(here(items), room),
        *(
            ListedModel(
                item.name, note=f"on this machine, {cache_dir.size(item.bytes)}"
            )
            for item in others(items)
        ),
        *(list_rows.adapter_row(each) for each in folders.listed() if not each.problem),
        *(list_rows.server_row(name, address) for name, address in servers.items()),
    ]


def items_of(model_source: source.ModelSource) -> list[StoredModel]:
    """Return the items of the model `model_source`, which can be removed."""
    path = describe.path_of(model_source)
    items = [item for item in inventory() if _belongs(item, model_source, path)]
    if isinstance(model_source, source.FolderModel) and not items:
        raise LmtuiError(
            "your own folders are not removed",
            str(model_source.path),
            "Remove it yourself if you are sure.",
        )
    if not items:
        raise LmtuiError(
            "this model is not on this machine",
            model_source.name,
            "See `lmtui models list` for what is here.",
        )
    return items


def remove(item: StoredModel) -> None:
    if item.kind == "hub" and item.path.is_file():
        hub.remove_file(item.path)
        return
    roots = (
        paths.models_folder(),
        cache_dir.packed(),
        *hub.caches(),
    )
    hub.remove_folder(item.path, roots)


def _belongs(
    item: StoredModel, model_source: source.ModelSource, path: Path | None
) -> bool:
    """Return whether an item is the model at `path`, or was made from it."""
    if item.kind == "own":
        return False
    if isinstance(model_source, source.DefaultModel):
        return item.kind == "default" or _is_copy_of(item, default_model.FILE_SHA256)
    if isinstance(model_source, source.FolderModel):
        return item.kind == "packed" and item.name == model_source.name
    if path is not None and path.is_file():
        return item.path == path or _is_copy_of(item, digests.file_digest(path))
    if not isinstance(model_source, source.HubModel):
        return False
    return item.kind != "default" and item.name.lower() == model_source.hub_id.lower()


def _is_copy_of(item: StoredModel, digest: str) -> bool:
    return item.kind == "packed" and item.path.name.startswith(digest)
