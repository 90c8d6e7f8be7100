"""Drawing in the terminal's own two colours, for whoever wants no others.

Owns what becomes of a style: what has another background than what is around it is
reversed, what is hardly told from its background is dim, and both colours are left to
the terminal. Textual's own way paints greys, which makes a dark box on a light
terminal. Knows no widget.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter

_OTHER = 0.05
"""A difference of brightness, of 1, from which on a background is another one."""
_QUIET = 0.6
"""The difference of brightness between a text and its background below which it is
meant to stand back."""
_OWN = Style(color="default", bgcolor="default")
"""The terminal's colours."""


SHEET = """
*:nocolor {
    scrollbar-background: $background !important;
    scrollbar-background-hover: $background !important;
    scrollbar-background-active: $background !important;
    scrollbar-color: $foreground !important;
}
"""
"""What an app's own sheet has to say: a scrollbar is told from its track."""


class NoColours(LineFilter):
    """Attributes in the place of colours."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same text in the terminal's own colours."""
        return [
            Segment(text, style and _plain(style, background), control)
            for text, style, control in segments
        ]


_FILTERS = (NoColours(),)


class ColourlessApp(App[None]):
    """An app that paints no colour at all where NO_COLOR says so."""

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is done to every line before it goes to the terminal."""
        return _FILTERS if self.no_color else super().get_line_filters()


@lru_cache(4096)
def _plain(style: Style, around: Color) -> Style:
    back = around  # also where the terminal's own is asked for already
    if style.bgcolor is not None and not style.bgcolor.is_default:
        back = Color.from_rich_color(style.bgcolor)
    if abs(back.brightness - around.brightness) > _OTHER:
        return style + _OWN + Style(reverse=True)
    marked = style.bold or style.underline or style.reverse
    if style.color is None or style.color.is_default or marked:
        return style + _OWN
    front = Color.from_rich_color(style.color)
    quiet = abs(front.brightness - back.brightness) < _QUIET
    return style + _OWN + Style(dim=quiet or style.dim)
