"""Half-typed words, against brute force over all ways to cut a text into tokens."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmtui.engine.document.token_healing import WIDTH, HealedDistribution, search
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.tokenizer import TokenBytes
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel
from tests.engine import tiny

VOCABULARIES = (
    (b"a", b"b", b"ab", b"ba", b"aab", b"abba"),
    (b"a", b"b", b"a", b"ab", b"ab", b""),
    (b"<s>", b"a", b"aa", b"aaa", b"aaaa", b"b", b"bb"),
    (b"ab", b"ba", b"aba", b""),
    (b"\xc3", b"\xa9", b"\xc3\xa9", b"a", b"\xa9a"),
    (b"a", b"\xff", b"a\xff\xff", b"a\xff", b"aa"),
)
SPECIALS = frozenset({0})
LETTERS = ("ab", "ab", "ab", "ab", "éa", "a")

Row = tuple[bytes, int | None]


class Model:
    """Random conditional probabilities, the same for the same path."""

    def __init__(self, seed: int, size: int, *, spread: float, holes: float) -> None:
        self._seed, self._size = seed, size
        self._spread, self._holes = spread, holes
        self.runs: list[list[tuple[int, ...]]] = []
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
        self.runs.append(paths)
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
    typed = draw(st.text(LETTERS[which], max_size=5)).encode()
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


def searched(case: Case, **how: Any) -> HealedDistribution:
    model, tokens, specials, typed = case
    options = {"top_n": 100, "tolerance": 0.0, "most_runs": 100} | how
    spelled = TokenBytes(tokens, specials)
    return search(spelled, model.logprobs(()), typed, model.run, **options)


def shares(found: HealedDistribution) -> dict[Row, float]:
    return {(row.beyond, row.special): math.exp(row.logprob) for row in found.rows}


@given(cases())
def test_whole_search_equals_brute_force(case: Case) -> None:
    prob, expected = truth(case)
    found = searched(case)
    assert found.unexplored == 0
    assert math.exp(found.logprob) == pytest.approx(prob, rel=1e-5)
    assert shares(found) == pytest.approx(expected, rel=1e-5)
    entropy = -sum(p * math.log(p) for p in expected.values())
    assert found.entropy == pytest.approx(entropy, abs=1e-5)
    varentropy = sum(p * (math.log(p) + entropy) ** 2 for p in expected.values())
    assert found.varentropy == pytest.approx(varentropy, rel=1e-5, abs=1e-5)
    if expected:
        assert math.fsum(shares(found).values()) == pytest.approx(1, abs=1e-9)


@given(cases(), st.randoms())
def test_known_logprobs_are_not_computed_again(
    case: Case, chance: random.Random
) -> None:
    whole, model = searched(case), case[0]
    asked = [path for paths in model.runs for path in paths]
    known = {path: model.logprobs(path) for path in asked if chance.random() < 0.5}
    model.runs.clear()
    again = searched(case, known=known)
    assert shares(again) == pytest.approx(shares(whole))
    assert again.unexplored == whole.unexplored
    if len(known) == len(asked):
        assert model.runs == []


@given(cases(), st.sampled_from([0.3, 0.03, 0.001]), st.integers(0, 3))
def test_early_end_states_the_unexplored_probability(
    case: Case, least: float, most_runs: int
) -> None:
    prob, expected = truth(case)
    found = searched(case, tolerance=least, most_runs=most_runs)
    model = case[0]
    assert len(model.runs) <= most_runs
    assert all(0 < len(paths) <= WIDTH for paths in model.runs)
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
    first = searched(case, top_n=top)
    assert first.rows == found.rows[:top]
    assert found.rows == tuple(
        sorted(found.rows, key=lambda r: (-r.logprob, r.beyond, r.special or 0))
    )
    for row in found.rows:
        if row.special is None:
            assert first.lookup(row.beyond) == row.logprob
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


def even(tokens: tuple[bytes, ...]) -> Model:
    """A model to which all tokens are equally probable, always."""
    return Model(0, len(tokens), spread=0, holes=0)


def test_bytes_that_no_token_covers_have_no_rows() -> None:
    for typed in (b"c", b"aa", b"ac"):
        tokens = (b"ab", b"ba", b"aba")
        found = searched((even(tokens), tokens, frozenset(), typed))
        assert found.rows == ()
        assert found.logprob == -math.inf
        assert found.unexplored == found.entropy == 0
        assert found.lookup(b"a") is None


def test_search_cut_before_any_cover_is_all_unexplored() -> None:
    tokens = (b"a", b"b")
    case = (even(tokens), tokens, frozenset[int](), b"a" * 60)
    found = searched(case, most_runs=2)
    assert found.rows == ()
    assert found.logprob == -math.inf
    assert found.unexplored == 1


def test_search_runs_few_paths_at_once() -> None:
    tokens = (*[b"a"] * 20, b"b")
    case = (even(tokens), tokens, frozenset[int](), b"aab")
    found = searched(case, most_runs=3)
    assert [len(paths) for paths in case[0].runs] == [WIDTH] * 3
    assert 0 < found.unexplored < 1


class Table:
    """A model with the given probabilities after each path."""

    def __init__(self, tokens: tuple[bytes, ...], **after: list[float]) -> None:
        self.tokens = TokenBytes(tokens, frozenset())
        self.runs: list[list[tuple[int, ...]]] = []
        self._after = {tuple(map(int, path[1:])): row for path, row in after.items()}

    def search(self, typed: bytes, **how: Any) -> HealedDistribution:
        """What comes after `typed`; the path (0, 2) is given as `_02`."""
        return search(self.tokens, self._row(()), typed, self._run, **how)

    def _run(self, paths: list[tuple[int, ...]]) -> list[Tensor]:
        self.runs.append(paths)
        return [self._row(path) for path in paths]

    def _row(self, path: tuple[int, ...]) -> Tensor:
        return torch.tensor(self._after[path]).log()


def test_search_runs_only_what_the_tolerance_needs() -> None:
    tokens = (b"a", b"ab", b"abc", b"abcd", b"x")
    model = Table(
        tokens,
        _=[0.01, 0.02, 0.2, 0.77, 0.0],
        _2=[0.0, 0.0, 0.0, 0.0, 1.0],
        _1=[0.0, 0.0, 0.0, 0.0, 1.0],
        _0=[0.0, 0.0, 0.0, 0.0, 1.0],
    )
    assert model.search(b"abc", tolerance=0.25).unexplored == pytest.approx(0.23)
    assert model.runs == []
    assert model.search(b"abc", tolerance=0.05).unexplored == pytest.approx(0.03)
    assert model.runs.pop() == [(2,)]
    assert model.search(b"abc", tolerance=0.02).unexplored == pytest.approx(0.01 / 0.98)
    assert model.runs.pop() == [(2,), (1,)]


def test_later_search_does_not_change_an_earlier_result() -> None:
    model = Table((b"a", b"b", b"acd"), _=[0.5, 0.3, 0.2])
    earlier = model.search(b"", most_runs=0)
    assert model.search(b"a", most_runs=0).lookup(b"cd")
    assert earlier.lookup(b"cd") is None


def test_first_run_follows_the_cut_of_a_tokenizer() -> None:
    tokens = (b"x", b"a", b"b", b"c", b"bc", b"ab")
    model = even(tokens)
    searched((model, tokens, frozenset(), b"abc"), most_runs=1)
    assert set(model.runs[0]) >= {(1,), (1, 4)}


def tokenizer_bytes(tokenizer: Any, size: int) -> TokenBytes:
    vocabulary = Vocabulary(tokenizer)
    spelled = [vocabulary.bytes(i) for i in range(size)]
    return TokenBytes(spelled, vocabulary.specials)


@given(st.text("aehtdogqu日ö", min_size=1, max_size=12), st.booleans())
def test_guess_equals_the_cut_of_a_byte_pair_tokenizer(word: str, spaced: bool) -> None:
    tokenizer = tiny.tokenizer()
    piece = " " + word if spaced else word
    guess = tokenizer_bytes(tokenizer, len(tokenizer)).guess(piece.encode())
    assert list(guess) == tokenizer.encode(piece, add_special_tokens=False)


def test_bytes_without_a_token_are_not_guessed() -> None:
    assert TokenBytes((b"a", b"b", b"ab"), frozenset()).guess(b"abc") == ()


@pytest.fixture(scope="module")
def default_model(default_home: Path) -> LoadedModel:
    """The default model, as the loader gives it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(default_home))
        return load()


@pytest.mark.real
def test_the_default_model_completes_words(default_model: LoadedModel) -> None:
    tokenizer, model = default_model.tokenizer, default_model.model
    tokens = tokenizer_bytes(tokenizer, model.config.vocab_size)

    @torch.inference_mode()
    def predict_at(before: str, typed: bytes) -> HealedDistribution:
        context = tokenizer(before).input_ids

        def run(paths: list[tuple[int, ...]]) -> list[Tensor]:
            inputs = [torch.tensor([[*context, *path]]) for path in paths]
            logits = [model(ids, logits_to_keep=1).logits[0, -1] for ids in inputs]
            return [row.float().log_softmax(-1) for row in logits]

        found = search(tokens, run([()])[0], typed, run)
        assert found.unexplored <= 1e-3
        return found

    country = predict_at("The capital of", b" Fran")
    assert country.rows[0].beyond == b"ce"
    assert country.rows[0].logprob > -0.1
    assert country.lookup(b"ce") == country.rows[0].logprob
    for row in predict_at("I would like to", b" ").rows:
        assert not row.beyond.startswith(b"\n")
