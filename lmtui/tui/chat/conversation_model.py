"""The model that an opened conversation was had with, where another is in use.

The user is asked before a model is loaded and before another model goes on with the
conversation. It can be read meanwhile.
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

Retry = Callable[[], Awaitable[Any] | object]


class ConversationModelController(Controller):
    """Names the model of the conversation, and asks which one is to go on with it."""

    def __init__(
        self, screen: ModelScreen, session: ChatSession, prompt: PromptField
    ) -> None:
        self._screen, self._session, self._prompt = screen, session, prompt
        self.line = Static(id="owner", markup=False)
        self._state = ModelState()
        # In use when the conversation was opened.
        self._model_at_opening: ModelRef | None = None
        # To be done once its own model is loaded, and the message that is held for it.
        self._after_load: tuple[Retry, str] | None = None
        self._is_local: dict[str, bool | None] = {}  # None while it is looked for

    def start(self) -> None:
        """Take it that the model is missing, where that is known from the beginning."""
        if self._session.options.missing is not None:
            self._state = self._screen.app.model  # type: ignore[attr-defined]
            self._model_at_opening = self._state.model_ref

    def conversation_opened(self) -> None:
        self._return_pending()
        self._model_at_opening = self._state.model_ref

    def conversation_begun(self, *, forked: bool) -> None:
        """A new conversation belongs to no model yet, unless it was forked."""
        self._return_pending()
        if not forked:
            self._model_at_opening = None

    def follow_model(self, state: ModelState) -> None:
        self._state = state
        if self._after_load is not None and not state.loading:
            if state.info is not None:
                self._screen.call_later(self._after_load[0])
                self._after_load = None
            else:
                self._return_pending()
        self.update()

    def is_in_use(self, model: str | None) -> bool:
        """Return whether a model is the one in use, which alone can go on with its ids
        and whose numbers can be set beside those of today."""
        return self._state.info is not None and self._state.info.label == model

    def messages(self, last_id: int | None = None) -> tuple[ChatTurn, ...]:
        """Return the conversation up to a message, or the leaf, for the model
        in use."""
        info = self._state.info
        return self._session.conversation.messages(
            last_id, model=info.label if info else None
        )

    @property
    def _other_model(self) -> str | None:
        """The model to ask about: the conversation was opened and is another model's,
        and the user has not chosen one since."""
        writer, state = model_of(self._session.conversation), self._state
        if self._model_at_opening != state.model_ref or state.loading:
            return None
        return None if self.is_in_use(writer) else writer

    # Naming it.

    def update(self) -> None:
        """Name the conversation's own model, where another one is in use."""
        label = self._other_model
        if label is not None and label not in self._is_local:
            self._is_local[label] = None
            self._check_local(label)
        is_local = None if label is None else self._is_local[label]
        self.line.display = is_local is not None
        if label is not None and is_local is not None:
            line = _model_line(shown_label(label), self._state, is_local=is_local)
            self.line.update(Content(line))

    def _check_local(self, label: str) -> None:
        is_here = self._session.options.is_here

        def set_local(is_local: bool) -> None:
            self._is_local[label] = is_local
            self.update()

        run_in_thread(
            lambda: is_here(named(label)),
            self._screen.call_later,
            then=set_local,
            failed=lambda _: set_local(False),
            bug=LmtuiError("models can't be looked for"),
        )

    # Asking.

    def ask_for_model(self, retry: Retry, text: str = "") -> bool:
        """Return whether an answer has to wait for a question: which model is to make
        it? `retry` is called where the user wants it made; where not, `text` goes back
        to the prompt."""
        label = self._other_model
        if label is None:
            return False
        is_local = self._is_local.get(label)
        if is_local is None:
            self._screen.notify(
                "One moment: looking for the model of this conversation."
            )
            self._put_back(text)
            return True
        name = shown_label(label)
        where = "It is on this machine." if is_local else "It is not on this machine."
        details = (f"{name} wrote the last answer. {where}",)
        choices = _choices(
            name, self._state, is_local=is_local, holds_message=bool(text)
        )
        dialog = ConfirmDialog(
            "Which model should continue this conversation?",
            details,
            choices,
            harmless="r",
            first=choices[0].key,
        )
        self._screen.app.push_screen(dialog, partial(self._answer, retry, text))
        return True

    async def _answer(self, retry: Retry, text: str, answer: str | None) -> None:
        if answer == "l":
            self._after_load = retry, text
            self.load()
        elif answer == "g":
            self._model_at_opening = None
            self.update()
            self._screen.call_later(retry)
        else:
            self._put_back(text)
            if answer == "m":
                await self._screen.run_action("app.models")

    def load(self) -> None:
        label = model_of(self._session.conversation)
        if label is None:
            self._screen.notify("No model has said anything here yet.")
        elif self.is_in_use(label):
            self._screen.notify("This conversation's model is already loaded.")
        elif self._is_local.get(label) is False:
            notice = f"{shown_label(label)} is not on this machine."
            self._screen.notify(notice, markup=False)
        else:
            self._screen.post_message(ModelChosen(named(label)))

    def _return_pending(self) -> None:
        _, text = self._after_load or (None, "")
        self._after_load = None
        self._put_back(text)

    def _put_back(self, text: str) -> None:
        if text:
            self._prompt.give_back(text)


def _model_line(name: str, state: ModelState, *, is_local: bool) -> str:
    if not is_local:
        return (
            f"{name} wrote this and is not on this machine: it can be read; F5 or"
            " /model chooses a model to continue with."
        )
    loaded = f" {shown_label(state.info.label)} is loaded;" if state.info else ""
    return f"{name} wrote this;{loaded} /own loads {name}."


def _choices(
    name: str, state: ModelState, *, is_local: bool, holds_message: bool
) -> list[Choice]:
    choices = (
        [Choice("l", f"Load {name}", "the model that wrote it")] if is_local else []
    )
    if state.info is not None:
        loaded = shown_label(state.info.label)
        choices.append(Choice("g", f"Continue with {loaded}", "it is loaded"))
    choices.append(Choice("m", "Another model", "choose one from the list"))
    back = "your message goes back to the prompt"
    only_read = Choice("r", "Only read", back if holds_message else "nothing is sent")
    return [*choices, only_read]
