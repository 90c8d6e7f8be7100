"""Going from one conversation to another in the chat, and to other settings.

Knows no model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from lmtui.chat.conversation import Conversation
from lmtui.chat.summary import StoredConversation
from lmtui.config.settings import THINKING
from lmtui.tui.chat.draft import DraftController
from lmtui.tui.chat.parts import BUSY, ChatParts
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.chat.tokens import TokensController
from lmtui.tui.controller import Controller
from lmtui.tui.settings.events import SettingChanged

if TYPE_CHECKING:
    from lmtui.chat.search import Excerpt


class ConversationSwitcher(Controller):
    """Begins conversations, and opens stored ones."""

    def __init__(
        self,
        parts: ChatParts,
        draft: DraftController,
        tokens: TokensController,
    ) -> None:
        self._draft, self._tokens = draft, tokens
        self._screen, self._session = parts.screen, parts.session
        self._branch, self._chat_model = parts.branch, parts.chat_model
        self._prompt = parts.prompt

    def start(self) -> None:
        self._screen.watch(self._screen.app, "chat_change", self._follow_setting)
        if self._session.is_begun:
            self._screen.call_later(self._branch.show)

    def _follow_setting(self, changed: SettingChanged | None) -> None:
        if changed is None:
            return
        session, value = self._session, changed.value
        if changed.name == "chat_when_full":
            session.options = replace(session.options, drop_oldest=value == "drop")
            return
        session.options = replace(session.options, thinking=THINKING[str(value)])
        if session.thinking_setting is not None:  # by a command: this was said later
            session.set_thinking(str(value))
        self._chat_model.update()
        self._draft.ask_anew()

    def follow_change(self) -> None:
        self._branch.hide_versions()
        self._prompt.end_edit()
        self._chat_model.update()
        if not self._tokens.close():  # closing them asks
            self._draft.ask_anew()

    async def begin_new(self, conversation: Conversation | None = None) -> None:
        self._session.begin(conversation)
        self.follow_change()
        await self._branch.show()

    def open(self, chosen: ConversationChosen) -> None:
        if self._session.is_busy:
            self._screen.notify(BUSY)
        else:
            self._session.open(chosen, partial(self._show_opened, chosen.message))

    async def _show_opened(
        self, message: int | None, loaded: StoredConversation, passage: Excerpt
    ) -> None:
        if self._session.is_busy:
            self._screen.notify(BUSY)
            return
        self._session.load(loaded)
        conversation = self._session.conversation
        if message is not None and message in {node.id for node in conversation.nodes}:
            conversation.visit(message)
        self.follow_change()
        at = None if message is None else str(message)
        await self._branch.show(at=at, matches=passage.places)
