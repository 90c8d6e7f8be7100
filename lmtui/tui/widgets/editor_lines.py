"""A row of an editor as a strip: text, the styles laid over it, and the gutter.

Styles never cut a character from its marks: what begins or ends within one, begins or
ends before it. Owns tabs and what is seen of a long line. Knows no widget.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lmtui.tui.widgets.line_rows import is_plain, pieces_of

_BARS = "▁▂▃▄▅▆▇█"

Layer = tuple[int, int, Style]
"""A style from one character of a row to another."""


def draw(
    text: str, layers: Sequence[Layer], base: Style, *, tab: int, left: int, width: int
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
    layers: Sequence[Layer], base: Style, starts: Sequence[int], shift: int
) -> list[tuple[int, Style]]:
    """From which piece on which style counts."""
    last = len(starts) - 1
    fitted: list[Layer] = []
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
