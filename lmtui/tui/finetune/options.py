"""Options of the finetune screen, and the protocol of the training process.

The implementation of the protocol is in `lmtui.train.client`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lmtui.train.events import Event


class TrainingSource(Protocol):
    """A training in another process; no method blocks."""

    @property
    def running(self) -> bool: ...

    def poll(self) -> Sequence[Event]:
        """Return the events since the last call; the last event of all is always an
        `End`."""

    def go(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def stop(self) -> None:
        """Finish the step, save and end; the second call ends at once."""


@dataclass(frozen=True, slots=True)
class Finetuning:
    """A training and what its screen needs to know."""

    training: TrainingSource
    name: str
    """The name of the adapter."""
    adapters: Path
    """The folder that holds all adapters."""
    base: str | None = None
    """The base model, as `--model` takes it; None is the default model."""
    earlier: Sequence[Event] = ()
    """The events of the run up to the checkpoint from which it is resumed."""
