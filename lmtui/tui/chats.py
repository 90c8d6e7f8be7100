"""The only bridge between the screens and the store of conversations.

Owns the keeper, which writes and reads on a thread of its own: a screen asks and never
waits, and the answer comes to it as a message. Knows no widget.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from textual.message import Message

from lmtui.chat import search
from lmtui.chat.changes import Changes
from lmtui.chat.keeper import ChangedElsewhere, Fact, Keeper, KeepFailed, KeptAgain
from lmtui.chat.listed import Loaded
from lmtui.chat.marking import Passage
from lmtui.chat.store import Mark, Store
from lmtui.errors import LmtuiError
from lmtui.tui import chat_facts as facts
from lmtui.tui.batches import Post

SHOWN = 500
"""Conversations, or hits, of a list: more are found by searching."""


class Chats:
    """The conversations of one file. What becomes of keeping goes to `post`, every
    answer to whoever asked."""

    def __init__(self, file: Path, post: Post) -> None:
        self._file, self._post = file, post
        self._keeper = Keeper(file, self._tell)

    def _tell(self, fact: Fact) -> None:
        match fact:
            case KeepFailed():
                _posted(self._post, facts.KeepingFailed(fact.error))
            case KeptAgain():
                _posted(self._post, facts.KeepingRecovered())
            case ChangedElsewhere():
                _posted(self._post, facts.ChangedElsewhere(fact.uid))
            case _:
                _posted(self._post, facts.StoreReplaced(fact.salvaged.words))

    def know(self, opened: Loaded) -> None:
        """A conversation was read, and is as far as this."""
        self._keeper.know(opened.about.uid, opened.about.touched)

    def keep(
        self, uid: str, changes: Changes, *, job: int = 0, to: Post | None = None
    ) -> None:
        """Keep what became of a conversation; `ConversationKept` with the job goes to
        `to` once that was tried."""
        then = None
        if to is not None:
            kept, whom = facts.ConversationKept(job), to

            def then() -> None:
                _posted(whom, kept)

        self._keeper.keep(uid, changes, then=then)

    def list(self, to: Post, *, archived: bool = False, limit: int = SHOWN) -> None:
        """`ConversationsListed`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            rows = store.listed(archived=archived, limit=limit)
            return facts.ConversationsListed(tuple(rows))

        self._ask(work, to, nothing=facts.ConversationsListed(()))

    def search(self, to: Post, text: str) -> None:
        """`WordsFound`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            hits = search.search(store, text, limit=SHOWN)
            return facts.WordsFound(text, tuple(hits))

        self._ask(work, to, nothing=facts.WordsFound(text, ()))

    def peek(self, to: Post, id_: int) -> None:
        """`ConversationPeeked`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            return facts.ConversationPeeked(id_, tuple(store.ending(id_)))

        self._ask(work, to)

    def open(
        self, to: Post, id_: int, *, message: int | None = None, words: str = ""
    ) -> None:
        """`ConversationOpened`, or `StoreFailed`."""

        def work(store: Store) -> Message:
            loaded, passage = store.load(id_), Passage("", ())
            self.know(loaded)
            if message is not None and words:
                passage = search.places(store, words, conversation=id_, message=message)
            return facts.ConversationOpened(loaded, message, passage)

        self._ask(work, to)

    def recall(self, to: Post) -> None:
        """`PromptsRecalled`, where there are any."""
        none = facts.PromptsRecalled(())
        self._ask(lambda store: facts.PromptsRecalled(tuple(store.asked())), to, none)

    def rename(self, to: Post, id_: int, title: str) -> None:
        """`ConversationChanged`, or `StoreFailed`."""
        self._change(to, id_, lambda store: store.rename(id_, title))

    def entitle(self, to: Post, uid: str, title: str) -> None:
        """`rename`, by the name that a conversation has before it has a number."""

        def work(store: Store) -> Message:
            id_ = store.find(uid)
            store.rename(id_, title)
            return facts.ConversationChanged(id_)

        self._ask(work, to)

    def mark(self, to: Post, id_: int, mark: Mark, value: bool) -> None:
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
            return facts.ConversationChanged(id_)

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
            _posted(to, facts.StoreFailed(error))

        self._keeper.ask(work, lambda message: _posted(to, message), failed)


def _ignore(_: object) -> None:
    """What came of it is nobody's business."""


def _posted(to: Post, message: Message) -> None:
    with suppress(RuntimeError):  # the program was left meanwhile
        to(message)
