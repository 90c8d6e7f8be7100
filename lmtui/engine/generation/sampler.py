"""Sampler of an engine: recent positions, and what the settings make of them.

Knows no cache and no decode loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from lmtui.engine.backend import AnyBackend
from lmtui.engine.grammar.answer import AnswerGrammar, answer_grammar
from lmtui.engine.grammar.matcher import CompiledGrammar
from lmtui.engine.grammar.text import grammar_of
from lmtui.engine.grammar.vocabulary import GrammarVocabulary
from lmtui.engine.sampling.chain import DrawConditions, SamplerChain
from lmtui.engine.sampling.logits_store import LogitsStore, distribution
from lmtui.engine.sampling.vocabulary_search import VocabularyIndex, search
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.servers.draws import (
    effective_settings,
    follows_grammar,
    require_full_distribution,
)
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.token_ids import Ids, ids_array
from lmtui.engine.types import (
    Distribution,
    Prompt,
    TokenMatches,
)


class Sampler:
    """Positions by handle, and their distributions under any settings."""

    def __init__(
        self,
        backend: AnyBackend,
        vocabulary: Vocabulary,
        tokenizer: Any,
        size: int,
        recompute: Callable[[Ids], Tensor],
    ) -> None:
        """`size` is the number of tokens that the model chooses from; `recompute`
        returns the logits [V] after some ids."""
        self._backend = backend
        self._tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.positions = LogitsStore(
            recompute, partial=backend.top_logprobs is not None
        )
        """The logits of recent positions."""
        self.lookup = VocabularyIndex(vocabulary, size, vocabulary.specials)
        """The tokens by their text."""

    def chain(
        self, settings: SamplingSettings, until: str | None = None
    ) -> SamplerChain:
        drawn = effective_settings(self._backend, settings)
        return SamplerChain(drawn, self.lookup, until=until)

    def answer_grammar(
        self,
        settings: SamplingSettings,
        end_ids: Collection[int],
        prompt: Prompt,
        mark: Sequence[int],
    ) -> AnswerGrammar | None:
        """Return the grammar of the answer to a prompt, which `end_ids` end; None
        without one, or where a server follows it. `mark` are the tokens with which the
        model may begin to think.

        Raises:
            LmtuiError: it can't be used here, or does not allow the beginning of the
                answer.
        """
        if settings.grammar is None or follows_grammar(self._backend, prompt):
            return None
        return answer_grammar(self.compiled(settings.grammar), end_ids, prompt, mark)

    def compiled(self, setting: str) -> CompiledGrammar:
        require_full_distribution(self._backend, "a grammar")
        return self._grammars.compile(grammar_of(setting))

    @cached_property
    def _grammars(self) -> GrammarVocabulary:
        return GrammarVocabulary(self._tokenizer, self.vocabulary, self.lookup.size)

    def look(
        self,
        logits: Tensor,
        ids: Sequence[int],
        settings: SamplingSettings,
        count: int,
    ) -> Distribution:
        """Store the logits [V] of the position after `ids`; return its distribution
        with `count` rows."""
        position = self.positions.add(logits, DrawConditions(ids_array(ids)))
        view = position.view(self.chain(settings), count)
        return distribution(position, view, self.vocabulary, count=count)

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        start: int = 0,
        count: int = 20,
        until: str | None = None,
        with_chain: bool = False,
    ) -> Distribution:
        position = self.positions.get(handle)
        view = position.view(self.chain(settings, until), start + count)
        effects = position.effects(self.chain(settings)) if with_chain else ()
        return distribution(
            position, view, self.vocabulary, start=start, count=count, effects=effects
        )

    def search(
        self, handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> TokenMatches:
        position = self.positions.get(handle)
        return search(position, self.lookup, text, self.chain(settings), count=count)
