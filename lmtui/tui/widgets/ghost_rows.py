"""Where a text with a ghost in it stands on rows.

The line of the cursor is laid out as if the ghost had been accepted, and only painted
differently: what follows it stands where it will stand then. Owns which part of the
ghost there is room for. Knows no widget.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import dataclass

from rich.style import Style
from textual.document._document import Location
from textual.geometry import Offset

from lmtui.tui.widgets.line_rows import Rows, breaks, cells_of, column_at, drawn


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive characters of a row that come from one place. The cell behind the
    end of a line is its newline."""

    start: int
    """Its first character in the row."""
    end: int
    column: int | None
    """The column of the first one in its line; None for a part of the ghost."""

    @property
    def last_column(self) -> int:
        """The column behind the last one in its line."""
        return (self.column or 0) + self.end - self.start

    def layer(self, low: int, high: int, style: Style) -> tuple[int, int, Style]:
        """A style over some columns of the line, as far as they are in it."""
        shift = self.start - (self.column or 0)
        return max(self.start, low + shift), min(self.end, high + shift), style


@dataclass(frozen=True, slots=True)
class Row:
    """One row, as it is drawn but for tabs."""

    text: str
    line: int
    first: bool
    """Whether its line begins with it."""
    goes_on: bool
    """Whether it goes on with a line that was broken at the row above."""
    ends: bool
    """Whether its line ends with it."""
    parts: tuple[Part, ...]

    def is_ghost(self, index: int) -> bool:
        """Whether one of its characters is the ghost's."""
        return any(p.column is None and p.start <= index < p.end for p in self.parts)


class GhostRows:
    """The rows of a text, with a ghost at a place in it."""

    def __init__(self, rows: Rows, at: Location = (0, 0), ghost: str = "") -> None:
        self._rows = rows
        self._line, self._column = at
        self._ghost = ghost
        self._end = self._column + len(ghost)
        self._text = ""
        self._edges: list[tuple[int, int]] = []
        if ghost:
            line = rows.document[self._line]
            self._text, self._edges = _with_ghost(rows, line, self._column, ghost)
        self._starts = [start for start, _ in self._edges]
        self._top = rows.top_of(self._line)
        self._more = len(self._edges) - (rows.top_of(self._line + 1) - self._top)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self._rows.height + (self._more if self._ghost else 0)

    @property
    def widest(self) -> int:
        """The cells of the longest row, where lines are not wrapped."""
        tab = self._rows.tab
        cells = (cells_of(self._text[a:b], tab) for a, b in self._edges)
        return max(self._rows.widest, *cells, 0)

    @property
    def ghost_rows(self) -> tuple[int, int]:
        """The rows of the cursor and of the end of the ghost."""
        return self._row_of(self._column), self._row_of(self._end)

    def row(self, number: int) -> Row:
        """What stands on a row."""
        within = number - self._top
        if self._ghost and 0 <= within < len(self._edges):
            return self._ghost_row(within)
        if self._ghost and within > 0:
            number -= self._more
        line, section = self._rows.line_at(number)
        start, end = self._rows.bounds(line, section)
        ends = end == len(self._rows.document[line])
        return Row(
            text=drawn(self._rows.document[line])[start:end],
            line=line,
            first=section == 0,
            goes_on=section > 0,
            ends=ends,
            parts=(Part(0, end - start + ends, start),),
        )

    def place_of(self, location: Location) -> tuple[int, int]:
        """The row of a location, and which of its characters it is before."""
        line, column = location
        if self._ghost and line == self._line:
            place = column + (len(self._ghost) if column > self._column else 0)
            row = self._row_of(place)
            return row, place - self._starts[row - self._top]
        offsets = self._rows.get_offsets(line)
        section = bisect_right(offsets, column)
        row = self._rows.top_of(line) + section
        if self._ghost and line > self._line:
            row += self._more
        return row, column - (offsets[section - 1] if section else 0)

    def location_to_offset(self, location: Location) -> Offset:
        """The cell and the row of a location."""
        row, index = self.place_of(location)
        return Offset(cells_of(self.row(row).text[:index], self._rows.tab), row)

    def offset_to_location(self, offset: Offset) -> Location:
        """The location that is drawn at a cell of a row; in the ghost, where it is."""
        within = offset.y - self._top
        if not self._ghost or within < 0:
            return self._rows.offset_to_location(offset)
        if within >= len(self._edges):
            return self._rows.offset_to_location(
                Offset(offset.x, offset.y - self._more)
            )
        start, end = self._edges[within]
        x = max(0, offset.x)
        place = start + column_at(self._text[start:end], x, self._rows.tab)
        if place == end and self._starts[within + 1 : within + 2] == [end]:
            place -= 1  # the end of a row is the beginning of the next one
        if place <= self._column:
            return self._line, place
        return self._line, max(self._column, place - len(self._ghost))

    def _row_of(self, place: int) -> int:
        return self._top + bisect_right(self._starts, place) - 1

    def _ghost_row(self, within: int) -> Row:
        start, end = self._edges[within]
        ends = self._text[end : end + 1] in ("", "\n")
        cuts = (0, self._column, self._end, len(self._text) + 1)
        columns = (0, None, self._column)
        parts = []
        for low, high, column in zip(cuts, cuts[1:], columns, strict=False):
            a, b = max(low, start), min(high, end + ends)
            if a < b:
                moved = None if column is None else column + a - low
                parts.append(Part(a - start, b - start, moved))
        return Row(
            text=self._text[start:end],
            line=self._line,
            first=within == 0,
            goes_on=start > 0 and self._text[start - 1] != "\n",
            ends=ends,
            parts=tuple(parts),
        )


def room_for(rows: Rows, at: Location, ghost: str, height: int) -> str:
    """The beginning of a ghost that `height` rows from the cursor's on can show."""
    line, column = rows.document[at[0]], at[1]
    while ghost:
        _, edges = _with_ghost(rows, line, column, ghost)
        starts = [start for start, _ in edges]
        first = bisect_right(starts, column) - 1
        last = bisect_right(starts, column + len(ghost)) - 1
        if last - first < height:
            break
        end = edges[first + height - 1][1] - column
        ghost = ghost[: min(end, len(ghost) - 1)]
    return ghost


def _with_ghost(
    rows: Rows, line: str, column: int, ghost: str
) -> tuple[str, list[tuple[int, int]]]:
    """A line with a ghost in it as it is drawn, and where its rows begin and end."""
    edges: list[tuple[int, int]] = []
    texts: list[str] = []
    start = 0
    for part in (line[:column] + ghost + line[column:]).split("\n"):
        text = drawn(part)
        places = [0, *breaks(text, rows.width, rows.tab), len(text)]
        pairs = itertools.pairwise(places)
        edges += [(start + a, start + b) for a, b in pairs]
        texts.append(text)
        start += len(text) + 1
    return "\n".join(texts), edges
