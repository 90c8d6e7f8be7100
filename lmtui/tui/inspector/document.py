"""The inspected text and its scores.

It is read on another thread, or refused. Its tokens are shown at once; the engine
scores them part by part, the visible part first.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable

from lmtui.analysis.attribution import Attribution
from lmtui.analysis.branches import ROOT, BranchText, BranchTree, Token
from lmtui.analysis.scored_document import ScoredDocument, WindowPart
from lmtui.chat.attachments import files_in
from lmtui.engine.protocol import Engine
from lmtui.engine.scoring.passages import (
    DocumentSpan,
    DocumentTokens,
    WholeDocument,
    tokenize_document,
)
from lmtui.engine.text.detokenizer import spelled
from lmtui.engine.types import Encoding, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.notation import counted, lasting
from lmtui.tui.background import run_in_thread
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.model_state import shown_label
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.cells import progress_bar
from lmtui.tui.widgets.token_lines import EMPTY
from lmtui.tui.widgets.token_view import TokenView
from lmtui.worker.partial_answers import score_parts
from lmtui.worker.requests import Slot

AWAITED = "The text appears here once it is tokenized."
_LONGEST = 2_000_000
"""Characters: each takes some 250 bytes of memory, and 1,000 are read in a second."""
_SHORTEST_WINDOW = 2  # tokens
_SPEED_KNOWN = 5.0  # seconds after which a speed is known
SHARE = 10  # a drawing of all tokens takes at most this part of the time


class DocumentController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        source: InspectSource,
        *,
        drawn: Callable[[int], object],
        changed: Callable[[], object],
        scored: Callable[[], object],
    ) -> None:
        """`drawn` is called when what is known at the cursor has changed, with the
        cursor; `changed` when the totals have; `scored` when all of the text is
        scored."""
        self._client, self._screen, self._activity = client, screen, screen.activity
        self._on_draw, self._on_change, self._on_scored = drawn, changed, scored
        self.source = source
        self.view = TokenView(id="tokens")
        self.text: str | None = None
        """The text, once it is read; None also where there are only tokens."""
        self.scored = ScoredDocument()
        """The tokens, their scores and branches, as the model in use sees them."""
        self.is_scoring = False
        """Whether the model tokenizes or scores the text."""
        self._by_model: dict[str, ScoredDocument] = {}
        self._refusal: LmtuiError | None = None
        self._stopping = False  # the scoring is to end, also between two parts
        self._part = WindowPart(0, 0)  # what is scored now
        self._part_scored = 0  # how many tokens of it were
        self._started = (0.0, 0)  # when it was begun, after how many tokens
        self._next_draw = 0.0  # when the tokens may be drawn again

    # What is shown.

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def path(self) -> tuple[Token, ...]:
        return self.scored.branches.path(self.scored.branch)

    @property
    def written(self) -> BranchText:
        scored = self.scored
        shared = scored.branches.leaves(scored.branch)
        return BranchText(self.path, self.text or "", scored.spans, shared)

    @property
    def of_all_models(self) -> list[ScoredDocument]:
        """The text as this model and each other that was here scored it."""
        documents = [*self._by_model.values()]
        if not any(document is self.scored for document in documents):
            documents.append(self.scored)
        return documents

    @property
    def why_not(self) -> str:
        """Reason why the model can't be asked, in a sentence; empty where it can."""
        known = self.source.known
        if self.model.info is None:
            return "No model is loaded yet."
        if known is None and self.scored.windows is None:
            return "The model has to read the text first."
        if known is not None and known.model != self.model.info.label:
            return (
                "The model that wrote this is not loaded; its token ids mean nothing "
                "to another model."
            )
        return "" if self.scored.windows else "The context has no room for more."

    def ids_before(
        self, index: int, scored: ScoredDocument | None = None
    ) -> tuple[int, ...]:
        """Return the ids that a model sees before a position: this one, or another
        whose ids mean the same and that has `scored` the text."""
        scored = scored or self.scored
        start = scored.windows.start_of(index) if scored.windows else 0
        return (*scored.before, *(t.id for t in self.path[start:index]))

    @property
    def status_text(self) -> str:
        if self.is_scoring and self.scored.ids:
            done, total = self.scored.scored + self._part_scored, len(self.scored.ids)
            progress = self._progress
            if total > self._part.end - self._part.first:
                share = done / total
                bar = f"{progress_bar(share)} {share:.0%}"
                progress = f"{bar} · {progress}{self._time_left(done)}"
            return f"scoring {progress} · {self.name}"
        is_waiting = self.source.read is not None and self.text is None
        if self.is_scoring or (is_waiting and self._refusal is None):
            return f"reading {self.name}"
        return ""

    def _time_left(self, done: int) -> str:
        start, scored_before = self._started
        seconds, scored = time.monotonic() - start, done - scored_before
        if seconds < _SPEED_KNOWN or scored < 2:  # the first token takes no time
            return ""
        return f" · {lasting(seconds / scored * (len(self.scored.ids) - done))} left"

    @property
    def _progress(self) -> str:
        done = self.scored.scored + self._part_scored
        return f"{done:,}/{len(self.scored.ids):,} tokens"

    # The text.

    def start(self) -> None:
        self._activity.ready = f"ready · {self.name}"
        if self.source.read is None:
            return
        self.view.explain(AWAITED)
        run_in_thread(
            self._read,
            self._screen.call_later,
            self._show_text,
            failed=self._refuse,
            bug="the text can't be shown",
            about=self.source.name,
        )

    def _read(self) -> str:
        assert self.source.read is not None
        text = self.source.read()
        if len(text) > _LONGEST:
            raise LmtuiError(
                "the text is too long",
                f"{len(text):,} characters, at most {_LONGEST:,} are shown",
                "`lmtui inspect --plain FILE` reads a text of any length.",
            )
        return text

    def _show_text(self, text: str) -> None:
        self.text = text
        self.view.show_text(text)
        self._score()

    def _refuse(self, error: LmtuiError) -> None:
        self._refusal = error
        self.view.explain(EMPTY)
        self.explain(error)

    def explain(self, error: LmtuiError) -> None:
        self._activity.notice(error.title)
        self._screen.panel.clear(f"{error}. {error.hint}")

    # The model.

    def follow_model(self) -> None:
        self._client.cancel()
        self.is_scoring = False
        if self.model.info is None:
            if self.model.error is not None and self.source.known is not None:
                self._show_known(is_own=False)
            return
        if (known := self.source.known) is not None:
            self._show_known(is_own=known.model == self.model.info.label)
        elif self.model.info.label in self._by_model:
            self.scored = self._by_model[self.model.info.label]
            self.draw(self.view.index)
            self._score_on()
        else:
            self._score()

    def _show_known(self, *, is_own: bool) -> None:
        known = self.source.known
        assert known is not None
        if not len(self.scored.branches.path(ROOT)):
            self.scored = ScoredDocument(
                known.before, branches=BranchTree(known.tokens)
            )
        context = self.model.info.context if self.model.info and is_own else 0
        room = context - len(known.before)
        fits = room >= _SHORTEST_WINDOW
        self.scored.windows = Windows.choose(context=room) if fits else None
        self.draw(self.view.index)
        writer = shown_label(known.model)
        self._finish("" if is_own else f"these tokens are of {writer}")

    def stop(self) -> bool:
        if self.is_scoring:
            self._stopping = True
            self._client.stop(Slot.SCORE)
        return self.is_scoring

    # Scoring.

    def _begin(self) -> None:
        self.is_scoring, self._stopping = True, False
        self._started = (time.monotonic(), self.scored.scored)
        self._activity.clear_notice()

    def _score(self) -> None:
        if self.text is None or self.model.info is None:
            if self._refusal is not None:
                self.explain(self._refusal)
            return
        # The tokens stay until there are new ones; their numbers are another model's.
        self.view.rescore([unscored(token) for token in self.view.tokens])
        self.scored = ScoredDocument()
        self._on_change()
        self._begin()
        document = document_of(self.source, self.text)
        self._client.ask(
            Slot.SCORE,
            lambda engine, _: tokenize_document(engine, document),
            self._show_tokenized,
            self._show_failed,
            dropped=self._end_stopped,
        )

    def _show_tokenized(self, answer: DocumentTokens) -> None:
        assert self.model.info is not None
        self.scored = ScoredDocument.of(answer.encoding, answer.windows, answer.tokens)
        self._by_model[self.model.info.label] = self.scored
        if count := answer.encoding.rewritten:
            self._screen.notify(
                f"This model's tokenizer reads {counted(count, 'character')} of the "
                "text as others, or not at all."
            )
        self.draw(self.view.index)
        self._select_first()
        self._score_on()

    def score_on(self) -> None:
        if self.is_scoring:
            self._screen.notify("The model is reading the text.")
        elif self.scored.windows is None and not self.source.known:
            self._score()
        elif self.scored.is_read:
            self._screen.notify("All of the text is scored.")
        elif not self.why_not:
            self._score_on()

    def _score_on(self) -> None:
        scored = self.scored
        if scored.is_read or scored.windows is None:
            self._finish("" if self.path else "the text is empty")
            self._on_scored()
            return
        self._part, self._part_scored = scored.next_part(self.view.first_seen), 0
        if not self.is_scoring:
            self._begin()
        self._activity.clear_notice()
        self._client.ask(
            Slot.SCORE,
            score_parts(part_of(scored, self._part)),
            self._end_part,
            self._show_failed,
            dropped=self._end_stopped,
            batch=self._add_scores,
        )

    def _add_scores(self, tokens: tuple[ScoredToken, ...]) -> None:
        self.scored.take(tokens)
        self._part_scored = tokens[-1].index + 1 - self._part.first
        self._activity.clear_notice()
        self.draw_sometimes(self._draw_scores)

    def _end_part(self, tokens: tuple[ScoredToken, ...]) -> None:
        self.scored.finish(tokens)
        self._draw_scores()
        if self._stopping and not self.scored.is_read:
            self._end_stopped()
        else:
            self._score_on()

    def _end_stopped(self) -> None:
        progress = f" at {self._progress}" if self.scored.ids else ""
        self._finish(f"stopped{progress} · r reads on")

    def _show_failed(self, error: LmtuiError) -> None:
        self._finish(error.title)
        self._screen.show_error(error)

    def _finish(self, reason: str) -> None:
        """End the scoring; say why, unless the text is simply scored."""
        self.is_scoring = False
        if reason:
            self._activity.notice(f"{reason} · {self.name}")
        else:
            self._activity.clear_notice()
        if len(self.view.tokens) == len(self.path):
            self._draw_scores()  # what is selected stays
            self._on_draw(self.view.index)
        else:
            self.draw(self.view.index)

    # What made it likely.

    def attribution(self, first: int, end: int) -> Callable[[Engine], Attribution]:
        """Return a request for what is before the tokens from `first` up to `end`."""
        ids, before = tuple(t.id for t in self.path), self.scored.before
        windows = self.scored.windows
        turns = tuple(
            (turn, files_in(turn.content)) for turn in self.source.after or ()
        )

        def make(engine: Engine) -> Attribution:
            text, spans = spelled([each.bytes for each in engine.describe_tokens(ids)])
            encoding = Encoding(ids, spans, before)
            place = spans[first][0], spans[end - 1][1]
            return Attribution(
                engine, text, encoding, *place, turns=turns, windows=windows
            )

        return make

    def select_at(self, offset: int) -> None:
        """Select the token that has a code point of what all tokens spell."""
        _, spans = spelled([token.bytes for token in self.path])
        self.view.select(bisect_right(spans, offset, key=lambda span: span[0]) - 1)

    # Drawing.

    def go_to(self, branch: int, index: int) -> None:
        self.scored.branch = branch
        self.draw(index)

    def draw(self, index: int) -> None:
        path, scored = self.path, self.scored
        self.view.show(
            path,
            index=index,
            open_end=not self.why_not and bool(path or scored.before),
            own=None if self.is_scoring else scored.branches.leaves(scored.branch),
        )
        self._on_change()
        self._on_draw(self.view.index)

    def draw_sometimes(self, draw: Callable[[], None]) -> None:
        start = time.monotonic()
        if start >= self._next_draw:
            draw()
            end = time.monotonic()
            self._next_draw = end + SHARE * (end - start)

    def _draw_scores(self) -> None:
        index, old_tokens = self.view.index, self.view.tokens
        path = self.path
        self.view.rescore(path)
        self._on_change()
        if path[index : index + 1] != old_tokens[index : index + 1]:
            self._on_draw(index)

    def _select_first(self) -> None:
        if self.source.selected is None:
            return
        start, stop = self.source.selected
        selected = [
            index
            for index, (first, end) in enumerate(self.scored.spans)
            if end > start and first < max(stop, start + 1)
        ]
        if selected and stop > start:
            self.view.select_all(selected[0], selected[-1] + 1)
        elif selected:
            self.view.select(selected[0])


def unscored(token: Token) -> ScoredToken:
    return ScoredToken(0, token.id, token.text, token.bytes, None, None, None)


def document_of(source: InspectSource, text: str) -> WholeDocument:
    return WholeDocument(
        text,
        after=source.after,
        bos=source.bos,
        window=source.window,
        stride=source.stride,
    )


def part_of(document: ScoredDocument, part: WindowPart) -> DocumentSpan:
    assert document.windows is not None, "it has parts"
    return DocumentSpan(
        document.ids, document.before, document.windows, part.first, part.end
    )
