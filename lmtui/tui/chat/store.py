"""The only bridge between the screens and the store of conversations.

Owns the keeper, which writes and reads on a thread of its own: a screen asks and never
waits, and the answer comes to it as a message. Knows no widget.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from lmtui.chat import search
from lmtui.chat.conversation import ConversationDelta
from lmtui.chat.search import Excerpt, Hit
from lmtui.chat.store import ConversationFlag, Store
from lmtui.chat.summary import ConversationSummary, StoredConversation
from lmtui.chat.writer import (
    ChangedByOther,
    ConversationWriter,
    KeepFailed,
    KeptAgain,
    WriterEvent,
)
from lmtui.engine.types import Role
from lmtui.errors import LmtuiError
from lmtui.tui.engine.batching import Post


@dataclass
class ConversationKept(Message):
    """What was said is on the disk, or was tried and could not be: a job can begin."""

    job: int


@dataclass
class KeepingFailed(Message):
    """Something can't be kept; it is held, and tried again."""

    error: LmtuiError


@dataclass
class KeepingRecovered(Message):
    """What could not be kept before is kept now."""


@dataclass
class StoreReplaced(Message):
    """The file of the conversations was broken; another one is in its place."""

    words: str
    """What became of the broken one."""


@dataclass
class ChangedElsewhere(Message):
    """Another program has said something in a conversation that is held here."""

    uid: str


@dataclass
class ConversationsListed(Message):
    """The conversations were listed."""

    rows: tuple[ConversationSummary, ...]


@dataclass
class WordsFound(Message):
    """Conversations were searched for what was typed."""

    text: str
    hits: tuple[Hit, ...]


@dataclass
class ConversationPeeked(Message):
    """The end of a conversation was read, to be shown beside the list."""

    id: int
    messages: tuple[tuple[Role, str], ...]
    """Who said what, the last message at the end."""


@dataclass
class ConversationChosen(Message):
    """The user wants to go on with a conversation."""

    id: int
    message: int | None = None
    """The message to show it at; None for its end."""
    words: str = ""
    """What was searched for, to be found again in that message."""


@dataclass
class ConversationOpened(Message):
    """A conversation was read from the store."""

    loaded: StoredConversation
    message: int | None
    passage: Excerpt
    """Where in that message the words stand that were searched for."""


@dataclass
class PromptsRecalled(Message):
    """What was asked of late became known, the last of it at the end."""

    prompts: tuple[str, ...]


@dataclass
class ConversationChanged(Message):
    """A conversation in the list was renamed, marked or deleted."""

    id: int


@dataclass
class StoreFailed(Message):
    """The store could not answer a question."""

    error: LmtuiError


SHOWN = 500
"""Conversations, or hits, of a list: more are found by searching."""


class ConversationStore:
    """The conversations of one file. What becomes of keeping goes to `post`, every
    answer to whoever asked."""

    def __init__(self, file: Path, post: Post) -> None:
        self._file, self._post = file, post
        self._keeper = ConversationWriter(file, self._tell)

    def _tell(self, fact: WriterEvent) -> None:
        match fact:
            case KeepFailed():
                _posted(self._post, KeepingFailed(fact.error))
            case KeptAgain():
                _posted(self._post, KeepingRecovered())
            case ChangedByOther():
                _posted(self._post, ChangedElsewhere(fact.uid))
            case _:
                _posted(self._post, StoreReplaced(fact.salvaged.words))

    def know(self, opened: StoredConversation) -> None:
        """A conversation was read, and is as far as this."""
        self._keeper.know(opened.about.uid, opened.about.touched)

    def keep(
        self,
        uid: str,
        changes: ConversationDelta,
        *,
        job: int = 0,
        to: Post | None = None,
    ) -> None:
        """Keep what became of a conversation; `ConversationKept` with the job goes to
        `to` once that was tried."""
        then = None
        if to is not None:
            kept, whom = ConversationKept(job), to

            def then() -> None:
                _posted(whom, kept)

        self._keeper.keep(uid, changes, then=then)

    def list(self, to: Post, *, archived: bool = False, limit: int = SHOWN) -> None:
        """`ConversationsListed`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            rows = store.listed(archived=archived, limit=limit)
            return ConversationsListed(tuple(rows))

        self._ask(work, to, nothing=ConversationsListed(()))

    def search(self, to: Post, text: str) -> None:
        """`WordsFound`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            hits = search.search(store, text, limit=SHOWN)
            return WordsFound(text, tuple(hits))

        self._ask(work, to, nothing=WordsFound(text, ()))

    def peek(self, to: Post, id_: int) -> None:
        """`ConversationPeeked`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            return ConversationPeeked(id_, tuple(store.ending(id_)))

        self._ask(work, to)

    def open(
        self, to: Post, id_: int, *, message: int | None = None, words: str = ""
    ) -> None:
        """`ConversationOpened`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            loaded, passage = store.load(id_), Excerpt("", ())
            self.know(loaded)
            if message is not None and words:
                passage = search.places(store, words, conversation=id_, message=message)
            return ConversationOpened(loaded, message, passage)

        self._ask(work, to)

    def recall(self, to: Post) -> None:
        """`PromptsRecalled`, where there are any."""
        none = PromptsRecalled(())
        self._ask(lambda store: PromptsRecalled(tuple(store.asked())), to, none)

    def rename(self, to: Post, id_: int, title: str) -> None:
        """`ConversationChanged`, or `StoreFailed`."""
        self._change(to, id_, lambda store: store.rename(id_, title))

    def entitle(self, to: Post, uid: str, title: str) -> None:
        """`rename`, by the name that a conversation has before it has a number."""

        def work(store: Store) -> Message:
            id_ = store.find(uid)
            store.rename(id_, title)
            return ConversationChanged(id_)

        self._ask(work, to)

    def mark(self, to: Post, id_: int, mark: ConversationFlag, value: bool) -> None:
        """`ConversationChanged`, or `StoreFailed`."""
        self._change(to, id_, lambda store: store.mark(id_, mark, value))

    def purge(self) -> None:
        """Remove what was deleted long ago."""
        if self._file.exists():
            self._keeper.ask(Store.purge, _ignore, _ignore)

    def close(self) -> bool:
        """Keep what is held and end; whether all of it is kept."""
        return self._keeper.close()

    def _change(self, to: Post, id_: int, change: Callable[[Store], None]) -> None:
        def work(store: Store) -> Message:
            change(store)
            return ConversationChanged(id_)

        self._ask(work, to)

    def _ask(
        self,
        work: Callable[[Store], Message],
        to: Post,
        nothing: Message | None = None,
    ) -> None:
        """Post what `work` returns; `nothing` where nothing was ever kept, so that
        looking makes no file."""
        if nothing is not None and not self._file.exists():
            _posted(to, nothing)
            return

        def failed(error: LmtuiError) -> None:
            _posted(to, StoreFailed(error))

        self._keeper.ask(work, lambda message: _posted(to, message), failed)


def _ignore(_: object) -> None:
    """What came of it is nobody's business."""


def _posted(to: Post, message: Message) -> None:
    with suppress(RuntimeError):  # the program was left meanwhile
        to(message)
