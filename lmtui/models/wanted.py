"""Which model is wanted, which adapter on it, and in how many bits.

Owns the values that say so from the command line to the loader. Looks at nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

Quantize = Literal["auto", "none", "int8", "int4"]
"""`auto` takes packed weights where the file holds them; `none` is the exact path."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model and an adapter, each as the user names it."""

    model: str | None = None
    """What `--model` takes; None is the model that the adapter was made for, and
    without an adapter the default one."""
    adapter: str | None = None
    """What `--adapter` takes; None is no adapter."""


_PATHS = ("/", "~", "./", "../")


def short_label(label: str) -> str:
    """The label of a model with the stem or the folder's name in place of a path."""
    wanted = named(label)
    model, path = wanted.model or label, PurePath(wanted.model or label)
    if path.suffix.lower() == ".gguf":
        model = path.stem
    elif model.startswith(_PATHS) or model.count("/") > 1:
        model = path.name or model
    return f"{model} + {wanted.adapter}" if wanted.adapter else model


def named(label: str) -> Wanted:
    """What the label of a loaded model names: a model, or `model + adapter`."""
    model, found, adapter = label.rpartition(" + ")
    if found and model and "/" not in adapter:
        return Wanted(model, adapter)
    return Wanted(label)
