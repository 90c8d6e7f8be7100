"""The model that an opened conversation was had with, where another is in use.

The user is asked before a model is loaded and before another model goes on with the
conversation. It can be read meanwhile. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual.content import Content
from textual.widgets import Static

from lmtui.chat.conversation import model_of
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef, named
from lmtui.tui.app_messages import ModelChosen
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.session import ChatSession
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.model_state import ModelState, shown_label
from lmtui.tui.screen import ModelScreen

Again = Callable[[], Awaitable[Any] | object]


class OwnerController(Controller):
    """Names the model of the conversation, and asks which one is to go on with it."""

    def __init__(
        self, screen: ModelScreen, session: ChatSession, prompt: PromptField
    ) -> None:
        self._screen, self._session, self._prompt = screen, session, prompt
        self.line = Static(id="owner", markup=False)
        """The line that names the model."""
        self._state = ModelState()
        # In use when the conversation was opened.
        self._model_at_opening: ModelRef | None = None
        # To be done once its own model is loaded, and the message that is held for it.
        self._after_load: tuple[Again, str] | None = None
        self._is_local: dict[str, bool | None] = {}  # None while it is looked for

    def start(self) -> None:
        """Take it that the model is missing, where that is known from the beginning."""
        if self._session.options.missing is not None:
            self._state = self._screen.app.model  # type: ignore[attr-defined]
            self._model_at_opening = self._state.model_ref

    def conversation_opened(self) -> None:
        """Note the model in use: another conversation was opened."""
        self._return_held()
        self._model_at_opening = self._state.model_ref

    def conversation_begun(self, *, forked: bool) -> None:
        """Forget that model: a new conversation belongs to none yet, unless it was
        forked."""
        self._return_held()
        if not forked:
            self._model_at_opening = None

    def follow_model(self, state: ModelState) -> None:
        """Go on with what waited for the model, and name the conversation's own
        model."""
        self._state = state
        if self._after_load is not None and not state.loading:
            if state.info is not None:
                self._screen.call_later(self._after_load[0])
                self._after_load = None
            else:
                self._return_held()
        self.update()

    def is_in_use(self, model: str | None) -> bool:
        """Return whether a model is the one in use, which alone can go on with its ids
        and whose numbers can be set beside those of today."""
        return self._state.info is not None and self._state.info.label == model

    def messages(self, last_id: int | None = None) -> tuple[ChatTurn, ...]:
        """Return the conversation up to a message, or the leaf, for the model in use:
        its own answers with their ids."""
        info = self._state.info
        return self._session.conversation.messages(
            last_id, model=info.label if info else None
        )

    @property
    def _owner(self) -> str | None:
        """The model to ask about: the conversation was opened and is another model's,
        and the user has not chosen one since."""
        owner, state = model_of(self._session.conversation), self._state
        if self._model_at_opening != state.model_ref or state.loading:
            return None
        return None if self.is_in_use(owner) else owner

    # Naming it.

    def update(self) -> None:
        """Name the conversation's own model, where another one is in use."""
        owner = self._owner
        if owner is not None and owner not in self._is_local:
            self._is_local[owner] = None
            self._look_for(owner)
        here = None if owner is None else self._is_local[owner]
        self.line.display = here is not None
        if owner is not None and here is not None:
            words = _words(shown_label(owner), self._state, here=here)
            self.line.update(Content(words))

    def _look_for(self, owner: str) -> None:
        is_here = self._session.options.is_here

        def end(here: bool) -> None:
            self._is_local[owner] = here
            self.update()

        run_in_thread(
            lambda: is_here(named(owner)),
            self._screen.call_later,
            then=end,
            failed=lambda _: end(False),
            bug=LmtuiError("models can't be looked for"),
        )

    # Asking.

    def asks_first(self, again: Again, text: str = "") -> bool:
        """Return whether an answer has to wait for a question: which model is to make
        it? `again` is called where the user wants it made; where not, `text` goes back
        to the prompt."""
        owner = self._owner
        if owner is None:
            return False
        here = self._is_local.get(owner)
        if here is None:
            self._screen.notify(
                "One moment: looking for the model of this conversation."
            )
            self._give_back(text)
            return True
        name = shown_label(owner)
        where = "It is on this machine." if here else "It is not on this machine."
        details = (f"{name} wrote the last answer. {where}",)
        choices = _choices(name, self._state, here=here, holds_message=bool(text))
        asked = ConfirmDialog(
            "Which model should continue this conversation?",
            details,
            choices,
            harmless="r",
            first=choices[0].key,
        )
        self._screen.app.push_screen(asked, partial(self._answer, again, text))
        return True

    async def _answer(self, again: Again, text: str, answer: str | None) -> None:
        if answer == "l":
            self._after_load = again, text
            self.load()
        elif answer == "g":
            self._model_at_opening = None
            self.update()
            self._screen.call_later(again)
        else:
            self._give_back(text)
            if answer == "m":
                await self._screen.run_action("app.models")

    def load(self) -> None:
        """Load the model that the conversation was had with."""
        owner = model_of(self._session.conversation)
        if owner is None:
            self._screen.notify("No model has said anything here yet.")
        elif self.is_in_use(owner):
            self._screen.notify("This conversation's model is already loaded.")
        elif self._is_local.get(owner) is False:
            words = f"{shown_label(owner)} is not on this machine."
            self._screen.notify(words, markup=False)
        else:
            self._screen.post_message(ModelChosen(named(owner)))

    def _return_held(self) -> None:
        """Give the message that waits for a load back to the prompt."""
        _, text = self._after_load or (None, "")
        self._after_load = None
        self._give_back(text)

    def _give_back(self, text: str) -> None:
        if text:
            self._prompt.give_back(text)


def _words(owner: str, state: ModelState, *, here: bool) -> str:
    if not here:
        return (
            f"{owner} wrote this and is not on this machine: it can be read; F5 or"
            " /model chooses a model to continue with."
        )
    other = f" {shown_label(state.info.label)} is loaded;" if state.info else ""
    return f"{owner} wrote this;{other} /own loads {owner}."


def _choices(
    owner: str, state: ModelState, *, here: bool, holds_message: bool
) -> list[Choice]:
    choices = [Choice("l", f"Load {owner}", "the model that wrote it")] if here else []
    if state.info is not None:
        other = shown_label(state.info.label)
        choices.append(Choice("g", f"Continue with {other}", "it is loaded"))
    choices.append(Choice("m", "Another model", "choose one from the list"))
    back = "your message goes back to the prompt"
    end = Choice("r", "Only read", back if holds_message else "nothing is sent")
    return [*choices, end]
