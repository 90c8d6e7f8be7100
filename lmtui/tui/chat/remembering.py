"""Storing the chat's conversation, and opening others.

The conversation is stored while it is held. No answer is generated before the user's
message is on the disk. Knows no torch.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from textual import on

from lmtui.chat.conversation import Conversation, ConversationDelta
from lmtui.chat.excerpts import copy_title, title_of
from lmtui.chat.summary import ConversationSummary, StoredConversation
from lmtui.config.settings import THINKING
from lmtui.engine.types import SamplingSettings
from lmtui.tui.chat import store as kept
from lmtui.tui.chat.message import Places, entries_of
from lmtui.tui.chat.options import ChatOptions
from lmtui.tui.chat.prompt import PromptField, as_draft
from lmtui.tui.chat.store import ConversationStore
from lmtui.tui.chat.tokens import TokensScreen
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.widgets.sampler_controls import SamplerControls


class RememberingScreen(TokensScreen):
    """Has a `Transcript` of a conversation that lasts, if there is a store."""

    options = ChatOptions()
    """How the chat is set up."""
    told: str | None = None
    """What a model is told of thinking in this conversation, as `chat.thinking` has it;
    None leaves it to that."""

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        *,
        sampling: SamplingSettings,
        system: str = "",
        chats: ConversationStore | None = None,
        opened: StoredConversation | None = None,
    ) -> None:
        super().__init__(make_client, sampling=sampling, system=system)
        self._chats = chats
        self._system = system
        self._uid = secrets.token_hex(8)
        self._about: ConversationSummary | None = None
        self._title = ""  # that was given to it here
        if opened is not None:
            self._take(opened)
            if chats is not None:
                chats.know(opened)

    def _take(self, opened: StoredConversation) -> None:
        self._conversation, self._about = opened.conversation, opened.about
        self._uid, self._title = opened.about.uid, ""
        self.told = opened.about.thinking

    @property
    def is_begun(self) -> bool:
        """Whether anything was said."""
        return len(self._conversation.nodes) > 1

    @property
    def busy(self) -> bool:
        """Whether an answer is being made, which belongs to this conversation."""
        return bool(self._job)

    # Keeping.

    def keep(self) -> None:
        """Keep what became of the conversation, once there is one."""
        if self._chats is None or not self.is_begun:
            return
        if changes := self._conversation.take_changes():
            self._chats.save(self._uid, replace(changes, thinking=self.told))

    def keep_first(self, job: int) -> None:
        """Keep it, and let the job begin when that is done."""
        if self._chats is None:
            self.begin_job(kept.ConversationStored(job))
            return
        changes = replace(self._conversation.take_changes(), thinking=self.told)
        self._chats.save(self._uid, changes, job=job, to=self.post_message)

    def begin_job(self, event: kept.ConversationStored) -> None:
        """Start the job: the messages are on the disk."""
        raise NotImplementedError

    def keep_whole(self) -> None:
        """Store the whole conversation: the store is another one, and has less of it or
        none."""
        if self._chats is not None and self.is_begun:
            whole = replace(self._conversation.whole(), thinking=self.told)
            self._chats.save(self._uid, whole)

    def keep_as_another(self, uid: str) -> None:
        """Go on as a copy, because another program writes to this conversation."""
        if uid == self._uid:
            said = [*(node.content for node in self._conversation.path[1:]), ""]
            named = self._about.title if self._about else title_of(said[0])
            self._uid, self._about = secrets.token_hex(8), None
            self.keep_whole()
            self._title = copy_title(self._title or named)
            if self._chats is not None:
                self._chats.entitle(_no_answer, self._uid, self._title)
            self.notify(
                "Another program wrote to this conversation meanwhile. This one"
                " continues as a copy; Ctrl+O opens the other one.",
                timeout=12,
            )

    # Thinking.

    @property
    def thinking(self) -> bool | None:
        """Whether the model is told to think; None where it is told nothing."""
        return self.options.thinking if self.told is None else THINKING[self.told]

    def tell_thinking(self, value: str) -> None:
        """Set what the model is told of thinking; the conversation keeps it."""
        self.told = value
        if self._chats is not None and self.is_begun:
            self._chats.save(self._uid, ConversationDelta(thinking=value))

    # Others.

    def open_stored(self, chosen: kept.ConversationChosen) -> None:
        """Go on with another conversation, once it is read."""
        if self.busy:
            self.notify("The model is answering; Esc stops it.")
        elif self._chats is not None:
            self._chats.open(
                self.post_message,
                chosen.id,
                message=chosen.message,
                words=chosen.words,
            )

    @on(kept.ConversationOpened)
    async def show_opened(self, event: kept.ConversationOpened) -> None:
        """Show a conversation that was read, as it was left or at a message."""
        if self.busy:
            return
        self._take(event.loaded)
        at = event.message
        if at is not None and at in {node.id for node in self._conversation.nodes}:
            self._conversation.visit(at)
        self._adopt_settings()
        self.conversation_changed()
        found = event.passage.places
        await self.show_branch(at=None if at is None else str(at), matches=found)

    @on(kept.StoreFailed)
    def show_store_failed(self, event: kept.StoreFailed) -> None:
        self._show_error(event.error)

    def save_title(self, title: str) -> None:
        """Give the conversation a title."""
        if self._chats is None or not self.is_begun:
            self.notify("Only a saved conversation has a title.")
            return
        self._title = " ".join(title.split())
        self._chats.entitle(self.post_message, self._uid, title)

    @on(kept.ConversationChanged)
    def tell_title(self) -> None:
        self.notify("The conversation was renamed.")

    @on(kept.PromptsRecalled)
    def recall_prompts(self, event: kept.PromptsRecalled) -> None:
        self.query_one(PromptField).recall([as_draft(text) for text in event.prompts])

    def on_mount(self) -> None:
        """Recall what was asked before; what a flag says holds in what is begun."""
        self.told = self.options.thinking_override or self.told
        if self._chats is not None:
            self._chats.recall(self.post_message)

    def _adopt_settings(self) -> None:
        """Use the sampler settings of this conversation's last answer."""
        settings = self._conversation.path[-1].settings
        if settings is not None:
            self._settings = settings
            self.query_one(SamplerControls).settings = settings

    async def begin_new(self, conversation: Conversation | None = None) -> None:
        """Begin a conversation, with the sampler and the thinking of the one that was
        held, which stays in the store."""
        self._conversation = conversation or Conversation(self._system)
        self._uid, self._about, self._title = secrets.token_hex(8), None, ""
        self.keep()
        self.conversation_changed()
        await self.show_branch()

    def conversation_changed(self) -> None:
        """Follow a change of the conversation, or of its active branch."""
        raise NotImplementedError

    async def show_branch(self, *, at: str | None = None, matches: Places = ()) -> None:
        """Draw the active branch anew."""
        entries = entries_of(self._conversation)
        await self.query_one(Transcript).show(entries, at=at, matches=matches)


def _no_answer(_: object) -> None:
    """A copy is given its title without a word; a failure is said when it is kept."""
