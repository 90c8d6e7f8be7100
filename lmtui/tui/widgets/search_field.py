"""A field to search a list by, from which the list is walked.

Owns the keys that walk; what is listed, and what the words find, is not its own.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.binding import Binding, BindingType
from textual.message import Message

from lmtui.tui.widgets.text_field import TextField

Where = Literal["cursor_up", "cursor_down", "page_up", "page_down"]


class SearchField(TextField):
    """A line to write in; Up and Down are for the list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "walk('cursor_up')", "Up", id="search.up", show=False,
                tooltip="To the line above."),
        Binding("down", "walk('cursor_down')", "Down", id="search.down", show=False,
                tooltip="To the line below."),
        Binding("pageup", "walk('page_up')", "Page up", id="search.page-up",
                show=False, tooltip="A page up."),
        Binding("pagedown", "walk('page_down')", "Page down", id="search.page-down",
                show=False, tooltip="A page down."),
    ]  # fmt: skip

    class Walked(Message):
        """The list is to be walked."""

        def __init__(self, where: Where) -> None:
            self.where = where
            """The action of an `OptionList`."""
            super().__init__()

    def action_walk(self, where: Where) -> None:
        """Say where to."""
        self.post_message(self.Walked(where))
