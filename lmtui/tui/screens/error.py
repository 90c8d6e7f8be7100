"""An error that has to be answered: what happened, and what can be done about it.

Owns how it is told. What is chosen is the answer of the screen; doing it is the
program's. It can come while somebody writes: a key that was meant for the text must not
be taken for a choice, so these are offered a moment later. Knows no engine.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lmtui.errors import LmtuiError
from lmtui.models.wanted import Wanted
from lmtui.text import visible, visible_line
from lmtui.tui.model_state import full_name, shown_name
from lmtui.tui.widgets.choices import Choices

_PAUSE = 0.6  # seconds in which a person notices and stops writing


class ErrorScreen(ModalScreen[str]):
    """A model that can't be had. Answers `again`, `before`, `models` or `close`."""

    HELP = """\
The model could not be loaded; one that was there before was let go of to make room.
"""
    CSS_PATH = "error.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "answer('again')", "Try again", id="error.again",
                tooltip="Load the same model once more."),
        Binding("b", "answer('before')", "Go back", id="error.before",
                tooltip="Load the model before it again."),
        Binding("m", "answer('models')", "Models", id="error.models",
                tooltip="Choose another model."),
        Binding("escape", "answer('close')", "Close", id="error.close",
                tooltip="Go on without a model."),
    ]  # fmt: skip

    def __init__(
        self, error: LmtuiError, *, wanted: Wanted, before: Wanted | None
    ) -> None:
        super().__init__()
        self._error = error
        self._wanted, self._before = visible_line(full_name(wanted)), before
        self._offered = False

    def compose(self) -> ComposeResult:
        """What happened, the facts, a hint, and the ways out."""
        error = self._error
        with Vertical(id="dialog"):
            title = Content.styled(visible_line(error.title), "bold $error")
            yield Static(title, id="title")
            with VerticalScroll(id="facts", can_focus=False):
                if self._wanted != error.detail:
                    yield Static(Content(self._wanted), classes="quiet")
                for part in (error.detail, error.hint):
                    if part:
                        yield Static(Content(visible(part)))
            yield Choices(id="choices")

    def on_mount(self) -> None:
        """Wait for a moment."""
        self.set_timer(_PAUSE, self._offer)

    def _offer(self) -> None:
        self._offered = True
        back = shown_name(self._before) if self._before else ""
        choices = self.query_one(Choices)
        choices.offer(details={"answer('before')": f"Load {back} again."})
        choices.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing is done before it was offered, and there is not always a model to go
        back to."""
        if action != "answer":
            return super().check_action(action, parameters)
        return self._offered and (self._before is not None or parameters != ("before",))

    def action_answer(self, answer: str) -> None:
        """Close, and say what was chosen."""
        self.dismiss(answer)
