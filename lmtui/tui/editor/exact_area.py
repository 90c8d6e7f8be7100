"""A text area that keeps its text exactly, and draws it itself.

What is loaded comes out again: only newlines end lines, and nothing is put in their
place. Control characters are drawn as pictures. Large texts stay quick: a row is drawn
from the text alone. Owns layout, drawing and the mouse; what is laid over the text,
and what stands in it without being part of it, is the subclass's.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import ClassVar, overload

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.document._document import Document, DocumentBase, Location, Selection
from textual.document._document_navigator import DocumentNavigator
from textual.document._edit import Edit
from textual.document._wrapped_document import WrappedDocument
from textual.geometry import Offset, Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import EditResult

from lmtui.editing.find import Matches
from lmtui.tui.editor.document import (
    DocumentChange,
    LineDocument,
    SyntaxParts,
    syntax_document,
)
from lmtui.tui.editor.layout import (
    GhostRow,
    GhostRows,
    WrappedLines,
    cells_of,
    drawn,
    is_plain,
    pieces_of,
    steps,
)
from lmtui.tui.widgets.key_input import nothing_to_undo, take_key
from lmtui.tui.widgets.styled_lines import rendered


class TextEdges(TextArea):
    """A text area that can be crossed in one step."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+home", "text_edge('start')", "Text start", show=False,
                id="editor.text-start", tooltip="To the beginning of the text"),
        Binding("ctrl+end", "text_edge('end')", "Text end", show=False,
                id="editor.text-end", tooltip="To the end of the text"),
        Binding("ctrl+shift+home", "text_edge('start', True)", "Select to start",
                show=False, id="editor.select-start",
                tooltip="Select up to the beginning of the text"),
        Binding("ctrl+shift+end", "text_edge('end', True)", "Select to end",
                show=False, id="editor.select-end",
                tooltip="Select up to the end of the text"),
        Binding("alt+a", "select_all", "Select all", show=False,
                id="editor.select-all", tooltip="Select the whole text"),
    ]  # fmt: skip

    def action_text_edge(self, edge: str, select: bool = False) -> None:
        """To the beginning or the end of the text; with `select` up to there."""
        place = (0, 0) if edge == "start" else self.document.end
        self.selection = Selection(self.selection.start if select else place, place)
        self.record_cursor_width()
        self.history.checkpoint()


_BARS = "▁▂▃▄▅▆▇█"

StyleSpan = tuple[int, int, Style]
"""A style from one character of a row to another."""


def draw(
    text: str,
    layers: Sequence[StyleSpan],
    base: Style,
    *,
    tab: int,
    left: int,
    width: int,
) -> Strip:
    """The cells of a row from `left` on, each layer laid over those before it."""
    if is_plain(text):
        shift, cells = left, 0
        parts = list(text[left : left + width])
        starts: Sequence[int] = range(len(parts) + 1)
    else:
        shift, cells, pieces = _seen(text, tab, left, left + width)
        parts = [" " * taken if piece == "\t" else piece for piece, taken in pieces]
        starts = list(accumulate((len(piece) for piece, _ in pieces), initial=0))
    cuts = _styles(layers, base, starts, shift)
    ends = [*(a for a, _ in cuts[1:]), len(parts)]
    segments = [
        Segment("".join(parts[a:b]), style)
        for (a, style), b in zip(cuts, ends, strict=True)
    ]
    strip = Strip(segments)
    if cells:
        strip = strip.crop(cells, cells + width)
    return strip.adjust_cell_length(width, base)


def gutter(number: str, digits: int, bar: str, *, quiet: Style, hot: Style) -> Strip:
    """A line's number and its bar, in `digits` cells and two more."""
    return Strip(
        [Segment(f"{number:>{digits}}", quiet), Segment(f"{bar or ' '} ", hot)]
    )


def bar(bits: float | None, most: float) -> str:
    """Some bits as a bar of one cell; none where there are none."""
    if bits is None or most <= 0:
        return ""
    return _BARS[min(len(_BARS) - 1, int(len(_BARS) * bits / most))]


def _seen(
    text: str, tab: int, low: int, high: int
) -> tuple[int, int, list[tuple[str, int]]]:
    """The pieces between two cells, the index of the first one, and how many cells of
    it are left of `low`."""
    pieces: list[tuple[str, int]] = []
    first = cells = used = 0
    for piece, taken in pieces_of(text, tab):
        if used >= high:
            break
        used += taken
        if used > low or pieces:
            if not pieces:
                cells = low - (used - taken)
            pieces.append((piece, taken))
        else:
            first += len(piece)
    return first, max(0, cells), pieces


def _styles(
    layers: Sequence[StyleSpan], base: Style, starts: Sequence[int], shift: int
) -> list[tuple[int, Style]]:
    """From which piece on which style counts."""
    last = len(starts) - 1
    fitted: list[StyleSpan] = []
    for low, high, style in layers:
        a = max(0, bisect_right(starts, max(0, low - shift)) - 1)
        b = min(last, bisect_left(starts, max(0, high - shift)))
        if high > low and a < b:
            fitted.append((a, b, style))
    edges = {edge for a, b, _ in fitted for edge in (a, b)}
    cuts = [0, *sorted(edges - {0, last})]
    styles = [base] * len(cuts)
    for a, b, style in fitted:
        for n in range(bisect_left(cuts, a), bisect_left(cuts, b)):
            styles[n] += style
    return list(zip(cuts, styles, strict=True))


class DrawnDocument(Document):
    """The lines of a document as they are drawn, as long as they are in it."""

    def __init__(self, document: DocumentBase) -> None:
        super().__init__("")
        self._document = document

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [drawn(line) for line in self._document.lines]

    @property
    def line_count(self) -> int:
        """How many there are."""
        return self._document.line_count

    @overload
    def __getitem__(self, line_index: int) -> str: ...
    @overload
    def __getitem__(self, line_index: slice) -> list[str]: ...
    def __getitem__(self, line_index: int | slice) -> str | list[str]:
        if isinstance(line_index, slice):
            return [drawn(line) for line in self._document.lines[line_index]]
        return drawn(self._document.lines[line_index])


class DrawnArea(TextArea):
    """A text area for foreign text."""

    def _set_document(self, text: str, language: str | None) -> None:
        super()._set_document(text, language)
        self.wrapped_document = WrappedDocument(
            DrawnDocument(self.document), tab_width=self.indent_width
        )
        self.navigator = DocumentNavigator(self.wrapped_document)
        self._rewrap_and_refresh_virtual_size()

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn."""
        return Text(drawn(self.document.get_line(line_index)), end="", no_wrap=True)

    def get_column_width(self, row: int, column: int) -> int:
        """The cells of a line up to a column."""
        return cells_of(drawn(self.document[row])[:column], self.indent_width)


_STEPS = 10_000
"""How many steps can be undone."""
_PAUSE = 1.0
"""Seconds without a key after which what is typed is another step."""
_CLUSTER = 64
"""Characters that are looked at to find where the one beside the cursor begins."""
_NO_PAIR = dict.fromkeys(range(55296, 57344), "�")
_GOES_ON = "↳"
"""What stands beside a row that goes on with the line above."""
_PLAIN = Style(bold=False, dim=False, italic=False, reverse=False, underline=False)


class ExactArea(TextEdges):
    """A text area for whole files. A subclass says what is laid over the text."""

    DEFAULT_CSS = """
    ExactArea {
        border: none;
        padding: 0;
        color: $foreground;
        background: $background;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size: 1 1;
        &:focus { border: none; }
        & .text-area--gutter { color: $quiet; }
        & .text-area--match { background: $panel; text-style: bold underline; }
        & .text-area--cursor-gutter { color: $foreground; background: $background; }
    }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"text-area--match"}
    matches: reactive[Matches] = reactive(Matches(), init=False)
    """What was found in the text, and is marked."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        self.revision = 0
        """Grows with each change of the text."""
        self._lines = LineDocument("")
        self._rows = WrappedLines(self._lines)
        self._syntax: SyntaxParts | None = None
        self._busy = 0
        super().__init__(
            id=id,
            classes=classes,
            show_line_numbers=True,
            tab_behavior="focus",
            highlight_cursor_line=False,
            max_checkpoints=_STEPS,
        )
        self.cursor_blink = False
        self.history.checkpoint_timer = _PAUSE

    # The text.

    @property
    def words(self) -> int:
        """How many words the text has."""
        return self._lines.words

    @property
    def characters(self) -> int:
        """How many code points the text has."""
        return self._lines.characters

    @property
    def cursor_index(self) -> int:
        """How many code points stand before the cursor."""
        return self._lines.get_index_from_location(self.cursor_location)

    @property
    def selection_indexes(self) -> tuple[int, int]:
        """Where the selection begins and ends; twice the cursor where there is none."""
        low, high = sorted(self.selection)
        index = self._lines.get_index_from_location
        return index(low), index(high)

    def load(self, text: str, language: str | None = None) -> None:
        """Begin with another text; what was done to the one before is forgotten."""
        self.revision += 1
        self.history.clear()
        self.set_reactive(TextArea.language, language)
        with self._changing():
            self._set_document(text, language)
        tabs = next(
            (line[0] for line in self._lines.lines if line[:1] in ("\t", " ")), ""
        )
        self.indent_type = "tabs" if tabs == "\t" else "spaces"
        self.refresh()

    def load_text(self, text: str) -> None:
        """The same, for whoever knows a text area only."""
        self.load(text, self.language)

    def go_to(self, index: int, select_to: int | None = None) -> None:
        """Put the cursor somewhere; or at `select_to`, and select what is between."""
        location = self._lines.get_location_from_index
        end = location(index if select_to is None else select_to)
        self.selection = Selection(location(index), end)
        self.record_cursor_width()
        self.history.checkpoint()

    def replace_span(self, start: int, end: int, text: str) -> None:
        """Put `text` in the place of what is between two indexes, as one step."""
        location = self._lines.get_location_from_index
        self.history.checkpoint()
        self.replace(text, location(start), location(end))
        self.history.checkpoint()

    def indent(self) -> None:
        """A step to the right: of the cursor, or of all lines that are selected."""
        low, high = sorted(self.selection)
        step = "\t" if self.indent_type == "tabs" else " " * self.indent_width
        if low[0] == high[0]:
            if step != "\t":
                step = " " * self._find_columns_to_next_tab_stop()
            self._replace_via_keyboard(step, low, high)
            return
        if self.read_only:
            return
        last = high[0] - (high[1] == 0)
        lines = self._lines.lines[low[0] : last + 1]
        text = "\n".join(step + line if line else line for line in lines)
        self.history.checkpoint()
        end = self.replace(text, (low[0], 0), (last, len(lines[-1]))).end_location
        self.selection = Selection((low[0], 0), end)
        self.history.checkpoint()

    def _set_document(self, text: str, language: str | None) -> None:
        document = syntax_document(text, language)
        self._syntax = SyntaxParts(document, language or "") if document else None
        self._lines = document or LineDocument(text)
        self._lines.on_change = self._follow
        self._rows = WrappedLines(self._lines, tab_width=self.indent_width)
        self.document = self._lines
        self.wrapped_document = self._rows
        self.navigator = DocumentNavigator(self._rows)
        self.selection = Selection()
        self._rewrap_and_refresh_virtual_size()

    def _follow(self, change: DocumentChange) -> None:
        """The text has changed; the cursor has not moved yet."""
        self.revision += 1
        self._rows.follow(change)
        if self._syntax is not None:
            self._syntax.clear()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """While text and cursor do not fit together; then both are told of."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
        if not self._busy:
            self._refresh_size()

    def edit(self, edit: Edit) -> EditResult:
        """Edit; all that is neither undo nor redo comes through here."""
        if self._begins_word(edit):
            self.history.checkpoint()
        with self._changing():
            return super().edit(edit)

    def _begins_word(self, edit: Edit) -> bool:
        """Whether a word is begun that is a step of its own."""
        row, column = edit.from_location
        if edit.from_location != edit.to_location or edit.text.isspace():
            return False
        return self._lines[row][max(0, column - 1) : column].isspace()

    def _undo_batch(self, edits: Sequence[Edit]) -> None:
        with self._changing():
            super()._undo_batch(edits)

    def _redo_batch(self, edits: Sequence[Edit]) -> None:
        with self._changing():
            super()._redo_batch(edits)

    def _build_highlight_map(self) -> None:
        """Nothing to do: parts are looked up for the lines that are drawn."""

    # Keys and mouse.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there is nothing to undo, the key means what it means elsewhere."""
        if action == "undo" and nothing_to_undo(self):
            return False
        return super().check_action(action, parameters)

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self._replace_via_keyboard(text, *self.selection)

        await take_key(self, event, write)

    async def _on_paste(self, event: events.Paste) -> None:
        """Terminals paste carriage returns for newlines."""
        event.prevent_default()
        event.stop()
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        self.history.checkpoint()
        self._replace_via_keyboard(text.translate(_NO_PAIR), *self.selection)
        self.history.checkpoint()

    def get_cursor_left_location(self) -> Location:
        """Before the character to the left, with its marks."""
        row, column = self.cursor_location
        near = self._lines[row][max(0, column - _CLUSTER) : column]
        last = deque(steps(near), maxlen=1)
        if not last:
            return super().get_cursor_left_location()
        return row, column - len(last[0])

    def get_cursor_right_location(self) -> Location:
        """Behind the character to the right, with its marks."""
        row, column = self.cursor_location
        near = self._lines[row][column : column + _CLUSTER]
        first = next(steps(near), None)
        if first is None:
            return super().get_cursor_right_location()
        return row, column + len(first)

    def get_target_document_location(self, event: events.MouseEvent) -> Location:
        """The place in the text under the mouse."""
        x = event.x - self.gutter_width + self.scroll_offset.x - self.gutter.left
        y = event.y + self.scroll_offset.y - self.gutter.top
        return self._layout().offset_to_location(Offset(x, y))

    def find_matching_bracket(self, bracket: str, search_from: Location) -> None:
        """Not looked for: it could be at the other end of a large text."""

    def get_column_width(self, row: int, column: int) -> int:
        """The cells of a line up to a column."""
        return cells_of(drawn(self._lines[row])[:column], self._rows.tab)

    # Layout.

    def _layout(self) -> GhostRows:
        """Where everything stands now."""
        return GhostRows(self._rows)

    def watch_soft_wrap(self, wrap: bool) -> None:
        """Scrollbars that came and went would change what there is room for."""
        self.styles.overflow_x = "hidden" if wrap else "scroll"

    def _recompute_cursor_offset(self) -> None:
        self._cursor_offset = self._layout().location_to_offset(self.cursor_location)

    def _refresh_size(self) -> None:
        if self._busy:
            return
        layout = self._layout()
        wide = 0 if self.soft_wrap else layout.widest + self.gutter_width + 1
        self.virtual_size = Size(wide, layout.height)
        self._refresh_scrollbars()

    # Drawing.

    def _layers(self, row: GhostRow) -> Iterator[StyleSpan]:
        """What is laid over the characters of a row, beneath selection and cursor."""
        raise NotImplementedError

    def _bar(self, line: int) -> str:
        """What stands beside the number of a line."""
        return ""

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows in a part of it, as Textual asks for them."""
        if any(self.styles.gutter):
            return ScrollView.render_lines(self, crop)
        return rendered(self, crop)

    def render_line(self, y: int) -> Strip:
        """One row, as Textual asks for it."""
        number = y + self.scroll_offset.y
        layout, base, width = self._layout(), self.rich_style, self.size.width
        if number >= layout.height:
            return Strip.blank(width, base)
        row = layout.row(number)
        layers = [*self._layers(row), *self._found(row), *self._selected(row)]
        if self._draw_cursor:
            cursor_row, index = layout.place_of(self.cursor_location)
            if cursor_row == number:
                look = self.get_component_rich_style("text-area--cursor")
                if row.is_ghost(index):
                    name = "editor--ghost-cursor"
                    look += self.get_component_rich_style(name, partial=True)
                layers.append((index, index + 1, _PLAIN + look))
        strip = draw(
            row.text + (" " if row.ends else ""),
            layers,
            base,
            tab=self._rows.tab,
            left=self.scroll_offset.x,
            width=max(0, width - self.gutter_width),
        )
        return Strip.join([self._gutter_of(row), strip]) if self.gutter_width else strip

    def _found(self, row: GhostRow) -> Iterator[StyleSpan]:
        style = self.get_component_rich_style("text-area--match", partial=True)
        first = self._lines.get_index_from_location((row.line, 0))
        for part in row.parts:
            if part.column is not None:
                reach = first + part.column, first + part.last_column
                for start, end in self.matches.within(*reach):
                    yield part.layer(start - first, end - first, style)

    def _selected(self, row: GhostRow) -> Iterator[StyleSpan]:
        if self.selection.is_empty:
            return
        low, high = sorted(self.selection)
        style = self.get_component_rich_style("text-area--selection")
        if not low[0] <= row.line <= high[0]:
            return
        first = low[1] if row.line == low[0] else 0
        last = high[1] if row.line == high[0] else sys.maxsize
        for part in row.parts:
            yield part.layer(first, last, _PLAIN + style)

    def _gutter_of(self, row: GhostRow) -> Strip:
        here = row.line == self.cursor_location[0]
        name = "text-area--cursor-gutter" if here else "text-area--gutter"
        number = str(row.line + 1) if row.first else _GOES_ON * row.goes_on
        return gutter(
            number if self.show_line_numbers else "",
            self.gutter_width - 2,
            self._bar(row.line) if row.first else "",
            quiet=self.get_component_rich_style(name),
            hot=self.get_component_rich_style("editor--bar"),
        )
