"""A text area that keeps every character and draws control characters as pictures."""

from __future__ import annotations

from typing import overload

from rich.text import Text
from textual import events
from textual.document._document import Document, DocumentBase
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.widgets import TextArea

from lmtui.tui.widgets.cells import cells_of, drawn
from lmtui.tui.widgets.line_document import LineDocument


def pasted_text(event: events.Paste) -> str:
    return event.text.replace("\r\n", "\n").replace("\r", "\n")


class DrawnDocument(Document):
    """A view of a document with its lines as they are drawn, for wrapping."""

    def __init__(self, document: DocumentBase) -> None:
        super().__init__("")
        self._document = document

    @property
    def lines(self) -> list[str]:
        return [drawn(line) for line in self._document.lines]

    @property
    def line_count(self) -> int:
        return self._document.line_count

    @overload
    def __getitem__(self, line_index: int) -> str: ...
    @overload
    def __getitem__(self, line_index: slice) -> list[str]: ...
    def __getitem__(self, line_index: int | slice) -> str | list[str]:
        if isinstance(line_index, slice):
            return [drawn(line) for line in self._document.lines[line_index]]
        return drawn(self._document.lines[line_index])


class DrawnArea(TextArea):
    """A text area of a few lines, such as a prompt."""

    def _set_document(self, text: str, language: str | None) -> None:
        super()._set_document("", language)
        self.document = LineDocument(text)
        self.wrapped_document = WrappedDocument(
            DrawnDocument(self.document), tab_width=self.indent_width
        )
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._rewrap_and_refresh_virtual_size()

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        text = pasted_text(event)
        if result := self._replace_via_keyboard(text, *self.selection):
            self.move_cursor(result.end_location)

    def get_line(self, line_index: int) -> Text:
        return Text(drawn(self.document.get_line(line_index)), end="", no_wrap=True)

    def get_column_width(self, row: int, column: int) -> int:
        return cells_of(drawn(self.document[row])[:column], self.indent_width)
