"""Editing the messages of a chat, with undo.

An edit is a new version beside the old one, unless the user wants to replace it. A
deleted message can be restored. Knows no torch.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from lmtui.chat.message import ChatMessage
from lmtui.engine.types import ChatTurn
from lmtui.tui.chat.answering import AnsweringScreen
from lmtui.tui.chat.message import MessageView
from lmtui.tui.chat.pages import totals_page
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.tree import TreeScreen
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.token_view import TokenView

_TITLES = {
    "user": "Editing: Enter sends it on a new branch, Ctrl+S replaces it, Esc cancels",
    "assistant": "Editing the answer: Enter continues from its end, Ctrl+S saves it",
    "system": "The system message: Enter saves it, empty for none; Esc cancels",
}
_BUSY = "The model is answering; Esc stops it."


class EditingScreen(AnsweringScreen):
    """Has a prompt in which messages are edited too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save_edit", "Save edit", id="chat.save-edit", show=False,
                priority=True,
                tooltip="Save the edit without asking the model."),
        Binding("alt+up,ctrl+up", "message(-1)", "Message before", show=False,
                id="chat.message-before",
                tooltip="To the message before, where letters edit and copy."),
        Binding("alt+down,ctrl+down", "message(1)", "Message after", show=False,
                id="chat.message-after",
                tooltip="To the message after; from the last one to the prompt."),
        Binding("enter", "alternatives", "Alternatives", show=False,
                id="chat.alternatives",
                tooltip="Among the tokens: what could stand there instead; Enter on"
                " a row continues from it."),
        Binding("f8", "tree", "Tree", id="chat.tree",
                tooltip="Every branch; continue from any message."),
    ]  # fmt: skip

    _edited: int | None = None
    _deleted: tuple[int, ...] = ()  # since something was said

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable "save_edit" and "alternatives" only where they apply."""
        if action == "save_edit":
            return self._edited is not None
        if action == "alternatives":
            return self.has_class("-tokens")
        return super().check_action(action, parameters)

    @on(MessageView.Wished)
    async def fulfil(self, event: MessageView.Wished) -> None:
        node = self._conversation.node(int(event.key))
        if event.wish == "totals":
            self._tell_totals(node)
        elif self.busy:
            self.notify(_BUSY)
        elif event.wish == "edit":
            self.edit(node)
        elif event.wish == "delete":
            await self.delete(node)
        else:
            await self.fork(node)

    def _tell_totals(self, node: ChatMessage) -> None:
        """Show the token totals of a message."""
        totals = totals_page(node)
        if totals is None:
            self.notify("Its tokens are not scored yet; F3 does that.")
        else:
            self.app.push_screen(PageScreen("The numbers of this message", totals))

    def action_message(self, by: int) -> None:
        """Go from message to message, and from the last one to the prompt."""
        views = list(self.query(MessageView))
        focused = self.focused
        at = views.index(focused) if isinstance(focused, MessageView) else len(views)
        place = max(0, at + by)
        if place < len(views):
            views[place].focus()
        else:
            self.to_text()

    # Other words.

    def edit(self, node: ChatMessage) -> None:
        """Take a message into the prompt to be changed there."""
        self._edited = node.id
        may_be_empty = node.role == "system"
        self._prompt.begin_edit(node.content, _TITLES[node.role], empty=may_be_empty)
        self._prompt.focus()

    @property
    def _prompt(self) -> PromptField:
        return self.query_one(PromptField)

    @property
    def before_draft(self) -> tuple[ChatTurn, ...] | None:
        """The messages before the draft; None where a message that is not the user's is
        edited."""
        if self._edited is None:
            return self._conversation.messages(self._conversation.turns[-1].id)
        node = self._conversation.node(self._edited)
        if node.role != "user":
            return None
        return self._conversation.messages(node.parent)

    @property
    def is_editing(self) -> bool:
        """Whether a message is in the prompt to be changed."""
        return self._edited is not None

    def leave_edit(self) -> bool:
        """Leave the message as it is; whether one was edited."""
        was, self._edited = self._edited, None
        if was is not None:
            self._prompt.end_edit()
        return was is not None

    async def send_edit(self, text: str, *, ask: bool) -> None:
        """Take the other words; with `ask`, the model goes on from them."""
        assert self._edited is not None
        node = self._conversation.node(self._edited)
        if self.busy:
            self.notify(_BUSY)
            return
        if ask and node.role != "system" and self._info is None:
            self.notify(
                "No model is loaded yet; Ctrl+S saves the edit without an answer."
            )
            return
        if ask and self.held_back(partial(self.send_edit, text, ask=True)):
            return
        self.leave_edit()
        if node.role == "assistant":
            await self._amend(node, text, ask=ask)
        elif ask and node.role == "user":
            await self.answer_to(self._conversation.edit(node.id, text))
        else:
            self._conversation.reword(node.id, text)
            await self.branch_changed()

    async def _amend(self, node: ChatMessage, text: str, *, ask: bool) -> None:
        if not ask:
            if text != node.content:
                self._conversation.amend(node.id, text)
            await self.branch_changed()
            return
        if text != node.content:
            # The ids hold for the model that made them, for another one the words.
            if node.prompt is not None and self.written_here(node.model):
                node = self._conversation.amend(node.id, text)
            else:
                await self.answer_beginning(node, text)
                return
        await self.go_on_with(node)

    async def action_save_edit(self) -> None:
        """Save the edit without asking the model."""
        if self.is_editing and self._prompt.can_send:
            await self.send_edit(self._prompt.draft, ask=False)

    async def branch_changed(self) -> None:
        """Keep and draw what the active branch is now."""
        self.keep()
        self.conversation_changed()
        await self.show_branch()

    # Other tokens.

    def action_alternatives(self) -> None:
        """From the token under the cursor to what could stand there instead."""
        self.show_panel()
        self._panel.focus()

    @on(ProbabilityPanel.CandidatePicked)
    async def take_other_token(self, event: ProbabilityPanel.CandidatePicked) -> None:
        """Let the answer go on from another token, as a version of its own."""
        node, token = self._inspected, event.candidate
        if not self.has_class("-tokens") or node.role != "assistant" or self.busy:
            return
        if not (node.own_ids and self.written_here(node.model)):
            self.notify("Only the model that wrote this can go on from another token.")
            return
        ends = node.steps and not node.steps[-1].piece and node.steps[-1].id
        index = self.query_one(TokenView).index
        if token.id == ends:
            self.notify("That token ends the answer.")
            return
        try:
            other = self._conversation.branch(node.id, index, token)
        except ValueError:
            self.notify("That token is only part of a character.")
            return
        self.close_tokens()
        self.to_text()
        await self.go_on_with(other)

    # Other ways, and back.

    async def fork(self, node: ChatMessage) -> None:
        """Go on from a message in a conversation of its own."""
        await self.begin_new(self._conversation.fork(node.id))
        self.notify("This is a new conversation; Ctrl+O opens the other one.")

    async def delete(self, node: ChatMessage) -> None:
        """Delete a message and what follows it."""
        self._conversation.delete(node.id)
        self._deleted = (*self._deleted, node.id)
        await self.branch_changed()
        self.notify("Deleted, with what followed; /undo brings it back.")

    async def undo(self) -> None:
        """Have back what was deleted since something was said, or else end the
        conversation before the last turn."""
        if self._deleted:
            *before, last = self._deleted
            self._deleted = tuple(before)
            self._conversation.restore(last)
        elif self._conversation.undo() is None:
            self.notify("There is nothing to undo.")
            return
        await self.branch_changed()

    async def redo(self) -> None:
        """Have the turn back that was undone last."""
        if self._conversation.redo() is None:
            self.notify("There is nothing to redo.")
            return
        await self.branch_changed()

    def keep_first(self, job: int) -> None:
        """Something is said: what was deleted before stays so."""
        self._deleted = ()
        super().keep_first(job)

    def action_tree(self) -> None:
        """Show every branch."""
        if self.busy:
            self.notify(_BUSY)
        elif not self.is_begun:
            self.notify("The conversation is empty.")
        else:
            self.app.push_screen(TreeScreen(self._conversation), self._go_on_from)

    async def _go_on_from(self, id_: int | None) -> None:
        if id_ is not None:
            self._conversation.end_at(id_)
            await self.branch_changed()
