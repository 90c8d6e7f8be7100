"""What the model wrote, as Markdown, while it is written.

Owns the text and the lines it has at this width: a text that grows costs its last
block, not its length. How a block reads is `markdown_lines`'s. Knows no conversation.
"""

from __future__ import annotations

from itertools import takewhile
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip

from lmtui.text import visible
from lmtui.tui.widgets.cells import tame_heaps
from lmtui.tui.widgets.markdown_lines import STYLES, Block, Look, blocks_of, cut, draw
from lmtui.tui.widgets.styled_lines import DirectLines

_AHEAD = 6


class Words(DirectLines):
    """Markdown that can grow. Links are shown with their address, never opened."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"words--{name}" for name in STYLES}

    DEFAULT_CSS = """
    Words {
        width: 1fr;
        height: auto;
        color: $foreground;
    }
    Words > .words--heading { color: $primary; text-style: bold; }
    Words > .words--code { background: $surface; }
    Words > .words--bullet { color: $accent; }
    Words > .words--quote { color: $quiet; }
    Words > .words--link { color: $quiet; text-style: underline; }
    Words > .words--rule { color: $quiet; }
    Words > .words--keyword { color: $accent; text-style: bold; }
    Words > .words--string { color: $success; }
    Words > .words--number { color: $warning; }
    Words > .words--comment { color: $quiet; text-style: italic; }
    Words > .words--name { color: $primary; }
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._text = ""
        self._blocks: list[Block] = []
        self._rows: list[Strip] = []
        self._starts: list[int] = []
        """Of each block that has rows, the first."""
        self._width = 0
        self._room = 0
        self._grows = False
        self._look: Look | None = None
        self.update(text)

    @property
    def text(self) -> str:
        """The text, as it was given."""
        return self._text

    def update(self, text: str) -> None:
        """Show this text."""
        self._text, self._grows = text, False
        before, self._blocks = self._blocks, blocks_of(tame_heaps(visible(text)))
        pairs = zip(before, self._blocks, strict=False)
        self._show(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))

    def grow(self, piece: str) -> None:
        """Add to the end of the text."""
        self._text, self._grows = self._text + piece, True
        last = self._blocks.pop()
        stand = len(self._blocks)
        source = tame_heaps(last.source + visible(piece))
        *whole, growing = blocks_of(source, joined=last.joined)
        self._blocks += [*whole, *cut(growing)]
        self._show(stand)

    def _show(self, stand: int) -> None:
        """Draw again what follows so many blocks, and make room where it is needed."""
        row = self._starts[stand] if stand < len(self._starts) else 0
        self._forget(stand)
        self._lay_out(self._width)
        if self._wanted_room() != self._room:
            self.refresh(layout=True)
        else:
            self.refresh(Region(0, row, self._width, self._room - row))

    def _wanted_room(self) -> int:
        """Lines to ask for; some in advance while the text grows, because a new layout
        of the screen is much dearer than a line."""
        rows = max(1, len(self._rows))
        return -(-rows // _AHEAD) * _AHEAD if self._grows else rows

    def _forget(self, stand: int = 0) -> None:
        """Drop the rows of what follows so many blocks."""
        if stand < len(self._starts):
            del self._rows[self._starts[stand] :]
            del self._starts[stand:]

    def _lay_out(self, width: int) -> None:
        """Draw the blocks that have no rows at this width."""
        if width != self._width:
            self._width = width
            self._forget()
        drawn = len(self._starts) == len(self._blocks)
        if drawn or not width or not self.is_mounted:  # without styles before that
            return
        base = self.rich_style
        for block in self._blocks[len(self._starts) :]:
            self._starts.append(len(self._rows))
            strips = self._draw(block, base)
            if strips and self._rows and not block.joined:
                strips.insert(0, Strip.blank(width, base))
            self._rows += [
                strip.apply_offsets(0, len(self._rows) + index)
                for index, strip in enumerate(strips)
            ]

    def _draw(self, block: Block, base: Style) -> list[Strip]:
        if self._look is None:
            self._look = Look({name: self._part(name) for name in STYLES})
        return [
            Strip(line).apply_style(base).adjust_cell_length(self._width, base)
            for line in draw(block, self._width, self._look)
        ]

    def _part(self, name: str) -> Style:
        """A style that says only what differs from plain words."""
        return self.get_component_rich_style(f"words--{name}", partial=True)

    # As Textual asks for it.

    def on_mount(self) -> None:
        """Now there are styles to draw with."""
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as the text has at this width."""
        self._lay_out(width)
        self._room = self._wanted_room()
        return self._room

    def notify_style_update(self) -> None:
        """Another theme, or another ground: everything is drawn again."""
        super().notify_style_update()
        self._look = None
        self._forget()
        if self._width and self.is_mounted:
            self.refresh(layout=True)

    def render_line(self, y: int) -> Strip:
        """One line, with what is selected of it."""
        self._lay_out(self._width)
        if y >= len(self._rows):
            return Strip.blank(self._width, self.rich_style)
        strip = self._rows[y]
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            return self._select(strip, *span)
        return strip

    def _select(self, strip: Strip, start: int, end: int) -> Strip:
        style = self.screen.get_component_rich_style("screen--selection")
        end = strip.cell_length if end == -1 else end
        chosen = Segment.apply_style(strip.crop(start, end), post_style=style)
        return Strip.join([strip.crop(0, start), Strip(chosen), strip.crop(end)])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, as it reads on the screen."""
        spans = ((selection.get_span(y), row) for y, row in enumerate(self._rows))
        lines = [
            row.crop(span[0], None if span[1] == -1 else span[1]).text.rstrip()
            for span, row in spans
            if span is not None
        ]
        return "\n".join(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self.refresh()
