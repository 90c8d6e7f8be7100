"""Short work that may wait for a disk, run on a daemon thread of its own.

The result comes back as a message. The app never waits for the thread, so quitting
does not hang on a slow disk. Not for work with the model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from textual.message import Message

from lmtui import log
from lmtui.tui.engine.messages import Post


def run_in_thread(
    work: Callable[[], Message], post: Post, *, otherwise: Message
) -> None:
    """Run `work` on a thread and post the message that it returns.

    If it raises, which is a bug, that is logged and `otherwise` is posted.
    """

    def run() -> None:
        report = otherwise
        try:
            report = work()
        except Exception as error:
            log.record_bug(error)
        with suppress(RuntimeError):  # the app has ended
            post(report)

    Thread(target=run, name="aside", daemon=True).start()
