"""Import of an adapter's folder into the folder of adapters.

The source may come from anywhere: only plain files of the kinds that an adapter has are
copied, and checked as for loading before the adapter gets its name. Needs no torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models.adapters import folders, lora_config
from lmtui.models.adapters.folders import Adapter

_PARTS = (
    *("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"),
    *("report.md", "events.jsonl"),
)


def import_adapter(path: Path, name: str) -> Adapter:
    """Copy an adapter's folder into the folder of adapters, completely or not at all;
    `name` has to be valid for an adapter."""
    path = paths.expanded(path)
    target = paths.adapters_folder() / name
    if os.path.lexists(target):
        raise LmtuiError(
            "an adapter of this name already exists",
            name,
            f"Give another --name, or remove it: lmtui adapters remove {name}",
        )
    if not path.is_dir():
        raise LmtuiError(
            "there is no such folder", str(path), "Name an adapter's folder."
        )
    folders.read(path)  # gives the best message about missing files
    files = list(_parts(path))
    if not any(file.suffix == ".safetensors" for file in files):
        raise LmtuiError(
            "this can't be imported as an adapter",
            f"{path}: it holds no .safetensors file, only links or other formats",
            "Copy it with its links followed, and import the copy.",
        )
    parent = paths.ensure_folder(target.parent)
    need = sum(file.stat().st_size for file in files)
    cache_dir.require_space(parent, need)
    with paths.scratch_folder(parent) as scratch:
        made = scratch / name
        try:
            paths.make_folder(made)
            for file in files:
                shutil.copyfile(file, made / file.name)
            paths.seal(made)
        except OSError as error:
            raise cache_dir.unwritten(parent, error, need) from error
        if folders.read(made).kind == "lora":
            lora_config.read_lora(made)
        os.rename(made, target)
    paths.sync_folder(parent)
    return folders.read(target)


def _parts(folder: Path) -> Iterator[Path]:
    """Yield the files of an adapter, without links, which could lead anywhere, and
    pickles."""
    for file in sorted(folder.iterdir()):
        is_part = any(fnmatchcase(file.name, pattern) for pattern in _PARTS)
        if is_part and file.is_file() and not file.is_symlink():
            yield file
