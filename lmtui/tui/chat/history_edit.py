"""Editing the messages of a chat, with undo, and going to another chat.

An edit is a new version beside the old one, unless the user wants to replace it. A
deleted message can be restored.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.summary import StoredConversation
from lmtui.config.settings import THINKING
from lmtui.engine.sampling.stages import BY_NAME
from lmtui.engine.types import Candidate
from lmtui.setting_field import SettingValue
from lmtui.tui.chat.draft import DraftController
from lmtui.tui.chat.message import MessageView
from lmtui.tui.chat.pages import totals_page
from lmtui.tui.chat.reply import ReplyController
from lmtui.tui.chat.session import BUSY, EMPTY
from lmtui.tui.chat.store import ConversationChosen
from lmtui.tui.chat.tokens import SCORING, TokensController
from lmtui.tui.chat.tree import TreeScreen
from lmtui.tui.chat.view import ChatView
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import PageScreen, choose

if TYPE_CHECKING:
    from lmtui.chat.search import Excerpt

_TITLES = {
    "user": "Editing: Enter sends it on a new branch, Ctrl+S replaces it, Esc cancels",
    "assistant": "Editing the answer: Enter continues from its end, Ctrl+S saves it",
    "system": "The system message: Enter saves it, empty for none; Esc cancels",
}


class MessageEditor(Controller):
    """Changes what was said: in other words, on another branch, or not at all. Begins
    conversations, and opens stored ones."""

    def __init__(
        self,
        view: ChatView,
        reply: ReplyController,
        tokens: TokensController,
        draft: DraftController,
    ) -> None:
        self._screen, self._session = view.screen, view.session
        self._view, self._chat_model = view, view.chat_model
        self._prompt, self._draft = view.prompt, draft
        self._reply, self._tokens = reply, tokens

    def start(self) -> None:
        self._screen.watch(self._screen.app, "chat_change", self._follow_setting)
        if self._session.is_begun:
            self._screen.call_later(self._view.show)

    def _follow_setting(self, changed: tuple[str, SettingValue] | None) -> None:
        if changed is None:
            return
        session, (name, value) = self._session, changed
        if name == "chat_when_full":
            session.options = replace(session.options, drop_oldest=value == "drop")
            return
        session.options = replace(session.options, thinking=THINKING[str(value)])
        if session.thinking_setting is not None:  # by a command: this was said later
            session.set_thinking(str(value))
        self._chat_model.update()
        self._draft.ask_anew()

    async def perform(self, event: MessageView.ActionRequested) -> None:
        node = self._session.conversation.node(int(event.key))
        if event.action == "totals":
            self._show_totals(node)
        elif self._session.is_busy:
            self._screen.notify(BUSY)
        elif event.action == "edit":
            self.edit(node)
        elif event.action == "delete":
            await self._delete(node)
        else:
            await self.fork(node)

    def _show_totals(self, node: ChatMessage) -> None:
        totals = totals_page(node)
        if totals is None:
            self._screen.notify("Its tokens are not scored yet; F3 does that.")
        else:
            page = PageScreen("The numbers of this message", totals)
            self._screen.app.push_screen(page)

    # Other words.

    def edit(self, node: ChatMessage) -> None:
        may_be_empty = node.role == "system"
        self._prompt.begin_edit(
            node.id, node.content, _TITLES[node.role], empty=may_be_empty
        )
        self._prompt.focus()

    async def save(self) -> None:
        if self._prompt.edited is not None and self._prompt.can_send:
            await self.send(self._prompt.draft, ask=False)

    async def send(self, text: str, *, ask: bool) -> None:
        """Take the other words; with `ask`, the model goes on from them."""
        if self._prompt.edited is None:
            return
        conversation = self._session.conversation
        node = conversation.node(self._prompt.edited)
        if self._session.is_busy:
            self._screen.notify(BUSY)
            return
        if ask and node.role != "system" and not self._reply.has_model:
            self._screen.notify(
                "No model is loaded yet; Ctrl+S saves the edit without an answer."
            )
            return
        why_not = self._reply.lacks("edits")
        if ask and node.role == "assistant" and why_not:
            self._screen.notify(f"{why_not} Ctrl+S saves the edit.")
            return
        self._prompt.end_edit()
        if node.role == "assistant":
            await self._amend(node, text, ask=ask)
        elif ask and node.role == "user":
            await self._reply.answer_to(conversation.edit(node.id, text))
        else:
            conversation.reword(node.id, text)
            await self.branch_changed()

    async def _amend(self, node: ChatMessage, text: str, *, ask: bool) -> None:
        conversation = self._session.conversation
        if not ask:
            if text != node.content:
                conversation.edit(node.id, text)
            await self.branch_changed()
            return
        old = node
        if text != node.content:
            # The ids hold for the model that made them, and as far as they spell the
            # new text; otherwise the words count.
            ids_hold = node.amended(text).prompt is not None
            if not (ids_hold and self._chat_model.is_in_use(node.model)):
                words = node.marked(text)
                await self._reply.answer_with_prefill(node, words, is_edited=True)
                return
            node = conversation.edit(node.id, text)
        await self._reply.continue_reply(node, is_edited=text != old.content)

    async def reword_system(self, text: str) -> None:
        self._session.conversation.reword(0, text)
        await self.branch_changed()

    async def branch_changed(self) -> None:
        self._session.save()
        self.follow_change()
        await self._view.show()

    def follow_change(self) -> None:
        """Follow another conversation, branch or setting: what was shown of the one
        before goes."""
        self._view.hide_versions()
        self._prompt.end_edit()
        self._chat_model.update()
        if not self._tokens.close():  # closing them asks
            self._draft.ask_anew()

    # Other tokens and versions.

    async def branch_at_token(self, token: Candidate) -> None:
        node, index = self._tokens.message, self._tokens.view.index
        is_busy = self._session.is_busy
        if reason := BUSY if is_busy else self._why_no_branch(node, token):
            self._screen.notify(reason)
            return
        try:
            branched = self._session.conversation.branch(node.id, index, token)
        except ValueError:
            self._screen.notify("That token is only part of a character.")
            return
        self._tokens.close()
        self._screen.focus_text()
        await self._reply.continue_reply(branched, replaced_id=node.id)

    def _why_no_branch(self, node: ChatMessage, token: Candidate) -> str:
        if not self._tokens.is_shown or node.role != "assistant":
            return "F3 shows an answer's tokens: there, a row takes a token's place."
        if why_not := self._reply.lacks("edits"):
            return why_not
        if not (node.own_ids and self._chat_model.is_in_use(node.model)):
            return "Only the model that wrote this can go on from another token."
        if node.steps and not node.steps[-1].piece and token.id == node.steps[-1].id:
            return "That token ends the answer."
        if token.cut == BY_NAME["grammar"].mark:
            return "The grammar forbids that token here."
        return ""

    async def to_version(self, by: int) -> bool:
        """Go to another version of a message, and to what follows that one. Return
        whether the active branch is another one."""
        was_shown, node = self._tokens.is_shown, self._tokens.subject
        conversation = self._session.conversation
        if node is None or self._session.is_answering:
            return False
        if self._tokens.is_scoring:
            self._screen.notify(SCORING)
            return False
        if len(conversation.siblings(node.id)) == 1:
            self._screen.notify("There is no other version; Ctrl+R makes one.")
            return False
        old_leaf = conversation.path[-1].id
        sibling = conversation.move(node.id, by)
        self._session.save()
        await self._view.show()
        if view := self._view.view_of(sibling):
            view.focus()
        if was_shown and sibling.content:
            self._tokens.open(sibling)
        return conversation.path[-1].id != old_leaf

    # Other branches, and back.

    async def fork(self, node: ChatMessage) -> None:
        await self.begin_new(self._session.conversation.fork(node.id))
        self._screen.notify("This is a new conversation; Ctrl+O opens the other one.")

    async def _delete(self, node: ChatMessage) -> None:
        self._session.conversation.delete(node.id)
        self._session.deleted = (*self._session.deleted, node.id)
        await self.branch_changed()
        self._screen.notify("Deleted, with what followed; /undo brings it back.")

    async def undo(self) -> None:
        """Have back what was deleted since something was said, or else end the
        conversation before the last turn."""
        if self._session.deleted:
            *earlier, last = self._session.deleted
            self._session.deleted = tuple(earlier)
            self._session.conversation.restore(last)
            self._screen.app.clear_notifications()  # they told of the deletion
        elif self._session.conversation.undo() is None:
            self._screen.notify("There is nothing to undo.")
            return
        await self.branch_changed()

    def show_tree(self) -> None:
        if self._session.is_busy:
            self._screen.notify(BUSY)
        elif not self._session.is_begun:
            self._screen.notify(EMPTY)
        else:
            tree = TreeScreen(self._session.conversation)
            choose(self._screen, tree, self._continue_from)

    async def _continue_from(self, id_: int) -> None:
        self._session.conversation.end_at(id_)
        await self.branch_changed()

    # Other conversations.

    async def begin_new(self, conversation: Conversation | None = None) -> None:
        self._session.begin(conversation)
        self.follow_change()
        await self._view.show()

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
        await self._view.show(at=at, matches=passage.places)
