"""Layout of the editor's lines on rows of cells, with ghost text.

A line is measured as it is drawn: control characters as pictures, tabs to the next stop
of their row, a character and its marks as one. Wrapping, cursor and mouse use the same
measure. Knows no widget.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from rich.cells import cell_len
from rich.style import Style
from textual.document._document import Location
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.geometry import Offset

from lmtui.editing.indent import hanging
from lmtui.text import visible_same_length
from lmtui.tui.widgets.cells import (
    cells_of,
    chunks,
    clusters,
    drawn,
    is_plain,
    limit_combining_same_length,
)
from lmtui.tui.widgets.line_document import DocumentChange, LineDocument


def steps(line: str) -> Iterator[str]:
    """Yield the characters of a line as the cursor moves: each with its marks, and an
    emoji sequence as one."""
    for index, part in enumerate(
        limit_combining_same_length(visible_same_length(line, whole=True)).split("\t")
    ):
        if index:
            yield "\t"
        yield from clusters(part)


def pieces_of(text: str, tab: int) -> Iterator[tuple[str, int]]:
    """Yield the characters of a drawn text, each with its marks, and their cells."""
    used = 0
    for index, part in enumerate(text.split("\t")):
        if index:
            cells = tab - used % tab
            used += cells
            yield "\t", cells
        for cluster in clusters(part):
            cells = cell_len(cluster)
            used += cells
            yield cluster, cells


def column_at(text: str, cell: int, tab: int) -> int:
    """Return the index of the character drawn at a cell; the length of the text beyond
    it."""
    if is_plain(text):
        return max(0, min(cell, len(text)))
    column = used = 0
    for piece, cells in pieces_of(text, tab):
        used += cells
        if used > cell:
            return column
        column += len(piece)
    return len(text)


def breaks(line: str, width: int, tab: int, *, hang: int = 0) -> list[int]:
    """Return the indexes at which a drawn line is wrapped to rows of at most `width`
    cells, `hang` cells less from the second row on; none for a width of 0 (no
    wrapping)."""
    if not width or _fits(line, width):
        return []
    tab = min(tab, width)
    indexes: list[int] = []
    used = 0
    for match in chunks(line).finditer(line):
        chunk = match[0]
        room = width - hang if indexes else width
        cells = cells_of(chunk, tab, at=used)
        if used + cells <= room:
            used += cells
            continue
        if used > (0 if indexes else hang):  # the next row has more room for the chunk
            indexes.append(match.start())
            used, room = 0, width - hang
            cells = cells_of(chunk, tab)
        if used + cells <= room:
            used = cells
        else:
            used = _wrap_chunk(
                chunk, match.start(), indexes, tab=tab, used=used, room=room,
                next_room=width - hang,
            )  # fmt: skip
    return indexes


def _fits(line: str, width: int) -> bool:
    return len(line) <= width and is_plain(line)


def _wrap_chunk(
    chunk: str,
    start: int,
    breaks: list[int],
    *,
    tab: int,
    used: int,
    room: int,
    next_room: int,
) -> int:
    """Wrap a chunk that is wider than the `room` of a row, of which some cells are
    used, and than the `next_room` of those after it, adding to `breaks`. Return the
    number of cells on its last row."""
    if is_plain(chunk):
        end = start + len(chunk)
        breaks.extend(range(start + room - used, end, next_room))
        return end - breaks[-1]
    column = start
    for piece, piece_cells in pieces_of(chunk, tab):
        cells = tab - used % tab if piece == "\t" else piece_cells
        if used and used + cells > room:
            breaks.append(column)
            used, cells, room = 0, tab if piece == "\t" else cells, next_room
        used += cells
        column += len(piece)
    return used


class WrappedLines(WrappedDocument):
    """The lines of a document, wrapped to the width of the text area.

    Changed lines are laid out again when the layout is next used.
    """

    document: LineDocument

    def __init__(
        self,
        document: LineDocument,
        *,
        tab_width: int = 4,
        language: str | None = None,
    ) -> None:
        self._language = language
        self._breaks: list[list[int] | None] = []
        self._cells: list[int] = []
        """Width of each line in cells, where lines are not wrapped; else 0."""
        self._tops: list[int] | None = None
        self._changed: set[int] = set()
        super().__init__(document, tab_width=tab_width)

    def wrap(self, width: int, tab_width: int | None = None) -> None:
        tab_width = tab_width or self._tab_width
        if self._breaks and (width, tab_width) == (self._width, self._tab_width):
            return
        self._width, self._tab_width = width, tab_width
        self._breaks = [None] * self.document.line_count
        self._cells = [0] * len(self._breaks)
        self._changed = set(range(len(self._breaks)))
        self._tops = None

    def wrap_range(self, start: Location, old_end: Location, new_end: Location) -> None:
        """Do nothing: `follow` has seen the change."""

    def follow(self, change: DocumentChange) -> None:
        top, bottom, last = change.top[0], change.bottom[0], change.end[0]
        if change.lines:
            self._changed = {
                line + change.lines if line > bottom else line
                for line in self._changed
                if not top <= line <= bottom
            }
            self._tops = None
        self._breaks[top : bottom + 1] = [None] * (last - top + 1)
        self._cells[top : bottom + 1] = [0] * (last - top + 1)
        self._changed.update(range(top, last + 1))

    def _lay_out(self) -> list[int]:
        for line in self._changed:
            text = self.document[line]
            offsets = self.breaks(text)
            self._breaks[line] = offsets
            self._cells[line] = 0 if self._width else cells_of(drawn(text), self.tab)
            tops = self._tops
            if tops is not None and len(offsets) != tops[line + 1] - tops[line] - 1:
                self._tops = None
        self._changed.clear()
        if self._tops is None:
            counts = (len(offsets or ()) + 1 for offsets in self._breaks)
            self._tops = list(accumulate(counts, initial=0))
        return self._tops

    @property
    def height(self) -> int:
        return self._lay_out()[-1]

    @property
    def width(self) -> int:
        """The most cells of a row; 0 where lines are not wrapped."""
        return self._width

    @property
    def widest(self) -> int:
        """The width of the longest line in cells, where lines are not wrapped."""
        self._lay_out()
        return max(self._cells)

    @property
    def tab(self) -> int:
        """The distance of the tab stops in cells."""
        return min(self._tab_width, self._width or self._tab_width)

    def hang(self, text: str) -> int:
        """Return the cells by which the further rows of a line with this text are
        indented: at most half the width, and a tab always fits behind them."""
        prefix = hanging(text, self._language) if self._width else ""
        if not prefix:
            return 0
        tab = self.tab
        limit = min(self._width // 2, self._width - tab)
        return min(cells_of(prefix, tab), limit)

    def breaks(self, text: str) -> list[int]:
        line = drawn(text)
        hang = 0 if _fits(line, self._width) else self.hang(text)
        return breaks(line, self._width, self._tab_width, hang=hang)

    def top_of(self, line: int) -> int:
        """Return the first row of a line; behind the last line, the row count."""
        return self._lay_out()[line]

    def line_at(self, row: int) -> tuple[int, int]:
        """Return the line on a row, and the index of the row within the line."""
        tops = self._lay_out()
        line = bisect_right(tops, row) - 1
        return line, row - tops[line]

    def bounds(self, line: int, section: int) -> tuple[int, int]:
        """Return the first column of a row (`section`) of a line, and the one behind
        its last."""
        offsets = self.get_offsets(line)
        start = offsets[section - 1] if section else 0
        if section < len(offsets):
            return start, offsets[section]
        return start, len(self.document[line])

    def get_offsets(self, line_index: int) -> list[int]:
        self._lay_out()
        return self._breaks[line_index] or []

    def location_to_offset(self, location: Location) -> Offset:
        line, column = location
        section = bisect_right(self.get_offsets(line), column)
        start, _ = self.bounds(line, section)
        text = drawn(self.document[line])[start:column]
        hang = self.hang(self.document[line]) if section else 0
        return Offset(hang + cells_of(text, self.tab), self.top_of(line) + section)

    def offset_to_location(self, offset: Offset) -> Location:
        row = max(0, min(offset.y, self.height - 1))
        line, section = self.line_at(row)
        text = self.document[line]
        start, end = self.bounds(line, section)
        hang = self.hang(text) if section else 0
        column = start + column_at(
            drawn(text)[start:end], max(0, offset.x - hang), self.tab
        )
        return line, min(column, end if end == len(text) else end - 1)


class RowNavigator(DocumentNavigator):
    def __init__(self, rows: WrappedLines) -> None:
        super().__init__(rows)
        self._rows = rows

    def get_location_above(self, location: Location) -> Location:
        """Return the location a row above; the start of the text on the first row."""
        cell, row = self._offset(location)
        return self._rows.offset_to_location(Offset(cell, row - 1)) if row else (0, 0)

    def get_location_below(self, location: Location) -> Location:
        """Return the location a row below; the end of the text on the last row."""
        cell, row = self._offset(location)
        if row < self._rows.height - 1:
            return self._rows.offset_to_location(Offset(cell, row + 1))
        return self._rows.document.end

    def _offset(self, location: Location) -> Offset:
        cell, row = self._rows.location_to_offset(location)
        line, section = self._rows.line_at(row)
        at_hang = section and cell == self._rows.hang(self._rows.document[line])
        # a row that begins further right does not change that cell
        return Offset(
            self.last_x_offset if at_hang else max(cell, self.last_x_offset), row
        )


@dataclass(frozen=True, slots=True)
class RowPart:
    """Consecutive characters of a row, either of the line or of the ghost text. The
    cell behind the end of a line is its newline."""

    start: int
    """Index of the first character in the row."""
    end: int
    column: int | None
    """Column of the first character in its line; None for ghost text."""

    @property
    def last_column(self) -> int:
        return (self.column or 0) + self.end - self.start

    def layer(self, low: int, high: int, style: Style) -> tuple[int, int, Style]:
        """Clip a style over columns of the line to this part, in indexes of the row."""
        shift = self.start - (self.column or 0)
        return max(self.start, low + shift), min(self.end, high + shift), style


@dataclass(frozen=True, slots=True)
class GhostRow:
    text: str
    line: int
    first: bool
    """Whether the row begins its line."""
    continues: bool
    """Whether the row continues a wrapped line from the row above."""
    ends: bool
    """Whether the row ends its line."""
    parts: tuple[RowPart, ...]
    indent: int
    """Cells before its first character, where the row continues a wrapped line."""

    def is_ghost(self, index: int) -> bool:
        return any(p.column is None and p.start <= index < p.end for p in self.parts)


class GhostRows:
    """The rows of a text with ghost text at a location."""

    def __init__(
        self, rows: WrappedLines, at: Location = (0, 0), ghost: str = ""
    ) -> None:
        self._rows = rows
        self._line, self._column = at
        self._ghost = ghost
        self._end = self._column + len(ghost)
        self._text = ""
        self._edges: list[_Edge] = []
        if ghost:
            line = rows.document[self._line]
            self._text, self._edges = _with_ghost(rows, line, self._column, ghost)
        self._starts = [start for start, _, _ in self._edges]
        self._top = rows.top_of(self._line)
        self._extra_rows = len(self._edges) - (rows.top_of(self._line + 1) - self._top)

    @property
    def height(self) -> int:
        return self._rows.height + (self._extra_rows if self._ghost else 0)

    @property
    def widest(self) -> int:
        tab = self._rows.tab
        cells = (cells_of(self._text[a:b], tab) for a, b, _ in self._edges)
        return max(self._rows.widest, *cells, 0)

    @property
    def ghost_rows(self) -> tuple[int, int]:
        return self._row_of(self._column), self._row_of(self._end)

    def row(self, number: int) -> GhostRow:
        within = number - self._top
        if self._ghost and 0 <= within < len(self._edges):
            return self._ghost_row(within)
        if self._ghost and within > 0:
            number -= self._extra_rows
        line, section = self._rows.line_at(number)
        start, end = self._rows.bounds(line, section)
        ends = end == len(self._rows.document[line])
        return GhostRow(
            text=drawn(self._rows.document[line])[start:end],
            line=line,
            first=section == 0,
            continues=section > 0,
            ends=ends,
            parts=(RowPart(0, end - start + ends, start),),
            indent=self._rows.hang(self._rows.document[line]) if section else 0,
        )

    def location_of(self, location: Location) -> tuple[int, int]:
        """Return the row of a location, and its index in that row."""
        line, column = location
        if self._ghost and line == self._line:
            index = column + (len(self._ghost) if column > self._column else 0)
            row = self._row_of(index)
            return row, index - self._starts[row - self._top]
        offsets = self._rows.get_offsets(line)
        section = bisect_right(offsets, column)
        row = self._rows.top_of(line) + section
        if self._ghost and line > self._line:
            row += self._extra_rows
        return row, column - (offsets[section - 1] if section else 0)

    def location_to_offset(self, location: Location) -> Offset:
        number, index = self.location_of(location)
        row = self.row(number)
        cells = cells_of(row.text[:index], self._rows.tab)
        return Offset(row.indent + cells, number)

    def offset_to_location(self, offset: Offset) -> Location:
        """Return the location that is drawn at a cell; within ghost text, where that
        begins."""
        within = offset.y - self._top
        if not self._ghost or within < 0:
            return self._rows.offset_to_location(offset)
        if within >= len(self._edges):
            return self._rows.offset_to_location(
                Offset(offset.x, offset.y - self._extra_rows)
            )
        start, end, hang = self._edges[within]
        x = max(0, offset.x - hang)
        index = start + column_at(self._text[start:end], x, self._rows.tab)
        if index == end and self._starts[within + 1 : within + 2] == [end]:
            index -= 1  # the end of a row is the beginning of the next one
        if index <= self._column:
            return self._line, index
        return self._line, max(self._column, index - len(self._ghost))

    def _row_of(self, position: int) -> int:
        return self._top + bisect_right(self._starts, position) - 1

    def _ghost_row(self, within: int) -> GhostRow:
        start, end, hang = self._edges[within]
        ends = self._text[end : end + 1] in ("", "\n")
        cuts = (0, self._column, self._end, len(self._text) + 1)
        columns = (0, None, self._column)
        parts = []
        for low, high, column in zip(cuts, cuts[1:], columns, strict=False):
            a, b = max(low, start), min(high, end + ends)
            if a < b:
                shifted = None if column is None else column + a - low
                parts.append(RowPart(a - start, b - start, shifted))
        return GhostRow(
            text=self._text[start:end],
            line=self._line,
            first=within == 0,
            continues=start > 0 and self._text[start - 1] != "\n",
            ends=ends,
            parts=tuple(parts),
            indent=hang,
        )


def room_for(rows: WrappedLines, at: Location, ghost: str, height: int) -> str:
    """Cut ghost text to what fits on `height` rows from the cursor's row on."""
    line, column = rows.document[at[0]], at[1]
    while ghost:
        _, edges = _with_ghost(rows, line, column, ghost)
        starts = [start for start, _, _ in edges]
        first = bisect_right(starts, column) - 1
        last = bisect_right(starts, column + len(ghost)) - 1
        if last - first < height:
            break
        end = edges[first + height - 1][1] - column
        ghost = ghost[: min(end, len(ghost) - 1)]
    return ghost


_Edge = tuple[int, int, int]
"""Start and end index of a row, and its indent in cells."""


def _with_ghost(
    rows: WrappedLines, line: str, column: int, ghost: str
) -> tuple[str, list[_Edge]]:
    edges: list[_Edge] = []
    texts: list[str] = []
    start = 0
    for part in (line[:column] + ghost + line[column:]).split("\n"):
        text, hang = drawn(part), rows.hang(part)
        bounds = [0, *rows.breaks(part), len(text)]
        edges += [
            (start + a, start + b, hang if a else 0)
            for a, b in itertools.pairwise(bounds)
        ]
        texts.append(text)
        start += len(text) + 1
    return "\n".join(texts), edges
