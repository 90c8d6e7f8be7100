"""A screen's client of the engine's worker: one typed method for each verb.

A method never waits; its answers come as messages to that screen, with their revision
or job. Knows no widget; the engine comes from whoever loads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from textual.message import Message

from lmtui.engine.drop_turns import prompt_of
from lmtui.engine.passages import (
    DocumentAlone,
    PartOf,
    Passage,
    TextAfter,
    encode_document,
    score_passage,
)
from lmtui.engine.protocol import EditorEngine
from lmtui.engine.suggest import suggest
from lmtui.engine.suggestion import SuggestionRules
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    Prompt,
    SamplingSettings,
    ScoredToken,
)
from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress
from lmtui.tui.engine import messages
from lmtui.tui.engine.messages import Post
from lmtui.worker.events import (
    Answer,
    Batch,
    CountReported,
    Dropped,
    EngineOpened,
    Event,
    Failed,
    PromptReady,
)
from lmtui.worker.requests import Context, EngineRequest, OpenEngine, Slot
from lmtui.worker.worker import EngineWorker


def load(worker: EngineWorker, open_engine: OpenEngine, post: Post) -> int:
    """Open an engine in place of the one there is; return the number that every message
    about this load carries.

    Ends with `ModelLoaded` or `ModelFailed`, or silently when another load has taken
    its place.
    """

    def reply(event: Event) -> None:
        match event:
            case Batch(id_, values):
                for progress in values:
                    post(_load_report(progress, id_))
            case Answer(id_, EngineOpened() as opened):
                post(
                    messages.ModelLoaded(
                        opened.info, opened.capabilities, opened.against, load=id_
                    )
                )
            case Failed(id_, error):
                post(messages.ModelFailed(error, load=id_))

    return worker.load(open_engine, reply)


def _load_report(progress: Progress, id_: int) -> Message:
    if progress.warning:
        return messages.ModelLoadWarned(progress.what, load=id_)
    return messages.ModelLoadProgressed(
        progress.what, progress.done, progress.total, progress.unit, load=id_
    )


class EngineClient:
    """The verbs of the engine for one screen.

    Of each slot one request waits, the newest of the whole program; `Slot` has their
    order. What is less urgent is broken off and runs again later, unless it was
    stopped. Every job ends with exactly one message: its result, failed or dropped. Of
    looks, counts and previews only the last is sure to be answered.
    """

    def __init__(self, worker: EngineWorker, post: Post) -> None:
        """All messages go to `post`, which must not block."""
        self._worker, self._post = worker, post

    def number(self) -> int:
        """Return a number for a revision or a job that no screen has had before."""
        return self._worker.number()

    def stop(self, job: int) -> None:
        """End a job within one token; a job that has ended stays as it is."""
        self._worker.stop(job)

    def _ask(
        self,
        slot: Slot,
        id_: int,
        run: Callable[[EditorEngine, Context], Any],
        answer: Callable[[Any], Message],
        failed: Callable[[LmtuiError], Message],
        *,
        batch: Callable[[tuple[Any, ...]], Message] | None = None,
        is_job: bool = False,
        bound: bool = False,
        other: bool = False,
    ) -> None:
        """Queue a request, whose events are posted as the messages that the functions
        make of them; a job also tells when it is dropped."""

        def reply(event: Event) -> None:
            match event:
                case Answer(value=value):
                    self._post(answer(value))
                case Batch(values=values) if batch is not None:
                    self._post(batch(values))
                case Failed(error=error):
                    self._post(failed(error))
                case Dropped() if is_job:
                    self._post(messages.JobDropped(id_))

        self._worker.ask(
            EngineRequest(
                id=id_, slot=slot, run=run, reply=reply, bound=bound, other=other
            )
        )

    # Drafts and positions.

    def score_draft(
        self,
        revision: int,
        turns: Sequence[ChatTurn],
        draft: str,
        settings: SamplingSettings,
        *,
        prefix_len: int | None = None,
        thinking: bool | None = None,
        top_n: int = 20,
    ) -> None:
        """Read a message that is being written: `DraftScored`, `DraftFailed`.

        With `prefix_len`, what comes after so many of its tokens is shown, not after
        all; `thinking` is that of `Engine.prompt`, here and below. Waits while an
        answer is generated.
        """
        before = tuple(turns)

        def run(engine: EditorEngine, context: Context) -> messages.DraftScored:
            scores = engine.score_draft(
                before,
                draft,
                settings,
                prefix_len=prefix_len,
                thinking=thinking,
                top_n=top_n,
                should_stop=context.should_stop,
            )
            return messages.DraftScored(
                revision,
                scores.distribution,
                scores.tokens,
                math.fsum(token.logprob or 0.0 for token in scores.tokens),
                len(scores.context),
            )

        failed = partial(messages.DraftFailed, revision)
        self._ask(Slot.LOOK, revision, run, _as_it_is, failed)

    def next_distribution(
        self,
        revision: int,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        top_n: int = 20,
    ) -> None:
        """Compute the distribution after ids: `DraftScored`, `DraftFailed`."""
        before = tuple(ids)

        def run(engine: EditorEngine, context: Context) -> messages.DraftScored:
            shown = engine.next_distribution(
                before, settings, top_n=top_n, should_stop=context.should_stop
            )
            return messages.DraftScored(revision, shown, (), 0.0, len(before))

        failed = partial(messages.DraftFailed, revision)
        self._ask(Slot.LOOK, revision, run, _as_it_is, failed, bound=True)

    def distribution_at(
        self,
        revision: int,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        other: bool = False,
    ) -> None:
        """Compute the distribution at a position of a text, after the ids before it:
        `PositionReady`, `PositionFailed`. `other` asks the model that is compared
        with."""
        before = tuple(ids)
        self._ask(
            Slot.LOOK,
            revision,
            lambda engine, context: engine.next_distribution(
                before, settings, top_n=top_n, should_stop=context.should_stop
            ),
            partial(messages.PositionReady, revision),
            partial(messages.PositionFailed, revision),
            bound=True,
            other=other,
        )

    def predict_at(
        self, revision: int, text: str, cursor: int, *, top_n: int = 40
    ) -> None:
        """Compute what the model predicts at a cursor: `PredictionReady`,
        `PredictionFailed`."""
        self._ask(
            Slot.LOOK,
            revision,
            lambda engine, context: engine.predict_at(
                text, cursor, top_n=top_n, should_stop=context.should_stop
            ),
            partial(messages.PredictionReady, revision),
            partial(messages.PredictionFailed, revision),
        )

    def preview(
        self,
        revision: int,
        handle: int,
        settings: SamplingSettings,
        start: int = 0,
        count: int = 20,
        *,
        other: bool = False,
    ) -> None:
        """Compute an earlier distribution again: `PreviewReady`, `PreviewFailed`; with
        `other` one of the model that is compared with.

        Answered between two tokens of whatever is being generated.
        """

        def run(engine: EditorEngine, _: Context) -> Any:
            try:
                return engine.preview(handle, settings, start=start, count=count)
            except KeyError as error:
                raise LmtuiError(
                    "this position can't be drawn again",
                    "its numbers are no longer in memory",
                    "Type or generate more to see a new one.",
                ) from error

        answer = partial(messages.PreviewReady, revision)
        failed = partial(messages.PreviewFailed, revision)
        self._ask(Slot.PREVIEW, revision, run, answer, failed, bound=True, other=other)

    def search_vocabulary(
        self,
        revision: int,
        handle: int,
        text: str,
        settings: SamplingSettings,
        *,
        count: int = 50,
    ) -> None:
        """Find the tokens of an earlier distribution whose text matches:
        `TokensMatched`, `MatchFailed`. Answered between two tokens of a running
        generation."""

        def run(engine: EditorEngine, _: Context) -> Any:
            try:
                return engine.search_vocabulary(handle, text, settings, count=count)
            except KeyError as error:
                raise LmtuiError(
                    "tokens can't be searched here any more",
                    "the numbers of this position are no longer in memory",
                    "Move the cursor and come back.",
                ) from error

        answer = partial(messages.TokensMatched, revision)
        failed = partial(messages.MatchFailed, revision)
        self._ask(Slot.PREVIEW, revision, run, answer, failed, bound=True)

    def count_tokens(self, revision: int, texts: Sequence[str]) -> None:
        """Count the tokens of each text, encoded by itself: `TextsCounted`, without
        counts where there is no model. Waits while an answer is generated."""
        each = tuple(texts)
        self._ask(
            Slot.COUNT,
            revision,
            lambda engine, _: tuple(
                len(engine.encode(text, bos="no").ids) for text in each
            ),
            partial(messages.TextsCounted, revision),
            lambda _: messages.TextsCounted(revision, ()),
        )

    # Generation.

    def generate(
        self,
        job: int,
        start: Sequence[ChatTurn] | Prompt,
        settings: SamplingSettings,
        *,
        prefill: str = "",
        top_n: int = 20,
        drop_oldest: bool = False,
        thinking: bool | None = None,
    ) -> None:
        """Answer a conversation (its answer beginning with `prefill`), or continue
        after the ids of a prompt and those of `prefill`, encoded by itself. With
        `drop_oldest` the oldest turns are left out where all of them do not fit.

        `GenerationStarted`, `PromptProgressed`, `StepsArrived`, then
        `GenerationFinished` (also when stopped) or `GenerationFailed`.
        """
        begin = start if isinstance(start, Prompt) else tuple(start)

        def run(engine: EditorEngine, context: Context) -> GenerationResult:
            prompt, left_out = prompt_of(
                engine,
                begin,
                prefill=prefill,
                thinking=thinking,
                answer=settings.max_tokens if drop_oldest else None,
            )
            context.emit(PromptReady(prompt, left_out))
            items = engine.generate(
                prompt,
                settings,
                top_n=top_n,
                should_stop=context.stopped,
                progress=lambda done, total: context.emit(CountReported(done, total)),
            )
            for item in items:
                if isinstance(item, GenerationResult):
                    return item
                context.gather(item)
            raise AssertionError("a generation ends with its result")

        def batch(values: tuple[Any, ...]) -> Message:
            match values:
                case (PromptReady(prompt, left_out),):
                    return messages.GenerationStarted(job, prompt, left_out)
                case (CountReported(done, total),):
                    return messages.PromptProgressed(job, done, total)
            return messages.StepsArrived(job, values)

        self._ask(
            Slot.GENERATE,
            job,
            run,
            partial(messages.GenerationFinished, job),
            partial(messages.GenerationFailed, job),
            batch=batch,
            is_job=True,
            bound=isinstance(begin, Prompt),
        )

    def continue_each(
        self,
        job: int,
        ids: Sequence[int],
        starts: Sequence[int],
        *,
        max_new_tokens: int = 6,
    ) -> None:
        """Continue after each of several candidate tokens: `ContinuationsReady`,
        `ContinuationsFailed`."""
        before, each = tuple(ids), tuple(starts)
        self._ask(
            Slot.SUGGEST,
            job,
            lambda engine, context: tuple(
                engine.continue_each(
                    before,
                    each,
                    max_new_tokens=max_new_tokens,
                    should_stop=context.should_stop,
                )
            ),
            partial(messages.ContinuationsReady, job),
            partial(messages.ContinuationsFailed, job),
            is_job=True,
            bound=True,
        )

    # Scores.

    def tokenize(
        self, job: int, document: DocumentAlone, *, other: bool = False
    ) -> None:
        """Tokenize a document: `DocumentTokenized`, `ScoreFailed`. `other` asks the
        model that is compared with."""

        def run(engine: EditorEngine, context: Context) -> messages.DocumentTokenized:
            encoding = encode_document(
                engine, document, should_stop=context.should_stop
            )
            prefix = len(encoding.prefix)
            windows = engine.windows(prefix, document.window, document.stride)
            tokens = engine.describe_tokens(encoding.ids)
            return messages.DocumentTokenized(job, encoding, windows, tokens)

        failed = partial(messages.ScoreFailed, job)
        self._ask(Slot.SCORE, job, run, _as_it_is, failed, is_job=True, other=other)

    def score(self, job: int, passage: Passage, *, other: bool = False) -> None:
        """Score a text: `TokensScored`, `ScoreFailed`; a part of a document is reported
        by `ScoresArrived` first. `other` asks the model that is compared with."""

        def run(engine: EditorEngine, context: Context) -> tuple[ScoredToken, ...]:
            tokens = []
            for token in score_passage(
                engine, passage, should_stop=context.should_stop
            ):
                tokens.append(token)
                if isinstance(passage, PartOf):
                    context.gather(token)
            return tuple(tokens)

        self._ask(
            Slot.SCORE,
            job,
            run,
            partial(messages.TokensScored, job),
            partial(messages.ScoreFailed, job),
            batch=partial(messages.ScoresArrived, job),
            is_job=True,
            bound=not isinstance(passage, TextAfter),
            other=other,
        )

    def score_span(self, job: int, text: str, start: int, end: int) -> None:
        """Score a part of a text: `SpanScored`, then `SpanFinished` or
        `EditorRequestFailed`."""

        def run(engine: EditorEngine, context: Context) -> None:
            for span in engine.score_span(
                text, start, end, should_stop=context.should_stop
            ):
                context.emit(span)

        self._ask(
            Slot.SPAN,
            job,
            run,
            lambda _: messages.SpanFinished(job),
            partial(messages.EditorRequestFailed, job),
            batch=lambda values: messages.SpanScored(job, *values),
            is_job=True,
        )

    # Suggestions.

    def suggest(self, job: int, text: str, cursor: int, rules: SuggestionRules) -> None:
        """Write a suggestion: `SuggestionGrew`, then `SuggestionEnded` or
        `EditorRequestFailed`."""
        self._ask(
            Slot.SUGGEST,
            job,
            lambda engine, context: suggest(
                engine,
                text,
                cursor,
                rules,
                on_text=context.emit,
                should_stop=context.should_stop,
            ),
            partial(messages.SuggestionEnded, job),
            partial(messages.EditorRequestFailed, job),
            batch=lambda values: messages.SuggestionGrew(job, *values),
            is_job=True,
        )

    def alternatives(
        self,
        job: int,
        text: str,
        cursor: int,
        rules: SuggestionRules,
        *,
        count: int = 5,
    ) -> None:
        """Write several suggestions: `AlternativesReady`, `EditorRequestFailed`."""
        self._ask(
            Slot.SUGGEST,
            job,
            lambda engine, context: tuple(
                engine.alternatives(
                    text, cursor, rules, count=count, should_stop=context.should_stop
                )
            ),
            partial(messages.AlternativesReady, job),
            partial(messages.EditorRequestFailed, job),
            is_job=True,
        )

    def replacements(
        self, job: int, text: str, start: int, end: int, *, count: int = 8
    ) -> None:
        """Find replacements for a part of the text: `ReplacementsProgressed`, then
        `ReplacementsReady` or `EditorRequestFailed`."""
        self._ask(
            Slot.REPLACE,
            job,
            lambda engine, context: tuple(
                engine.replacements(
                    text,
                    start,
                    end,
                    count=count,
                    should_stop=context.should_stop,
                    progress=context.emit,
                )
            ),
            partial(messages.ReplacementsReady, job),
            partial(messages.EditorRequestFailed, job),
            batch=lambda values: messages.ReplacementsProgressed(job, *values),
            is_job=True,
        )


def _as_it_is(message: Message) -> Message:
    return message
