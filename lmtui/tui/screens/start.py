"""The first screen: which model there is, and what can be done.

Owns nothing but what it shows; every choice is a key of the program. Knows no engine.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from lmtui.tui.model_state import ModelState
from lmtui.tui.widgets.choices import Choices
from lmtui.tui.widgets.model_line import ModelLine


class StartScreen(Screen[None]):
    """A centred column: the model, and a list of what to do."""

    HELP = """\
Up and Down walk the list, Enter or a click takes a choice; each has a letter too. The
model loads meanwhile: nothing has to wait for it.
"""
    CSS_PATH = "start.tcss"
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-low"),
        (18, "-short"),
        (32, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "app.chat", "Chat", id="start.chat",
                tooltip="Talk, and watch every distribution."),
        Binding("m", "app.models", "Models", id="start.models",
                tooltip="Choose, fetch and load another model."),
        Binding("t", "app.change_theme", "Themes", id="start.themes",
                tooltip="Try the colours."),
        Binding("h", "app.help", "Help", id="start.help",
                tooltip="Show what every key does."),
        Binding("q", "app.quit", "Quit", id="start.quit",
                tooltip="Leave the program."),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        title = Content.assemble(
            ("lmtui", "bold $primary"), ("  see a language model think", "$quiet")
        )
        with Vertical(id="column"):
            yield Static(title, id="title")
            yield ModelLine(id="model")
            yield Choices(id="choices")

    def on_mount(self) -> None:
        """Follow the model from what it is now."""
        self.watch(self.app, "model", self.show_model)
        self.query_one(Choices).focus()

    def on_screen_resume(self) -> None:
        """What can be done may have changed meanwhile."""
        self.query_one(Choices).offer()

    def show_model(self, state: ModelState) -> None:
        """Say what became of the model."""
        self.query_one(ModelLine).show(state)
