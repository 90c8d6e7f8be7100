"""Comparison of two models on one text.

Scores the text with the other model too. Tokens are compared one by one where both
tokenizers cut alike, else by the smallest parts that both have. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable

from textual import on

from lmtui.analysis.branches import BranchText
from lmtui.analysis.compare import ComparedSpan, Comparison, pieces, unit_of
from lmtui.analysis.scored_document import MOST, ScoredDocument
from lmtui.engine.passages import DocumentAlone
from lmtui.engine.totals import Sums
from lmtui.engine.types import EngineInfo, SamplingSettings
from lmtui.text import visible_line
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.inspector.exporting import ExportingScreen
from lmtui.tui.inspector.places import expected
from lmtui.tui.inspector.scored import part_of
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.model_state import ModelState, shown_label
from lmtui.tui.widgets.cells import progress_bar
from lmtui.tui.widgets.probability_panel import ProbabilityPanel

_ONLY_TEXT = "The other model has other tokens: it reads the text, and no branch."
_ASKED = "Asking the other model."
_TO_COME = "The other model is reading the text."
_UNITS = {
    "token": "token by token",
    "span": "other tokens: compared by parts that both have",
}


class ComparingScreen(ExportingScreen):
    """Has a second panel, `#other`, that is shown where there is another model."""

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        subject: InspectSource,
        *,
        sampling: SamplingSettings,
    ) -> None:
        super().__init__(make_client, subject, sampling=sampling)
        self._against: EngineInfo | None = None
        self._comparing = 0  # the job that scores with the other model
        self._theirs = ScoredDocument()
        self._read_by: dict[str, ScoredDocument] = {}  # each other model that was here
        self._asking = 0  # the question about the place, of the other model
        self._paging = 0  # the one for other rows of it
        self._drawing_anew = False  # whether other settings are to be seen there
        self._others = BranchText(())
        self._piece_at: dict[int, ComparedSpan] = {}  # of each token of the text
        self.comparison: Comparison | None = None
        """How the two differ, once it is known."""

    @property
    def _other(self) -> ProbabilityPanel:
        return self.query_one("#other", ProbabilityPanel)

    @property
    def _panel(self) -> ProbabilityPanel:
        return self.query_one("#panel", ProbabilityPanel)

    def follow_model(self, state: ModelState) -> None:
        """Forget what was compared with another model."""
        self._against = state.against
        self.set_class(self._against is not None, "-comparing")
        self._comparing, self._theirs, self.comparison = 0, ScoredDocument(), None
        self._piece_at = {}
        self.view.compare(())
        super().follow_model(state)

    @property
    def is_reading(self) -> bool:
        """Whether either model reads the text."""
        return super().is_reading or bool(self._comparing)

    def stop_work(self) -> bool:
        """Stop comparing as well."""
        if self._comparing:
            self.client.stop(self._comparing)
            return True
        return super().stop_work()

    def text_scored(self) -> None:
        """Have the other model score the same text."""
        if self._against is None or self._text is None:
            return
        self._comparing = self.client.number()
        if known := self._read_by.get(self._against.label):
            self._theirs = known
            self._compare_on()
            return
        subject = self._subject
        rules = DocumentAlone(
            self._text, bos=subject.bos, window=subject.window, stride=subject.stride
        )
        self.client.tokenize(self._comparing, rules, other=True)
        self._status.state = f"{self._against_name} reads the text"

    @property
    def _against_name(self) -> str:
        return shown_label(self._against.label) if self._against else ""

    @on(facts.DocumentTokenized)
    def begin_other(self, event: facts.DocumentTokenized) -> None:
        if event.job == self._comparing:
            self._theirs = ScoredDocument.of(
                event.encoding, event.windows, event.tokens
            )
            if self._against is not None:
                self._read_by[self._against.label] = self._theirs
            self._compare_on()

    @on(facts.TokensScored)
    def end_other_part(self, event: facts.TokensScored) -> None:
        if event.job == self._comparing:
            self._theirs.take(event.tokens)
            self._theirs.finish(event.tokens)
            self._compare_on()

    def _compare_on(self) -> None:
        """Read the next part; compare when there is none."""
        theirs = self._theirs
        if theirs.is_read or theirs.windows is None:
            self._comparing = 0
            self._compare()
            return
        share = theirs.scored / len(theirs.ids)
        told = f" · {progress_bar(share)} {share:.0%}" if theirs.scored else ""
        self._status.state = f"{self._against_name} reads the text{told}"
        self.client.score(
            self._comparing, part_of(theirs, theirs.unread[0]), other=True
        )

    @on(facts.ScoreFailed)
    def show_other_failed(self, event: facts.ScoreFailed) -> None:
        if event.job == self._comparing:
            self._comparing = 0
            self._show_error(event.error)

    @on(facts.JobDropped)
    def end_other_dropped(self, event: facts.JobDropped) -> None:
        if event.job == self._comparing:
            self._comparing = 0
            self._status.state = "stopped; nothing is compared"

    def _compare(self) -> None:
        ours, theirs = self._reading, self._theirs
        tokens, others = ours.text, theirs.text
        unit = unit_of(ours.encoding, theirs.encoding)
        placed = zip(tokens, ours.spans, strict=True)
        compared = list(pieces(placed, zip(others, theirs.spans, strict=True), unit))
        self.comparison = Comparison(unit, limit=MOST)
        for piece in compared:
            self.comparison.add(piece)
            self._piece_at.update((token.index, piece) for token, _ in piece.tokens)
        self._others = BranchText(others, self._text or "", theirs.spans, len(others))
        self.view.compare(shares_of(compared, len(tokens)))
        self._status.state = f"compared with {self._against_name}, {_UNITS[unit]}"
        self.tell_totals()
        self.show_place(self.view.index)

    @property
    def _same_ids(self) -> bool:
        """Whether ids mean to the other model what they mean to the first."""
        known = self.comparison is not None and self.comparison.unit == "token"
        own, other = self._info, self._against
        return bool(known and own and other and own.vocabulary == other.vocabulary)

    def other_sums(self) -> Sums | None:
        """Return the totals of the text under the other model."""
        if self.comparison is None:
            return None
        return self._others.sums("other", 0, len(self._others.tokens))

    def show_place(self, index: int) -> None:
        """Show the distributions of both models at a position."""
        super().show_place(index)
        if self._against is None:
            return
        branch = self._reading.branches
        on_text = index < min(
            branch.leaves(self._reading.branch), len(self._reading.spans)
        )
        piece = self._piece_at.get(index) if on_text else None
        self._asking = 0
        self._other.title = self._against_name
        if piece is None or not piece.others:
            self._other.clear(self._why_nothing_there())
            return
        start = self._reading.spans[index][0]
        token = next(
            (t for t, (_, end) in piece.others if end > start), piece.others[0][0]
        )
        if token.entropy is None:
            self._other.clear(
                "For the other model this is a first token without context."
            )
            return
        size = self._against.vocabulary
        shown = expected(token, token.entropy, vocabulary=size)
        self._other.show(shown, chosen=token.id)

    def _why_nothing_there(self) -> str:
        if self.comparison is None:
            return _TO_COME
        return _ASKED if self._same_ids else _ONLY_TEXT

    # The whole vocabulary of the other model, and branches, where it has the same ids.

    @on(facts.PositionReady)
    def ask_other(self, event: facts.PositionReady) -> None:
        """The first model has answered: now the other one, and then its answer."""
        path, index = self.path, self.view.index
        if event.revision == self._looking and self._same_ids:
            self._asking = self.client.number()
            ids = self.ids_before(index)
            self.client.distribution_at(self._asking, ids, self._settings, other=True)
        elif event.revision == self._asking:
            chosen = path[index].id if index < len(path) else None
            shown = self._other.distribution
            self._other.show(event.distribution, chosen=chosen, same=shown is not None)

    @on(facts.PositionFailed)
    def show_nothing_there(self, event: facts.PositionFailed) -> None:
        if event.revision == self._asking and self._other.distribution is None:
            self._other.clear(visible_line(str(event.error)))

    def _draw(self, settings: SamplingSettings) -> None:
        super()._draw(settings)
        self._drawing_anew = True

    def _preview(self, handle: int, start: int, rows: int) -> None:
        shown = self._other.distribution
        if shown is None or handle != shown.handle:
            super()._preview(handle, start, rows)
        elif handle >= 0:
            self._paging = self.client.number()
            settings = self._settings
            self.client.preview(self._paging, handle, settings, start, rows, other=True)

    @on(facts.PreviewReady)
    def show_other_preview(self, event: facts.PreviewReady) -> None:
        """Draw the same position anew, unless another one is shown by now. Of two
        questions the newer would take the place of the other: one after the other."""
        shown = self._other.distribution
        if shown is None:
            return
        if event.revision == self._previewed and self._drawing_anew:
            self._drawing_anew = False
            self._preview(shown.handle, shown.start, len(shown.candidates))
        same = shown.handle == event.distribution.handle
        if event.revision == self._paging and same:
            self._other.show(event.distribution, chosen=self._other.chosen)


def shares_of(compared: list[ComparedSpan], count: int) -> list[float | None]:
    """The difference at each of `count` tokens, in bits: that of its part, told once,
    at the first token of the part."""
    shares: list[float | None] = [None] * count
    for piece in compared:
        if piece.tokens:
            shares[piece.tokens[0][0].index] = piece.bits
    return shares
