"""Markdown of a model, drawn while it is generated.

Draws each block of a text on its own, so that growing text costs its last block, not
its length: at the end of 4,000 tokens a batch of eight takes 2 ms of a core, where
Textual's own Markdown, which appends too, takes 57 ms (median of 60, 12 batches a
second). Knows no screen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile, zip_longest
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.reactive import Reactive
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from lmtui.text import signs_undone, visible
from lmtui.tui.widgets.cells import clip, tame_heaps
from lmtui.tui.widgets.markdown_blocks import (
    SHEET,
    MarkdownBlock,
    is_plain,
)
from lmtui.tui.widgets.styled_lines import DirectLines, filled, rendered

if TYPE_CHECKING:
    from lmtui.chat.thinking import ReasoningInfo

_SPLIT_AFTER = 2  # lines above the last one of a paragraph from which on it is split

FOLD, THOUGHT = "fold", "thought"
"""Kinds of blocks: the summary line of the reasoning, and the reasoning."""
MarkdownLine = tuple[Iterable[Segment], str]
"""The segments of a row, and the text between it and the row before it: a newline, or
the spaces at which a line was wrapped."""


class MarkdownRow(NamedTuple):
    """A row as it is drawn, as wide as the widget."""

    strip: Strip
    joint: str


class StreamingMarkdown(DirectLines):
    """Markdown that can grow. Links are shown with their address and never opened.
    Reasoning is folded to a line, or drawn in full above the answer."""

    LEFT: ClassVar[int] = 0
    RIGHT: ClassVar[int] = 0
    """Cells left and right of the text. They are drawn with it: Textual's border and
    padding would cost as much time as the text."""

    DEFAULT_CSS = """
    StreamingMarkdown {
        width: 1fr;
        height: auto;
        color: $foreground;
        & > .markdown--thought { color: $quiet; }
    }
    """

    virtual_size = Reactive(Size(0, 0), repaint=False)
    """Set by a layout. Nothing here scrolls, so it need not cause a second layout, as
    it does in a `Widget`: one more frame for each new line."""

    def __init__(
        self,
        text: str = "",
        thought: ReasoningInfo | None = None,
        *,
        classes: str = "",
    ) -> None:
        super().__init__(classes=classes)
        self._text = ""
        self._thought, self._folded = thought, True
        self._blocks: list[MarkdownBlock] = []
        self._rows: list[MarkdownRow] = []
        self._starts: list[int] = []
        """Index of the first row of each block that has rows."""
        self._width = 0
        self._given_height = 0
        self._ground_cache: tuple[Style, list[Segment]] | None = None
        self._grows = False
        self._is_split = False
        """Whether the last block is the last line of the paragraph in the block before
        it."""
        self.update(text)

    @property
    def text(self) -> str:
        return self._text

    def update(self, text: str) -> None:
        self.replace(text, grows=False)

    @property
    def grows(self) -> bool:
        return self._grows

    def replace(self, text: str, *, grows: bool) -> None:
        """Show this text, to which more may be added if it `grows`. Unchanged blocks at
        the beginning are not drawn again."""
        self._text, self._grows, self._is_split = text, grows, False
        old_blocks, self._blocks = self._blocks, self.blocks()
        pairs = zip(old_blocks, self._blocks, strict=False)
        self._show(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))

    @property
    def styled_by(self) -> Widget:
        """The widget whose component styles are used: the parent, so that all texts in
        it share them."""
        assert isinstance(self.parent, Widget)
        return self.parent

    @property
    def answer(self) -> str:
        """The text without the reasoning."""
        return self._text[self._thought.span.end :] if self._thought else self._text

    def blocks(self) -> list[MarkdownBlock]:
        """Return the blocks of the text; the last one grows with it."""
        from lmtui.tui.widgets.markdown_renderer import blocks_of

        blocks = blocks_of(tame_heaps(visible(self.answer)))
        if (thought := self._thought) is None:
            return blocks
        mark = "▸" if self._folded else "▾"
        line = MarkdownBlock(f"{mark} {thought.words}", FOLD, joined=True)
        if self._folded:
            return [line, *blocks]
        reasoning = self._text[thought.span.start : thought.span.stop].strip("\n")
        parts = blocks_of(tame_heaps(visible(reasoning)), joined=True)
        return [line, *(replace(part, kind=THOUGHT) for part in parts), *blocks]

    def grow(self, piece: str, thought: ReasoningInfo | None = None) -> None:
        """Append to the text, in which `thought` is the reasoning by now."""
        old_thought, self._thought = self._thought, thought
        if thought != old_thought:
            self.replace(self._text + piece, grows=True)
        elif piece:
            self._append(piece)

    def complete(self) -> None:
        """Draw the whole text again, so that every block is closed."""
        self.update(self._text)

    def _append(self, piece: str) -> None:
        """Append to the text. Only the last block is parsed and drawn again."""
        from lmtui.tui.widgets.markdown_renderer import blocks_of, cut

        self._text, self._grows = self._text + piece, True
        if not is_plain(self._blocks[-1].source + piece):
            self._join_paragraph()
        last = self._blocks.pop()
        first_changed = len(self._blocks)
        source = tame_heaps(last.source + visible(piece))
        *finished, growing = blocks_of(source, joined=last.joined)
        self._blocks += [*finished, *cut(growing)]
        self._show(first_changed)
        self._split_paragraph()

    def _split_paragraph(self) -> None:
        """Split the last line off a plain paragraph, so that its growth costs a line,
        not the paragraph's length."""
        last, row = self._blocks[-1], len(self._rows) - 1
        is_laid_out = len(self._starts) == len(self._blocks)
        if not is_laid_out or not is_plain(last.source):
            return
        if row - self._starts[-1] < _SPLIT_AFTER:
            return
        end = self._rows[row].strip.text[self.LEFT :].rstrip()
        source = last.source.rstrip()
        if not is_plain(end) or not source.endswith(f" {end}"):
            return
        fixed = source.removesuffix(end)
        growing = MarkdownBlock(last.source[len(fixed) :], last.kind, joined=True)
        self._blocks.pop()
        if self._is_split:
            last = self._blocks.pop()
            fixed = last.source + fixed
            self._starts.pop()
        self._blocks += [replace(last, source=fixed), growing]
        self._starts.append(row)
        self._is_split = True

    def _join_paragraph(self) -> None:
        if not self._is_split:
            return
        growing, fixed = self._blocks.pop(), self._blocks.pop()
        self._blocks.append(replace(fixed, source=fixed.source + growing.source))
        self._is_split = False

    def _show(self, first: int) -> None:
        """Draw the blocks from index `first` on, and request a layout where the height
        changes."""
        row = self._starts[first] if first < len(self._starts) else 0
        old_rows = self._rows[row:]
        self._drop_rows(first)
        self._lay_out(self._width)
        if self._wanted_height() != self._given_height:
            self.refresh(layout=True)
            self.call_after_refresh(self._require_height)
            return
        pairs = list(zip_longest(old_rows, self._rows[row:]))
        changed = [row + index for index, (old, new) in enumerate(pairs) if old != new]
        if changed:
            top, bottom = changed[0], changed[-1] + 1
            self.refresh(Region(0, top, self._width, bottom - top))

    def _require_height(self) -> None:
        """Request a layout again where the last one did not give the wanted height.
        Textual caches a widget's height, and ignores a request made while a layout is
        pending."""
        if self.is_attached and self._wanted_height() != self._given_height:
            self.refresh(layout=True)

    def _wanted_height(self) -> int:
        return max(1, len(self._rows))

    def _drop_rows(self, first: int = 0) -> None:
        if first < len(self._starts):
            del self._rows[self._starts[first] :]
            del self._starts[first:]

    def _lay_out(self, width: int) -> None:
        if width != self._width:
            self._width = width
            self._join_paragraph()
            self._drop_rows()
        is_laid_out = len(self._starts) == len(self._blocks)
        if is_laid_out or not width or not self.is_attached:  # detached: no styles yet
            return
        base, left = self._ground()
        room = max(0, width - self.LEFT - self.RIGHT)
        for block in self._blocks[len(self._starts) :]:
            self._starts.append(len(self._rows))
            lines = self.lines_of(block, room)
            if lines and self._rows and not block.joined:
                lines.insert(0, ([], "\n"))
            self._rows += [
                MarkdownRow(
                    filled([*left, *Segment.apply_style(line, base)], width, base),
                    joint,
                )
                for line, joint in lines
            ]

    def _ground(self) -> tuple[Style, list[Segment]]:
        if self._ground_cache is None:
            self._ground_cache = self.rich_style, self.left_of_text()
        return self._ground_cache

    def block_at(self, y: int) -> MarkdownBlock:
        return self._blocks[max(0, bisect_right(self._starts, y) - 1)]

    def left_of_text(self) -> list[Segment]:
        """Return the segments before each line, `LEFT` cells wide."""
        return []

    def lines_of(self, block: MarkdownBlock, width: int) -> list[MarkdownLine]:
        from lmtui.tui.widgets.markdown_renderer import draw, styles_of

        if block.kind not in (FOLD, THOUGHT):
            lines = draw(block, width, styles_of(self.styled_by))
            return [(line, "\n") for line in lines]
        style = self.get_component_rich_style("markdown--thought")
        if block.kind == FOLD:
            return [([Segment(clip(block.source, width), style)], "\n")]
        quiet, bar = Style(color=style.color), Segment("│ ", style)
        lines = draw(block, width - 2, styles_of(self.styled_by))
        return [
            ([bar, *Segment.apply_style(line, post_style=quiet)], "\n")
            for line in lines
        ]

    # Overrides of Textual's methods.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._lay_out(width)
        self._given_height = self._wanted_height()
        return self._given_height

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._ground_cache = None
        self._drop_rows()
        if self._width and self.is_attached:
            self.refresh(layout=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        return rendered(self, crop, self._line)

    def render_line(self, y: int) -> Strip:
        """Return a line with the text offset of each cell. Only mouse events need
        those."""
        return self._line(y).apply_offsets(-self.LEFT, y)

    def _line(self, y: int) -> Strip:
        self._lay_out(self._width)
        if y >= len(self._rows):
            base, left = self._ground()
            return filled([] if self._rows else left, self._width, base)
        strip = self._rows[y].strip
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            return self.select(strip, *self._selected_cells(strip, *span))
        return strip

    def _selected_cells(self, strip: Strip, start: int, end: int) -> tuple[int, int]:
        """Return the first and last cell of a selection's span; -1 as `end` is the
        line's end."""
        text = strip.text[self.LEFT :]
        upto = text if end == -1 else text[: max(0, end)]
        return self.LEFT + cell_len(text[: max(0, start)]), self.LEFT + cell_len(upto)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the selected text as it reads on the screen, with emoji in their
        original form."""
        parts: list[str] = []
        for y, (strip, joint) in enumerate(self._rows):
            if (span := selection.get_span(y)) is not None:
                selected = strip.crop(*self._selected_cells(strip, *span))
                parts += joint, selected.text.rstrip()
        return signs_undone("".join(parts[1:]), self._text), "\n"


class MarkdownView(StreamingMarkdown):
    """Markdown in its own component styles."""

    DEFAULT_CSS = f"MarkdownView {{ {SHEET} }}"

    @property
    def styled_by(self) -> Widget:
        return self
