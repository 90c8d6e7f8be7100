"""What reads a text for going on with it, in the slowest way there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.document.completion import (
    CompletionModel,
    ContextPlanner,
)
from lmtui.engine.document.token_healing import HealedDistribution, search
from lmtui.engine.document.types import CursorContext
from lmtui.engine.generation.sampler import Sampler
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.tokenizer import TextTokenizer, TokenBytes, TokenizedText
from lmtui.engine.token_ids import Ids
from lmtui.engine.types import Candidate, Distribution
from lmtui.text import bytes_text

CONTEXT = 512


class NaiveReader:
    """Reads the whole text, and runs all of its tokens, anew for everything."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = TextTokenizer(tokenizer)
        self._size = model.config.vocab_size
        vocabulary = Vocabulary(tokenizer)
        data = [vocabulary.bytes(i) for i in range(self._size)]
        self._tokens = TokenBytes(data, vocabulary.specials)

    def context_at(self, text: str, cursor: int) -> CursorContext:
        read = self._tokenizer.read(text[:cursor])
        last = max((i for i, opens in enumerate(read.opens) if opens), default=0)
        if last == 0:
            return CursorContext((), tuple(read.ids), b"", cursor)
        start = read.spans[last][0]
        return CursorContext(
            (), tuple(read.ids[:last]), text[start:cursor].encode(), start
        )

    def part(self, text: str, start: int, end: int) -> TokenizedText:
        lead = min(1, start)
        read = self._tokenizer.read(text[start - lead : end])
        kept = [i for i, (place, _) in enumerate(read.spans) if place >= lead]
        return TokenizedText(
            [read.ids[i] for i in kept],
            [(a + start - lead, b + start - lead) for a, b in read.spans][kept[0] :]
            if kept
            else [],
            [read.opens[i] for i in kept],
        )

    @torch.inference_mode()
    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        """Logprobs after `ids`, softmax in float64. [V]"""
        logits: torch.Tensor = self._model(torch.tensor([list(ids)])).logits[0, -1]
        return logits.double().log_softmax(-1)

    def continuations(
        self, context: Sequence[int], typed: bytes, *, top_n: int
    ) -> HealedDistribution:
        return search(
            self._tokens,
            self.logprobs(context),
            typed,
            lambda paths: [self.logprobs([*context, *path]) for path in paths],
            top_n=top_n,
        )

    def distribution(self, healed: HealedDistribution, top_n: int) -> Distribution:
        rows = tuple(
            Candidate(r.cover.ids[-1], bytes_text(r.beyond), r.beyond, r.logprob)
            for r in healed.rows[:top_n]
        )
        rest = 1 - math.fsum(row.prob for row in rows)
        return Distribution(
            rows, 0, self._size, rest, 0.0, self._size, 1.0, healed.entropy, -1
        )


LAYOUT = ContextPlanner(context=CONTEXT, window=CONTEXT, stride=CONTEXT // 2)


def parts(
    model: Any,
    tokenizer: Any,
    planner: ContextPlanner = LAYOUT,
    end_ids: frozenset[int] = frozenset(),
) -> CompletionModel:
    """The parts of an engine around a model, with an empty cache; they read slowly."""
    forward, vocabulary = TransformersBackend(model), Vocabulary(tokenizer)
    infill_ends = planner.infill.end_ids if planner.infill else frozenset[int]()

    def recompute(context: Ids) -> torch.Tensor:
        return forward.logits(context.tolist())[-1]

    return CompletionModel(
        PrefixCache(forward),
        Sampler(forward, vocabulary, tokenizer, len(tokenizer), recompute),
        NaiveReader(model, tokenizer),
        planner,
        end_ids | vocabulary.specials | infill_ends,
    )
