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

from lmtui.errors import LmtuiError
from lmtui.tui.engine.client import Deliver, OnError, Then

if TYPE_CHECKING:
    from lmtui.chat.conversation import ConversationDelta
    from lmtui.chat.search import Excerpt, Hit
    from lmtui.chat.store import ConversationFlag, Store
    from lmtui.chat.summary import ConversationSummary, StoredConversation
    from lmtui.chat.writer import ConversationWriter, WriterEvent
    from lmtui.engine.types import Role

T = TypeVar("T")

Post = Callable[[Message], object]
"""Takes messages for a screen, from any thread, and never blocks."""

_NONE: tuple[Any, ...] = ()
SHOWN = 500
"""Most conversations or hits in a list; more are found by searching."""


@dataclass
class SaveFailed(Message):
    """Changes could not be written; they stay in memory and are tried again."""

    error: LmtuiError


@dataclass
class SaveRecovered(Message):
    """Changes that could not be written before are written now."""


@dataclass
class StoreReplaced(Message):
    """The store's file was broken and has been replaced."""

    words: str
    """Report on what was saved from the broken file."""


@dataclass
class ChangedElsewhere(Message):
    """A conversation that is open here was changed by another program."""

    uid: str


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
        from lmtui.chat.writer import ChangedByOther, WriteFailed, WriteRecovered

        message: Message
        match event:
            case WriteFailed():
                message = SaveFailed(event.error)
            case WriteRecovered():
                message = SaveRecovered()
            case ChangedByOther():
                message = ChangedElsewhere(event.uid)
            case _:
                message = StoreReplaced(event.salvaged.words)
        with suppress(RuntimeError):  # the program has ended meanwhile
            self._post(message)

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

    def list(
        self,
        deliver: Deliver,
        *,
        then: Then[tuple[ConversationSummary, ...]],
        failed: OnError,
        archived: bool = False,
        limit: int = SHOWN,
    ) -> None:
        """List the conversations, the one used last first."""
        self._ask(
            lambda store: tuple(store.listed(archived=archived, limit=limit)),
            deliver,
            then,
            failed,
            empty=_NONE,
        )

    def search(
        self,
        deliver: Deliver,
        text: str,
        *,
        then: Then[tuple[Hit, ...]],
        failed: OnError,
    ) -> None:
        from lmtui.chat import search

        self._ask(
            lambda store: tuple(search.search(store, text, limit=SHOWN)),
            deliver,
            then,
            failed,
            empty=_NONE,
        )

    def peek(
        self,
        deliver: Deliver,
        id_: int,
        *,
        then: Then[tuple[tuple[Role, str], ...]],
        failed: OnError,
    ) -> None:
        """Read the end of a conversation: role and text of each message, the last one
        at the end."""
        self._ask(lambda store: tuple(store.ending(id_)), deliver, then, failed)

    def open(
        self,
        deliver: Deliver,
        chosen: ConversationChosen,
        *,
        then: Callable[[StoredConversation, Excerpt], object],
        failed: OnError,
    ) -> None:
        from lmtui.chat.search import Excerpt, places

        id_, message, words = chosen.id, chosen.message, chosen.words

        def work(store: Store) -> tuple[StoredConversation, Excerpt]:
            loaded, passage = store.load(id_), Excerpt("", ())
            self.know(loaded)
            if message is not None and words:
                passage = places(store, words, conversation=id_, message=message)
            return loaded, passage

        self._ask(work, deliver, lambda answer: then(*answer), failed)

    def recall(
        self, deliver: Deliver, *, then: Then[tuple[str, ...]], failed: OnError
    ) -> None:
        """Read the latest prompts of all conversations, the last one at the end."""
        self._ask(
            lambda store: tuple(store.asked()), deliver, then, failed, empty=_NONE
        )

    def rename(
        self,
        deliver: Deliver,
        id_: int,
        title: str,
        *,
        then: Then[None],
        failed: OnError,
    ) -> None:
        self._ask(lambda store: store.rename(id_, title), deliver, then, failed)

    def entitle(
        self,
        deliver: Deliver,
        uid: str,
        title: str,
        *,
        then: Then[None],
        failed: OnError,
    ) -> None:
        """Give a conversation a title by its uid, which it has before it has an id."""
        self._ask(
            lambda store: store.rename(store.find(uid), title), deliver, then, failed
        )

    def mark(
        self,
        deliver: Deliver,
        id_: int,
        mark: ConversationFlag,
        value: bool,
        *,
        then: Then[None],
        failed: OnError,
    ) -> None:
        self._ask(lambda store: store.mark(id_, mark, value), deliver, then, failed)

    def purge(self) -> None:
        if self._file.exists():
            self._writer.ask(lambda store: store.purge(), _ignore, _ignore)

    def close(self) -> bool:
        """Return whether all pending changes were written."""
        return self._opened_writer.close() if self._opened_writer is not None else True

    def _ask(
        self,
        work: Callable[[Store], T],
        deliver: Deliver,
        then: Then[T],
        failed: OnError,
        *,
        empty: T | None = None,
    ) -> None:
        """Have the writer work. If the file does not exist, the answer is `empty`, if
        there is one, so that reading creates no file."""

        def hand_over(call: Callable[..., object], value: object) -> None:
            with suppress(RuntimeError):  # the program has ended meanwhile
                deliver(partial(call, value))

        if empty is not None and not self._file.exists():
            hand_over(then, empty)
        else:
            self._writer.ask(work, partial(hand_over, then), partial(hand_over, failed))


def _ignore(_: object) -> None: ...
