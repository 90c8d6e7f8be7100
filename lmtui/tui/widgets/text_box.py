"""A few lines to write in.

Tab leads on. Knows nothing of what is written.
"""

from __future__ import annotations

from textual import events

from lmtui.tui.widgets.drawn_area import DrawnArea
from lmtui.tui.widgets.typed import take_key


class TextBox(DrawnArea):
    """A text field of several lines without a border."""

    DEFAULT_CSS = """
    TextBox {
        border: none;
        padding: 0;
        background: $surface;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background: $panel; background-tint: transparent; }
    }
    """

    def __init__(self, *, id: str, placeholder: str = "") -> None:
        super().__init__(
            id=id,
            soft_wrap=True,
            show_line_numbers=False,
            highlight_cursor_line=False,
            tab_behavior="focus",
            placeholder=placeholder,
        )

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self._replace_via_keyboard(text, *self.selection)

        await take_key(self, event, write)
