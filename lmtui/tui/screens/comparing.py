"""Two models on one text: what the other one made of it, beside the first.

Owns the other model's tokens, and which part of the text is compared with which: token
with token where both have cut it alike, else the smallest parts that both have. Knows
no torch.
"""

from __future__ import annotations

from collections.abc import Callable

from textual import on

from lmtui.engine.sums import Sums
from lmtui.engine.types import EngineInfo, SamplingSettings
from lmtui.inspect.difference import Comparison, Piece, pieces, unit_of
from lmtui.inspect.reading import MOST, Reading
from lmtui.inspect.written import Written
from lmtui.text import visible_line
from lmtui.tui import messages as facts
from lmtui.tui.batches import Post
from lmtui.tui.inspecting_runner import InspectingRunner
from lmtui.tui.model_state import ModelState
from lmtui.tui.questions import DocumentAlone
from lmtui.tui.screens.exporting import ExportingScreen
from lmtui.tui.screens.places import expected
from lmtui.tui.screens.scored import part_of
from lmtui.tui.subject import Subject
from lmtui.tui.widgets.cells import progress_bar
from lmtui.tui.widgets.probability_panel import ProbabilityPanel

_ONLY_TEXT = "The other model has read the text itself alone, not this branch."
_TO_COME = "The other model reads the text now."
_UNITS = {
    "token": "token by token",
    "span": "other tokens: compared by parts that both have",
}


class ComparingScreen(ExportingScreen):
    """Has a second panel, `#other`, that is shown where there is another model."""

    def __init__(
        self,
        make_runner: Callable[[Post], InspectingRunner],
        subject: Subject,
        *,
        sampling: SamplingSettings,
    ) -> None:
        super().__init__(make_runner, subject, sampling=sampling)
        self._against: EngineInfo | None = None
        self._comparing = 0  # the job that scores with the other model
        self._theirs = Reading()
        self._others = Written(())
        self._piece_at: dict[int, Piece] = {}  # of each token of the text
        self.comparison: Comparison | None = None
        """How the two differ, once it is known."""

    @property
    def _other(self) -> ProbabilityPanel:
        return self.query_one("#other", ProbabilityPanel)

    @property
    def _panel(self) -> ProbabilityPanel:
        return self.query_one("#panel", ProbabilityPanel)

    def on_mount(self) -> None:
        """The other panel is to be read alone."""
        self._other.can_focus = False

    def follow_model(self, state: ModelState) -> None:
        """Forget what was compared with another model."""
        self._against = state.against
        self.set_class(self._against is not None, "-comparing")
        self._comparing, self._theirs, self.comparison = 0, Reading(), None
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
            self.runner.stop(self._comparing)
            return True
        return super().stop_work()

    def text_scored(self) -> None:
        """Now the other model, on the same text."""
        if self._against is None or self._text is None:
            return
        self._comparing = self.runner.number()
        subject = self._subject
        rules = DocumentAlone(
            self._text, bos=subject.bos, window=subject.window, stride=subject.stride
        )
        self.runner.cut(self._comparing, rules, other=True)
        self._status.state = f"{self._against_name} reads the text"

    @property
    def _against_name(self) -> str:
        return visible_line(self._against.label) if self._against else ""

    @on(facts.DocumentCut)
    def begin_other(self, event: facts.DocumentCut) -> None:
        """The other model has cut the text."""
        if event.job == self._comparing:
            self._theirs = Reading.of(event.encoding, event.windows, event.tokens)
            self._compare_on()

    @on(facts.TokensScored)
    def end_other_part(self, event: facts.TokensScored) -> None:
        """It has read a part."""
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
        self.runner.score(
            self._comparing, part_of(theirs, theirs.unread[0]), other=True
        )

    @on(facts.ScoreFailed)
    def show_other_failed(self, event: facts.ScoreFailed) -> None:
        """There is nothing to compare with."""
        if event.job == self._comparing:
            self._comparing = 0
            self._show_error(event.error)

    @on(facts.JobDropped)
    def end_other_dropped(self, event: facts.JobDropped) -> None:
        """It was stopped."""
        if event.job == self._comparing:
            self._comparing = 0
            self._status.state = "stopped; nothing is compared"

    def _compare(self) -> None:
        ours, theirs = self._reading, self._theirs
        tokens, others = ours.text, theirs.text
        unit = unit_of(ours.encoding, theirs.encoding)
        placed = zip(tokens, ours.spans, strict=True)
        compared = list(pieces(placed, zip(others, theirs.spans, strict=True), unit))
        self.comparison = Comparison(unit, keep=MOST)
        for piece in compared:
            self.comparison.add(piece)
            self._piece_at.update((token.index, piece) for token, _ in piece.tokens)
        self._others = Written(others, self._text or "", theirs.spans, len(others))
        self.view.compare(shares_of(compared, len(tokens)))
        self._status.state = f"compared with {self._against_name}, {_UNITS[unit]}"
        self.tell_totals()
        self.show_place(self.view.index)

    def other_sums(self) -> Sums | None:
        """What the text adds up to for the other model."""
        if self.comparison is None:
            return None
        return self._others.sums("other", 0, len(self._others.tokens))

    def show_place(self, index: int) -> None:
        """What either model expected there."""
        super().show_place(index)
        if self._against is None:
            return
        road = self._reading.roads
        on_text = index < min(road.leaves(self._reading.road), len(self._reading.spans))
        piece = self._piece_at.get(index) if on_text else None
        if piece is None or not piece.others:
            known = self.comparison is not None
            self._other.clear(_ONLY_TEXT if known else _TO_COME)
            return
        start = self._reading.spans[index][0]
        token = next(
            (t for t, (_, end) in piece.others if end > start), piece.others[0][0]
        )
        self._other.title = self._against_name
        if token.entropy is None:
            self._other.clear("There it is a first token without context.")
            return
        size = self._against.vocabulary
        shown = expected(token, token.entropy, vocabulary=size)
        self._other.show(shown, chosen=token.id)


def shares_of(compared: list[Piece], count: int) -> list[float | None]:
    """The difference at each of `count` tokens, in bits: that of its part, told once,
    at the first token of the part."""
    shares: list[float | None] = [None] * count
    for piece in compared:
        if piece.tokens:
            shares[piece.tokens[0][0].index] = piece.bits
    return shares
