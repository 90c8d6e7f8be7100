"""The screen that shows the report of a training run; it knows no training."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from lmtui.text import visible_line
from lmtui.tui.finetune.format import home_path
from lmtui.tui.widgets.markdown import MarkdownView

UNREAD = "The report can't be read"


class ReportScreen(Screen[None]):
    HELP = """\
Arrows, PgUp and PgDn scroll. The same text is in the adapter's folder, with the numbers
as JSON beside it.
"""
    CSS_PATH = "report.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="report.close",
                tooltip="Back to the training."),
    ]  # fmt: skip

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def compose(self) -> ComposeResult:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            text = f"{UNREAD}: {error.strerror}."
        with VerticalScroll(id="page"):
            yield MarkdownView(text)
        foot = f"Esc closes · {visible_line(home_path(self._path))}"
        yield Static(Content(foot), id="foot")

    def on_mount(self) -> None:
        self.query_one("#page").focus()

    def action_close(self) -> None:
        self.app.pop_screen()
