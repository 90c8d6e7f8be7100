"""The pretraining as a stream of events, from a process of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from lmtui import cancellation, processes
from lmtui.learn.pretrain.request import PretrainRequest, require_enough
from lmtui.train.client import WorkerProcess
from lmtui.train.events import End, Event

COMMAND: Sequence[str] = (*processes.MODULE, "lmtui.learn.pretrain")

_POLLED_EVERY = 0.05  # seconds between two looks at events and cancellation


def pretrain(
    request: PretrainRequest, *, command: Sequence[str] = COMMAND
) -> Generator[Event]:
    """Pretrain a model in a process of its own, until its `End` or a cancellation.

    The process starts with the first event asked for, and is dead when the iterator
    ends or is closed.

    Raises:
        LmtuiError: the text is too small, or the process can't be started.
    """
    require_enough(request.data)
    worker = WorkerProcess.start_temporary(request, command)
    try:
        while not cancellation.requested():
            events = worker.poll()
            yield from events
            if events and isinstance(events[-1], End):
                return
            worker.wait(_POLLED_EVERY)
    finally:
        worker.kill()
