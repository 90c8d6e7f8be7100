"""A text that is read and scored: its tokens as they come, and the roads from it.

Owns the text, its tokens and which of its roads is shown. The text is read aside, the
tokens are scored by the engine; both answer by messages. What is done with the tokens
is the subclasses'. Knows no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from textual import on
from textual.message import Message

from lmtui.engine.types import SamplingSettings, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.inspect.roads import ROOT, Roads, Token
from lmtui.inspect.written import Written
from lmtui.text import visible_line
from lmtui.tui import messages as facts
from lmtui.tui.aside import aside
from lmtui.tui.batches import Post
from lmtui.tui.inspecting_runner import InspectingRunner
from lmtui.tui.questions import DocumentAlone
from lmtui.tui.screens.sampling import SamplingScreen
from lmtui.tui.subject import Subject
from lmtui.tui.widgets.token_view import TokenView

_LONGEST = 100_000  # characters: every token keeps its alternatives in memory
_LEAST = 2  # tokens of the least window
_SHARE = 10  # a drawing of all tokens takes at most this part of the time


@dataclass
class Reading:
    """A text as one model reads it."""

    before: tuple[int, ...] = ()
    """Ids before its tokens."""
    spans: tuple[tuple[int, int], ...] = ()
    windows: Windows | None = None
    roads: Roads = field(default_factory=Roads)
    road: int = ROOT
    """The one that is shown."""


class ScoredScreen(SamplingScreen):
    """Has a `TokenView`."""

    runner: InspectingRunner

    class Read(Message):
        """The text was read."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    class Refused(Message):
        """The text can't be shown."""

        def __init__(self, error: LmtuiError) -> None:
            self.error = error
            super().__init__()

    def __init__(
        self,
        make_runner: Callable[[Post], InspectingRunner],
        subject: Subject,
        *,
        sampling: SamplingSettings,
    ) -> None:
        super().__init__(make_runner, sampling=sampling)
        self._subject = subject
        self._text: str | None = None
        self._refusal: LmtuiError | None = None
        self._job = 0  # of the scoring under way, 0 for none
        self._tokens: list[ScoredToken] = []
        self._total = 0  # how many there will be
        self._reading = Reading()
        self._readings: dict[str, Reading] = {}  # of each model that was here
        self._due = 0.0  # when the tokens may be drawn again

    def on_mount(self) -> None:
        """Begin to read."""
        self.to_text()
        if self._subject.read is not None:
            bug = LmtuiError(
                "the text can't be shown", self._subject.name, "See the log."
            )
            aside(self._read, self.post_message, otherwise=self.Refused(bug))

    def on_unmount(self) -> None:
        """Nobody waits for the rest."""
        self.stop_work()

    def show_place(self, index: int) -> None:
        """Show what was expected at a place of the way that is shown."""
        raise NotImplementedError

    def tell_totals(self) -> None:
        """Say what the tokens add up to."""
        raise NotImplementedError

    @property
    def view(self) -> TokenView:
        """The tokens as they are drawn."""
        return self.query_one(TokenView)

    @property
    def path(self) -> tuple[Token, ...]:
        """The tokens of the way that is shown."""
        if self._job:
            return tuple(self._tokens)
        return self._reading.roads.path(self._reading.road)

    @property
    def written(self) -> Written:
        """The way that is shown, as text."""
        reading, path = self._reading, self.path
        shared = len(path) if self._job else reading.roads.leaves(reading.road)
        return Written(path, self._text or "", reading.spans, shared)

    @property
    def can_ask(self) -> bool:
        """Whether the model that is loaded can be asked about these tokens."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why it can't be, in a sentence; nothing where it can."""
        known = self._subject.known
        if self._info is None:
            return "The model is not there yet."
        if self._job or (known is None and self._reading.windows is None):
            return "The model has to read the text first."
        if known is not None and known.model != self._info.label:
            return (
                "The model that wrote this is not loaded: ids mean nothing to another."
            )
        return "" if self._reading.windows else "The context has no room for more."

    # The text.

    def _read(self) -> Message:
        assert self._subject.read is not None
        try:
            text = self._subject.read()
        except LmtuiError as error:
            return self.Refused(error)
        if len(text) > _LONGEST:
            count = f"{len(text):,} characters, at most {_LONGEST:,} are shown"
            hint = "`lmtui inspect --plain FILE` reads a text of any length."
            return self.Refused(LmtuiError("the text is too long", count, hint))
        return self.Read(text)

    @on(Read)
    def keep_text(self, event: Read) -> None:
        """There is a text now."""
        self._text = event.text
        self._score()

    @on(Refused)
    def show_refused(self, event: Refused) -> None:
        """There is none."""
        self._refusal = event.error
        self._explain(event.error)

    def _explain(self, error: LmtuiError) -> None:
        self._status.state = visible_line(error.title)
        self._panel.clear(f"{error}. {error.hint}")

    # The model.

    def model_ready(self) -> None:
        """Score the text, or show what this model thought of it before."""
        assert self._info is not None
        label = self._info.label
        if (known := self._subject.known) is not None:
            self._take_known(mine=known.model == label)
        elif label in self._readings:
            self._reading = self._readings[label]
            self._end("ready")
        else:
            self._score()

    def model_missing(self) -> None:
        """What was scored stays; what was known before can be read."""
        if self._subject.known is not None:
            self._take_known(mine=False)

    def stop_work(self) -> bool:
        """Stop scoring."""
        if self._job:
            self.runner.stop(self._job)
        return bool(self._job)

    def to_text(self) -> None:
        """Focus the tokens."""
        self.view.focus()

    def _take_known(self, *, mine: bool) -> None:
        known = self._subject.known
        assert known is not None
        if not len(self._reading.roads.path(ROOT)):
            self._reading = Reading(known.before, roads=Roads(known.tokens))
        self._reading.windows = None
        context = self._info.context if self._info and mine else 0
        room = context - len(known.before)
        if room >= _LEAST:
            self._reading.windows = Windows.choose(None, None, room=room)
        self._end("ready" if mine else f"these tokens are of {known.model}")

    # The tokens.

    def _score(self) -> None:
        subject = self._subject
        if self._refusal is not None:
            self._explain(self._refusal)
            return
        if self._text is None:
            self._status.state = f"reading {self._shown_name}"
            return
        if self._info is None:
            return
        self._job = self.runner.number()
        self._status.state = "waiting for the model"
        rules = DocumentAlone(
            self._text,
            after=subject.after,
            bos=subject.bos,
            window=subject.window,
            stride=subject.stride,
        )
        self.runner.score(self._job, rules)

    @on(facts.ScoringStarted)
    def begin_tokens(self, event: facts.ScoringStarted) -> None:
        """So many tokens will come."""
        if event.job != self._job:
            return
        encoding = event.encoding
        self._tokens, self._due = [], 0.0
        self._reading = Reading(encoding.prefix, encoding.spans, event.windows)
        self._total = len(encoding.ids)
        self._tell()

    @on(facts.ScoresArrived)
    def add_tokens(self, event: facts.ScoresArrived) -> None:
        """Some have come."""
        if event.job != self._job:
            return
        self._tokens += event.tokens
        self._tell()
        self.draw_sometimes(self.view.index)

    def draw_sometimes(self, index: int) -> None:
        """Draw what came, unless that was done just now."""
        begin = time.monotonic()
        if begin >= self._due:
            self.draw_tokens(index)
            end = time.monotonic()
            self._due = end + _SHARE * (end - begin)

    @on(facts.TokensScored)
    def end_tokens(self, event: facts.TokensScored) -> None:
        """All have come."""
        if event.job != self._job or self._info is None:
            return
        self._keep_tokens()
        self._readings[self._info.label] = self._reading
        self._end("ready" if event.tokens else "the text is empty")
        self._select_first()
        self.text_scored()

    def text_scored(self) -> None:
        """All tokens of the text are known."""

    @on(facts.JobDropped)
    def end_dropped(self, event: facts.JobDropped) -> None:
        """It was stopped, or another model came."""
        if event.job == self._job:
            done, total = len(self._tokens), self._total
            self._keep_tokens()
            self._end(f"stopped at {done:,} of {total:,} tokens")

    @on(facts.ScoreFailed)
    def show_failed(self, event: facts.ScoreFailed) -> None:
        """What came before stays."""
        if event.job == self._job:
            self._keep_tokens()
            self._end(visible_line(event.error.title))
            self._show_error(event.error)

    def _keep_tokens(self) -> None:
        self._job = 0
        self._reading.roads = Roads(self._tokens)
        self._reading.road = ROOT

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
        self.draw_tokens(self.view.index)

    def _tell(self) -> None:
        done, total = len(self._tokens), self._total
        self._status.state = f"scoring {done:,}/{total:,} tokens · {self._shown_name}"

    @property
    def _shown_name(self) -> str:
        return visible_line(self._subject.name)

    def draw_tokens(self, index: int) -> None:
        """Draw the way that is shown, with the cursor on one of its tokens."""
        path, reading = self.path, self._reading
        self.view.show(
            path,
            index=index,
            open_end=self.can_ask and bool(path or reading.before),
            own=None if self._job else reading.roads.leaves(reading.road),
        )
        self.tell_totals()
        self.show_place(self.view.index)
