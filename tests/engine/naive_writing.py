"""What reads a text for going on with it, in the slowest way there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from lmtui.engine.boundary import Continuations, search
from lmtui.engine.cache import PrefixCache
from lmtui.engine.detokenize import Vocabulary
from lmtui.engine.going_on import Model
from lmtui.engine.library import LibraryForward
from lmtui.engine.places import Place
from lmtui.engine.port import Stop
from lmtui.engine.positions import Positions
from lmtui.engine.token_bytes import TokenBytes
from lmtui.engine.tokenize import TextTokenizer, Tokens
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

    def place(self, text: str, cursor: int) -> Place:
        read = self._tokenizer.read(text[:cursor])
        last = max((i for i, opens in enumerate(read.opens) if opens), default=0)
        if last == 0:
            return Place((), tuple(read.ids), b"", cursor)
        start = read.spans[last][0]
        return Place((), tuple(read.ids[:last]), text[start:cursor].encode(), start)

    def part(self, text: str, start: int, end: int) -> Tokens:
        lead = min(1, start)
        read = self._tokenizer.read(text[start - lead : end])
        kept = [i for i, (place, _) in enumerate(read.spans) if place >= lead]
        return Tokens(
            [read.ids[i] for i in kept],
            [(a + start - lead, b + start - lead) for a, b in read.spans][kept[0] :]
            if kept
            else [],
            [read.opens[i] for i in kept],
        )

    @torch.inference_mode()
    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        """float32 logprobs after `ids`. [V]"""
        logits: torch.Tensor = self._model(torch.tensor([list(ids)])).logits[0, -1]
        return logits.float().log_softmax(-1)

    def continuations(
        self,
        context: Sequence[int],
        typed: bytes,
        *,
        top: int,
        stop: Stop = lambda: False,
    ) -> Continuations:
        return search(
            self._tokens,
            self.logprobs(context),
            typed,
            lambda paths: [self.logprobs([*context, *path]) for path in paths],
            top=top,
        )

    def distribution(self, found: Continuations, top: int) -> Distribution:
        rows = tuple(
            Candidate(r.cover.ids[-1], bytes_text(r.beyond), r.beyond, r.logprob)
            for r in found.rows[:top]
        )
        rest = 1 - math.fsum(row.prob for row in rows)
        return Distribution(
            rows, 0, self._size, rest, 0.0, self._size, 1.0, found.entropy, -1
        )


def parts(model: Any, tokenizer: Any) -> Model:
    """The parts of an engine around a model, with an empty cache."""
    forward = LibraryForward(model)
    return Model(
        forward,
        PrefixCache(forward),
        Positions(lambda context: forward.logits(context.ids[: context.length])[-1]),
        Vocabulary(tokenizer),
        CONTEXT,
    )
