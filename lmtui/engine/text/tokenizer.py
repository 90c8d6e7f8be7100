"""Tokenisation of plain text, and boundaries at which a text can be cut safely.

A boundary is safe if the tokens of the two parts, read apart, are those of the whole
text. Knows no model and keeps no text.
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

_KEPT = 64  # typed prefixes whose lists of tokens are cached

_PART = 1 << 18  # code points that are tokenised at once
# A pre-tokenizer's pattern looks ahead: at the rest of the word, the spaces after it
# and the character behind them; not farther.
_WORDS_LOOKED_AHEAD = 2


class TokenBytes:
    """Sorted bytes of every token, for lookups by prefix.

    A key numbers each continuation of typed bytes: one for each token without bytes,
    and one for each byte string that a token adds.
    """

    def __init__(self, tokens: Sequence[bytes], specials: Collection[int]) -> None:
        """`tokens` are the bytes of the ids from 0 to V - 1; those of `specials` are no
        text, whatever they are called."""
        spelled = [i for i, data in enumerate(tokens) if data and i not in specials]
        self._bare = sorted(set(range(len(tokens))).difference(spelled))
        self._ids = sorted(spelled, key=tokens.__getitem__)
        self._sorted = [tokens[i] for i in self._ids]
        self._longest = max(map(len, self._sorted), default=0)
        self._beyond: list[bytes] = []
        self._keys: dict[bytes, int] = {}
        self._after = lru_cache(_KEPT)(self._number)
        self.beyond(b"")  # takes longest, and is needed after most words

    @property
    def size(self) -> int:
        """Number of keys; it grows."""
        return len(self._bare) + len(self._beyond)

    def key(self, beyond: bytes) -> int | None:
        """Return the key of these bytes, if they have one yet."""
        return self._keys.get(beyond)

    def meaning(self, key: int) -> tuple[bytes, int | None]:
        """Return the bytes of a key, or the id of a token without bytes."""
        bare = len(self._bare)
        if key < bare:
            return b"", self._bare[key]
        return self._beyond[key - bare], None

    def exactly(self, data: bytes) -> list[int]:
        first = bisect_left(self._sorted, data)
        end = first
        while end < len(self._sorted) and self._sorted[end] == data:
            end += 1
        return self._ids[first:end]

    def starting_with(self, data: bytes) -> list[bytes]:
        """Return the bytes of the tokens that begin with `data`, in order."""
        start = bisect_left(self._sorted, data)
        return self._sorted[
            start : bisect_right(self._sorted, self._bytes_after_prefix(data))
        ]

    def _bytes_after_prefix(self, data: bytes) -> bytes:
        """Return bytes after those of all tokens that begin with `data`."""
        return data + b"\xff" * self._longest

    def beginnings(self, data: bytes) -> list[tuple[int, int]]:
        """Return the tokens whose bytes are a prefix of `data`, or all of it, with
        their sizes in bytes."""
        sizes = range(1, min(len(data), self._longest) + 1)
        return [(i, size) for size in sizes for i in self.exactly(data[:size])]

    def beyond(self, data: bytes) -> tuple[Tensor, Tensor]:
        """Return the tokens whose bytes begin with `data` and are longer: ids [m], and
        the keys [m] of what they add, int64. For empty `data`, these are all tokens."""
        return self._after(data)

    def _number(self, data: bytes) -> tuple[Tensor, Tensor]:
        start = bisect_right(self._sorted, data)
        end = bisect_right(self._sorted, self._bytes_after_prefix(data))
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
        """Return the likely tokenisation of `data`; empty for bytes without tokens.

        Merges pairs by lowest id first, since byte-pair vocabularies number their
        tokens in the order of the merges.
        """
        parts = [data[i : i + 1] for i in range(len(data))]
        while pairs := self._merges(parts):
            index = min(pairs)[1]
            parts[index : index + 2] = [parts[index] + parts[index + 1]]
        ids = [self.exactly(part)[:1] for part in parts]
        return tuple(i for some in ids for i in some) if all(ids) else ()

    def _merges(self, parts: list[bytes]) -> list[tuple[int, int]]:
        """Return, for each pair of neighbours that a token joins, its id and the pair's
        index."""
        pairs = enumerate(pairwise(parts))
        return [(i, n) for n, (a, b) in pairs for i in self.exactly(a + b)[:1]]


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Tokens of a text."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """Start and end of each in code points."""
    opens: list[bool]
    """Whether a piece of the pre-tokenizer begins with the token."""


class TextTokenizer:
    """Tokenizer for plain text: special-token strings stay text, and no token is added.

    Whether a boundary is safe follows from the pre-tokenizer, whose pieces no token
    crosses. Without one that cuts at words, it follows from the vocabulary: a boundary
    between two characters that are adjacent in no token is one in every text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        added = tokenizer.added_tokens_decoder.values()
        matched = (len(token.content) for token in added if not token.special)
        self.reach = max(matched, default=0)
        """Code points of the longest string that is always matched as one token."""

    def read(self, text: str) -> TokenizedText:
        backend = self._backend
        kept = backend.encode_special_tokens, backend.post_processor
        # The post-processor of some tokenizers trims spaces off the spans.
        backend.encode_special_tokens, backend.post_processor = True, None
        try:
            # A batch of one releases the GIL, unlike `encode`.
            with tokenizing():
                [read] = backend.encode_batch([text], add_special_tokens=False)
        finally:
            backend.encode_special_tokens, backend.post_processor = kept
        words = read.word_ids
        opens = [a != b for a, b in zip(words, [None, *words], strict=False)]
        return TokenizedText(read.ids, read.offsets, opens)

    def read_from(self, text: str, start: int, end: int) -> TokenizedText:
        """Return the tokens of `text` from the safe boundary `start` to `end`.

        One more character before it is read and dropped, since some tokenizers treat
        the beginning of a text specially.
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
        """Return the tokens of a text of any length, read in parts of about `part` code
        points, cut at safe boundaries. Reading 10 MB at once would take 1.7 GB for the
        details of each token."""
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
        """Return the last token such that all tokens before it stay the same whatever
        follows `end`; 0 if there is none."""
        left = self.margin
        for index in range(len(read.ids) - 1, 0, -1):
            offset = read.spans[index][0]
            if offset > end - max(1, self.reach) or read.spans[index - 1][1] > offset:
                continue
            if not self.safe(text, offset, opens=read.opens[index]):
                continue
            if left == 0 and self.begins_alone(text, offset):
                return index
            left = max(0, left - 1)
        return 0

    def begins_alone(self, text: str, position: int) -> bool:
        """Return whether a token begins at `position` also where the text begins one
        character before it."""
        read = self.read(text[position - 1 : position + 1])
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
        """Number of further safe boundaries needed between a boundary and a change."""
        return _WORDS_LOOKED_AHEAD if self.cuts else 0

    def safe(self, text: str, position: int, *, opens: bool) -> bool:
        """Return whether the token boundary at `position` is safe, 0 < position <
        len(text); `opens` says whether a piece begins with the token there."""
        before, after = text[position - 1], text[position]
        word = after == " " and not before.isspace()
        line = before == "\n" and after.isalnum()
        if not (word or line):
            return False
        if self.cuts:
            return opens
        # The normalizer may compose characters, so compare with its output.
        last = self._seen(text[max(0, position - 8) : position])[-1:]
        return self._never_joined(last, word)

    def _never_joined(self, last: str, word: bool) -> bool:
        if word:
            return bool(self._space) and last not in self._before_space
        return last == "\n" and not self._newline_joins

    def _pieces(self, text: str) -> list[str]:
        """Return `text` as the tokenizer's model gets it: normalised and cut into
        pieces."""
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
        """Character that replaces a space; empty where that is not one character."""
        between = self._seen("a b").rpartition("a")[2].partition("b")[0]
        return between if len(between) == 1 else ""

    @cached_property
    def _before_space(self) -> frozenset[str]:
        """Characters that precede a space in some token."""
        mark = self._space
        vocabulary = self._backend.get_vocab()
        return frozenset(
            token[offset - 1]
            for token in vocabulary
            for offset in range(1, len(token))
            if mark in token and token[offset] == mark
        )

    @cached_property
    def _newline_joins(self) -> bool:
        """Whether some token has a letter or digit right after a newline."""
        tokens = (token for token in self._backend.get_vocab() if "\n" in token)
        pairs = chain.from_iterable(map(pairwise, tokens))
        return any(a == "\n" and b.isalnum() for a, b in pairs)
