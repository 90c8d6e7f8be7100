"""The model in use, or on its way: its name, and how it is with it.

Owns how a `ModelState` looks in a few lines. Knows no screen and no engine.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from lmtui.text import visible_line
from lmtui.tui.model_state import ModelState

_BAR = 24  # cells


class ModelLine(Static):
    """A name, a state, and below them a bar or what to do."""

    DEFAULT_CSS = """
    ModelLine {
        height: auto;
        padding: 0 1;
        border-left: thick $primary;
        &.-loading { border-left: thick $warning; }
        &.-failed { border-left: thick $error; }
    }
    """

    def show(self, state: ModelState) -> None:
        """Show what became of the model."""
        self.set_class(state.loading, "-loading")
        self.set_class(state.error is not None, "-failed")
        parts = [Content.styled(state.name, "bold"), Content(state.words)]
        if state.error is not None:
            told = (state.error.detail, state.error.hint)
            parts += [Content.styled(visible_line(line), "$quiet")
                      for line in told if line and line != state.name]  # fmt: skip
        elif state.share is not None:
            done = round(_BAR * min(1.0, state.share))
            bar = (("━" * done, "$primary"), ("━" * (_BAR - done), "$surface"))
            parts.append(Content.assemble(*bar))
        self.update(Content("\n").join(parts))
