"""The inspector screen: a text as tokens, with the whole distribution at each.

Lays out the widgets, holds the controllers, and gives them the keys and what the
widgets post.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from lmtui.analysis.attribution import Effect, Source
from lmtui.analysis.branches import ROOT, as_scored
from lmtui.analysis.scored_document import MOST
from lmtui.analysis.summary import Totals
from lmtui.engine.sampling.recommended import SamplingFor
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.tui.dialogs import choose
from lmtui.tui.engine.client import MakeClient
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.inspector.branches import WRITING, BranchController
from lmtui.tui.inspector.compare import CompareController
from lmtui.tui.inspector.document import DocumentController
from lmtui.tui.inspector.lens import LensController
from lmtui.tui.inspector.overview import OverviewScreen
from lmtui.tui.inspector.panel import PanelController
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.sampler import SamplingScreen
from lmtui.tui.why import WhyController
from lmtui.tui.widgets.find_bar import FindBar
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import HintLine, MainPart
from lmtui.tui.widgets.text_totals import TextTotals
from lmtui.tui.widgets.token_cursor import TokenText

COMMON = "common part, scored by both"
ONLY_TEXT = "other model: scored on the text only"
HINT = "Arrows move; Enter shows alternatives; F1 helps."


class InspectScreen(SamplingScreen):
    HELP = """\
The text as tokens. The panel shows the distribution at the token under the cursor,
which is marked with ●: Tab enters the panel, to page through the whole vocabulary; f
finds any token. Enter shows where the likeliest tokens would lead and continues from
the one you choose, some sixty tokens at a time: Enter goes on. The old text stays on
its own branch.
"""
    CSS_PATH = "screen.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "alternatives", "Alternatives", id="inspect.alternatives",
                tooltip="What could stand here instead, and where each would lead. "
                "Behind a branch that the model may write on: go on."),
        Binding("o", "overview", "Overview", id="inspect.overview",
                tooltip="Totals, and the greatest surprises."),
        Binding("L", "lens", "Logit lens", id="inspect.lens",
                tooltip="What the model would predict after each of its layers."),
        Binding("w", "why", "Why", id="inspect.why",
                tooltip="What before it made this token likely: leave out each part."),
        Binding("slash", "find", "Find text", id="inspect.find",
                tooltip="Find words in the text."),
        Binding("ctrl+f", "find", "Find text", id="inspect.find-anywhere",
                tooltip="Find words in the text, also from a field.", show=False,
                priority=True),
        Binding("b", "branches", "Branches", id="inspect.branches",
                tooltip="All branches as a tree: show or delete one."),
        Binding("g", "go_on", "Go on", id="inspect.go-on",
                tooltip="Let the model write on from here, as the sampler draws."),
        Binding("s", "step(False)", "Sample one", id="inspect.sample",
                tooltip="One token here, as the sampler draws it."),
        Binding("a", "step(True)", "Likeliest one", id="inspect.argmax", show=False,
                tooltip="One token here, the most probable."),
        Binding("u", "back", "One back", id="inspect.back", show=False,
                tooltip="Take back the last token of a branch, else one to the left."),
        Binding("left_square_bracket", "sibling(-1)", "Previous branch",
                id="inspect.branch-before", show=False,
                tooltip="The previous branch, where the text could go on otherwise."),
        Binding("right_square_bracket", "sibling(1)", "Next branch",
                id="inspect.branch-after",
                tooltip="The next branch, where the text could go on otherwise."),
        Binding("f", "find_token", "Find token", id="inspect.find-token",
                tooltip="Find any token of the vocabulary here, and its rank."),
        Binding("r", "read_on", "Read on", id="inspect.read-on", show=False,
                tooltip="Continue a stopped reading, from the visible part on."),
        Binding("escape", "leave", "Close", id="inspect.close",
                tooltip="Stop what the model does; else back to the text; else close "
                "the text."),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: MakeClient,
        source: InspectSource,
        *,
        sampling: SamplingSettings,
        sampling_for: SamplingFor | None = None,
    ) -> None:
        title = "Expected here"
        super().__init__(
            make_client, sampling, panel_title=title, sampling_for=sampling_for
        )
        self._totals = TextTotals(id="totals")
        self._find_bar = FindBar(id="find")
        self._hint = HintLine("inspect", HINT)
        self.document = DocumentController(
            self.new_client(),
            self,
            source,
            drawn=self._show_position,
            changed=self._show_totals,
            scored=self._compare,
        )
        self.compare = CompareController(
            self.new_client(),
            self,
            self.document,
            self.sampler,
            compared=self._show_all,
        )
        self.branches = BranchController(
            self.new_client(), self, self.document, self.sampler
        )
        self.at_cursor = PanelController(
            self.new_client(),
            self,
            self.document,
            self.sampler,
            compare=self.compare,
            branches=self.branches,
        )
        self.lens = LensController(self.new_client(), self, self.document)
        self.why = WhyController(self.new_client(), self)
        self.controllers = (
            self.sampler,
            self.compare,
            self.document,
            self.at_cursor,
            self.branches,
            self.lens,
            self.why,
        )
        self.activity.controllers = (self.branches, self.compare, self.document)

    def compose(self) -> ComposeResult:
        with MainPart(id="main"):
            yield self.document.view
            with Vertical(id="side"):
                yield self.panel
                yield self.compare.panel
                yield self.at_cursor.finder
                yield self._totals
                yield self.sampler.controls
        yield self._find_bar
        yield self._hint
        yield self.status
        yield self.key_line

    def on_unmount(self) -> None:
        for controller in self.controllers:
            controller.stop()

    def focus_text(self) -> None:
        self.document.view.focus()

    def stop_work(self) -> bool:
        stopped = self.branches.stop() or self.compare.stop() or self.document.stop()
        return stopped or self.stop_load()

    # What the controllers tell.

    def _show_position(self, index: int) -> None:
        self.branches.follow_cursor(index)
        self.at_cursor.show(index)
        self.compare.show(index)

    def _show_totals(self) -> None:
        written = self.document.written
        count = len(written.tokens)
        first, end = self.document.view.selection or (0, 0)
        name = "text" if written.shared == count else "branch"
        parts, note = [written.sums(name, 0, count)], ""
        if comparison := self.compare.comparison:
            note = COMMON if comparison.is_partial else ""
            if name == "text":
                parts = list(comparison.sums())
            else:
                note = ONLY_TEXT
        if first < end:
            parts.append(written.sums("selection", first, end))
        self._totals.show(*parts, note=note)
        if self.compare.either_reads and isinstance(
            page := self.app.screen, OverviewScreen
        ):
            page.show(written.tokens, self._totals_of_branch())

    def _show_all(self) -> None:
        self._show_totals()
        self._show_position(self.document.view.index)

    def _compare(self) -> None:
        self.compare.begin()

    # What the widgets post.

    @on(TokenText.CursorMoved)
    def show_token(self, event: TokenText.CursorMoved) -> None:
        self._show_position(event.index)

    @on(TokenText.Selected)
    def sum_selection(self) -> None:
        self._show_totals()

    @on(ProbabilityPanel.CandidatePicked)
    def insert_row(self, event: ProbabilityPanel.CandidatePicked) -> None:
        self.branches.insert_row(event.candidate)

    @on(TokenFinder.Typed)
    def find_typed(self) -> None:
        self.at_cursor.search()

    def follow_bias(self) -> None:
        self.at_cursor.search()

    @on(TokenFinder.TokenPicked)
    def insert_match(self, event: TokenFinder.TokenPicked) -> None:
        self.branches.insert_match(self.at_cursor.distribution, event.ranked)

    @on(TokenFinder.FinderClosed)
    def close_finder(self) -> None:
        self.remove_class("-finding")
        self.focus_text()

    @on(FindBar.FindBarClosed)
    def close_bar(self) -> None:
        self.focus_text()

    # Keys of the controllers.

    def action_branches(self) -> None:
        self.branches.show_list()

    def action_alternatives(self) -> None:
        self.branches.show_alternatives(self.at_cursor.distribution)

    def action_go_on(self) -> None:
        self.branches.write_on()

    def action_step(self, likeliest: bool) -> None:
        self.branches.write_one(likeliest=likeliest)

    def action_back(self) -> None:
        self.branches.back()

    def action_sibling(self, by: int) -> None:
        self.branches.to_sibling(by)

    def action_find_token(self) -> None:
        self.at_cursor.open_finder()

    def action_lens(self) -> None:
        if self.branches.is_writing:
            self.notify(WRITING)
        else:
            self.lens.open()

    def action_why(self) -> None:
        document, view = self.document, self.document.view
        first, end = view.selection or (view.index, view.index + 1)
        if document.why_not:
            self.notify(document.why_not)
        elif end > len(document.path):
            self.notify("There is no token here.")
        else:
            subject = document.attribution(first, end)
            self.why.open(subject, self._go_to_part)

    def _go_to_part(self, source: Source, part: Effect) -> None:
        if source.name:
            self.notify(f"It is in {source.name}, before this text.")
        else:
            self.document.select_at(part.words[0])

    def action_read_on(self) -> None:
        if self.document.scored.is_read and self.compare.is_missing:
            self.compare.begin()
        else:
            self.document.score_on()

    # The totals as a page.

    def action_overview(self) -> None:
        page = OverviewScreen(
            self.document.source.name, self.document.path, self._totals_of_branch()
        )
        choose(self, page, self.document.view.select)

    def _totals_of_branch(self) -> Totals:
        """Return the totals of the branch that is shown. Of a text they were counted
        while it was read: it may be long."""
        scored, written = self.document.scored, self.document.written
        if scored.ids and scored.branch == ROOT:
            totals = scored.totals_so_far()
        else:
            totals = Totals(limit=MOST)
            for index, token in enumerate(written.tokens):
                totals.add(as_scored(token, index))
        sums = written.sums("text", 0, len(written.tokens))
        totals.characters, totals.bytes = sums.characters, sums.bytes
        if sums.whole:
            totals.compress(written.whole_text(), sums.bytes)
        return totals

    # Finding and copying.

    def action_find(self) -> None:
        written = self.document.written
        prefix = written.text_of(0, self.document.view.index)
        self._find_bar.open(written.whole_text(), len(prefix))

    @on(FindBar.MatchSelected)
    def show_match(self, event: FindBar.MatchSelected) -> None:
        first, end = self.document.written.tokens_at(event.start, event.end)
        if first < end:
            self.document.view.select_all(first, end)

    def action_interrupt(self) -> None:
        is_working = self.branches.is_writing or self.compare.either_reads
        if self.selected_words() or is_working:
            super().action_interrupt()
            return
        view, written = self.document.view, self.document.written
        first, end = view.selection or (view.index, view.index + 1)
        if text := written.text_of(first, min(end, len(written.tokens))):
            self.app.copy_to_clipboard(text)
            self.notify("Copied." if view.selection else "Copied the token.")

    def action_sampler(self) -> None:
        if self.document.model.info is None:  # what its makers recommend is not known
            self.notify(self.document.why_not)
        else:
            super().action_sampler()

    # Leaving.

    def action_leave(self) -> None:
        was_hidden = self._hint.hide()
        if self.stop_work() or was_hidden:
            return
        if self.focused is None or self.document.view.has_focus_within:
            self.leave_then(self.app.pop_screen)
        else:
            self.remove_class("-sampler")
            self.focus_text()

    @property
    def has_branches(self) -> bool:
        return bool(self.branches.would_be_lost)

    def leave_then(self, then: Callable[[], object]) -> None:
        self.branches.leave_then(then)
