"""Search of a vocabulary by text, with the rank of each match in a distribution.

Exact matches come first, then tokens that begin with the text, then those that contain
it; of equals, the more probable first. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from lmtui.engine.sampling.chain import SamplerChain
from lmtui.engine.sampling.logits_store import StoredLogits, candidates, without_sampled
from lmtui.engine.sampling.ranks import rank
from lmtui.engine.text.detokenizer import Spelling
from lmtui.engine.types import RankedCandidate, TokenMatches


class VocabularyIndex:
    """Texts and bytes of all tokens of a vocabulary."""

    def __init__(
        self,
        vocabulary: Spelling,
        size: int,
        control_ids: frozenset[int] = frozenset(),
    ) -> None:
        """`size` is the number of tokens that the model chooses from."""
        self.vocabulary, self.control_ids = vocabulary, control_ids
        self.size = size
        self._containing: dict[tuple[bytes, ...], frozenset[int]] = {}

    @cached_property
    def _texts(self) -> list[str]:
        return [self.vocabulary.text(token) for token in range(self.size)]

    @cached_property
    def _folded(self) -> list[str]:
        return [text.lower() for text in self._texts]

    def spell(self, token: int) -> bytes:
        return self.vocabulary.bytes(token)

    @cached_property
    def _by_bytes(self) -> dict[bytes, list[int]]:
        ids: dict[bytes, list[int]] = {}
        for token in range(self.size):
            ids.setdefault(self.vocabulary.bytes(token), []).append(token)
        return ids

    def spelled(self, data: bytes) -> Sequence[int]:
        return self._by_bytes.get(data, ())

    def containing(self, texts: tuple[bytes, ...]) -> frozenset[int]:
        if texts not in self._containing:
            self._containing[texts] = frozenset(
                token
                for data, ids in self._by_bytes.items()
                if any(text in data for text in texts)
                for token in ids
            )
        return self._containing[texts]

    def matching(self, text: str) -> list[tuple[int, int]]:
        """Return, for each token that contains `text`, how well it fits (0 is best) and
        its id. Case counts only if `text` has a capital letter; a space before a word
        is ignored."""
        if not text:
            return []
        cased = any(character.isupper() for character in text)
        texts = self._texts if cased else self._folded
        return [
            (_match_rank(known, text), token)
            for token, known in enumerate(texts)
            if text in known
        ]


def _match_rank(known: str, text: str) -> int:
    """Return 0 for an exact match, 1 for a prefix, 2 for any other place."""
    for form in (known, known.removeprefix(" ")):
        if form == text:
            return 0
    return 1 if known.removeprefix(" ").startswith(text) else 2


def search(
    position: StoredLogits,
    lexicon: VocabularyIndex,
    text: str,
    chain: SamplerChain,
    *,
    count: int,
) -> TokenMatches:
    """Return the best `count` matches, with their ranks; where only some tokens are
    listed, those among them."""
    matching, size = lexicon.matching(text), position.logits.numel()
    if position.top_logprobs is not None:
        known = set(rank(position.logits, position.top_logprobs)[0].tolist())
        matching = [match for match in matching if match[1] in known]
        size = position.top_logprobs
    look = position.view(chain)
    kept = look.sampled
    told = position.rows(torch.tensor([i for _, i in matching]).long(), kept)
    order = sorted(
        zip(matching, told.logits.tolist(), strict=True),
        key=lambda match: (match[0][0], -match[1]),
    )[:count]
    best = position.rows(torch.tensor([i for (_, i), _ in order]).long(), kept)
    rows = candidates(best, kept, lexicon.vocabulary)
    if not look.is_certain:
        rows = tuple(map(without_sampled, rows))
    return TokenMatches(
        tuple(map(RankedCandidate, position.ranks(best), rows)),
        len(matching),
        size,
    )
