"""Resolution of `--model`: a catalogue name, a path, a name in the folder of models, a
Hub id, or a GGUF file of one.

Looks at the disk but reads no weights, and never uses the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Literal

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import catalogue
from lmtui.models.remote.address import is_address, parse

Quantize = Literal["auto", "none", "int8", "int4"]
"""`auto` uses quantised weights where the file holds them; `none` never does."""

_PATHS = ("/", "~", "./", "../")
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(\w[\w./-]*))?")
GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model and an adapter, each as the user names it."""

    model: str | None = None
    """The value of `--model`. None is the adapter's base model or, without an adapter,
    the default model."""
    adapter: str | None = None
    """The value of `--adapter`; None is no adapter."""


def short_labels(*labels: str) -> tuple[str, ...]:
    """Return the short labels of models that stand beside each other; where paths end
    alike, with as many folders as tell them apart."""
    forms = (
        tuple(short_label(label, parts) for label in labels) for parts in range(1, 9)
    )
    apart = (form for form in forms if len(set(form)) == len(labels))
    return next(apart, tuple(map(short_label, labels)))


def short_label(label: str, parts: int = 1) -> str:
    """Return a model's label with a path shortened to the file's stem or the folder's
    name, or to so many last parts of it."""
    if is_address(label):
        try:
            address = parse(label)
        except LmtuiError:  # a stored label may be anything
            return label
        there = _short(address.model) if address.model else "a model"
        return f"{there} at {address.host}"
    wanted = named(label)
    model = _short(wanted.model or label, parts)
    return f"{model} + {wanted.adapter}" if wanted.adapter else model


def _short(model: str, parts: int = 1) -> str:
    on_hub = hub_model(model)
    path = PurePath(on_hub.file if on_hub and ".gguf" in on_hub.file else model)
    if path.suffix.lower() == ".gguf":
        return "/".join((*path.parts[-parts:-1], path.stem))
    if model.startswith(_PATHS) or model.count("/") > 1:
        return "/".join(path.parts[-parts:]) or model
    return model


def named(label: str) -> ModelRef:
    """Parse the label of a loaded model: a model, or `model + adapter`."""
    if is_address(label):
        return ModelRef(label)
    model, separator, adapter = label.rpartition(" + ")
    if separator and model and "/" not in adapter:
        return ModelRef(model, adapter)
    return ModelRef(label)


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """The model that is used when none is named."""

    name: str = catalogue.DEFAULT


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the Hub, which may be in the local cache already."""

    name: str
    """The name that the user gave."""
    hub_id: str
    """`owner/name`."""
    file: str = ""
    """A GGUF file of it, or a quantisation such as `Q4_K_M`; empty for what the
    repository has: a folder in safetensors, or else the usual GGUF file."""


@dataclass(frozen=True, slots=True)
class FolderModel:
    """A folder in Hugging Face format."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class GgufModel:
    name: str
    path: Path


ModelSource = DefaultModel | HubModel | FolderModel | GgufModel


def resolve(spec: str | None, *, servers: Iterable[str] = ()) -> ModelSource:
    """Find out what `spec` names: the default model, a catalogue name, a path or a Hub
    id. A path that exists comes before a model of the same name in the folder of
    models, and that before a Hub id. `servers` are names that the caller knows, which
    the error offers where one is similar."""
    spec = spec.strip() if spec else ""
    if not spec or spec == "default":
        return DefaultModel()
    if is_address(spec):
        raise LmtuiError(
            "this needs a model on this machine",
            f"{spec} is the address of a server",
            "Give its address to chat, complete or inspect.",
        )
    if (entry := catalogue.find(spec)) and not Path(spec).exists():
        if entry.is_default:
            return DefaultModel()
        return HubModel(spec, entry.hub_id, entry.file)
    path = Path(os.path.expanduser(spec))  # Path's own raises for unknown users
    if _exists(path):
        return _on_disk(spec, path)
    if (own := _own(spec)) is not None:
        return _on_disk(spec, own)
    if (on_hub := hub_model(spec)) is not None:
        return on_hub
    raise _nothing(spec, servers)


def own_models() -> list[Path]:
    """Return the `.gguf` files and the folders with a model that the user has put into
    the folder of models."""
    try:
        entries = sorted(paths.models_folder().iterdir())
    except OSError:
        return []
    return [entry for entry in entries if _is_model(entry)]


def _is_model(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    try:
        if path.is_dir():
            return (path / "config.json").is_file()
        return path.suffix.lower() == ".gguf" and path.is_file()
    except OSError:
        return False


def _own(spec: str) -> Path | None:
    """Return the model of this name in the folder of models; `.gguf` can be left
    out."""
    for path in own_models():
        if spec in (path.name, path.stem if path.is_file() else path.name):
            return path
    return None


def hub_model(spec: str) -> HubModel | None:
    """Return what `spec` is as a name on the Hub, `owner/name` or `owner/name:file`, or
    None where it can't be one."""
    found = _HUB_ID.fullmatch(spec)
    if found is None or found[1].endswith(".gguf"):
        return None
    return HubModel(spec, found[1], found[2] or "")


def is_hub_id(spec: str) -> bool:
    """Return whether `spec` could be the name of a repository on the Hub."""
    on_hub = hub_model(spec)
    return on_hub is not None and not on_hub.file


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False


def _on_disk(name: str, path: Path) -> ModelSource:
    path = path.absolute()
    if path.is_dir():
        return FolderModel(name, path)
    if not path.is_file():
        raise LmtuiError(
            "this is neither a file nor a folder",
            str(path),
            "Name a folder in Hugging Face format or a .gguf file.",
        )
    if path.suffix.lower() == ".gguf" or _magic(path) == GGUF_MAGIC:
        return GgufModel(name, path)
    hint = "Name a folder in Hugging Face format or a .gguf file."
    if path.suffix in (".safetensors", ".json"):
        hint = f"Name the folder it lies in: --model {path.parent}"
    raise LmtuiError("this file is not a model", str(path), hint)


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError:
        return b""


def _nothing(spec: str, servers: Iterable[str]) -> LmtuiError:
    alike = (
        *get_close_matches(spec, servers, n=1, cutoff=0.5),
        *catalogue.closest(Path(spec).stem if "/" in spec else spec),
    )
    if alike:
        hint = f"Did you mean {' or '.join(alike)}?"
    else:
        hint = "See `lmtui models list` for names, or give a path that exists."
    return LmtuiError("there is no such model", spec, hint)
