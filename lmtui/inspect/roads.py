"""The roads of a text: how it goes on, and how it might have gone on.

Owns which road leaves which at what place, and which tokens are a road's own. The first
road is the text as it was given, of which only the numbers change. Tokens are values
with an `id` and a `logprob`; ids are the truth, so a road may leave in the middle of a
character. Knows no engine, no text and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lmtui.engine.types import FinishReason, ScoredToken, Step

Token = ScoredToken | Step

ROOT = 0
"""The road that is the text as it was given."""


@dataclass(frozen=True, slots=True)
class Road:
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


class Roads:
    """All roads of one text, by id; ids are never used again."""

    def __init__(self, tokens: Sequence[Token] = ()) -> None:
        self._roads = {ROOT: Road(ROOT, None, 0, tuple(tokens))}
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

    def road(self, id_: int) -> Road:
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
        road = Road(self._new, self._owner(id_, place).id, place, (token,))
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

    def rows(self) -> tuple[tuple[Road, int], ...]:
        """Every road and how deep it lies: below the one it leaves, by place."""
        return tuple(self._below(self._roads[ROOT], 0))

    def _below(self, road: Road, depth: int) -> Iterator[tuple[Road, int]]:
        yield road, depth
        for other in sorted(self._leaving(road.id), key=lambda r: (r.fork, r.id)):
            yield from self._below(other, depth + 1)

    def _leaving(self, id_: int) -> list[Road]:
        return [road for road in self._roads.values() if road.parent == id_]

    def _on(self, id_: int, place: int) -> int:
        """The road of this way that the token at a place belongs to, or would."""
        road = self._roads[id_]
        while road.parent is not None and place < road.fork:
            road = self._roads[road.parent]
        return road.id

    def _owner(self, id_: int, place: int) -> Road:
        """The road that another one leaves which goes another way at a place."""
        road = self._roads[id_]
        while road.parent is not None and place <= road.fork:
            road = self._roads[road.parent]
        return road

    def _require_own(self, id_: int) -> Road:
        if id_ == ROOT:
            raise ValueError("the text itself stays as it is")
        return self._roads[id_]

    def _put(self, road: Road) -> None:
        self._roads[road.id] = road
