"""What is to be trained, and what it will be called.

Owns the request, both ways between it and JSON, and the names that can be folders.
Knows neither the run folder nor the worker that carries it out, and reads no notes.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.train.settings import TrainSettings

_PACKAGES = ("lmtui", "torch", "transformers", "peft")
_LONGEST = 80  # bytes of a name, so that others can be made of it
_NO_NAME = "notes"
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """A training as it was asked for; good in any folder and at any later time."""

    name: str
    places: tuple[str, ...]
    """Files, folders and patterns of the notes, absolute."""
    base: str | None = None
    """What `--model` takes, a path being absolute; None is the default model."""
    settings: TrainSettings = field(default_factory=TrainSettings)
    device: str = "auto"
    threads: int | None = None
    force: bool = False
    """Resume although the notes have changed."""
    overwrite: bool = False
    """Replace an adapter of this name."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages that do it; others may come to other weights."""


def to_json(request: TrainRequest) -> str:
    """A request as JSON, in ASCII."""
    return json.dumps(asdict(request), indent=1)


def from_json(text: str) -> TrainRequest:
    """The request that `to_json` wrote.

    Raises:
        ValueError: it is none.
        LmtuiError: it has settings that nobody can train with.
    """
    try:
        values = _known(TrainRequest, json.loads(text))
        values["places"] = tuple(map(str, values["places"]))
        values["settings"] = TrainSettings(**_known(TrainSettings, values["settings"]))
        return TrainRequest(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{error!r}") from error


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def versions() -> dict[str, str]:
    """The versions of the packages that train."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def absolute_place(place: str) -> str:
    """A file, a folder or a pattern, whatever folder one is in later."""
    # Not Path.expanduser, which fails on the home of a user who does not exist.
    return str(Path(os.path.expanduser(place)).absolute())


def default_name(places: Sequence[str]) -> str:
    """What an adapter is called after the first of its notes: the folder, or the file
    without its ending; of a pattern, the folder that it searches."""
    place = Path(absolute_place(places[0]))
    parts = (part for part in (place, *place.parents) if _PATTERN.search(part.name))
    patterns = [part for part in parts if not os.path.lexists(part)]
    whole = Path(os.path.realpath(patterns[-1].parent if patterns else place))
    return safe_name(whole.name if patterns or whole.is_dir() else whole.stem)


def safe_name(text: str) -> str:
    """`text` as the name of a folder that no shell or system stumbles over."""
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"[^\w.-]+", "-", text).strip("-.")
    while len(text.encode("utf-8", "replace")) > _LONGEST:
        text = text[:-1].rstrip("-.")
    return text or _NO_NAME


def require_safe_name(name: str) -> None:
    """Refuse a name that can't be a folder's.

    Raises:
        LmtuiError: it is one, with a name that would do.
    """
    if name != safe_name(name):
        raise LmtuiError(
            "this name can't be used",
            name,
            "Use letters, digits, dashes, underscores and dots only: "
            f"--name {safe_name(name)}",
        )
