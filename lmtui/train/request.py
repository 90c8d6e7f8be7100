"""The request for a training: notes, base, settings and the name of the result.

Also makes names that can be folders. Knows neither the run folder nor the worker, and
reads no notes.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.train.settings import TrainSettings

_PACKAGES = ("lmtui", "torch", "transformers", "peft")
_LONGEST = 80  # bytes of a name, so that longer names can be derived from it
_NO_NAME = "notes"
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """A request for a training; independent of the current folder and the time."""

    name: str
    places: tuple[str, ...]
    """Files, folders and patterns of the notes, absolute."""
    base: str | None = None
    """A value of `--model`, paths being absolute; None is the default model."""
    settings: TrainSettings = field(default_factory=TrainSettings)
    device: str = "auto"
    threads: int | None = None
    force: bool = False
    """Resume although the notes have changed."""
    overwrite: bool = False
    """Replace an adapter of the same name."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that train; other versions may give other weights."""


def versions() -> dict[str, str]:
    numbers = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            numbers[name] = importlib.metadata.version(name)
    return numbers


def default_name(places: Sequence[str]) -> str:
    """Return the default name of an adapter, made from the first of its notes.

    It is the folder's name, the file's without its suffix, or for a pattern the name of
    the folder that it searches.
    """
    path = paths.expanded(places[0])
    parts = (part for part in (path, *path.parents) if _PATTERN.search(part.name))
    patterns = [part for part in parts if not os.path.lexists(part)]
    real = Path(os.path.realpath(patterns[-1].parent if patterns else path))
    return safe_name(real.name if patterns or real.is_dir() else real.stem)


def safe_name(text: str) -> str:
    """Return `text` as a folder name that is safe in shells and file systems."""
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"[^\w.-]+", "-", text).strip("-.")
    while len(text.encode("utf-8", "replace")) > _LONGEST:
        text = text[:-1].rstrip("-.")
    return text or _NO_NAME


def require_safe_name(name: str) -> None:
    if name != safe_name(name):
        raise LmtuiError(
            "this name can't be used",
            name,
            "Use letters, digits, dashes, underscores and dots only: "
            f"--name {safe_name(name)}",
        )
