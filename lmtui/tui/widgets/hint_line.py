"""A hint for whoever sees a screen for the first time.

Owns the line, and that it is there only when it is asked to be. Whether a hint was ever
seen is not its own: it asks by a message.
"""

from __future__ import annotations

from textual.content import Content
from textual.message import Message
from textual.widgets import Static


class HintLine(Static):
    """A line or two, hidden at first."""

    DEFAULT_CSS = """
    HintLine {
        display: none;
        height: auto;
        max-height: 3;
        padding: 0 2;
        background: $surface;
        &.-shown { display: block; }
    }
    """

    class Wondered(Message):
        """There is a screen with a hint; was it ever seen?"""

        def __init__(self, hint: HintLine) -> None:
            self.hint = hint
            super().__init__()

    def __init__(self, name: str, words: str) -> None:
        line = Content.assemble(
            ("New here? ", "bold $accent"), words, ("  Esc hides this.", "$quiet")
        )
        super().__init__(line, name=name, markup=False)

    def on_mount(self) -> None:
        """Ask."""
        self.post_message(self.Wondered(self))

    def show(self) -> None:
        """It was never seen."""
        self.add_class("-shown")

    def hide(self) -> bool:
        """It was read; whether there was anything to hide."""
        shown = self.has_class("-shown")
        self.remove_class("-shown")
        return shown

    def on_click(self) -> None:
        """A click hides it too."""
        self.hide()
