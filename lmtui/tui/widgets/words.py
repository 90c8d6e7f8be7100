"""What the model wrote, as Markdown, while it is written.

Owns the text and the rows it has at this width: a text that grows costs its last
block, not its length. How a block reads is `markdown_lines`'s. Knows no conversation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile, zip_longest
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from lmtui.text import signs_undone, visible
from lmtui.tui.widgets.cells import tame_heaps
from lmtui.tui.widgets.markdown_lines import Block, blocks_of, cut, draw, is_plain
from lmtui.tui.widgets.markdown_styles import CLASSES, SHEET, look_of
from lmtui.tui.widgets.styled_lines import DirectLines, filled, rendered

_AHEAD = 6
_PARTED = 2  # lines above the last one of a paragraph, from which on they stand


Line = tuple[Iterable[Segment], str]
"""What a row says, and what stands between it and the row before it: a new line, or the
spaces at which a line was broken."""


class Row(NamedTuple):
    """A line of cells, as wide as the widget."""

    strip: Strip
    joint: str


class GrowingMarkdown(DirectLines):
    """Markdown that can grow. Links are shown with their address, never opened."""

    LEFT: ClassVar[int] = 0
    RIGHT: ClassVar[int] = 0
    """Cells beside the text. They are drawn with it: a border and padding of Textual's
    cost as much as the text."""

    DEFAULT_CSS = """
    GrowingMarkdown {
        width: 1fr;
        height: auto;
        color: $foreground;
    }
    """

    def __init__(self, text: str = "", *, classes: str = "") -> None:
        super().__init__(classes=classes)
        self._text = ""
        self._blocks: list[Block] = []
        self._rows: list[Row] = []
        self._starts: list[int] = []
        """Of each block that has rows, the first."""
        self._width = 0
        self._room = 0
        self._behind: tuple[Style, list[Segment]] | None = None
        self._grows = False
        self._parted = False
        """Whether the last block is the last line of the one before it."""
        self.update(text)

    @property
    def text(self) -> str:
        """The text, as it was given."""
        return self._text

    def update(self, text: str) -> None:
        """Show this text."""
        self.replace(text, grows=False)

    @property
    def grows(self) -> bool:
        """Whether there is more to come."""
        return self._grows

    def replace(self, text: str, *, grows: bool) -> None:
        """Show this text, to which more may be added; what reads the same stays."""
        self._text, self._grows, self._parted = text, grows, False
        before, self._blocks = self._blocks, self.blocks()
        pairs = zip(before, self._blocks, strict=False)
        self._show(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))

    @property
    def styled_by(self) -> Widget:
        """The widget in whose styles it is drawn."""
        raise NotImplementedError

    def blocks(self) -> list[Block]:
        """What the text is made from; the last one grows with it."""
        return blocks_of(tame_heaps(visible(self._text)))

    def grow(self, piece: str) -> None:
        """Add to the end of the text."""
        self._text, self._grows = self._text + piece, True
        if not is_plain(self._blocks[-1].source + piece):
            self._join()
        last = self._blocks.pop()
        stand = len(self._blocks)
        source = tame_heaps(last.source + visible(piece))
        *whole, growing = blocks_of(source, joined=last.joined)
        self._blocks += [*whole, *cut(growing)]
        self._show(stand)
        self._part()

    def _part(self) -> None:
        """Let all lines but the last one of a plain paragraph stand, so that its growth
        costs a line, not its length."""
        last, at = self._blocks[-1], len(self._rows) - 1
        drawn = len(self._starts) == len(self._blocks)
        if not drawn or at - self._starts[-1] < _PARTED or not is_plain(last.source):
            return
        end = self._rows[at].strip.text[self.LEFT :].rstrip()
        source = last.source.rstrip()
        if not is_plain(end) or not source.endswith(f" {end}"):
            return
        stands = source.removesuffix(end)
        grows = Block(last.source[len(stands) :], last.kind, joined=True)
        self._blocks.pop()
        if self._parted:
            last = self._blocks.pop()
            stands = last.source + stands
            self._starts.pop()
        self._blocks += [replace(last, source=stands), grows]
        self._starts.append(at)
        self._parted = True

    def _join(self) -> None:
        """Make one block again of a paragraph of which a part stood."""
        if not self._parted:
            return
        grows, stands = self._blocks.pop(), self._blocks.pop()
        self._blocks.append(replace(stands, source=stands.source + grows.source))
        self._parted = False

    def _show(self, stand: int) -> None:
        """Draw again what follows so many blocks, and make room where it is needed."""
        row = self._starts[stand] if stand < len(self._starts) else 0
        before = self._rows[row:]
        self._forget(stand)
        self._lay_out(self._width)
        if self._wanted_room() != self._room:
            self.refresh(layout=True)
            self.call_after_refresh(self._require_room)
            return
        pairs = list(zip_longest(before, self._rows[row:]))
        other = [row + at for at, (old, new) in enumerate(pairs) if old != new]
        if other:
            top, bottom = other[0], other[-1] + 1
            self.refresh(Region(0, top, self._width, bottom - top))

    def _require_room(self) -> None:
        """Ask again for room that a layout has not given. Textual remembers the height
        of a widget until another layout is asked for, and does not count that while the
        first one is still to come."""
        if self.is_attached and self._wanted_room() != self._room:
            self.refresh(layout=True)

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
            self._join()
            self._forget()
        drawn = len(self._starts) == len(self._blocks)
        if drawn or not width or not self.is_attached:  # without styles before that
            return
        base, left = self._ground()
        room = max(0, width - self.LEFT - self.RIGHT)
        for block in self._blocks[len(self._starts) :]:
            self._starts.append(len(self._rows))
            lines = self.lines_of(block, room)
            if lines and self._rows and not block.joined:
                lines.insert(0, ([], "\n"))
            self._rows += [
                Row(
                    filled([*left, *Segment.apply_style(line, base)], width, base),
                    joint,
                )
                for line, joint in lines
            ]

    def _ground(self) -> tuple[Style, list[Segment]]:
        """The style behind each line, and what stands before its text."""
        if self._behind is None:
            self._behind = self.rich_style, self.left_of_text()
        return self._behind

    def block_at(self, y: int) -> Block:
        """What stands in a line."""
        return self._blocks[max(0, bisect_right(self._starts, y) - 1)]

    def left_of_text(self) -> list[Segment]:
        """What stands before each line, `LEFT` cells."""
        return []

    def lines_of(self, block: Block, width: int) -> list[Line]:
        """The lines of a block."""
        lines = draw(block, width, look_of(self.styled_by))
        return [(line, "\n") for line in lines]

    # As Textual asks for it.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as the text has at this width."""
        self._lay_out(width)
        self._room = self._wanted_room()
        return self._room

    def notify_style_update(self) -> None:
        """Another theme, or another ground: everything is drawn again."""
        super().notify_style_update()
        self._behind = None
        self._forget()
        if self._width and self.is_attached:
            self.refresh(layout=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines in a part of the widget."""
        return rendered(self, crop, self._line)

    def render_line(self, y: int) -> Strip:
        """One line that says of each cell what of the text is there; nobody but a mouse
        asks for that."""
        return self._line(y).apply_offsets(-self.LEFT, y)

    def _line(self, y: int) -> Strip:
        """One line, with what is selected of it."""
        self._lay_out(self._width)
        if y >= len(self._rows):
            base, left = self._ground()
            return filled(left, self._width, base)
        strip = self._rows[y].strip
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            return self._select(strip, *self._cells(strip, *span))
        return strip

    def _select(self, strip: Strip, start: int, end: int) -> Strip:
        style = self.screen.get_component_rich_style("screen--selection")
        chosen = Segment.apply_style(strip.crop(start, end), post_style=style)
        return Strip.join([strip.crop(0, start), Strip(chosen), strip.crop(end)])

    def _cells(self, strip: Strip, start: int, end: int) -> tuple[int, int]:
        """From which cell to which a span of a selection reaches, -1 being the end."""
        text = strip.text[self.LEFT :]
        upto = text if end == -1 else text[: max(0, end)]
        return self.LEFT + cell_len(text[: max(0, start)]), self.LEFT + cell_len(upto)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, as it reads on the screen, its emoji as they are."""
        parts: list[str] = []
        for y, (strip, joint) in enumerate(self._rows):
            if (span := selection.get_span(y)) is not None:
                parts += joint, strip.crop(*self._cells(strip, *span)).text.rstrip()
        return signs_undone("".join(parts[1:]), self._text), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self.refresh()


class Words(GrowingMarkdown):
    """Markdown that stands alone."""

    COMPONENT_CLASSES: ClassVar[set[str]] = CLASSES
    DEFAULT_CSS = f"Words {{ {SHEET} }}"

    @property
    def styled_by(self) -> Widget:
        """Itself."""
        return self
