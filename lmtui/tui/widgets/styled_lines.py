"""Base classes of widgets that draw lines of styled parts many times a second.

Text and style go into strips directly, without markup or wrapping. Subclasses supply
the lines.
"""

from __future__ import annotations

import re
from asyncio import TimerHandle
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from lmtui.tui.one_shot import call_after

Part = tuple[str, str]
"""A text, and its component class without the widget's `PREFIX`."""

Line = Sequence[Part]

STALE = Style(dim=True)
"""Style of content that is older than what it belongs to."""

STALE_AFTER = 0.08
"""Seconds until outdated content is dimmed: drawn, it is less than a tenth of a
second."""

_COMPONENT = re.compile(r"\.([\w-]+--[\w-]+)")


def rendered(
    widget: Widget, crop: Region, draw: Callable[[int], Strip] | None = None
) -> list[Strip]:
    """Return the lines in a region of a widget that has neither border nor padding."""
    if not widget.is_attached:  # removed, but drawn once more
        return [Strip.blank(crop.width)] * crop.height
    filters, background = widget.get_line_filters(), widget.background_colors[1]
    draw = draw or widget.render_line
    strips = [draw(y) for y in crop.line_range]
    for line_filter in filters:
        strips = [strip.apply_filter(line_filter, background) for strip in strips]
    if crop.column_span != (0, widget.size.width):
        strips = [strip.crop(*crop.column_span) for strip in strips]
    return strips


def filled(line: list[Segment], width: int, base: Style) -> Strip:
    """Return a line cropped or padded to `width` cells."""
    cells = sum(cell_len(segment.text) for segment in line)
    if cells > width:
        return Strip(line, cells).crop(0, width)
    padding = [Segment(" " * (width - cells), base)] if cells < width else []
    return Strip([*line, *padding], width)


class DirectLines(Widget):
    """A widget without border or padding that draws every line to its full width.

    Its lines bypass Textual's style cache, which costs more than drawing them. Its
    component classes are those that its `DEFAULT_CSS` names.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        named = _COMPONENT.findall(cls.__dict__.get("DEFAULT_CSS", ""))
        cls.COMPONENT_CLASSES = cls.__dict__.get("COMPONENT_CLASSES", set(named))
        super().__init_subclass__(**options)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self.is_attached and any(self.gutter):
            return super().render_lines(crop)
        return rendered(self, crop)

    def select(self, strip: Strip, start: int, end: int) -> Strip:
        """Draw these cells of a strip as selected."""
        style = self.screen.get_component_rich_style("screen--selection")
        selected = Segment.apply_style(strip.crop(start, end), post_style=style)
        return Strip.join([strip.crop(0, start), Strip(selected), strip.crop(end)])


class StyledLines(DirectLines):
    """A widget that draws what `lines` returns. Call `refresh` when that has
    changed."""

    PREFIX: ClassVar[str] = ""
    """The common prefix of the component classes, which the names of parts leave
    out."""

    stale: reactive[bool] = reactive(False)
    """Whether the content is older than what it belongs to; it is then drawn dim."""

    def __init__(
        self, *, id: str | None = None, classes: str = "", disabled: bool = False
    ) -> None:
        super().__init__(id=id, classes=classes, disabled=disabled)
        self._strips: list[Strip] | None = None
        self._strips_size = Size(0, 0)
        self._part_styles: dict[str, Style] = {}
        self._style_context: tuple[Color, list[LineFilter]] | None = None
        # runs from `outdate` until the content is dimmed
        self._stale_timer: TimerHandle | None = None

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Return the lines to draw, from the top, at most `width` cells wide."""
        raise NotImplementedError

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> StyledLines:
        self._strips = None
        super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        return self

    def outdate(self, after: float = STALE_AFTER) -> None:
        """Draw dim from `after` seconds on, unless `renew` is called before."""
        if not self.stale and self._stale_timer is None:
            self._stale_timer = call_after(self, after, self._set_stale)

    def renew(self) -> None:
        if self._stale_timer is not None:
            self._stale_timer.cancel()
        self._stale_timer, self.stale = None, False

    def _set_stale(self) -> None:
        # A stopped timer may have fired before, with this still to be called.
        if self._stale_timer is not None:
            self._stale_timer, self.stale = None, True

    def watch_stale(self) -> None:
        self._part_styles.clear()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._part_styles.clear()
        self._strips = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines in a region. Textual's filters are applied to the styles
        already."""
        if not self.is_attached or any(self.gutter):
            return super().render_lines(crop)
        lines, blank = (
            self._cached_lines(),
            Strip.blank(self.size.width, self._style_of("")),
        )
        strips = [lines[y] if y < len(lines) else blank for y in crop.line_range]
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        lines = self._cached_lines()
        if y < len(lines):
            return lines[y]
        return Strip.blank(self.content_size.width, self._style_of(""))

    def _cached_lines(self) -> list[Strip]:
        size = self.content_size
        if self._strips is None or self._strips_size != size:
            self._strips_size = size
            self._strips = self._draw(*size)
        return self._strips

    def _draw(self, width: int, height: int) -> list[Strip]:
        if width <= 0 or height <= 0:
            return []
        context = self.background_colors[1], list(self.get_line_filters())
        if self._style_context != context:
            self._style_context = context
            self._part_styles.clear()
        base = self._style_of("")
        return [
            filled(
                [Segment(t, self._style_of(name)) for t, name in line if t], width, base
            )
            for line in self.lines(width, height)[:height]
        ]

    def _style_of(self, name: str) -> Style:
        style = self._part_styles.get(name)
        if style is None:
            style = (
                self.get_component_rich_style(self.PREFIX + name)
                if name
                else self.rich_style
            )
            style = self._filtered(style + STALE if self.stale else style)
            self._part_styles[name] = style
        return style

    def _filtered(self, style: Style) -> Style:
        """Apply Textual's filters to a style. None of them depends on the text, so that
        once for each style is enough."""
        segments = [Segment(" ", style)]
        for line_filter in self.get_line_filters():
            segments = line_filter.apply(segments, self.background_colors[1])
        return segments[0].style or style
