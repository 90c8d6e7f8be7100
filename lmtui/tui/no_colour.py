"""Line filter for NO_COLOR: styles are drawn in the terminal's own two colours.

A different background becomes reverse video, a faint text dim. Textual's own filter
paints greys, a dark box on a light terminal. Knows no widget.
"""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_OTHER = 0.05
"""Least difference of brightness, of 1, that makes a background a different one."""
_QUIET = 0.6
"""Difference of brightness between text and background below which the text is drawn
dim."""
_OWN = Style(color="default", bgcolor="default")
"""Style with the terminal's own colours."""


SHEET = """
*:nocolor {
    scrollbar-background: $background !important;
    scrollbar-background-hover: $background !important;
    scrollbar-background-active: $background !important;
    scrollbar-color: $foreground !important;
}
"""
"""Rules for the app's style sheet: tell a scrollbar's handle from its track."""


class NoColours(LineFilter):
    """Line filter that replaces colours by attributes."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, style and _plain(style, background), control)
            for text, style, control in segments
        ]


FILTERS = (NoColours(),)


@lru_cache(4096)
def _plain(style: Style, around: Color) -> Style:
    back = around  # a missing or default background is the one around it
    if style.bgcolor is not None and not style.bgcolor.is_default:
        back = Color.from_rich_color(style.bgcolor)
    if abs(back.brightness - around.brightness) > _OTHER:
        return style + _OWN + Style(reverse=True)
    is_emphasised = style.bold or style.underline or style.reverse
    if style.color is None or style.color.is_default or is_emphasised:
        return style + _OWN
    front = Color.from_rich_color(style.color)
    quiet = abs(front.brightness - back.brightness) < _QUIET
    return style + _OWN + Style(dim=quiet or style.dim)
