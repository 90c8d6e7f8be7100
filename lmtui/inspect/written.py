"""What is written along a way, and what a part of it adds up to.

Owns where the text itself counts and where only the tokens' bytes are known: up to
where a way leaves the text, its own characters are the truth; from there on, the bytes.
Knows no engine and no screen.
"""

from __future__ import annotations

import codecs
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from lmtui.engine.sums import Sums
from lmtui.engine.types import ScoredToken
from lmtui.inspect.roads import Token

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Written:
    """The tokens of a way, the first `shared` of which are those of a text."""

    tokens: Sequence[Token]
    text: str = ""
    spans: Sequence[Span] = ()
    """Where each token of the text stands in it, in code points."""
    shared: int = 0

    @property
    def known(self) -> int:
        """How many tokens have a place in the text."""
        return min(self.shared, len(self.spans))

    def whole_text(self) -> str:
        """All that is written, without the bytes of a character that is not whole."""
        place = self._boundary(self.known)
        start = self.spans[place][0] if place < len(self.spans) else len(self.text)
        data = b"".join(token.bytes for token in self.tokens[place:])
        return self.text[:start] + _characters(data)

    def text_of(self, first: int, end: int) -> str:
        """What the tokens from `first` to before `end` say; for half characters what
        their bytes are worth."""
        if end <= self.known and self._cuts(first) and self._cuts(end):
            return self.text[slice(*self._stretch(first, end))]
        return _characters(b"".join(t.bytes for t in self.tokens[first:end]))

    def tokens_at(self, start: int, stop: int) -> tuple[int, int]:
        """The first token that has a part of a stretch of `whole_text`, and the one
        behind the last; the same place twice where there is none."""
        whole = self.known == len(self.tokens)
        places = self.spans if whole else tuple(self._places())
        first = bisect_right(places, start, key=lambda span: span[1])
        end = bisect_left(places, stop, key=lambda span: span[0])
        return (first, end) if first < end else (0, 0)

    def _places(self) -> Iterator[Span]:
        """Where each token stands in `whole_text`; parts of a character share it."""
        place = self._boundary(self.known)
        yield from self.spans[:place]
        at = self.spans[place][0] if place < len(self.spans) else len(self.text)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in self.tokens[place:]:
            size = len(decoder.decode(token.bytes))
            yield at, at + size + bool(decoder.getstate()[0])
            at += size

    def sums(self, name: str, first: int, end: int) -> Sums:
        """What the tokens from `first` to before `end` add up to."""
        part = self.tokens[first:end]
        scored = [t.logprob for t in part if t.logprob is not None]
        sizes = [self._size(first + a, first + b) for a, b in _scored(part)]
        return Sums(
            name=name,
            logprob=math.fsum(scored),
            scored=len(scored),
            tokens=len(part),
            characters=sum(characters for characters, _ in sizes),
            bytes=sum(size for _, size in sizes),
            whole=len(scored) >= len(part) - (not first),  # no context, no number
        )

    def _size(self, first: int, end: int) -> tuple[int, int]:
        """Characters and bytes of a part without tokens that have no number."""
        if end <= self.known and self._cuts(first) and self._cuts(end):
            text = self.text[slice(*self._stretch(first, end))]
            return len(text), len(text.encode("utf-8", "surrogatepass"))
        data = b"".join(token.bytes for token in self.tokens[first:end])
        return sum(byte & 0xC0 != 0x80 for byte in data), len(data)

    def _stretch(self, first: int, end: int) -> Span:
        """Where a part stands in the text. The whole is all of it, also where no token
        stands for its beginning or its end."""
        if first >= end:
            return 0, 0
        start = self.spans[first][0] if first else 0
        last = end == len(self.spans)
        return start, len(self.text) if last else self.spans[end - 1][1]

    def _cuts(self, place: int) -> bool:
        """Whether the tokens before and behind a place share no character."""
        if not 0 < place < len(self.spans):
            return True
        return self.spans[place][0] >= self.spans[place - 1][1]

    def _boundary(self, place: int) -> int:
        """The last place up to one at which no character is cut."""
        while not self._cuts(place):
            place -= 1
        return place


def as_scored(token: Token, place: int) -> ScoredToken:
    """A token at a place of a way with the numbers that it has, however it came."""
    if isinstance(token, ScoredToken):
        return token if token.index == place else replace(token, index=place)
    return ScoredToken(
        index=place,
        id=token.id,
        text=token.text,
        bytes=token.bytes,
        logprob=token.logprob,
        rank=token.rank,
        entropy=token.entropy,
        top=token.distribution.candidates,
    )


def _scored(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """The stretches of tokens that have a number."""
    known = [False, *(token.logprob is not None for token in tokens), False]
    edges = [place for place, (a, b) in enumerate(pairwise(known)) if a != b]
    return zip(edges[::2], edges[1::2], strict=True)


def _characters(data: bytes) -> str:
    """Bytes as text: what is no character is replaced, an open one at the end left
    out."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)
