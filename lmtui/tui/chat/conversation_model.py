"""The model that a conversation was had with, where another is in use."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from lmtui.chat.conversation import model_of
from lmtui.engine.types import ChatTurn
from lmtui.tui.chat.session import ChatSession
from lmtui.tui.controller import Controller
from lmtui.tui.model_state import ModelState, shown_label


class ConversationModelController(Controller):
    """Names the model of the conversation; knows which of its answers the one in use
    wrote."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self.line = Static(id="writer", markup=False)
        self._state = ModelState()

    def follow_model(self, state: ModelState) -> None:
        self._state = state
        self.update()

    def is_in_use(self, model: str | None) -> bool:
        """Return whether a model is the one in use, which alone can go on with its ids
        and whose numbers can be set beside those of today."""
        return self._state.info is not None and self._state.info.label == model

    def messages(self, last_id: int | None = None) -> tuple[ChatTurn, ...]:
        """Return the conversation up to a message, or the leaf, as the model in use is
        given it."""
        info = self._state.info
        return self._session.conversation.messages(
            last_id, model=info.label if info else None
        )

    def update(self) -> None:
        """Name the model that wrote the last answer, where another one is in use."""
        writer, state = model_of(self._session.conversation), self._state
        is_other = writer is not None and not self.is_in_use(writer)
        self.line.display = is_other and not state.loading
        if writer is not None:
            continues = "F5 chooses a model to continue it"
            if state.info is not None:
                continues = f"{shown_label(state.info.label)} continues it"
            self.line.update(Content(f"Written by {shown_label(writer)}; {continues}."))
