"""Saves conversations on a thread of its own, so that callers never wait.

A growing reply is saved at most twice a second, everything else at once; what can't be
saved is tried again. Reads of the store run on the same thread, after pending writes.
Results are reported as events. Knows no screen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import TypeVar

from lmtui import log
from lmtui.chat.conversation import ConversationDelta
from lmtui.chat.repair import RepairedStore, Salvaged, back_up
from lmtui.chat.store import Store
from lmtui.errors import LmtuiError, SystemLimitError

GROWING = 0.5
"""Seconds between two writes of a growing reply."""
_AGAIN = 2.0  # seconds until a failed write is tried again

T = TypeVar("T")
Clock = Callable[[], float]
Done = Callable[[], None]


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """Changes could not be saved; they are kept and tried again."""

    error: LmtuiError


@dataclass(frozen=True, slots=True)
class WriteRecovered:
    """Saving works again; all changes are saved."""


@dataclass(frozen=True, slots=True)
class FileReplaced:
    """The file was damaged and was replaced by a new one."""

    salvaged: Salvaged


@dataclass(frozen=True, slots=True)
class ChangedByOther:
    """A conversation that is open here was changed by another program.

    Nothing more is saved into it; the caller must save its own as another conversation.
    """

    uid: str


WriterEvent = WriteFailed | WriteRecovered | FileReplaced | ChangedByOther


class ConversationWriter:
    """A store and its thread, which starts when it is first needed.

    `tell` takes the events and is called on that thread.
    """

    def __init__(
        self,
        file: Path,
        tell: Callable[[WriterEvent], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._tell, self._clock = tell, clock
        self._changed = Condition()
        self._work: deque[Done] = deque()
        self._unsaved: dict[str, ConversationDelta] = {}  # changes to save, by uid
        self._known: dict[str, int] = {}  # last known `touched`, by uid
        self._waiting: list[Done] = []  # callbacks for the next write
        self._urgent = False  # unsaved changes include more than a growing reply
        self._due = 0.0
        self._failed = False
        self._closing = self._backed_up = False
        self._store = RepairedStore(file, lambda found: tell(FileReplaced(found)))
        self._thread: Thread | None = None

    def know(self, uid: str, touched: int) -> None:
        with self._changed:
            self._known[uid] = touched

    def write(
        self, uid: str, changes: ConversationDelta, *, then: Done | None = None
    ) -> None:
        """Save changes of a conversation.

        `then` is called on the writer's thread once they are on the disk, or the write
        failed.
        """
        with self._changed:
            waits = bool(self._unsaved)  # a write is due already
            self._unsaved[uid] = self._unsaved.get(uid, ConversationDelta()).then(
                changes
            )
            grows = all(node.state == "growing" for node in changes.nodes)
            self._urgent |= then is not None or bool(changes.chosen) or not grows
            if then is not None:
                self._waiting.append(then)
            if self._urgent or not waits:
                try:
                    self._wake()
                except SystemLimitError as error:
                    self._failed = True
                    self._tell(WriteFailed(error))
                    waiting, self._waiting = self._waiting, []
                    for done in waiting:
                        self._guarded(done)

    def ask(
        self,
        work: Callable[[Store], T],
        answer: Callable[[T], None],
        failed: Callable[[LmtuiError], None],
    ) -> None:
        """Call `work` with the store, then `answer` or `failed`, all on the writer's
        thread."""

        def do() -> None:
            try:
                result = self._store.use(work)
            except Exception as error:  # the caller gets every error
                failed(_as_lmtui_error(error))
            else:
                answer(result)

        with self._changed:
            self._work.append(do)
            try:
                self._wake()
            except SystemLimitError as error:
                self._work.remove(do)
                failed(error)

    def close(self, timeout: float = 10.0) -> bool:
        """Save all changes and end the thread.

        Returns whether all is done within `timeout` seconds. A busy disk can take
        seconds for one write, and what is not written by then is lost.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            if self._unsaved:  # no thread could be started
                self._run()
            return not self._unsaved
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._unsaved

    def _wake(self) -> None:
        """Wake the thread, which is started where it does not run yet.

        Raises:
            SystemLimitError: it can't be started now; the next call tries again.
        """
        if self._thread is None and not self._closing:
            thread = Thread(target=self._run, name="chat-writer", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise SystemLimitError(str(error)) from error
            self._thread = thread
        self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self._write()
            while self._work:
                self._guarded(self._work.popleft())
            if not self._backed_up:
                self._backed_up = True
                self._guarded(lambda: self._store.use(back_up))
        self._write()
        # After `ChangedByOther` the caller may have saved it as another conversation.
        if self._unsaved and not self._failed:
            self._write()
        while self._work:
            self._guarded(self._work.popleft())
        self._store.close()

    def _wait(self) -> bool:
        """Wait for work; return False once the thread is to end."""
        with self._changed:
            while not self._closing and not self._work and not self._is_due():
                left = self._due - self._clock() if self._unsaved else None
                self._changed.wait(left if left is None else max(left, 0.001))
            return not self._closing

    def _is_due(self) -> bool:
        if not self._unsaved:
            return False
        now = self._waiting or (self._urgent and not self._failed)
        return bool(now) or self._clock() >= self._due

    def _write(self) -> None:
        with self._changed:
            changes, self._unsaved = self._unsaved, {}
            waiting, self._waiting = self._waiting, []
            self._urgent = False
        if changes:
            self._save(changes)
        for done in waiting:
            self._guarded(done)

    def _save(self, changes: dict[str, ConversationDelta]) -> None:
        try:
            touched, refused = self._store.use(
                lambda store: store.save(changes, self._known)
            )
        except Exception as error:
            with self._changed:
                for uid, change in changes.items():
                    later = self._unsaved.get(uid, ConversationDelta())
                    self._unsaved[uid] = change.then(later)
            self._store.close()  # an open read-only file stays so; reopening may help
            if not self._failed:
                self._failed = True
                self._tell(WriteFailed(_as_lmtui_error(error)))
            self._due = self._clock() + _AGAIN
            return
        self._due = self._clock() + GROWING
        self._known.update(touched)
        for uid in refused:
            self._tell(ChangedByOther(uid))
        if self._failed:
            self._failed = False
            self._tell(WriteRecovered())

    def _guarded(self, work: Done) -> None:
        try:
            work()
        except Exception as error:  # must not end the thread
            log.record_bug(error)


def _as_lmtui_error(error: Exception) -> LmtuiError:
    if isinstance(error, LmtuiError):
        return error
    file = log.record_bug(error)
    return LmtuiError(
        "the conversation can't be saved",
        f"{type(error).__name__}: {error}",
        f"The details are in {file}." if file else "",
    )
