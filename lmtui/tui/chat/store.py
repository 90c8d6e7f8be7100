"""The interface between the screens and the conversation store.

A `ConversationWriter` reads and writes on a thread of its own. Screens make requests
and never wait; answers are posted to them as messages. Knows no widget.
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
    WriteFailed,
    WriteRecovered,
    WriterEvent,
)
from lmtui.engine.types import Role
from lmtui.errors import LmtuiError
from lmtui.tui.engine.messages import Post

SHOWN = 500
"""Most conversations or hits in a list; more are found by searching."""


@dataclass
class ConversationStored(Message):
    """The pending changes are written, or could not be: the generation job can
    begin."""

    job: int


@dataclass
class KeepingFailed(Message):
    """Changes could not be written; they stay in memory and are tried again."""

    error: LmtuiError


@dataclass
class KeepingRecovered(Message):
    """Changes that could not be written before are written now."""


@dataclass
class StoreReplaced(Message):
    """The store's file was broken and has been replaced."""

    words: str
    """What was saved from the broken file."""


@dataclass
class ChangedElsewhere(Message):
    """A conversation that is open here was changed by another program."""

    uid: str


@dataclass
class ConversationsListed(Message):
    """The list of conversations."""

    rows: tuple[ConversationSummary, ...]


@dataclass
class SearchFinished(Message):
    """The results of a search."""

    text: str
    hits: tuple[Hit, ...]


@dataclass
class ConversationPeeked(Message):
    """The end of a conversation, for the preview beside the list."""

    id: int
    messages: tuple[tuple[Role, str], ...]
    """Role and text of each message, the last one at the end."""


@dataclass
class ConversationChosen(Message):
    """The user has chosen a conversation to continue."""

    id: int
    message: int | None = None
    """The message to show; None for the end."""
    words: str = ""
    """The search words, to be highlighted in that message."""


@dataclass
class ConversationOpened(Message):
    """A conversation was loaded from the store."""

    loaded: StoredConversation
    message: int | None
    passage: Excerpt
    """The matches of the search words in that message."""


@dataclass
class PromptsRecalled(Message):
    """The latest prompts of all conversations, the last one at the end."""

    prompts: tuple[str, ...]


@dataclass
class ConversationChanged(Message):
    """A conversation in the list was renamed, marked or deleted."""

    id: int


@dataclass
class StoreFailed(Message):
    """The store could not answer a request."""

    error: LmtuiError


class ConversationStore:
    """The conversations of one file. Events of the writer are posted to `post`, answers
    to whoever made the request."""

    def __init__(self, file: Path, post: Post) -> None:
        self._file, self._post = file, post
        self._keeper = ConversationWriter(file, self._tell)

    def _tell(self, fact: WriterEvent) -> None:
        match fact:
            case WriteFailed():
                _posted(self._post, KeepingFailed(fact.error))
            case WriteRecovered():
                _posted(self._post, KeepingRecovered())
            case ChangedByOther():
                _posted(self._post, ChangedElsewhere(fact.uid))
            case _:
                _posted(self._post, StoreReplaced(fact.salvaged.words))

    def know(self, opened: StoredConversation) -> None:
        """Note how far a loaded conversation is, to detect changes by other
        programs."""
        self._keeper.know(opened.about.uid, opened.about.touched)

    def save(
        self,
        uid: str,
        changes: ConversationDelta,
        *,
        job: int = 0,
        to: Post | None = None,
    ) -> None:
        """Write changes of a conversation. `ConversationStored` with the job is posted
        to `to` once that was tried."""
        then = None
        if to is not None:
            kept, whom = ConversationStored(job), to

            def then() -> None:
                _posted(whom, kept)

        self._keeper.write(uid, changes, then=then)

    def list(self, to: Post, *, archived: bool = False, limit: int = SHOWN) -> None:
        """Post `ConversationsListed` or `StoreFailed`."""

        def work(store: Store) -> Message:
            rows = store.listed(archived=archived, limit=limit)
            return ConversationsListed(tuple(rows))

        self._ask(work, to, nothing=ConversationsListed(()))

    def search(self, to: Post, text: str) -> None:
        """Post `SearchFinished` or `StoreFailed`."""

        def work(store: Store) -> Message:
            hits = search.search(store, text, limit=SHOWN)
            return SearchFinished(text, tuple(hits))

        self._ask(work, to, nothing=SearchFinished(text, ()))

    def peek(self, to: Post, id_: int) -> None:
        """Post `ConversationPeeked` or `StoreFailed`."""

        def work(store: Store) -> Message:
            return ConversationPeeked(id_, tuple(store.ending(id_)))

        self._ask(work, to)

    def open(
        self, to: Post, id_: int, *, message: int | None = None, words: str = ""
    ) -> None:
        """Post `ConversationOpened` or `StoreFailed`."""

        def work(store: Store) -> Message:
            loaded, passage = store.load(id_), Excerpt("", ())
            self.know(loaded)
            if message is not None and words:
                passage = search.places(store, words, conversation=id_, message=message)
            return ConversationOpened(loaded, message, passage)

        self._ask(work, to)

    def recall(self, to: Post) -> None:
        """Post `PromptsRecalled` or `StoreFailed`."""
        none = PromptsRecalled(())
        self._ask(lambda store: PromptsRecalled(tuple(store.asked())), to, none)

    def rename(self, to: Post, id_: int, title: str) -> None:
        """Post `ConversationChanged` or `StoreFailed`."""
        self._change(to, id_, lambda store: store.rename(id_, title))

    def entitle(self, to: Post, uid: str, title: str) -> None:
        """Rename a conversation by its uid, which it has before it has an id. Post as
        `rename`."""

        def work(store: Store) -> Message:
            id_ = store.find(uid)
            store.rename(id_, title)
            return ConversationChanged(id_)

        self._ask(work, to)

    def mark(self, to: Post, id_: int, mark: ConversationFlag, value: bool) -> None:
        """Post `ConversationChanged` or `StoreFailed`."""
        self._change(to, id_, lambda store: store.mark(id_, mark, value))

    def purge(self) -> None:
        """Remove conversations that were deleted long ago."""
        if self._file.exists():
            self._keeper.ask(Store.purge, _ignore, _ignore)

    def close(self) -> bool:
        """Write pending changes and end. Return whether all of them were written."""
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
        """Post what `work` returns. If the file does not exist, post `nothing` instead,
        so that reading creates no file."""
        if nothing is not None and not self._file.exists():
            _posted(to, nothing)
            return

        def failed(error: LmtuiError) -> None:
            _posted(to, StoreFailed(error))

        self._keeper.ask(work, lambda message: _posted(to, message), failed)


def _ignore(_: object) -> None:
    """Ignore the result of a purge."""


def _posted(to: Post, message: Message) -> None:
    with suppress(RuntimeError):  # the program has ended meanwhile
        to(message)
