"""Vocabularies for grammars, and texts drawn under their masks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from lmtui.engine.grammar.matcher import GrammarMatcher
from lmtui.engine.grammar.text import Grammar, Kind
from lmtui.engine.grammar.vocabulary import GrammarVocabulary
from lmtui.engine.text.detokenizer import Vocabulary
from tests.engine import tiny
from tests.engine.text.test_detokenizer import sentencepiece_like

PADDED = 7
"""Rows of the model's head that have no token."""
TOKENIZERS = {"byte level": tiny.tokenizer, "sentencepiece": sentencepiece_like}
ENDS = {"byte level": (0, 2), "sentencepiece": (1,)}


@dataclass(frozen=True)
class Made:
    """A vocabulary with what it was made of."""

    vocabulary: Vocabulary
    grammars: GrammarVocabulary
    size: int
    ends: tuple[int, ...]

    def matcher(self, kind: Kind, text: str) -> GrammarMatcher:
        """A matcher at the beginning of a text."""
        return self.grammars.compile(Grammar(kind, text)).matcher(self.ends)

    def byte(self, byte: int) -> int:
        """The token of one byte."""
        data = bytes([byte])
        tokens = range(3, self.size)
        return next(i for i in tokens if self.vocabulary.bytes(i) == data)

    def text(self, ids: list[int]) -> str:
        """The text of tokens, without the end token."""
        data = b"".join(self.vocabulary.bytes(i) for i in ids if i not in self.ends)
        return data.decode()


@cache
def made(kind: str = "byte level") -> Made:
    tokenizer: Any = TOKENIZERS[kind]()
    vocabulary, size = Vocabulary(tokenizer), len(tokenizer) + PADDED
    grammars = GrammarVocabulary(tokenizer, vocabulary, size)
    return Made(vocabulary, grammars, size, ENDS[kind])


CLOSING = (b'"', b"}", b"]", b",", b":")


def drawn(
    made: Made, matcher: GrammarMatcher, rng: random.Random, *, longest: int = 600
) -> list[int] | None:
    """Tokens drawn under the masks from random logits, which favour the end and what
    closes what is open more and more; None for a text that did not end."""
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    closing = torch.tensor(
        [
            i in made.ends or made.vocabulary.bytes(i) in CLOSING
            for i in range(made.size)
        ]
    )
    ids: list[int] = []
    for step in range(longest):
        logits = torch.randn(made.size, generator=generator) * 2
        logits += closing * (step / 8)
        token = int(logits.masked_fill(~matcher.mask(), -torch.inf).argmax())
        matcher.accept(token)
        ids.append(token)
        if token in made.ends:
            return ids
    return None
