"""Widget that shows the figure of an instrument."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from lmtui.learn.figure import Figure
from lmtui.learn.figure_lines import figure_lines
from lmtui.tui.widgets.cells import tame_heaps
from lmtui.tui.widgets.styled_lines import Line, StyledLines
from lmtui.tui.widgets.surprisal_styles import sheet


class FigureView(StyledLines):
    """Draws a figure, as high as it needs to be."""

    PREFIX = "figure--"
    DEFAULT_CSS = f"""
    FigureView {{ width: 1fr; height: auto; color: $foreground; }}
    FigureView > .figure--token {{ color: $foreground; }}
    FigureView > .figure--title, FigureView > .figure--strong {{ text-style: bold; }}
    FigureView > .figure--quiet {{ color: $quiet; }}
    FigureView > .figure--warning {{ color: $warning; }}
    FigureView > .figure--cursor {{
        color: $background;
        background: $accent;
        text-style: bold;
    }}
    FigureView > .figure--raw {{ color: $prob-raw; }}
    FigureView > .figure--sampled {{ color: $prob-sampled; }}
    FigureView > .figure--cut {{ color: $cut; }}
    FigureView > .figure--line {{ color: $loss-train; }}
    {sheet("FigureView", prefix="figure--surprise-")}
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._figure: Figure = ()
        self._width = -1  # of the lines
        self._lines: Sequence[Line] = ()

    @property
    def marked(self) -> int | None:
        """The line that has to be seen, if any."""
        for number, line in enumerate(self.lines(self.size.width, 0)):
            if any(style == "cursor" for _, style in line):
                return number
        return None

    def show(self, figure: Figure) -> None:
        before = len(self._lines)
        self._figure, self._width = tuple(figure), -1
        height = len(self.lines(self.size.width, 0))
        self.refresh(layout=height != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines(width, 0))

    def lines(self, width: int, height: int) -> Sequence[Line]:
        if self._width != width:
            self._width = width
            self._lines = [
                [(tame_heaps(text), style) for text, style in line]
                for line in figure_lines(self._figure, width)
            ]
        return self._lines
