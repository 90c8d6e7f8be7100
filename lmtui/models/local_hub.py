"""The models of the Hub that are on this machine.

Owns the reading of the caches' folders (ours, and the one that other programs
share) and the removal of one model. Never looks at the network. A cache holds, for
each model, `models--owner--name/snapshots/COMMIT/` with links into `blobs/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models.folder import has_tokenizer, read_folder


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model of the Hub with files on this machine."""

    hub_id: str
    folder: Path
    """The folder of all its snapshots."""
    bytes: int
    """What it takes on the disk."""
    snapshot: Path | None
    """The complete snapshot that would be used; None when there is none."""


def download_folder() -> Path:
    """Where a download goes: our own folder under LMTUI_HOME, else the shared one."""
    return paths.models_folder() / "hub" if paths.home() else _shared()


def caches() -> tuple[Path, ...]:
    """The caches that are looked through, ours first."""
    return tuple(dict.fromkeys((download_folder(), _shared())))


def find_local(hub_id: str) -> Path | None:
    """A complete snapshot of `hub_id` on this machine, or None."""
    for cache in caches():
        snapshot = _complete(cache / _folder_name(hub_id))
        if snapshot is not None:
            return snapshot
    return None


def local_models() -> Iterator[LocalModel]:
    """Every language model of the Hub with files here, complete or not."""
    for cache in caches():
        for folder in sorted(cache.glob("models--*--*")):
            snapshot = _complete(folder)
            if snapshot is not None or not _is_something_else(folder):
                hub_id = folder.name.removeprefix("models--").replace("--", "/", 1)
                yield LocalModel(hub_id, folder, _size(folder), snapshot)


def bytes_of(hub_id: str) -> int:
    """Bytes of `hub_id` that the download folder holds already."""
    return _size(download_folder() / _folder_name(hub_id))


def remove_folder(folder: Path, roots: tuple[Path, ...]) -> None:
    """Remove `folder`, which has to lie directly in one of `roots`.

    A link is removed as a link: what it points to is not ours.

    Raises:
        LmtuiError: it lies elsewhere, or can't be removed.
    """
    if folder.parent not in roots or folder.name in ("", ".", ".."):
        raise LmtuiError(
            "only files in lmtui's own folders are removed",
            str(folder),
            "Remove it yourself if you are sure.",
        )
    try:
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise paths.unwritable(folder, error) from error


def _shared() -> Path:
    # Imported here: huggingface_hub takes a third of a second.
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).absolute()


def _folder_name(hub_id: str) -> str:
    return "models--" + hub_id.replace("/", "--")


def _complete(folder: Path) -> Path | None:
    """The snapshot that `main` names if it is complete, else the newest that is."""
    try:
        main = (folder / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        main = ""
    try:
        snapshots = sorted(
            (folder / "snapshots").iterdir(),
            key=lambda path: (path.name == main, path.stat().st_mtime),
            reverse=True,
        )
    except OSError:
        return None
    return next((path for path in snapshots if _is_complete(path)), None)


def _is_complete(snapshot: Path) -> bool:
    try:
        return has_tokenizer(snapshot) and bool(read_folder(snapshot).weights)
    except (LmtuiError, OSError):
        return False


def _is_something_else(folder: Path) -> bool:
    """Whether a snapshot is there that is no language model, or nothing is."""
    snapshots = [path for path in folder.glob("snapshots/*") if path.is_dir()]
    return not any((path / "config.json").exists() for path in snapshots)


def _size(folder: Path) -> int:
    """Bytes of the blobs; snapshots only link to them."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
        except OSError:
            continue
    return total
