"""The overview of a text: totals, histograms, a surprisal plot, the top surprises.

Returns the token to go to. Knows no engine.
"""

from __future__ import annotations

import math
import textwrap
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
from lmtui.analysis.summary import RANKS, Totals, known_by_heart
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
        self.show(sums, totals)

    def show(self, sums: Sums, totals: Totals) -> None:
        self._sums, self._totals = sums, totals
        self._by_heart = known_by_heart(totals)  # sorts all tokens
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines(width, 0))

    def lines(self, width: int, height: int) -> list[Line]:
        parts = (
            [*totals_lines(self._sums), *by_heart_lines(self._by_heart, width)],
            rank_lines(self._totals, width),
            entropy_lines(self._totals, width),
            calibration_lines(self._totals.calibration, width),
        )
        lines: list[Line] = []
        for part in parts:
            lines += [*part, []] if part else []
        return lines


def totals_lines(sums: Sums) -> list[Line]:
    rows = zip(LABELS, cells_of(sums), strict=True)
    return [
        [(f"{label.full:<{_NAME}}", "quiet"), (f"{cell:>12}", "")]
        for label, cell in rows
    ]


def by_heart_lines(sentence: str, width: int) -> list[Line]:
    """Return what hints at a text that the model was trained on."""
    told = f"known by heart? {sentence}" if sentence else ""
    return [[(line, "quiet")] for line in textwrap.wrap(told, width)]


def rank_lines(totals: Totals, width: int) -> list[Line]:
    names = ["rank 1", *(f"to {last:,}" for last in RANKS[1:]), "beyond"]
    counts = list(totals.ranks)
    if totals.unlisted:
        names, counts = [*names, "not listed"], [*counts, totals.unlisted]
    return _histogram("Ranks", names, counts, width)


def entropy_lines(totals: Totals, width: int) -> list[Line]:
    """Return the histogram of the entropies: how uncertain the model was, whichever
    token came."""
    counts = totals.entropies
    last = max((level for level, count in enumerate(counts) if count), default=-1)
    open_end = len(counts) - 1
    names = [
        f"{level} bits on" if level == open_end else f"{level}–{level + 1} bits"
        for level in range(last + 1)
    ]
    return _histogram("Entropies", names, counts[: last + 1], width)


def _histogram(
    title: str, names: Sequence[str], counts: Sequence[int], width: int
) -> list[Line]:
    total, highest = sum(counts), max(counts, default=0)
    if not total:
        return []
    room = max(4, width - _LABEL - _NUMBER)
    lines: list[Line] = [[(title, "title")]]
    for name, count in zip(names, counts, strict=True):
        figures = f" {count:>7,} {percent(count / total):>6}"
        bar_text = bar(count / highest, room)
        lines.append([(f"{name:<{_LABEL}}", "quiet"), (bar_text, "bar"), (figures, "")])
    return lines


def calibration_lines(result: calibration.Calibration, width: int) -> list[Line]:
    """Return accuracy, calibration error, and a bar for each bin of confidence: how
    often the first choice was right, with a mark at its mean probability."""
    if not result.ranked:
        return []
    hits = [f"top {k} {percent(result.accuracy(k))}" for k in calibration.RANKS]
    error = f"expected error {percent(result.expected_error)}"
    accuracy = pack([f"came true: {hits[0]}", *hits[1:], error], width, lines=4)
    legend = ("bar: how often the first came", "┃: how sure it was")
    head: list[Line] = [[("Calibration", "title")]]
    head += [
        [(line, "quiet")]
        for line in (*(accuracy or ()), *(pack(legend, width, lines=2) or ()))
    ]
    return [
        *head,
        *(_bin_line(bin_, width) for bin_ in result.confidence if bin_.count),
    ]


def _bin_line(bin_: Bin, width: int) -> Line:
    room = max(4, width - _LABEL - _NUMBER)
    name = f"{bin_.low * 100:.0f}–{bin_.high * 100:.0f}%"
    figures = f" {bin_.count:>7,} {percent(bin_.hit_rate):>6}"
    return [
        (f"{name:<{_LABEL}}", "quiet"),
        *_bar_with_mark(bar(bin_.hit_rate or 0.0, room), bin_.mean_prob or 0.0, room),
        (figures, ""),
    ]


def _bar_with_mark(bar_text: str, share: float, room: int) -> Iterator[Part]:
    index = min(room - 1, max(0, round(share * room) - 1))
    yield bar_text[:index], "bar"
    yield "┃", "claim"
    yield bar_text[index + 1 :], "bar"


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
        self._bits = [None if nats is None else bits(nats) for nats in logprobs]
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        head: list[Line] = [[(clip(TITLE, width), "title")]]
        rows, plot_width = height - 3, width - _GUTTER
        scored = [value for value in self._bits if value is not None]
        if width < _LEAST or rows < 2 or not scored:
            return head
        columns = means(self._bits, plot_width * ACROSS)
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
        return [*head, *plot, *_foot(len(self._bits), plot_width)]


def means(values: Sequence[float | None], count: int) -> list[float | None]:
    """Return the values in `count` columns: the mean where several share one, linear
    interpolation where a column has none."""
    edges = [math.ceil(column * len(values) / count) for column in range(count + 1)]
    columns: list[float | None] = []
    for first, end in pairwise(edges):
        part = [value for value in values[first:end] if value is not None]
        columns.append(math.fsum(part) / len(part) if part else None)
    return bridged(columns)


def _foot(tokens: int, width: int) -> list[Line]:
    labels = {
        min(width - 1, tick * width // max(1, tokens)): f"{tick:,}"
        for tick in whole_ticks(tokens, max(2, width // 12))
        if tick <= tokens
    }
    axis = "".join("┬" if cell in labels else "─" for cell in range(width))
    names = label_line(sorted(labels.items()), width)
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
        self._shown_name = visible_line(name)
        self._set_totals(written, totals)

    def _set_totals(self, written: BranchText, totals: Totals) -> None:
        self._tokens, self._totals = written.tokens, totals
        self._sums = written.sums("text", 0, len(written.tokens))
        if self._sums.whole:
            totals.compress(written.whole_text(), self._sums.bytes)
        self._surprises = [token.index for token, _ in totals.worst()]

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
        self._show()
        if self._comparison is not None:
            changed = changed_rows(self._tokens, self._comparison.most())
            self.query_one("#changed", DialogList).add_options(
                [Option(line) for line in changed]
            )
        self.query_one("#list").focus()

    def show(self, written: BranchText, totals: Totals) -> None:
        self._set_totals(written, totals)
        self.call_later(self._show)  # after the widgets are mounted

    def _show(self) -> None:
        title = f"Overview of {self._shown_name}"
        if (read := self._totals.tokens) < len(self._tokens):
            counts = f"{read:,} of {len(self._tokens):,}"
            title += f", as far as it is read: {counts} tokens"
        self.query_one("#title", Static).update(Content(title))
        self.query_one(SurprisalPlot).show([token.logprob for token in self._tokens])
        self.query_one(SummaryFigures).show(self._sums, self._totals)
        heading = _SURPRISES if self._surprises else _EMPTY
        self.query_one("#heading", Static).update(Content(heading))
        rows = self.query_one("#list", DialogList)
        old_index = rows.highlighted or 0
        rows.set_options(
            [Option(line) for line in rows_of(self._tokens, self._surprises)]
        )
        if self._surprises:
            rows.highlighted = min(old_index, len(self._surprises) - 1)

    @on(OptionList.OptionSelected)
    def return_token(self, event: OptionList.OptionSelected) -> None:
        if event.option_list.id == "list":
            self.dismiss(self._surprises[event.option_index])
        elif self._comparison is not None:
            piece = self._comparison.most()[event.option_index]
            self.dismiss(piece.tokens[0][0].index if piece.tokens else None)

    def action_close(self) -> None:
        self.dismiss(None)


def changes_of(comparison: Comparison) -> str:
    return f"Changed most; in all {notation.difference(comparison.bits)} bits"


def changed_rows(
    tokens: Sequence[Token], pieces: Sequence[ComparedSpan]
) -> list[Content]:
    lines = []
    names = [clip(visible_token(_text_of(piece)), _CHANGED) for piece in pieces]
    width = max(map(cell_len, names), default=0)
    for piece, name in zip(pieces, names, strict=True):
        number = piece.tokens[0][0].index + 1 if piece.tokens else 0
        figures = notation.difference(piece.bits)
        colour = "$prob-raw" if (piece.bits or 0.0) > 0 else "$cut"
        lines.append(
            Content.assemble(
                (f"{number:>6,} ", "$quiet"),
                (f"{figures:>6} bits ", colour),
                (pad_to(name, width), "bold"),
                (" " + _text_after(tokens, number - 1 + len(piece.tokens)), "$quiet"),
            )
        )
    return lines


def _text_of(piece: ComparedSpan) -> str:
    return bytes_text(b"".join(token.bytes for token, _ in piece.tokens))


def _text_after(tokens: Sequence[Token], index: int) -> str:
    after = bytes_text(b"".join(token.bytes for token in tokens[index : index + 11]))
    return clip(visible_line(after.replace("\n", "⏎")), _AFTER)


def rows_of(tokens: Sequence[Token], indexes: Sequence[int]) -> list[Content]:
    chosen = [tokens[index] for index in indexes]
    names = [clip(visible_token(token.text), _NAMED) for token in chosen]
    ranks = [notation.rank(token.rank) for token in chosen]
    width, rank_width = (max(map(cell_len, all_), default=0) for all_ in (names, ranks))
    last = len(f"{max(indexes, default=0) + 1:,}")
    lines = []
    for index, token, name, rank in zip(indexes, chosen, names, ranks, strict=True):
        lines.append(
            Content.assemble(
                (f"{index + 1:>{last},} ", "$quiet"),
                f"{notation.surprisal(token.logprob):>5} ",
                (f"{rank:>{rank_width}} ", "$quiet"),
                (pad_to(name, width), "bold"),
                (" " + _text_after(tokens, index + 1), "$quiet"),
            )
        )
    return lines
