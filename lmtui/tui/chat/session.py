"""The conversation that the chat screen holds, and how it is stored.

It is stored while it is held, and nothing is generated before the user's message is on
the disk. Knows no model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from lmtui.chat.conversation import Conversation, ConversationDelta, new_uid
from lmtui.chat.excerpts import copy_title, title_of
from lmtui.chat.summary import (
    ConversationMeta,
    StoredConversation,
)
from lmtui.config.settings import THINKING
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.store import ConversationChosen, ConversationStore
from lmtui.tui.screen import ModelScreen

if TYPE_CHECKING:
    from lmtui.chat.search import Excerpt
    from lmtui.chat.store import Store

BUSY = "An answer or a grammar is on its way; Esc stops it."
EMPTY = "The conversation is empty."

T = TypeVar("T")


@dataclass(eq=False)
class Sent:
    """A message that was sent, or a grammar that is to hold for those sent after it."""

    written: str
    """As the prompt is to have it back; empty for a grammar."""
    count: int = 1
    """Answers that it is to have."""
    message: str | None = None
    """What it says, with its files; None until they are read."""


class ChatSession:
    """A conversation with its title and settings, and the store that it is kept in."""

    def __init__(
        self,
        screen: ModelScreen,
        store: ConversationStore | None,
        *,
        options: ChatOptions,
        system: str = "",
        opened: StoredConversation | None = None,
    ) -> None:
        self._screen, self._store, self._system = screen, store, system
        self._uid = new_uid()
        self._meta: ConversationMeta | None = None
        self._title = ""  # given to it here
        self.options = options
        self.conversation = Conversation(system)
        self.is_answering = False
        """Whether an answer is being made, from the request to its end."""
        self.sent: list[Sent] = []
        """What was sent and is not in the conversation yet, in order."""
        self.deleted: tuple[int, ...] = ()
        """Messages that were deleted since something was said."""
        self.thinking_setting: str | None = None
        """Whether a model is told to think in this conversation, as `chat.thinking` has
        it; None leaves it to that."""
        if opened is not None:
            self.load(opened)
            if store is not None:
                store.know(opened)
        self.thinking_setting = options.thinking_override or self.thinking_setting

    @property
    def is_begun(self) -> bool:
        return len(self.conversation.nodes) > 1

    @property
    def is_busy(self) -> bool:
        return self.is_answering or bool(self.on_the_way)

    @property
    def on_the_way(self) -> list[Sent]:
        """What was sent and is not there yet: files are read, or a grammar compiles."""
        return [entry for entry in self.sent if entry.message is None]

    @property
    def waiting(self) -> list[Sent]:
        """Messages that were sent before there was a model or room."""
        return [entry for entry in self.sent if entry.message is not None]

    @property
    def meta(self) -> ConversationMeta:
        prompts = [n.content for n in self.conversation.path if n.role == "user"]
        default_title = title_of(prompts[0]) if prompts else "Conversation"
        meta = self._meta or ConversationMeta(default_title)
        meta = replace(meta, thinking=self.thinking_setting)
        return replace(meta, title=self._title, named=True) if self._title else meta

    # Which conversation it is.

    def load(self, opened: StoredConversation) -> None:
        self.conversation, self._meta = opened.conversation, opened.about
        self._uid, self._title, self.deleted = opened.about.uid, "", ()
        self.thinking_setting = opened.about.thinking

    def begin(self, conversation: Conversation | None = None) -> None:
        """Hold a new conversation, told the same of thinking; the one before stays in
        the store."""
        self.conversation = conversation or Conversation(self._system)
        self._uid, self._meta, self._title = new_uid(), None, ""
        self.deleted = ()
        self.save()

    def open(
        self,
        chosen: ConversationChosen,
        then: Callable[[StoredConversation, Excerpt], Awaitable[None]],
    ) -> None:
        if (chats := self._store) is None:
            return
        from lmtui.chat.search import Excerpt, places

        def work(store: Store) -> tuple[StoredConversation, Excerpt]:
            loaded, passage = store.load(chosen.id), Excerpt("", ())
            chats.know(loaded)
            if chosen.message is not None and chosen.words:
                passage = places(
                    store,
                    chosen.words,
                    conversation=chosen.id,
                    message=chosen.message,
                )
            return loaded, passage

        self._ask(work, lambda answer: then(*answer))

    def recall(self, then: Callable[[tuple[str, ...]], object]) -> None:
        """Read the latest prompts of all conversations, the last one at the end."""
        self._ask(lambda store: tuple(store.asked()), then, empty=())

    def _ask(
        self,
        work: Callable[[Store], T],
        then: Callable[[T], object],
        *,
        empty: tuple[Any, ...] | None = None,
    ) -> None:
        if self._store is not None:
            self._store.ask(
                self._screen.call_later,
                work,
                then,
                self._screen.show_error,
                empty=empty,
            )

    # Storing it.

    def save(self) -> None:
        if self._store is None or not self.is_begun:
            return
        if changes := self.conversation.take_changes():
            changes = replace(changes, thinking=self.thinking_setting)
            self._store.save(self._uid, changes)

    def save_first(self, then: Callable[[], object]) -> None:
        """Store what has changed, and go on when that was tried."""
        if self._store is None:
            self._screen.call_later(then)
            return
        changes = self.conversation.take_changes()
        changes = replace(changes, thinking=self.thinking_setting)
        self._store.save(
            self._uid, changes, tried=lambda: self._screen.call_later(then)
        )

    def save_whole(self) -> None:
        """Store the whole conversation: the store is another one, and has less of it or
        none."""
        if self._store is not None and self.is_begun:
            whole = replace(self.conversation.whole(), thinking=self.thinking_setting)
            self._store.save(self._uid, whole)

    def continue_as_copy(self, uid: str) -> None:
        if uid != self._uid:
            return
        texts = [*(node.content for node in self.conversation.path[1:]), ""]
        old_title = self._meta.title if self._meta else title_of(texts[0])
        self._uid, self._meta = new_uid(), None
        self.save_whole()
        self._title = copy_title(self._title or old_title)
        uid, title = self._uid, self._title
        if self._store is not None:
            self._store.ask(
                self._screen.call_later,
                lambda store: store.rename(store.find(uid), title),
                lambda _: None,
                lambda _: None,  # a failure is told when the copy is saved
            )
        self._screen.notify(
            "Another program wrote to this conversation meanwhile. This one"
            " continues as a copy; Ctrl+O opens the other one.",
            timeout=12,
        )

    def save_title(self, title: str) -> None:
        if self._store is None or not self.is_begun:
            self._screen.notify("Only a saved conversation has a title.")
            return
        self._title = " ".join(title.split())
        uid = self._uid
        self._ask(
            lambda store: store.rename(store.find(uid), title),
            lambda _: self._screen.notify("The conversation was renamed."),
        )

    # Thinking.

    @property
    def thinking(self) -> bool | None:
        """Whether the model is told to think; None where it is told nothing."""
        if self.thinking_setting is None:
            return self.options.thinking
        return THINKING[self.thinking_setting]

    def set_thinking(self, value: str) -> None:
        self.thinking_setting = value
        if self._store is not None and self.is_begun:
            self._store.save(self._uid, ConversationDelta(thinking=value))
