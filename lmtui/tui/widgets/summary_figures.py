"""What a text adds up to, in bars: ranks, entropies, and whether the model was right
to be sure.

Owns the words and the lengths. The counting is `lmtui.inspect`'s. Knows no engine and
no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.geometry import Size

from lmtui.engine.sums import Sums
from lmtui.inspect import calibration
from lmtui.inspect.calibration import Bin
from lmtui.inspect.summary import RANKS, Totals
from lmtui.notation import NONE, percent
from lmtui.tui.widgets.cells import pack
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines
from lmtui.tui.widgets.text_totals import LABELS, cells_of

_LABEL = 11  # cells before a bar
_NUMBER = 16  # cells behind it
_NAME = max(len(label.full) for label in LABELS) + 1
_EIGHTHS = " ▏▎▍▌▋▊▉"


class SummaryFigures(StyledLines):
    """All figures below each other, as high as they are."""

    PREFIX = "figures--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"figures--{name}" for name in ("title", "bar", "claim", "quiet")
    }
    DEFAULT_CSS = """
    SummaryFigures { height: auto; color: $foreground; }
    SummaryFigures > .figures--title { text-style: bold; }
    SummaryFigures > .figures--bar { color: $prob-raw; }
    SummaryFigures > .figures--claim { color: $prob-chosen; text-style: bold; }
    SummaryFigures > .figures--quiet { color: $quiet; }
    """

    def __init__(self, sums: Sums, totals: Totals, *, id: str) -> None:
        super().__init__(id=id)
        self._sums, self._totals = sums, totals

    def show(self, sums: Sums, totals: Totals) -> None:
        """Draw these figures."""
        self._sums, self._totals = sums, totals
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All of its lines."""
        return len(self.lines(width, 0))

    def lines(self, width: int, height: int) -> list[Line]:
        """Totals, histograms, calibration."""
        parts = (
            totals_lines(self._sums),
            rank_lines(self._totals, width),
            entropy_lines(self._totals, width),
            calibration_lines(self._totals.calibration, width),
        )
        lines: list[Line] = []
        for part in parts:
            lines += [*part, []] if part else []
        return lines


def totals_lines(sums: Sums) -> list[Line]:
    """The sums as a list."""
    rows = zip(LABELS, cells_of(sums), strict=True)
    return [
        [(f"{label.full:<{_NAME}}", "quiet"), (f"{cell:>12}", "")]
        for label, cell in rows
    ]


def rank_lines(totals: Totals, width: int) -> list[Line]:
    """How many tokens were among the first so many."""
    names = ["rank 1", *(f"to {last:,}" for last in RANKS[1:]), "beyond"]
    return _histogram("Ranks", names, totals.ranks, width)


def entropy_lines(totals: Totals, width: int) -> list[Line]:
    """How sure the model was of what comes, whatever came."""
    counts = totals.entropies
    last = max((place for place, count in enumerate(counts) if count), default=-1)
    open_end = len(counts) - 1
    names = [
        f"{place} bits on" if place == open_end else f"{place}–{place + 1} bits"
        for place in range(last + 1)
    ]
    return _histogram("Entropies", names, counts[: last + 1], width)


def _histogram(
    title: str, names: Sequence[str], counts: Sequence[int], width: int
) -> list[Line]:
    whole, most = sum(counts), max(counts, default=0)
    if not whole:
        return []
    room = max(4, width - _LABEL - _NUMBER)
    lines: list[Line] = [[(title, "title")]]
    for name, count in zip(names, counts, strict=True):
        told = f" {count:>7,} {percent(count / whole):>6}"
        drawn = bar(count / most, room)
        lines.append([(f"{name:<{_LABEL}}", "quiet"), (drawn, "bar"), (told, "")])
    return lines


def calibration_lines(found: calibration.Calibration, width: int) -> list[Line]:
    """When the model was so sure, how often was it right?"""
    if not found.ranked:
        return []
    hits = [f"top {k} {percent(found.accuracy(k))}" for k in calibration.RANKS]
    error = f"expected error {percent(found.expected_error)}"
    words = pack([f"came true: {hits[0]}", *hits[1:], error], width, lines=4)
    said = pack(["bar: how often the first came", "┃: how sure it was"], width, lines=2)
    head: list[Line] = [[("Calibration", "title")]]
    head += [[(line, "quiet")] for line in (*(words or ()), *(said or ()))]
    return [*head, *(_bin_line(each, width) for each in found.confidence if each.count)]


def _bin_line(each: Bin, width: int) -> Line:
    room = max(4, width - _LABEL - _NUMBER)
    name = f"{each.low * 100:.0f}–{each.high * 100:.0f}%"
    told = f" {each.count:>7,} {percent(each.hit_rate):>6}"
    return [
        (f"{name:<{_LABEL}}", "quiet"),
        *_marked(bar(each.hit_rate or 0.0, room), each.mean_prob or 0.0, room),
        (told, ""),
    ]


def _marked(drawn: str, share: float, room: int) -> Iterator[Part]:
    """A bar with a sign where it should end."""
    at = min(room - 1, max(0, round(share * room) - 1))
    yield drawn[:at], "bar"
    yield "┃", "claim"
    yield drawn[at + 1 :], "bar"


def bar(share: float, room: int) -> str:
    """A bar of eighths of cells; what is not 0 is seen."""
    if not math.isfinite(share):
        return NONE.ljust(room)
    eighths = round(min(1.0, max(0.0, share)) * room * 8)
    eighths = max(eighths, 1) if share > 0 else 0
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(room)
