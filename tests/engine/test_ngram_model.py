"""N-gram models: the formula of interpolated Kneser-Ney, and distributions that are
distributions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.ngram_model import NgramModel

V = 6
START = -1
IDS = st.lists(st.integers(0, V - 1), max_size=30)
TEXTS = st.lists(IDS, max_size=4)
ORDERS = st.integers(0, 5)


class Naive:
    """Interpolated Kneser-Ney with dictionaries, as the formula has it."""

    def __init__(self, texts: Sequence[Sequence[int]], order: int) -> None:
        self.order = order
        self.counts: dict[int, Counter[tuple[int, ...]]] = {}
        for size in range(1, order + 1):
            found: Counter[tuple[int, ...]] = Counter()
            before = defaultdict(set)
            for text in texts:
                for at in range(len(text) - size + 1):
                    ngram = tuple(text[at : at + size])
                    found[ngram] += 1
                    before[ngram].add(text[at - 1] if at else START)
            if size < order:
                found = Counter({ngram: len(who) for ngram, who in before.items()})
            self.counts[size] = found

    def discount(self, size: int) -> float:
        n1, n2 = (list(self.counts[size].values()).count(times) for times in (1, 2))
        return n1 / (n1 + 2 * n2) if n1 and n2 else 0.5

    def prob(self, context: Sequence[int], token: int) -> float:
        before = tuple(context)[-(self.order - 1) :] if self.order > 1 else ()
        return self._prob(before, token) if self.order else 1 / V

    def _prob(self, before: tuple[int, ...], token: int) -> float:
        lower = self._prob(before[1:], token) if before else 1 / V
        counts = self.counts[len(before) + 1]
        follow = {w: c for w in range(V) if (c := counts[(*before, w)])}
        if not follow:
            return lower
        discount, total = self.discount(len(before) + 1), sum(follow.values())
        own = max(follow.get(token, 0) - discount, 0) / total
        return own + discount * len(follow) / total * lower


@given(TEXTS, ORDERS, IDS)
def test_each_probability_is_that_of_the_formula(
    texts: list[list[int]], order: int, context: list[int]
) -> None:
    naive = Naive(texts, order)
    probs = NgramModel.count(texts, order=order, vocabulary=V).logprobs(context).exp()
    expected = [naive.prob(context, token) for token in range(V)]
    assert probs.tolist() == pytest.approx(expected, rel=1e-9)


@given(TEXTS, ORDERS, IDS, st.integers(1, 300))
def test_probabilities_are_positive_and_sum_to_one(
    texts: list[list[int]], order: int, context: list[int], more: int
) -> None:
    model = NgramModel.count(texts, order=order, vocabulary=V + more)
    seen = [text[:end] for text in texts for end in range(len(text) + 1)]
    for each in (context, [*context, V + more - 1], *seen):
        logprobs = model.logprobs(each)
        assert logprobs.dtype == torch.float64 and logprobs.shape == (V + more,)
        assert bool(logprobs.isfinite().all())
        assert float(logprobs.exp().sum()) == pytest.approx(1, abs=1e-9)


@given(TEXTS, ORDERS, IDS)
def test_scores_of_a_text_are_those_of_its_distributions(
    texts: list[list[int]], order: int, ids: list[int]
) -> None:
    model = NgramModel.count(texts, order=order, vocabulary=V)
    for text in (ids, *texts):
        expected = [float(model.logprobs(text[:i])[w]) for i, w in enumerate(text)]
        assert model.score(text).tolist() == pytest.approx(expected, abs=1e-12)


def test_bytes_are_ids() -> None:
    text = "the cat sat on the mat, naïve".encode()
    model = NgramModel.count([text], order=3, vocabulary=256)
    same = NgramModel.count([list(text)], order=3, vocabulary=256)
    assert torch.equal(model.score(text), same.score(list(text)))
    assert model.logprobs(b"th").argmax() == ord("e")


def test_ids_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 3"):
        NgramModel.count([[0, 4]], order=2, vocabulary=4)
    model = NgramModel.count([[0, 1]], order=2, vocabulary=4)
    for ids in ([4], [-1]):
        with pytest.raises(ValueError, match="0 to 3"):
            model.score(ids)
        with pytest.raises(ValueError, match="0 to 3"):
            model.logprobs(ids)
    with pytest.raises(ValueError, match="order -1"):
        NgramModel.count([], order=-1, vocabulary=4)
