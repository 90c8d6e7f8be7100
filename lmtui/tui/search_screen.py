"""Base class of the screens with a list to search: its field, rows and a preview."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen

from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import LinePrompt, SearchField
from lmtui.tui.widgets.plain_text import PlainLine, PlainText
from lmtui.tui.widgets.status import MainPart


class SearchScreen(Screen[None]):
    """Search field with a count, list, preview of the marked row, and a last line.

    Its sheet is `search_screen.tcss`.
    """

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-narrow"),
        (100, "-wide"),
    ]
    PLACEHOLDER: ClassVar[str]

    def compose(self) -> ComposeResult:
        with Horizontal(id="search"):
            yield SearchField(id="words", placeholder=self.PLACEHOLDER)
            yield PlainLine(id="count")
        with MainPart(id="main"):
            yield DialogList(id="list")
            with VerticalScroll(id="preview", can_focus=False):
                yield PlainText(id="about")
        yield LinePrompt(id="ask")
        yield PlainLine(id="foot")

    def on_mount(self) -> None:
        self._list.can_focus = False  # what is typed is for the field
        self._field.focus()

    @property
    def _list(self) -> DialogList:
        return self.query_one("#list", DialogList)

    @property
    def _field(self) -> SearchField:
        return self.query_one("#words", SearchField)

    @property
    def _prompt(self) -> LinePrompt:
        return self.query_one(LinePrompt)

    def show_texts(self, **texts: Content | str) -> None:
        """Show texts in the `count`, about the marked row (`about`), or at the
        `foot`."""
        for id_, text in texts.items():
            self.query_one(f"#{id_}", PlainText).update(text)

    def action_close(self) -> None:
        """Empty the field; else close the screen."""
        if self._field.value:
            self._field.value = ""
        else:
            self.app.pop_screen()
