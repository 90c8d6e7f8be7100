"""Paragraphs of styled text, and a scrollable pane with a heading.

Text is wrapped at words. A pane can follow the end of its text while the reader is
there. Text must have control characters made visible already. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.selection import Selection
from textual.strip import Strip

from lmtui.tui.widgets.cells import clusters, tame_heaps, words
from lmtui.tui.widgets.styled_lines import DirectLines, Line, Part


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Styled parts on one logical line; they contain no newline."""

    parts: tuple[Part, ...] = ()
    indent: int = 0
    """Cells before every wrapped line but the first."""


def paragraphs(text: str, style: str) -> list[Paragraph]:
    return [Paragraph(((line, style),)) for line in text.split("\n")]


def wrapped(paragraph: Paragraph, width: int) -> list[Line]:
    """Wrap a paragraph to `width` cells; at least one line."""
    if width <= 0:
        return [()]
    if _fits(paragraph, width):
        return [[(tame_heaps(text), style) for text, style in paragraph.parts]]
    indent = min(paragraph.indent, width // 2, max(0, width - 2))
    lines: list[Line] = []
    line: list[Part] = []
    used = 0
    for text, style in _pieces(paragraph, width - indent):
        size = cell_len(text)
        if used + size > width:
            lines.append(line)
            line, used = [(" " * indent, "")], indent
            if text.isspace():
                continue
        line.append((text, style))
        used += size
    return [*lines, line]


def _fits(paragraph: Paragraph, width: int) -> bool:
    size = sum(len(text) for text, _ in paragraph.parts)
    if size > width:
        return False
    return sum(cell_len(text) for text, _ in paragraph.parts) <= width


def _pieces(paragraph: Paragraph, width: int) -> Iterator[Part]:
    for text, style in paragraph.parts:
        for word in words().findall(tame_heaps(text)):
            if cell_len(word) <= width:
                yield word, style
                continue
            part, size = "", 0
            for cluster in clusters(word):
                if part and size + cell_len(cluster) > width:
                    yield part, style
                    part, size = "", 0
                part += cluster
                size += cell_len(cluster)
            yield part, style


class Paragraphs(DirectLines):
    DEFAULT_CSS = """
    Paragraphs { width: 1fr; height: auto; color: $foreground; }
    Paragraphs > .paragraphs--strong { color: $foreground; text-style: bold; }
    Paragraphs > .paragraphs--quiet { color: $quiet; }
    Paragraphs > .paragraphs--accent { color: $accent; text-style: bold; }
    Paragraphs > .paragraphs--warning { color: $warning; }
    Paragraphs > .paragraphs--error { color: $error; text-style: bold; }
    Paragraphs > .paragraphs--untrained { color: $quiet; text-style: italic; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._paragraphs: tuple[Paragraph, ...] = ()
        self._rows: list[Line] = []
        self._width = 0
        self._part_styles: dict[str, Style] = {}

    def show(self, paragraphs: Iterable[Paragraph]) -> None:
        new = tuple(paragraphs)
        if new == self._paragraphs:
            return
        self._paragraphs = new
        old_height = len(self._rows)
        self._lay_out(self._width)
        self.refresh(layout=len(self._rows) != old_height)

    def _lay_out(self, width: int) -> None:
        self._width = width
        self._rows = [
            line for paragraph in self._paragraphs for line in wrapped(paragraph, width)
        ]

    # Overrides of Textual's methods.

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if width != self._width:
            self._lay_out(width)
        return len(self._rows)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._part_styles.clear()

    def render_line(self, y: int) -> Strip:
        if self.size.width != self._width:  # measured last for another width
            self._lay_out(self.size.width)
        base = self.rich_style
        parts = self._rows[y] if y < len(self._rows) else ()
        segments = [Segment(text, self._style_of(name)) for text, name in parts]
        strip = Strip(segments).apply_style(base).adjust_cell_length(self._width, base)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            start, end = span
            strip = self.select(strip, start, strip.cell_length if end == -1 else end)
        return strip.apply_offsets(0, y)

    def _style_of(self, name: str) -> Style:
        if name not in self._part_styles:
            self._part_styles[name] = (
                self.get_component_rich_style(f"paragraphs--{name}", partial=True)
                if name
                else Style()
            )
        return self._part_styles[name]

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        rows = ("".join(text for text, _ in row) for row in self._rows)
        return selection.extract("\n".join(rows)), "\n"


class Pane(VerticalScroll, can_focus=True):
    DEFAULT_CSS = """
    Pane {
        padding: 0 1;
        border-top: solid $panel;
        border-title-color: $quiet;
        border-title-style: bold;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        scrollbar-color: $panel;
        &:focus {
            border-top: heavy $accent;
            border-title-color: $accent;
        }
    }
    """

    def __init__(self, title: str, *, id: str, follow: bool = False) -> None:
        super().__init__(id=id)
        self._follow = follow
        self.head(title)

    def compose(self) -> ComposeResult:
        yield Paragraphs()

    def on_mount(self) -> None:
        if self._follow:
            self.anchor()

    def head(self, title: str) -> None:
        self.border_title = Content(title)

    def show(self, paragraphs: Iterable[Paragraph]) -> None:
        self.query_one(Paragraphs).show(paragraphs)
