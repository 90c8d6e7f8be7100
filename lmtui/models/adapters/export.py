"""Export of an adapter: a copy of its folder, as a folder or a .zip file.

The copy is as private as the adapter, wherever it is put. Files that quote the training
data are left out unless asked for. Needs no torch.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models.adapters.folders import Adapter

REPORT = "report.md"
TELLING = (REPORT, "report.json", "events.jsonl")
"""Files that quote the training data."""

PRIVACY = (
    "An adapter, merged or not, can repeat your notes word for word, and its card "
    "names their files: give it only to those to whom you would give the notes."
)

_PARTS = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")


def export(
    adapter: Adapter, out: Path, *, with_report: bool = False
) -> tuple[str, ...]:
    """Copy an adapter to `out`, completely or not at all: as a .zip file where `out`
    ends with `.zip`, else as a folder. Return the names of its files.

    Raises:
        LmtuiError: `out` exists, it can't be written, or the weights are links.
    """
    out = new_path(out)
    files = list(parts(adapter, with_report=with_report))
    if not any(file.suffix == ".safetensors" for file in files):
        raise LmtuiError(
            "the weights of this adapter are only symbolic links",
            str(adapter.path),
            "Copy its folder, with links followed, and export the copy.",
        )
    need = sum(file.stat().st_size for file in files)
    parent = paths.ensure_users_folder(out.parent)
    cache_dir.require_space(parent, need)
    try:
        with paths.scratch_folder(parent) as scratch:
            made = scratch / "made"
            if out.suffix.lower() == ".zip":
                _pack(files, made, adapter.name)
            else:
                _copy(files, made)
            os.rename(made, out)
    except OSError as error:
        if cache_dir.is_disk_full(error):
            raise cache_dir.disk_full(parent, need=need) from error
        raise paths.unwritable(parent, error) from error
    return tuple(file.name for file in files)


def new_path(out: Path) -> Path:
    """Return `out` as an absolute path, and refuse one that exists."""
    out = Path(os.path.expanduser(out)).absolute()
    if os.path.lexists(out):
        raise LmtuiError("this path already exists", str(out), "Give another path.")
    return out


def parts(adapter: Adapter, *, with_report: bool) -> Iterator[Path]:
    """Yield the files of an adapter, without links, which could lead anywhere, and
    pickles."""
    left_out = () if with_report else TELLING
    for file in sorted(adapter.path.iterdir()):
        if file.name in left_out or not is_part(file.name):
            continue
        if file.is_file() and not file.is_symlink():
            yield file


def is_part(name: str) -> bool:
    known = (*_PARTS, *TELLING)
    return not name.startswith(".") and any(
        fnmatchcase(name, pattern) for pattern in known
    )


def _pack(files: list[Path], target: Path, name: str) -> None:
    with open(target, "wb", opener=paths.open_private) as out:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, f"{name}/{file.name}")
        out.flush()
        os.fsync(out.fileno())


def _copy(files: list[Path], target: Path) -> None:
    paths.make_folder(target)
    for file in files:
        shutil.copyfile(file, copy := target / file.name)
        paths.make_private(copy)
        with copy.open("rb") as written:
            os.fsync(written.fileno())
