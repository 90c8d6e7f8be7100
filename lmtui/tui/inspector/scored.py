"""The inspected text and its scores.

The tokens are shown at once; the engine scores them part by part, the visible part
first. What is done with the tokens is the subclasses'. Knows no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from lmtui.analysis.branches import ROOT, BranchText, BranchTree, Token
from lmtui.analysis.scored_document import ScoredDocument, WindowPart
from lmtui.engine.passages import DocumentAlone, PartOf
from lmtui.engine.types import SamplingSettings
from lmtui.engine.windows import Windows
from lmtui.notation import lasting
from lmtui.text import visible_line
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.inspector.given_text import GivenTextScreen
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.model_state import shown_label
from lmtui.tui.widgets.cells import progress_bar

_LEAST = 2  # tokens of the least window
_TELLING = 5.0  # seconds after which a speed is known
_SHARE = 10  # a drawing of all tokens takes at most this part of the time


class ScoredScreen(GivenTextScreen):
    """Has a `TokenView`."""

    client: EngineClient
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "read_on", "Read on", id="inspect.read-on", show=False,
                tooltip="Continue a stopped reading, from the visible part on."),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        subject: InspectSource,
        *,
        sampling: SamplingSettings,
    ) -> None:
        super().__init__(make_client, subject, sampling=sampling)
        self._job = 0  # of the scoring under way, 0 for none
        self._stopped = 0  # the job that is to end, also between two parts
        self._part = WindowPart(0, 0)  # what is scored now
        self._came = 0  # how many tokens of it were
        self._began = (0.0, 0)  # when it was begun, after how many tokens
        self._reading = ScoredDocument()
        self._readings: dict[str, ScoredDocument] = {}  # of each model that was here
        self._due = 0.0  # when the tokens may be drawn again

    def on_unmount(self) -> None:
        self.stop_work()

    def show_place(self, index: int) -> None:
        """Show the distribution at a position of the shown branch."""
        raise NotImplementedError

    def tell_totals(self) -> None:
        """Show the totals of the tokens."""
        raise NotImplementedError

    @property
    def is_reading(self) -> bool:
        """Whether the text is being scored."""
        return bool(self._job)

    @property
    def path(self) -> tuple[Token, ...]:
        """The tokens of the shown branch."""
        return self._reading.branches.path(self._reading.branch)

    @property
    def written(self) -> BranchText:
        """The text of the shown branch."""
        reading = self._reading
        shared = reading.branches.leaves(reading.branch)
        return BranchText(self.path, self._text or "", reading.spans, shared)

    @property
    def can_ask(self) -> bool:
        """Whether the model that is loaded can be asked about these tokens."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Reason why the model can't be asked, in a sentence; empty where it can."""
        known = self._subject.known
        if self._info is None:
            return "No model is loaded yet."
        if known is None and self._reading.windows is None:
            return "The model has to read the text first."
        if known is not None and known.model != self._info.label:
            return (
                "The model that wrote this is not loaded: ids mean nothing to another."
            )
        return "" if self._reading.windows else "The context has no room for more."

    # The model.

    def model_ready(self) -> None:
        """Score the text, or show what this model thought of it before."""
        assert self._info is not None
        label = self._info.label
        if (known := self._subject.known) is not None:
            self._take_known(mine=known.model == label)
        elif label in self._readings:
            self._reading = self._readings[label]
            self.draw_tokens(self.view.index)
            self._read_on()
        else:
            self._score()

    def model_missing(self) -> None:
        """Keep the scores; show those that came with the text, if any."""
        if self._subject.known is not None:
            self._take_known(mine=False)

    def stop_work(self) -> bool:
        """Stop scoring."""
        if self._job:
            self._stopped = self._job
            self.client.stop(self._job)
        return bool(self._job)

    def _take_known(self, *, mine: bool) -> None:
        known = self._subject.known
        assert known is not None
        if not len(self._reading.branches.path(ROOT)):
            self._reading = ScoredDocument(
                known.before, branches=BranchTree(known.tokens)
            )
        self._reading.windows = None
        context = self._info.context if self._info and mine else 0
        room = context - len(known.before)
        if room >= _LEAST:
            self._reading.windows = Windows.choose(None, None, room=room)
        self.draw_tokens(self.view.index)
        self._end(
            "ready" if mine else f"these tokens are of {shown_label(known.model)}"
        )

    # The tokens.

    def text_known(self) -> None:
        self._score()

    def _score(self) -> None:
        subject = self._subject
        if self._text is None or self._info is None:
            self.tell_text()
            return
        self._reading = (
            ScoredDocument()
        )  # what is drawn stays until there is something new
        self._job = self.client.number()
        self._began = (time.monotonic(), 0)
        self._status.state = f"reading {self._shown_name}"
        document = DocumentAlone(
            self._text,
            after=subject.after,
            bos=subject.bos,
            window=subject.window,
            stride=subject.stride,
        )
        self.client.tokenize(self._job, document)

    @on(facts.DocumentTokenized)
    def show_cut(self, event: facts.DocumentTokenized) -> None:
        if event.job != self._job or self._info is None:
            return
        self._reading = ScoredDocument.of(event.encoding, event.windows, event.tokens)
        self._readings[self._info.label] = self._reading
        self.draw_tokens(self.view.index)
        self._select_first()
        self._read_on()

    def action_read_on(self) -> None:
        """Go on with what was stopped, from what is seen."""
        if self._job or self._reading.is_read:
            self.notify("The model has read all of it, or reads it now.")
        elif self.can_ask and not self._subject.known:
            self._read_on()

    def _read_on(self) -> None:
        """Score the next part, or end where none is left."""
        reading = self._reading
        if reading.is_read or reading.windows is None:
            self._job = 0
            self._end("ready" if self.path else "the text is empty")
            self.text_scored()
            return
        self._part, self._came = reading.next_part(self.view.first_seen), 0
        if not self._job:
            self._job = self.client.number()
            self._began = (time.monotonic(), reading.scored)
        self._tell()
        self.client.score(self._job, part_of(reading, self._part))

    @on(facts.ScoresArrived)
    def add_scores(self, event: facts.ScoresArrived) -> None:
        if event.job != self._job:
            return
        self._reading.take(event.tokens)
        self._came = event.tokens[-1].index + 1 - self._part.first
        self._tell()
        self.draw_sometimes(self._draw_scores)

    def draw_sometimes(self, draw: Callable[[], None]) -> None:
        """Draw what came, unless that was done just now."""
        begin = time.monotonic()
        if begin >= self._due:
            draw()
            end = time.monotonic()
            self._due = end + _SHARE * (end - begin)

    @on(facts.TokensScored)
    def end_part(self, event: facts.TokensScored) -> None:
        if event.job == self._job:
            self._reading.finish(event.tokens)
            self._draw_scores()
            if self._stopped == self._job and not self._reading.is_read:
                self._end_stopped()
            else:
                self._read_on()

    def text_scored(self) -> None:
        """Run after all tokens of the text are scored; does nothing here."""

    @on(facts.JobDropped)
    def end_dropped(self, event: facts.JobDropped) -> None:
        if event.job == self._job:
            self._end_stopped()

    def _end_stopped(self) -> None:
        self._job = 0
        self._end(f"stopped at {self._progress} · r reads on")

    @on(facts.ScoreFailed)
    def show_failed(self, event: facts.ScoreFailed) -> None:
        if event.job == self._job:
            self._job = 0
            self._end(visible_line(event.error.title))
            self._show_error(event.error)

    def _select_first(self) -> None:
        """Select what was selected where the text comes from."""
        if self._subject.selected is None:
            return
        start, stop = self._subject.selected
        inside = [
            place
            for place, (begin, end) in enumerate(self._reading.spans)
            if end > start and begin < max(stop, start + 1)
        ]
        if inside and stop > start:
            self.view.select_all(inside[0], inside[-1] + 1)
        elif inside:
            self.view.select(inside[0])

    def _end(self, state: str) -> None:
        self._status.state = visible_line(f"{state} · {self._shown_name}")
        if len(self.view.tokens) == len(self.path):
            self._draw_scores()  # what is selected stays
            self.show_place(self.view.index)
        else:
            self.draw_tokens(self.view.index)

    def _tell(self) -> None:
        done, total = self._reading.scored + self._came, len(self._reading.ids)
        long = total > self._part.end - self._part.first
        share, words = done / total, self._progress
        if long:
            words = f"{progress_bar(share)} {share:.0%} · {words}{self._left(done)}"
        self._status.state = f"scoring {words} · {self._shown_name}"

    def _left(self, done: int) -> str:
        """How long it will take, once that can be told."""
        since, before = self._began
        taken, made = time.monotonic() - since, done - before
        if taken < _TELLING or not made:
            return ""
        return f" · {lasting(taken / made * (len(self._reading.ids) - done))} left"

    @property
    def _progress(self) -> str:
        done = self._reading.scored + self._came
        return f"{done:,}/{len(self._reading.ids):,} tokens"

    def draw_tokens(self, index: int) -> None:
        """Draw the tokens of the shown branch, with the cursor on one of them."""
        path, reading = self.path, self._reading
        self.view.show(
            path,
            index=index,
            open_end=self.can_ask and bool(path or reading.before),
            own=None if self._job else reading.branches.leaves(reading.branch),
        )
        self.tell_totals()
        self.show_place(self.view.index)

    def _draw_scores(self) -> None:
        """The numbers of some tokens are known now."""
        index, before = self.view.index, self.view.tokens
        path = self.path
        self.view.rescore(path)
        self.tell_totals()
        if path[index : index + 1] != before[index : index + 1]:
            self.show_place(index)


def part_of(reading: ScoredDocument, part: WindowPart) -> PartOf:
    """The question for the numbers of a part."""
    assert reading.windows is not None, "it has parts"
    return PartOf(reading.ids, reading.before, reading.windows, part.first, part.end)
