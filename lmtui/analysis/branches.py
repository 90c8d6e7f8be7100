"""The roads of a text: how it goes on, and how it might have gone on.

Owns which road leaves which at what place, and which tokens are a road's own. The first
road is the text as it was given, of which only the numbers change. Tokens are values
with an `id` and a `logprob`; ids are the truth, so a road may leave in the middle of a
character. Knows no engine, no text and no screen.
"""

from __future__ import annotations

import codecs
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from lmtui.engine.totals import Sums
from lmtui.engine.types import FinishReason, ScoredToken, Step

Token = ScoredToken | Step

ROOT = 0
"""The road that is the text as it was given."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A way on from a place of another road."""

    id: int
    parent: int | None
    """The road that it leaves; None for the first."""
    fork: int
    """How many tokens of the parent's way come before its own."""
    tokens: tuple[Token, ...]
    """Its own."""
    name: str = ""
    end: FinishReason | None = None
    """Why the model wrote no more; None where it was not asked to."""

    @property
    def length(self) -> int:
        """Tokens of the whole way, from the beginning of the text."""
        return self.fork + len(self.tokens)

    @property
    def logprob(self) -> float | None:
        """Sum over its own tokens, in nats; None where none has one."""
        known = [t.logprob for t in self.tokens if t.logprob is not None]
        return math.fsum(known) if known else None


class BranchTree:
    """All roads of one text, by id; ids are never used again."""

    def __init__(self, tokens: Sequence[Token] = ()) -> None:
        self._roads = {ROOT: Branch(ROOT, None, 0, tuple(tokens))}
        self._new = ROOT + 1

    def rescore(self, tokens: Sequence[ScoredToken]) -> None:
        """Give tokens of the text that follow each other other numbers."""
        if not tokens:
            return
        text, first = self._roads[ROOT], tokens[0].index
        kept = text.tokens
        now = (*kept[:first], *tokens, *kept[first + len(tokens) :])
        self._put(replace(text, tokens=now))

    def __len__(self) -> int:
        return len(self._roads)

    def __contains__(self, id_: int) -> bool:
        return id_ in self._roads

    def road(self, id_: int) -> Branch:
        """One road, as it is now.

        Raises:
            KeyError: there is none.
        """
        return self._roads[id_]

    def path(self, id_: int) -> tuple[Token, ...]:
        """All tokens of a way, from the beginning of the text."""
        road = self._roads[id_]
        if road.parent is None:
            return road.tokens
        return self.path(road.parent)[: road.fork] + road.tokens

    def leaves(self, id_: int) -> int:
        """The place where a way leaves the text itself; its end where it does not."""
        road = self._roads[id_]
        place = road.length
        while road.parent is not None:
            place, road = road.fork, self._roads[road.parent]
        return place

    def siblings(self, id_: int, place: int) -> tuple[int, ...]:
        """The roads that part at a place of a way: the one that the others leave, which
        may end there, then those in order of creation. One alone where there is no
        fork."""
        owner = self._owner(id_, place).id
        return (owner, *(r.id for r in self._leaving(owner) if r.fork == place))

    def forks(self, id_: int) -> tuple[int, ...]:
        """The places of a way at which it could have gone on otherwise, in order."""
        found: set[int] = set()
        road = self._roads[id_]
        last = road.length
        while True:
            found.update(r.fork for r in self._leaving(road.id) if r.fork <= last)
            if road.parent is None:
                return tuple(sorted(found))
            last, road = road.fork, self._roads[road.parent]

    def move(self, id_: int, place: int, by: int) -> tuple[int, int]:
        """The sibling `by` places further on, around at the ends, and the place where
        they part: the last fork up to `place`, else the first behind it. The same way
        and place where it has no fork."""
        forks = self.forks(id_)
        if not forks:
            return id_, place
        fork = max((p for p in forks if p <= place), default=forks[0])
        ways = self.siblings(id_, fork)
        at = ways.index(self._on(id_, fork))
        return ways[(at + by) % len(ways)], fork

    def take(self, id_: int, place: int, token: Token) -> int:
        """Put a token at a place of a way: the road that has it there already, the
        same road where it ends there and is not the text itself, else a new one.
        What stood there stays on its own road."""
        owner = self._roads[self._on(id_, place)]
        if place == owner.length and owner.id != ROOT:
            self._put(replace(owner, tokens=(*owner.tokens, token), end=None))
            return owner.id
        for way in self.siblings(id_, place):
            if (
                self.path(way)[place : place + 1]
                and self.path(way)[place].id == token.id
            ):
                return way
        road = Branch(self._new, self._owner(id_, place).id, place, (token,))
        self._new += 1
        self._put(road)
        return road.id

    def finish(self, id_: int, end: FinishReason) -> None:
        """Keep why the model wrote no more."""
        self._put(replace(self._require_own(id_), end=end))

    def back(self, id_: int) -> int | None:
        """Take the last token from a road, and return where one is then: a road without
        tokens is gone. None where nothing can be taken: the text itself, or a token
        that other roads leave from."""
        road = self._roads[id_]
        held = any(other.fork >= road.length for other in self._leaving(id_))
        if road.parent is None or held:
            return None
        if len(road.tokens) > 1:
            self._put(replace(road, tokens=road.tokens[:-1], end=None))
            return id_
        if self._leaving(id_):
            return None
        del self._roads[id_]
        return road.parent

    def rename(self, id_: int, name: str) -> None:
        """Give a road a name, or take it away."""
        self._put(replace(self._roads[id_], name=name))

    def family(self, id_: int) -> tuple[int, ...]:
        """A road and all that leave it, directly or not."""
        return tuple(road.id for road, _ in self._below(self._roads[id_], 0))

    def remove(self, id_: int) -> int:
        """Take a road out with all that leave it; returns the one it left."""
        parent = self._require_own(id_).parent
        assert parent is not None
        for gone in self.family(id_):
            del self._roads[gone]
        return parent

    def rows(self) -> tuple[tuple[Branch, int], ...]:
        """Every road and how deep it lies: below the one it leaves, by place."""
        return tuple(self._below(self._roads[ROOT], 0))

    def _below(self, road: Branch, depth: int) -> Iterator[tuple[Branch, int]]:
        yield road, depth
        for other in sorted(self._leaving(road.id), key=lambda r: (r.fork, r.id)):
            yield from self._below(other, depth + 1)

    def _leaving(self, id_: int) -> list[Branch]:
        return [road for road in self._roads.values() if road.parent == id_]

    def _on(self, id_: int, place: int) -> int:
        """The road of this way that the token at a place belongs to, or would."""
        road = self._roads[id_]
        while road.parent is not None and place < road.fork:
            road = self._roads[road.parent]
        return road.id

    def _owner(self, id_: int, place: int) -> Branch:
        """The road that another one leaves which goes another way at a place."""
        road = self._roads[id_]
        while road.parent is not None and place <= road.fork:
            road = self._roads[road.parent]
        return road

    def _require_own(self, id_: int) -> Branch:
        if id_ == ROOT:
            raise ValueError("the text itself stays as it is")
        return self._roads[id_]

    def _put(self, road: Branch) -> None:
        self._roads[road.id] = road


Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BranchText:
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
