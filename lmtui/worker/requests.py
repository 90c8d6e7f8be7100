"""Requests to the engine's worker, as values.

A request holds a function that is called with the engine on the worker's thread. Knows
neither the thread nor the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from threading import Event as Flag
from typing import Any, Protocol

from lmtui.cancellation import Condition
from lmtui.engine.protocol import Engine
from lmtui.models.progress import OnProgress
from lmtui.worker.events import Event

Opened = Engine | tuple[Engine, Engine]
"""An engine, or an engine and one to compare it with."""
OpenEngine = Callable[[OnProgress], Opened]
"""Opens the engine on the worker's thread and reports its progress."""
Reply = Callable[[Event], object]
"""Takes the events of a request; called on the worker's thread, and must not block."""


class Slot(IntEnum):
    """Kinds of requests, the most urgent first. A client has one of each at a time."""

    LOAD = 0
    PREVIEW = 1
    """Needs no forward pass: also answered between two tokens of a generation."""
    SEARCH = 2
    """The same. A search and the rows of a panel are asked for together."""
    CONTEXT = 3
    """Changes what every later request is given."""
    LOOK = 4
    COUNT = 5
    GENERATE = 6
    REPLACE = 7
    SUGGEST = 8
    SPAN = 9
    SCORE = 10


class Context(Protocol):
    """What a request's `run` may use besides the engine."""

    @property
    def stopped(self) -> Condition:
        """Asks whether the request was stopped for good. It is also cancelled, to run
        again later, where a more urgent one waits."""

    def emit(self, *values: Any) -> None:
        """Reply with a batch at once, then answer the previews that wait."""

    def gather(self, value: Any) -> None:
        """Emit a value together with those before it, at most once in an interval;
        what is gathered at the end is emitted before the answer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineRequest:
    """Something to do with the engine, and the flag that ends it early."""

    id: int
    """A number that no other request has."""
    slot: Slot
    run: Callable[[Any, Context], Any]
    """Called on the worker's thread with an `Engine`, for `Slot.LOAD` with None;
    what it returns is the answer's value, for `Slot.LOAD` what was `Opened`."""
    reply: Reply
    other: bool = False
    """Whether it is for the model that is compared with."""
    flag: Flag = field(default_factory=Flag, repr=False)
    """Set when the answer is not wanted any more."""
