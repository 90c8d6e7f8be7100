"""The scores of the edited text: heat map, totals, and surprising words.

The text is scored while the user does not write, the visible part first.
"""

from __future__ import annotations

from asyncio import TimerHandle
from heapq import nlargest

from lmtui.editing.positions import paragraph_at
from lmtui.editing.scored_text import ScoredText
from lmtui.editing.surprises import SurprisingWord, surprising_words
from lmtui.editing.text_file import ENCODING_NAMES
from lmtui.engine.document.types import (
    CursorPrediction,
    ScoredSpan,
)
from lmtui.engine.scoring.totals import Sums
from lmtui.notation import bits, counted, in_bits, rank
from lmtui.tui.controller import Controller
from lmtui.tui.editor.file import FileController
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.pickers import SurprisesScreen
from lmtui.tui.editor.status import FileLine, FileStatus
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.one_shot import call_after
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.text_totals import BRIEF, TextTotals
from lmtui.worker.partial_answers import emit_each
from lmtui.worker.requests import Slot

IDLE = 0.3
"""Seconds without a key before the rest of the text is scored."""
TOTALS_EVERY = 0.2
"""Seconds between two looks at whether the totals have changed."""
_PART = 3000  # code points that are scored at a time
WHOLE = 200_000
"""Code points up to which all of a text is scored, and not only what is seen."""
_CONTINUES = "F3 scores on"
_LISTED = 200  # tokens whose words are looked at for the most surprising ones
_HEAT = "heat: underlined from 3 bits of surprisal, tinted from 6"


class ScoreController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        editor: GhostEditor,
        file: FileController,
        writing: Writing,
    ) -> None:
        self._client, self._screen, self._activity = client, screen, screen.activity
        self._editor, self._file = editor, file
        self.totals = TextTotals(id="totals", rows=BRIEF)
        self.file_line = FileLine(id="place")
        self._context_files = len(writing.context)
        self.is_shown = False
        """Whether the totals on the screen are those of the text as it is."""
        self._open_list: SurprisesScreen | None = None  # while it is open
        self._idle: TimerHandle | None = None
        self._halt_reason = ""  # why scoring has ended early, until it goes on
        self._halt_revision = 0  # revision of the text at which that changed

    @property
    def status_text(self) -> str:
        if self._halt_reason:
            return f"{self._halt_reason} · {_CONTINUES}"
        is_scoring = self._scores and self._next_part() is not None
        return "scoring the text" if is_scoring else ""

    @property
    def _text(self) -> ScoredText:
        return self._editor.scored

    @property
    def _scores(self) -> bool:
        return self.has_model and not self.lacks("scores")

    def start(self) -> None:
        self._screen.set_interval(TOTALS_EVERY, self._show_totals)

    def follow_model(self) -> None:
        self._client.cancel()
        self._halt("")
        if self._scores or self.lacks("scores"):
            self._text.forget()
            self._editor.show_scores()
        if self._scores:
            self.score_when_idle()
        else:
            self.totals.outdate()
            self._show_totals()

    def stop(self) -> bool:
        """Stop scoring, until the text changes or its scores are asked for."""
        if self._halt_reason or not self._scores or self._next_part() is None:
            return False
        self._client.cancel()
        self._halt("stopped")
        self._activity.clear_notice()
        return True

    def _halt(self, why: str) -> None:
        self._halt_reason, self._halt_revision = why, self._editor.revision
        self.is_shown = False

    def _can_score(self) -> bool:
        if why_not := self.lacks("scores"):
            self._screen.notify(why_not)
        return not why_not

    def _resume_scoring(self) -> None:
        self._halt("")
        self._score_on()

    def outdate_totals(self) -> None:
        """Draw the totals anew, the line of the file at once: something that they show
        has changed."""
        self.is_shown = False
        self._show_file()

    def follow_edit(self) -> None:
        self.outdate_totals()
        self.totals.outdate()
        self._client.cancel()
        if self._halt_revision != self._editor.revision:
            self._halt("")
        self.score_when_idle()

    def follow_prediction(self, prediction: CursorPrediction | None) -> None:
        self.totals.renew()
        if prediction is not None and prediction.read is not None:
            self._add_scores(prediction.read)

    # Scoring.

    def score_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = call_after(self._screen, IDLE, self._score_on)

    def _score_on(self) -> None:
        """Score what is visible, then the rest of a text that is not too long."""
        is_halted = not self._scores or self._halt_reason
        if is_halted or self._client.is_pending(Slot.SPAN):
            return
        text, part = self._editor.text, self._next_part()
        if part is None:
            self._show_totals()  # at once, as the status line says that all is scored
        else:

            def end(_: None) -> None:
                self._text.settle(*part)
                self.is_shown = False
                self._score_on()

            self._client.ask(
                Slot.SPAN,
                emit_each(lambda engine: engine.document.score_span(text, *part)),
                self._editor.while_same(end),
                lambda error: self._halt(error.title),
                batch=self._editor.while_same(lambda spans: self._add_scores(*spans)),
            )
        self._activity.update()

    def _next_part(self) -> tuple[int, int] | None:
        first, last = self._editor.visible_lines
        whole = self._text.length <= WHOLE
        return self._text.next_span(first, last, length=_PART, whole=whole)

    def _add_scores(self, span: ScoredSpan) -> None:
        if not span.spans:
            return
        self._text.put(span)
        self.is_shown = False
        self._editor.show_scores()

    # The heat map.

    def switch_heat(self) -> None:
        if not self._can_score():
            return
        self._editor.heat = not self._editor.heat
        self._activity.notice(_HEAT if self._editor.heat else "heat: off")
        self._resume_scoring()

    # The totals.

    def _show_totals(self) -> None:
        if self.is_shown:
            return
        self.is_shown = True
        editor, text = self._editor, self._editor.text
        cursor = editor.cursor_index
        low, high = sorted(editor.selection_indexes)
        parts = [self._sums("document", 0, len(text))]
        start, end = paragraph_at(text, cursor)
        if start < end:
            parts.append(self._sums("paragraph", start, end))
        if low != high:
            parts.append(self._sums("selection", low, high))
        self.totals.show(*parts, note=self._why_partial())
        if self._open_list is not None:
            self._open_list.show(self.surprising_words(), self._part())

    def _why_partial(self) -> str:
        """Return why some totals will stay those of a part; "" where they will not."""
        if self.lacks("scores"):
            return "this server scores no text"
        if self._halt_reason:
            return self.status_text
        is_partial = self._text.length > WHOLE and self._text.stale()
        return "≈ of the lines that were shown" if is_partial else ""

    def _show_file(self) -> None:
        editor = self._editor
        low, high = editor.selection_indexes
        line, column = editor.cursor_location
        file, change = self._file.current, self._file.known_change
        self.file_line.status = FileStatus(
            name=file.name,
            modified=self._file.unsaved,
            read_only=file.read_only,
            change=change.words if change else "",
            endings=file.endings,
            encoding=ENCODING_NAMES[file.encoding],
            bom=file.bom,
            line=line + 1,
            column=column + 1,
            words=editor.words,
            characters=editor.characters,
            selected=high - low,
            context_files=self._context_files,
        )

    def _sums(self, name: str, start: int, end: int) -> Sums:
        total, whole = self._text.sum(start, end), self._text.is_covered(start, end)
        return Sums(
            name=name,
            logprob=total.logprob,
            scored=total.scored,
            tokens=total.tokens if whole else None,
            characters=total.characters,
            bytes=total.bytes,
            stale=self._text.stale(start, end),
            whole=whole,
            rough=self.model.is_rough,
        )

    # Surprising words.

    def surprising_words(self) -> list[SurprisingWord]:
        """Return the words of the most surprising tokens, in the order of the text."""
        tokens = [
            SurprisingWord(placed.start, placed.end, bits(token.logprob), token.rank)
            for placed in self._text.tokens()
            if (token := placed.token).logprob is not None
        ]
        worst = nlargest(_LISTED, tokens, key=lambda token: token.bits)
        in_order = sorted(worst, key=lambda token: token.start)
        return surprising_words(self._editor.text, in_order)

    def _go_to(self, word: SurprisingWord) -> None:
        self._editor.go_to(word.start)
        rank_text = "" if word.rank is None else f", token rank {rank(word.rank)}"
        surprisal_text = f"surprisal {in_bits(word.bits)} bits{rank_text}"
        name = self._editor.text[word.start : word.end]
        self._activity.notice(f"{name}: {surprisal_text}")

    def list_surprises(self) -> None:
        if not self._can_score():
            return
        self._resume_scoring()
        self._open_list = SurprisesScreen(
            self._editor.text, self.surprising_words(), self._part()
        )

        def answer(word: SurprisingWord | None) -> None:
            self._open_list = None
            if word is not None:
                self._go_to(word)

        self._screen.app.push_screen(self._open_list, answer)

    def _part(self) -> str:
        """Return of which part of the text the scores are; "" for all of it."""
        if not self._text.stale():
            return ""
        document = self._sums("document", 0, self._text.length)
        if not document.scored:
            return ""  # the list is empty, and says so
        if document.whole:
            return ", some of it as it was before an edit"
        return f", of {counted(document.scored, 'token')} so far"
