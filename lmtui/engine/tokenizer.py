"""From a text to its tokens, and where a text can be cut without changing them.

Owns which boundaries between tokens are safe: the tokens of the two halves, read
apart, are those of the whole. Follows from the tokenizer's own parts: its
pre-tokenizer, whose pieces no token crosses, or, where it has none that cuts, its
vocabulary, since a boundary whose two characters stand together in no token is one
of every text. Knows no model and keeps no text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, islice, pairwise
from typing import Any

import torch
from torch import Tensor

from lmtui.models.errors import tokenizing

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


_PART = 1 << 18  # code points that are read at once
_WORDS_LOOKED_AHEAD = 2
# A pre-tokenizer's pattern looks at what follows a piece: at the rest of the word, at
# the spaces after it and at the character behind them; not farther.


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """The tokens of a text."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """Start and end of each in code points."""
    opens: list[bool]
    """Whether a new piece of the pre-tokenizer begins with the token."""


class TextTokenizer:
    """Reads plain text: special-token strings stay ordinary text, nothing is added."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        added = tokenizer.added_tokens_decoder.values()
        matched = (len(token.content) for token in added if not token.special)
        self.reach = max(matched, default=0)
        """Length of the longest string that is a token wherever it stands."""

    def read(self, text: str) -> TokenizedText:
        """Tokenise `text`."""
        backend = self._backend
        kept = backend.encode_special_tokens, backend.post_processor
        # Some tokenizers' last step cuts the spaces off the spans.
        backend.encode_special_tokens, backend.post_processor = True, None
        try:
            # A batch of one: other threads run on meanwhile, unlike with `encode`.
            with tokenizing():
                [read] = backend.encode_batch([text], add_special_tokens=False)
        finally:
            backend.encode_special_tokens, backend.post_processor = kept
        words = read.word_ids
        opens = [a != b for a, b in zip(words, [None, *words], strict=False)]
        return TokenizedText(read.ids, read.offsets, opens)

    def read_from(self, text: str, start: int, end: int) -> TokenizedText:
        """The tokens of `text` from the safe boundary `start`.

        One character before it is read with them: to some tokenizers, the beginning
        of a text is special.
        """
        lead = min(1, start)
        read = self.read(text[start - lead : end])
        skip = next(
            (i for i, (at, _) in enumerate(read.spans) if at >= lead), len(read.ids)
        ) if lead else 0  # fmt: skip
        moved = start - lead
        spans = [(a + moved, b + moved) for a, b in read.spans[skip:]]
        return TokenizedText(read.ids[skip:], spans, read.opens[skip:])

    def ids(self, text: str, *, part: int = _PART) -> list[int]:
        """The tokens of a text of any length: those of the whole, read in parts of so
        many code points, or more where it can't be cut. Reading 10 MB at once takes
        1.7 GB for what is said of each token besides."""
        ids: list[int] = []
        start, size = 0, part
        while start < len(text):
            end = min(len(text), start + size)
            read = self.read_from(text, start, end)
            if end == len(text):
                return ids + read.ids
            index = self._last_safe(text, read, end)
            size = part if index else 2 * size
            if index:
                ids += read.ids[:index]
                start = read.spans[index][0]
        return ids

    def _last_safe(self, text: str, read: TokenizedText, end: int) -> int:
        """The last of these tokens such that what is before it stays as it is whatever
        comes from `end` on; 0 where there is none."""
        left = self.margin
        for index in range(len(read.ids) - 1, 0, -1):
            place = read.spans[index][0]
            if place > end - max(1, self.reach) or read.spans[index - 1][1] > place:
                continue
            if not self.safe(text, place, opens=read.opens[index]):
                continue
            if left == 0 and self.begins_alone(text, place):
                return index
            left = max(0, left - 1)
        return 0

    def begins_alone(self, text: str, place: int) -> bool:
        """Whether a token begins at `place` also where a text begins just before."""
        read = self.read(text[place - 1 : place + 1])
        return any(
            start == 1 and opens >= self.cuts
            for (start, _), opens in zip(read.spans, read.opens, strict=True)
        )

    @cached_property
    def cuts(self) -> bool:
        """Whether the pre-tokenizer cuts between words."""
        return len(self._pieces("a b")) > 1

    @property
    def margin(self) -> int:
        """How many more safe boundaries must lie between one and a changed place."""
        return _WORDS_LOOKED_AHEAD if self.cuts else 0

    def safe(self, text: str, place: int, *, opens: bool) -> bool:
        """Whether the boundary of tokens at `place` is safe, 0 < place < len(text);
        `opens` tells whether a piece begins with the token there."""
        before, after = text[place - 1], text[place]
        word = after == " " and not before.isspace()
        line = before == "\n" and after.isalnum()
        if not (word or line):
            return False
        if self.cuts:
            return opens
        # Composed by the normalizer, the characters may be others than in the text.
        last = self._seen(text[max(0, place - 8) : place])[-1:]
        return self._never_joined(last, word)

    def _never_joined(self, last: str, word: bool) -> bool:
        if word:
            return bool(self._space) and last not in self._before_space
        return last == "\n" and not self._newline_joins

    def _pieces(self, text: str) -> list[str]:
        """`text` as the model of the tokenizer gets it."""
        with tokenizing():
            if self._backend.normalizer:
                text = self._backend.normalizer.normalize_str(text)
            if not self._backend.pre_tokenizer:
                return [text]
            pieces = self._backend.pre_tokenizer.pre_tokenize_str(text)
        return [piece for piece, _ in pieces]

    def _seen(self, text: str) -> str:
        return "".join(self._pieces(text))

    @cached_property
    def _space(self) -> str:
        """What stands for a space; nothing where that is not one character."""
        between = self._seen("a b").rpartition("a")[2].partition("b")[0]
        return between if len(between) == 1 else ""

    @cached_property
    def _before_space(self) -> frozenset[str]:
        """The characters that some token has before a space."""
        mark = self._space
        vocabulary = self._backend.get_vocab()
        return frozenset(
            token[place - 1]
            for token in vocabulary
            for place in range(1, len(token))
            if mark in token and token[place] == mark
        )

    @cached_property
    def _newline_joins(self) -> bool:
        """Whether some token goes on after a newline with a letter or digit."""
        tokens = (token for token in self._backend.get_vocab() if "\n" in token)
        pairs = chain.from_iterable(map(pairwise, tokens))
        return any(a == "\n" and b.isalnum() for a, b in pairs)
