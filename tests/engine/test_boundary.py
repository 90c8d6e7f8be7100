"""Half-typed words, against brute force over all ways to cut a text into tokens."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmtui.engine.boundary import WIDTH, Continuations, TokenBytes, search

VOCABULARIES = (
    (b"a", b"b", b"ab", b"ba", b"aab", b"abba"),
    (b"a", b"b", b"a", b"ab", b"ab", b""),
    (b"<s>", b"a", b"aa", b"aaa", b"aaaa", b"b", b"bb"),
    (b"ab", b"ba", b"aba", b""),
    (b"\xc3", b"\xa9", b"\xc3\xa9", b"a", b"\xa9a"),
)
SPECIALS = frozenset({0})
LETTERS = (b"ab", b"ab", b"ab", b"ab", "éa".encode())

Row = tuple[bytes, int | None]


class Model:
    """Random conditional probabilities, the same for the same path."""

    def __init__(self, seed: int, size: int, *, spread: float, holes: float) -> None:
        self._seed, self._size = seed, size
        self._spread, self._holes = spread, holes
        self.runs: list[int] = []
        self.logprobs = cache(self._logprobs)

    def _logprobs(self, path: tuple[int, ...]) -> Tensor:
        chance = random.Random(f"{self._seed} {path}")
        logits = [
            -math.inf
            if chance.random() < self._holes
            else chance.gauss(0, self._spread)
            for _ in range(self._size)
        ]
        if max(logits) == -math.inf:
            logits[0] = 0.0
        return torch.tensor(logits).log_softmax(-1)

    def run(self, paths: list[tuple[int, ...]]) -> list[Tensor]:
        assert len(set(paths)) == len(paths)
        assert all(paths)
        self.runs.append(len(paths))
        return [self.logprobs(path) for path in paths]


def covers(
    model: Model, tokens: tuple[bytes, ...], specials: frozenset[int], typed: bytes
) -> Iterator[tuple[tuple[int, ...], Row, float]]:
    """All of them: their ids, what they add, and their logprob."""
    paths: list[tuple[tuple[int, ...], bytes, float]] = [((), b"", 0.0)]
    while paths:
        path, data, logprob = paths.pop()
        done = data == typed
        for i, more in enumerate(model.logprobs(path).tolist()):
            bare = i in specials or not tokens[i]
            new = data if bare else data + tokens[i]
            found = ((*path, i), logprob + more)
            if more == -math.inf or (bare and not done):
                continue
            if done or (len(new) > len(typed) and new.startswith(typed)):
                yield found[0], (new[len(typed) :], i if bare else None), found[1]
            elif typed.startswith(new):
                paths.append((found[0], new, found[1]))


@st.composite
def cases(
    draw: st.DrawFn,
) -> tuple[Model, tuple[bytes, ...], frozenset[int], bytes]:
    which = draw(st.integers(0, len(VOCABULARIES) - 1))
    tokens = VOCABULARIES[which]
    specials = draw(st.sampled_from([SPECIALS, frozenset()]))
    letters = LETTERS[which].decode()
    typed = draw(st.text(letters, max_size=5)).encode()
    model = Model(
        draw(st.integers(0, 10**6)),
        len(tokens),
        spread=draw(st.sampled_from([0.0, 1.0, 6.0])),
        holes=draw(st.sampled_from([0.0, 0.3])),
    )
    return model, tokens, specials, typed


Case = tuple[Model, tuple[bytes, ...], frozenset[int], bytes]


def truth(case: Case) -> tuple[float, dict[Row, float]]:
    """P(r), and the probability of each row given it."""
    probs: dict[Row, float] = defaultdict(float)
    for _, row, logprob in covers(*case):
        probs[row] += math.exp(logprob)
    total = math.fsum(probs.values())
    return total, {row: prob / total for row, prob in probs.items()}


def searched(case: Case, **how: Any) -> Continuations:
    model, tokens, specials, typed = case
    options = {"top": 100, "least": 0.0, "most_runs": 100} | how
    spelled = TokenBytes(tokens, specials)
    return search(spelled, model.logprobs(()), typed, model.run, **options)


def shares(found: Continuations) -> dict[Row, float]:
    return {(row.beyond, row.special): math.exp(row.logprob) for row in found.rows}


@given(cases())
def test_a_whole_search_is_brute_force(case: Case) -> None:
    prob, expected = truth(case)
    found = searched(case)
    assert found.unexplored == 0
    assert math.exp(found.logprob) == pytest.approx(prob, rel=1e-5)
    assert shares(found) == pytest.approx(expected, rel=1e-5)
    entropy = -sum(p * math.log(p) for p in expected.values())
    assert found.entropy == pytest.approx(entropy, abs=1e-5)
    if expected:
        assert math.fsum(shares(found).values()) == pytest.approx(1, abs=1e-9)


@given(cases(), st.sampled_from([0.3, 0.03, 0.001]), st.integers(0, 3))
def test_what_an_early_end_leaves_out_is_stated(
    case: Case, least: float, most_runs: int
) -> None:
    prob, expected = truth(case)
    found = searched(case, least=least, most_runs=most_runs)
    model = case[0]
    assert len(model.runs) <= most_runs
    assert all(0 < paths <= WIDTH for paths in model.runs)
    assert found.unexplored <= least or len(model.runs) == most_runs
    low = math.exp(found.logprob)
    assert low <= prob * (1 + 1e-5)
    assert prob * (1 - found.unexplored) <= low * (1 + 1e-5)
    seen = shares(found)
    for row in expected.keys() | seen.keys():
        error = abs(seen.get(row, 0) - expected.get(row, 0))
        assert error <= found.unexplored + 1e-5
    if low:
        missing = 1 - math.fsum(seen.values())
        assert -1e-9 <= missing <= found.unexplored + 1e-9


@given(cases(), st.integers(1, 8))
def test_rows_are_ranked_and_can_be_looked_up(case: Case, top: int) -> None:
    found = searched(case)
    first = searched(case, top=top)
    assert first.rows == found.rows[:top]
    assert found.rows == tuple(
        sorted(found.rows, key=lambda r: (-r.logprob, r.beyond, r.special or 0))
    )
    for row in found.rows:
        if row.special is None:
            above = sum(other.logprob > row.logprob for other in found.rows)
            assert first.lookup(row.beyond) == (row.logprob, above + 1)
    assert found.lookup(b"") is None
    assert found.lookup(b"never a token") is None


@given(cases())
def test_a_row_names_its_most_probable_cover(case: Case) -> None:
    _, tokens, _, typed = case
    best: dict[Row, float] = {}
    known = {}
    for ids, row, logprob in covers(*case):
        best[row] = max(best.get(row, -math.inf), logprob)
        known[ids] = (row, logprob)
    for row in searched(case).rows:
        cover = row.cover
        assert known[cover.ids][0] == (row.beyond, row.special)
        assert cover.logprob == pytest.approx(known[cover.ids][1], abs=1e-5)
        assert cover.logprob == pytest.approx(best[row.beyond, row.special], abs=1e-5)
        assert cover.beyond == row.beyond
        if row.special is None:
            assert b"".join(tokens[i] for i in cover.ids) == typed + row.beyond
