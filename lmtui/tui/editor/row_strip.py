"""Drawing of one row of the editor: its characters in styles, and its gutter."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lmtui.tui.editor.layout import pieces_of
from lmtui.tui.widgets.cells import is_plain

_BARS = "▁▂▃▄▅▆▇█"

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
