"""Token healing: the distribution of what follows a half-typed word.

Sums over every tokenisation of the typed bytes: see `_Covers` for definitions. Knows
ids, bytes and logprobs; no text, no model and no cache. V is the size of the
vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lmtui.engine.text.tokenizer import TokenBytes

WIDTH = 16
"""Most paths of one batch."""

_ROUNDING = 1e-4  # sum of many float32 probabilities: what is missing from 1
_GUESSED = 48  # bytes whose tokenisation is guessed; no word is longer

RunBatch = Callable[[list[tuple[int, ...]]], list[Tensor]]
"""Computes logprobs [V], float32, after the context and each of some paths."""


@dataclass(frozen=True, slots=True)
class Tokenization:
    """One cover: tokens whose bytes begin with the typed ones."""

    ids: tuple[int, ...]
    beyond: bytes
    """Bytes that it adds to the typed ones."""
    logprob: float
    """Natural log of P(ids | context)."""


@dataclass(frozen=True, slots=True)
class HealedRow:
    """All covers that add the same bytes, as one continuation."""

    beyond: bytes
    special: int | None
    """Id of a token without bytes, which has a row of its own; else None."""
    logprob: float
    """Natural log of its share of P(r)."""
    cover: Tokenization
    """The most probable of its covers."""


@dataclass(frozen=True, slots=True)
class HealedDistribution:
    """Distribution over the continuations of the typed bytes r."""

    rows: tuple[HealedRow, ...]
    """The most probable first; ties by their bytes, then their id."""
    logprob: float
    """Natural log of P(r), over the covers that were found; -inf for none."""
    unexplored: float
    """Upper bound of the share of P(r) that is missing from the rows."""
    entropy: float | None
    """Entropy of all rows, in nats; None where some tokens are not listed."""
    varentropy: float | None
    """Variance of the surprisal of all rows, in nats²; None as `entropy` is."""
    _tokens: TokenBytes = field(repr=False, compare=False)
    _logprobs: Tensor = field(repr=False, compare=False)  # float64 [keys]

    def lookup(self, beyond: bytes) -> float | None:
        """Return the logprob of the row that adds `beyond`, also where it is not among
        `rows`; None if no cover adds it."""
        key = self._tokens.key(beyond)
        if key is None or key >= len(self._logprobs):
            return None
        logprob = float(self._logprobs[key])
        return None if logprob == -math.inf else logprob


def search(
    tokens: TokenBytes,
    first: Tensor,
    typed: bytes,
    run: RunBatch,
    *,
    known: Mapping[tuple[int, ...], Tensor] | None = None,
    top_n: int = 20,
    tolerance: float = 1e-3,
    most_runs: int = 4,
    whole: Container[tuple[int, ...]] | None = (),
) -> HealedDistribution:
    """Find the covers of `typed`, best first, and return the distribution.

    `first` are the logprobs [V], float32, after the context; `known` are those after
    some paths, which need no run. The search ends when at most the share `tolerance` of
    P(r) is unexplored, or after `most_runs` batches. Tokens that a server did not list
    are impossible in these logprobs, which then sum to less than 1: what is missing
    counts as unexplored, and no search can find it. It does not count after a path of
    `whole`, of whose next tokens all are known that could belong to a cover; None says
    that all logprobs are known, which spares a sum over the vocabulary for each path.
    """
    # 1) covers of one token, and those behind known paths
    covers = _covers(tokens, first, typed, known or {}, whole)
    # 2) per batch: expand the most probable open paths
    for turn in range(most_runs):
        if covers.unexplored(covers.open) <= tolerance:
            break
        wanted = [path.ids for path in covers.needed(tolerance)]
        if turn == 0:
            wanted = _first_paths(tokens.guess(typed[:_GUESSED]), wanted)
        covers.learn(wanted, run(wanted))
    # 3) sum the covers by the bytes that they add
    return covers.continuations(top_n)


def required_paths(
    tokens: TokenBytes,
    first: Tensor,
    typed: bytes,
    *,
    known: Mapping[tuple[int, ...], Tensor],
    tolerance: float,
) -> list[tuple[int, ...]]:
    """Return the paths that such a search has to run in its first batch."""
    covers = _covers(tokens, first, typed, known, None)
    if covers.unexplored(covers.open) <= tolerance:
        return []
    return [path.ids for path in covers.needed(tolerance)]


def _covers(
    tokens: TokenBytes,
    first: Tensor,
    typed: bytes,
    known: Mapping[tuple[int, ...], Tensor],
    whole: Container[tuple[int, ...]] | None,
) -> _Covers:
    covers = _Covers(tokens, _Path((), typed, 0.0), first, whole)
    covers.learn(list(known), list(known.values()))
    return covers


def _first_paths(
    guess: tuple[int, ...], paths: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Return the paths of the first batch. If one of them begins the likely
    tokenisation `guess`, all prefixes of that are included, as if they had been
    searched."""
    if guess[:1] not in paths:
        return paths
    chain = [guess[:size] for size in range(1, WIDTH // 2 + 1)]
    return list(dict.fromkeys([*chain, *paths]))[:WIDTH]


@dataclass(frozen=True, slots=True)
class _Path:
    """Sequence of tokens whose bytes are a prefix of the typed ones, or all of them."""

    ids: tuple[int, ...]
    rest: bytes
    """Typed bytes that are not yet covered."""
    logprob: float


@dataclass(frozen=True, slots=True)
class _Step:
    """Path that was expanded, with the tokens that complete it to a cover."""

    path: _Path
    logprobs: Tensor  # float32 [V], after the path
    keys: Tensor  # int64 [m], of the bytes that each of m covers adds
    masses: Tensor  # float64 [m], logprobs of the covers

    def covers(self, beyond: bytes, ids: Iterable[int]) -> list[Tokenization]:
        """Return the covers that end with one of `ids`."""
        path = self.path
        return [
            Tokenization((*path.ids, i), beyond, path.logprob + float(self.logprobs[i]))
            for i in ids
        ]


class _Covers:
    """Covers found so far, and the open paths that may lead to more.

    Let r be the bytes typed since the last piece boundary. A cover is a minimal
    sequence of tokens whose bytes begin with r. P(r) is the sum of the probabilities of
    all covers. A row collects the covers that add the same bytes to r, whichever tokens
    add them. A cover that adds nothing is extended by one more token.
    """

    def __init__(
        self,
        tokens: TokenBytes,
        root: _Path,
        first: Tensor,
        whole: Container[tuple[int, ...]] | None,
    ) -> None:
        self._tokens = tokens
        self._whole = whole
        self._steps: list[_Step] = []
        self._found = -math.inf  # logprob of all covers in the steps
        self.open: list[_Path] = []
        """Paths that are not expanded yet, the most probable first. A path without a
        rest is a cover; the covers behind any other path together are at most as
        probable as the path."""
        self._unlisted = -math.inf  # logprob of all that the steps don't list
        self._known: dict[tuple[int, ...], Tensor] = {}
        self.open.append(root)
        self.learn([root.ids], [first])

    def learn(self, paths: Sequence[tuple[int, ...]], logprobs: list[Tensor]) -> None:
        """Expand paths, given the logprobs [V] after each; also ones that are not open
        yet."""
        self._known.update(zip(paths, logprobs, strict=True))
        while ready := [path for path in self.open if path.ids in self._known]:
            self.open = [path for path in self.open if path.ids not in self._known]
            for path in ready:
                self._expand(path, self._known.pop(path.ids))
        self.open.sort(key=lambda path: (-path.logprob, path.ids))

    def _expand(self, path: _Path, logprobs: Tensor) -> None:
        ids, keys = self._tokens.beyond(path.rest)
        masses = logprobs[ids].double() + path.logprob
        self._steps.append(_Step(path, logprobs, keys, masses))
        self._found = _sum([self._found, float(masses.logsumexp(0))])
        if self._whole is not None and path.ids not in self._whole:
            missing = 1 - float(logprobs.double().exp().sum())
            if missing > _ROUNDING:
                unlisted = path.logprob + math.log(missing)
                self._unlisted = _sum([self._unlisted, unlisted])
        for i, size in self._tokens.beginnings(path.rest):
            logprob = path.logprob + float(logprobs[i])
            self.open.append(_Path((*path.ids, i), path.rest[size:], logprob))

    @property
    def logprob(self) -> float:
        """Natural log of the probability of all covers, also those still to be
        extended."""
        return _sum([self._found, *(p.logprob for p in self.open if not p.rest)])

    def unexplored(
        self, left: Sequence[_Path], *, unlisted: float = -math.inf
    ) -> float:
        """Return an upper bound of the share of P(r) behind the paths `left`, if
        nothing were behind the other open ones, and of what is `unlisted`, given as a
        logprob."""
        missing = _sum([*(path.logprob for path in left), unlisted])
        if missing == -math.inf:
            return 0.0
        doubtful = _sum([*(path.logprob for path in left if path.rest), unlisted])
        return min(1.0, math.exp(missing - _sum([self.logprob, doubtful])))

    def needed(self, tolerance: float) -> list[_Path]:
        """Return the fewest open paths after whose expansion at most `tolerance` may be
        unexplored."""
        counts = range(1, min(WIDTH, len(self.open)))
        enough = (n for n in counts if self.unexplored(self.open[n:]) <= tolerance)
        return self.open[: next(enough, WIDTH)]

    def continuations(self, top_n: int) -> HealedDistribution:
        logprobs = self._by_key()
        known = logprobs[logprobs > -math.inf]
        total = known.logsumexp(0)
        shares = known - total
        entropy = max(0.0, -float((shares.exp() * shares).sum()))
        varentropy = float((shares.exp() * (shares + entropy).square()).sum())
        is_whole = self._unlisted == -math.inf
        return HealedDistribution(
            rows=self._rows(logprobs, top_n),
            logprob=min(0.0, self.logprob),  # float32 sums can pass 1
            unexplored=self.unexplored(self.open, unlisted=self._unlisted),
            entropy=entropy if is_whole else None,
            varentropy=varentropy if is_whole else None,
            _tokens=self._tokens,
            _logprobs=logprobs,
        )

    def _by_key(self) -> Tensor:
        """Logprob of each row given the typed bytes: float64 [keys]."""
        logprobs = torch.full((self._tokens.size,), -math.inf, dtype=torch.float64)
        masses = torch.cat([step.masses for step in self._steps])
        if len(masses) == 0 or (most := float(masses.max())) == -math.inf:
            return logprobs
        keys = torch.cat([step.keys for step in self._steps])
        sums = torch.zeros_like(logprobs).index_add_(0, keys, (masses - most).exp())
        return sums.log() + (most - self.logprob)

    def _rows(self, logprobs: Tensor, top_n: int) -> tuple[HealedRow, ...]:
        count = min(top_n, int((logprobs > -math.inf).sum()))
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
        """Return the most probable cover of a row; of equals, the one with the lower
        ids."""
        covers: list[Tokenization] = []
        for step in self._steps:
            if special is None:
                ids = self._tokens.exactly(step.path.rest + beyond)
                covers += step.covers(beyond, ids)
            elif not step.path.rest:
                covers += step.covers(beyond, [special])
        return min(covers, key=lambda cover: (-cover.logprob, cover.ids))


def _sum(logprobs: Sequence[float]) -> float:
    """Return the logarithm of the sum of probabilities, given as logprobs."""
    most = max(logprobs, default=-math.inf)
    if most == -math.inf:
        return most
    return most + math.log(math.fsum(math.exp(logprob - most) for logprob in logprobs))
