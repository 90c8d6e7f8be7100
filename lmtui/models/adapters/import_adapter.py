"""Import of an adapter from a folder or a .zip file into the folder of adapters.

The source may come from anywhere: only plain files of the kinds that an adapter has are
copied, within limits, and checked as for loading before the adapter gets its name.
Needs no torch.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.models.adapters import folders, lora_config
from lmtui.models.adapters.export import is_part, parts
from lmtui.models.adapters.folders import Adapter

_MOST_FILES = 100
# most times that the contents may exceed the .zip file; weights hardly compress
_RATIO = 100
_SMALL = 10_000_000  # bytes of contents that are accepted at any ratio
_LONGEST_NAME = 200  # bytes


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def import_adapter(path: Path, name: str) -> Adapter:
    """Copy the adapter in a folder or a .zip file into the folder of adapters,
    completely or not at all; `name` has to be valid for an adapter."""
    path = Path(os.path.expanduser(path)).absolute()
    target = paths.adapters_folder() / name
    if os.path.lexists(target):
        raise LmtuiError(
            "an adapter of this name already exists",
            name,
            f"Give another --name, or remove it: lmtui adapters remove {name}",
        )
    if path.is_dir():
        folders.read(path)  # gives the best message about missing files
        _put(list(_folder_parts(path)), path, target)
    elif path.is_file():
        with _explained(path), zipfile.ZipFile(path) as archive:
            _put(_zip_parts(archive, path), path, target)
    else:
        raise LmtuiError(
            "there is no such file or folder",
            str(path),
            "Name a .zip file from `lmtui adapters export`, or an adapter's folder.",
        )
    return folders.read(target)


def _put(parts: Sequence[_Part], path: Path, target: Path) -> None:
    """Copy the parts into a folder, check the adapter there, and move it to
    `target`."""
    if not any(part.name.endswith(".safetensors") for part in parts):
        raise _refused(
            path, "it holds no .safetensors file, only links or other formats"
        )
    parent = paths.ensure_folder(target.parent)
    need = sum(part.size for part in parts)
    cache_dir.require_space(parent, need)
    with paths.scratch_folder(parent) as scratch:
        made = scratch / target.name
        try:
            made.mkdir(mode=0o700)
            for part in parts:
                _copy(part, made / part.name)
        except OSError as error:
            if cache_dir.is_disk_full(error):
                raise cache_dir.disk_full(parent, need=need) from error
            raise paths.unwritable(parent, error) from error
        if folders.read(made).kind == "lora":
            lora_config.read_lora(made)
        os.rename(made, target)
    paths.sync_folder(parent)


def _copy(part: _Part, target: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with part.open() as source, os.fdopen(os.open(target, flags, 0o600), "wb") as copy:
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())


def _folder_parts(path: Path) -> Iterator[_Part]:
    for file in parts(Adapter(path.name, path), with_report=True):
        yield _Part(file.name, file.stat().st_size, partial(_opened, file))


def _opened(file: Path) -> IO[bytes]:
    return file.open("rb")


def _zip_parts(archive: zipfile.ZipFile, zip_path: Path) -> list[_Part]:
    """Return the files of an adapter in a .zip file: at its top level, or in one folder
    there."""
    parts: dict[PurePosixPath, _Part] = {}
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if entry.is_dir():
            continue
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
            raise _refused(zip_path, f"it names a file outside it: {entry.filename}")
        if not is_part(path.name):
            continue  # files that other programs add, such as __MACOSX/._notes
        # Programs that know no file modes leave them 0.
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused(zip_path, f"{entry.filename} is not a regular file")
        if len(os.fsencode(path.name)) > _LONGEST_NAME or path in parts:
            raise _refused(zip_path, f"{entry.filename} can't be unpacked")
        parts[path] = _Part(path.name, entry.file_size, partial(archive.open, entry))
    if len({path.parent for path in parts}) > 1 or len(parts) > _MOST_FILES:
        raise _refused(zip_path, "it holds more than one adapter")
    size, most = sum(part.size for part in parts.values()), zip_path.stat().st_size
    if size > max(_SMALL, most * _RATIO):
        raise _refused(
            zip_path,
            f"{cache_dir.size(size)} unpacked, from a file of {cache_dir.size(most)}",
        )
    return list(parts.values())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn exceptions while a .zip file is read into LmtuiErrors."""
    try:
        yield
    # RuntimeError: it is encrypted, or its compression is not supported. ValueError and
    # LookupError: its names are damaged.
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
        *(RuntimeError, ValueError, LookupError),
    ) as error:
        raise _refused(path, str(error)) from error
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def _refused(path: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "this can't be imported as an adapter",
        f"{path}: {why}",
        "Name a .zip file from `lmtui adapters export`, or an adapter's folder.",
    )
