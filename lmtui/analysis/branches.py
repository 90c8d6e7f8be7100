"""The branches of a text: the text itself, and continuations that differ from it.

The first branch is the text as given; only its scores change. Ids are the truth, so a
branch may begin in the middle of a character. Knows no engine, no text and no screen.
"""

from __future__ import annotations

import codecs
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from lmtui.engine.scoring.totals import Sums
from lmtui.engine.types import FinishReason, ScoredToken, Step

Token = ScoredToken | Step

ROOT = 0
"""Id of the branch that is the text as given."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A continuation that begins at a position of its parent's path.

    The path of a branch is all of its tokens from the beginning of the text: the
    parent's path up to `fork`, then its own tokens.
    """

    id: int
    parent: int | None
    """Id of the branch that it forks from; None for the root."""
    fork: int
    """Number of tokens of the parent's path that come before its own."""
    tokens: tuple[Token, ...]
    """Its own tokens."""
    end: FinishReason | None = None
    """Why generation ended; None where it did not."""

    @property
    def length(self) -> int:
        """Number of tokens of the path, from the beginning of the text."""
        return self.fork + len(self.tokens)

    @property
    def logprob(self) -> float | None:
        """Sum of its own tokens' logprobs in nats; None where no token has one."""
        known = [t.logprob for t in self.tokens if t.logprob is not None]
        return math.fsum(known) if known else None


class BranchTree:
    """All branches of one text, by id; ids are never reused."""

    def __init__(self, tokens: Sequence[Token] = ()) -> None:
        self._branches = {ROOT: Branch(ROOT, None, 0, tuple(tokens))}
        self._new = ROOT + 1

    def rescore(self, tokens: Sequence[ScoredToken]) -> None:
        """Replace consecutive tokens of the root by tokens with other scores."""
        if not tokens:
            return
        text, first = self._branches[ROOT], tokens[0].index
        kept = text.tokens
        now = (*kept[:first], *tokens, *kept[first + len(tokens) :])
        self._put(replace(text, tokens=now))

    def __len__(self) -> int:
        return len(self._branches)

    def __contains__(self, id_: int) -> bool:
        return id_ in self._branches

    def branch(self, id_: int) -> Branch:
        return self._branches[id_]

    def path(self, id_: int) -> tuple[Token, ...]:
        """Return all tokens of a branch's path, from the beginning of the text."""
        branch = self._branches[id_]
        if branch.parent is None:
            return branch.tokens
        return self.path(branch.parent)[: branch.fork] + branch.tokens

    def leaves(self, id_: int) -> int:
        """Return the position where a path leaves the root; the length of the root
        itself."""
        branch = self._branches[id_]
        position = branch.length
        while branch.parent is not None:
            position, branch = branch.fork, self._branches[branch.parent]
        return position

    def siblings(self, id_: int, index: int) -> tuple[int, ...]:
        """Return the branches that part at a position of a path.

        The first is the one that the others fork from, which may end there; the others
        follow in order of creation. Only one where there is no fork.
        """
        owner = self._owner(id_, index).id
        return (owner, *(r.id for r in self._leaving(owner) if r.fork == index))

    def forks(self, id_: int) -> tuple[int, ...]:
        """Return the positions of a path at which other branches fork, in order."""
        positions: set[int] = set()
        branch = self._branches[id_]
        last = branch.length
        while True:
            positions.update(r.fork for r in self._leaving(branch.id) if r.fork <= last)
            if branch.parent is None:
                return tuple(sorted(positions))
            last, branch = branch.fork, self._branches[branch.parent]

    def move(self, id_: int, index: int, by: int) -> tuple[int, int]:
        """Return the sibling `by` places further on, cyclically, and the fork's place.

        The fork is the last one up to `index`, else the first one after it. Without any
        fork return the arguments.
        """
        forks = self.forks(id_)
        if not forks:
            return id_, index
        fork = max((p for p in forks if p <= index), default=forks[0])
        ways = self.siblings(id_, fork)
        at = ways.index(self._on(id_, fork))
        return ways[(at + by) % len(ways)], fork

    def take(self, id_: int, index: int, token: Token) -> int:
        """Put a token at a position of a path and return the branch that has it.

        That is a branch that has the token there already; the same branch if it ends
        there and is not the root; or else a new one. The old token stays on its own
        branch.
        """
        owner = self._branches[self._on(id_, index)]
        if index == owner.length and owner.id != ROOT:
            self._put(replace(owner, tokens=(*owner.tokens, token), end=None))
            return owner.id
        for way in self.siblings(id_, index):
            if (
                self.path(way)[index : index + 1]
                and self.path(way)[index].id == token.id
            ):
                return way
        branch = Branch(self._new, self._owner(id_, index).id, index, (token,))
        self._new += 1
        self._put(branch)
        return branch.id

    def finish(self, id_: int, end: FinishReason) -> None:
        self._put(replace(self._require_own(id_), end=end))

    def back(self, id_: int) -> int | None:
        """Remove the last token of a branch and return the branch to show then.

        A branch without tokens is removed, and its parent returned. None where nothing
        can be removed: the root, or a token that other branches fork after.
        """
        branch = self._branches[id_]
        is_forked = any(other.fork >= branch.length for other in self._leaving(id_))
        if branch.parent is None or is_forked:
            return None
        if len(branch.tokens) > 1:
            self._put(replace(branch, tokens=branch.tokens[:-1], end=None))
            return id_
        if self._leaving(id_):
            return None
        del self._branches[id_]
        return branch.parent

    def family(self, id_: int) -> tuple[int, ...]:
        return tuple(branch.id for branch, _ in self._below(self._branches[id_], 0))

    def remove(self, id_: int) -> int:
        """Remove a branch with all its descendants; return its parent."""
        parent = self._require_own(id_).parent
        assert parent is not None
        for gone in self.family(id_):
            del self._branches[gone]
        return parent

    def rows(self) -> tuple[tuple[Branch, int], ...]:
        """Return every branch with its depth, each below its parent, sorted by fork."""
        return tuple(self._below(self._branches[ROOT], 0))

    def _below(self, branch: Branch, depth: int) -> Iterator[tuple[Branch, int]]:
        yield branch, depth
        for other in sorted(self._leaving(branch.id), key=lambda r: (r.fork, r.id)):
            yield from self._below(other, depth + 1)

    def _leaving(self, id_: int) -> list[Branch]:
        return [branch for branch in self._branches.values() if branch.parent == id_]

    def _on(self, id_: int, index: int) -> int:
        """Return the branch of this path that owns the token at a position, or
        would."""
        branch = self._branches[id_]
        while branch.parent is not None and index < branch.fork:
            branch = self._branches[branch.parent]
        return branch.id

    def _owner(self, id_: int, index: int) -> Branch:
        """Return the branch that a branch with another token at a position would fork
        from."""
        branch = self._branches[id_]
        while branch.parent is not None and index <= branch.fork:
            branch = self._branches[branch.parent]
        return branch

    def _require_own(self, id_: int) -> Branch:
        if id_ == ROOT:
            raise ValueError("the text itself can't be removed")
        return self._branches[id_]

    def _put(self, branch: Branch) -> None:
        self._branches[branch.id] = branch


Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BranchText:
    """The tokens of a path, the first `shared` of which are those of a text."""

    tokens: Sequence[Token]
    text: str = ""
    spans: Sequence[Span] = ()
    """The span of each of the text's tokens, in code points."""
    shared: int = 0

    @property
    def known(self) -> int:
        """How many tokens have a span in the text."""
        return min(self.shared, len(self.spans))

    def whole_text(self) -> str:
        """Return the text of the path, without the bytes of an incomplete last
        character."""
        cut = self._boundary(self.known)
        start = self.spans[cut][0] if cut < len(self.spans) else len(self.text)
        data = b"".join(token.bytes for token in self.tokens[cut:])
        return self.text[:start] + _characters(data)

    def text_of(self, first: int, end: int) -> str:
        """Return the text of the tokens from `first` to before `end`.

        Bytes of incomplete characters are replaced by U+FFFD.
        """
        if end <= self.known and self._cuts(first) and self._cuts(end):
            return self.text[slice(*self._stretch(first, end))]
        return _characters(b"".join(t.bytes for t in self.tokens[first:end]))

    def tokens_at(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of the tokens that overlap a span of `whole_text`.

        The range is (first, end), and (0, 0) where there is none.
        """
        whole = self.known == len(self.tokens)
        spans = self.spans if whole else tuple(self._places())
        first = bisect_right(spans, start, key=lambda span: span[1])
        end = bisect_left(spans, stop, key=lambda span: span[0])
        return (first, end) if first < end else (0, 0)

    def _places(self) -> Iterator[Span]:
        """Yield each token's span in `whole_text`; parts of a character share one."""
        cut = self._boundary(self.known)
        yield from self.spans[:cut]
        at = self.spans[cut][0] if cut < len(self.spans) else len(self.text)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in self.tokens[cut:]:
            size = len(decoder.decode(token.bytes))
            yield at, at + size + bool(decoder.getstate()[0])
            at += size

    def sums(self, name: str, first: int, end: int) -> Sums:
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
            # The first token of a text has no context and so no logprob.
            whole=len(scored) >= len(part) - (not first),
        )

    def _size(self, first: int, end: int) -> tuple[int, int]:
        if end <= self.known and self._cuts(first) and self._cuts(end):
            text = self.text[slice(*self._stretch(first, end))]
            return len(text), len(text.encode("utf-8", "surrogatepass"))
        data = b"".join(token.bytes for token in self.tokens[first:end])
        return sum(byte & 0xC0 != 0x80 for byte in data), len(data)

    def _stretch(self, first: int, end: int) -> Span:
        """Return the span of consecutive tokens in the text.

        For the last token it reaches to the end of the text, for the first to its
        beginning, even where no token covers them.
        """
        if first >= end:
            return 0, 0
        start = self.spans[first][0] if first else 0
        last = end == len(self.spans)
        return start, len(self.text) if last else self.spans[end - 1][1]

    def _cuts(self, index: int) -> bool:
        """Return whether the tokens before and after a position share no character."""
        if not 0 < index < len(self.spans):
            return True
        return self.spans[index][0] >= self.spans[index - 1][1]

    def _boundary(self, index: int) -> int:
        """Return the last position up to `index` that cuts no character."""
        while not self._cuts(index):
            index -= 1
        return index


def as_scored(token: Token, index: int) -> ScoredToken:
    if isinstance(token, ScoredToken):
        return token if token.index == index else replace(token, index=index)
    return ScoredToken(
        index=index,
        id=token.id,
        text=token.text,
        bytes=token.bytes,
        logprob=token.logprob,
        rank=token.rank,
        entropy=token.entropy,
        top=token.distribution.candidates,
        varentropy=token.varentropy,
    )


def _scored(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    known = [False, *(token.logprob is not None for token in tokens), False]
    edges = [index for index, (a, b) in enumerate(pairwise(known)) if a != b]
    return zip(edges[::2], edges[1::2], strict=True)


def _characters(data: bytes) -> str:
    """Decode bytes as UTF-8.

    Invalid bytes are replaced; an incomplete character at the end is left out.
    """
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)
