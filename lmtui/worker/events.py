"""Events with which the worker answers a request.

Each request ends with exactly one `Answer`, `Failed` or `Dropped`; any number of
batches may come before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmtui.engine.types import Capabilities, EngineInfo, Prompt
from lmtui.errors import LmtuiError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request's `run` returned."""

    id: int
    value: Any


@dataclass(frozen=True, slots=True)
class Batch:
    """What a request's `run` emitted since the last batch, in order."""

    id: int
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    id: int
    error: LmtuiError


@dataclass(frozen=True, slots=True)
class Dropped:
    """A request has no result: it was stopped, or another model is loaded."""

    id: int


Event = Answer | Batch | Failed | Dropped


@dataclass(frozen=True, slots=True)
class EngineOpened:
    """Value of the answer to a load."""

    info: EngineInfo
    capabilities: Capabilities
    against: EngineInfo | None
    """The model that it is compared with, if any."""


@dataclass(frozen=True, slots=True)
class PromptReady:
    """A conversation was laid out as the prompt that the model now reads."""

    prompt: Prompt
    left_out: int
    """How many of its messages are not in it, for want of room."""


@dataclass(frozen=True, slots=True)
class CountReported:
    """Of `total` tokens or candidates, `done` are read."""

    done: int
    total: int
