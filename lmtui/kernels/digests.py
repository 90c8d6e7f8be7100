"""SHA-256 digests of the compiled libraries in a folder, in a file beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_NAME = "digests.json"


def write(folder: Path) -> None:
    (folder / _NAME).write_text(json.dumps(_found_in(folder)))


def are_right(folder: Path) -> bool:
    """Return whether a folder has the libraries that were there when its digests were
    written, and no others.

    Raises:
        OSError, ValueError: its files or digests can't be read.
    """
    return bool(_written_in(folder) == _found_in(folder))


def is_right(library: Path) -> bool:
    """Return whether a library's digest is the one that was written.

    Raises:
        OSError, ValueError, KeyError: it or its digest can't be read.
    """
    return bool(_written_in(library.parent)[library.name] == _of(library))


def _written_in(folder: Path) -> dict[str, str]:
    written: dict[str, str] = json.loads((folder / _NAME).read_bytes())
    return written


def _found_in(folder: Path) -> dict[str, str]:
    libraries = (file for file in folder.iterdir() if file.suffix != ".json")
    return {file.name: _of(file) for file in libraries}


def _of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
