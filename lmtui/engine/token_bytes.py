"""A vocabulary, looked up by the bytes of its tokens.

Owns which tokens begin, are or end some bytes, and a number for all that tokens may
add to them. Knows ids and bytes; no text, no tokenizer and no logprobs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import islice, pairwise

import torch
from torch import Tensor

_KEPT = 64  # beginnings whose continuations are numbered only once


class TokenBytes:
    """The bytes of every token, in order; and a number, the key, for all that may
    come after typed bytes: a token without bytes, or bytes."""

    def __init__(self, tokens: Sequence[bytes], specials: Collection[int]) -> None:
        """`tokens` are the bytes of the ids from 0 to V - 1; those of `specials` are
        no text, whatever they are called."""
        spelled = [i for i, data in enumerate(tokens) if data and i not in specials]
        self._bare = sorted(set(range(len(tokens))).difference(spelled))
        self._ids = sorted(spelled, key=tokens.__getitem__)
        self._sorted = [tokens[i] for i in self._ids]
        self._longest = max(map(len, self._sorted), default=0)
        self._beyond: list[bytes] = []
        self._keys: dict[bytes, int] = {}
        self._after = lru_cache(_KEPT)(self._number)
        self.beyond(b"")  # the longest work, needed after most words

    @property
    def size(self) -> int:
        """How many keys there are; it grows."""
        return len(self._bare) + len(self._beyond)

    def key(self, beyond: bytes) -> int | None:
        """The key of these bytes, if they were ever met."""
        return self._keys.get(beyond)

    def meaning(self, key: int) -> tuple[bytes, int | None]:
        """The bytes of a key, or the id of a token without bytes."""
        bare = len(self._bare)
        if key < bare:
            return b"", self._bare[key]
        return self._beyond[key - bare], None

    def exactly(self, data: bytes) -> list[int]:
        """The tokens with these bytes."""
        place = bisect_left(self._sorted, data)
        end = place
        while end < len(self._sorted) and self._sorted[end] == data:
            end += 1
        return self._ids[place:end]

    def beginnings(self, data: bytes) -> list[tuple[int, int]]:
        """The tokens that `data` begins with, or is, with their sizes."""
        sizes = range(1, min(len(data), self._longest) + 1)
        return [(i, size) for size in sizes for i in self.exactly(data[:size])]

    def beyond(self, data: bytes) -> tuple[Tensor, Tensor]:
        """The tokens that begin with `data` and add to it: their ids, and the keys of
        what they add. After nothing, that is all tokens."""
        return self._after(data)

    def _number(self, data: bytes) -> tuple[Tensor, Tensor]:
        start = bisect_right(self._sorted, data)
        end = bisect_right(self._sorted, data + b"\xff" * self._longest)
        ids, bare, keys = self._ids[start:end], len(self._bare), self._keys
        met, size = len(keys), len(data)
        added = [
            keys.setdefault(token[size:], bare + len(keys))
            for token in self._sorted[start:end]
        ]
        self._beyond += islice(keys, met, None)
        if not data:
            ids, added = [*self._bare, *ids], [*range(bare), *added]
        return torch.tensor(ids).long(), torch.tensor(added).long()

    def guess(self, data: bytes) -> tuple[int, ...]:
        """How a tokenizer would probably cut `data`; empty for bytes without tokens.

        Byte-pair vocabularies number their tokens in the order in which they merge.
        """
        parts = [data[i : i + 1] for i in range(len(data))]
        while pairs := self._merges(parts):
            place = min(pairs)[1]
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        ids = [self.exactly(part)[:1] for part in parts]
        return tuple(i for some in ids for i in some) if all(ids) else ()

    def _merges(self, parts: list[bytes]) -> list[tuple[int, int]]:
        """The token that each two neighbours would make, and the place of the two."""
        pairs = enumerate(pairwise(parts))
        return [(i, n) for n, (a, b) in pairs for i in self.exactly(a + b)[:1]]
