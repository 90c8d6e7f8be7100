"""Adapters on this machine: their folders, their names and their base models.

A folder may come from anywhere; all that can be read of it without its weights is
checked here. Needs no torch: `merge` and `llama/lora` load adapters.
"""

from __future__ import annotations

import difflib
import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models import catalogue, describe, digests, source
from lmtui.models.adapters import lora_config
from lmtui.models.adapters.card import AdapterKind, Base, Card, read_card
from lmtui.models.checkpoint import (
    FLOATS,
    pickles_only,
    read_folder,
    read_weight_file,
    require_plain_files,
)
from lmtui.models.download import default_model, hub
from lmtui.models.progress import OnProgress, ignore


@dataclass(frozen=True, slots=True)
class Adapter:
    name: str
    """The name of its folder."""
    path: Path
    kind: AdapterKind = "lora"
    card: Card | None = None
    """None for an adapter of another program."""
    problem: str = ""
    """The reason why it can't be used, or empty."""

    @property
    def is_whole(self) -> bool:
        """Whether it holds all weights of a model and needs no base model."""
        return self.kind != "lora"

    @property
    def base(self) -> str:
        """The name of its base model; empty where it is not known."""
        return self.card.base.name if self.card else ""

    @property
    def bytes(self) -> int:
        files = (file for file in self.path.iterdir() if file.is_file())
        return sum(file.stat().st_size for file in files)


def listed() -> Iterator[Adapter]:
    """Yield every adapter in the folder of adapters, unusable ones included."""
    try:
        folders = sorted(paths.adapters_folder().iterdir())
    except OSError:
        return
    for folder in folders:
        if folder.is_dir() and is_name(folder.name):
            try:
                yield read(folder)
            except LmtuiError as error:
                yield Adapter(folder.name, folder, problem=error.title)


def is_name(text: str) -> bool:
    """Return whether an adapter can have this name: one part of a path, and not
    hidden."""
    try:
        return Path(text).name == text and text[:1] not in ("", ".", "~")
    except ValueError:
        return False


def find(name: str) -> Adapter:
    """Return the adapter called `name`, or in the folder at that path."""
    name = name.strip()
    inside = paths.adapters_folder() / name
    for folder in (*([inside] if is_name(name) else []), paths.expanded(name)):
        try:
            if name and folder.is_dir() and _may_be_adapter(name, folder):
                return read(folder)
        except (OSError, ValueError):  # too long for a path, or with a null character
            continue
    raise _not_found(name)


def _may_be_adapter(name: str, folder: Path) -> bool:
    """Return whether `name` can mean this folder. A bare name means one of the current
    folder only if that holds weights: after training on `notes/`, `notes` is the
    adapter."""
    if not is_name(name) or folder.parent == paths.adapters_folder():
        return True
    files = ("config.json", lora_config.WEIGHTS)
    return looks_like_one(folder) or any((folder / file).is_file() for file in files)


def read(folder: Path) -> Adapter:
    """Read the adapter in `folder`, without its weights."""
    require_plain_files(folder)
    card = read_card(folder)
    kind: AdapterKind = card.kind if card else "lora"
    if kind == "lora":
        _require_lora(folder)
    else:
        read_folder(folder)
    if card and folder.parent == paths.adapters_folder():
        paths.make_all_private(folder)  # an older version did not make it private
    return Adapter(folder.name, folder, kind, card)


def stored(name: str) -> Adapter:
    """Return the adapter with this name or path in the folder of adapters, damaged or
    not."""
    path = paths.expanded(name)
    for adapter in listed():
        if name == adapter.name or path == adapter.path:
            return adapter
    if name and not is_name(name) and os.path.isdir(path):
        raise LmtuiError(
            "this folder is not in the folder of adapters",
            name,
            "Give a name from `lmtui adapters list`, or remove the folder yourself.",
        )
    raise _not_found(name)


def looks_like_one(folder: Path) -> bool:
    """Return whether a folder holds an adapter rather than a model."""
    return any((folder / name).is_file() for name in ("card.json", lora_config.FILE))


def remove(adapter: Adapter) -> None:
    hub.remove_folder(adapter.path, (paths.adapters_folder(),))


def template_of(folder: Path) -> str | None:
    """Return the chat template in a folder, from either of the files that can hold
    it."""
    try:
        if (file := folder / "chat_template.jinja").is_file():
            return file.read_text(encoding="utf-8")
        about = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    template = about.get("chat_template") if isinstance(about, dict) else None
    return template if isinstance(template, str) else None


# The base model.


def base_of(
    model_source: source.ModelSource, path: Path, on_progress: OnProgress = ignore
) -> Base:
    """Return the card's entry for the model `model_source`, whose files are at
    `path`."""
    if isinstance(model_source, source.DefaultModel | source.HubModel):
        name = spec = model_source.name
    else:
        name = spec = model_source.path.name
    return Base(name, spec, _digests(path, on_progress))


def model_for(adapter: Adapter) -> source.ModelSource:
    """Return the base model of an adapter; it may still have to be downloaded."""
    if adapter.card is None:
        return _hinted(adapter)
    base = adapter.card.base
    if _is_default(base):
        return source.DefaultModel()
    if (on_hub := source.hub_model(base.spec)) is not None:
        return on_hub
    for path in _places(base):
        if _is_at(base, path):
            return source.resolve(str(path))
    if entry := catalogue.find(base.spec):
        return source.HubModel(base.spec, entry.hub_id, entry.file)
    raise LmtuiError(
        "the model that this adapter was made for was not found",
        f"{adapter.name} was made for {base.name}",
        "Name the model's file or folder with --model.",
    )


def name_of_base(adapter: Adapter) -> str:
    """Return the value of `--model` for an adapter's base model, or the base model's
    name where it is not found here."""
    try:
        return model_for(adapter).name
    except LmtuiError:
        return adapter.base


def require_base(
    adapter: Adapter,
    model_source: source.ModelSource,
    path: Path,
    on_progress: OnProgress = ignore,
) -> None:
    """Check by the weights that `model_source` is the base model of an adapter."""
    if adapter.card is None:
        return  # only the shapes can be checked, when it is loaded
    if _digests(path, on_progress) != adapter.card.base.sha256:
        raise _made_for_another(adapter.card, model_source)


def require_name(adapter: Adapter, model_source: source.ModelSource) -> None:
    """Check by its name that `model_source` is the base model, where it would have to
    be downloaded first."""
    if adapter.card is None or describe.path_of(model_source) is not None:
        return
    meant = adapter.card.base
    names = {
        model_source.name,
        *([model_source.hub_id] if isinstance(model_source, source.HubModel) else ()),
    }
    is_default = isinstance(model_source, source.DefaultModel)
    if meant.spec not in names and not (is_default and _is_default(meant)):
        raise _made_for_another(adapter.card, model_source)


def _made_for_another(card: Card, model_source: source.ModelSource) -> LmtuiError:
    base = card.base
    return LmtuiError(
        "this adapter was made for another model",
        f"{card.name} was made for {base.name}, "
        f"not for the weights of {model_source.name}",
        f"Give --model {base.spec}, or leave --model out.",
    )


def _is_default(base: Base) -> bool:
    return base.sha256 == (default_model.FILE_SHA256,)


def _require_lora(folder: Path) -> None:
    if not (folder / lora_config.FILE).is_file():
        if (folder / "config.json").is_file():
            hint = f"It looks like a model: --model {folder}"
        else:
            files = f"{lora_config.FILE} and {lora_config.WEIGHTS}"
            hint = f"An adapter's folder contains {files}."
        raise LmtuiError("this folder does not contain an adapter", str(folder), hint)
    weights = folder / lora_config.WEIGHTS
    if not weights.is_file() and list(folder.glob("*.bin")):
        raise pickles_only(str(folder))
    for name, dtype in read_weight_file(weights).dtypes.items():
        if dtype not in FLOATS:
            raise LmtuiError(
                "the weights of this adapter are not floating-point numbers",
                f"{weights}: {name} is stored as {dtype}",
                "Fetch or copy the adapter again.",
            )


def _digests(path: Path, on_progress: OnProgress = ignore) -> tuple[str, ...]:
    """Return the SHA-256 of each weights file at `path`, in the order of their
    names."""
    if path.is_file():
        return (digests.file_digest(path, on_progress),)
    files = sorted(file.path for file in read_folder(path).weights)
    return tuple(digests.file_digest(file, on_progress) for file in files)


def _places(base: Base) -> Iterator[Path]:
    """Yield places where a model may be of which only the name is known: where files
    with its digest were seen, the current folder, and the folder of models."""
    for file in digests.files_with(base.sha256[0]) if base.sha256 else ():
        yield file.parent if file.suffix == ".safetensors" else file
    if is_name(base.spec):
        yield from (Path(base.spec).absolute(), paths.models_folder() / base.spec)


def _is_at(base: Base, path: Path) -> bool:
    try:
        return path.exists() and _digests(path) == base.sha256
    except LmtuiError:  # something else is there
        return False


def _hinted(adapter: Adapter) -> source.ModelSource:
    """Return the model named by an adapter of another program, if it is on this
    machine: a foreign file must not start a download."""
    hint = lora_config.read_lora(adapter.path).base_model_name_or_path or ""
    entry = catalogue.find(hint)
    if entry and entry.is_default:
        return source.DefaultModel()
    if source.is_hub_id(hint) and hub.find_local(hint):
        return source.HubModel(hint, hint)
    named = f"; it names {hint}" if hint else ""
    raise LmtuiError(
        "the model that this adapter was made for is unknown",
        f"{adapter.path}{named}",
        "Name the model with --model.",
    )


def _not_found(name: str) -> LmtuiError:
    names = [adapter.name for adapter in listed()]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {' or '.join(close)}?"
    elif is_name(name) and os.path.isdir(name):
        hint = f"Make one from the folder {name}: lmtui finetune {shlex.quote(name)}"
    else:
        hint = "See `lmtui adapters list`, or make one with `lmtui finetune`."
    return LmtuiError("there is no such adapter", name, hint)
