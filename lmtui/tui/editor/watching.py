"""Prediction at the editor's cursor, and surprisal of the text.

The prediction at the cursor is asked for first; the text is scored while the user does
not write. An answer to an older text is ignored. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer

from lmtui.editing import surprises
from lmtui.editing.positions import paragraph_at
from lmtui.editing.scored_text import ScoredText, TokenAt
from lmtui.editing.surprises import (
    SurprisingToken,
    SurprisingWord,
    before_from,
    next_from,
    places_of,
)
from lmtui.engine.totals import Sums
from lmtui.engine.types import CursorPrediction, ScoredSpan
from lmtui.notation import bits, in_bits
from lmtui.surprisal_scale import Measure
from lmtui.text import visible_line
from lmtui.tui.editor.dialogs import SurprisesScreen
from lmtui.tui.editor.document import HeatSpan
from lmtui.tui.editor.file import FileScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.status import ExpectedLines, FileLine
from lmtui.tui.editor.status import FileStatus as Shown
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.model_state import ModelState
from lmtui.tui.widgets.surprisal_styles import level_of
from lmtui.tui.widgets.text_totals import TextTotals
from lmtui.tui.widgets.token_view import TokenLegend

_IDLE = 0.3  # seconds without a key before the rest of the text is scored
_PART = 3000  # code points that are scored at a time
_WHOLE = 200_000  # code points up to which all of a text is scored, not what is seen
_TELL_EVERY = 0.2  # seconds between two looks at whether the totals have changed

_TITLE = "Next at the cursor"
_EMPTY = "Write, and what the model expects next appears here. F1 shows the keys."

_LISTED = 200  # tokens whose words are looked at for the most surprising ones

_HEATS: tuple[Measure | None, ...] = (None, "surprisal", "rank", "entropy")


class WatchingScreen(FileScreen):
    """An editor, a panel, and the numbers of the text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f3", "heat", "Heat", id="watch.heat", priority=True,
                tooltip="Shade the text by surprisal, rank or entropy, or not at all."),
        Binding("f8", "surprise(1)", "Next surprise", id="watch.next",
                tooltip="To the next word that surprised the model."),
        Binding("shift+f8", "surprise(-1)", "Previous surprise", id="watch.previous",
                show=False, tooltip="To the previous word that surprised the model."),
        Binding("ctrl+l", "surprises", "Surprises", id="watch.list",
                tooltip="The most surprising words of the text, to go to."),
    ]  # fmt: skip

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        writing: Writing,
    ) -> None:
        super().__init__(make_client, writing)
        self._surprise_bits = writing.surprise_bits
        self._scored = ScoredText(writing.file.text)
        self._heat: Measure | None = None
        self._heat_job = 0
        self._idle: Timer | None = None
        self._asked = 0  # the revision of the last question about the cursor
        self._answered = 0  # that of the last answer
        self._model_words = ""
        self._expectation: CursorPrediction | None = None
        self._changed = True  # whether the totals are to be told again

    def on_mount(self) -> None:
        """Tell the numbers a few times a second, where they changed."""
        self.set_interval(_TELL_EVERY, self._tell)
        self.watch(self._panel, "stale", self.tell_doing, init=False)

    def told_of_file(self) -> None:
        """Mark the totals as changed: the file's name or state is another one."""
        self._changed = True

    # The model.

    def follow_model(self, state: ModelState) -> None:
        """Remove what belongs to the model before from the panel and the status
        line."""
        super().follow_model(state)
        self._model_words = self._status.state
        if state.info is None:
            self._expectation, self._asked = None, 0
            self._panel.title = _TITLE
            self.query_one(ExpectedLines).show(None)
            self.query_one(TextTotals).outdate()
        self.unsay()

    @property
    def doing(self) -> str:
        """Current work of the model, in a few words."""
        if self._info is None:
            return self._model_words
        seen = self._panel.distribution is not None and not self._panel.stale
        if self._answered != self._asked and not seen:
            return "reading the text"
        return "scoring the text" if self._heat_job else "ready"

    def model_ready(self) -> None:
        """Forget the scores of the model before, and score anew."""
        self._scored.forget()
        self.editor.set_heat(())
        self._heat_job = 0
        self._look()
        self._wait_for_idle()

    def model_missing(self) -> None:
        """The text can be written all the same."""

    def stop_work(self) -> bool:
        """Stop scoring; whether there was anything to stop."""
        running = bool(self._heat_job)
        self._stop_heat()
        return running

    # The cursor.

    @on(GhostEditor.Edited)
    def follow_edit(self) -> None:
        """Mark the scores behind the change as outdated."""
        stale = self._scored.update(self.editor.text)
        if self._heat is not None:
            self.editor.make_heat_stale(stale)
        self._changed = True
        self._stop_heat()
        self._wait_for_idle()
        self.query_one(TextTotals).outdate()
        self._look()

    @on(GhostEditor.CursorMoved)
    def follow_cursor(self) -> None:
        self._changed = True
        self._look()

    def _look(self) -> None:
        if self._info is None:
            return
        self._asked = self.client.number()
        self._panel.outdate()
        self.query_one(ExpectedLines).outdate()
        self.client.predict_at(self._asked, self.editor.text, self.editor.cursor_index)

    @on(facts.PredictionReady)
    def show_expectation(self, event: facts.PredictionReady) -> None:
        if event.revision != self._asked:
            return
        self._answered = event.revision
        self.query_one(TextTotals).renew()
        self._expectation = expectation = event.prediction
        self._changed = True  # it counts the tokens
        if expectation.read is not None:
            self._put(expectation.read)
        self._panel.title = _title(expectation)
        if expectation.distribution is None:
            self._panel.clear(_EMPTY)
            self.query_one(ExpectedLines).show(None)
        else:
            at_end = self.editor.cursor_index >= self.editor.characters
            self.query_one(ExpectedLines).show(expectation, at_end=at_end)
            following = expectation.following
            self._panel.show(
                expectation.distribution,
                chosen=following.candidate.id if following else None,
            )
        self.tell_doing()

    @on(facts.PredictionFailed)
    def show_no_expectation(self, event: facts.PredictionFailed) -> None:
        if event.revision != self._asked:
            return
        self._answered, self._expectation = event.revision, None
        self._panel.title = _TITLE
        self._panel.clear(str(event.error))
        self.query_one(ExpectedLines).show(None)
        self.query_one(TextTotals).renew()
        self.say(visible_line(event.error.title))

    # Heat.

    def _wait_for_idle(self) -> None:
        if self._idle is not None:
            self._idle.stop()
        self._idle = self.set_timer(_IDLE, self._score_on)

    def _stop_heat(self) -> None:
        if self._heat_job:
            self.client.stop(self._heat_job)
        self._heat_job = 0

    def _score_on(self) -> None:
        """Score what is visible, then the rest of a text that is not too long."""
        if self._info is None or self._heat_job:
            return
        first, last = self.editor.visible_lines
        whole = len(self._scored.text) <= _WHOLE
        part = self._scored.next_span(first, last, length=_PART, whole=whole)
        if part is not None:
            self._heat_job, self._heat_part = self.client.number(), part
            self.client.score_span(self._heat_job, self._scored.text, *part)
        self.tell_doing()

    @on(facts.SpanScored)
    def add_heat(self, event: facts.SpanScored) -> None:
        if event.job == self._heat_job:
            self._put(event.span)

    @on(facts.SpanFinished)
    def go_on_scoring(self, event: facts.SpanFinished) -> None:
        if event.job == self._heat_job:
            self._heat_job = 0
            self._scored.settle(*self._heat_part)
            self._score_on()

    @on(facts.JobDropped)
    def note_dropped(self, event: facts.JobDropped) -> None:
        if event.job == self._heat_job:
            self._heat_job = 0
            self.tell_doing()

    @on(facts.EditorRequestFailed)
    def show_writing_failed(self, event: facts.EditorRequestFailed) -> None:
        if event.job == self._heat_job:
            self._heat_job = 0
            self.say(visible_line(event.error.title))

    def _put(self, stretch: ScoredSpan) -> None:
        if not stretch.spans:
            return
        self._scored.put(stretch)
        self._changed = True
        self._shade(stretch.spans[0][0], stretch.spans[-1][1])

    def _shade(self, start: int, end: int) -> None:
        if self._heat is None:
            return
        spans = [self._span(placed) for placed in self._scored.tokens(start, end)]
        self.editor.set_heat(spans, start=start, end=end)

    def _span(self, placed: TokenAt) -> HeatSpan:
        token = placed.token
        return HeatSpan(
            placed.start,
            placed.end,
            level_of(token, self._heat or "surprisal"),
            bits=0.0 if token.logprob is None else bits(token.logprob),
        )

    def action_heat(self) -> None:
        """The next way of shading."""
        at = _HEATS.index(self._heat)
        self._heat = _HEATS[(at + 1) % len(_HEATS)]
        self.editor.heat = self._heat is not None
        legend = self.query_one(TokenLegend)
        legend.display = self.editor.heat
        if self._heat is None:
            self.say("heat: off")
            return
        self.say(f"heat: {self._heat}")
        legend.show(self._heat)
        self._shade(0, len(self._scored.text))
        for start, end in self._scored.stale_parts():
            self.editor.make_heat_stale(start, end)

    # What it adds up to.

    def _tell(self) -> None:
        if not self._changed:
            return
        self._changed = False
        editor, text = self.editor, self._scored.text
        if text != editor.text:  # the edit is on its way
            self._changed = True
            return
        cursor = editor.cursor_index
        low, high = sorted(editor.selection_indexes)
        document = self._sums("document", 0, len(text))
        parts, (start, end) = [document], paragraph_at(text, cursor)
        if start < end:
            parts.append(self._sums("paragraph", start, end))
        if low != high:
            parts.append(self._sums("selection", low, high))
        self.query_one(TextTotals).show(*parts)
        line, column = editor.cursor_location
        self.query_one(FileLine).show(
            Shown(
                name=self._file.path.name,
                modified=self.unsaved,
                read_only=self._file.read_only,
                changed=self.changed_elsewhere,
                line=line + 1,
                column=column + 1,
                words=editor.words,
                characters=editor.characters,
                selected=high - low,
                tokens=self._expectation.tokens if self._expectation else None,
                logprob=document.known,
                scored=None if document.whole else document.scored,
                stale=document.stale,
            )
        )

    def _sums(self, name: str, start: int, end: int) -> Sums:
        total, whole = self._scored.sum(start, end), self._scored.is_covered(start, end)
        tokens = total.tokens if whole else None
        if name == "document" and self._expectation is not None:
            tokens = max(total.tokens, self._expectation.tokens)
        return Sums(
            name=name,
            logprob=total.logprob,
            scored=total.scored,
            tokens=tokens,
            characters=total.characters,
            bytes=total.bytes,
            stale=self._scored.stale(start, end),
            whole=whole,
        )

    # Surprises.

    def _places(self, threshold: float) -> list[SurprisingWord]:
        tokens = (
            SurprisingToken(p.start, p.end, bits(p.token.logprob), p.token.rank)
            for p in self._scored.tokens()
            if p.token.logprob is not None
        )
        return places_of(
            self._scored.text,
            tokens,
            threshold=threshold,
            ignored=surprises.ignored_words(),
        )

    def action_surprise(self, by: int) -> None:
        """To another surprising word."""
        places = self._places(self._surprise_bits)
        cursor = self.editor.cursor_index
        place = (next_from if by > 0 else before_from)(places, cursor)
        if place is None:
            scored = "" if self._scored.stale() else " in this text"
            self.notify(
                f"No word of {self._surprise_bits:g} bits or more{scored} so far."
            )
            return
        self._go_to(place)

    def _go_to(self, word: SurprisingWord) -> None:
        self.editor.go_to(word.start)
        rank = "" if word.rank is None else f", token rank {word.rank:,}"
        said = f"surprisal {in_bits(word.bits)} bits{rank}"
        self.say(f"{visible_line(word.word)}: {said}")

    def action_surprises(self) -> None:
        """List the most surprising words."""
        known = (p.token.logprob for p in self._scored.tokens())
        worst = nsmallest(
            _LISTED, (logprob for logprob in known if logprob is not None)
        )
        places = self._places(bits(worst[-1])) if worst else []
        self.app.push_screen(
            SurprisesScreen(self._scored.text, places), self._answer_place
        )

    def _answer_place(self, word: SurprisingWord | None) -> None:
        if word is not None:
            self._go_to(word)


def _title(expectation: CursorPrediction) -> str:
    typed = expectation.typed.strip()
    return f"Next after “{visible_line(typed)}”" if typed else _TITLE
