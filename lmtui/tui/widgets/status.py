"""The status line: what the program is doing, and with which model.

Owns one line of text; knows no engine. Model names are foreign and made visible.
"""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from lmtui.engine.types import EngineInfo
from lmtui.text import visible_line
from lmtui.tui.model_state import described


class Status(Static):
    """State on the left, model and precision after it."""

    DEFAULT_CSS = """
    Status {
        width: 100%;
        height: 1;
        padding: 0 1;
        background: $panel;
        color: $foreground;
    }
    """
    state: reactive[str] = reactive("")
    """What is going on, as a few words."""
    model: reactive[str] = reactive("")
    """The model in use and how it is computed."""
    told: reactive[str] = reactive("")
    """What the model is told that no message says, as a few words."""

    def render(self) -> Content:
        """One line, cut with an ellipsis where it does not fit."""
        parts = [part for part in (self.state, self.model, self.told) if part]
        line = Content(" · ".join(parts))
        return line.truncate(max(1, self.size.width - 2), ellipsis=True)

    def show_info(self, info: EngineInfo | None) -> None:
        """Name the model, if there is one."""
        self.model = f"{visible_line(info.label)} · {described(info)}" if info else ""
