"""A text area that keeps its text exactly and draws it itself.

A loaded text is never altered: only newlines end lines. Control characters are drawn
as pictures. Subclasses supply styles, and text that is drawn but not part of the text.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.document._document import Location, Selection
from textual.document._edit import Edit
from textual.geometry import Offset, Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import EditResult

from lmtui.editing.find import Matches
from lmtui.editing.indent import is_prose, step_of
from lmtui.editing.undo_file import MOST_STEPS, UndoEdit, UndoStep
from lmtui.tui.editor.document import SyntaxParts, syntax_document
from lmtui.tui.editor.layout import (
    GhostRow,
    GhostRows,
    RowNavigator,
    WrappedLines,
    pieces_of,
    steps,
)
from lmtui.tui.editor.line_area import LineArea
from lmtui.tui.editor.word_history import WordHistory, batch_of, undo_step_of
from lmtui.tui.widgets.cells import cells_of, drawn, is_plain
from lmtui.tui.widgets.drawn_area import pasted_text
from lmtui.tui.widgets.key_input import handle_key, nothing_to_undo
from lmtui.tui.widgets.line_document import DocumentChange, LineDocument
from lmtui.tui.widgets.styled_lines import rendered

_BARS = "▁▂▃▄▅▆▇█"
_CLUSTER = 64
"""Characters that are searched for the boundary of the one beside the cursor."""
_SURROGATES = dict.fromkeys(range(55296, 57344), "�")
_CONTINUATION = "↳"
"""Drawn instead of a line number where a row continues the line above."""
_PLAIN = Style(bold=False, dim=False, italic=False, reverse=False, underline=False)


StyleSpan = tuple[int, int, Style]
"""First index in a row, index behind the last, and style."""


def draw(
    text: str,
    layers: Sequence[StyleSpan],
    base: Style,
    *,
    tab: int,
    left: int,
    width: int,
) -> Strip:
    """Draw `width` cells of a row from cell `left` on; later layers are drawn over
    earlier ones."""
    if is_plain(text):
        shift, cells = left, 0
        parts = list(text[left : left + width])
        starts: Sequence[int] = range(len(parts) + 1)
    else:
        shift, cells, pieces = _visible_pieces(text, tab, left, left + width)
        parts = [" " * size if piece == "\t" else piece for piece, size in pieces]
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
    return Strip(
        [Segment(f"{number:>{digits}}", quiet), Segment(f"{bar or ' '} ", hot)]
    )


def bar(bits: float | None, limit: float) -> str:
    """Return bits as a bar of one cell; "" without a value."""
    if bits is None or limit <= 0:
        return ""
    return _BARS[min(len(_BARS) - 1, int(len(_BARS) * bits / limit))]


def _visible_pieces(
    text: str, tab: int, low: int, high: int
) -> tuple[int, int, list[tuple[str, int]]]:
    """Return the index of the first piece between two cells, how many of its cells are
    left of `low`, and the pieces."""
    pieces: list[tuple[str, int]] = []
    first = cells = used = 0
    for piece, piece_cells in pieces_of(text, tab):
        if used >= high:
            break
        used += piece_cells
        if used > low or pieces:
            if not pieces:
                cells = low - (used - piece_cells)
            pieces.append((piece, piece_cells))
        else:
            first += len(piece)
    return first, max(0, cells), pieces


def _styles(
    layers: Sequence[StyleSpan], base: Style, starts: Sequence[int], shift: int
) -> list[tuple[int, Style]]:
    """Return (index of a piece, style) for each change of style."""
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


class ExactArea(LineArea):
    """A text area for whole files. Subclasses implement `_layers`."""

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

    def __init__(self, *, id: str | None = None) -> None:
        self.revision = 0
        """Incremented with each change of the text."""
        self._lines = LineDocument("")
        self._rows = WrappedLines(self._lines)
        self._syntax: SyntaxParts | None = None
        self._change_depth = 0
        self._bracket_cache: tuple[object, tuple[Location, ...]] | None = None
        super().__init__(
            id=id,
            show_line_numbers=True,
            tab_behavior="focus",
            highlight_cursor_line=False,
        )
        self.cursor_blink = False
        self.history = WordHistory()

    # Text.

    @property
    def words(self) -> int:
        return self._lines.words

    @property
    def characters(self) -> int:
        return self._lines.characters

    @property
    def cursor_index(self) -> int:
        return self._lines.get_index_from_location(self.cursor_location)

    @property
    def selection_indexes(self) -> tuple[int, int]:
        """The offsets of the selection's ends; both are the cursor's without a
        selection."""
        low, high = sorted(self.selection)
        index = self._lines.get_index_from_location
        return index(low), index(high)

    def load(self, text: str, language: str | None = None) -> None:
        """Replace the document and clear the undo history."""
        self.revision += 1
        self.history.clear()
        self.set_reactive(TextArea.language, language)
        with self._changing():
            self._set_document(text, language)
        self.indent_step = step_of(self._lines.lines)
        self.refresh()

    def load_text(self, text: str) -> None:
        self.load(text, self.language)

    def go_to(self, index: int, select_to: int | None = None) -> None:
        """Move the cursor to offset `index`; or to `select_to`, selecting the text
        between."""
        location = self._lines.get_location_from_index
        end = location(index if select_to is None else select_to)
        self.selection = Selection(location(index), end)
        self.record_cursor_width()
        self.history.checkpoint()

    def replace_span(self, start: int, end: int, text: str) -> None:
        location = self._lines.get_location_from_index
        self.history.checkpoint()
        self.replace(text, location(start), location(end))
        self.history.checkpoint()

    def code_of(self, line: int, start: int, end: int) -> str:
        if self._syntax is None or is_prose(self.language):
            return super().code_of(line, start, end)
        return self._syntax.code_of(line, start, end)

    def undo_steps(self) -> list[UndoStep]:
        return [undo_step_of(batch) for batch in self.history.undo_stack[-MOST_STEPS:]]

    def put_undo_steps_first(self, steps: Sequence[UndoStep]) -> None:
        """Add undo steps that led to the text as it was loaded."""
        stack = self.history._undo_stack
        first = max(0, len(steps) + len(stack) - self.history.max_checkpoints)
        stack.extendleft(batch_of(step) for step in reversed(steps[first:]))
        self.history.checkpoint()

    def put_undone(self, text: str, cursor: int) -> None:
        """Add undo steps as if the text had been another one for a moment."""
        head = text[:cursor]
        location = head.count("\n"), len(head) - (head.rfind("\n") + 1)
        present, selection = self.text, self.selection
        steps = (
            (UndoEdit((0, 0), present, text, (selection.start, selection.end)),),
            (UndoEdit((0, 0), text, present, (location, location)),),
        )
        self.history.checkpoint()
        self.history._undo_stack.extend(map(batch_of, steps))
        self.history._redo_stack.clear()
        self.history.checkpoint()

    def end_last_line(self) -> None:
        """End the last line with a newline, if it has none; the cursor stays."""
        if self.characters and self._lines.get_line(self._lines.line_count - 1):
            selection, end = self.selection, self.characters
            self.replace_span(end, end, "\n")
            self.selection = selection

    def _set_document(self, text: str, language: str | None) -> None:
        document = syntax_document(text, language)
        self._syntax = SyntaxParts(document, language or "") if document else None
        self._lines = document or LineDocument(text)
        self._lines.on_change = self._follow
        self._rows = WrappedLines(
            self._lines, tab_width=self.indent_width, language=language
        )
        self.document = self._lines
        self.wrapped_document = self._rows
        self.navigator = RowNavigator(self._rows)
        self.selection = Selection()
        self._rewrap_and_refresh_virtual_size()

    def _follow(self, change: DocumentChange) -> None:
        """Update layout and syntax after a change. The cursor has not moved yet."""
        self.revision += 1
        self._rows.follow(change)
        if self._syntax is not None:
            self._syntax.clear()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Defer the layout while text and cursor do not match; nested calls are
        allowed."""
        self._change_depth += 1
        try:
            yield
        finally:
            self._change_depth -= 1
        if not self._change_depth:
            self._refresh_size()

    def edit(self, edit: Edit) -> EditResult:
        """Edit the text. All edits but undo and redo come through here."""
        with self._changing():
            return super().edit(edit)

    def _undo_batch(self, edits: Sequence[Edit]) -> None:
        with self._changing():
            super()._undo_batch(edits)
        self.history.checkpoint()

    def _redo_batch(self, edits: Sequence[Edit]) -> None:
        with self._changing():
            super()._redo_batch(edits)

    def _build_highlight_map(self) -> None:
        """Do nothing: syntax parts are looked up for the lines that are drawn."""

    # Keys and mouse.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "undo" and nothing_to_undo(self):
            return False
        return super().check_action(action, parameters)

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self._replace_via_keyboard(text, *self.selection)

        await handle_key(self, event, write)

    async def _on_paste(self, event: events.Paste) -> None:
        """The text is one undo step, with newlines instead of carriage returns."""
        event.prevent_default()
        event.stop()
        self.history.checkpoint()
        text = pasted_text(event).translate(_SURROGATES)
        self._replace_via_keyboard(text, *self.selection)
        self.history.checkpoint()

    def get_cursor_left_location(self) -> Location:
        row, column = self.cursor_location
        near = self._lines[row][max(0, column - _CLUSTER) : column]
        last = deque(steps(near), maxlen=1)
        if not last:
            return super().get_cursor_left_location()
        return row, column - len(last[0])

    def get_cursor_right_location(self) -> Location:
        row, column = self.cursor_location
        near = self._lines[row][column : column + _CLUSTER]
        first = next(steps(near), None)
        if first is None:
            return super().get_cursor_right_location()
        return row, column + len(first)

    def get_target_document_location(self, event: events.MouseEvent) -> Location:
        x = event.x - self.gutter_width + self.scroll_offset.x - self.gutter.left
        y = event.y + self.scroll_offset.y - self.gutter.top
        return self._layout().offset_to_location(Offset(x, y))

    def find_matching_bracket(self, bracket: str, search_from: Location) -> None:
        """Do nothing: the bracket could be at the other end of a large text."""

    def get_column_width(self, row: int, column: int) -> int:
        return cells_of(drawn(self._lines[row])[:column], self._rows.tab)

    # Layout.

    def _layout(self) -> GhostRows:
        return GhostRows(self._rows)

    def watch_soft_wrap(self, wrap: bool) -> None:
        """Fix the horizontal scrollbar: if it came and went, the room would change."""
        self.styles.overflow_x = "hidden" if wrap else "scroll"

    def _recompute_cursor_offset(self) -> None:
        self._cursor_offset = self._layout().location_to_offset(self.cursor_location)

    def _refresh_size(self) -> None:
        if self._change_depth:
            return
        layout = self._layout()
        wide = 0 if self.soft_wrap else layout.widest + self.gutter_width + 1
        self.virtual_size = Size(wide, layout.height)
        self._refresh_scrollbars()

    # Drawing.

    def _layers(self, row: GhostRow) -> Iterator[StyleSpan]:
        """Yield the styles of a row, to be drawn below selection and cursor."""
        raise NotImplementedError

    def _bar(self, line: int) -> str:
        return ""

    def render_lines(self, crop: Region) -> list[Strip]:
        if any(self.styles.gutter):
            return ScrollView.render_lines(self, crop)
        return rendered(self, crop)

    def render_line(self, y: int) -> Strip:
        number = y + self.scroll_offset.y
        layout, base, width = self._layout(), self.rich_style, self.size.width
        if number >= layout.height:
            return Strip.blank(width, base)
        row = layout.row(number)
        layers = [
            *self._layers(row),
            *self._match_styles(row),
            *self._bracket_styles(row),
        ]
        layers += self._selection_styles(row)
        if self._draw_cursor:
            cursor_row, index = layout.location_of(self.cursor_location)
            if cursor_row == number:
                cursor_style = self.get_component_rich_style("text-area--cursor")
                if row.is_ghost(index):
                    name = "editor--ghost-cursor"
                    cursor_style += self.get_component_rich_style(name, partial=True)
                layers.append((index, index + 1, _PLAIN + cursor_style))
        strip = draw(
            row.text + (" " if row.ends else ""),
            layers,
            base,
            tab=self._rows.tab,
            left=self.scroll_offset.x,
            width=max(0, width - self.gutter_width - row.indent),
        )
        prefix = [self._gutter_of(row)] if self.gutter_width else []
        prefix += [Strip.blank(row.indent, base)] if row.indent else []
        return Strip.join([*prefix, strip])

    def _match_styles(self, row: GhostRow) -> Iterator[StyleSpan]:
        style = self.get_component_rich_style("text-area--match", partial=True)
        first = self._lines.get_index_from_location((row.line, 0))
        for part in row.parts:
            if part.column is not None:
                columns = first + part.column, first + part.last_column
                for start, end in self.matches.within(*columns):
                    yield part.layer(start - first, end - first, style)

    def _bracket_styles(self, row: GhostRow) -> Iterator[StyleSpan]:
        if not self.selection.is_empty or not self.has_focus:
            return
        key = (self.revision, self.cursor_location)
        if self._bracket_cache is None or self._bracket_cache[0] != key:
            self._bracket_cache = (key, self.bracket_pair() or ())
        full = self.get_component_rich_style("text-area--matching-bracket")
        style = Style(bgcolor=full.bgcolor, bold=True)  # over any syntax colour
        for line, column in self._bracket_cache[1]:
            if line == row.line:
                for part in row.parts:
                    if part.column is not None:
                        yield part.layer(column, column + 1, style)

    def _selection_styles(self, row: GhostRow) -> Iterator[StyleSpan]:
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
        has_cursor = row.line == self.cursor_location[0]
        name = "text-area--cursor-gutter" if has_cursor else "text-area--gutter"
        number = str(row.line + 1) if row.first else _CONTINUATION * row.continues
        return gutter(
            number if self.show_line_numbers else "",
            self.gutter_width - 2,
            self._bar(row.line) if row.first else "",
            quiet=self.get_component_rich_style(name),
            hot=self.get_component_rich_style("editor--bar"),
        )
