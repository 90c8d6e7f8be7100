"""A half-typed word: every way in which tokens can begin with what is typed.

Owns the sum over those ways. Let r be the bytes that were typed since the last
boundary. A cover is a minimal sequence of tokens whose bytes begin with r; P(r) is
the sum over all covers, and a row is what they add to r, whichever tokens add it. A
cover that adds nothing is extended by a token. Knows ids, bytes and logprobs; no
text, no model and no cache. V is the size of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lmtui.engine.tokenizer import TokenBytes

WIDTH = 16
"""Most paths that one run is asked for."""

_GUESSED = 48  # bytes of which the tokens are guessed; no word is longer

RunBatch = Callable[[list[tuple[int, ...]]], list[Tensor]]
"""The logprobs [V], float32, after the context and each of some paths."""


@dataclass(frozen=True, slots=True)
class Tokenization:
    """One way to write the typed bytes and what comes next."""

    ids: tuple[int, ...]
    beyond: bytes
    """What its bytes add to the typed ones."""
    logprob: float
    """Natural log of P(ids | context)."""


@dataclass(frozen=True, slots=True)
class HealedRow:
    """All covers that go on with the same bytes."""

    beyond: bytes
    special: int | None
    """The id of a token without bytes, which is a row of its own."""
    logprob: float
    """Natural log of the share of P(r) that goes on so."""
    cover: Tokenization
    """The most probable of them."""


@dataclass(frozen=True, slots=True)
class HealedDistribution:
    """How typed bytes may go on."""

    rows: tuple[HealedRow, ...]
    """The most probable first; equals by their bytes, then their id."""
    logprob: float
    """Natural log of P(r), as far as its covers were found; -inf for none."""
    unexplored: float
    """At most this share of P(r) is missing from the rows."""
    entropy: float
    """Of all rows, in nats."""
    _tokens: TokenBytes = field(repr=False, compare=False)
    _logprobs: Tensor = field(repr=False, compare=False)  # float64, by key

    def lookup(self, beyond: bytes) -> tuple[float, int] | None:
        """Logprob and rank (1 + the rows strictly more probable) of the row that goes
        on with `beyond`, also of one that is not among `rows`."""
        key = self._tokens.key(beyond)
        if key is None or key >= len(self._logprobs):
            return None
        logprob = float(self._logprobs[key])
        if logprob == -math.inf:
            return None
        return logprob, 1 + int((self._logprobs > logprob).sum())


def search(
    tokens: TokenBytes,
    first: Tensor,
    typed: bytes,
    run: RunBatch,
    *,
    known: Mapping[tuple[int, ...], Tensor] | None = None,
    top: int = 20,
    least: float = 1e-3,
    most_runs: int = 4,
) -> HealedDistribution:
    """Find the covers of `typed`, the most probable paths first.

    `first` are the logprobs [V], float32, after the context; `known` are those after
    some paths, which need no run. The search ends when at most the share `least` of
    P(r) is unexplored, or after `most_runs` runs.
    """
    covers = _covers(tokens, first, typed, known or {})
    for turn in range(most_runs):
        if covers.unexplored(covers.open) <= least:
            break
        wanted = [path.ids for path in covers.needed(least)]
        if turn == 0:
            wanted = _ahead(tokens.guess(typed[:_GUESSED]), wanted)
        covers.learn(wanted, run(wanted))
    return covers.continuations(top)


def first_wanted(
    tokens: TokenBytes,
    first: Tensor,
    typed: bytes,
    *,
    known: Mapping[tuple[int, ...], Tensor],
    least: float,
) -> list[tuple[int, ...]]:
    """The paths without which such a search can't end."""
    covers = _covers(tokens, first, typed, known)
    if covers.unexplored(covers.open) <= least:
        return []
    return [path.ids for path in covers.needed(least)]


def _covers(
    tokens: TokenBytes,
    first: Tensor,
    typed: bytes,
    known: Mapping[tuple[int, ...], Tensor],
) -> _Covers:
    covers = _Covers(tokens, _Path((), typed, 0.0), first)
    covers.learn(list(known), list(known.values()))
    return covers


def _ahead(
    guess: tuple[int, ...], wanted: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """The paths of a first run: if one leads to the way that the bytes are probably
    cut, all of that way, as if it had been searched."""
    if guess[:1] not in wanted:
        return wanted
    chain = [guess[:size] for size in range(1, WIDTH // 2 + 1)]
    return list(dict.fromkeys([*chain, *wanted]))[:WIDTH]


@dataclass(frozen=True, slots=True)
class _Path:
    """Tokens that the typed bytes begin with, or are."""

    ids: tuple[int, ...]
    rest: bytes
    """The typed bytes that are still to come."""
    logprob: float


@dataclass(frozen=True, slots=True)
class _Step:
    """A path with the tokens that cover the rest after it."""

    path: _Path
    logprobs: Tensor  # float32 [V], after the path
    keys: Tensor  # of what they add
    masses: Tensor  # float64 logprobs of the whole covers

    def covers(self, beyond: bytes, ids: Iterable[int]) -> list[Tokenization]:
        """The covers that end with one of `ids`."""
        path = self.path
        return [
            Tokenization((*path.ids, i), beyond, path.logprob + float(self.logprobs[i]))
            for i in ids
        ]


class _Covers:
    """The covers found so far, and the paths that may lead to more."""

    def __init__(self, tokens: TokenBytes, root: _Path, first: Tensor) -> None:
        self._tokens = tokens
        self._steps: list[_Step] = []
        self._found = -math.inf  # logprob of all covers in the steps
        self.open: list[_Path] = []
        """What was not looked behind yet, the most probable first. A path without a
        rest is a cover; the covers behind any other are together at most as probable
        as the path."""
        self._known: dict[tuple[int, ...], Tensor] = {}
        self.open.append(root)
        self.learn([root.ids], [first])

    def learn(self, paths: Sequence[tuple[int, ...]], logprobs: list[Tensor]) -> None:
        """Look behind paths, also ones that were not come to yet."""
        self._known.update(zip(paths, logprobs, strict=True))
        while ready := [path for path in self.open if path.ids in self._known]:
            self.open = [path for path in self.open if path.ids not in self._known]
            for path in ready:
                self._step(path, self._known.pop(path.ids))
        self.open.sort(key=lambda path: (-path.logprob, path.ids))

    def _step(self, path: _Path, logprobs: Tensor) -> None:
        ids, keys = self._tokens.beyond(path.rest)
        masses = logprobs[ids].double() + path.logprob
        self._steps.append(_Step(path, logprobs, keys, masses))
        self._found = _sum([self._found, float(masses.logsumexp(0))])
        for i, size in self._tokens.beginnings(path.rest):
            logprob = path.logprob + float(logprobs[i])
            self.open.append(_Path((*path.ids, i), path.rest[size:], logprob))

    @property
    def logprob(self) -> float:
        """Of the typed bytes: all covers, also those still to be extended."""
        return _sum([self._found, *(p.logprob for p in self.open if not p.rest)])

    def unexplored(self, left: Sequence[_Path]) -> float:
        """The share of P(r) that is behind the paths `left`, at most, if nothing were
        behind the other open ones."""
        missing = _sum([path.logprob for path in left])
        if missing == -math.inf:
            return 0.0
        doubtful = _sum([path.logprob for path in left if path.rest])
        return min(1.0, math.exp(missing - _sum([self.logprob, doubtful])))

    def needed(self, least: float) -> list[_Path]:
        """The fewest paths without which less than `least` is unexplored."""
        counts = range(1, min(WIDTH, len(self.open)))
        enough = (n for n in counts if self.unexplored(self.open[n:]) <= least)
        return self.open[: next(enough, WIDTH)]

    def continuations(self, top: int) -> HealedDistribution:
        """What was found, by what it adds."""
        logprobs = self._by_key()
        known = logprobs[logprobs > -math.inf]
        total = known.logsumexp(0)
        shares = known - total
        return HealedDistribution(
            rows=self._rows(logprobs, top),
            logprob=min(0.0, self.logprob),  # float32 sums can pass 1
            unexplored=self.unexplored(self.open),
            entropy=max(0.0, -float((shares.exp() * shares).sum())),
            _tokens=self._tokens,
            _logprobs=logprobs,
        )

    def _by_key(self) -> Tensor:
        """Logprob of each row, given the typed bytes. [keys]"""
        logprobs = torch.full((self._tokens.size,), -math.inf, dtype=torch.float64)
        masses = torch.cat([step.masses for step in self._steps])
        if len(masses) == 0 or (most := float(masses.max())) == -math.inf:
            return logprobs
        keys = torch.cat([step.keys for step in self._steps])
        sums = torch.zeros_like(logprobs).index_add_(0, keys, (masses - most).exp())
        return sums.log() + (most - self.logprob)

    def _rows(self, logprobs: Tensor, top: int) -> tuple[HealedRow, ...]:
        count = min(top, int((logprobs > -math.inf).sum()))
        if count == 0:
            return ()
        least = logprobs.topk(count).values[-1]
        keys = (logprobs >= least).nonzero().flatten().tolist()
        named = [(*self._tokens.meaning(key), float(logprobs[key])) for key in keys]
        named.sort(key=lambda row: (-row[2], row[0], row[1] or 0))
        return tuple(
            HealedRow(beyond, special, logprob, self._best(beyond, special))
            for beyond, special, logprob in named[:count]
        )

    def _best(self, beyond: bytes, special: int | None) -> Tokenization:
        """The most probable cover of a row; of equals the one with the lower ids."""
        covers: list[Tokenization] = []
        for step in self._steps:
            if special is None:
                ids = self._tokens.exactly(step.path.rest + beyond)
                covers += step.covers(beyond, ids)
            elif not step.path.rest:
                covers += step.covers(beyond, [special])
        return min(covers, key=lambda cover: (-cover.logprob, cover.ids))


def _sum(logprobs: Sequence[float]) -> float:
    """The logarithm of the sum of some probabilities."""
    most = max(logprobs, default=-math.inf)
    if most == -math.inf:
        return most
    return most + math.log(math.fsum(math.exp(logprob - most) for logprob in logprobs))
