"""A list of rows for dialogs. Knows nothing of what is listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from textual.visual import VisualType
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lmtui.tui.widgets.plain_text import plain_line


class DialogList(OptionList):
    DEFAULT_CSS = """
    DialogList {
        border: none;
        padding: 0;
        background: transparent;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background-tint: transparent; }
        & > .option-list--option { padding: 0 1; }
        & > .option-list--option-highlighted,
        &:focus > .option-list--option-highlighted {
            color: $foreground;
            background: $panel;
        }
    }
    """

    wraps = True
    """Whether Up at the first row goes to the last one, and Down back."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)

    def add_options(self, new_options: Iterable[Option | VisualType | None]) -> Self:
        """Add rows; a text is one line, which may come from anywhere."""
        rows = (plain_line(row) if isinstance(row, str) else row for row in new_options)
        return super().add_options(rows)

    def action_cursor_up(self) -> None:
        if self.wraps or self.highlighted:
            super().action_cursor_up()

    def action_cursor_down(self) -> None:
        if self.wraps or self.highlighted != self.option_count - 1:
            super().action_cursor_down()
