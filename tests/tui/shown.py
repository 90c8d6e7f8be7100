"""What a terminal shows after everything that the program has drawn on it."""

from __future__ import annotations

import re
from typing import Any

from rich.cells import cell_len
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.geometry import Size
from textual.screen import Screen
from textual.strip import Strip

from tests.tui.hosts import drawn

Cell = tuple[str, str]
"""A character and how it looks; of one that takes two cells, the second is empty."""

_PART = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|\n|[^\x1b\n]+")


class Shown:
    """The cells of a terminal on which an app draws, update by update."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self.updates = 0
        """How often something was drawn."""
        self._cells: list[list[Cell]] = []
        self._size = Size(0, 0)
        display = app._display

        def watched(screen: Screen[Any], update: Any) -> None:
            if isinstance(update, CompositorUpdate):
                self._take(update)
            display(screen, update)

        app._display = watched  # type: ignore[method-assign]

    def _take(self, update: CompositorUpdate) -> None:
        if self._size != self._app.screen._compositor.size:
            self._size = self._app.screen._compositor.size
            self._cells = [[(" ", "")] * self._size.width for _ in range(self._size[1])]
        self.updates += 1
        _draw(self._cells, update.render_segments(self._app.console))

    @property
    def cells(self) -> list[list[Cell]]:
        """Line by line."""
        return self._cells

    def whole(self) -> list[list[Cell]]:
        """What the screen would look like if all of it were drawn anew."""
        strips = drawn(self._app.screen)
        width = self._app.screen.size.width
        lines = [[(" ", "")] * width for _ in strips]
        for line, strip in zip(lines, strips, strict=True):
            _draw([line], Strip(list(strip)).render(self._app.console))
        return lines

    @property
    def settled(self) -> bool:
        """Whether all that has changed was drawn."""
        screen = self._app.screen
        if screen._dirty_widgets or screen._compositor._dirty_regions:
            return False
        if self._size != self._app.size:
            return False
        return not any(
            widget._layout_required
            or widget._repaint_required
            or widget._scroll_required
            or widget._message_queue.qsize()
            for widget in (screen, *screen.query("*"))
        )


def _draw(cells: list[list[Cell]], sequences: str) -> None:
    x = y = 0
    look = ""
    for part in _PART.finditer(sequences):
        numbers, letter = part[1], part[2]
        if letter == "H":
            row, column = numbers.split(";")
            x, y = int(column) - 1, int(row) - 1
        elif letter == "m":
            look = "" if numbers == "0" else numbers
        elif part[0] == "\n":
            y += 1
        elif letter is None:
            for character in part[0]:
                wide = cell_len(character)
                if wide == 0:
                    before, style = cells[y][x - 1]
                    cells[y][x - 1] = before + character, style
                    continue
                cells[y][x : x + wide] = [(character, look), ("", look)][:wide]
                x += wide
