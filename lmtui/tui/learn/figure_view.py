"""Widget that shows the figure of an instrument."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from lmtui.learn.figure import Figure
from lmtui.learn.figure_lines import figure_lines
from lmtui.tui.widgets.cells import tame_heaps
from lmtui.tui.widgets.styled_lines import Line, StyledLines


class FigureView(StyledLines):
    """Draws a figure, as high as it needs to be."""

    PREFIX = "figure--"
    DEFAULT_CSS = "\n".join(
        (
            "FigureView { width: 1fr; height: auto; color: $foreground; }",
            *(
                f"FigureView > .figure--{name} {{ {style} }}"
                for name, style in (
                    ("title", "color: $foreground; text-style: bold;"),
                    ("token", "color: $foreground;"),
                    ("strong", "color: $foreground; text-style: bold;"),
                    ("quiet", "color: $quiet;"),
                    ("warning", "color: $warning;"),
                    ("cursor", "color: $background; background: $accent;"
                     " text-style: bold;"),
                    ("raw", "color: $prob-raw;"),
                    ("sampled", "color: $prob-sampled;"),
                    ("cut", "color: $cut;"),
                    ("line", "color: $loss-train;"),
                    ("surprise-0", "color: $surprise-0;"),
                    ("surprise-1", "color: $surprise-1;"),
                    ("surprise-2", "color: $surprise-2; text-style: underline;"),
                    ("surprise-3", "color: $surprise-3; text-style: bold underline;"),
                    ("surprise-4", "color: $surprise-4; text-style: reverse;"),
                    ("surprise-5", "color: $surprise-5; text-style: bold reverse;"),
                )
            ),
        )
    )  # fmt: skip

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._figure: Figure = ()
        self._laid_out: tuple[int, Sequence[Line]] = (-1, [])
        """The lines of the figure, and their width."""

    @property
    def marked(self) -> int | None:
        """The line that has to be seen, if any."""
        for number, line in enumerate(self._lines_at(self.size.width)):
            if any(style == "cursor" for _, style in line):
                return number
        return None

    def show(self, figure: Figure) -> None:
        before = len(self._laid_out[1])
        self._figure, self._laid_out = tuple(figure), (-1, [])
        self.refresh(layout=len(self._lines_at(self.size.width)) != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines_at(width))

    def lines(self, width: int, height: int) -> Sequence[Line]:
        return self._lines_at(width)

    def _lines_at(self, width: int) -> Sequence[Line]:
        if self._laid_out[0] != width:
            self._laid_out = (
                width,
                [
                    [(tame_heaps(text), style) for text, style in line]
                    for line in figure_lines(self._figure, width)
                ],
            )
        return self._laid_out[1]
