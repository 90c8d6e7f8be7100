"""A text that is being edited, as a model reads it: predictions, completions and
corrections anywhere in it.

The last text that was asked about is remembered, and of the next one, only what differs
is tokenised and run. The text is a document, never a chat; its windows are those of
`Engine.score` with no prefix but BOS, so that the numbers are the same. Knows no
conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lmtui.engine.backend import AnyBackend
from lmtui.engine.document.completion import (
    Completer,
    CompletionModel,
    ContextPlanner,
    heals,
)
from lmtui.engine.document.context_files import context_ids
from lmtui.engine.document.cursor import CursorPredictor
from lmtui.engine.document.fill_in_the_middle import Infill, file_separator
from lmtui.engine.document.proofreader import Proofreader
from lmtui.engine.document.replacements import replacements
from lmtui.engine.document.scorer import DocumentScorer
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.document.types import (
    CompletionContext,
    ContextFile,
    ContextPart,
    Correction,
    CursorPrediction,
    ProofreadPart,
    ReplacementList,
    ScoredSpan,
)
from lmtui.engine.generation.sampler import Sampler
from lmtui.engine.info import capabilities_of
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import ReportCount
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.text.tokenizer import TextTokenizer
from lmtui.engine.types import (
    GenerationResult,
    Step,
)
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError

_BESIDE = 512  # tokens after a cursor that prompt lookup searches


class EditedDocument:
    """Text that is edited. Whatever takes long can be cancelled, as in `Engine`."""

    def __init__(
        self,
        backend: AnyBackend,
        cache: PrefixCache,
        sampler: Sampler,
        prompts: PromptBuilder,
        tokenizer: Any,
        *,
        context: int,
        end_ids: frozenset[int],
    ) -> None:
        """`context` is the most tokens that the model can read; `end_ids` end a
        text."""
        self._backend, self._cache, self._sampler = backend, cache, sampler
        self._prompts, self._tokenizer = prompts, tokenizer
        self._context, self._end_ids = context, end_ids
        self._begin(())
        infills = self._model.planner.infill is not None
        self.capabilities = capabilities_of(backend, infill=infills)

    def _begin(self, before: tuple[int, ...]) -> None:
        """Edit texts that begin after the tokens `before`."""
        self.prefix = prefix = (*self._prompts.prefix("auto"), *before)
        """Ids before every text: BOS, and those of other files."""
        windows = Windows.choose(context=self._context, prefix=len(prefix))
        vocabulary = self._sampler.vocabulary
        self.predictor = CursorPredictor(
            self._backend,
            DocumentScorer(
                self._backend,
                self._cache,
                TextTokenizer(self._tokenizer),
                prefix=prefix,
                windows=windows,
                context=self._context,
            ),
            vocabulary,
            size=self._sampler.lookup.size,
        )
        infill = Infill.of(self._tokenizer, bos=prefix)
        self._model = CompletionModel(
            self._cache,
            self._sampler,
            self.predictor,
            ContextPlanner(self._context, windows.window, windows.stride, infill),
            self._end_ids | vocabulary.specials | (infill.end_ids if infill else set()),
        )
        self._completer = Completer(self._model)
        self._proofreader = Proofreader(self._model, self.predictor)

    def read_with(
        self, files: Sequence[ContextFile], *, name: str = ""
    ) -> tuple[ContextPart, ...]:
        """Read other files before the text, called `name`, from now on: every number is
        then given them. Return how much of each is read; at most half of the context is
        theirs.
        """
        ids, parts = context_ids(
            files,
            name,
            lambda text: self._prompts.document(text, "no").ids,
            budget=self._context // 2,
            separator=file_separator(self._tokenizer),
        )
        self._begin(ids)
        return parts

    def predict_at(
        self, text: str, cursor: int, *, top_n: int = 20
    ) -> CursorPrediction:
        """Return the prediction at a cursor, with token healing where that is within a
        word (see `token_healing`).

        A cursor whose neighbourhood was scored before costs no forward pass.
        """
        return self.predictor.predict_at(text, cursor, top_n=top_n)

    def score_span(self, text: str, start: int, end: int) -> Iterator[ScoredSpan]:
        """Yield the scores of the tokens from `start` to `end` of a text, in order;
        known scores are not computed again.
        """
        return self.predictor.score_span(text, start, end)

    def completion_context(
        self, text: str, cursor: int, settings: SamplingSettings
    ) -> CompletionContext:
        """Return the context that `complete` would read, without running it."""
        return self._completer.completion_context(
            text, cursor, settings.max_tokens, heals=heals(settings)
        )

    def complete(
        self,
        text: str,
        cursor: int,
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        single_line: bool = False,
        progress: ReportCount | None = None,
    ) -> Iterator[Step | GenerationResult]:
        """Continue a text at a cursor, with token healing; the last item is the
        `GenerationResult`.

        The first step may be several tokens, whose bytes are those beyond the cursor.
        It is drawn from the rows of `predict_at` by the same sampler, without the
        repetition penalty. Control tokens end the continuation. Where
        `capabilities.infill` says so, the model reads the text after the cursor as
        well. A grammar begins at the cursor; no word is healed then, nor with biases.

        Raises:
            LmtuiError: there is nothing to continue.
        """
        return self._completer.steps(
            self.completion_context(text, cursor, settings),
            settings,
            lookup_ids=self._completer.after(text, cursor, _BESIDE),
            top_n=top_n,
            single_line=single_line,
            progress=progress,
        )

    def alternatives(
        self, text: str, cursor: int, rules: SuggestionRules, *, count: int = 5
    ) -> list[str]:
        """Return suggestions that begin with the first rows of `predict_at`, in their
        order, and continue greedily."""
        return self._completer.alternatives(text, cursor, rules, count=count)

    def replacements(
        self, text: str, start: int, end: int, *, count: int = 8
    ) -> Iterator[ReplacementList]:
        """Yield texts that could replace the one from `start` to `end`, whenever more
        is known of them; the present one is among them.

        Raises:
            LmtuiError: `capabilities.scores` says no.
        """
        self._require(self.capabilities.scores, "replacements")
        return replacements(self._model, text, start, end, count=count)

    def proofread(
        self, text: str, start: int, end: int, known: Sequence[Correction] = ()
    ) -> Iterator[ProofreadPart]:
        """Yield the corrections of the words from `start` to `end` of a text, one part
        after the other; the last part ends at `end`. What comes after a part can be
        proofread anew from its end, with the corrections before it.

        Raises:
            LmtuiError: `capabilities.proofreads` says no.
        """
        self._require(self.capabilities.proofreads, "corrections")
        return self._proofreader.read(text, start, end, known)

    def _require(self, can: bool, what: str) -> None:
        if not can:
            raise LmtuiError(f"{what} can't be found here", self.capabilities.why_not)
