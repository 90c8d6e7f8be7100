"""Which model is wanted, which adapter on it, and in how many bits.

Owns the values that say so from the command line to the loader. Looks at nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
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


def named(label: str) -> Wanted:
    """What the label of a loaded model names: a model, or `model + adapter`."""
    model, found, adapter = label.rpartition(" + ")
    if found and model and "/" not in adapter:
        return Wanted(model, adapter)
    return Wanted(label)
