"""A text area whose lines are measured as they are drawn.

What was pasted may hold control characters, joiners and parts of emoji: each is drawn
as one character, and that is what rows and cursor follow. Knows nothing of what is
written.
"""

from __future__ import annotations

from typing import overload

from rich.text import Text
from textual.document._document import Document, DocumentBase
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.widgets import TextArea

from lmtui.tui.widgets.line_rows import cells_of, drawn


class DrawnDocument(Document):
    """The lines of a document as they are drawn, as long as they are in it."""

    def __init__(self, document: DocumentBase) -> None:
        super().__init__("")
        self._document = document

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [drawn(line) for line in self._document.lines]

    @property
    def line_count(self) -> int:
        """How many there are."""
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
    """A text area for foreign text."""

    def _set_document(self, text: str, language: str | None) -> None:
        super()._set_document(text, language)
        self.wrapped_document = WrappedDocument(
            DrawnDocument(self.document), tab_width=self.indent_width
        )
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._rewrap_and_refresh_virtual_size()

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn."""
        return Text(drawn(self.document.get_line(line_index)), end="", no_wrap=True)

    def get_column_width(self, row: int, column: int) -> int:
        """The cells of a line up to a column."""
        return cells_of(drawn(self.document[row])[:column], self.indent_width)
