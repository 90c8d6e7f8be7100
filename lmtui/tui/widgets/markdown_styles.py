"""How Markdown looks under the theme in use.

Owns the styles of its parts, and their sheet for the widget in whose styles it is
drawn: itself, or a conversation for all of its messages, since finding them for each
took longer than drawing it. Knows no text.
"""

from __future__ import annotations

from functools import lru_cache

from rich.style import Style
from textual.widget import Widget

from lmtui.tui.widgets.markdown_lines import STYLES, Look

CLASSES = {f"markdown--{name}" for name in STYLES}
"""The component classes of such a widget."""
SHEET = """
        & > .markdown--heading { color: $primary; text-style: bold; }
        & > .markdown--code { background: $surface; }
        & > .markdown--bullet { color: $accent; }
        & > .markdown--quote { color: $quiet; }
        & > .markdown--link { color: $quiet; text-style: underline; }
        & > .markdown--rule { color: $quiet; }
        & > .markdown--keyword { color: $accent; text-style: bold; }
        & > .markdown--string { color: $success; }
        & > .markdown--number { color: $warning; }
        & > .markdown--comment { color: $quiet; text-style: italic; }
        & > .markdown--name { color: $primary; }
"""
"""Rules to stand within its own."""


def look_of(widget: Widget) -> Look:
    """The look of Markdown in the styles of a widget."""
    return _look(
        tuple(
            widget.get_component_rich_style(f"markdown--{name}", partial=True)
            for name in STYLES
        )
    )


@lru_cache(maxsize=4)
def _look(styles: tuple[Style, ...]) -> Look:
    return Look(dict(zip(STYLES, styles, strict=True)))
