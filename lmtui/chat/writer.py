"""Keeping conversations while they are held, on a thread of its own.

Owns when something is written: a reply that grows at most twice a second, everything
else at once, and what could not be written again and again until it can. Whoever asks
never waits; what became of it is told as facts. Questions to the store are answered on
the same thread, after what was to be kept before them. Knows no screen.
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
from lmtui.chat import repair
from lmtui.chat.conversation import ConversationDelta
from lmtui.chat.database import Damaged
from lmtui.chat.repair import Salvaged
from lmtui.chat.store import Store
from lmtui.errors import LmtuiError

GROWING = 0.5
"""Seconds between two writes of a reply that grows."""
_AGAIN = 2.0  # s until what could not be written is tried again

T = TypeVar("T")
Clock = Callable[[], float]
Done = Callable[[], None]


@dataclass(frozen=True, slots=True)
class KeepFailed:
    """Something could not be kept; it is held, and tried again."""

    error: LmtuiError


@dataclass(frozen=True, slots=True)
class KeptAgain:
    """What could not be kept before is kept now."""


@dataclass(frozen=True, slots=True)
class FileReplaced:
    """The file was broken; another one has taken its place."""

    salvaged: Salvaged


@dataclass(frozen=True, slots=True)
class ChangedByOther:
    """Another program has said something in a conversation since it was opened here:
    nothing more is written into it, and who holds it has to keep it as another one."""

    uid: str


WriterEvent = KeepFailed | KeptAgain | FileReplaced | ChangedByOther


class ConversationWriter:
    """A store and the thread that it is used on, which begins with the first need.

    `tell` takes the facts and is called on that thread.
    """

    def __init__(
        self,
        file: Path,
        tell: Callable[[WriterEvent], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._file, self._tell, self._clock = file, tell, clock
        self._changed = Condition()
        self._work: deque[Done] = deque()
        self._held: dict[
            str, ConversationDelta
        ] = {}  # what is to be written, by its uid
        self._known: dict[str, int] = {}  # how far each is touched, as known here
        self._waiting: list[Done] = []  # who wants to know when it is
        self._urgent = False  # something besides growth is held
        self._due = 0.0
        self._failed = False
        self._closing = False
        self._store: Store | None = None
        self._thread: Thread | None = None

    def know(self, uid: str, touched: int) -> None:
        """A conversation was opened, which is as far as this."""
        with self._changed:
            self._known[uid] = touched

    def keep(
        self, uid: str, changes: ConversationDelta, *, then: Done | None = None
    ) -> None:
        """Write what became of a conversation. `then` is called on the keeper's
        thread once it is on the disk, or was tried and could not be."""
        with self._changed:
            waits = bool(self._held)  # until it is time to write that
            self._held[uid] = self._held.get(uid, ConversationDelta()).then(changes)
            grows = all(node.state == "growing" for node in changes.nodes)
            self._urgent |= then is not None or bool(changes.chosen) or not grows
            if then is not None:
                self._waiting.append(then)
            if self._urgent or not waits:
                self._wake()

    def ask(
        self,
        work: Callable[[Store], T],
        answer: Callable[[T], None],
        failed: Callable[[LmtuiError], None],
    ) -> None:
        """Call `work` with the store, and one of the others with what came of it; all
        on the keeper's thread."""

        def do() -> None:
            try:
                found = self._with_store(work)
            except Exception as error:  # whoever asked is told, whatever it was
                failed(_explained(error))
            else:
                answer(found)

        with self._changed:
            self._work.append(do)
            self._wake()

    def close(self, timeout: float = 2.0) -> bool:
        """Write what is held and end; whether that is done after at most `timeout`
        seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._held

    def _wake(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = Thread(target=self._run, name="keeper", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self._write()
            while self._work:
                self._guarded(self._work.popleft())
        self._write()
        if self._held and not self._failed:  # as another one, which was refused
            self._write()
        if self._store is not None:
            self._store.close()

    def _wait(self) -> bool:
        """Wait for something to do; False once that is to end."""
        with self._changed:
            while not self._closing and not self._work and not self._is_due():
                left = self._due - self._clock() if self._held else None
                self._changed.wait(left if left is None else max(left, 0.001))
            return not self._closing

    def _is_due(self) -> bool:
        if not self._held:
            return False
        now = self._waiting or (self._urgent and not self._failed)
        return bool(now) or self._clock() >= self._due

    def _write(self) -> None:
        with self._changed:
            held, self._held = self._held, {}
            waiting, self._waiting = self._waiting, []
            self._urgent = False
        if held:
            self._save(held)
        for done in waiting:
            self._guarded(done)

    def _save(self, held: dict[str, ConversationDelta]) -> None:
        try:
            saved = self._with_store(lambda store: store.save(held, self._known))
        except Exception as error:
            self._hold_again(held)
            self._let_go()  # a file that was read-only stays so for who has opened it
            if not self._failed:
                self._failed = True
                self._tell(KeepFailed(_explained(error)))
            self._due = self._clock() + _AGAIN
            return
        self._due = self._clock() + GROWING
        self._known.update(saved.touched)
        for uid in saved.refused:
            self._tell(ChangedByOther(uid))
        if self._failed:
            self._failed = False
            self._tell(KeptAgain())

    def _hold_again(self, held: dict[str, ConversationDelta]) -> None:
        with self._changed:
            for uid, changes in held.items():
                self._held[uid] = changes.then(self._held.get(uid, ConversationDelta()))

    def _with_store(self, work: Callable[[Store], T]) -> T:
        """Call `work` with the store, which is opened if need be and replaced if it is
        broken."""
        if self._store is None:
            self._store, salvaged = repair.open_store(self._file)
            self._say(salvaged)
        try:
            return work(self._store)
        except Damaged:
            self._let_go()
            self._store, salvaged = repair.replaced(self._file)
            self._say(salvaged)
            try:
                return work(self._store)
            except Damaged as error:
                raise _explained(error) from error

    def _let_go(self) -> None:
        """Close the store, which is opened anew when it is needed."""
        if self._store is not None:
            self._store.close()
        self._store = None

    def _say(self, salvaged: Salvaged | None) -> None:
        if salvaged is not None:
            self._tell(FileReplaced(salvaged))

    def _guarded(self, work: Done) -> None:
        try:
            work()
        except Exception as error:  # of one question, not of the thread
            log.record_bug(error)


def _explained(error: Exception) -> LmtuiError:
    if isinstance(error, LmtuiError):
        return error
    file = log.record_bug(error)
    return LmtuiError(
        "the conversation can't be kept",
        f"{type(error).__name__}: {error}",
        f"The details are in {file}." if file else "",
    )
