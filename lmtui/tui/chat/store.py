"""The interface between the screens and the conversation store.

A `ConversationWriter` reads and writes on a thread of its own. Screens make requests
and never wait; answers come on the event loop. The database is imported with the first
request, after the first frame. Knows no widget.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from textual.message import Message

from lmtui.tui.engine.client import Deliver, OnError, Then

if TYPE_CHECKING:
    from lmtui.chat.conversation import ConversationDelta
    from lmtui.chat.store import Store
    from lmtui.chat.summary import StoredConversation
    from lmtui.chat.writer import ConversationWriter, WriterEvent

T = TypeVar("T")

Post = Callable[[Message], object]
"""Takes messages for a screen, from any thread, and never blocks."""


@dataclass
class WriterReported(Message):
    """The writer of the conversations reports a failed write or the like."""

    event: WriterEvent


@dataclass
class ConversationChosen(Message):
    """The user has chosen a conversation to continue."""

    id: int
    message: int | None = None
    """The message to show; None for the end."""
    words: str = ""
    """The search words, to be highlighted in that message."""


class ConversationStore:
    """The conversations of one file.

    Events of the writer are posted to `post`. Each request has a `deliver`, which calls
    `then` with the answer, or `failed`, on the event loop of who asked.
    """

    def __init__(self, file: Path, post: Post) -> None:
        self._file, self._post = file, post
        self._opened_writer: ConversationWriter | None = None

    @property
    def _writer(self) -> ConversationWriter:
        if self._opened_writer is None:
            from lmtui.chat.writer import ConversationWriter

            self._opened_writer = ConversationWriter(self._file, self._report)
        return self._opened_writer

    def _report(self, event: WriterEvent) -> None:
        with suppress(RuntimeError):  # the program has ended meanwhile
            self._post(WriterReported(event))

    def know(self, opened: StoredConversation) -> None:
        """Note how far a loaded conversation is, to detect changes by other
        programs."""
        self._writer.know(opened.about.uid, opened.about.touched)

    def save(
        self,
        uid: str,
        changes: ConversationDelta,
        *,
        tried: Callable[[], object] | None = None,
    ) -> None:
        """Write changes of a conversation. `tried` is called once that was tried, on
        the writer's thread."""

        def then() -> None:
            if tried is not None:
                with suppress(RuntimeError):  # the program has ended meanwhile
                    tried()

        self._writer.write(uid, changes, then=None if tried is None else then)

    def ask(
        self,
        deliver: Deliver,
        work: Callable[[Store], T],
        then: Then[T],
        failed: OnError,
        *,
        empty: tuple[Any, ...] | None = None,
    ) -> None:
        """Have the writer call `work`. If the file does not exist, the answer is
        `empty`, if there is one, so that reading creates no file."""

        def hand_over(call: Callable[..., object], value: object) -> None:
            with suppress(RuntimeError):  # the program has ended meanwhile
                deliver(partial(call, value))

        if empty is not None and not self._file.exists():
            hand_over(then, empty)
        else:
            self._writer.ask(work, partial(hand_over, then), partial(hand_over, failed))

    def purge(self) -> None:
        if self._file.exists():
            self._writer.ask(lambda store: store.purge(), _ignore, _ignore)

    def close(self) -> bool:
        """Return whether all pending changes were written."""
        return self._opened_writer.close() if self._opened_writer is not None else True


def _ignore(_: object) -> None: ...
