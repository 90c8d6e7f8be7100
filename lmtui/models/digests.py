"""SHA-256 of files, cached so that a large file is read once.

A cached digest counts only while path, size, modification time and inode are the same.
Losing the cache file only costs time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models.progress import OnProgress, counted, ignore

_OF_MODELS = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors")
_CHUNK = 1 << 22  # bytes
_MOST = 200  # files in the cache


def file_digest(path: Path, on_progress: OnProgress = ignore) -> str:
    """Return the SHA-256 of `path` in hexadecimal, from the cache where the file is
    unchanged."""
    if digest := recall(path):
        return digest
    try:
        total = path.stat().st_size
        digest = _read(path, counted(f"reading {path.name}", total, on_progress))
    except OSError as error:
        raise LmtuiError(
            "this file can't be read",
            f"{path} ({error.strerror})",
            "Check its permissions.",
        ) from error
    remember(path, digest)
    return digest


def require(
    file: Path, sha256: str, what: str, on_progress: OnProgress = ignore
) -> None:
    """Check that a downloaded file is `what` was asked for, by its SHA-256."""
    total = file.stat().st_size
    digest = _read(file, counted(f"checking {what}", total, on_progress))
    if digest != sha256:
        raise LmtuiError(
            f"what was fetched is not {what}",
            f"{file.name}: its SHA-256 is {digest} instead of {sha256}",
            "Try again; the server, a mirror or a proxy may be damaged.",
        )


def model_digest(path: Path, on_progress: OnProgress = ignore) -> str:
    """Return a SHA-256 over all files of a model, which is one file or a folder."""
    if path.is_file():
        return file_digest(path, on_progress)
    candidates = (file for pattern in _OF_MODELS for file in path.glob(pattern))
    files = sorted(file for file in candidates if file.is_file())  # a pipe would block
    digests = (f"{file.name} {file_digest(file, on_progress)}" for file in files)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def files_with(digest: str) -> Iterator[Path]:
    """Yield the unchanged files that are cached with this digest."""
    for name, entry in _load().items():
        if _unchanged(entry, Path(name)) == digest:
            yield Path(name)


def recall(path: Path) -> str | None:
    """Return the cached digest of `path`, or None where it is unknown or has
    changed."""
    entry = _load().get(str(path.resolve()))
    return entry and _unchanged(entry, path)


def _unchanged(entry: Mapping[str, Any], path: Path) -> str | None:
    """Return the digest of an entry of the cache, if it is that of the file as it is
    now."""
    return entry["sha256"] if entry["stamp"] == _stamp(path) else None


def remember(path: Path, digest: str) -> None:
    """Cache the digest of `path`; a write error is ignored."""
    known = _load()
    known.pop(str(path.resolve()), None)
    known[str(path.resolve())] = {"stamp": _stamp(path), "sha256": digest}
    newest = dict(list(known.items())[-_MOST:])
    try:
        paths.ensure_folder(_file().parent)
        paths.write_atomically(_file(), json.dumps(newest, indent=1).encode())
    except (OSError, LmtuiError):
        return


def _file() -> Path:
    return paths.cache_folder() / "digests.json"


def _load() -> dict[str, Any]:
    paths.make_private(_file())
    try:
        known = json.loads(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _stamp(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _read(path: Path, report: Callable[[int], None]) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            report(done)
    return digest.hexdigest()
