"""The keys to the edges of a text, and for all of it, which the text area lacks.

Owns nothing but the way there.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.document._document import Selection
from textual.widgets import TextArea


class TextEdges(TextArea):
    """A text area that can be crossed in one step."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+home", "text_edge('start')", "Text start", show=False,
                id="editor.text-start", tooltip="To the beginning of the text"),
        Binding("ctrl+end", "text_edge('end')", "Text end", show=False,
                id="editor.text-end", tooltip="To the end of the text"),
        Binding("ctrl+shift+home", "text_edge('start', True)", "Select to start",
                show=False, id="editor.select-start",
                tooltip="Select up to the beginning of the text"),
        Binding("ctrl+shift+end", "text_edge('end', True)", "Select to end",
                show=False, id="editor.select-end",
                tooltip="Select up to the end of the text"),
        Binding("alt+a", "select_all", "Select all", show=False,
                id="editor.select-all", tooltip="Select the whole text"),
    ]  # fmt: skip

    def action_text_edge(self, edge: str, select: bool = False) -> None:
        """To the beginning or the end of the text; with `select` up to there."""
        place = (0, 0) if edge == "start" else self.document.end
        self.selection = Selection(self.selection.start if select else place, place)
        self.record_cursor_width()
        self.history.checkpoint()
