"""What the training screen is given: a training to watch, and words about it.

Values and a protocol only; the process that trains is behind `Training`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lmtui.processes import RunningInstance
from lmtui.train.events import Event


def _nobody() -> Sequence[RunningInstance]:
    return ()


class TrainingSource(Protocol):
    """A training in another process. Nothing here waits for it."""

    @property
    def running(self) -> bool:
        """Whether the process lives."""

    def poll(self) -> Sequence[Event]:
        """What it told since the last call; its last event is always an `End`."""

    def go(self) -> None:
        """Begin with what was planned."""

    def pause(self) -> None:
        """Wait before the next step."""

    def resume(self) -> None:
        """Go on."""

    def stop(self) -> None:
        """Finish the step, save and end; the second time, end at once."""


@dataclass(frozen=True, slots=True)
class Finetuning:
    """A training, and what its screen says of it."""

    training: TrainingSource
    name: str
    """What the adapter will be called."""
    adapters: Path
    """The folder in which the adapter's own will be."""
    base: str | None = None
    """The model that is trained, as `--model` takes it; None is the default one."""
    earlier: Sequence[Event] = ()
    """What the part of the run told that it goes on from."""
    others: Callable[[], Sequence[RunningInstance]] = _nobody
    """What other programs of ours compute now; looks at the disk."""
