"""The inspector screen: a text as tokens, with the whole distribution at each.

Lays out the widgets; holds finding words, copying, and the totals of the text and of
the selection. Knows no torch.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from lmtui.analysis.branches import ROOT, as_scored
from lmtui.analysis.scored_document import MOST
from lmtui.analysis.summary import Totals
from lmtui.tui.inspector.comparing import ComparingScreen
from lmtui.tui.inspector.overview import OverviewScreen
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.widgets.find_bar import FindBar
from lmtui.tui.widgets.line_prompt import LinePrompt
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import HintLine, MainPart, Status
from lmtui.tui.widgets.text_totals import TextTotals
from lmtui.tui.widgets.token_view import TokenView

HINT = "Arrows walk, Enter shows other ways; F1 has more."


class InspectScreen(ComparingScreen):
    """The tokens, and beside them what the model expected at the one in focus."""

    HELP = """\
The text as tokens. The panel shows the distribution at the token under the cursor,
which is marked with ●: Tab enters the panel, to page through the whole vocabulary; f
finds any token. Enter shows where the likeliest tokens would lead and continues from
the one you choose; the old text stays on its own branch.
"""
    CSS_PATH = "screen.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "overview", "Overview", id="inspect.overview",
                tooltip="Totals, histograms, calibration and the greatest surprises."),
        Binding("slash", "find", "Find text", id="inspect.find",
                tooltip="Find words in the text."),
        Binding("ctrl+f", "find", "Find text", id="inspect.find-anywhere",
                tooltip="Find words in the text, also from a field.", show=False,
                priority=True),
        Binding("escape", "leave", "Close", id="inspect.close",
                tooltip="Stop what the model does; else close the text."),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        with MainPart(id="main"):
            yield TokenView(id="tokens")
            with Vertical(id="side"):
                yield ProbabilityPanel(id="panel", title="Expected here")
                yield ProbabilityPanel(id="other", title="The other model")
                yield TokenFinder(id="finder")
                yield TextTotals(id="totals")
                yield SamplerControls(self._settings, id="sampler")
        yield FindBar(id="find", replaces=False)
        yield LinePrompt(id="ask")
        yield HintLine("inspect", HINT)
        yield Status(id="status")

    # What it adds up to.

    def tell_totals(self) -> None:
        """Sum up the way that is shown, and what is selected of it."""
        written = self.written
        count = len(written.tokens)
        first, end = self.view.selection or (0, 0)
        whole = "text" if written.shared == count else "branch"
        parts = [written.sums(whole, 0, count)]
        if other := self.other_sums():
            parts.append(other)
        if first < end:
            parts.append(written.sums("selection", first, end))
        self.query_one(TextTotals).show(*parts)
        if self.is_reading and isinstance(page := self.app.screen, OverviewScreen):
            page.show(written, self._totals())

    @on(TokenView.SelectionChanged)
    def sum_selection(self) -> None:
        self.tell_totals()

    def action_overview(self) -> None:
        """Show the totals of the text."""
        page = OverviewScreen(
            self._subject.name,
            self.written,
            self._totals(),
            comparison=self.comparison,
        )
        self.app.push_screen(page, self._answer_overview)

    def _totals(self) -> Totals:
        """Those of the way that is shown. Of a text they were counted while it was
        read: it may be long."""
        reading = self._reading
        if reading.ids and reading.branch == ROOT:
            return reading.totals_so_far()
        totals = Totals(limit=MOST)
        for place, token in enumerate(self.path):
            totals.add(as_scored(token, place))
        return totals

    def _answer_overview(self, index: int | None) -> None:
        if index is not None:
            self.view.select(index)

    # Finding and copying.

    def action_find(self) -> None:
        place = self.view.index
        before = self.written.text_of(0, place)
        self.query_one(FindBar).open(self.written.whole_text(), len(before))

    @on(FindBar.Moved)
    def show_match(self, event: FindBar.Moved) -> None:
        """Select the tokens that a match is in."""
        first, end = self.written.tokens_at(event.start, event.end)
        if first < end:
            self.view.select_all(first, end)

    @on(FindBar.Closed)
    def close_bar(self) -> None:
        self.to_text()

    def action_interrupt(self) -> None:
        """Copy the selection, or the token under the cursor; or stop."""
        if self.selected_words() or self.is_writing or self._job:
            super().action_interrupt()
            return
        first, end = self.view.selection or (self.view.index, self.view.index + 1)
        if text := self.written.text_of(first, min(end, len(self.path))):
            self.app.copy_to_clipboard(text)
            self.notify("Copied." if self.view.selection else "Copied the token.")

    def action_leave(self) -> None:
        """Hide the hint, stop, or close."""
        hidden = self.query_one(HintLine).hide()
        if not self.stop_work() and not hidden:
            self.leave_then(self._close)

    def _close(self) -> None:
        self.app.pop_screen()
