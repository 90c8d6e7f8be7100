"""Which model is wanted, and which adapter on it.

Owns the one value that says so from the command line to the loader. Looks at nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model and an adapter, each as the user names it."""

    model: str | None = None
    """What `--model` takes; None is the model that the adapter was made for, and
    without an adapter the default one."""
    adapter: str | None = None
    """What `--adapter` takes; None is no adapter."""
