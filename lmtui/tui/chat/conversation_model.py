"""The model of the conversation: who wrote its last answer, where another is in use,
and how the one in use is asked."""

from __future__ import annotations

from lmtui.chat.conversation import model_of
from lmtui.engine.types import ChatTurn
from lmtui.models.source import short_label
from lmtui.tui.chat.session import ChatSession
from lmtui.tui.controller import Controller
from lmtui.tui.model_state import shown_label
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.plain_text import PlainLine

_BASE_MODEL = (
    "This is a base model: it has no chat template. A conversation is given to it as"
    " plain lines, User: …⏎Assistant:, and it goes on with the text."
)
_THINKING = {None: "", True: "thinking on", False: "thinking off"}


class ConversationModelController(Controller):
    """Names the model of the conversation; knows which of its answers the one in use
    wrote. Says in the status line whether that is told to think, and that it has no
    chat template."""

    def __init__(self, screen: ModelScreen, session: ChatSession) -> None:
        self._screen, self._session = screen, session
        self.line = PlainLine(id="writer")
        self._notified = ""  # label of the base model that the user was told of last

    def follow_model(self) -> None:
        """Notify once how a base model is asked."""
        self.update()
        if self.model.info is None:
            return
        label = "" if self.model.info.has_template else self.model.info.label
        if label and label != self._notified:
            self._screen.notify(_BASE_MODEL, title=short_label(label), timeout=12)
        self._notified = label

    def is_in_use(self, model: str | None) -> bool:
        """Return whether a model is the one in use, which alone can go on with its ids
        and whose numbers can be set beside those of today."""
        return self.model.info is not None and self.model.info.label == model

    def messages(self, last_id: int | None = None) -> tuple[ChatTurn, ...]:
        """Return the conversation up to a message, or the leaf, as the model in use is
        given it."""
        label = self.model.info.label if self.model.info else None
        return self._session.conversation.messages(last_id, model=label)

    def update(self) -> None:
        """Name the model that wrote the last answer, where another one is in use, and
        say how the one in use is asked."""
        writer, info = model_of(self._session.conversation), self.model.info
        is_other = writer is not None and not self.is_in_use(writer)
        self.line.display = is_other and not self.model.loading
        if writer is not None:
            continues = "F5 chooses a model to continue it"
            if info is not None:
                continues = f"{shown_label(info.label)} continues it"
            self.line.update(f"Written by {shown_label(writer)}; {continues}.")
        note = ""
        if info is not None and not info.has_template:
            note = "base model: no chat template"
        elif info is not None and info.switches_thinking:
            note = _THINKING[self._session.thinking]
        self._screen.status.note = note
