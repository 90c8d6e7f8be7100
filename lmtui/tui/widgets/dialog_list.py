"""A list of rows for dialogs. Knows nothing of what is listed."""

from __future__ import annotations

from textual.widgets import OptionList


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

    def action_cursor_up(self) -> None:
        if self.wraps or self.highlighted:
            super().action_cursor_up()

    def action_cursor_down(self) -> None:
        if self.wraps or self.highlighted != self.option_count - 1:
            super().action_cursor_down()
