"""What a whole text adds up to, on one page: figures, a plot, the greatest surprises.

Owns the page, and which token to go to. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui import notation
from lmtui.inspect.difference import Comparison, Piece
from lmtui.inspect.roads import Token
from lmtui.inspect.summary import Totals
from lmtui.inspect.written import Written
from lmtui.text import bytes_text, visible_line, visible_token
from lmtui.tui.widgets.cells import clip, fit
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.summary_figures import SummaryFigures
from lmtui.tui.widgets.surprisal_plot import SurprisalPlot

_FOOT = "Enter goes to a token · Tab to the figures, which scroll · Esc closes"
_SURPRISES = "Most surprising: token, surprisal in bits, rank"
_EMPTY = "No token has been scored."
_AFTER = 40  # cells of the text behind a token
_CHANGED = 24  # cells of a part that changed


class OverviewScreen(ModalScreen[int | None]):
    """Answers the place to go to."""

    HELP = """\
Ranks: how often the token that came was the model's first choice, among its first 10,
and so on. Entropies: how unsure the model was of the next token, whatever came.
Calibration: of all places where its first choice had, say, 50 to 60 %, how often did it
come? A bar that ends before the mark means that the model was too sure of itself.
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
        written: Written,
        totals: Totals,
        *,
        comparison: Comparison | None = None,
    ) -> None:
        super().__init__()
        self._comparison = comparison
        self._name_shown = visible_line(name)
        self._take(written, totals)

    def _take(self, written: Written, totals: Totals) -> None:
        self._tokens, self._totals = written.tokens, totals
        self._sums = written.sums("text", 0, len(written.tokens))
        self._worst = [token.index for token, _ in totals.worst()]

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
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
        """Show what was given."""
        self._show()
        if self._comparison is not None:
            changed = changed_rows(self._tokens, self._comparison.most())
            self.query_one("#changed", DialogList).add_options(
                [Option(line) for line in changed]
            )
        self.query_one("#list").focus()

    def show(self, written: Written, totals: Totals) -> None:
        """Show what more of the text adds up to."""
        self._take(written, totals)
        self.call_later(self._show)  # once the widgets are there

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
        """Go there."""
        if event.option_list.id == "list":
            self.dismiss(self._worst[event.option_index])
        elif self._comparison is not None:
            piece = self._comparison.most()[event.option_index]
            self.dismiss(piece.tokens[0][0].index if piece.tokens else None)

    def action_close(self) -> None:
        """Go nowhere."""
        self.dismiss(None)


def changes_of(comparison: Comparison) -> str:
    """How much more the other model expected the whole."""
    return f"Changed most; in all {notation.difference(comparison.bits)} bits"


def changed_rows(tokens: Sequence[Token], pieces: Sequence[Piece]) -> list[Content]:
    """A line for each part: where it is, how many bits more, what it says, and what
    follows."""
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
                (fit(name, width), "bold"),
                (" " + _after(tokens, place - 1 + len(piece.tokens)), "$quiet"),
            )
        )
    return lines


def _text_of(piece: Piece) -> str:
    return bytes_text(b"".join(token.bytes for token, _ in piece.tokens))


def _after(tokens: Sequence[Token], place: int) -> str:
    """What stands from a place on, as much as there is room for."""
    after = bytes_text(b"".join(token.bytes for token in tokens[place : place + 11]))
    return clip(visible_line(after.replace("\n", "⏎")), _AFTER)


def rows_of(tokens: Sequence[Token], places: Sequence[int]) -> list[Content]:
    """A line for each place: its bits, its rank, the token and what follows."""
    names = [clip(visible_token(tokens[place].text), 16) for place in places]
    width = max(map(cell_len, names), default=0)
    last = len(f"{max(places, default=0) + 1:,}")
    lines = []
    for place, name in zip(places, names, strict=True):
        token = tokens[place]
        lines.append(
            Content.assemble(
                (f"{place + 1:>{last},} ", "$quiet"),
                f"{notation.surprisal(token.logprob):>5} ",
                (f"{notation.count(token.rank):>7} ", "$quiet"),
                (fit(name, width), "bold"),
                (" " + _after(tokens, place + 1), "$quiet"),
            )
        )
    return lines
