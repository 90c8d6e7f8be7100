"""A dialog with a list of rows, of which the user takes one.

Knows nothing of what is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList

from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.plain_text import PlainLine, PlainText

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PickerRows(Generic[Item]):
    """Contents of a picker: items with a row each, and the lines around them."""

    items: Sequence[Item]
    lines: Sequence[Content | str]
    heads: str = ""
    note: str = ""
    """Text below the rows, or in their place."""
    foot: str = "Esc closes"
    at: int | None = None
    """The row to mark; None leaves the mark where it is."""


class Picker(ModalScreen[Item | None], Generic[Item]):
    """A titled list of rows. Returns the item of the one that is taken."""

    DEFAULT_CSS = """
    Picker {
        align: center middle;
        #dialog {
            width: 84;
            max-width: 100%;
            height: auto;
            max-height: 100%;
            padding: 0 2;
            border: round $accent;
            background: $background;
        }
        #title { height: 1; color: $accent; text-style: bold; }
        #heads { height: 1; padding: 0 1; color: $quiet; }
        #note { height: auto; color: $quiet; }
        #foot { height: 1; color: $quiet; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="picker.close",
                tooltip="Take none of the rows."),
    ]  # fmt: skip

    def __init__(self, title: str, rows: PickerRows[Item]) -> None:
        super().__init__()
        self._title, self._rows = title, rows

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield PlainLine(id="title")
            yield PlainLine(id="heads")
            yield DialogList(id="list")
            yield PlainText(id="note")
            yield PlainLine(id="foot")

    def on_mount(self) -> None:
        self._draw()
        self.query_one(DialogList).focus()

    def show_rows(self, rows: PickerRows[Item], *, title: str = "") -> None:
        """Show other rows, and another title if there is one, also before the dialog is
        mounted."""
        if not self.is_mounted:  # no row is marked yet
            rows = replace(rows, at=self._rows.at if rows.at is None else rows.at)
        self._rows, self._title = rows, title or self._title
        if self.is_mounted:
            self._draw()

    @property
    def items(self) -> Sequence[Item]:
        return self._rows.items

    @property
    def marked(self) -> Item | None:
        index = self.query_one(DialogList).highlighted
        return None if index is None else self._rows.items[index]

    def _draw(self) -> None:
        rows, option_list = self._rows, self.query_one(DialogList)
        index = (option_list.highlighted or 0) if rows.at is None else rows.at
        option_list.clear_options()
        option_list.add_options(rows.lines)
        option_list.display = bool(rows.lines)
        last = len(rows.lines) - 1
        option_list.highlighted = min(index, last) if rows.lines else None
        texts = {
            "title": self._title,
            "heads": rows.heads,
            "note": rows.note,
            "foot": rows.foot,
        }
        for id_, text in texts.items():
            line = self.query_one(f"#{id_}", PlainText)
            line.display = bool(text)
            line.update(text)

    @on(OptionList.OptionSelected)
    def return_item(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._rows.items[event.option_index])

    def action_close(self) -> None:
        self.dismiss(None)
