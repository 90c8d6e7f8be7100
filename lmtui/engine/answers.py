"""Answers to a prompt: one of them, or several versions in a batch.

Makes the decoders with what an engine has: its KV caches, its positions, its
vocabulary. Knows no chat and no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from lmtui.engine.generate import Decoder, StopRules
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.prompt import PromptBuilder
from lmtui.engine.protocol import ReportCount
from lmtui.engine.sampler import Sampler
from lmtui.engine.server_draws import require_drawable
from lmtui.engine.types import GenerationResult, Prompt, SamplingSettings, Step
from lmtui.engine.version_batch import VersionBatch
from lmtui.engine.versions import VersionItem, one_after_another


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What applies to each answer besides the sampler's settings."""

    top_n: int = 20
    """Rows of the distribution of each step."""
    single_line: bool = False
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    drawn: int = 0
    """Tokens that were drawn with the same seed before."""


@dataclass(frozen=True, slots=True)
class AnswerGenerator:
    """Generates the answers of one engine."""

    sampler: Sampler
    prompts: PromptBuilder
    context: int
    """Most tokens that prompt and answer can have together."""
    ends_after: Callable[[Sequence[int]], frozenset[int]]
    """Returns the tokens that end an answer to a prompt."""

    def one(
        self,
        cache: PrefixCache,
        prompt: Prompt,
        settings: SamplingSettings,
        options: AnswerOptions,
        *,
        known: Tensor | None = None,
        progress: ReportCount | None,
    ) -> Iterator[Step | GenerationResult]:
        """Yield the steps of an answer, then its result; `known` are the logits [V]
        after the prompt, if they are known.

        Raises:
            LmtuiError: the settings can't be applied to what a server lists.
        """
        decoder = self._decoder(cache, prompt, settings, options)
        return decoder.run(prompt.ids, progress, known=known)

    def several(
        self,
        cache: PrefixCache,
        prompt: Prompt,
        settings: Sequence[SamplingSettings],
        options: AnswerOptions,
        *,
        progress: ReportCount | None,
    ) -> Iterator[VersionItem]:
        """Yield the items of versions, one for each of the settings: in a batch where
        the model's state can be copied here, else one after the other.

        Raises:
            LmtuiError: as in `one`; or while iterating, if the prompt can't be read.
        """
        backend = cache.backend
        goes_back = any(each.banned_phrases for each in settings)
        if backend.is_remote or not cache.can_rollback or goes_back:
            return one_after_another(
                lambda each: self.one(cache, prompt, each, options, progress=progress),
                settings,
            )
        decoders = [self._decoder(cache, prompt, each, options) for each in settings]
        batch = VersionBatch(cache, decoders)
        return batch.run(prompt.ids, progress)

    def _decoder(
        self,
        cache: PrefixCache,
        prompt: Prompt,
        settings: SamplingSettings,
        options: AnswerOptions,
    ) -> Decoder:
        chain = self.sampler.chain(settings)
        require_drawable(cache.backend, chain.settings)
        rules = StopRules(
            end_ids=self.ends_after(prompt.ids),
            max_tokens=settings.max_tokens,
            context=self.context,
            stop_texts=prompt.stop_texts,
            single_line=options.single_line,
        )
        return Decoder(
            cache,
            self.sampler.positions,
            self.sampler.vocabulary,
            chain=chain,
            rules=rules,
            top_n=options.top_n,
            logit_bias=options.logit_bias,
            drawn=options.drawn,
            grammar=self.sampler.answer_grammar(
                settings, rules.end_ids, prompt, self.prompts.thinking_ids
            ),
        )
