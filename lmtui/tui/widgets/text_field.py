"""A line to write in, a row high.

Owns how foreign text in it is drawn: what was pasted or selected may hold control
characters. Knows nothing of what is written.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.widgets import Input

from lmtui.tui.widgets.line_rows import drawn
from lmtui.tui.widgets.typed import take_key

_ONE_LINE = {0x09: "→", 0x0A: "⏎"}


class TextField(Input):
    """An input without a border."""

    DEFAULT_CSS = """
    TextField {
        width: 1fr;
        height: 1;
        padding: 0;
        border: none;
        background: $background;
        &:focus { border: none; background: $background; background-tint: transparent; }
        & > .input--placeholder { color: $quiet; }
    }
    """

    def __init__(self, *, id: str, placeholder: str = "") -> None:
        super().__init__(
            id=id, placeholder=placeholder, compact=True, select_on_focus=False
        )

    @property
    def _value(self) -> Text:
        """The value as it is drawn, a character for each of its own."""
        return Text(self._shown(), no_wrap=True, overflow="ignore", end="")

    def _shown(self, end: int | None = None) -> str:
        return drawn(self.value).translate(_ONE_LINE)[:end]

    def _position_to_cell(self, position: int) -> int:
        return cell_len(self._shown(position))

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self.replace(text, *self.selection)

        await take_key(self, event, write)
