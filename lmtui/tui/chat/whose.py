"""The model that an opened conversation was had with, where another is in use.

The user is asked before a model is loaded and before another model goes on with the
conversation. It can be read meanwhile. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from textual import on
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmtui.chat.conversation import Conversation, model_of
from lmtui.chat.summary import StoredConversation
from lmtui.models.source import ModelRef, named
from lmtui.tui.background import post_from_thread
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.remembering import RememberingScreen
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.engine.messages import ModelChosen
from lmtui.tui.model_state import ModelState, shown_label

Again = Callable[[], Awaitable[Any] | object]


class WhoseScreen(RememberingScreen):
    """Has a line `#whose` that names the model of the conversation."""

    _state = ModelState()
    _under: ModelRef | None = None  # what was wanted when the conversation was opened
    _again: tuple[Again, str] | None = None  # once its own model is loaded

    @dataclass
    class OwnerLooked(Message):
        """Whether the conversation's model is on this machine."""

        owner: str
        here: bool

    def on_mount(self) -> None:
        """Where the model is missing, that is known from the beginning."""
        self._here: dict[str, bool | None] = {}  # None while it is looked for
        if self.options.missing is not None:
            self._state = self.app.model  # type: ignore[attr-defined]
            self._under = self._state.model_ref

    def _take(self, opened: StoredConversation) -> None:
        super()._take(opened)
        if self.is_mounted:
            self._under = self._state.model_ref

    async def begin_new(self, conversation: Conversation | None = None) -> None:
        """Begin a conversation; a new one belongs to no model yet."""
        if conversation is None:
            self._under = None
        await super().begin_new(conversation)

    def follow_model(self, state: ModelState) -> None:
        """Go on with what waited for the model, and name the conversation's own
        model."""
        self._state = state
        super().follow_model(state)
        again, text = self._again or (None, "")
        if again is not None and not state.loading:
            self._again = None
            if state.info is not None:
                self.call_later(again)
            else:
                self._give_back(text)
        self.tell_whose()

    @property
    def _owner(self) -> str | None:
        """The model to ask about: the conversation was opened and is another model's,
        and the user has not chosen one since."""
        owner, state = model_of(self._conversation), self._state
        if self._under != state.model_ref or state.loading:
            return None
        if state.info is not None and state.info.label == owner:
            return None
        return owner

    # Saying it.

    def tell_whose(self) -> None:
        """Name the conversation's own model, where another one is in use."""
        line, owner = self.query_one("#whose", Static), self._owner
        if owner is not None and owner not in self._here:
            self._here[owner] = None
            self._look_for(owner)
        here = None if owner is None else self._here[owner]
        line.display = here is not None
        if owner is not None and here is not None:
            line.update(Content(_words(shown_label(owner), self._state, here=here)))

    def _look_for(self, owner: str) -> None:
        is_here = self.options.is_here

        def work() -> Message:
            return self.OwnerLooked(owner, is_here(named(owner)))

        post_from_thread(
            work, self.post_message, otherwise=self.OwnerLooked(owner, False)
        )

    @on(OwnerLooked)
    def tell_looked(self, event: OwnerLooked) -> None:
        self._here[event.owner] = event.here
        self.tell_whose()

    # Asking.

    def held_back(self, again: Again, text: str = "") -> bool:
        """Whether an answer has to wait for a question: which model is to make it?
        `again` is called where the user wants it made; where not, `text` goes back to
        the prompt."""
        owner = self._owner
        if owner is None:
            return False
        here = self._here.get(owner)
        if here is None:
            self.notify("One moment: looking for the model of this conversation.")
            self._give_back(text)
            return True
        name = shown_label(owner)
        where = "It is on this machine." if here else "It is not on this machine."
        details = (f"{name} wrote the last answer. {where}",)
        choices = _choices(name, self._state, here=here)
        asked = ConfirmDialog(
            "Which model should continue this conversation?",
            details,
            choices,
            harmless="r",
            first=choices[0].key,
        )
        self.app.push_screen(asked, partial(self._answer_whose, again, text))
        return True

    async def _answer_whose(self, again: Again, text: str, answer: str | None) -> None:
        if answer == "l":
            self._again = again, text
            self.use_owner()
        elif answer == "g":
            self._under = None
            self.tell_whose()
            self.call_later(again)
        else:
            self._give_back(text)
            if answer == "m":
                await self.run_action("app.models")

    def use_owner(self) -> None:
        """Load the model that the conversation was had with."""
        owner = model_of(self._conversation)
        if owner is None:
            self.notify("No model has said anything here yet.")
        elif self.written_here(owner):
            self.notify("It is in use.")
        elif self._here.get(owner) is False:
            self.notify(f"{shown_label(owner)} is not on this machine.", markup=False)
        else:
            self.post_message(ModelChosen(named(owner)))

    def _give_back(self, text: str) -> None:
        if text:
            self.query_one(PromptField).give_back(text)


def _words(owner: str, state: ModelState, *, here: bool) -> str:
    if not here:
        return (
            f"{owner} wrote this and is not on this machine: it can be read; F5 or"
            " /model chooses a model to go on with."
        )
    other = f" {shown_label(state.info.label)} is loaded;" if state.info else ""
    return f"{owner} wrote this;{other} /own loads {owner}."


def _choices(owner: str, state: ModelState, *, here: bool) -> list[Choice]:
    choices = [Choice("l", f"Load {owner}", "the model that wrote it")] if here else []
    if state.info is not None:
        other = shown_label(state.info.label)
        choices.append(Choice("g", f"Go on with {other}", "it is loaded"))
    choices.append(Choice("m", "Another model", "choose one from the list"))
    return [*choices, Choice("r", "Only read", "your message goes back to the prompt")]
