"""A client of the engine's worker: one typed method for each verb of the engine.

A method never waits. Its answer comes on the event loop, through the functions that
were given with the request. Knows no widget; the engine comes from whoever loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lmtui.engine.editor_types import (
    ContextFile,
    ContextPart,
    CursorPrediction,
    ProofreadPart,
    Replacement,
    ScoredSpan,
)
from lmtui.engine.lens import LensColumn
from lmtui.engine.passages import (
    DocumentAlone,
    DocumentTokens,
    PartOf,
    Passage,
    TextAfter,
    tokenize_document,
)
from lmtui.engine.prompt_types import DraftScores
from lmtui.engine.protocol import EditorEngine
from lmtui.engine.suggest import suggest
from lmtui.engine.suggestion import Suggestion, SuggestionRules
from lmtui.engine.types import (
    ChatTurn,
    Distribution,
    GenerationResult,
    Prompt,
    SamplingSettings,
    ScoredToken,
    Step,
    TokenMatches,
)
from lmtui.engine.versions import VersionItem
from lmtui.models.progress import Progress
from lmtui.tui.engine.batches import generation_batch, longest_text
from lmtui.tui.engine.slots import Deliver, Handlers, OnError, SlotRequests, ignore
from lmtui.worker.events import EngineOpened
from lmtui.worker.generation import run_completion, run_generation, run_versions
from lmtui.worker.partial_answers import (
    lens_parts,
    proofread_parts,
    score_parts,
    span_parts,
)
from lmtui.worker.positions import of_position
from lmtui.worker.requests import Context, OpenEngine, Slot
from lmtui.worker.worker import EngineWorker

T = TypeVar("T")

Then = Callable[[T], object]
"""Takes an answer, on the event loop."""
MakeClient = Callable[[Deliver], "EngineClient"]


class EngineClient:
    """The verbs of the engine for one controller.

    A request ends with one call of `then`, of `failed`, or of `dropped`: it was
    stopped, or another client's request took its place. Of each slot, only the newest
    request of a client counts: an older one is stopped, and nothing more comes of it or
    of a cancelled one. So nobody else has to ask whether an answer is still wanted.

    The queue holds one request of each slot for the whole program; `Slot` has their
    order. What is less urgent is interrupted and runs again later, from its beginning.
    """

    def __init__(self, worker: EngineWorker, deliver: Deliver) -> None:
        self._worker = worker
        self._requests = SlotRequests(worker, deliver)
        self.ask = self._requests.ask
        """Queue a request that is no verb of its own."""

    def is_pending(self, slot: Slot) -> bool:
        """Return whether a request of this slot has not ended yet."""
        return self._requests.is_pending(slot)

    def stop(self, slot: Slot) -> bool:
        """End a request within one token; its end is still reported. Return whether
        there was any."""
        return self._requests.stop(slot)

    def cancel(self, *slots: Slot) -> bool:
        """End the requests of these slots, or all of them; nothing of them is reported
        any more. Return whether there was any."""
        return self._requests.cancel(*slots)

    def load(
        self,
        open_engine: OpenEngine,
        *,
        progress: Then[Progress],
        then: Then[EngineOpened],
        failed: OnError,
    ) -> None:
        """Open an engine in place of the one there is; handles and ids of that one are
        invalid from now on. A load ends with a model: another load takes its place."""
        id_ = self._worker.number()

        def batch(values: tuple[Any, ...]) -> None:
            for value in values:
                progress(value)

        reply = self._requests.begin(Slot.LOAD, id_, Handlers(then, failed, batch))
        self._worker.load(open_engine, reply, id_=id_)

    # Drafts and positions.

    def score_draft(
        self,
        turns: Sequence[ChatTurn],
        draft: str,
        settings: SamplingSettings,
        *,
        then: Then[DraftScores],
        failed: OnError,
        dropped: Callable[[], object] = ignore,
        prefix_len: int | None = None,
        thinking: bool | None = None,
        top_n: int = 20,
    ) -> None:
        """Score a message that is being written, and compute what comes next.

        With `prefix_len`, the distribution is the one after so many of its tokens, not
        after all; `thinking` is that of `Engine.prompt`, here and below. Waits while an
        answer is generated.
        """
        before = tuple(turns)
        self.ask(
            Slot.LOOK,
            lambda engine, context: engine.score_draft(
                before,
                draft,
                settings,
                prefix_len=prefix_len,
                thinking=thinking,
                top_n=top_n,
            ),
            then,
            failed,
            dropped=dropped,
        )

    def next_distribution(
        self,
        ids: Sequence[int],
        settings: SamplingSettings,
        *,
        then: Then[Distribution],
        failed: OnError,
        top_n: int = 20,
        other: bool = False,
    ) -> None:
        """Compute the distribution after ids. `other` asks the model that is compared
        with."""
        before = tuple(ids)
        self.ask(
            Slot.LOOK,
            lambda engine, context: engine.next_distribution(
                before, settings, top_n=top_n
            ),
            then,
            failed,
            bound=True,
            other=other,
        )

    def read_with(
        self,
        files: Sequence[ContextFile],
        name: str,
        *,
        then: Then[tuple[ContextPart, ...]],
        failed: OnError,
    ) -> None:
        """Read other files before the text called `name`, from the next request on."""
        each = tuple(files)
        self.ask(
            Slot.CONTEXT,
            lambda engine, _: engine.read_with(each, name=name),
            then,
            failed,
        )

    def predict_at(
        self,
        text: str,
        cursor: int,
        *,
        then: Then[CursorPrediction],
        failed: OnError,
        dropped: Callable[[], object] = ignore,
        grammar: str | None = None,
    ) -> None:
        """Compute what the model predicts at a cursor."""
        self.ask(
            Slot.LOOK,
            lambda engine, context: engine.predict_at(
                text, cursor, top_n=40, grammar=grammar
            ),
            then,
            failed,
            dropped=dropped,
        )

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        then: Then[Distribution],
        failed: OnError,
        other: bool = False,
        **shown: Any,
    ) -> None:
        """Compute an earlier distribution again; with `other` one of the model that is
        compared with. `shown` are further arguments of `Engine.preview`. Answered
        between two tokens of a running generation."""

        run = of_position(
            lambda engine: engine.preview(handle, settings, **shown),
            "this position can't be drawn again",
            "Type or generate more to see a new one.",
        )
        self.ask(Slot.PREVIEW, run, then, failed, bound=True, other=other)

    def search_vocabulary(
        self,
        handle: int,
        text: str,
        settings: SamplingSettings,
        *,
        then: Then[TokenMatches],
        failed: OnError,
    ) -> None:
        """Find the tokens of an earlier distribution whose text matches. Answered
        between two tokens of a running generation."""

        run = of_position(
            lambda engine: engine.search_vocabulary(handle, text, settings),
            "tokens can't be searched here any more",
            "Move the cursor and come back.",
        )
        self.ask(Slot.SEARCH, run, then, failed, bound=True)

    def count_tokens(
        self,
        texts: Sequence[str],
        *,
        then: Then[tuple[int, ...]],
        failed: OnError = ignore,
        most: int = 0,
    ) -> None:
        """Count the tokens of each text, encoded by itself; none are counted where
        `most` tokens can't spell the texts together. Waits while an answer is
        generated."""
        each = tuple(texts)

        def run(engine: EditorEngine, _: Context) -> tuple[int, ...]:
            length = sum(len(text.encode("utf-8", "replace")) for text in each)
            if most and length > most and 0 < engine.longest_token * most < length:
                return ()
            return tuple(len(engine.encode(text, bos="no").ids) for text in each)

        self.ask(Slot.COUNT, run, then, failed)

    def describe_tokens(
        self,
        ids: Sequence[int],
        *,
        then: Then[tuple[ScoredToken, ...]],
        failed: OnError = ignore,
    ) -> None:
        """Describe the tokens with these ids, of the model in use. Answered between two
        tokens of a running generation."""
        each = tuple(ids)
        self.ask(
            Slot.PREVIEW,
            lambda engine, _: engine.describe_tokens(each),
            then,
            failed,
            bound=True,
        )

    # Generation.

    def generate(
        self,
        start: Sequence[ChatTurn] | Prompt,
        settings: SamplingSettings,
        *,
        prompt_ready: Callable[[Prompt, int], object] = ignore,
        progress: Callable[[int, int], object] = ignore,
        steps: Then[tuple[Step, ...]],
        then: Then[GenerationResult],
        failed: OnError,
        dropped: Callable[[], object],
        prefill: str = "",
        top_n: int = 20,
        drop_oldest: bool = False,
        thinking: bool | None = None,
    ) -> None:
        """Answer a conversation (its answer beginning with `prefill`), or continue
        after the ids of a prompt and those of `prefill`, encoded by itself. With
        `drop_oldest` the oldest turns are left out where all of them do not fit.

        `prompt_ready` takes the prompt and how many turns were left out, `progress` how
        many of its tokens were read and how many there are, `steps` the decode steps
        since the last report. A generation that is stopped while it runs ends with
        `then`.
        """
        begin = start if isinstance(start, Prompt) else tuple(start)

        self.ask(
            Slot.GENERATE,
            lambda engine, context: run_generation(
                engine,
                context,
                begin,
                settings,
                prefill=prefill,
                top_n=top_n,
                drop_oldest=drop_oldest,
                thinking=thinking,
            ),
            then,
            failed,
            dropped=dropped,
            batch=generation_batch(prompt_ready, progress, steps),
            bound=isinstance(begin, Prompt),
        )

    def generate_versions(
        self,
        start: Sequence[ChatTurn],
        settings: Sequence[SamplingSettings],
        *,
        prompt_ready: Callable[[Prompt, int], object] = ignore,
        progress: Callable[[int, int], object] = ignore,
        items: Then[tuple[VersionItem, ...]],
        then: Callable[[], object],
        failed: OnError,
        dropped: Callable[[], object],
        drop_oldest: bool = False,
        thinking: bool | None = None,
    ) -> None:
        """Draw versions of an answer, one for each of the settings. `items` takes those
        since the last report; all else is as in `generate`."""
        turns, each = tuple(start), tuple(settings)
        self.ask(
            Slot.GENERATE,
            lambda engine, context: run_versions(
                engine, context, turns, each, drop_oldest=drop_oldest, thinking=thinking
            ),
            lambda _: then(),
            failed,
            dropped=dropped,
            batch=generation_batch(prompt_ready, progress, items),
        )

    def continue_each(
        self,
        ids: Sequence[int],
        starts: Sequence[int],
        *,
        then: Then[tuple[tuple[ScoredToken, ...], ...]],
        failed: OnError,
        max_new_tokens: int = 6,
    ) -> None:
        """Continue after each of several candidate tokens."""
        before, each = tuple(ids), tuple(starts)
        self.ask(
            Slot.SUGGEST,
            lambda engine, context: tuple(
                engine.continue_each(before, each, max_new_tokens=max_new_tokens)
            ),
            then,
            failed,
            bound=True,
        )

    # Scores.

    def tokenize(
        self,
        document: DocumentAlone,
        *,
        then: Then[DocumentTokens],
        failed: OnError,
        dropped: Callable[[], object] = ignore,
        other: bool = False,
    ) -> None:
        """Tokenize a document. `other` asks the model that is compared with."""
        self.ask(
            Slot.SCORE,
            lambda engine, context: tokenize_document(engine, document),
            then,
            failed,
            dropped=dropped,
            other=other,
        )

    def score(
        self,
        passage: Passage,
        *,
        then: Then[tuple[ScoredToken, ...]],
        failed: OnError,
        scored: Then[tuple[ScoredToken, ...]] = ignore,
        dropped: Callable[[], object] = ignore,
        other: bool = False,
    ) -> None:
        """Score a text. `scored` takes the tokens of a part of a document since the
        last report; those of a part that was begun anew come again. `other` asks the
        model that is compared with."""

        self.ask(
            Slot.SCORE,
            score_parts(passage),
            then,
            failed,
            dropped=dropped,
            batch=scored,
            bound=not isinstance(passage, TextAfter),
            other=other,
        )

    def score_span(
        self,
        text: str,
        start: int,
        end: int,
        *,
        scored: Then[ScoredSpan],
        then: Callable[[], object],
        failed: OnError,
        dropped: Callable[[], object] = ignore,
    ) -> None:
        """Score a part of a text; `scored` takes one window after the other, and all of
        them again when the request was interrupted."""
        self.ask(
            Slot.SPAN,
            span_parts(text, start, end),
            lambda _: then(),
            failed,
            dropped=dropped,
            batch=lambda values: scored(*values),
        )

    def logit_lens(
        self,
        part: PartOf,
        *,
        columns: Then[tuple[LensColumn, ...]],
        then: Callable[[], object],
        failed: OnError,
        dropped: Callable[[], object] = ignore,
        slot: Slot = Slot.SUGGEST,
    ) -> None:
        """Compute what each layer predicts in a part of a document, whose `end` may be
        one behind its last token. `columns` takes those since the last report;
        an interrupted request goes on behind them."""
        self.ask(
            slot,
            lens_parts(part),
            lambda _: then(),
            failed,
            dropped=dropped,
            batch=columns,
            bound=True,
        )

    # Suggestions.

    def suggest(
        self,
        text: str,
        cursor: int,
        rules: SuggestionRules,
        *,
        grown: Then[str],
        then: Then[Suggestion],
        failed: OnError,
    ) -> None:
        """Write a suggestion. `grown` takes its text whenever that has become longer
        than ever; the suggestion itself may end before."""
        self.ask(
            Slot.SUGGEST,
            lambda engine, context: suggest(
                engine, text, cursor, rules, on_text=context.emit
            ),
            then,
            failed,
            batch=longest_text(grown),
        )

    def complete(
        self,
        text: str,
        cursor: int,
        settings: SamplingSettings,
        *,
        steps: Then[tuple[Step, ...]],
        then: Then[GenerationResult],
        failed: OnError,
    ) -> None:
        """Continue a text at a cursor. `steps` takes the decode steps since the last
        report; a request that was interrupted begins anew with the step of index 0."""

        self.ask(
            Slot.SUGGEST,
            lambda engine, context: run_completion(
                engine, context, text, cursor, settings
            ),
            then,
            failed,
            batch=steps,
        )

    def alternatives(
        self,
        text: str,
        cursor: int,
        rules: SuggestionRules,
        *,
        then: Then[tuple[Suggestion, ...]],
        failed: OnError,
        count: int = 5,
    ) -> None:
        """Write several suggestions, the most probable beginning first."""
        self.ask(
            Slot.SUGGEST,
            lambda engine, context: tuple(
                engine.alternatives(text, cursor, rules, count=count)
            ),
            then,
            failed,
        )

    def replacements(
        self,
        text: str,
        start: int,
        end: int,
        *,
        progress: Callable[[int, int], object] = ignore,
        partial: Then[tuple[Replacement, ...]] = ignore,
        then: Then[tuple[Replacement, ...]],
        failed: OnError,
        count: int = 8,
    ) -> None:
        """Find replacements for a part of the text. `progress` takes how many scores of
        candidates are done and how many there are, `partial` the best so far."""
        self.ask(
            Slot.REPLACE,
            lambda engine, context: tuple(
                engine.replacements(
                    text,
                    start,
                    end,
                    count=count,
                    progress=context.emit,
                    partial=lambda best: context.emit(tuple(best)),
                )
            ),
            then,
            failed,
            batch=lambda values: (progress if len(values) > 1 else partial)(*values),
        )

    def proofread(
        self,
        text: str,
        start: int,
        end: int,
        *,
        read: Then[ProofreadPart],
        then: Callable[[], object],
        failed: OnError,
        dropped: Callable[[], object] = ignore,
    ) -> None:
        """Proofread a part of a text; `read` takes one part of it after the other. An
        interrupted request goes on where the last part ended."""
        self.ask(
            Slot.REPLACE,
            proofread_parts(text, start, end),
            lambda _: then(),
            failed,
            dropped=dropped,
            batch=lambda values: read(*values),
        )
