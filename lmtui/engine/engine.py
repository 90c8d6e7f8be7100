"""Local engine: one loaded model behind the `Engine` protocol.

Holds the model, its KV cache and its positions, and connects the modules that do the
work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

from torch import Tensor

from lmtui.engine.backends.select import backend_of
from lmtui.engine.document.edited import EditedDocument
from lmtui.engine.generation.answer_row import AnswerRow, StopRules
from lmtui.engine.generation.generate import generate, generate_rows
from lmtui.engine.generation.sampler import Sampler
from lmtui.engine.info import info_of
from lmtui.engine.lens import LensColumn
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import ReportCount
from lmtui.engine.rows import RowItem, RowRequest, one_after_another
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.draft_scorer import DraftScorer
from lmtui.engine.scoring.layer_scores import LensText, lens_columns
from lmtui.engine.scoring.prompt_scores import score_prompts, target_logprob
from lmtui.engine.scoring.raw_logits import as_bytes, raw_logits
from lmtui.engine.scoring.score import UNSCORED, score_rows, word_boundaries
from lmtui.engine.scoring.scored_tokens import scored_tokens
from lmtui.engine.servers.draws import DrawingBackend, require_drawable
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.normalization import rewritten
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import (
    BosRule,
    ChatTurn,
    Distribution,
    DraftScores,
    Encoding,
    GenerationResult,
    Prompt,
    ScoredPrompt,
    ScoredToken,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, ignore
from lmtui.models.source import Quantize


class LocalEngine:
    """Engine for a model on this machine; `protocol` has each method's contract."""

    def __init__(
        self, loaded: LoadedModel, *, context: int | None = None, slots: int = 1
    ) -> None:
        self.loaded = loaded
        tokenizer = loaded.tokenizer
        self.backend = backend_of(loaded)
        self._connection = loaded.model.connection if loaded.is_remote else None
        self._slots = [PrefixCache(self.backend) for _ in range(slots)]
        self.cache = self._slots[0]
        self._tracer = DraftScorer(self.cache)
        self._vocabulary = Vocabulary(tokenizer)
        self._scored = partial(scored_tokens, self._vocabulary)
        self.prompts = PromptBuilder(tokenizer)
        self.prompt = self.prompts.render
        self.end_ids = self.prompts.text_end_ids(loaded.facts.end_ids)
        self.info = info_of(
            loaded,
            context=context,
            has_template=self.prompts.has_template,
            switches_thinking=self.prompts.switch is not None,
            slots=slots,
        )
        size = self.info.vocabulary
        self._sampler = Sampler(
            self.backend,
            self._vocabulary,
            tokenizer,
            size,
            lambda context: self.backend.logits(context.tolist())[-1],
        )
        self.preview = self._sampler.preview
        self.search_vocabulary = self._sampler.search
        self.document = EditedDocument(
            self.backend,
            self.cache,
            self._sampler,
            self.prompts,
            tokenizer,
            context=self.info.context,
            end_ids=self.end_ids,
        )
        self.capabilities = self.document.capabilities

    @classmethod
    def open(
        cls,
        spec: str | None = None,
        *,
        adapter: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        quantize: Quantize = "none",
        threads: int | None = None,
        context: int | None = None,
        slots: int = 1,
        on_progress: OnProgress = ignore,
    ) -> LocalEngine:
        """Load a model: the default one, or the one that `spec` names.

        `spec` is a catalogue name, a folder, a `.gguf` file or a Hub id. `adapter` is
        the name or the folder of one trained for that model.

        Raises:
            LmtuiError: the model can't be found, fetched or loaded here.
        """
        loaded = load(
            spec,
            adapter=adapter,
            device=device,
            dtype=dtype,
            quantize=quantize,
            threads=threads,
            on_progress=on_progress,
        )
        return cls(loaded, context=context, slots=slots)

    @cached_property
    def longest_token(self) -> int:
        """Most bytes of a text that one token stands for; 0 if the tokenizer rewrites
        texts."""
        return 0 if self.prompts.normalizes else self._vocabulary.longest

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        encoding = self.prompts.document(text, bos)
        if not self.prompts.normalizes:
            return encoding
        spelled = map(self._vocabulary.bytes, encoding.ids)
        count = rewritten(text, zip(encoding.spans, spelled, strict=True))
        return replace(encoding, rewritten=count) if count else encoding

    def tokenizer_info(self) -> Mapping[str, Any]:
        about = self.prompts.tokenizer_info()
        return {**about, "model_max_length": self.info.context}

    def tokenizer_json(self) -> str:
        return str(self.loaded.tokenizer.backend_tokenizer.to_str())

    def raw_logits(
        self, ids: Sequence[int], *, keep: int = 1, slot: int = 0
    ) -> Iterator[bytes]:
        self._require_room(len(ids), spare=0)
        return raw_logits(self._slots[slot], ids, keep)

    def logits_at(self, handle: int) -> bytes:
        return as_bytes(self._sampler.positions.get(handle).logits)

    def next_distribution(
        self, ids: Sequence[int], settings: SamplingSettings, *, top_n: int = 20
    ) -> Distribution:
        self._require_room(len(ids), spare=0)
        self.cache.read(ids)
        logits = self.cache.logits
        assert logits is not None
        return self._sampler.look(logits, ids, settings, top_n)

    def score_draft(
        self,
        messages: Sequence[ChatTurn],
        draft: str,
        settings: SamplingSettings,
        *,
        prefix_len: int | None = None,
        thinking: bool | None = None,
        top_n: int = 20,
    ) -> DraftScores:
        context, ids = self.prompts.draft(messages, draft, thinking=thinking)
        self._require_room(len(context) + len(ids), spare=0)
        tokens: tuple[ScoredToken, ...] = ()
        if self.capabilities.scores:
            tokens = tuple(self._scored(ids, self._tracer.rows(context, ids)))
        shown = self.next_distribution(
            [*context, *ids[:prefix_len]], settings, top_n=top_n
        )
        return DraftScores(shown, tokens, tuple(context))

    def generate(
        self,
        prompt: Prompt,
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        logit_bias: Mapping[int, float] = MappingProxyType({}),
        slot: int = 0,
        after: int | None = None,
        drawn: int = 0,
        progress: ReportCount | None = None,
    ) -> Iterator[Step | GenerationResult]:
        self._require_room(len(prompt.ids), spare=1)
        row = self._answer(
            prompt,
            RowRequest(settings),
            top_n=top_n,
            logit_bias=logit_bias,
            drawn=drawn,
        )
        known = None if after is None else self._sampler.positions.get(after).logits
        cache = self._slots[slot]
        return generate(cache, row, prompt.ids, progress=progress, known=known)

    def _answer(
        self,
        prompt: Prompt,
        row: RowRequest,
        *,
        top_n: int,
        logit_bias: Mapping[int, float] = MappingProxyType({}),
        drawn: int = 0,
    ) -> AnswerRow:
        """Return an answer that has not begun; the options are those of `generate`.

        Raises:
            LmtuiError: the settings can't be applied to what a server lists; or the
                weights are unpacked for each pass.
        """
        self.loaded.require_quick()
        settings, own_ends = row.settings, self._ends_after(prompt.ids)
        ends = frozenset() if prompt.ignores_ends else own_ends
        require_drawable(self.backend, self._sampler.chain(settings).settings)
        return AnswerRow(
            self._sampler,
            settings,
            StopRules(
                end_ids=ends.union(prompt.stop_ids),
                max_tokens=settings.max_tokens,
                context=self.info.context,
                stop_texts=prompt.stop_texts,
                min_tokens=prompt.min_tokens,
            ),
            top_n=max(1, top_n),
            start=row.start,
            logit_bias=logit_bias,
            drawn=drawn,
            grammar=self._sampler.answer_grammar(
                settings, own_ends, prompt, self.prompts.thinking_ids
            ),
            is_stored=top_n > 0,
        )

    def generate_rows(
        self,
        prompt: Prompt,
        rows: Sequence[RowRequest],
        *,
        top_n: int = 20,
        progress: ReportCount | None = None,
    ) -> Iterator[RowItem]:
        begun = any(row.start for row in rows)
        self._require_room(len(prompt.ids), spare=0 if begun else 1)
        if isinstance(self.backend, DrawingBackend) and not begun:
            return one_after_another(
                self.generate(prompt, row.settings, top_n=top_n, progress=progress)
                for row in rows
            )
        answers = [self._answer(prompt, row, top_n=top_n) for row in rows]
        return generate_rows(self.cache, answers, prompt.ids, progress=progress)

    def prefill(self, ids: Sequence[int], *, slot: int = 0) -> Iterator[int]:
        self._require_room(len(ids), spare=0)
        return self._slots[slot].prefill(ids)

    def reusable(self, ids: Sequence[int], slot: int) -> int:
        cache = self._slots[slot]
        return cache.rollback_len(cache.common(ids))

    def score_prompts(
        self,
        prompts: Sequence[Sequence[int]],
        settings: SamplingSettings,
        *,
        top_n: int = 0,
        slot: int = 0,
    ) -> Iterator[ScoredPrompt | None]:
        for ids in prompts:
            self._require_room(len(ids), spare=0)
        windows = self.info.windows()
        scores = score_prompts(
            self._slots[slot],
            prompts,
            window=windows.window if self.info.precision == "exact" else None,
            top_n=top_n,
        )
        waiting = iter(prompts)
        for scored in scores:
            if scored is None:
                yield None
                continue
            ids = next(waiting)
            following = self._sampler.look(scored.after, ids, settings, max(1, top_n))
            yield ScoredPrompt(tuple(self._scored(ids, scored.rows)), following)

    def score(
        self,
        ids: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        start: int = 0,
        top_n: int = 0,
        word_ends: bool = False,
    ) -> Iterator[ScoredToken]:
        rows = score_rows(
            self.backend,
            ids,
            prefix=prefix,
            windows=self.info.windows(len(prefix), window, stride),
            start=start,
            top_n=top_n,
            boundaries=self._word_boundaries if word_ends else None,
        )
        return self._scored(ids[start:], rows, first=start)

    def target_logprob(self, context: Sequence[int], target: Sequence[int]) -> float:
        self._require_room(len(context), spare=len(target))
        return target_logprob(self.cache, context, target)

    @cached_property
    def _word_boundaries(self) -> Tensor:
        size = self.info.vocabulary
        spaces = self._vocabulary.opening_with_space(size)
        ends = [token for token in self.end_ids if token < size]
        return word_boundaries(self.backend, spaces, ends)

    def logit_lens(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        top_n: int = 1,
    ) -> Iterator[LensColumn]:
        return lens_columns(
            self.cache,
            self._vocabulary,
            LensText(ids, prefix, self.info.windows(len(prefix), window, stride)),
            positions,
            top_n=top_n,
            records=self.info.precision == "exact" and self.info.device == "cpu",
        )

    def describe_tokens(self, ids: Sequence[int]) -> tuple[ScoredToken, ...]:
        return tuple(self._scored(ids, [UNSCORED] * len(ids)))

    def _ends_after(self, ids: Sequence[int]) -> frozenset[int]:
        if not self.prompts.is_conversation(ids):
            return self.end_ids
        return self.prompts.end_ids(self.end_ids)

    def _require_room(self, tokens: int, *, spare: int) -> None:
        if tokens == 0:
            raise LmtuiError("there is nothing to continue", "the context is empty")
        room = self.info.context
        if tokens + spare > room:
            raise LmtuiError(
                "the prompt does not fit the context",
                f"{tokens:,} tokens, the context holds {room:,}",
                "Shorten the prompt, or raise --context where the model allows it.",
            )
