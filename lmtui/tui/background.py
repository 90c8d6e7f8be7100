"""Small work that may wait for a disk, done beside the screens.

Owns the way out of the event loop and back as a message. A thread of its own each
time, which nobody waits for: leaving the program never hangs on a slow disk. Never
for anything that computes with the model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from textual.message import Message

from lmtui import log
from lmtui.tui.engine.batching import Post


def aside(work: Callable[[], Message], post: Post, *, otherwise: Message) -> None:
    """Post what `work` returns; `otherwise` where it fails, which is a bug."""

    def run() -> None:
        report = otherwise
        try:
            report = work()
        except Exception as error:
            log.record_bug(error)
        with suppress(RuntimeError):  # the program was left meanwhile
            post(report)

    Thread(target=run, name="aside", daemon=True).start()
