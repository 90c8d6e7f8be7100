"""The overview of a text: totals, histograms, a surprisal plot, the top surprises.

Returns the token to go to. Knows no engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui import notation
from lmtui.analysis import calibration
from lmtui.analysis.branches import BranchText, Token
from lmtui.analysis.calibration import Bin
from lmtui.analysis.compare import ComparedSpan, Comparison
from lmtui.analysis.summary import RANKS, Totals
from lmtui.chart import (
    ACROSS,
    DOWN,
    bridged,
    label_line,
    line_rows,
    runs,
    ticks,
    whole_ticks,
)
from lmtui.engine.scoring.totals import Sums
from lmtui.notation import NONE, bits, percent
from lmtui.text import bytes_text, visible_line, visible_token
from lmtui.tui.widgets.cells import clip, pack, pad_to
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines
from lmtui.tui.widgets.text_totals import LABELS, cells_of

_LABEL = 11  # cells before a bar
_NUMBER = 16  # cells behind a bar
_NAME = max(len(label.full) for label in LABELS) + 1
_EIGHTHS = " ▏▎▍▌▋▊▉"

TITLE = "Surprisal along the text, bits a token"
_GUTTER = 5
_LEAST = 20  # least width in cells
_FOOT = "Enter goes to a token · Tab to the figures, which scroll · Esc closes"
_SURPRISES = "Most surprising: token, bits, rank"
_EMPTY = "No token has been scored."
_AFTER = 40  # cells of the text behind a token
_CHANGED = 24  # cells of a changed part
_NAMED = 12  # most cells of a token's name


class SummaryFigures(StyledLines):
    """Totals, histograms and calibration, as high as they need to be."""

    PREFIX = "figures--"
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
        """Replace the figures."""
        self._sums, self._totals = sums, totals
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines(width, 0))

    def lines(self, width: int, height: int) -> list[Line]:
        """Return totals, histograms, calibration."""
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
    """Return the totals as a list."""
    rows = zip(LABELS, cells_of(sums), strict=True)
    return [
        [(f"{label.full:<{_NAME}}", "quiet"), (f"{cell:>12}", "")]
        for label, cell in rows
    ]


def rank_lines(totals: Totals, width: int) -> list[Line]:
    """Return the histogram of the ranks."""
    names = ["rank 1", *(f"to {last:,}" for last in RANKS[1:]), "beyond"]
    counts = list(totals.ranks)
    if totals.unlisted:
        names, counts = [*names, "not listed"], [*counts, totals.unlisted]
    return _histogram("Ranks", names, counts, width)


def entropy_lines(totals: Totals, width: int) -> list[Line]:
    """Return the histogram of the entropies: how uncertain the model was, whichever
    token came."""
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


def calibration_lines(result: calibration.Calibration, width: int) -> list[Line]:
    """Return accuracy, calibration error, and a bar for each bin of confidence: how
    often the first choice was right, with a mark at its mean probability."""
    if not result.ranked:
        return []
    hits = [f"top {k} {percent(result.accuracy(k))}" for k in calibration.RANKS]
    error = f"expected error {percent(result.expected_error)}"
    words = pack([f"came true: {hits[0]}", *hits[1:], error], width, lines=4)
    said = pack(["bar: how often the first came", "┃: how sure it was"], width, lines=2)
    head: list[Line] = [[("Calibration", "title")]]
    head += [[(line, "quiet")] for line in (*(words or ()), *(said or ()))]
    return [
        *head,
        *(_bin_line(each, width) for each in result.confidence if each.count),
    ]


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
    """Yield a bar with a mark where it should end."""
    at = min(room - 1, max(0, round(share * room) - 1))
    yield drawn[:at], "bar"
    yield "┃", "claim"
    yield drawn[at + 1 :], "bar"


def bar(share: float, room: int) -> str:
    """Return a bar in eighths of a cell, padded to `room` cells; more than 0 is
    visible."""
    if not math.isfinite(share):
        return NONE.ljust(room)
    eighths = round(min(1.0, max(0.0, share)) * room * 8)
    eighths = max(eighths, 1) if share > 0 else 0
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(room)


class SurprisalPlot(StyledLines):
    """A plot of surprisal along the text."""

    PREFIX = "plot--"
    DEFAULT_CSS = """
    SurprisalPlot { height: 7; color: $foreground; }
    SurprisalPlot > .plot--title { text-style: bold; }
    SurprisalPlot > .plot--line { color: $surprise-4; }
    SurprisalPlot > .plot--quiet { color: $quiet; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._bits: list[float | None] = []

    def show(self, logprobs: Sequence[float | None]) -> None:
        """Replace the log probabilities, in nats; None for a token that is not scored
        yet."""
        self._bits = [None if each is None else bits(each) for each in logprobs]
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """Return the title, the line, and the axis with token numbers."""
        head: list[Line] = [[(clip(TITLE, width), "title")]]
        rows, across = height - 3, width - _GUTTER
        known = [each for each in self._bits if each is not None]
        if width < _LEAST or rows < 2 or not known:
            return head
        columns = means(self._bits, across * ACROSS)
        top = max(1.0, *(value for value in columns if value is not None))
        last = rows * DOWN - 1
        heights = [
            None if value is None else round((1 - value / top) * last)
            for value in columns
        ]
        names = {
            round((1 - value / top) * last) // DOWN: label
            for value, label in ticks(0, top, 2)
        }
        plot: list[Line] = [
            [
                (f"{names.get(row, ''):>{_GUTTER - 2}} │", "quiet"),
                *((run, "" if run.isspace() else "line") for run in runs(dots)),
            ]
            for row, dots in enumerate(line_rows(heights, rows))
        ]
        return [*head, *plot, *_foot(len(self._bits), across)]


def means(values: Sequence[float | None], count: int) -> list[float | None]:
    """Return the values in `count` columns: the mean where several share one, linear
    interpolation where a column has none."""
    edges = [math.ceil(column * len(values) / count) for column in range(count + 1)]
    columns: list[float | None] = []
    for first, end in pairwise(edges):
        part = [each for each in values[first:end] if each is not None]
        columns.append(math.fsum(part) / len(part) if part else None)
    return bridged(columns)


def _foot(tokens: int, width: int) -> list[Line]:
    at = {
        min(width - 1, place * width // max(1, tokens)): f"{place:,}"
        for place in whole_ticks(tokens, max(2, width // 12))
        if place <= tokens
    }
    axis = "".join("┬" if cell in at else "─" for cell in range(width))
    names = label_line(sorted(at.items()), width)
    edge = " " * (_GUTTER - 1)
    return [[(f"{edge}└{axis}", "quiet")], [(f"{edge} {names}", "quiet")]]


class OverviewScreen(ModalScreen[int | None]):
    """The overview of a text. Returns the index of the token to go to."""

    HELP = """\
Ranks: how often the token in the text was the model's first choice, among its first 10,
and so on. Entropies: how unsure the model was of the next token. Calibration: of all
positions where its first choice had, say, 50 to 60 %, how often was it right? A bar
that ends before the mark means that the model was too sure.
"""
    CSS_PATH = "overview.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="overview.close",
                tooltip="Back to the text."),
    ]  # fmt: skip

    def __init__(
        self,
        name: str,
        written: BranchText,
        totals: Totals,
        *,
        comparison: Comparison | None = None,
    ) -> None:
        super().__init__()
        self._comparison = comparison
        self._name_shown = visible_line(name)
        self._take(written, totals)

    def _take(self, written: BranchText, totals: Totals) -> None:
        self._tokens, self._totals = written.tokens, totals
        self._sums = written.sums("text", 0, len(written.tokens))
        self._worst = [token.index for token, _ in totals.worst()]

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(id="title")
            yield SurprisalPlot(id="plot")
            with Horizontal(id="page"):
                with VerticalScroll(id="figures"):
                    yield SummaryFigures(self._sums, self._totals, id="bars")
                with Vertical(id="surprises"):
                    yield Static(id="heading")
                    yield DialogList(id="list")
                    if self._comparison is not None:
                        yield Static(
                            Content(changes_of(self._comparison)), id="changes"
                        )
                        yield DialogList(id="changed")
            yield Static(Content(_FOOT), id="foot")

    def on_mount(self) -> None:
        """Fill the page and focus the list."""
        self._show()
        if self._comparison is not None:
            changed = changed_rows(self._tokens, self._comparison.most())
            self.query_one("#changed", DialogList).add_options(
                [Option(line) for line in changed]
            )
        self.query_one("#list").focus()

    def show(self, written: BranchText, totals: Totals) -> None:
        """Update the page when more of the text is scored."""
        self._take(written, totals)
        self.call_later(self._show)  # after the widgets are mounted

    def _show(self) -> None:
        title = f"Overview of {self._name_shown}"
        if (read := self._totals.tokens) < len(self._tokens):
            counts = f"{read:,} of {len(self._tokens):,}"
            title += f", as far as it is read: {counts} tokens"
        self.query_one("#title", Static).update(Content(title))
        self.query_one(SurprisalPlot).show([token.logprob for token in self._tokens])
        self.query_one(SummaryFigures).show(self._sums, self._totals)
        heading = _SURPRISES if self._worst else _EMPTY
        self.query_one("#heading", Static).update(Content(heading))
        rows = self.query_one("#list", DialogList)
        at = rows.highlighted or 0
        rows.set_options([Option(line) for line in rows_of(self._tokens, self._worst)])
        if self._worst:
            rows.highlighted = min(at, len(self._worst) - 1)

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        if event.option_list.id == "list":
            self.dismiss(self._worst[event.option_index])
        elif self._comparison is not None:
            piece = self._comparison.most()[event.option_index]
            self.dismiss(piece.tokens[0][0].index if piece.tokens else None)

    def action_close(self) -> None:
        self.dismiss(None)


def changes_of(comparison: Comparison) -> str:
    """Return the total difference to the other model."""
    return f"Changed most; in all {notation.difference(comparison.bits)} bits"


def changed_rows(
    tokens: Sequence[Token], pieces: Sequence[ComparedSpan]
) -> list[Content]:
    """Return a row for each changed part: token number, difference in bits, text, and
    what follows."""
    lines = []
    names = [clip(visible_token(_text_of(piece)), _CHANGED) for piece in pieces]
    width = max(map(cell_len, names), default=0)
    for piece, name in zip(pieces, names, strict=True):
        place = piece.tokens[0][0].index + 1 if piece.tokens else 0
        told = notation.difference(piece.bits)
        colour = "$prob-raw" if (piece.bits or 0.0) > 0 else "$cut"
        lines.append(
            Content.assemble(
                (f"{place:>6,} ", "$quiet"),
                (f"{told:>6} bits ", colour),
                (pad_to(name, width), "bold"),
                (" " + _after(tokens, place - 1 + len(piece.tokens)), "$quiet"),
            )
        )
    return lines


def _text_of(piece: ComparedSpan) -> str:
    return bytes_text(b"".join(token.bytes for token, _ in piece.tokens))


def _after(tokens: Sequence[Token], index: int) -> str:
    """Return the text from a token on, cut to a few words."""
    after = bytes_text(b"".join(token.bytes for token in tokens[index : index + 11]))
    return clip(visible_line(after.replace("\n", "⏎")), _AFTER)


def rows_of(tokens: Sequence[Token], places: Sequence[int]) -> list[Content]:
    """Return a row for each token: number, surprisal, rank, text, and what follows."""
    listed = [tokens[place] for place in places]
    names = [clip(visible_token(token.text), _NAMED) for token in listed]
    ranks = [notation.rank(token.rank) for token in listed]
    width, rank_width = (max(map(cell_len, all_), default=0) for all_ in (names, ranks))
    last = len(f"{max(places, default=0) + 1:,}")
    lines = []
    for place, token, name, rank in zip(places, listed, names, ranks, strict=True):
        lines.append(
            Content.assemble(
                (f"{place + 1:>{last},} ", "$quiet"),
                f"{notation.surprisal(token.logprob):>5} ",
                (f"{rank:>{rank_width}} ", "$quiet"),
                (pad_to(name, width), "bold"),
                (" " + _after(tokens, place + 1), "$quiet"),
            )
        )
    return lines
