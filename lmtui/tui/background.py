"""Short work that may wait for a disk, run on a daemon thread of its own.

The result comes back on the event loop. The app never waits for the thread, so
quitting does not hang on a slow disk. Not for work with the model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TypeVar

from lmtui import log
from lmtui.errors import LmtuiError, SystemLimitError
from lmtui.tui.engine.client import Deliver, ignore

T = TypeVar("T")


def run_in_thread(
    work: Callable[[], T],
    deliver: Deliver,
    then: Callable[[T], object] = ignore,
    *,
    failed: Callable[[LmtuiError], object] = ignore,
    bug: str = "",
    about: str = "",
) -> None:
    """Run `work` on a thread; hand its result to `then`, or its error to `failed`.

    Any error but a `LmtuiError` is logged, and one with the title `bug` and the detail
    `about` takes its place. Where no thread can be started, `failed` gets a
    `SystemLimitError`.
    """

    def run() -> None:
        try:
            end = partial(then, work())
        except LmtuiError as error:
            end = partial(failed, error)
        except Exception as error:
            log.record_bug(error)
            end = partial(failed, LmtuiError(bug, about, "See the log."))
        with suppress(RuntimeError):  # the app has ended
            deliver(end)

    try:
        Thread(target=run, name="background", daemon=True).start()
    except RuntimeError as error:
        deliver(partial(failed, SystemLimitError(str(error))))
